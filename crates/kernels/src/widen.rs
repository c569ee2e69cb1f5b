//! Weights kept in half precision become f32 where they are used, and nowhere longer than that.

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, AutodiffBackend, Backend, Dispatch, TensorMetadata};
use burn::tensor::{DType, FloatDType, Tensor};

use crate::KernelBackend;

pub(crate) fn composed<B: Backend>(weight: FloatTensor<B>) -> FloatTensor<B> {
    match weight.dtype() {
        DType::F32 => weight,
        _ => B::float_cast(weight, FloatDType::F32),
    }
}

/// A frozen weight on an autodiff device stays a constant.
pub(crate) fn untracked<B: KernelBackend, C: CheckpointStrategy>(
    weight: FloatTensor<Autodiff<B, C>>,
) -> FloatTensor<Autodiff<B, C>> {
    <Autodiff<B, C> as AutodiffBackend>::from_inner(B::widen(weight.into_primitive()))
}

/// The weight in f32: itself if it is that already, otherwise a copy.
pub fn widen<const D: usize>(weight: Tensor<D>) -> Tensor<D> {
    match weight.dtype() {
        DType::F32 => weight,
        _ => Tensor::from_dispatch(<Dispatch as KernelBackend>::widen(weight.into_dispatch())),
    }
}
