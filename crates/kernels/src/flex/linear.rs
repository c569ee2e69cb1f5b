//! Linear layers with frozen weights, where burn's own product would do more than it has to: for a few rows, as in
//! generation, every weight is read once and by all threads; weights in half precision are widened tile by tile, never as a
//! whole.

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::{DType, Shape};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use rayon::prelude::*;

use super::matrix::{Factor, Into, Matrix, product};
use super::tensor;
use super::vector::with_wide_vectors;

/// Up to so many rows a product is bound by reading the weight.
const THIN: usize = 4;

/// Outputs that one thread works on at a time where rows are few.
const OUTPUTS: usize = 32;

/// Rows or columns of a weight that are widened together: with a thousand of the other side 512 KiB.
const TILE: usize = 128;

/// A weight `[d_output, d_input]` whose rows are contiguous, in any float type.
#[derive(Clone, Copy)]
enum Stored<'a> {
    F32(&'a [f32]),
    F16(&'a [f16]),
    Bf16(&'a [bf16]),
}

#[derive(Clone, Copy)]
struct Weight<'a> {
    stored: Stored<'a>,
    d_output: usize,
    d_input: usize,
}

impl<'a> Weight<'a> {
    fn of(tensor: &'a FlexTensor) -> Option<Self> {
        let shape = tensor.layout().shape();
        let stored = match tensor.dtype() {
            DType::F32 => Stored::F32(tensor.as_slice()?),
            DType::F16 => Stored::F16(tensor.as_slice()?),
            DType::BF16 => Stored::Bf16(tensor.as_slice()?),
            _ => return None,
        };
        Some(Self { stored, d_output: shape[0], d_input: shape[1] })
    }

    /// A part of a row in f32, by way of `wide` where it has to be widened.
    fn row<'b>(&self, row: usize, columns: std::ops::Range<usize>, wide: &'b mut [f32]) -> &'b [f32]
    where
        'a: 'b,
    {
        let range = row * self.d_input + columns.start..row * self.d_input + columns.end;
        let wide = &mut wide[..columns.len()];
        match self.stored {
            Stored::F32(values) => return &values[range],
            Stored::F16(values) => values[range].convert_to_f32_slice(wide),
            Stored::Bf16(values) => widen_bf16(&values[range], wide),
        }
        wide
    }
}

with_wide_vectors! {
    fn widen_bf16(from: &[bf16], to: &mut [f32]) {
        for (to, from) in to.iter_mut().zip(from) {
            *to = f32::from_bits(u32::from(from.to_bits()) << 16);
        }
    }
}

/// `x·Wᵀ`
pub(crate) fn forward(x: FlexTensor, weight: FlexTensor) -> FlexTensor {
    let rows = x.layout().shape()[0];
    let is_half = weight.dtype() != DType::F32;
    if !is_half && rows > THIN {
        return crate::linear::composed::<Flex>(x, weight);
    }
    let x = if Matrix::of(&x).is_some() { x } else { x.to_contiguous() };
    let (Some(of_x), Some(of_weight)) = (Matrix::of(&x), Weight::of(&weight)) else {
        return crate::linear::composed::<Flex>(x, weight);
    };
    let output = if rows <= THIN { thin(of_x, of_weight) } else { tiled(of_x, of_weight) };
    tensor(output, Shape::new([rows, of_weight.d_output]))
}

/// `d_output·W`
pub(crate) fn backward(d_output: FlexTensor, weight: FlexTensor) -> FlexTensor {
    if weight.dtype() == DType::F32 {
        return crate::linear::composed_backward::<Flex>(d_output, weight);
    }
    let upstream = if Matrix::of(&d_output).is_some() { d_output } else { d_output.to_contiguous() };
    let (Some(of_upstream), Some(of_weight)) = (Matrix::of(&upstream), Weight::of(&weight)) else {
        return crate::linear::composed_backward::<Flex>(upstream, weight);
    };
    let (rows, d_input) = (of_upstream.rows(), of_weight.d_input);
    let tiles = (0..d_input).step_by(TILE).map(|start| start..d_input.min(start + TILE)).collect::<Vec<_>>();
    let parts: Vec<Vec<f32>> = tiles
        .par_iter()
        .map(|columns| {
            let width = columns.len();
            let mut wide = vec![0.0; of_weight.d_output * width];
            for (row, wide) in wide.chunks_exact_mut(width).enumerate() {
                of_weight.row(row, columns.clone(), wide);
            }
            let tile = Matrix::new(&wide, of_weight.d_output, width, width);
            let mut part = vec![0.0; rows * width];
            product(Factor::Plain(of_upstream), Factor::Plain(tile), 1.0, &mut part, width, Into::Replace);
            part
        })
        .collect();
    tensor(side_by_side(&parts, rows, d_input), Shape::new([rows, d_input]))
}

/// A few rows: each output is a sum over a row of the weight, which is read once for all of them.
fn thin(x: Matrix<'_>, weight: Weight<'_>) -> Vec<f32> {
    let (rows, d_output) = (x.rows(), weight.d_output);
    // By output, so that what one thread writes lies together.
    let mut by_output = vec![0.0; d_output * rows];
    by_output.par_chunks_mut(OUTPUTS * rows).enumerate().for_each(|(block, outputs)| {
        let mut wide = vec![0.0; weight.d_input];
        for (index, outputs) in outputs.chunks_exact_mut(rows).enumerate() {
            let of_output = weight.row(block * OUTPUTS + index, 0..weight.d_input, &mut wide);
            for (row, output) in outputs.iter_mut().enumerate() {
                dot(x.row(row), of_output, output);
            }
        }
    });
    if rows == 1 {
        return by_output;
    }
    (0..rows * d_output).map(|i| by_output[i % d_output * rows + i / d_output]).collect()
}

/// Many rows, and a weight in half precision.
fn tiled(x: Matrix<'_>, weight: Weight<'_>) -> Vec<f32> {
    let (rows, d_input) = (x.rows(), weight.d_input);
    let tiles = (0..weight.d_output).step_by(TILE).map(|start| start..weight.d_output.min(start + TILE));
    let parts: Vec<Vec<f32>> = tiles
        .collect::<Vec<_>>()
        .par_iter()
        .map(|outputs| {
            let mut wide = vec![0.0; outputs.len() * d_input];
            for (row, wide) in outputs.clone().zip(wide.chunks_exact_mut(d_input)) {
                weight.row(row, 0..d_input, wide);
            }
            let tile = Matrix::new(&wide, outputs.len(), d_input, d_input);
            let mut part = vec![0.0; rows * outputs.len()];
            product(Factor::Plain(x), Factor::Transposed(tile), 1.0, &mut part, outputs.len(), Into::Replace);
            part
        })
        .collect();
    side_by_side(&parts, rows, weight.d_output)
}

/// Matrices of [`TILE`] columns, the last of what is left, as one.
fn side_by_side(parts: &[Vec<f32>], rows: usize, width: usize) -> Vec<f32> {
    let mut whole = vec![0.0; rows * width];
    whole.par_chunks_exact_mut(width).enumerate().with_min_len(TILE).for_each(|(row, whole)| {
        for (whole, part) in whole.chunks_mut(TILE).zip(parts) {
            whole.copy_from_slice(&part[row * whole.len()..][..whole.len()]);
        }
    });
    whole
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
