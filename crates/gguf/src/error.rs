//! What can be wrong with a file, or with what is to be written into one.

use std::io;

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum Error {
    #[error("cannot read the file: {0}")]
    Read(io::Error),
    #[error("cannot write the file: {0}")]
    Write(io::Error),
    #[error("not a GGUF file of version 3: {reason}")]
    Damaged { reason: String },
    /// The caller's own mistake, told rather than written into a file.
    #[error("the tensor `{tensor}` cannot be written: {reason}")]
    Tensor { tensor: String, reason: String },
    #[error("`{tensor}` does not fit {kind}: a value is beyond its range")]
    #[diagnostic(help("`--dtype bf16` or `--dtype f32` has the range"))]
    Range { tensor: String, kind: &'static str },
}

impl Error {
    pub(crate) fn damaged(reason: impl Into<String>) -> Self {
        Self::Damaged { reason: reason.into() }
    }
}
