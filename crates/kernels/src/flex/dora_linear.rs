//! A frozen linear layer with DoRA: the products of LoRA, and one pass over what they give.

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::Shape;
use rayon::prelude::*;

use super::filled::filled;
use super::matrix::Matrix;
use super::{CHUNK, changed, dropout, linear, lora_linear, tensor, vector_of, with_rows};
use crate::dora_linear::{Forward, Gradient, composed, composed_backward};
use crate::wide::with_wide_vectors;
use crate::{LowRank, Maybe};

/// Outputs whose sums over the rows one thread has at a time.
const OUTPUTS: usize = 64;

pub(crate) fn forward(
    x: FlexTensor,
    weight: FlexTensor,
    bias: Option<FlexTensor>,
    [a, b]: [FlexTensor; 2],
    factors: FlexTensor,
    options: LowRank,
) -> Forward<Flex> {
    let (factors, bias) = (vector_of(factors), bias.map(vector_of));
    let Some(of_factors) = factors.as_slice::<f32>() else {
        return composed::<Flex>(x, weight, bias.map_or(Maybe::None, Maybe::Some), a, b, factors, options);
    };
    let Some(mask) = options.mask.clone() else {
        let (direction, down) = lora_linear::forward(x, weight, None, a, b, options);
        let zeros = vec![0.0; of_factors.len()];
        let bias = bias.as_ref().and_then(|bias| bias.as_slice::<f32>()).unwrap_or(&zeros);
        let output = rows_of(&direction, |direction, output| scale_row(direction, of_factors, bias, output));
        return (output, down, direction);
    };
    let kept = dropout::dropout(x.clone(), &mask);
    let base = linear::forward(x, weight.clone(), bias, options.precision);
    let of_kept = linear::forward(kept.clone(), weight.clone(), None, options.precision);
    let (direction, down) = lora_linear::forward(kept, weight, None, a, b, LowRank { mask: None, ..options });
    let (width, of_direction, of_kept) = (of_factors.len(), Matrix::of(&direction), Matrix::of(&of_kept));
    let (of_direction, of_kept) = (of_direction.expect("a new matrix"), of_kept.expect("a new matrix"));
    let output = changed(base, |output| {
        output.par_chunks_mut(width).enumerate().with_min_len(rows_at_once(width)).for_each(|(row, output)| {
            add_scaled_row(of_direction.row(row), of_factors, of_kept.row(row), output);
        });
    });
    (output, down, direction)
}

pub(crate) fn backward(
    x: FlexTensor,
    [down, direction]: [FlexTensor; 2],
    b: FlexTensor,
    factors: FlexTensor,
    d_output: FlexTensor,
    options: LowRank,
) -> Gradient<Flex> {
    let ([direction, d_output], factors) = ([direction, d_output].map(with_rows), vector_of(factors));
    let matrices = (Matrix::of(&direction), Matrix::of(&d_output), factors.as_slice::<f32>());
    let (Some(of_direction), Some(upstream), Some(of_factors)) = matrices else {
        return composed_backward::<Flex>(x, [down, direction], b, factors, d_output, options);
    };
    let (rows, width) = (upstream.rows(), upstream.columns());
    let outputs = |block: usize| block * OUTPUTS..width.min((block + 1) * OUTPUTS);
    let blocks = width.div_ceil(OUTPUTS);
    let d_factors = filled((0..blocks).map(|block| outputs(block).len()), |block, sums| {
        let outputs = outputs(block);
        for row in 0..rows {
            add_products(&of_direction.row(row)[outputs.clone()], &upstream.row(row)[outputs.clone()], sums);
        }
    });
    let zeros = vec![0.0; width];
    let scaled = rows_of(&d_output, |d_output, scaled| scale_row(d_output, of_factors, &zeros, scaled));
    let (d_a, d_b, d_down) = lora_linear::backward(x, down, b, scaled.clone(), options);
    (d_a, d_b, tensor(d_factors, Shape::new([width])), d_down, scaled)
}

fn rows_at_once(width: usize) -> usize {
    (CHUNK / width.max(1)).max(1)
}

/// A new matrix, row by row from those of another.
fn rows_of(matrix: &FlexTensor, map: impl Fn(&[f32], &mut [f32]) + Sync) -> FlexTensor {
    let from = Matrix::of(matrix).expect("its rows are contiguous");
    let (rows, width) = (from.rows(), from.columns());
    let height = rows_at_once(width);
    let lengths = (0..rows.div_ceil(height)).map(|block| height.min(rows - block * height) * width);
    let values = filled(lengths, |block, to| {
        for (index, to) in to.chunks_exact_mut(width).enumerate() {
            map(from.row(block * height + index), to);
        }
    });
    tensor(values, Shape::new([rows, width]))
}

with_wide_vectors! {
    fn scale_row(row: &[f32], factors: &[f32], bias: &[f32], output: &mut [f32]) {
        for (((output, value), factor), bias) in output.iter_mut().zip(row).zip(factors).zip(bias) {
            *output = value * factor + bias;
        }
    }
}

with_wide_vectors! {
    fn add_scaled_row(row: &[f32], factors: &[f32], less: &[f32], output: &mut [f32]) {
        for (((output, value), factor), less) in output.iter_mut().zip(row).zip(factors).zip(less) {
            *output += value * factor - less;
        }
    }
}

with_wide_vectors! {
    fn add_products(left: &[f32], right: &[f32], sums: &mut [f32]) {
        for ((sum, left), right) in sums.iter_mut().zip(left).zip(right) {
            *sum += left * right;
        }
    }
}
