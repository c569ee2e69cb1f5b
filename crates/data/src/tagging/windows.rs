//! Long texts at prediction: windows that overlap, and the one that answers for each word.

use super::Words;
use crate::tokenizer::Encoded;
use crate::{Error, Tokenizer};

/// A part of a text, and the words that it answers for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    pub encoded: Encoded,
    pub words: Vec<WordPosition>,
}

/// Where in a window the first token of a word stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WordPosition {
    /// Among [`Words::ranges`].
    pub word: usize,
    /// Among the ids of the window.
    pub position: usize,
}

/// The windows of a row: at most `max_length` tokens each, special ones included, with `overlap` tokens in common with the
/// one before (Transformers calls it `stride`); a single one where all fits. Each word with a token is answered for by one
/// window, the one where it is farthest from what was cut off.
///
/// Errors: a `max_length` that leaves no room for text.
pub fn windows(words: &Words, tokenizer: &Tokenizer, max_length: usize, overlap: usize) -> Result<Vec<Window>, Error> {
    let length = words.tokenized.len();
    let sequences = tokenizer.sequences(&words.tokenized, max_length, overlap, usize::MAX)?;
    let reaches: Vec<(usize, usize)> = sequences.iter().map(|it| (it.start, it.start + it.positions.len())).collect();
    let (mut windows, positions): (Vec<Window>, Vec<Vec<usize>>) =
        sequences.into_iter().map(|it| (Window { encoded: it.encoded, words: Vec::new() }, it.positions)).unzip();
    for word in &words.tokenized.words {
        let context = |reach: &(usize, usize)| context(word.token, *reach, length);
        // Of equals the first.
        let best = (0..reaches.len()).rev().max_by_key(|window| context(&reaches[*window]));
        let Some(best) = best else { continue };
        let position = positions[best][word.token - reaches[best].0];
        windows[best].words.push(WordPosition { word: word.number, position });
    }
    Ok(windows)
}

/// The tokens between a token and the nearer end of a window at which something was cut off; `None` where the window does
/// not have it.
fn context(token: usize, (start, end): (usize, usize), length: usize) -> Option<usize> {
    if !(start..end).contains(&token) {
        return None;
    }
    let before = if start == 0 { usize::MAX } else { token - start };
    let after = if end == length { usize::MAX } else { end - 1 - token };
    Some(before.min(after))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tagging::Content;
    use crate::tokenizer::tests::{bytes, small};

    fn words(text: &str, tokenizer: &Tokenizer) -> Words {
        Words::of(&Content::Text { text: text.to_owned(), entities: None }, tokenizer).unwrap()
    }

    #[test]
    fn a_short_text_is_one_window() {
        let windows = windows(&words("ac b", &small()), &small(), 64, 16).unwrap();
        assert_eq!(windows.len(), 1);
        let positions = windows[0].words.iter().map(|it| (it.word, it.position)).collect::<Vec<_>>();
        assert_eq!(positions, [(0, 1), (1, 3)]);
    }

    #[test]
    fn each_word_is_answered_where_it_has_most_context() {
        let windows = windows(&words(&"a ".repeat(10), &small()), &small(), 8, 4).unwrap();
        // Tokens 0 to 6, 2 to 8, 4 to 10: of two windows that both have a token the one whose end is farther.
        let of: Vec<Vec<usize>> =
            windows.iter().map(|window| window.words.iter().map(|it| it.word).collect()).collect();
        assert_eq!(of, [vec![0, 1, 2, 3], vec![4, 5], vec![6, 7, 8, 9]]);
    }

    proptest! {
        #[test]
        fn every_word_is_answered_once_by_its_own_token(
            text in "[ab.é😀 ]{0,60}[a-c]", max_length in 2..40_usize, overlap in 0..40_usize,
        ) {
            let tokenizer = bytes();
            let words = words(&text, &tokenizer);
            let windows = windows(&words, &tokenizer, max_length, overlap).unwrap();
            let mut answered: Vec<usize> = windows.iter().flat_map(|it| &it.words).map(|it| it.word).collect();
            answered.sort_unstable();
            prop_assert_eq!(answered, (0..words.len()).collect::<Vec<_>>());
            let whole = &super::windows(&words, &tokenizer, 1000, 0).unwrap()[0];
            let token = |window: &Window, at: &WordPosition| window.encoded.ids[at.position];
            for window in &windows {
                prop_assert!(window.encoded.ids.len() <= max_length);
                for at in &window.words {
                    let same = whole.words.iter().find(|it| it.word == at.word).unwrap();
                    prop_assert_eq!(token(window, at), token(whole, same));
                }
            }
        }
    }
}
