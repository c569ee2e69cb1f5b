//! What can be wrong with an adapter or with what was asked of one.

use crate::TargetError;
use crate::peft::{ConfigError, TensorError};

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum Error {
    #[error(transparent)]
    #[diagnostic(transparent)]
    Target(#[from] TargetError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Tensor(#[from] TensorError),
}
