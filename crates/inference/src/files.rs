//! Where a trained model lies.

use std::path::{Path, PathBuf};

use data::Tokenizer;

/// The directory of a model, and that of an adapter for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelFiles {
    pub model: PathBuf,
    pub adapter: Option<PathBuf>,
}

impl ModelFiles {
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
