//! Where a trained model lies, and what a directory holds.

use std::path::{Path, PathBuf};

use data::Tokenizer;

use crate::{Error, Recorded, recorded_base};

/// The directory of a model, and that of an adapter for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelFiles {
    pub model: PathBuf,
    pub adapter: Option<PathBuf>,
}

impl ModelFiles {
    /// What the directory of an adapter, a run or a model holds. The base of an adapter is the directory that it records.
    ///
    /// Errors: there is no model; the base is no longer where it was, or it is one of the Hugging Face Hub, which is not
    /// fetched here: name both directories.
    pub fn of(directory: impl AsRef<Path>) -> Result<Self, Error> {
        let directory = directory.as_ref();
        match DirectoryKind::of(directory) {
            DirectoryKind::Adapter => Self::of_adapter(directory.to_path_buf()),
            DirectoryKind::RunWithAdapter(adapter) => Self::of_adapter(adapter),
            DirectoryKind::RunWithModel(model) => Ok(Self { model, adapter: None }),
            DirectoryKind::Model => Ok(Self { model: directory.to_path_buf(), adapter: None }),
            DirectoryKind::RunAlone | DirectoryKind::Else => Err(Error::NotAModel { path: directory.to_path_buf() }),
        }
    }

    fn of_adapter(adapter: PathBuf) -> Result<Self, Error> {
        let recorded = recorded_base(&adapter)?;
        match recorded.as_ref().and_then(|recorded| recorded.directory(&adapter)) {
            Some(model) => Ok(Self { model, adapter: Some(adapter) }),
            None => Err(Error::NoBase { adapter, base: recorded.as_ref().map(Recorded::to_string) }),
        }
    }

    /// The directory of what was trained.
    pub fn trained(&self) -> &Path {
        self.adapter.as_ref().unwrap_or(&self.model)
    }

    /// The tokenizer beside the adapter is the one it was trained with; a PEFT adapter may have none.
    pub fn tokenizer_directory(&self) -> &Path {
        let beside = self.adapter.iter().find(|adapter| adapter.join("tokenizer.json").exists());
        beside.unwrap_or(&self.model)
    }

    pub fn tokenizer(&self) -> Result<Tokenizer, data::Error> {
        Tokenizer::beside(self.tokenizer_directory(), &self.model)
    }
}

/// What a directory holds, by the files that tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DirectoryKind {
    Adapter,
    /// A run's best adapter so far, in this directory of it.
    RunWithAdapter(PathBuf),
    /// A run of which every weight was trained, and its model.
    RunWithModel(PathBuf),
    /// A run that has saved nothing yet.
    RunAlone,
    Model,
    Else,
}

impl DirectoryKind {
    pub fn of(directory: &Path) -> Self {
        let has = |name: &str| directory.join(name).exists();
        match () {
            () if has("adapter_config.json") => Self::Adapter,
            () if has("adapter/adapter_config.json") => Self::RunWithAdapter(directory.join("adapter")),
            () if has("config.toml") && has("model/config.json") => Self::RunWithModel(directory.join("model")),
            () if has("config.toml") && (has("metrics.jsonl") || has("checkpoints")) => Self::RunAlone,
            () if has("config.json") => Self::Model,
            () => Self::Else,
        }
    }
}
