//! What can be wrong with an adapter's directory.

use std::path::{Path, PathBuf};

use lora::peft;
use suggest::counted;

use super::SIDECAR;

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum AdapterError {
    #[error("there is no adapter at {}", path.display())]
    #[diagnostic(help(
        "an adapter is a directory with adapter_config.json and adapter_model.safetensors, as PEFT and kindling write it"
    ))]
    Missing { path: PathBuf },
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("cannot write {}: {source}", path.display())]
    #[diagnostic(help("free space or make the place writable; nothing that existed was touched"))]
    Write { path: PathBuf, source: std::io::Error },
    #[error("{}: {source}", path.display())]
    #[diagnostic(help("the file is not the one that kindling wrote: copy the adapter again"))]
    Sidecar { path: PathBuf, source: serde_json::Error },
    #[error("{} is not as it was written: {SIDECAR} beside it has another SHA-256", path.display())]
    #[diagnostic(help(
        "it is damaged, or its run ended while saving it: copy the directory again, or resume the run; if it was changed on purpose, \
         take its line out of `files` in {SIDECAR}"
    ))]
    Damaged { path: PathBuf },
    #[error("{}: the file `{name}` is outside of the adapter's directory", path.display())]
    #[diagnostic(help("`files` names files beside it: copy the adapter again, from where you trust it"))]
    Outside { path: PathBuf, name: String },
    #[error("{} was written by a newer kindling (format {found}, this version reads {known})", path.display())]
    #[diagnostic(help("update kindling"))]
    Newer { path: PathBuf, found: u32, known: u32 },
    #[error("{}: `max_length` is {length}, the model has positions for {positions}", path.display())]
    #[diagnostic(help("the adapter was trained on another model: open it with its own base"))]
    Positions { path: PathBuf, length: usize, positions: usize },
    #[error(
        "{} names {}, the head beside it has {}",
        path.display(), counted(*names, "label", "labels"), counted(*classes, "class", "classes")
    )]
    #[diagnostic(help("the two files do not belong together: copy them again, both from one place"))]
    Labels { path: PathBuf, names: usize, classes: usize },
    #[error("{} does not fit the model: {reason}", path.display())]
    Targets {
        path: PathBuf,
        reason: String,
        #[help]
        help: Option<String>,
    },
    #[error("{} cannot be used beside others on one base: {reason}", path.display())]
    Unshared {
        path: PathBuf,
        reason: String,
        #[help]
        help: Option<String>,
    },
    #[error("`ensure_weight_tying` in {}: true is not supported for an adapter on tied embeddings", path.display())]
    #[diagnostic(help("merge the adapter with PEFT, or train one without it"))]
    SharedByTies { path: PathBuf },
    #[error("what was written to {} reads otherwise than it was made, in {what}: it was not kept", path.display())]
    #[diagnostic(help("the disk may be at fault; if it happens again it is a fault of kindling: please report it"))]
    Verify { path: PathBuf, what: String },
    #[error("{}: {source}", path.display())]
    Serialise { path: PathBuf, source: Box<dyn std::error::Error + Send + Sync> },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Format(#[from] lora::Error),
}

impl AdapterError {
    pub(crate) fn labels(directory: &Path, names: usize, classes: usize) -> Self {
        Self::Labels { path: directory.join(SIDECAR), names, classes }
    }

    pub(crate) fn positions(directory: &Path, length: usize, positions: usize) -> Self {
        Self::Positions { path: directory.join(SIDECAR), length, positions }
    }

    /// What is wrong with the targets of the adapter in `directory`, by the keys of its own file.
    pub(crate) fn targets(directory: &Path, error: &lora::TargetError) -> Self {
        Self::Targets {
            path: directory.join(peft::CONFIG_FILE),
            reason: error.message_with(&peft::setting),
            help: error.help_with(&peft::setting),
        }
    }

    pub fn is_of_input(&self) -> bool {
        !matches!(self, Self::Write { .. } | Self::Serialise { .. } | Self::Verify { .. })
    }
}
