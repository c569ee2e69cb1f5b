//! SentencePiece's own files (`spm.model`, `tokenizer.model`, ...), for checkpoints without a `tokenizer.json`. Reference for the
//! format: `sentencepiece_model.proto`, of which the fields that are used stand here; what becomes of them is in `document.rs`.

pub(super) mod charsmap;
mod document;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use prost::Message;
use tokenizers::AddedToken;
use tokenizers::normalizers::Precompiled;

use super::class::Class;
use super::config::Config;
use super::{broken, read};
use crate::Error;

/// The names that the classes of Transformers look for.
const NAMES: [&str; 4] = ["spm.model", "sentencepiece.bpe.model", "spiece.model", "tokenizer.model"];

#[derive(Message)]
struct Model {
    #[prost(message, repeated, tag = "1")]
    pieces: Vec<Piece>,
    #[prost(message, optional, tag = "2")]
    trainer_spec: Option<Trainer>,
    #[prost(message, optional, tag = "3")]
    normalizer_spec: Option<Normalizer>,
}

#[derive(Message)]
struct Piece {
    #[prost(string, optional, tag = "1")]
    piece: Option<String>,
    #[prost(float, optional, tag = "2")]
    score: Option<f32>,
    #[prost(enumeration = "Kind", optional, tag = "3", default = "Normal")]
    r#type: Option<i32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
enum Kind {
    Normal = 1,
    Unknown = 2,
    Control = 3,
    UserDefined = 4,
    Unused = 5,
    Byte = 6,
}

#[derive(Clone, Message)]
struct Trainer {
    #[prost(enumeration = "Algorithm", optional, tag = "3", default = "Unigram")]
    model_type: Option<i32>,
    #[prost(bool, optional, tag = "35")]
    byte_fallback: Option<bool>,
    #[prost(int32, optional, tag = "40", default = "0")]
    unk_id: Option<i32>,
    #[prost(int32, optional, tag = "41", default = "1")]
    bos_id: Option<i32>,
    #[prost(int32, optional, tag = "42", default = "2")]
    eos_id: Option<i32>,
    #[prost(string, optional, tag = "45", default = "<unk>")]
    unk_piece: Option<String>,
    #[prost(string, optional, tag = "46", default = "<s>")]
    bos_piece: Option<String>,
    #[prost(string, optional, tag = "47", default = "</s>")]
    eos_piece: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
enum Algorithm {
    Unigram = 1,
    Bpe = 2,
    Word = 3,
    Char = 4,
}

#[derive(Clone, Message)]
struct Normalizer {
    #[prost(bytes = "vec", optional, tag = "2")]
    precompiled_charsmap: Option<Vec<u8>>,
    #[prost(bool, optional, tag = "3", default = "true")]
    add_dummy_prefix: Option<bool>,
    #[prost(bool, optional, tag = "4", default = "true")]
    remove_extra_whitespaces: Option<bool>,
    #[prost(bool, optional, tag = "5", default = "true")]
    escape_whitespaces: Option<bool>,
}

/// The SentencePiece file of a checkpoint's directory.
pub(super) fn file_in(dir: &Path) -> Option<PathBuf> {
    NAMES.map(|name| dir.join(name)).into_iter().find(|file| file.is_file())
}

/// What it says as a `tokenizer.json`, the vocabulary being that of the tokenizer's class; the classes make the rest of it, as
/// they do of any. Its control tokens are left in `config`.
pub(super) fn document(file: &Path, config: &mut Config) -> Result<Vec<u8>, Error> {
    if !matches!(config.class, Class::AsSaved | Class::DebertaV2 | Class::Llama | Class::T5 | Class::XlmRoberta) {
        return Err(Error::ForeignPieces { file: file.to_owned() });
    }
    let model = Model::decode(read(file)?.as_slice()).map_err(|error| broken(file, error.into()))?;
    let checked = model.checked().map_err(|reason| broken(file, reason.into()))?;
    config.pieces = Some(model.added_tokens(config.class));
    let document = document::of(&model, checked, config).map_err(|error| broken(file, error))?;
    Ok(document.to_string().into_bytes())
}

impl Model {
    /// What SentencePiece itself asks of a file, and the table of its normalizer, if it has one.
    fn checked(&self) -> Result<Option<Precompiled>, &'static str> {
        if self.pieces.is_empty() {
            return Err("it has no pieces");
        }
        let mut seen = HashSet::new();
        for piece in &self.pieces {
            match piece {
                piece if piece.piece().is_empty() => return Err("a piece is empty"),
                piece if !piece.score().is_finite() => return Err("a score is not a number"),
                piece if !seen.insert(piece.piece()) => return Err("a piece occurs twice"),
                _ => {}
            }
        }
        if matches!(self.trainer().model_type(), Algorithm::Word | Algorithm::Char) {
            return Err("it is neither Unigram nor BPE");
        }
        match self.normalizer().precompiled_charsmap() {
            [] => Ok(None),
            table => charsmap::read(table).map(Some).ok_or("the `precompiled_charsmap` of its normalizer is broken"),
        }
    }

    fn trainer(&self) -> Trainer {
        self.trainer_spec.clone().unwrap_or_default()
    }

    fn normalizer(&self) -> Normalizer {
        self.normalizer_spec.clone().unwrap_or_default()
    }

    /// Control tokens are special, user-defined ones only found whole. The backend's own class splits at the latter before it
    /// comes to pieces (`document.rs`).
    fn added_tokens(&self, class: Class) -> Vec<AddedToken> {
        let token = |piece: &Piece| {
            let special = match piece.r#type() {
                Kind::Control => true,
                Kind::UserDefined if class != Class::AsSaved => false,
                _ => return None,
            };
            Some(AddedToken::from(piece.piece(), special).normalized(false))
        };
        self.pieces.iter().filter_map(token).collect()
    }
}

#[cfg(test)]
mod tests;
