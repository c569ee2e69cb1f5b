//! GGUF, the file format of llama.cpp: metadata, then tensors, written and read a tensor at a time; and how it describes the vocabulary
//! of a `tokenizer.json`. What a model's tensors are called there is for the architectures to say: this crate knows none.
//!
//! Reference: `docs/gguf.md` of ggml, and Python's `gguf` package, by which the writer and the reader are tested.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test fails by panicking"))]

mod error;
mod read;
mod tensor;
mod value;
mod vocabulary;
mod write;

pub use error::Error;
pub use read::Reader;
pub use tensor::{TensorInfo, TensorType};
pub use value::Value;
pub use vocabulary::{DescribedVocabulary, Vocabulary, VocabularyError};
pub use write::Writer;

/// The only version that is written or read.
const VERSION: u32 = 3;

const MAGIC: &[u8; 4] = b"GGUF";

/// What the data of each tensor is aligned to, in bytes.
const ALIGNMENT: u64 = 32;
