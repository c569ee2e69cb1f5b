//! Linear layers: weights of any float type, which are read where they lie, and the gradients of those that are trained.

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::Shape;
use rayon::prelude::*;

use super::matrix::{Factor, Matrix, Stored};
use super::product::{Term, product};
use super::quantised::Dots;
use super::{tensor, vector_of, with_rows};
use crate::wide::with_wide_vectors;
use crate::{Compute, FrozenPrimitive, Phase, Precision};

/// Outputs that one thread works on at a time where rows are few.
const OUTPUTS: usize = 32;

/// `x·Wᵀ + b`
pub(crate) fn forward(
    x: FlexTensor,
    weight: FrozenPrimitive<Flex>,
    bias: Option<FlexTensor>,
    compute: Compute,
) -> FlexTensor {
    let x = with_rows(x);
    let (Some(of_x), Some(of_weight)) = (Matrix::of(&x), Factor::of_frozen(&weight)) else {
        return crate::linear::composed::<Flex>(x, weight, bias);
    };
    let (rows, [d_output, _]) = (of_x.rows(), of_weight.shape());
    let bias = bias.map(vector_of);
    let bias = bias.as_ref().and_then(|bias| bias.as_slice());
    let output = if is_read_in_place(compute, of_weight) {
        thin(of_x, of_weight, bias)
    } else {
        let (right, precision) = (of_weight.transposed(), compute.precision);
        product(&[Term { left: Factor::Plain(of_x), right, factor: 1.0, precision }], bias)
    };
    tensor(output, Shape::new([rows, d_output]))
}

/// `d_output·W`
pub(crate) fn backward(d_output: FlexTensor, weight: FrozenPrimitive<Flex>, precision: Precision) -> FlexTensor {
    let upstream = with_rows(d_output);
    let (Some(of_upstream), Some(right)) = (Matrix::of(&upstream), Factor::of_frozen(&weight)) else {
        return crate::linear::composed_backward::<Flex>(upstream, weight);
    };
    let (rows, [_, d_input]) = (of_upstream.rows(), right.shape());
    let term = Term { left: Factor::Plain(of_upstream), right, factor: 1.0, precision };
    tensor(product(&[term], None), Shape::new([rows, d_input]))
}

/// `d_outputᵀ·x`
pub(crate) fn weight_gradient(x: FlexTensor, d_output: FlexTensor) -> FlexTensor {
    let [x, upstream] = [x, d_output].map(with_rows);
    let (Some(of_x), Some(of_upstream)) = (Matrix::of(&x), Matrix::of(&upstream)) else {
        return crate::linear::composed_weight_gradient::<Flex>(x, upstream);
    };
    let shape = Shape::new([of_upstream.columns(), of_x.columns()]);
    let (left, right) = (Factor::Transposed(of_upstream), Factor::Plain(of_x.into()));
    let term = Term { left, right, factor: 1.0, precision: Precision::F32 };
    tensor(product(&[term], None), shape)
}

/// Whether the weight is to be read once and where it lies, for as few rows as a pass has that decodes. Products in bf16 are computed as
/// in any pass, unless their weight is quantised: it takes longer to fill a panel than to read it.
pub(super) fn is_read_in_place(compute: Compute, weight: Factor<Stored<'_>>) -> bool {
    let has_panels = compute.precision == Precision::Bf16 && Precision::has_bf16() && !weight.is_quantised();
    compute.phase == Phase::Decode && !has_panels
}

/// A few rows, for which every value of the weight is read once and where it lies.
pub(super) fn thin(x: Matrix<'_>, weight: Factor<Stored<'_>>, bias: Option<&[f32]>) -> Vec<f32> {
    match weight {
        Factor::Plain(weight) => along_rows(x, weight, bias),
        Factor::Transposed(weight) => down_columns(x, weight, bias),
    }
}

/// A weight `[d_output, d_input]`: each output is a sum along a row.
fn along_rows(x: Matrix<'_>, weight: Stored<'_>, bias: Option<&[f32]>) -> Vec<f32> {
    let (rows, d_output, d_input) = (x.rows(), weight.rows(), weight.columns());
    // By output, so that what one thread writes lies together.
    let mut by_output = vec![0.0; d_output * rows];
    let dots = Dots::new(x, &weight);
    by_output.par_chunks_mut(OUTPUTS * rows).enumerate().for_each(|(block, outputs)| {
        let mut wide = vec![0.0; d_input];
        for (index, outputs) in outputs.chunks_exact_mut(rows).enumerate() {
            let index = block * OUTPUTS + index;
            if let Some(dots) = &dots {
                dots.with(&weight, index, &mut wide, outputs);
                let bias = bias.map_or(0.0, |bias| bias[index]);
                outputs.iter_mut().for_each(|output| *output += bias);
                continue;
            }
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

/// A weight `[d_input, d_output]`: its rows are added up, block by block, and the blocks' sums in their order.
fn down_columns(x: Matrix<'_>, weight: Stored<'_>, bias: Option<&[f32]>) -> Vec<f32> {
    let (rows, d_input, d_output) = (x.rows(), weight.rows(), weight.columns());
    let blocks: Vec<usize> = (0..d_input).step_by(BLOCK).collect();
    let to_widen = if weight.as_matrix().is_some() { 0 } else { d_output };
    let sums: Vec<Vec<f32>> = blocks
        .par_iter()
        .map(|block| {
            let mut sums = vec![0.0; rows * d_output];
            let mut wide = [(); TOGETHER].map(|()| vec![0.0; to_widen]);
            for first in (*block..d_input.min(block + BLOCK)).step_by(TOGETHER) {
                // Beyond the last row the last stands in, with nothing to multiply it by.
                let mut index = first..first + TOGETHER;
                let of_weight = wide.each_mut().map(|wide| {
                    let row = index.next().map_or(d_input - 1, |row| row.min(d_input - 1));
                    weight.row(row, 0..d_output, wide)
                });
                for (row, sums) in sums.chunks_exact_mut(d_output).enumerate() {
                    let factors = std::array::from_fn(|i| x.row(row).get(first + i).copied().unwrap_or(0.0));
                    add_rows(factors, of_weight, sums);
                }
            }
            sums
        })
        .collect();
    let mut output = match bias {
        Some(bias) => bias.repeat(rows),
        None => vec![0.0; rows * d_output],
    };
    for of_block in &sums {
        output.iter_mut().zip(of_block).for_each(|(output, sum)| *output += sum);
    }
    output
}

/// Rows of a weight that one thread adds up at a time.
const BLOCK: usize = 96;

/// Rows of a weight that are added to the sums at once: so many places of the memory are asked at a time.
const TOGETHER: usize = 16;

with_wide_vectors! {
    fn add_rows(factors: [f32; TOGETHER], rows: [&[f32]; TOGETHER], sums: &mut [f32]) {
        let rows = rows.map(|row| &row[..sums.len()]);
        for i in 0..sums.len() {
            let mut added = factors[0] * rows[0][i];
            for row in 1..TOGETHER {
                added += factors[row] * rows[row][i];
            }
            sums[i] += added;
        }
    }
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
