//! Words and their tokens: which token is the first of each word.

use std::ops::Range;

use tokenizers::Encoding;
use unicode_categories::UnicodeCategories;

use super::{Encoded, Tokenizer, encoded};
use crate::Error;

/// The tokens of a sentence, without special ones, and its words.
#[derive(Debug, Clone)]
pub(crate) struct Tokenized {
    encoding: Encoding,
    /// The words that have tokens, in their order.
    pub(crate) words: Vec<Word>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Word {
    /// Among the words that were given; otherwise among those of the text.
    pub(crate) number: usize,
    /// Its first token.
    pub(crate) token: usize,
    /// The bytes of the text that it stands for, where there is one.
    pub(crate) bytes: Range<usize>,
}

/// Some of the tokens, from `start`, with special ones around them.
#[derive(Debug, Clone)]
pub(crate) struct Sequence {
    pub(crate) encoded: Encoded,
    pub(crate) start: usize,
    /// Where each of the tokens stands in the sequence.
    pub(crate) positions: Vec<usize>,
}

impl Tokenized {
    pub(crate) fn len(&self) -> usize {
        self.encoding.len()
    }
}

impl Tokenizer {
    /// Words, each tokenised by itself: `is_split_into_words` of Transformers.
    pub(crate) fn words(&self, words: &[String]) -> Result<Tokenized, Error> {
        let input: Vec<&str> = words.iter().map(String::as_str).collect();
        let encoding = self.inner.encode(input).map_err(|source| Error::Tokenizing { source })?;
        let mut found: Vec<Word> = Vec::new();
        for (token, number) in encoding.get_word_ids().iter().enumerate() {
            let Some(number) = number.map(|number| number as usize) else { continue };
            if found.last().is_none_or(|last| last.number != number) {
                found.push(Word { number, token, bytes: 0..0 });
            }
        }
        self.tokenized(encoding, found, || words.join(" "))
    }

    /// A text and its words: what the pre-tokeniser divides, and further at white space and beside punctuation where tokens
    /// end there. (SentencePiece's pre-tokenisers leave a full stop at its word, and some tokenizers have none at all.)
    pub(crate) fn words_of(&self, text: &str) -> Result<Tokenized, Error> {
        let encoding = self.inner.encode(text).map_err(|source| Error::Tokenizing { source })?;
        let mut found: Vec<Word> = Vec::new();
        let mut piece = None;
        for (token, (id, (start, end))) in encoding.get_word_ids().iter().zip(encoding.get_offsets()).enumerate() {
            let bytes = trimmed(text, *start..*end);
            match found.last_mut() {
                Some(word) if piece == Some(*id) && !is_boundary(text, &word.bytes, &bytes) => {
                    let start = if word.bytes.is_empty() { bytes.start } else { word.bytes.start };
                    word.bytes = start..word.bytes.end.max(bytes.end);
                }
                _ => found.push(Word { number: 0, token, bytes }),
            }
            piece = Some(*id);
        }
        found.retain(|word| !word.bytes.is_empty());
        found.iter_mut().zip(0..).for_each(|(word, number)| word.number = number);
        self.tokenized(encoding, found, || text.to_owned())
    }

    fn tokenized(&self, encoding: Encoding, words: Vec<Word>, text: impl Fn() -> String) -> Result<Tokenized, Error> {
        if words.is_empty() {
            return Err(Error::NoTokens { subject: format!("`{}`", text().chars().take(40).collect::<String>()) });
        }
        Ok(Tokenized { encoding, words })
    }

    /// The tokens in sequences of at most `max_length`, special tokens included, each with the last `overlap` tokens of the
    /// one before it, or as many as leave room for a new one. At most `limit` sequences.
    pub(crate) fn sequences(
        &self,
        tokenized: &Tokenized,
        max_length: usize,
        overlap: usize,
        limit: usize,
    ) -> Result<Vec<Sequence>, Error> {
        let special = self.special_around(false);
        if max_length <= special {
            return Err(Error::MaxLength { max_length, special });
        }
        let (room, length) = (max_length - special, tokenized.len());
        let overlap = overlap.min(room - 1);
        let mut encoding = tokenized.encoding.clone();
        encoding.truncate(room, overlap, tokenizers::TruncationDirection::Right);
        let others = encoding.take_overflowing();
        let starts = (0..).step_by(room - overlap);
        let parts = std::iter::once(encoding).chain(others).zip(starts).take(limit);
        parts.map(|(part, start)| self.sequence(part, start, length + special)).collect()
    }

    fn sequence(&self, part: Encoding, start: usize, full_length: usize) -> Result<Sequence, Error> {
        let whole = self.inner.post_process(part, None).map_err(|source| Error::Tokenizing { source })?;
        let mask = whole.get_special_tokens_mask();
        let positions = (0..whole.len()).filter(|position| mask[*position] == 0).collect();
        Ok(Sequence { encoded: encoded(&whole, full_length, false), start, positions })
    }
}

/// Without the white space around it, which byte-level pre-tokenisers and SentencePiece's count to a word.
fn trimmed(text: &str, bytes: Range<usize>) -> Range<usize> {
    let part = text.get(bytes.clone()).unwrap_or_default();
    let start = bytes.start + part.len() - part.trim_start().len();
    start..start + part.trim().len()
}

/// Whether a token begins a word after one of the same piece.
fn is_boundary(text: &str, word: &Range<usize>, token: &Range<usize>) -> bool {
    if word.is_empty() || token.start < word.end {
        return false;
    }
    let between = text.get(word.end..token.start).unwrap_or_default();
    let before = text.get(..word.end).and_then(|text| text.chars().next_back());
    let after = text.get(token.start..).and_then(|text| text.chars().next());
    between.contains(char::is_whitespace) || [before, after].into_iter().flatten().any(is_punctuation)
}

fn is_punctuation(c: char) -> bool {
    c.is_ascii_punctuation() || c.is_punctuation()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::{bytes, dir, small};
    use super::*;

    fn found(tokenizer: &Tokenizer, text: &str) -> Vec<(String, usize)> {
        let tokenized = tokenizer.words_of(text).unwrap();
        tokenized.words.into_iter().map(|word| (text[word.bytes].to_owned(), word.token)).collect()
    }

    fn pairs(expected: &[(&str, usize)]) -> Vec<(String, usize)> {
        expected.iter().map(|(word, token)| ((*word).to_owned(), *token)).collect()
    }

    #[test]
    fn the_words_of_a_text_are_those_of_the_pre_tokeniser() {
        assert_eq!(found(&small(), " ac b.c  "), pairs(&[("ac", 0), ("b", 2), (".", 3), ("c", 4)]));
        assert_eq!(found(&bytes(), "ab é, c"), pairs(&[("ab", 0), ("é", 2), (",", 5), ("c", 6)]));
    }

    /// With a pre-tokeniser that leaves punctuation at its word, or with none.
    fn unigram(pre_tokenizer: serde_json::Value) -> Tokenizer {
        let vocabulary = json!([["<unk>", 0.0], ["\u{2581}hello", -1.0], ["\u{2581}", -2.0], ["a", -3.0], [".", -3.0]]);
        let tokenizer = json!({
            "version": "1.0",
            "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "\u{2581}"},
            "pre_tokenizer": pre_tokenizer,
            "model": {"type": "Unigram", "unk_id": 0, "vocab": vocabulary},
        });
        Tokenizer::from_dir(dir(&[("tokenizer.json", &tokenizer.to_string())]).path()).unwrap()
    }

    #[test]
    fn a_space_is_no_word_and_punctuation_one_where_the_pre_tokeniser_leaves_it() {
        let metaspace =
            json!({"type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": "always", "split": true});
        // The tokens are `_hello`, `_`, `a`, `.`, `_hello`.
        let expected = pairs(&[("hello", 0), ("a", 1), (".", 3), ("hello", 4)]);
        assert_eq!(found(&unigram(metaspace), "hello a. hello"), expected);
        // Those of the other are `a`, `.`, `_hello`, `_`, `a`.
        let expected = pairs(&[("a", 0), (".", 1), ("hello", 2), ("a", 3)]);
        assert_eq!(found(&unigram(serde_json::Value::Null), "a. hello a"), expected);
    }

    #[test]
    fn words_have_their_number_and_those_without_tokens_are_missing() {
        let words = ["acc", "", "b"].map(str::to_owned);
        let found = small().words(&words).unwrap().words;
        assert_eq!(found.iter().map(|it| (it.number, it.token)).collect::<Vec<_>>(), [(0, 0), (2, 3)]);
        let error = small().words(&[" ".to_owned()]).unwrap_err();
        assert_eq!(error.to_string(), "` `: the tokenizer makes no token of the text");
    }

    #[test]
    fn sequences_overlap_and_hold_every_token() {
        let tokenized = small().words_of(&"a b c ".repeat(4)).unwrap();
        let sequences = small().sequences(&tokenized, 7, 2, usize::MAX).unwrap();
        let shown: Vec<(usize, usize, usize)> =
            sequences.iter().map(|it| (it.start, it.positions.len(), it.encoded.ids.len())).collect();
        assert_eq!(shown, [(0, 5, 7), (3, 5, 7), (6, 5, 7), (9, 3, 5)]);
        assert_eq!(sequences[1].encoded.ids, [2, 5, 6, 7, 5, 6, 3]);
        assert_eq!(sequences[1].encoded.full_length, 14);
        let error = small().sequences(&tokenized, 2, 0, 1).unwrap_err();
        assert!(error.to_string().starts_with("`data.max_length = 2` leaves no room for text"), "{error}");
    }
}
