//! How a frozen matrix or vector is kept, and the base's own operations with it. This is the one place that takes it
//! out of what it is kept in: another way to keep one is a variant here and a kernel.

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};
use kernels::{Compute, FrozenMatrix, LogitsTransform, Precision, Quantisation, Quantised};

use crate::Orientation;

/// A frozen tensor is no parameter: it has no gradient and no optimiser state, stands in no checkpoint, keeps the type it
/// was stored in, and on the CPU is a view of the file.
#[allow(clippy::large_enum_variant, reason = "handles of tensors, a few for each layer; `Module` copies attributes")]
#[derive(Module, Debug)]
pub enum FrozenWeight<const D: usize> {
    /// f32, f16 or bf16.
    Float(Tensor<D>),
    /// int8 or nf4: a matrix, which lies as [`Orientation::OutIn`] whatever it was made of.
    Quantised(Quantised),
}

impl<const D: usize> FrozenWeight<D> {
    /// The tensor in a float type: as it is stored, which may be half precision, or what its codes stand for, in f32. What
    /// trains or answers with a matrix never has it so.
    pub fn float(&self) -> Tensor<D> {
        match self {
            Self::Float(tensor) => tensor.clone(),
            // A matrix has two dimensions.
            Self::Quantised(matrix) => matrix.widened().reshape::<D, _>(self.dims()),
        }
    }

    pub fn dims(&self) -> [usize; D] {
        match self {
            Self::Float(tensor) => tensor.dims(),
            Self::Quantised(matrix) => {
                let shape = matrix.shape();
                std::array::from_fn(|side| shape[side])
            }
        }
    }

    pub fn device(&self) -> Device {
        match self {
            Self::Float(tensor) => tensor.device(),
            Self::Quantised(matrix) => matrix.device(),
        }
    }

    /// `None` of one in a float type.
    pub fn quantisation(&self) -> Option<Quantisation> {
        match self {
            Self::Float(_) => None,
            Self::Quantised(matrix) => Some(matrix.quantisation()),
        }
    }
}

impl FrozenWeight<2> {
    /// As the kernels take it, `[d_output, d_input]`.
    pub(crate) fn matrix(&self, orientation: Orientation) -> FrozenMatrix {
        match self {
            Self::Float(tensor) => FrozenMatrix::Float(orientation.out_in(tensor.clone())),
            Self::Quantised(matrix) => FrozenMatrix::Quantised(matrix.clone()),
        }
    }

    /// `x·Wᵀ + b`: `x: [rows, d_input]`, `bias: [d_output]`, to `[rows, d_output]`.
    pub(crate) fn linear(
        &self,
        x: Tensor<2>,
        orientation: Orientation,
        bias: Option<Tensor<1>>,
        compute: Compute,
    ) -> Tensor<2> {
        kernels::linear(x, self.matrix(orientation), bias, compute)
    }

    /// As [`kernels::linear_cross_entropy`].
    pub(crate) fn linear_cross_entropy(
        &self,
        x: Tensor<2>,
        orientation: Orientation,
        bias: Option<Tensor<1>>,
        (targets, transform): (&[usize], LogitsTransform),
        precision: Precision,
    ) -> (Tensor<1>, Tensor<1>) {
        kernels::linear_cross_entropy(x, self.matrix(orientation), bias, targets, transform, precision)
    }

    /// Rows by index, in f32: `[n]` to `[n, d]`. Rows first: a half-precision table is never widened as a whole.
    pub(crate) fn rows(&self, indices: Tensor<1, Int>) -> Tensor<2> {
        match self {
            Self::Float(table) => kernels::widen(table.clone().select(0, indices)),
            Self::Quantised(table) => table.rows(indices),
        }
    }
}
