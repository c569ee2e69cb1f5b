//! What can be wrong with an adapter or with what was asked of one.

use crate::peft::{ConfigError, TensorError};
use crate::{SharedBaseError, TargetError};

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
    #[error(transparent)]
    #[diagnostic(transparent)]
    SharedBase(#[from] SharedBaseError),
    #[error("`{tensor}` of the base has a value that is not a finite number")]
    #[diagnostic(help("the weights are damaged, or training went wrong: download or copy the checkpoint again"))]
    NotFinite { tensor: String },
    #[error("`{tensor}` of the base has no decomposition in f32: its values are too large")]
    #[diagnostic(help("start without one: `{init}` is one of the initialisations that take a part of the base"))]
    NoDecomposition { tensor: String, init: String },
    /// As [`Plan::interrupted_by`](crate::Plan::interrupted_by) was asked to; no model was built.
    #[error("interrupted")]
    Interrupted,
}
