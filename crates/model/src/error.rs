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
    #[error(transparent)]
    #[diagnostic(transparent)]
    Quantised(#[from] crate::QuantisedError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Merge(#[from] crate::MergeError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Export(#[from] crate::ExportError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Hub(#[from] crate::hub::HubError),
}

impl Error {
    /// Whether what was given is at fault, and not the disk or the network.
    pub fn is_of_input(&self) -> bool {
        match self {
            Self::Checkpoint(CheckpointError::Write { .. } | CheckpointError::Serialise { .. }) => false,
            Self::Export(error) => error.is_of_input(),
            Self::Hub(error) => error.is_of_input(),
            _ => true,
        }
    }
}
