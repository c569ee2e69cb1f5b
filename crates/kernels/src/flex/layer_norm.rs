//! LayerNorm row by row, on all threads, in one pass each way. Composed, it is nine passes over the tensor forward and
//! fifteen back.

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::{DType, Shape};
use rayon::prelude::*;

use super::filled::mapped;
use super::vector::LANES;
use super::{changed, tensor};
use crate::layer_norm::{composed, composed_backward};
use crate::wide::with_wide_vectors;

/// Rows that one thread works on at a time.
pub(super) const ROWS: usize = 32;

pub(crate) fn forward(x: FlexTensor, weight: FlexTensor, bias: FlexTensor, epsilon: f32) -> FlexTensor {
    let [x, weight, bias] = [x, weight, bias].map(|tensor| tensor.to_contiguous());
    let slices = (x.as_slice::<f32>(), weight.as_slice::<f32>(), bias.as_slice::<f32>());
    let (Some(values), Some(scale), Some(shift)) = slices else { return composed::<Flex>(x, weight, bias, epsilon) };
    let block = ROWS * scale.len();
    let output = mapped(values, block, |_, values, output| normalise(values, scale, shift, epsilon, output));
    tensor(output, x.layout().shape().clone())
}

pub(crate) fn backward(
    x: FlexTensor,
    weight: FlexTensor,
    d_output: FlexTensor,
    epsilon: f32,
) -> (FlexTensor, FlexTensor, FlexTensor) {
    let [x, weight] = [x, weight].map(|tensor| tensor.to_contiguous());
    let (Some(values), Some(scale), DType::F32) = (x.as_slice::<f32>(), weight.as_slice::<f32>(), d_output.dtype())
    else {
        return composed_backward::<Flex>(x, weight, d_output, epsilon);
    };
    let width = scale.len();
    let block = ROWS * width;
    // Each block of rows has sums of its own, added up in the order of the blocks: the same bits for any number of threads.
    let mut sums: Vec<(Vec<f32>, Vec<f32>)> = Vec::new();
    let dx = changed(d_output, |gradient| {
        sums = gradient
            .par_chunks_mut(block)
            .zip(values.par_chunks(block))
            .map(|(gradient, values)| {
                let (mut d_scale, mut d_shift) = (vec![0.0; width], vec![0.0; width]);
                differentiate(values, scale, epsilon, gradient, &mut d_scale, &mut d_shift);
                (d_scale, d_shift)
            })
            .collect();
    });
    let (mut d_scale, mut d_shift) = (vec![0.0; width], vec![0.0; width]);
    for (of_scale, of_shift) in &sums {
        add(of_scale, &mut d_scale);
        add(of_shift, &mut d_shift);
    }
    let vector = |values| tensor(values, Shape::new([width]));
    (dx, vector(d_scale), vector(d_shift))
}

pub(super) fn add(from: &[f32], to: &mut [f32]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
}

#[inline(always)]
pub(super) fn sum(values: impl Iterator<Item = f32> + Clone) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    for (i, value) in values.enumerate() {
        lanes[i % LANES] += value;
    }
    lanes.iter().sum()
}

/// Mean and one over the deviation.
#[inline(always)]
fn moments(row: &[f32], epsilon: f32) -> (f32, f32) {
    let mean = sum(row.iter().copied()) / row.len() as f32;
    let variance = sum(row.iter().map(|x| (x - mean) * (x - mean))) / row.len() as f32;
    (mean, 1.0 / (variance + epsilon).sqrt())
}

with_wide_vectors! {
    fn normalise(values: &[f32], scale: &[f32], shift: &[f32], epsilon: f32, output: &mut [f32]) {
        let width = scale.len();
        for (row, output) in values.chunks_exact(width).zip(output.chunks_exact_mut(width)) {
            let (mean, inverse) = moments(row, epsilon);
            for (((output, x), scale), shift) in output.iter_mut().zip(row).zip(scale).zip(shift) {
                *output = (x - mean) * inverse * scale + shift;
            }
        }
    }
}

with_wide_vectors! {
    /// `gradient` is that of the output before, and that of the input after.
    fn differentiate(
        values: &[f32],
        scale: &[f32],
        epsilon: f32,
        gradient: &mut [f32],
        d_scale: &mut [f32],
        d_shift: &mut [f32],
    ) {
        let width = scale.len();
        for (row, gradient) in values.chunks_exact(width).zip(gradient.chunks_exact_mut(width)) {
            let (mean, inverse) = moments(row, epsilon);
            let weighted = || gradient.iter().zip(scale).map(|(gradient, scale)| gradient * scale);
            let mean_g = sum(weighted()) / width as f32;
            let along = sum(weighted().zip(row).map(|(g, x)| g * (x - mean) * inverse)) / width as f32;
            for i in 0..width {
                let normalised = (row[i] - mean) * inverse;
                d_scale[i] += gradient[i] * normalised;
                d_shift[i] += gradient[i];
                gradient[i] = (gradient[i] * scale[i] - mean_g - normalised * along) * inverse;
            }
        }
    }
}
