//! RMSNorm row by row, on all threads, in one pass each way.

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::{DType, Shape};
use rayon::prelude::*;

use super::filled::mapped;
use super::layer_norm::{ROWS, add, sum};
use super::{changed, tensor};
use crate::rms_norm::{composed, composed_backward};
use crate::wide::with_wide_vectors;

pub(crate) fn forward(x: FlexTensor, weight: FlexTensor, epsilon: f32) -> FlexTensor {
    let [x, weight] = [x, weight].map(|tensor| tensor.to_contiguous());
    let (Some(values), Some(scale)) = (x.as_slice::<f32>(), weight.as_slice::<f32>()) else {
        return composed::<Flex>(x, weight, epsilon);
    };
    let block = ROWS * scale.len();
    let output = mapped(values, block, |_, values, output| normalise(values, scale, epsilon, output));
    tensor(output, x.layout().shape().clone())
}

pub(crate) fn backward(
    x: FlexTensor,
    weight: FlexTensor,
    d_output: FlexTensor,
    epsilon: f32,
) -> (FlexTensor, FlexTensor) {
    let [x, weight] = [x, weight].map(|tensor| tensor.to_contiguous());
    let (Some(values), Some(scale), DType::F32) = (x.as_slice::<f32>(), weight.as_slice::<f32>(), d_output.dtype())
    else {
        return composed_backward::<Flex>(x, weight, d_output, epsilon);
    };
    let width = scale.len();
    let block = ROWS * width;
    // Sums of each block of rows, added up in the order of the blocks: the same bits for any number of threads.
    let mut sums: Vec<Vec<f32>> = Vec::new();
    let dx = changed(d_output, |gradient| {
        sums = gradient
            .par_chunks_mut(block)
            .zip(values.par_chunks(block))
            .map(|(gradient, values)| {
                let mut d_scale = vec![0.0; width];
                differentiate(values, scale, epsilon, gradient, &mut d_scale);
                d_scale
            })
            .collect();
    });
    let mut d_scale = vec![0.0; width];
    sums.iter().for_each(|of_scale| add(of_scale, &mut d_scale));
    (dx, tensor(d_scale, Shape::new([width])))
}

#[inline(always)]
fn inverse_root(row: &[f32], epsilon: f32) -> f32 {
    1.0 / (sum(row.iter().map(|x| x * x)) / row.len() as f32 + epsilon).sqrt()
}

with_wide_vectors! {
    fn normalise(values: &[f32], scale: &[f32], epsilon: f32, output: &mut [f32]) {
        let width = scale.len();
        for (row, output) in values.chunks_exact(width).zip(output.chunks_exact_mut(width)) {
            let inverse = inverse_root(row, epsilon);
            for ((output, x), scale) in output.iter_mut().zip(row).zip(scale) {
                *output = x * inverse * scale;
            }
        }
    }
}

with_wide_vectors! {
    /// `gradient` is that of the output before, and that of the input after.
    fn differentiate(values: &[f32], scale: &[f32], epsilon: f32, gradient: &mut [f32], d_scale: &mut [f32]) {
        let width = scale.len();
        for (row, gradient) in values.chunks_exact(width).zip(gradient.chunks_exact_mut(width)) {
            let inverse = inverse_root(row, epsilon);
            let products = gradient.iter().zip(scale).zip(row).map(|((gradient, scale), x)| gradient * scale * x);
            let along = sum(products) * inverse / width as f32;
            for i in 0..width {
                let normalised = row[i] * inverse;
                d_scale[i] += gradient[i] * normalised;
                gradient[i] = (gradient[i] * scale[i] - normalised * along) * inverse;
            }
        }
    }
}
