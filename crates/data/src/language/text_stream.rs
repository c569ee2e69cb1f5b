//! Token ids become text one at a time, as generation makes them.

use std::sync::Arc;

use super::super::Tokenizer;

/// Text out of token ids as soon as it is certain. Special tokens are left out.
///
/// A character may take several tokens, and how a token is written may depend on those around it: a leading space is
/// part of a word only inside a text. So the text of a few tokens before goes with each new one, and what it adds is shown
/// once it cannot change any more. Put together the pieces are [`Tokenizer::text`] of all ids.
#[derive(Debug, Clone)]
pub struct TextStream {
    tokenizer: Arc<Tokenizer>,
    /// Ascending.
    special: Vec<u32>,
    /// The tokens of the last text that was shown, and those after it.
    ids: Vec<u32>,
    /// How many of `ids` were shown.
    shown: usize,
}

impl TextStream {
    pub fn new(tokenizer: Arc<Tokenizer>) -> Self {
        Self { special: tokenizer.special_tokens(), tokenizer, ids: Vec::new(), shown: 0 }
    }

    /// The text that is certain after this token; often none.
    pub fn push(&mut self, id: u32) -> String {
        self.ids.push(id);
        if self.is_open(id) {
            return String::new();
        }
        let text = self.tokenizer.text(&self.ids);
        // Bytes that are no character yet are written as U+FFFD.
        if text.ends_with(char::REPLACEMENT_CHARACTER) {
            return String::new();
        }
        match text.strip_prefix(&self.tokenizer.text(&self.ids[..self.shown])) {
            Some("") | None => String::new(),
            Some(added) => {
                let added = added.to_owned();
                self.ids.drain(..self.shown);
                self.shown = self.ids.len();
                added
            }
        }
    }

    /// The rest, when no more tokens come.
    pub fn finish(&mut self) -> String {
        let (text, shown) = (self.tokenizer.text(&self.ids), self.tokenizer.text(&self.ids[..self.shown]));
        self.ids.clear();
        self.shown = 0;
        text.strip_prefix(&shown).unwrap_or_default().to_owned()
    }

    /// Whether the tokens up to this one may still become another text.
    ///
    /// SentencePiece writes what its vocabulary lacks as bytes, `<0xE4>`, and a run of them is decoded as one, over special
    /// tokens that are left out: invalid bytes at its end make all of it U+FFFD.
    fn is_open(&self, id: u32) -> bool {
        let is_byte = |token: String| token.len() == 6 && token.starts_with("<0x") && token.ends_with('>');
        self.special.binary_search(&id).is_ok() || self.tokenizer.token(id).is_some_and(is_byte)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tokenizer::tests::{bytes, sentence_pieces, small, trained};

    fn stream(tokenizer: &Tokenizer, ids: &[u32]) -> Vec<String> {
        let mut stream = TextStream::new(Arc::new(tokenizer.clone()));
        let mut pieces: Vec<String> = ids.iter().map(|id| stream.push(*id)).collect();
        pieces.push(stream.finish());
        pieces
    }

    #[test]
    fn characters_of_several_tokens_are_shown_whole() {
        let tokenizer = bytes();
        let ids = tokenizer.ids("a😀b");
        assert_eq!(ids.len(), 6, "a token for each byte");
        assert_eq!(stream(&tokenizer, &ids), ["a", "", "", "", "😀", "b", ""]);
        assert_eq!(stream(&tokenizer, &ids[..3]).concat(), "a\u{fffd}", "what is no character is shown at the end");
        let with_end = [ids.as_slice(), &[1]].concat();
        assert_eq!(stream(&tokenizer, &with_end).concat(), "a😀b", "special tokens are left out");
    }

    #[test]
    fn words_keep_the_spaces_between_them() {
        let tokenizer = sentence_pieces();
        let ids = tokenizer.ids("hello world world");
        assert_eq!(stream(&tokenizer, &ids), ["hello", " world", " world", ""]);
        // A special token in between, which leaves no text to go with the next one.
        let marked = [ids[0], 2, ids[1], 2, 2, ids[2]];
        assert_eq!(stream(&tokenizer, &marked), ["hello", "", " world", "", "", " world", ""]);
        assert_eq!(tokenizer.text(&[ids[1]]), "world", "at the beginning it has none");
    }

    #[test]
    fn merged_tokens_that_end_within_a_character_are_held() {
        let text = "naïve 东京 电影 很好 😀😃 naïve 东京";
        let tokenizer = trained(text);
        let ids = tokenizer.ids(text);
        assert!(ids.len() < text.len(), "some bytes are merged");
        let pieces = stream(&tokenizer, &ids);
        assert_eq!(pieces.concat(), text);
        assert!(pieces.iter().all(|piece| !piece.contains('\u{fffd}')), "{pieces:?}");
        assert!(pieces.last().is_some_and(String::is_empty), "nothing is left for the end");
    }

    proptest! {
        #[test]
        fn the_pieces_are_the_text(ids in prop::collection::vec(0..300_u32, 0..40)) {
            for tokenizer in [bytes(), sentence_pieces(), small()] {
                let known: Vec<u32> = ids.iter().map(|id| id % tokenizer.vocabulary_size() as u32).collect();
                prop_assert_eq!(stream(&tokenizer, &known).concat(), tokenizer.text(&known));
            }
        }
    }
}
