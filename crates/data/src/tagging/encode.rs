//! Rows become examples: token ids, and the class of each word at the word's first token.

use std::path::Path;

use super::{Content, Row, TagSet, Tally, Words};
use crate::tokenizer::Encoded;
use crate::{Error, Label, Labels, Place, Tokenizer};

/// A row for a model: the first token of each word is a position at which it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedWords {
    pub line: usize,
    pub encoded: Encoded,
    /// The place in `encoded.ids` of each word's first token, ascending, of the words that were not cut off.
    pub positions: Vec<usize>,
    /// The class of each of these words; all other tokens have no target.
    pub classes: Vec<usize>,
    /// The number of words that truncation took.
    pub lost_targets: usize,
    /// The number of entities that do not begin and end where words do.
    pub inexact: usize,
}

/// What numbers the tags of a row.
#[derive(Debug, Clone, Copy)]
pub enum Numbers<'a> {
    Labels(&'a Labels),
    /// Provisional ones, while the tags of rows are still being found: of a row that was added to it.
    Tally(&'a Tally),
}

impl Numbers<'_> {
    fn number(self, tag: &Label, place: impl Fn() -> Place) -> Result<usize, Error> {
        match self {
            Self::Labels(labels) => labels.number(tag, place),
            Self::Tally(tally) => Ok(tally.number(tag).expect("the tags of a row are added before it is encoded")),
        }
    }
}

/// Encodes a row with its tags or entities, truncated to `max_length` tokens.
///
/// Errors: an unknown tag or type of entity, a row without a token, a `max_length` that leaves no room.
///
/// # Panics
/// If the row was read without its tags or entities.
pub fn encode(
    file: &Path,
    row: &Row,
    numbers: Numbers<'_>,
    tags: &TagSet,
    tokenizer: &Tokenizer,
    max_length: usize,
) -> Result<EncodedWords, Error> {
    let words = Words::of(&row.content, tokenizer).map_err(|error| error.at(file, row.line))?;
    let (classes, inexact) = match &row.content {
        Content::Words { tags: Some(tags), .. } => {
            let number = |(n, tag)| numbers.number(tag, || row.place(file, n));
            (tags.iter().enumerate().map(number).collect::<Result<Vec<_>, _>>()?, 0)
        }
        Content::Text { entities: Some(entities), .. } => words.classes(entities, tags, file, row)?,
        Content::Words { tags: None, .. } | Content::Text { entities: None, .. } => {
            panic!("a row is encoded with its tags or entities")
        }
    };
    let mut sequences = tokenizer.sequences(&words.tokenized, max_length, 0, 1)?;
    let sequence = sequences.swap_remove(0);
    let all = &words.tokenized.words;
    let kept = all.partition_point(|word| word.token < sequence.positions.len());
    Ok(EncodedWords {
        line: row.line,
        positions: all[..kept].iter().map(|word| sequence.positions[word.token]).collect(),
        classes: all[..kept].iter().map(|word| classes[word.number]).collect(),
        lost_targets: all.len() - kept,
        encoded: sequence.encoded,
        inexact,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tagging::{Entity, Scheme};
    use crate::tokenizer::tests::small;

    fn encoded(content: Content, max_length: usize) -> Result<EncodedWords, Error> {
        let names = ["B-PER", "I-PER", "O"].map(str::to_owned).to_vec();
        let (tags, labels) = (TagSet::new(&names, Scheme::Iob2), Labels::new(names).unwrap());
        let row = Row { line: 4, content };
        encode(Path::new("a.conll"), &row, Numbers::Labels(&labels), &tags, &small(), max_length)
    }

    fn words(words: &[&str], tags: &[&str]) -> Content {
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        Content::Words { words, tags: Some(tags.iter().map(|tag| Label::Text((*tag).to_owned())).collect()) }
    }

    #[test]
    fn the_first_token_of_each_word_has_its_tag() {
        let found = encoded(words(&["acc", "b", "", "cafe"], &["B-PER", "I-PER", "O", "O"]), 64).unwrap();
        assert_eq!(found.encoded.ids, [2, 5, 8, 8, 6, 9, 3]);
        assert_eq!((found.positions, found.classes), (vec![1, 4, 5], vec![0, 1, 2]));
        assert_eq!((found.lost_targets, found.encoded.full_length), (0, 7));
    }

    #[test]
    fn words_beyond_the_length_are_counted() {
        let found = encoded(words(&["a", "acc", "b", "b"], &["O", "B-PER", "O", "O"]), 5).unwrap();
        assert_eq!(found.encoded.ids, [2, 5, 5, 8, 3]);
        assert_eq!((found.positions, found.classes, found.lost_targets), (vec![1, 2], vec![2, 0], 2));
        assert_eq!(found.encoded.full_length, 8);
    }

    #[test]
    fn a_text_with_entities_is_encoded_as_a_whole() {
        let entities = Some(vec![Entity { start: 0, end: 4, label: "PER".into() }]);
        let found = encoded(Content::Text { text: "ac b. cafe".into(), entities }, 64).unwrap();
        assert_eq!(found.encoded.ids, [2, 5, 8, 6, 1, 9, 3]);
        assert_eq!((found.positions, found.classes), (vec![1, 3, 4, 5], vec![0, 1, 2, 2]));
    }

    #[test]
    fn an_unknown_tag_is_an_error_at_its_line() {
        let error = encoded(words(&["a", "b"], &["O", "B-PRE"]), 64).unwrap_err();
        assert_eq!(error.to_string(), "a.conll, line 5: unknown label `B-PRE`");
    }
}
