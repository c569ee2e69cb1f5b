//! The words of a row as a tokenizer sees them, with the places where they stand in its text.

use std::ops::Range;
use std::path::Path;

use super::{Content, Entity, Row, Span, TagSet};
use crate::tokenizer::Tokenized;
use crate::{Error, Tokenizer};

/// The words of a row. Each of a list is tokenised by itself, as `is_split_into_words` of Transformers does; a text is
/// tokenised as a whole, and its words are the parts that the pre-tokeniser makes of it.
#[derive(Debug, Clone)]
pub struct Words {
    text: String,
    ranges: Vec<Range<usize>>,
    pub(super) tokenized: Tokenized,
}

impl Words {
    /// Errors: the tokenizer makes no token of any of the words.
    pub fn of(content: &Content, tokenizer: &Tokenizer) -> Result<Self, Error> {
        match content {
            Content::Words { words, .. } => {
                Ok(Self { text: words.join(" "), ranges: joined(words), tokenized: tokenizer.words(words)? })
            }
            Content::Text { text, .. } => {
                let tokenized = tokenizer.words_of(text)?;
                let bytes = tokenized.words.iter().map(|word| word.bytes.clone());
                Ok(Self { ranges: code_points(text, bytes), text: text.clone(), tokenized })
            }
        }
    }

    /// The text; words that were given one by one with a space between each two.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Where each word stands in the text, in Unicode code points, as Python counts.
    pub fn ranges(&self) -> &[Range<usize>] {
        &self.ranges
    }

    #[expect(clippy::len_without_is_empty, reason = "there is always a word")]
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// The classes of the words of a text with these entities, and how many entities do not begin and end where words do.
    /// Such an entity has all words that it touches, but for those of one before it.
    ///
    /// Errors: an entity of a type that no class names, or one that touches no word.
    pub(super) fn classes(
        &self,
        entities: &[Entity],
        tags: &TagSet,
        file: &Path,
        row: &Row,
    ) -> Result<(Vec<usize>, usize), Error> {
        let mut spans: Vec<Span> = Vec::new();
        let mut inexact = 0;
        for entity in entities {
            let place = || row.place(file, 0);
            let entity_type = tags.types().binary_search(&entity.label).map_err(|_| Error::UnknownLabel {
                place: place(),
                label: entity.label.clone(),
                suggestion: suggest::suggestion(&entity.label, tags.types().iter().map(String::as_str)),
            })?;
            let taken = spans.last().map_or(0, |span| span.end);
            let start = self.ranges.partition_point(|range| range.end <= entity.start).max(taken);
            let end = self.ranges.partition_point(|range| range.start < entity.end);
            if start >= end {
                let problem = format!(
                    "the entity from {} to {} ({}) has no word of its own",
                    entity.start, entity.end, entity.label
                );
                let help = "an entity has one word at least, as the tokenizer divides the text: correct its offsets, or join it with the one before it";
                return Err(Error::Tagging { place: place(), problem, help: help.to_owned() });
            }
            let is_exact = self.ranges[start].start == entity.start && self.ranges[end - 1].end == entity.end;
            inexact += usize::from(!is_exact);
            spans.push(Span { start, end, entity_type });
        }
        let classes = tags.classes(&spans, self.len()).map_err(|tag| Error::Tagging {
            place: row.place(file, 0),
            problem: format!("the model has no tag `{tag}`, which an entity of the row needs"),
            help: "list all tags in `model.labels`, or leave the key out".to_owned(),
        })?;
        Ok((classes, inexact))
    }
}

/// The ranges of words with a space between each two.
fn joined(words: &[String]) -> Vec<Range<usize>> {
    let mut start = 0;
    let range = |word: &String| {
        let range = start..start + word.chars().count();
        start = range.end + 1;
        range
    };
    words.iter().map(range).collect()
}

/// Ascending ranges of bytes as ranges of code points.
fn code_points(text: &str, bytes: impl Iterator<Item = Range<usize>>) -> Vec<Range<usize>> {
    let (mut at, mut counted) = (0, 0);
    let mut count = |byte: usize| {
        counted += text.get(at..byte).map_or(0, |part| part.chars().count());
        at = byte;
        counted
    };
    bytes.map(|range| count(range.start)..count(range.end)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tagging::Scheme;
    use crate::tokenizer::tests::{bytes, small};

    fn tags() -> TagSet {
        TagSet::new(&["B-LOC", "B-PER", "I-LOC", "I-PER", "O"].map(str::to_owned), Scheme::Iob2)
    }

    fn classes(text: &str, entities: &[(usize, usize, &str)]) -> Result<(Vec<usize>, usize), String> {
        let entity = |it: &(usize, usize, &str)| Entity { start: it.0, end: it.1, label: it.2.to_owned() };
        let entities: Vec<Entity> = entities.iter().map(entity).collect();
        let row = Row { line: 3, content: Content::Text { text: text.to_owned(), entities: None } };
        let words = Words::of(&row.content, &bytes()).unwrap();
        words.classes(&entities, &tags(), Path::new("a.jsonl"), &row).map_err(|error| error.to_string())
    }

    #[test]
    fn words_of_a_text_have_ranges_in_code_points() {
        let content = Content::Text { text: "é 😀 ab.".into(), entities: None };
        let words = Words::of(&content, &bytes()).unwrap();
        assert_eq!(words.ranges(), [0..1, 2..3, 4..6, 6..7]);
    }

    #[test]
    fn words_of_a_list_have_ranges_in_the_text_they_make() {
        let content = Content::Words { words: ["é", "", "b"].map(str::to_owned).into(), tags: None };
        let words = Words::of(&content, &small()).unwrap();
        assert_eq!((words.text(), words.ranges()), ("é  b", &[0..1, 2..2, 3..4][..]));
    }

    #[test]
    fn entities_become_the_tags_of_the_words_they_cover() {
        assert_eq!(classes("Änna B in Ulm.", &[(0, 6, "PER"), (10, 13, "LOC")]).unwrap(), (vec![1, 3, 4, 0, 4], 0));
        assert_eq!(classes("ab cd", &[(1, 2, "LOC")]).unwrap(), (vec![0, 4], 1), "in the middle of a word");
        assert_eq!(classes("ab cd", &[(0, 1, "LOC"), (1, 5, "PER")]).unwrap(), (vec![0, 1], 2), "two in a word");
    }

    #[test]
    fn entities_without_a_word_and_of_unknown_types_are_errors() {
        let no_word = "a.jsonl, line 3: the entity from 2 to 3 (LOC) has no word of its own";
        assert_eq!(classes("ab cd", &[(2, 3, "LOC")]).unwrap_err(), no_word);
        assert_eq!(classes("ab", &[(0, 2, "LOK")]).unwrap_err(), "a.jsonl, line 3: unknown label `LOK`");
    }
}
