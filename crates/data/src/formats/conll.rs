//! Files in columns, as the CoNLL shared tasks have them: a word and its tags a line, a blank line between sentences. A
//! sentence is a row with the column `tokens`, the first of the file, `tags`, its last, and, where it has more than
//! these, each of its columns by number, from 1: `data.tags = "2"` takes the second.
//!
//! Columns are divided by tabs, or where the first line has none, by spaces. `-DOCSTART-` lines are skipped, and so are
//! comments as CoNLL-U has them, before a sentence.

use indexmap::IndexMap;
use serde_json::Value;

use super::lines::Lines;
use super::{Records, Source};
use crate::limits::{MOST_CELLS, MOST_CONLL_COLUMNS};
use crate::record::Record;
use crate::{Error, Place};

pub(super) fn records(source: Source) -> Result<Records, Error> {
    Ok(Box::new(Conll { lines: Lines::open(source)?, shape: None }))
}

struct Conll {
    lines: Lines,
    /// Of the first word's line.
    shape: Option<Shape>,
}

#[derive(Debug, Clone, Copy)]
struct Shape {
    tabs: bool,
    columns: usize,
}

impl Iterator for Conll {
    type Item = Result<Record, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.sentence().transpose()
    }
}

impl Conll {
    fn sentence(&mut self) -> Result<Option<Record>, Error> {
        let mut first = 0;
        let mut columns: Vec<Vec<Value>> = Vec::new();
        while self.lines.next_line()? {
            let text = self.lines.text()?.trim_end_matches(['\n', '\r']);
            if text.trim().is_empty() {
                match columns.is_empty() {
                    true => continue,
                    false => break,
                }
            }
            if text.starts_with("-DOCSTART-") || columns.is_empty() && is_comment(text, self.shape) {
                continue;
            }
            let taken = columns.iter().map(Vec::len).sum::<usize>();
            let cells = self.cells(text)?;
            if taken + cells.len() > MOST_CELLS {
                return Err(Error::LongSentence { place: Place::line(&self.lines.source.file, first) });
            }
            if columns.is_empty() {
                first = self.lines.number;
                columns = vec![Vec::new(); cells.len()];
                self.shape = Some(Shape { tabs: is_tabbed(text, self.shape), columns: cells.len() });
            }
            columns.iter_mut().zip(cells).for_each(|(column, cell)| column.push(cell.into()));
        }
        Ok((!columns.is_empty()).then(|| Record { line: first, fields: named(columns) }))
    }

    fn cells<'a>(&self, text: &'a str) -> Result<Vec<&'a str>, Error> {
        let most = MOST_CONLL_COLUMNS + 1;
        let cells: Vec<&str> = match is_tabbed(text, self.shape) {
            true => text.split('\t').map(str::trim).take(most).collect(),
            false => text.split_whitespace().take(most).collect(),
        };
        let place = || Place::line(&self.lines.source.file, self.lines.number);
        if cells.len() == most {
            return Err(Error::ManyConllColumns { place: place() });
        }
        match self.shape {
            Some(Shape { tabs, columns }) if cells.len() != columns => {
                let divided = if tabs { "tabs divide columns here" } else { "spaces divide columns here" };
                let help = format!("{divided}: a word and its tags a line, and a blank line between sentences");
                Err(Error::RaggedColumns { place: place(), expected: columns, found: cells.len(), help })
            }
            _ => match cells.iter().position(|cell| cell.is_empty()) {
                Some(empty) => Err(Error::EmptyColumn { place: place(), column: empty + 1 }),
                None => Ok(cells),
            },
        }
    }
}

fn is_tabbed(text: &str, shape: Option<Shape>) -> bool {
    shape.map_or_else(|| text.contains('\t'), |shape| shape.tabs)
}

/// `#` is also a word: a comment is what cannot be one, having no tabs, or another number of columns, or `key = value`.
fn is_comment(text: &str, shape: Option<Shape>) -> bool {
    if !text.starts_with('#') {
        return false;
    }
    match shape {
        Some(Shape { tabs: true, .. }) => !text.contains('\t'),
        Some(Shape { tabs: false, columns }) => text.contains(" = ") || text.split_whitespace().count() != columns,
        None => !text.contains('\t') && !is_word(text),
    }
}

/// Whether a first line that begins with `#` reads as a word with its tag.
fn is_word(text: &str) -> bool {
    let mut cells = text.split_whitespace();
    let (_, last) = (cells.next(), cells.next_back());
    last.is_none() || last == Some("O") || last.is_some_and(|tag| tag.get(1..2) == Some("-"))
}

fn named(mut columns: Vec<Vec<Value>>) -> IndexMap<String, Value> {
    let mut fields = IndexMap::new();
    if columns.len() > 2 {
        fields.extend((1..).zip(&columns).map(|(n, column): (usize, _)| (n.to_string(), column.clone().into())));
    }
    let tags = if columns.len() > 1 { columns.pop() } else { None };
    let tokens = columns.into_iter().next().unwrap_or_default();
    fields.insert("tokens".to_owned(), tokens.into());
    if let Some(tags) = tags {
        fields.insert("tags".to_owned(), tags.into());
    }
    fields
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use miette::Diagnostic;
    use serde_json::json;

    use super::*;
    use crate::formats::Format;

    fn all(content: &str) -> Result<Vec<(usize, Value)>, Error> {
        let mut source = Source::new(Path::new("train.conll"), false);
        source.held = Some(bytes::Bytes::from(content.to_owned()));
        let row = |record: Record| (record.line, Value::Object(record.fields.into_iter().collect()));
        records(source)?.map(|record| record.map(row)).collect()
    }

    fn row(tokens: &[&str], tags: &[&str]) -> Value {
        json!({"tokens": tokens, "tags": tags})
    }

    #[test]
    fn blank_lines_end_sentences_and_documents_are_no_words() {
        let text = "-DOCSTART- O\n\nEU B-ORG\nrejects O\n\n \n\nPeter\tB-PER\r\nBlackburn I-PER";
        let expected =
            [(3, row(&["EU", "rejects"], &["B-ORG", "O"])), (8, row(&["Peter", "Blackburn"], &["B-PER", "I-PER"]))];
        assert_eq!(all(text).unwrap(), expected);
        assert_eq!(all("\n\n").unwrap(), []);
    }

    #[test]
    fn further_columns_have_their_numbers() {
        let text = "-DOCSTART- -X- -X- O\n\nEU NNP B-NP B-ORG\n";
        let expected = json!({
            "1": ["EU"], "2": ["NNP"], "3": ["B-NP"], "4": ["B-ORG"], "tokens": ["EU"], "tags": ["B-ORG"],
        });
        assert_eq!(all(text).unwrap(), [(3, expected)]);
        assert_eq!(all("EU\nrejects\n").unwrap(), [(1, json!({"tokens": ["EU", "rejects"]}))]);
    }

    #[test]
    fn comments_are_told_from_the_word_number_sign() {
        let tabs = "# text = a b\na\tO\n#\tO\n\n# 2\n#\tB-X\nb c\tO\n";
        let expected = [(2, row(&["a", "#"], &["O", "O"])), (6, row(&["#", "b c"], &["B-X", "O"]))];
        assert_eq!(all(tabs).unwrap(), expected);
        let spaces = "# id 1\n# O\n1 B-X\n\n# O\n\n# a longer comment\nb O\n";
        let expected = [(2, row(&["#", "1"], &["O", "B-X"])), (5, row(&["#"], &["O"])), (8, row(&["b"], &["O"]))];
        assert_eq!(all(spaces).unwrap(), expected);
    }

    #[test]
    fn a_line_of_other_columns_is_an_error_with_its_number() {
        let error = all("EU B-ORG\n\nGerman\n").unwrap_err();
        assert_eq!(error.to_string(), "train.conll, line 3: 1 column where the first word has 2");
        let help = "spaces divide columns here: a word and its tags a line, and a blank line between sentences";
        assert_eq!(error.help().unwrap().to_string(), help);
        let error = all("EU\tB-ORG\n\tO\n").unwrap_err();
        assert_eq!(error.to_string(), "train.conll, line 2: column 1 is empty");
    }

    #[test]
    fn a_sentence_without_an_end_is_an_error_with_its_first_line() {
        let sentence = |words: usize| format!("a O\n\n{}", "b O\n".repeat(words));
        assert_eq!(all(&sentence(MOST_CELLS / 2)).unwrap().len(), 2);
        let error = all(&sentence(MOST_CELLS / 2 + 1)).unwrap_err();
        assert_eq!(error.to_string(), "train.conll, line 3: a sentence of more than 200000 words and tags");
        assert_eq!(all(&"b ".repeat(MOST_CONLL_COLUMNS)).unwrap().len(), 1);
        for divided in ["b ", "b\t"] {
            let error = all(&divided.repeat(MOST_CONLL_COLUMNS + 1)).unwrap_err();
            assert_eq!(error.to_string(), "train.conll, line 1: more than 1000 columns");
        }
    }

    #[test]
    fn a_file_of_another_name_is_read_as_it_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let read = |name: &str, format| -> Vec<Record> {
            let path: PathBuf = dir.path().join(name);
            std::fs::write(&path, "EU B-ORG\nrejects O\n").unwrap();
            crate::records_as(&path, format).unwrap().collect::<Result<_, _>>().unwrap()
        };
        let told = read("train.txt", Some(Format::Conll));
        assert_eq!(told, read("train.bio", None));
        assert_eq!(told[0].fields["tags"], json!(["B-ORG", "O"]));
        assert_eq!(read("train.txt", None).len(), 2, "each line a text");
    }
}
