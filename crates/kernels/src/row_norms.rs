//! The lengths of the rows of `W + scale * B·A`, as constants: no gradient goes through them (Liu et al. 2024, arXiv 2402.09353,
//! section 4.3). Reference: `DoraLinearLayer.get_weight_norm` in PEFT.

use std::sync::{Arc, Mutex};

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, AutodiffBackend, Dispatch, TensorMetadata};
use burn::tensor::{Shape, Slice, Tensor, TensorData};

use crate::{FrozenMatrix, FrozenPrimitive, KernelBackend};

/// Entries of the sum that the composed form holds at once, 16 MiB of them.
const AT_ONCE: usize = 4 << 20;

/// What a layer remembers from one pass to the next: for one frozen weight and one scale.
#[derive(Debug, Clone, Default)]
pub struct RowNorms(pub(crate) Arc<Mutex<Remembered>>);

#[derive(Debug, Default)]
pub(crate) struct Remembered {
    /// The squared lengths of the rows of W.
    pub squares: Option<Vec<f64>>,
    /// The factors last asked about, with what came out: they change once in a step of the optimiser, and in evaluation never.
    pub last: Option<Last>,
}

#[derive(Debug)]
pub(crate) struct Last {
    pub a: Vec<f32>,
    pub b: Vec<f32>,
    pub norms: Vec<f32>,
}

/// Some rows of the sum at a time.
pub(crate) fn composed<B: KernelBackend>(
    weight: FrozenPrimitive<B>,
    a: FloatTensor<B>,
    b: FloatTensor<B>,
    scale: f32,
) -> FloatTensor<B> {
    let ([rows, columns], device) = (weight.shape(), a.device());
    let height = (AT_ONCE / columns.max(1)).max(1);
    let part = |first: usize| {
        let slice = [Slice::from(first..rows.min(first + height))];
        let weight = match &weight {
            FrozenPrimitive::Float(weight) => B::widen(B::float_slice(weight.clone(), &slice)),
            quantised => {
                // From the host: LibTorch counts in I64 alone, which WebGPU has not.
                let indices: Vec<i32> = (first as i32..rows.min(first + height) as i32).collect();
                let indices = TensorData::from(indices.as_slice());
                B::frozen_rows(quantised.clone(), B::int_from_data(indices, &device))
            }
        };
        let update = B::float_matmul(B::float_slice(b.clone(), &slice), a.clone());
        let sum = B::float_add(weight, B::float_mul_scalar(update, scale.into()));
        let squares = B::float_sum_dim(B::float_mul(sum.clone(), sum), 1);
        B::float_clamp_min(B::float_sqrt(squares), f32::MIN_POSITIVE.into())
    };
    let mut parts: Vec<FloatTensor<B>> = (0..rows).step_by(height).map(part).collect();
    let norms = if parts.len() == 1 { parts.remove(0) } else { B::float_cat(parts, 0) };
    B::float_reshape(norms, Shape::new([rows]))
}

pub(crate) fn untracked<B: KernelBackend, C: CheckpointStrategy>(
    weight: FrozenPrimitive<Autodiff<B, C>>,
    a: FloatTensor<Autodiff<B, C>>,
    b: FloatTensor<Autodiff<B, C>>,
    scale: f32,
    remembered: RowNorms,
) -> FloatTensor<Autodiff<B, C>> {
    let (weight, [a, b]) = (weight.inner(), [a, b].map(|tensor| tensor.into_primitive()));
    <Autodiff<B, C> as AutodiffBackend>::from_inner(B::row_norms(weight, a, b, scale, remembered))
}

/// The lengths of the rows of `W + scale * B·A`, which is not formed as a matrix: a constant. A row of zeros has the smallest positive
/// number for its length, so that it can be divided by.
///
/// # Shapes
/// `weight: [d_output, d_input]`, quantised or in f32, f16 or bf16, `a: [r, d_input]`, `b: [d_output, r]`, output `[d_output]`. The
/// weight and the scale are those that `remembered` has always been used with.
pub fn row_norms(
    weight: impl Into<FrozenMatrix>,
    [a, b]: [Tensor<2>; 2],
    scale: f32,
    remembered: &RowNorms,
) -> Tensor<1> {
    Tensor::from_dispatch(<Dispatch as KernelBackend>::row_norms(
        weight.into().into_primitive(),
        a.into_dispatch(),
        b.into_dispatch(),
        scale,
        remembered.clone(),
    ))
}
