//! Rows with words and tags, or with a text and its entities.

use std::path::Path;

use serde_json::Value;

use crate::columns::{require, text, whole};
use crate::record::{Record, kind};
use crate::{ColumnNames, Error, Label, Labelled, Place, formats};

/// The columns that are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Columns {
    /// Lists of words, and of the tag of each; tags are `None` where they are not looked at.
    Words { tokens: String, tags: Option<String> },
    /// Texts, and lists of the entities in them.
    Text { text: String, entities: Option<String> },
}

/// A row with its meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub line: usize,
    pub content: Content,
}

/// What stands in a row. Tags and entities are `None` where they are not looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// As many tags as words, at least one.
    Words { words: Vec<String>, tags: Option<Vec<Label>> },
    /// Entities in the order of the text, apart from each other and within it.
    Text { text: String, entities: Option<Vec<Entity>> },
}

/// A part of a text and its type. `start` and `end` count Unicode code points, as Python's strings do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entity {
    pub start: usize,
    pub end: usize,
    pub label: String,
}

impl Columns {
    /// Finds the columns in the first row of a file: words where it has a column of words or one is named, otherwise
    /// texts. A named column must exist, and where the file is labelled so must the tags or entities.
    pub fn find(file: &Path, first: &Record, names: &ColumnNames, labelled: Labelled) -> Result<Columns, Error> {
        let words = [("tokens", &names.tokens), ("tags", &names.tags)];
        let texts = [("text", &names.text), ("entities", &names.entities)];
        let set = |keys: [(&'static str, &Option<String>); 2]| keys.iter().find(|key| key.1.is_some()).map(|key| key.0);
        let of_words = match (set(words), set(texts)) {
            (Some(first), Some(second)) => return Err(Error::WordsAndText { first, second }),
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (None, None) => first.fields.contains_key("tokens") || !first.fields.contains_key("text"),
        };
        let is_labelled = labelled == Labelled::Yes;
        let named = |(key, name): (&str, &Option<String>)| name.as_deref().unwrap_or(key).to_owned();
        let found = match of_words {
            true => Self::Words { tokens: named(words[0]), tags: is_labelled.then(|| named(words[1])) },
            false => Self::Text { text: named(texts[0]), entities: is_labelled.then(|| named(texts[1])) },
        };
        found.check(file, first)?;
        Ok(found)
    }

    /// The names by which these columns are found.
    pub fn names(&self) -> ColumnNames {
        match self.clone() {
            Self::Words { tokens, tags } => ColumnNames { tokens: Some(tokens), tags, ..ColumnNames::default() },
            Self::Text { text, entities } => ColumnNames { text: Some(text), entities, ..ColumnNames::default() },
        }
    }

    /// Whether another file has these columns, by its first row.
    pub fn check(&self, file: &Path, first: &Record) -> Result<(), Error> {
        let (keys, content, labels) = match self {
            Self::Words { tokens, tags } => (["tokens", "tags"], tokens, tags),
            Self::Text { text, entities } => (["text", "entities"], text, entities),
        };
        let taken = [Some(content.as_str()), labels.as_deref()];
        require(file, first, keys[0], content, &taken)?;
        labels.as_ref().map_or(Ok(()), |labels| require(file, first, keys[1], labels, &taken))
    }

    /// Reads a row. Lists may also be the JSON text of one, as a cell of a CSV file is.
    ///
    /// Errors: no words, other numbers of words and tags, something that is no word, tag or entity, entities that lie
    /// outside of the text or overlap.
    pub fn row(&self, file: &Path, record: &Record) -> Result<Row, Error> {
        let at = At { file, record };
        let content = match self {
            Self::Words { tokens, tags } => at.words(tokens, tags.as_deref())?,
            Self::Text { text: column, entities } => {
                let text = text(record, column, "text", || at.place())?;
                let entities = entities.as_ref().map(|column| at.entities(column, &text)).transpose()?;
                Content::Text { text, entities }
            }
        };
        Ok(Row { line: record.line, content })
    }
}

impl Row {
    /// Where the word of this number, from 0, stands: each has a line of its own in a CoNLL file.
    pub fn place(&self, file: &Path, word: usize) -> Place {
        Place::new(file, if formats::has_word_a_line(file) { self.line + word } else { self.line })
    }
}

/// A row of a file, for messages.
struct At<'a> {
    file: &'a Path,
    record: &'a Record,
}

impl At<'_> {
    fn place(&self) -> Place {
        Place::new(self.file, self.record.line)
    }

    fn error(&self, problem: String, help: &str) -> Error {
        Error::Tagging { place: self.place(), problem, help: help.to_owned() }
    }

    fn words(&self, tokens: &str, tags: Option<&str>) -> Result<Content, Error> {
        let words: Vec<String> = self
            .list(tokens, "[\"Anna\", \"lives\", \"here\"]")?
            .into_iter()
            .enumerate()
            .map(|(n, word)| self.word(tokens, n, word))
            .collect::<Result<_, _>>()?;
        if words.iter().all(|word| word.trim().is_empty()) {
            return Err(self.error(format!("column `{tokens}` has no words"), "give the row words, or remove it"));
        }
        let Some(column) = tags else { return Ok(Content::Words { words, tags: None }) };
        let tags = self.list(column, "[\"B-PER\", \"O\", \"O\"]")?;
        if tags.len() != words.len() {
            let count = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
            let problem = format!("{}, but {}", count(words.len(), "word"), count(tags.len(), "tag"));
            return Err(self.error(problem, "give each word of the row a tag, `O` where it belongs to no entity"));
        }
        let tag = |(n, tag)| self.tag(column, n, &words[n], tag);
        let tags = tags.into_iter().enumerate().map(tag).collect::<Result<_, _>>()?;
        Ok(Content::Words { words, tags: Some(tags) })
    }

    fn word(&self, column: &str, n: usize, word: Value) -> Result<String, Error> {
        match word {
            Value::String(word) => Ok(word),
            other => {
                let problem = format!("column `{column}`: word {} should be a string, found {}", n + 1, kind(&other));
                Err(self.error(problem, "put each word in double quotes"))
            }
        }
    }

    fn tag(&self, column: &str, n: usize, word: &str, tag: Value) -> Result<Label, Error> {
        match tag {
            Value::String(tag) if !tag.trim().is_empty() => Ok(Label::Text(tag)),
            ref number if whole(number).is_some() => Ok(Label::Index(whole(number).unwrap_or_default())),
            other => {
                let found = if other.is_string() { "an empty string" } else { kind(&other) };
                let problem = format!(
                    "column `{column}`: tag {} (of `{word}`) should be a string or an integer, found {found}",
                    n + 1
                );
                Err(self.error(problem, "a word that belongs to no entity has the tag `O`"))
            }
        }
    }

    fn entities(&self, column: &str, text: &str) -> Result<Vec<Entity>, Error> {
        let length = text.chars().count();
        let mut entities = Vec::new();
        for (n, entity) in self.list(column, ENTITIES)?.iter().enumerate() {
            entities.push(self.entity(column, n + 1, entity, length)?);
        }
        entities.sort_by_key(|entity| (entity.start, entity.end));
        match entities.windows(2).find(|pair| pair[0].end > pair[1].start) {
            Some([one, other]) => {
                let show = |it: &Entity| format!("`{}` ({}, {} to {})", part(text, it), it.label, it.start, it.end);
                let problem = format!("column `{column}`: {} and {} overlap", show(one), show(other));
                Err(self.error(problem, "a word has one tag: keep one of them"))
            }
            _ => Ok(entities),
        }
    }

    fn entity(&self, column: &str, number: usize, entity: &Value, length: usize) -> Result<Entity, Error> {
        let what = || format!("column `{column}`: entity {number}");
        let help = || format!("entities read {ENTITIES}, `end` being the offset after the last character");
        let Value::Object(fields) = entity else {
            return Err(self.error(format!("{} should be an object, found {}", what(), kind(entity)), &help()));
        };
        let missing = |key: &str| {
            let keys = suggest::list(fields.keys().map(String::as_str));
            self.error(format!("{} has no `{key}` (keys: {keys})", what()), &help())
        };
        let offset = |key: &str| {
            let value = fields.get(key).ok_or_else(|| missing(key))?;
            let offset = whole(value).and_then(|offset| usize::try_from(offset).ok());
            offset.ok_or_else(|| self.error(format!("{}: `{key}` is {value}, which is no offset", what()), &help()))
        };
        let (start, end) = (offset("start")?, offset("end")?);
        let label = match fields.get("label") {
            Some(Value::String(label)) if !label.trim().is_empty() => label.clone(),
            Some(other) => return Err(self.error(format!("{}: `label` is {other}, which is no name", what()), &help())),
            None => return Err(missing("label")),
        };
        if start >= end || end > length {
            let problem = format!("{} reaches from {start} to {end}, the text from 0 to {length}", what());
            return Err(self.error(problem, "offsets count the characters (Unicode code points) of the text from 0, `end` being the offset after the last"));
        }
        Ok(Entity { start, end, label })
    }

    /// The values of a list, or of the JSON text of one.
    fn list(&self, column: &str, example: &str) -> Result<Vec<Value>, Error> {
        let value = match self.record.fields.get(column) {
            Some(value) => value,
            None => {
                let columns = suggest::list(self.record.columns());
                return Err(Error::MissingField { place: self.place(), column: column.to_owned(), columns });
            }
        };
        let found = match value {
            Value::Array(values) => return Ok(values.clone()),
            Value::String(text) if text.trim_start().starts_with('[') => match json::parse(text.as_bytes()) {
                Ok(values) => return Ok(values),
                Err(_) => {
                    let problem = format!("column `{column}` is a list, but not one in JSON");
                    let help = format!("write {example}, as Python's `json.dumps` does; `str` of a list is no JSON");
                    return Err(self.error(problem, &help));
                }
            },
            other => kind(other),
        };
        Err(self.error(format!("column `{column}` should be a list, found {found}"), &format!("write {example}")))
    }
}

const ENTITIES: &str = "[{\"start\": 0, \"end\": 4, \"label\": \"PER\"}]";

/// The characters of an entity.
fn part(text: &str, entity: &Entity) -> String {
    text.chars().skip(entity.start).take(entity.end - entity.start).collect()
}

#[cfg(test)]
mod tests {
    use miette::Diagnostic;
    use serde_json::json;

    use super::*;

    fn record(value: Value) -> Record {
        let Value::Object(fields) = value else { panic!("a row is an object") };
        Record { line: 17, fields: fields.into_iter().collect() }
    }

    fn read(row: Value) -> Result<Content, Error> {
        let (file, row) = (Path::new("train.jsonl"), record(row));
        let columns = Columns::find(file, &row, &ColumnNames::default(), Labelled::Yes)?;
        columns.row(file, &row).map(|row| row.content)
    }

    fn says(row: Value) -> (String, String) {
        let error = read(row).unwrap_err();
        (error.to_string(), error.help().expect("a remedy").to_string())
    }

    fn words(tags: &[Label]) -> Content {
        Content::Words { words: ["Anna", "here"].map(str::to_owned).into(), tags: Some(tags.to_vec()) }
    }

    #[test]
    fn words_have_tags_by_name_or_number_in_lists_or_cells() {
        let named = words(&["B-PER", "O"].map(|tag| Label::Text(tag.to_owned())));
        assert_eq!(read(json!({"tokens": ["Anna", "here"], "tags": ["B-PER", "O"]})).unwrap(), named);
        assert_eq!(read(json!({"tokens": "[\"Anna\", \"here\"]", "tags": "[\"B-PER\",\"O\"]"})).unwrap(), named);
        let numbered = words(&[Label::Index(1), Label::Index(0)]);
        assert_eq!(read(json!({"tokens": ["Anna", "here"], "tags": [1, 0]})).unwrap(), numbered);
    }

    #[test]
    fn entities_count_code_points_and_are_put_in_order() {
        let entities = json!([{"start": 9, "end": 14, "label": "LOC"}, {"start": 2, "end": 6, "label": "PER"}]);
        let entity = |start, end, label: &str| Entity { start, end, label: label.to_owned() };
        let text = "😀 Änna in Paris".to_owned();
        let expected =
            Content::Text { text: text.clone(), entities: Some(vec![entity(2, 6, "PER"), entity(9, 14, "LOC")]) };
        assert_eq!(read(json!({"text": text, "entities": entities})).unwrap(), expected);
        assert_eq!(read(json!({"text": text, "entities": entities.to_string()})).unwrap(), expected);
    }

    #[test]
    fn without_labels_words_or_texts_are_enough() {
        let find = |row, names: Value| {
            let names: ColumnNames = serde_json::from_value(names).unwrap();
            Columns::find(Path::new("a.jsonl"), &record(row), &names, Labelled::No)
        };
        let words = find(json!({"tokens": ["a"], "text": "a"}), json!({})).unwrap();
        assert_eq!(words, Columns::Words { tokens: "tokens".into(), tags: None });
        let text = find(json!({"text": "a"}), json!({})).unwrap();
        assert_eq!(text, Columns::Text { text: "text".into(), entities: None });
        assert_eq!(find(json!({"tokens": ["a"], "text": "a"}), json!({"text": "text"})).unwrap(), text);
        let error = find(json!({"x": 1, "y": 1}), json!({"tags": "x", "entities": "y"})).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`data.tags` and `data.entities` are both set: a row is words with tags, or a text with entities"
        );
    }

    #[test]
    fn a_missing_column_names_the_one_that_it_can_be() {
        let (message, help) = says(json!({"id": 1, "tokens": ["a"], "ner_tags": [0]}));
        assert_eq!(message, "train.jsonl has no column `tags` (columns: id, tokens, ner_tags)");
        assert_eq!(help, "set `data.tags = \"ner_tags\"`");
        assert_eq!(says(json!({"text": "a", "spans": []})).1, "set `data.entities = \"spans\"`");
    }

    #[test]
    fn wrong_words_and_tags_are_errors_with_their_place() {
        let (message, help) = says(json!({"tokens": ["a", "b"], "tags": ["O"]}));
        assert_eq!(message, "train.jsonl, line 17: 2 words, but 1 tag");
        assert_eq!(help, "give each word of the row a tag, `O` where it belongs to no entity");
        for (row, message, help) in [
            (json!({"tokens": [], "tags": []}), "column `tokens` has no words", "give the row words, or remove it"),
            (
                json!({"tokens": ["a", 3], "tags": ["O", "O"]}),
                "column `tokens`: word 2 should be a string, found a number",
                "put each word in double quotes",
            ),
            (
                json!({"tokens": ["a"], "tags": [null]}),
                "column `tags`: tag 1 (of `a`) should be a string or an integer, found null",
                "a word that belongs to no entity has the tag `O`",
            ),
            (
                json!({"tokens": "['a']", "tags": "['O']"}),
                "column `tokens` is a list, but not one in JSON",
                "write [\"Anna\", \"lives\", \"here\"], as Python's `json.dumps` does; `str` of a list is no JSON",
            ),
            (
                json!({"tokens": "a b", "tags": "O O"}),
                "column `tokens` should be a list, found a string",
                "write [\"Anna\", \"lives\", \"here\"]",
            ),
        ] {
            assert_eq!(says(row), (format!("train.jsonl, line 17: {message}"), help.to_owned()));
        }
    }

    #[test]
    fn wrong_entities_are_errors_with_their_place() {
        let entities = |entities: Value| says(json!({"text": "Änna in Paris", "entities": entities}));
        let form = "entities read [{\"start\": 0, \"end\": 4, \"label\": \"PER\"}], `end` being the offset after the last character";
        let (message, help) = entities(json!([{"start": 8, "end": 14, "label": "LOC"}]));
        assert_eq!(
            message,
            "train.jsonl, line 17: column `entities`: entity 1 reaches from 8 to 14, the text from 0 to 13"
        );
        assert!(help.starts_with("offsets count the characters (Unicode code points)"), "{help}");
        let overlap = json!([{"start": 8, "end": 13, "label": "LOC"}, {"start": 5, "end": 9, "label": "X"}]);
        let expected = "train.jsonl, line 17: column `entities`: `in P` (X, 5 to 9) and `Paris` (LOC, 8 to 13) overlap";
        assert_eq!(entities(overlap), (expected.to_owned(), "a word has one tag: keep one of them".to_owned()));
        for (wrong, message) in [
            (json!([{"start": 0, "end": 4}]), "entity 1 has no `label` (keys: start, end)"),
            (json!([{"start": -1, "end": 4, "label": "A"}]), "entity 1: `start` is -1, which is no offset"),
            (json!([{"start": 0, "end": 4, "label": 3}]), "entity 1: `label` is 3, which is no name"),
            (json!([[0, 4, "PER"]]), "entity 1 should be an object, found an array"),
        ] {
            let expected = (format!("train.jsonl, line 17: column `entities`: {message}"), form.to_owned());
            assert_eq!(entities(wrong), expected);
        }
    }
}
