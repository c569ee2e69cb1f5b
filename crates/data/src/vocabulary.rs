//! A vocabulary trained on texts, for a model that is trained from nothing: BERT's word pieces or GPT-2's bytes, with
//! the files that [`Tokenizer::from_dir`](crate::Tokenizer::from_dir) and `AutoTokenizer` of Transformers read.
//!
//! The same texts give the same bytes, in whatever order they come. Nothing is written here: the caller has the files.

mod words;

use std::collections::{BTreeSet, HashMap};

use serde_json::{Value, json};
use tokenizers::decoders::wordpiece::WordPiece as WordPieceDecoder;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::processors::bert::BertProcessing;
use tokenizers::{AddedToken, Tokenizer};

use crate::Error;

/// Two entries are merged to a longer one where they stand together at least this often: what is seen once teaches
/// nothing. The default of Hugging Face's `BertWordPieceTokenizer` and `ByteLevelBPETokenizer`.
const MIN_FREQUENCY: u64 = 2;

/// What marks the continuation of a word among word pieces.
const CONTINUING: &str = "##";

/// How text is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VocabularyKind {
    /// BERT's, in lower case and without accents: words and pieces of words, `[UNK]` for what has none.
    WordPiece,
    /// GPT-2's: pairs of bytes, merged again and again. Every text has tokens, and comes back from them as it was.
    Bpe,
}

/// A trained vocabulary, as the files of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vocabulary {
    size: usize,
    files: Vec<(&'static str, String)>,
}

impl Vocabulary {
    /// The number of entries, special tokens included.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Names and contents: what a checkpoint's directory needs of a tokenizer.
    pub fn files(&self) -> &[(&'static str, String)] {
        &self.files
    }
}

impl VocabularyKind {
    /// In the order of their ids, from 0.
    fn special(self) -> &'static [&'static str] {
        match self {
            Self::WordPiece => &["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
            Self::Bpe => &["<|endoftext|>"],
        }
    }
}

/// Trains a vocabulary of exactly `size` entries; `progress` is told how many texts were read since it was last called.
///
/// Errors: those of `texts`, the first of them; no words in any text; a `size` smaller than the special tokens and the
/// single characters together; texts that do not give so many entries.
pub fn train_vocabulary(
    texts: impl Iterator<Item = Result<String, Error>>,
    kind: VocabularyKind,
    size: usize,
    progress: &dyn Fn(usize),
) -> Result<Vocabulary, Error> {
    let words = words::count(texts, kind, progress)?;
    if words.is_empty() {
        return Err(Error::NoWords);
    }
    let first = first_entries(kind, &words);
    if size < first.len() {
        let special = kind.special().len();
        return Err(Error::VocabularyTooSmall { size, special, characters: first.len() - special });
    }
    let merged = merge(&words, first, kind, size)?;
    let tokenizer = match kind {
        VocabularyKind::WordPiece => word_pieces(&merged),
        VocabularyKind::Bpe => byte_pairs(merged),
    };
    let files = tokenizer.and_then(|tokenizer| {
        let config = serde_json::to_string_pretty(&config(kind))? + "\n";
        Ok(vec![("tokenizer.json", tokenizer.to_string(true)? + "\n"), ("tokenizer_config.json", config)])
    });
    Ok(Vocabulary { size, files: files.map_err(|source| Error::Tokenizing { source })? })
}

/// What a vocabulary has before anything is merged: special tokens and single characters, in an order of our own.
///
/// Left to itself the trainer numbers the continuing characters as they come out of a hash map, differently in each
/// process, and which of two equally frequent pairs is merged first depends on these numbers.
fn first_entries(kind: VocabularyKind, words: &HashMap<String, u64>) -> Vec<String> {
    let (mut alphabet, mut continuing) = (BTreeSet::new(), BTreeSet::new());
    if kind == VocabularyKind::Bpe {
        alphabet.extend(ByteLevel::alphabet());
    }
    for word in words.keys() {
        alphabet.extend(word.chars());
        if kind == VocabularyKind::WordPiece {
            continuing.extend(word.chars().skip(1));
        }
    }
    let special = kind.special().iter().map(|token| (*token).to_owned());
    let continuing = continuing.into_iter().map(|character| format!("{CONTINUING}{character}"));
    special.chain(alphabet.into_iter().map(String::from)).chain(continuing).collect()
}

fn merge(words: &HashMap<String, u64>, first: Vec<String>, kind: VocabularyKind, size: usize) -> Result<BPE, Error> {
    let mut trainer = BpeTrainer::builder()
        .show_progress(false)
        .min_frequency(MIN_FREQUENCY)
        .vocab_size(size)
        .special_tokens(first.into_iter().map(|entry| AddedToken::from(entry, true)).collect());
    if kind == VocabularyKind::WordPiece {
        trainer = trainer.continuing_subword_prefix(CONTINUING.to_owned());
    }
    let counts = words.iter().map(|(word, count)| (word.as_str().into(), *count)).collect();
    let mut merged = BPE::default();
    trainer.build().do_train(&counts, &mut merged).map_err(|source| Error::Tokenizing { source })?;
    let reached = tokenizers::Model::get_vocab_size(&merged);
    if reached < size {
        return Err(Error::TextsTooFew { size, reached });
    }
    Ok(merged)
}

fn word_pieces(merged: &BPE) -> tokenizers::Result<Tokenizer> {
    let pieces = WordPiece::from_bpe(merged);
    let id = |token: &str| {
        let number = VocabularyKind::WordPiece.special().iter().position(|it| *it == token);
        (token.to_owned(), number.unwrap_or_default() as u32)
    };
    let frame = BertProcessing::new(id("[SEP]"), id("[CLS]"));
    let mut tokenizer = Tokenizer::new(pieces);
    tokenizer.with_normalizer(Some(bert_normalizer()))?;
    tokenizer
        .with_pre_tokenizer(Some(BertPreTokenizer))
        .with_post_processor(Some(frame))
        .with_decoder(Some(WordPieceDecoder::default()));
    tokenizer.add_special_tokens(added(VocabularyKind::WordPiece))?;
    Ok(tokenizer)
}

fn byte_pairs(merged: BPE) -> tokenizers::Result<Tokenizer> {
    let mut tokenizer = Tokenizer::new(merged);
    tokenizer.with_pre_tokenizer(Some(byte_level())).with_decoder(Some(byte_level()));
    tokenizer.add_special_tokens(added(VocabularyKind::Bpe))?;
    Ok(tokenizer)
}

fn added(kind: VocabularyKind) -> Vec<AddedToken> {
    kind.special().iter().map(|token| AddedToken::from(*token, true)).collect()
}

/// Lower case without accents, and spaces around Chinese characters, as `bert-base-uncased` has it.
fn bert_normalizer() -> BertNormalizer {
    BertNormalizer::new(true, true, None, true)
}

/// With GPT-2's regular expression, and without a space put before the text.
fn byte_level() -> ByteLevel {
    ByteLevel::new(false, true, true)
}

/// `tokenizer_config.json`, with the classes by the names that Transformers 5 writes; 4 reads them too.
fn config(kind: VocabularyKind) -> Value {
    match kind {
        VocabularyKind::WordPiece => json!({
            "tokenizer_class": "BertTokenizer",
            "model_max_length": 512,
            "do_lower_case": true,
            "strip_accents": null,
            "tokenize_chinese_chars": true,
            "pad_token": "[PAD]",
            "unk_token": "[UNK]",
            "cls_token": "[CLS]",
            "sep_token": "[SEP]",
            "mask_token": "[MASK]",
        }),
        VocabularyKind::Bpe => json!({
            "tokenizer_class": "GPT2Tokenizer",
            "model_max_length": 1024,
            "add_prefix_space": false,
            "bos_token": "<|endoftext|>",
            "eos_token": "<|endoftext|>",
            "unk_token": "<|endoftext|>",
        }),
    }
}

#[cfg(test)]
mod tests;
