//! What of a very long text is tokenised where the middle of it is cut out: its beginning, and what stands around the place where
//! an answer begins. The rest is left out before the text is tokenised; the tokens of what stays are those of the whole text.
//!
//! Each part begins and ends between two words, where the tokens on both sides do not depend on each other:
//! [`beginning`](super::beginning) says when. Some tokens beside each cut are not counted on all the same. Where a text offers no
//! such place, nothing is left out.

use std::ops::Range;

use tokenizers::ModelWrapper;

use super::Tokenizer;
use super::beginning::{Apart, LONGER, MARGIN, apart, between_words, bytes_of, cut, may_be_cut};
use crate::Error;

/// Bytes of the beginning: of its tokens only those count with which every text begins.
const BEGINNING: usize = 4096;

/// A long text without the parts that are not needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Excerpt {
    pub(crate) text: String,
    /// What was left out before the answer, and of it and behind it: bytes of the whole text. Ascending; one may be empty.
    left_out: [Range<usize>; 2],
}

impl Excerpt {
    /// With the beginning of a text, and on each side of `answer`, a byte of it, at least `tokens` tokens. `None`: the text is
    /// not far longer than that, or only the whole of it can tell.
    pub(super) fn around(
        tokenizer: &Tokenizer,
        text: &str,
        answer: usize,
        tokens: usize,
    ) -> Result<Option<Self>, Error> {
        let before = middle(tokenizer, text, answer, tokens)?;
        let end = match may_be_cut(text.len() - answer, tokens) {
            true => cut(tokenizer, text, answer, tokens)?.map(|(end, _)| end),
            false => None,
        };
        if before.is_none() && end.is_none() {
            return Ok(None);
        }
        let (before, end) = (before.unwrap_or(0..0), end.unwrap_or(text.len()));
        let excerpt = [&text[..before.start], &text[before.end..end]].concat();
        Ok(Some(Self { text: excerpt, left_out: [before, end..text.len()] }))
    }

    /// Where in it a byte of the whole text stands; what was left out stands where the text goes on.
    pub(crate) fn position(&self, at: usize) -> usize {
        let before = |range: &Range<usize>| at.clamp(range.start, range.end) - range.start;
        at - self.left_out.iter().map(before).sum::<usize>()
    }

    /// Whether any of these bytes was left out.
    pub(crate) fn lacks(&self, bytes: &Range<usize>) -> bool {
        self.left_out.iter().any(|range| range.start.max(bytes.start) < range.end.min(bytes.end))
    }
}

/// What can be left out between the beginning of a text and the last tokens before `answer`.
fn middle(tokenizer: &Tokenizer, text: &str, answer: usize, tokens: usize) -> Result<Option<Range<usize>>, Error> {
    if !may_be_cut(answer, tokens) {
        return Ok(None);
    }
    let start = between_words(text, BEGINNING / 2..BEGINNING).filter(|at| goes_on_alike(tokenizer, text, *at));
    let Some(start) = start else { return Ok(None) };
    if tokenizer.alone(&text[..start])?.len() < 2 * MARGIN {
        return Ok(None);
    }
    let mut bytes = bytes_of(tokens);
    while bytes.saturating_mul(LONGER) < answer {
        let searched = answer - bytes..answer - bytes / 2;
        if let Some(end) = between_words(text, searched).filter(|at| goes_on_alike(tokenizer, text, *at)) {
            let joined = [&text[..start], &text[end..answer]].concat();
            let enough = tokenizer.alone(&text[end..answer])?.len() >= tokens + MARGIN;
            if enough && goes_on_alike(tokenizer, &joined, start) {
                return Ok(Some(start..end));
            }
        }
        bytes = bytes.saturating_mul(2);
    }
    Ok(None)
}

/// Whether what follows on a space has the same tokens after any other word.
fn goes_on_alike(tokenizer: &Tokenizer, text: &str, space: usize) -> bool {
    match apart(tokenizer, text, space) {
        Some(Apart::Pieces) => true,
        // Scores of a piece are summed from its beginning: rounded otherwise, of two ways that are equally good the other wins.
        Some(Apart::Words) => !matches!(tokenizer.inner.model(), ModelWrapper::Unigram(_)),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokenizer::tests::{bytes, every_kind};

    #[test]
    fn bytes_that_were_left_out_stand_where_the_text_goes_on() {
        let excerpt = Excerpt { text: "ab".into(), left_out: [3..7, 9..12] };
        assert_eq!([0, 3, 5, 7, 8, 9, 12].map(|at| excerpt.position(at)), [0, 3, 3, 3, 4, 5, 5]);
        let lacks = [0..3, 2..4, 4..5, 7..9, 8..10, 12..12].map(|bytes| excerpt.lacks(&bytes));
        assert_eq!(lacks, [false, true, true, false, true, false]);
    }

    #[test]
    fn what_is_left_is_the_beginning_and_the_surroundings_of_the_answer() {
        let text = "one two ".repeat(10_000);
        let excerpt = bytes().excerpt(&text, 40_000, 10).unwrap().unwrap();
        let answer = excerpt.position(40_000);
        assert!(excerpt.text.len() < 16_000, "{}", excerpt.text.len());
        assert!(text.starts_with(&excerpt.text[..BEGINNING / 2]));
        assert!(text[..40_000].ends_with(&excerpt.text[answer - 1_000..answer]));
        assert!(text[40_000..].starts_with(&excerpt.text[answer..]));
        assert_eq!(bytes().excerpt(&text[..8_000], 4_000, 10).unwrap(), None, "it is not long enough");
    }

    #[test]
    fn a_text_without_a_place_to_cut_is_left_whole() {
        for (name, tokenizer) in every_kind() {
            assert_eq!(tokenizer.excerpt(&"a".repeat(80_000), 40_000, 10).unwrap(), None, "{name}");
        }
    }

    #[test]
    fn pieces_whose_scores_are_summed_from_the_beginning_are_not_cut_out() {
        let text = "aaaa aab ".repeat(10_000);
        for (name, tokenizer) in every_kind() {
            let excerpt = tokenizer.excerpt(&text, text.len() - 100, 10).unwrap();
            assert_eq!(excerpt.is_some(), name != "Unigram in one piece", "{name}");
        }
    }
}
