//! Models and adapters for other programs: llama.cpp's GGUF, and mlx-lm's adapters. Tensors are computed, written and, when all are
//! written, read again and compared one at a time; the file takes its name after that.

mod adapter;
mod file;
mod mlx;
mod model;
mod pooling;

use std::io::{self, ErrorKind};
use std::path::PathBuf;

pub use adapter::export_adapter_gguf;
pub use mlx::export_adapter_mlx;
pub use model::{check_encoder_gguf, export_encoder_gguf, export_gguf};
pub use pooling::is_of_embeddings;

/// What was exported.
#[derive(Debug)]
pub struct Exported {
    pub tensors: usize,
    pub bytes: u64,
    /// What whoever uses it should know.
    pub notes: Vec<String>,
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ExportError {
    #[error("a model of the type `{model_type}` cannot be exported to {format}")]
    Architecture {
        model_type: String,
        format: &'static str,
        #[help]
        help: String,
    },
    #[error("{} is of no class with an output layer{class}, and llama.cpp has its architecture as a language model alone", directory.display())]
    #[diagnostic(help("export a checkpoint that was saved with its output layer{whole}"))]
    NoOutputLayer { directory: PathBuf, class: String, whole: String },
    #[error("{format} has no place for `{tensor}`")]
    NoPlace {
        tensor: String,
        format: &'static str,
        #[help]
        help: String,
    },
    #[error("the adapter has {what}, which an adapter alone has no form for in {format}")]
    #[diagnostic(help("export it merged into its base: leave out `--adapter-only`"))]
    AdapterForm { what: String, format: &'static str },
    #[error("the adapter has {what}, which has no form in an adapter of mlx-lm")]
    #[diagnostic(help(
        "merge it with `kindling merge`, which mlx-lm's `mlx_lm.convert` reads, or train it without that part"
    ))]
    MlxForm { what: String },
    #[error("{}: {what}", file.display())]
    #[diagnostic(help(
        "it is sentence-transformers' file of the pooling: copy it again, or remove it and choose in llama.cpp"
    ))]
    PoolingFile { file: PathBuf, what: String },
    #[error("{} has {what}, which llama.cpp does not compute", file.display())]
    #[diagnostic(help(
        "it pools by the mean, or takes the first or the last token; without this file the model is exported, and llama.cpp's `--pooling` chooses"
    ))]
    Pooling { file: PathBuf, what: String },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Vocabulary(#[from] gguf::VocabularyError),
    #[error("cannot write {}: {source}", file.display())]
    #[diagnostic(help("{}; nothing that existed was touched", remedy(source)))]
    Write { file: PathBuf, source: io::Error },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Gguf(#[from] gguf::Error),
    #[error("what was written is not what was to be written: {what}")]
    #[diagnostic(help("the disk or its file system has lost it: no file was kept, try another place"))]
    Differs { what: String },
}

impl ExportError {
    /// Whether what was given is at fault, and not the disk.
    pub(crate) fn is_of_input(&self) -> bool {
        !matches!(
            self,
            Self::Write { .. } | Self::Differs { .. } | Self::Gguf(gguf::Error::Write(_) | gguf::Error::Read(_))
        )
    }
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::NotADirectory => "a part of the path is a file: name another place",
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "free space",
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => "make the place writable",
        _ => "free space or make the place writable",
    }
}
