//! LayerNorm row by row, on all threads, in one pass each way. Composed, it is nine passes over the tensor forward and
//! fifteen back.

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::Shape;
use rayon::prelude::*;

use super::tensor;
use super::vector::{LANES, with_wide_vectors};
use crate::norm::{composed, composed_backward};

/// Rows that one thread works on at a time.
pub(super) const ROWS: usize = 32;

pub(crate) fn forward(x: FlexTensor, weight: FlexTensor, bias: FlexTensor, epsilon: f32) -> FlexTensor {
    let [x, weight, bias] = [x, weight, bias].map(|tensor| tensor.to_contiguous());
    let slices = (x.as_slice::<f32>(), weight.as_slice::<f32>(), bias.as_slice::<f32>());
    let (Some(values), Some(scale), Some(shift)) = slices else { return composed::<Flex>(x, weight, bias, epsilon) };
    let block = ROWS * scale.len();
    let mut output = vec![0.0; values.len()];
    output
        .par_chunks_mut(block)
        .zip(values.par_chunks(block))
        .for_each(|(output, values)| normalise(values, scale, shift, epsilon, output));
    tensor(output, x.layout().shape().clone())
}

pub(crate) fn backward(
    x: FlexTensor,
    weight: FlexTensor,
    d_output: FlexTensor,
    epsilon: f32,
) -> (FlexTensor, FlexTensor, FlexTensor) {
    let [x, weight, d_output] = [x, weight, d_output].map(|tensor| tensor.to_contiguous());
    let slices = (x.as_slice::<f32>(), weight.as_slice::<f32>(), d_output.as_slice::<f32>());
    let (Some(values), Some(scale), Some(upstream)) = slices else {
        return composed_backward::<Flex>(x, weight, d_output, epsilon);
    };
    let width = scale.len();
    let block = ROWS * width;
    let mut dx = vec![0.0; values.len()];
    // Each block of rows has sums of its own, added up in the order of the blocks: the same bits for any number of threads.
    let sums: Vec<(Vec<f32>, Vec<f32>)> = dx
        .par_chunks_mut(block)
        .zip(values.par_chunks(block).zip(upstream.par_chunks(block)))
        .map(|(dx, (values, upstream))| {
            let (mut d_scale, mut d_shift) = (vec![0.0; width], vec![0.0; width]);
            differentiate(values, scale, upstream, epsilon, dx, &mut d_scale, &mut d_shift);
            (d_scale, d_shift)
        })
        .collect();
    let (mut d_scale, mut d_shift) = (vec![0.0; width], vec![0.0; width]);
    for (of_scale, of_shift) in &sums {
        add(of_scale, &mut d_scale);
        add(of_shift, &mut d_shift);
    }
    let vector = |values| tensor(values, Shape::new([width]));
    (tensor(dx, x.layout().shape().clone()), vector(d_scale), vector(d_shift))
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
    fn differentiate(
        values: &[f32],
        scale: &[f32],
        upstream: &[f32],
        epsilon: f32,
        dx: &mut [f32],
        d_scale: &mut [f32],
        d_shift: &mut [f32],
    ) {
        let width = scale.len();
        let rows = values.chunks_exact(width).zip(upstream.chunks_exact(width)).zip(dx.chunks_exact_mut(width));
        for ((row, upstream), dx) in rows {
            let (mean, inverse) = moments(row, epsilon);
            let weighted = || upstream.iter().zip(scale).map(|(upstream, scale)| upstream * scale);
            let mean_g = sum(weighted()) / width as f32;
            let along = sum(weighted().zip(row).map(|(g, x)| g * (x - mean) * inverse)) / width as f32;
            for i in 0..width {
                let normalised = (row[i] - mean) * inverse;
                dx[i] = (upstream[i] * scale[i] - mean_g - normalised * along) * inverse;
                d_scale[i] += upstream[i] * normalised;
                d_shift[i] += upstream[i];
            }
        }
    }
}
