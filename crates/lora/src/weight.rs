//! A tensor of the base model: frozen or trained. This is the one place where that is decided for a tensor's whole life.

use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor};
use kernels::Quantised;

use crate::FrozenWeight;

#[allow(clippy::large_enum_variant, reason = "handles of tensors, a few for each layer; `Module` copies attributes")]
#[derive(Module, Debug)]
pub enum Weight<const D: usize> {
    Frozen(FrozenWeight<D>),
    Trained(Param<Tensor<D>>),
}

impl<const D: usize> Weight<D> {
    /// A frozen tensor of f32, f16 or bf16.
    pub fn frozen(tensor: Tensor<D>) -> Self {
        Self::Frozen(FrozenWeight::Float(tensor))
    }

    pub fn dims(&self) -> [usize; D] {
        match self {
            Self::Frozen(weight) => weight.dims(),
            Self::Trained(param) => param.val().dims(),
        }
    }

    pub fn device(&self) -> Device {
        match self {
            Self::Frozen(weight) => weight.device(),
            Self::Trained(param) => param.val().device(),
        }
    }

    /// The tensor as it is stored, which for a frozen one may be half precision; of a quantised one what it stands for.
    pub fn value(&self) -> Tensor<D> {
        match self {
            Self::Frozen(weight) => weight.float(),
            Self::Trained(param) => param.val(),
        }
    }
}

impl Weight<2> {
    /// A frozen matrix in int8 or nf4.
    pub fn quantised(matrix: Quantised) -> Self {
        Self::Frozen(FrozenWeight::Quantised(matrix))
    }

    /// Rows by index, in f32: `[n]` to `[n, d]`.
    pub(crate) fn rows(&self, indices: Tensor<1, Int>) -> Tensor<2> {
        match self {
            Self::Frozen(weight) => weight.rows(indices),
            Self::Trained(param) => kernels::widen(param.val().select(0, indices)),
        }
    }
}
