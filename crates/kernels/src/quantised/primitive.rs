//! A frozen matrix as backends take it.

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{
    Autodiff, AutodiffBackend, Backend, Dispatch, DispatchTensor, DispatchTensorKind, ExtensionType, TensorMetadata,
};
use burn::tensor::{Device, Int, Tensor};

use crate::KernelBackend;

/// `[d_output, d_input]`; of a quantised one codes and scales are as [`super::Quantised`] has them.
#[derive(ExtensionType, Clone, Debug)]
pub enum FrozenPrimitive<B: Backend> {
    Float(FloatTensor<B>),
    Int8 { codes: IntTensor<B>, scales: FloatTensor<B>, shape: [usize; 2] },
    Nf4 { codes: IntTensor<B>, absmax: FloatTensor<B>, shape: [usize; 2] },
    NestedNf4 { codes: IntTensor<B>, absmax: IntTensor<B>, nested: FloatTensor<B>, offset: f32, shape: [usize; 2] },
}

impl<B: Backend> FrozenPrimitive<B> {
    pub(crate) fn shape(&self) -> [usize; 2] {
        match self {
            Self::Float(matrix) => [matrix.shape()[0], matrix.shape()[1]],
            Self::Int8 { shape, .. } | Self::Nf4 { shape, .. } | Self::NestedNf4 { shape, .. } => *shape,
        }
    }
}

impl<B: Backend, C: CheckpointStrategy> FrozenPrimitive<Autodiff<B, C>> {
    /// As a constant.
    pub(crate) fn inner(self) -> FrozenPrimitive<B> {
        match self {
            Self::Float(matrix) => FrozenPrimitive::Float(matrix.into_primitive()),
            Self::Int8 { codes, scales, shape } => {
                FrozenPrimitive::Int8 { codes, scales: scales.into_primitive(), shape }
            }
            Self::Nf4 { codes, absmax, shape } => {
                FrozenPrimitive::Nf4 { codes, absmax: absmax.into_primitive(), shape }
            }
            Self::NestedNf4 { codes, absmax, nested, offset, shape } => {
                FrozenPrimitive::NestedNf4 { codes, absmax, nested: nested.into_primitive(), offset, shape }
            }
        }
    }
}

/// Rows are constants.
pub(crate) fn untracked_rows<B: KernelBackend, C: CheckpointStrategy>(
    matrix: FrozenPrimitive<Autodiff<B, C>>,
    indices: IntTensor<B>,
) -> FloatTensor<Autodiff<B, C>> {
    <Autodiff<B, C> as AutodiffBackend>::from_inner(B::frozen_rows(matrix.inner(), indices))
}

/// The same of the whole matrix.
pub(crate) fn untracked_widened<B: KernelBackend, C: CheckpointStrategy>(
    matrix: FrozenPrimitive<Autodiff<B, C>>,
) -> FloatTensor<Autodiff<B, C>> {
    <Autodiff<B, C> as AutodiffBackend>::from_inner(B::frozen_widened(matrix.inner()))
}

pub(super) fn rows(matrix: FrozenPrimitive<Dispatch>, indices: Tensor<1, Int>) -> DispatchTensor {
    <Dispatch as KernelBackend>::frozen_rows(matrix, indices.into_dispatch())
}

pub(super) fn widened(matrix: FrozenPrimitive<Dispatch>) -> DispatchTensor {
    <Dispatch as KernelBackend>::frozen_widened(matrix)
}

/// Whether the device computes with bytes: burn's CPU backend, for which there are forms that do.
pub(super) fn keeps_bytes(device: &Device) -> bool {
    let is_flex = |kind: &DispatchTensorKind| matches!(kind, DispatchTensorKind::Flex(_));
    match Tensor::<1>::zeros([1], device).into_dispatch().kind {
        DispatchTensorKind::Autodiff(kind) => is_flex(&kind),
        kind => is_flex(&kind),
    }
}
