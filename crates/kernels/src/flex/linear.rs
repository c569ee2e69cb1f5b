//! Linear layers with frozen weights of any float type, which are read where they lie.

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::Shape;
use rayon::prelude::*;

use super::matrix::{Factor, Matrix, Stored};
use super::product::{Term, product};
use super::{tensor, vector_of, with_rows};
use crate::wide::with_wide_vectors;

/// Up to so many rows a product is bound by reading the weight.
const THIN: usize = 4;

/// Outputs that one thread works on at a time where rows are few.
const OUTPUTS: usize = 32;

/// `x·Wᵀ + b`
pub(crate) fn forward(x: FlexTensor, weight: FlexTensor, bias: Option<FlexTensor>) -> FlexTensor {
    let x = with_rows(x);
    let (Some(of_x), Some(of_weight)) = (Matrix::of(&x), Factor::of(&weight)) else {
        return crate::linear::composed::<Flex>(x, weight, bias);
    };
    let (rows, [d_output, _]) = (of_x.rows(), of_weight.shape());
    let bias = bias.map(vector_of);
    let bias = bias.as_ref().and_then(|bias| bias.as_slice());
    let output = match of_weight {
        Factor::Plain(weight) if rows <= THIN => thin(of_x, weight, bias),
        _ => product(&[Term { left: Factor::Plain(of_x), right: of_weight.transposed(), factor: 1.0 }], bias),
    };
    tensor(output, Shape::new([rows, d_output]))
}

/// `d_output·W`
pub(crate) fn backward(d_output: FlexTensor, weight: FlexTensor) -> FlexTensor {
    let upstream = with_rows(d_output);
    let (Some(of_upstream), Some(right)) = (Matrix::of(&upstream), Factor::of(&weight)) else {
        return crate::linear::composed_backward::<Flex>(upstream, weight);
    };
    let (rows, [_, d_input]) = (of_upstream.rows(), right.shape());
    let term = Term { left: Factor::Plain(of_upstream), right, factor: 1.0 };
    tensor(product(&[term], None), Shape::new([rows, d_input]))
}

/// A few rows: each output is a sum over a row of the weight, which is read once for all of them.
fn thin(x: Matrix<'_>, weight: Stored<'_>, bias: Option<&[f32]>) -> Vec<f32> {
    let (rows, d_output, d_input) = (x.rows(), weight.rows(), weight.columns());
    // By output, so that what one thread writes lies together.
    let mut by_output = vec![0.0; d_output * rows];
    by_output.par_chunks_mut(OUTPUTS * rows).enumerate().for_each(|(block, outputs)| {
        let mut wide = vec![0.0; d_input];
        for (index, outputs) in outputs.chunks_exact_mut(rows).enumerate() {
            let index = block * OUTPUTS + index;
            let of_output = weight.row(index, 0..d_input, &mut wide);
            let bias = bias.map_or(0.0, |bias| bias[index]);
            for (row, output) in outputs.iter_mut().enumerate() {
                dot(x.row(row), of_output, output);
                *output += bias;
            }
        }
    });
    if rows == 1 {
        return by_output;
    }
    (0..rows * d_output).map(|i| by_output[i % d_output * rows + i / d_output]).collect()
}

/// Sums that run beside each other: a fixed number, so that their order is fixed, and enough to keep every unit busy.
const SUMS: usize = 32;

with_wide_vectors! {
    fn dot(left: &[f32], right: &[f32], output: &mut f32) {
        let mut sums = [0.0_f32; SUMS];
        let (left_chunks, right_chunks) = (left.chunks_exact(SUMS), right.chunks_exact(SUMS));
        let rest = left_chunks.remainder().iter().zip(right_chunks.remainder());
        for (left, right) in left_chunks.zip(right_chunks) {
            for i in 0..SUMS {
                sums[i] += left[i] * right[i];
            }
        }
        for (sum, (left, right)) in sums.iter_mut().zip(rest) {
            *sum += left * right;
        }
        let mut width = SUMS / 2;
        while width > 0 {
            for i in 0..width {
                sums[i] += sums[i + width];
            }
            width /= 2;
        }
        *output = sums[0];
    }
}
