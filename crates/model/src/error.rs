//! What can be wrong with a model's directory, between it and an adapter, or on the way to it.

use crate::{CheckpointError, ConfigError, LoadError};

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum Error {
    #[error(transparent)]
    #[diagnostic(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Adapter(#[from] lora::Error),
    #[error("`{module}` is tied to the word embeddings: an adapter on it cannot be folded into a weight of its own")]
    #[diagnostic(help("use base and adapter together; nothing is lost by it"))]
    Tied { module: String },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Hub(#[from] crate::hub::HubError),
}
