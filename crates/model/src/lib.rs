//! Hugging Face checkpoints become modules: token ids in, logits out. A model is a backbone, a pooling of its hidden states and a head.
//!
//! [`Pretrained`] is a checkpoint's directory, looked at but not yet loaded. [`Pretrained::load`] builds the model under a
//! [`lora::Plan`], which decides by path what each tensor becomes. This crate knows no texts, no label names in data, no
//! losses and no run directories.

mod architectures;
mod cache;
mod causal_lm;
mod checkpoint;
mod checksum;
mod companions;
mod config;
mod error;
mod export;
mod files;
mod generate;
mod head;
pub mod hub;
mod layers;
mod layerwise;
mod loader;
mod merge;
mod model;
mod pretrained;
mod quantised;
mod routed;
mod sampling;
mod tokens;

pub use architectures::{ActivationShape, is_output_weight};
pub use cache::{Cache, Piece};
pub use causal_lm::CausalLm;
pub use checkpoint::{ChangeInUse, CheckpointError, FilesInUse, ShardLayout, TensorHeader, TensorWriter};
pub use checksum::{seal, sealed, sha256};
pub use companions::{files_beside, goes_with_weights, is_of_tokenizer, is_vocabulary};
pub use config::ConfigError;
pub use error::Error;
pub use export::{
    ExportError, Exported, check_encoder_gguf, export_adapter_gguf, export_adapter_mlx, export_encoder_gguf,
    export_gguf, is_of_embeddings,
};
pub use files::{
    OutputDirectory, OutputFile, disk, is_temporary, remove_unfinished, sync_directory, write_atomically, write_json,
};
pub use generate::{Chosen, Finish, Generation, Prompt, Request, Step};
pub use head::{Head, VocabularyOutput};
pub use kernels::Quantisation;
pub use layerwise::Layerwise;
pub use loader::{LoadError, Loaded};
pub use merge::{Merge, MergeError, Types, verify_merged};
pub use model::{Features, Model};
pub use pretrained::{Frozen, Pretrained, Values};
pub use quantised::QuantisedError;
pub use routed::{Part, RoutedAdapter};
pub use sampling::{LogProbabilities, Sampling, SamplingError};
pub use tokens::Tokens;
