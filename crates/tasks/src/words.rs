//! Tokens as text.

use std::ops::Range;

use data::Tokenizer;

/// The text of some of the tokens, as it stands within that of all up to them: alone a word may lack its space, and a
/// character its first bytes.
pub fn part(tokenizer: &Tokenizer, ids: &[u32], tokens: Range<usize>) -> String {
    let (before, with) = (tokenizer.decode(&ids[..tokens.start]), tokenizer.decode(&ids[..tokens.end]));
    with.strip_prefix(&before).map_or_else(|| tokenizer.decode(&ids[tokens]), str::to_owned)
}

/// A token as text: within a sequence, since at its beginning pieces of words are written differently.
pub(crate) fn token(tokenizer: &Tokenizer, first: Option<u32>, id: u32) -> String {
    let ids = [first.unwrap_or(id), id];
    let text = part(tokenizer, &ids, 1..2).trim().to_owned();
    if text.is_empty() { tokenizer.token(id).unwrap_or_else(|| format!("<{id}>")) } else { text }
}
