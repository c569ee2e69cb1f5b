//! How often each word stands in the texts: all that a vocabulary is trained on.

use std::collections::HashMap;

use rayon::prelude::*;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::{NormalizedString, Normalizer, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer};

use super::{VocabularyKind, bert_normalizer, byte_level};
use crate::Error;

/// Texts that are in memory at a time.
const CHUNK: usize = 4096;

/// Texts that a thread counts before it hands on its counts.
const SHARE: usize = 128;

/// Longer words are `[UNK]` to a word piece tokenizer, whatever its vocabulary.
const LONGEST_WORD: usize = 100;

/// The words of all texts, cut as the tokenizer will cut them.
pub(super) fn count(
    texts: impl Iterator<Item = Result<String, Error>>,
    kind: VocabularyKind,
    progress: &dyn Fn(usize),
) -> Result<HashMap<String, u64>, Error> {
    let mut counts = HashMap::new();
    let mut texts = texts.peekable();
    while texts.peek().is_some() {
        let chunk = texts.by_ref().take(CHUNK).collect::<Result<Vec<String>, Error>>()?;
        let shares: Vec<_> = chunk.par_chunks(SHARE).map(|share| count_share(share, kind)).collect();
        for share in shares {
            for (word, count) in share? {
                *counts.entry(word).or_default() += count;
            }
        }
        progress(chunk.len());
    }
    Ok(counts)
}

fn count_share(texts: &[String], kind: VocabularyKind) -> Result<HashMap<String, u64>, Error> {
    let mut counts = HashMap::new();
    for part in texts.iter().flat_map(|text| without_special(text, kind)) {
        let words = cut(part, kind).map_err(|source| Error::Tokenizing { source })?;
        for (word, ..) in words.get_splits(OffsetReferential::Normalized, OffsetType::Byte) {
            if kind == VocabularyKind::WordPiece && word.chars().count() > LONGEST_WORD {
                continue;
            }
            match counts.get_mut(word) {
                Some(count) => *count += 1,
                None => _ = counts.insert(word.to_owned(), 1),
            }
        }
    }
    Ok(counts)
}

/// The text around special tokens that someone has written out: they are whole already, and are no words.
fn without_special(text: &str, kind: VocabularyKind) -> Vec<&str> {
    kind.special().iter().fold(vec![text], |parts, special| parts.iter().flat_map(|it| it.split(special)).collect())
}

fn cut(text: &str, kind: VocabularyKind) -> tokenizers::Result<PreTokenizedString> {
    match kind {
        VocabularyKind::WordPiece => {
            let mut normalized = NormalizedString::from(text);
            bert_normalizer().normalize(&mut normalized)?;
            let mut words = PreTokenizedString::from(normalized);
            BertPreTokenizer.pre_tokenize(&mut words)?;
            Ok(words)
        }
        VocabularyKind::Bpe => {
            let mut words = PreTokenizedString::from(text);
            byte_level().pre_tokenize(&mut words)?;
            Ok(words)
        }
    }
}
