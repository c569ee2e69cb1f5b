//! The table of a SentencePiece normalizer. `spm_precompiled`, which `tokenizers` normalizes with, trusts every offset in it.

use tokenizers::normalizers::Precompiled;

/// A unit of the trie holds a value, not a node.
const IS_VALUE: usize = 1 << 31;

/// `None` where a text could lead out of it. Layout: the bytes of the trie (u32), the trie (u32 each), and texts that end in zeros.
pub(in crate::tokenizer) fn read(table: &[u8]) -> Option<Precompiled> {
    let (size, rest) = table.split_first_chunk::<4>()?;
    let (trie, texts) = rest.split_at_checked(u32::from_le_bytes(*size) as usize)?;
    let (units, []) = trie.as_chunks::<4>() else { return None };
    let texts = str::from_utf8(texts).ok()?;
    let units: Vec<usize> = units.iter().map(|unit| u32::from_le_bytes(*unit) as usize).collect();
    let is_sound = |(at, unit): (usize, &usize)| {
        // A child lies in the block of 256 that its parent points at; a leaf, at its beginning.
        let child = at ^ ((unit >> 10) << ((unit & (1 << 9)) >> 6));
        let leaf = || units.get(child).is_some_and(|value| texts.is_char_boundary(value & !IS_VALUE));
        (child | 0xff) < units.len() && ((unit >> 8) & 1 == 0 || leaf())
    };
    let is_whole =
        !units.is_empty() && units.iter().enumerate().filter(|(_, unit)| **unit & IS_VALUE == 0).all(is_sound);
    if is_whole { Precompiled::from(table).ok() } else { None }
}

/// The bytes of the longest text of a sound table.
pub(in crate::tokenizer) fn longest(table: &[u8]) -> usize {
    let texts = table.split_first_chunk::<4>().and_then(|(size, rest)| rest.get(u32::from_le_bytes(*size) as usize..));
    texts.into_iter().flat_map(|texts| texts.split(|byte| *byte == 0)).map(<[u8]>::len).max().unwrap_or(0)
}

/// The bytes that a table makes of a text at most. Graphemes of up to five bytes are replaced as a whole, others character by
/// character, both by what the table has for their beginning.
pub(in crate::tokenizer) fn made(table: &Precompiled, text: &str) -> usize {
    let from = |(at, character): (usize, char)| {
        let mut end = (at + 5).min(text.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        table.transform(&text[at..end]).map_or(0, str::len).max(character.len_utf8())
    };
    text.char_indices().map(from).sum()
}
