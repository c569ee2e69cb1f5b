//! `trained` in `kindling.json`: what an adapter came from, so that anybody can check that it did.

use std::path::Path;

use model::sha256;
use serde::{Deserialize, Serialize};

/// What a training began with. Names are those of the files alone: the same training in another place is the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// The optimiser step after which the weights are.
    pub step: usize,
    /// SHA-256 of the settings that decide on the numbers up to this step.
    pub config: String,
    /// SHA-256 of the examples, as token ids and targets.
    pub examples: String,
    #[serde(flatten)]
    pub origins: Origins,
}

/// The files that a training read, and what computed it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origins {
    /// Of training and validation.
    pub data: Vec<FileHash>,
    /// Weights and configuration of the base.
    pub base: Vec<FileHash>,
    /// Of the adapter that it began with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub init_from: Vec<FileHash>,
    /// SHA-256 of the executable; empty where the system does not say which it is.
    pub binary: String,
    pub machine: Machine,
}

/// What decides on the last bits of a number.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// As in `train.device`, without an index.
    pub device: String,
    /// The processor's kind.
    pub processor: String,
    /// The vectors that it computes with.
    pub vectors: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileHash {
    pub name: String,
    pub sha256: String,
}

impl FileHash {
    /// `None` for what is no regular file, which may wait for ever, or cannot be read.
    pub fn of(path: &Path) -> Option<Self> {
        let sha256 = path.is_file().then(|| sha256(path).ok())??;
        Some(Self { name: path.file_name()?.to_string_lossy().into_owned(), sha256 })
    }
}
