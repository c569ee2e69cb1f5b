//! A tensor of the base model: frozen or trained. This is the one place where that is decided for a tensor's whole life.

use burn::module::{Module, Param};
use burn::tensor::Tensor;

/// A frozen tensor is no parameter: it has no gradient and no optimiser state, stands in no checkpoint, keeps the type it
/// was stored in, and on the CPU is a view of the file.
#[derive(Module, Debug)]
pub enum Weight<const D: usize> {
    Frozen(Tensor<D>),
    Trained(Param<Tensor<D>>),
}

impl<const D: usize> Weight<D> {
    /// The tensor as it is stored, which for a frozen one may be half precision.
    pub fn value(&self) -> Tensor<D> {
        match self {
            Self::Frozen(tensor) => tensor.clone(),
            Self::Trained(param) => param.val(),
        }
    }
}
