//! The first tokens of a text that is far longer than what is kept of it, without tokenising the rest.
//!
//! A text is cut between two words, where the tokenizer cuts it as well: its pre-tokenizer ends a piece there, or no token
//! of its vocabulary reaches over a space. The tokens before the cut are then those of the whole text, as words are tokenised
//! for themselves. Some tokens before the cut are not counted on all the same, for added tokens may hold spaces. Where a text
//! offers no such place, any other where the pre-tokenizer ends a piece will do, without the last pieces before it; a text that is
//! one piece is tokenised as a whole.

use std::ops::Range;

use tokenizers::{Encoding, Model, ModelWrapper, OffsetReferential, OffsetType};

use crate::{Error, Tokenizer};

/// Bytes to begin with, for each token that is wanted and besides. Few texts have tokens of more bytes.
const BYTES_PER_TOKEN: usize = 16;
const BYTES: usize = 4096;

/// A text is cut only if it is so much longer: the lengths of others stay exact.
pub(super) const LONGER: usize = 4;

/// Tokens before the cut that are not counted on.
pub(super) const MARGIN: usize = 64;

/// What is looked at around the cut.
const WINDOW: usize = 256;

/// What SentencePiece and byte-level BPE write for a space before a word.
const MARKS: [char; 2] = ['▁', 'Ġ'];

/// What keeps the tokens on both sides of a space from depending on each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Apart {
    /// The pre-tokenizer ends a piece there.
    Pieces,
    /// One piece goes over the space, but no token of the vocabulary.
    Words,
}

/// `tokens` tokens of a text or more, without special tokens; `None` where only the whole text can tell.
pub(super) fn tokens(tokenizer: &Tokenizer, text: &str, tokens: usize) -> Result<Option<Encoding>, Error> {
    Ok(cut(tokenizer, text, 0, tokens)?.map(|(_, encoding)| encoding))
}

/// Where a text can end that begins at `start` and has `tokens` tokens or more, with these.
pub(super) fn cut(
    tokenizer: &Tokenizer,
    text: &str,
    start: usize,
    tokens: usize,
) -> Result<Option<(usize, Encoding)>, Error> {
    let mut bytes = bytes_of(tokens);
    while bytes.saturating_mul(LONGER) < text.len() - start {
        let searched = start + bytes / 2..start + bytes;
        let words = between_words(text, searched.clone()).filter(|cut| apart(tokenizer, text, *cut).is_some());
        if let Some(cut) = words.or_else(|| between_pieces(tokenizer, text, searched)) {
            let encoding = tokenizer.alone(&text[start..cut])?;
            let certain = match words {
                Some(_) => encoding.len(),
                None => before_last_pieces(tokenizer, &text[start..cut])?,
            };
            if certain >= tokens + MARGIN {
                return Ok(Some((cut, encoding)));
            }
        }
        bytes = bytes.saturating_mul(2);
    }
    Ok(None)
}

/// Whether a text of so many bytes is long enough for `tokens` to try.
pub(super) fn may_be_cut(length: usize, tokens: usize) -> bool {
    bytes_of(tokens).saturating_mul(LONGER) < length
}

/// The bytes to begin with.
pub(super) fn bytes_of(tokens: usize) -> usize {
    tokens.saturating_mul(BYTES_PER_TOKEN).saturating_add(BYTES)
}

/// The last space among these bytes that stands alone between two letters.
pub(super) fn between_words(text: &str, bytes: Range<usize>) -> Option<usize> {
    let begin = text.ceil_char_boundary(bytes.start);
    let searched = &text[begin..text.floor_char_boundary(bytes.end)];
    let is_cut = |at: usize| {
        let before = searched[..at].chars().next_back();
        let behind = searched[at + 1..].chars().next();
        before.is_some_and(char::is_alphabetic) && behind.is_some_and(char::is_alphabetic)
    };
    searched.rmatch_indices(' ').map(|(at, _)| at).find(|at| is_cut(*at)).map(|at| begin + at)
}

/// Where the pre-tokenizer ends a piece, in the middle of these bytes, of a text without words between spaces there. What it does before
/// these bytes may shift where its pieces end, of digits by threes say: the last before the cut are [not counted on](before_last_pieces).
fn between_pieces(tokenizer: &Tokenizer, text: &str, bytes: Range<usize>) -> Option<usize> {
    let middle = bytes.start + bytes.len() / 2;
    let begin = text.ceil_char_boundary(middle - WINDOW.min(middle));
    let window = &text[begin..text.floor_char_boundary(middle + WINDOW)];
    let pieces = tokenizer.inner.pieces(window).ok()?;
    let splits = pieces.get_splits(OffsetReferential::Original, OffsetType::Byte);
    let is_cut = |end: &usize| {
        let spans = splits.iter().any(|(_, (start, other), _)| start < end && end < other);
        (1..window.len()).contains(end) && window.is_char_boundary(*end) && !spans
    };
    let ends = splits.iter().map(|(_, (_, end), _)| *end).filter(is_cut);
    ends.min_by_key(|end| end.abs_diff(window.len() / 2)).map(|end| begin + end)
}

/// The tokens of a text before its last two pieces.
fn before_last_pieces(tokenizer: &Tokenizer, text: &str) -> Result<usize, Error> {
    let encoding = tokenizer.inner.encode_untrimmed(text).map_err(|source| Error::Tokenizing { source })?;
    let pieces = encoding.get_word_ids();
    let last = pieces.last().copied().flatten().unwrap_or(0);
    Ok(pieces.iter().take_while(|piece| piece.is_some_and(|piece| piece + 1 < last)).count())
}

/// `None`: the tokens on both sides of a space may depend on each other.
pub(super) fn apart(tokenizer: &Tokenizer, text: &str, cut: usize) -> Option<Apart> {
    let inner = &tokenizer.inner;
    let begin = text.ceil_char_boundary(cut.saturating_sub(WINDOW));
    let window = &text[begin..text.floor_char_boundary(cut + WINDOW)];
    let cut = cut - begin;
    let pieces = inner.pieces(window).ok()?;
    let splits = pieces.get_splits(OffsetReferential::Original, OffsetType::Byte);
    let ends = splits.iter().any(|(_, (_, end), _)| *end == cut);
    let spans = splits.iter().any(|(_, (start, end), _)| *start < cut && cut < *end);
    if ends && !spans {
        return Some(Apart::Pieces);
    }
    // One piece goes over the space: it is written as a mark then, with which tokens can only begin.
    let is_marked = splits.iter().any(|(piece, ..)| piece.contains(MARKS));
    let are_apart = is_marked && *tokenizer.words_are_apart.get_or_init(|| words_are_apart(inner.model()));
    are_apart.then_some(Apart::Words)
}

/// Whether marks of spaces stand at the start of tokens alone, in a model whose tokens depend only on what they cover.
fn words_are_apart(model: &ModelWrapper) -> bool {
    let holds_mark = |token: &String| token.trim_start_matches(MARKS).contains(MARKS);
    match model {
        model @ (ModelWrapper::BPE(_) | ModelWrapper::Unigram(_)) => !model.get_vocab().keys().any(holds_mark),
        ModelWrapper::WordPiece(_) | ModelWrapper::WordLevel(_) => false,
    }
}

#[cfg(test)]
pub(super) mod tests;
