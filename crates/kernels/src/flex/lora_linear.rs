//! A frozen linear layer with a low-rank update. The update is one more stretch of the product's depth; entries that dropout
//! keeps from A exist for a few rows at a time.

use std::ops::Range;

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::Shape;
use rayon::prelude::*;

use super::matrix::{Factor, Matrix};
use super::product::{Start, Term, add_product, product, serial};
use super::{changed, decode, linear, tensor, vector_of, with_rows};
use crate::{DropoutMask, FrozenPrimitive, LowRank, Precision, RowsUpdate, lora_linear, low_rank_update};

/// Rows and columns of the input that are copied at once to be masked: 96 KiB.
const ROWS: usize = 32;
const COLUMNS: usize = 768;

/// Returns the output and `scale * mask(x)·Aᵀ`.
pub(crate) fn forward(
    x: FlexTensor,
    weight: FrozenPrimitive<Flex>,
    bias: Option<FlexTensor>,
    a: FlexTensor,
    b: FlexTensor,
    options: LowRank,
) -> (FlexTensor, FlexTensor) {
    let ([x, a, b], bias) = ([x, a, b].map(with_rows), bias.map(vector_of));
    let matrices = (Matrix::of(&x), Factor::of_frozen(&weight), Matrix::of(&a), Matrix::of(&b));
    let (Some(of_x), Some(of_weight), Some(of_a), Some(of_b)) = matrices else {
        return lora_linear::composed::<Flex>(x, weight, bias, a, b, options);
    };
    let LowRank { scale, mask, compute } = options;
    let (rows, [d_output, _], r) = (of_x.rows(), of_weight.shape(), of_a.rows());

    let down = down(of_x, of_a, scale, &mask);
    let bias = bias.as_ref().and_then(|bias| bias.as_slice());
    let update = update(&down, of_b);
    let output = if linear::is_read_in_place(compute, of_weight) {
        let mut output = decode::product(of_x, of_weight, bias);
        add_product(&[update], &mut output);
        output
    } else {
        let (right, precision) = (of_weight.transposed(), compute.precision);
        product(&[Term { left: Factor::Plain(of_x), right, factor: 1.0, precision }, update], bias)
    };
    (tensor(output, Shape::new([rows, d_output])), tensor(down, Shape::new([rows, r])))
}

/// Adds `scale * (x·Aᵀ)·Bᵀ` to some rows of `output`, whose sums are those of [`forward`]: of both kinds of products the update
/// is what comes last.
pub(crate) fn add(output: FlexTensor, x: FlexTensor, a: FlexTensor, b: FlexTensor, update: RowsUpdate) -> FlexTensor {
    let [x, a, b] = [x, a, b].map(with_rows);
    let matrices = (Matrix::of(&x), Matrix::of(&a), Matrix::of(&b));
    let (Some(of_x), Some(of_a), Some(of_b)) = matrices else {
        return low_rank_update::composed::<Flex>(output, x, a, b, update);
    };
    let RowsUpdate { rows, scale } = update;
    if rows.is_empty() {
        return output;
    }
    let down = down(of_x.part(rows.clone(), 0..of_x.columns()), of_a, scale, &None);
    let d_output = of_b.rows();
    changed(output, |output| {
        add_product(&[self::update(&down, of_b)], &mut output[rows.start * d_output..rows.end * d_output]);
    })
}

/// `scale * mask(x)·Aᵀ`, `[rows, r]`
pub(super) fn down(x: Matrix<'_>, a: Matrix<'_>, scale: f32, mask: &Option<DropoutMask>) -> Vec<f32> {
    let (rows, r) = (x.rows(), a.rows());
    let mut down = vec![0.0; rows * r];
    down.par_chunks_mut(ROWS * r).enumerate().for_each(|(block, down)| {
        let rows = block * ROWS..rows.min((block + 1) * ROWS);
        let mut kept = Vec::new();
        let mut start = Start::Zero;
        for columns in stretches(x.columns(), COLUMNS) {
            let x = masked(x, mask, rows.clone(), columns.clone(), &mut kept);
            let a = a.part(0..r, columns);
            serial(Factor::Plain(x), Factor::Transposed(a), scale, down, r, start);
            start = Start::Output;
        }
    });
    down
}

/// The update as a term of a product, given [`down`].
pub(super) fn update<'a>(down: &'a [f32], b: Matrix<'a>) -> Term<'a> {
    let r = b.columns();
    Term {
        left: Factor::Plain(Matrix::new(down, down.len() / r, r, r)),
        right: Factor::Transposed(b.into()),
        factor: 1.0,
        precision: Precision::F32,
    }
}

/// The gradients of A and B, and that of `mask(x)·Aᵀ`.
pub(crate) fn backward(
    x: FlexTensor,
    down: FlexTensor,
    b: FlexTensor,
    d_output: FlexTensor,
    options: LowRank,
) -> (FlexTensor, FlexTensor, FlexTensor) {
    let [x, down, b, d_output] = [x, down, b, d_output].map(with_rows);
    let matrices = (Matrix::of(&x), Matrix::of(&down), Matrix::of(&b), Matrix::of(&d_output));
    let (Some(of_x), Some(of_down), Some(of_b), Some(upstream)) = matrices else {
        return lora_linear::composed_backward::<Flex>(x, down, b, d_output, options);
    };
    let LowRank { scale, mask, .. } = options;
    let (rows, d_input, d_output, r) = (of_x.rows(), of_x.columns(), of_b.rows(), of_b.columns());

    let term = Term {
        left: Factor::Plain(upstream),
        right: Factor::Plain(of_b.into()),
        factor: scale,
        precision: Precision::F32,
    };
    let d_down = product(&[term], None);

    // Transposed: so few rows that the gradient of the output is read where it lies.
    let term = Term {
        left: Factor::Transposed(of_down),
        right: Factor::Plain(upstream.into()),
        factor: 1.0,
        precision: Precision::F32,
    };
    let d_b = product(&[term], None);
    let d_b = (0..d_output * r).map(|i| d_b[i % r * d_output + i / r]).collect();

    let of_d_down = Matrix::new(&d_down, rows, r, r);
    let d_a = match &mask {
        None => {
            let term = Term {
                left: Factor::Transposed(of_d_down),
                right: Factor::Plain(of_x.into()),
                factor: 1.0,
                precision: Precision::F32,
            };
            product(&[term], None)
        }
        Some(_) => through_mask(of_d_down, of_x, &mask),
    };
    (
        tensor(d_a, Shape::new([r, d_input])),
        tensor(d_b, Shape::new([d_output, r])),
        tensor(d_down, Shape::new([rows, r])),
    )
}

/// The transpose of `d_down` times `mask(x)`.
fn through_mask(d_down: Matrix<'_>, x: Matrix<'_>, mask: &Option<DropoutMask>) -> Vec<f32> {
    let (rows, r, d_input) = (x.rows(), d_down.columns(), x.columns());
    let stretches: Vec<Range<usize>> = stretches(d_input, COLUMNS / 4).collect();
    let parts: Vec<Vec<f32>> = stretches
        .par_iter()
        .map(|columns| {
            let mut part = vec![0.0; r * columns.len()];
            let mut kept = Vec::new();
            for first in (0..rows).step_by(4 * ROWS) {
                let rows = first..rows.min(first + 4 * ROWS);
                let x = masked(x, mask, rows.clone(), columns.clone(), &mut kept);
                let left = Factor::Transposed(d_down.part(rows, 0..r));
                serial(left, Factor::Plain(x), 1.0, &mut part, columns.len(), Start::Output);
            }
            part
        })
        .collect();
    let mut d_a = vec![0.0; r * d_input];
    for (columns, part) in stretches.into_iter().zip(parts) {
        for (d_a, part) in d_a.chunks_exact_mut(d_input).zip(part.chunks_exact(columns.len())) {
            d_a[columns.clone()].copy_from_slice(part);
        }
    }
    d_a
}

/// The gradient of the input, given those of the output and of `mask(x)·Aᵀ`.
pub(crate) fn input_backward(
    d_output: FlexTensor,
    weight: FrozenPrimitive<Flex>,
    d_down: FlexTensor,
    a: FlexTensor,
    options: LowRank,
) -> FlexTensor {
    let [d_output, d_down, a] = [d_output, d_down, a].map(with_rows);
    let matrices = (Matrix::of(&d_output), Factor::of_frozen(&weight), Matrix::of(&d_down), Matrix::of(&a));
    let (Some(upstream), Some(right), Some(of_d_down), Some(of_a)) = matrices else {
        return lora_linear::composed_input_backward::<Flex>(d_output, weight, d_down, a, options);
    };
    let LowRank { mask, compute, .. } = options;
    let precision = compute.precision;
    let (rows, d_input) = (upstream.rows(), of_a.columns());
    let through_weight = Term { left: Factor::Plain(upstream), right, factor: 1.0, precision };
    let through_update = Term {
        left: Factor::Plain(of_d_down),
        right: Factor::Plain(of_a.into()),
        factor: 1.0,
        precision: Precision::F32,
    };
    let output = match mask {
        None => product(&[through_weight, through_update], None),
        Some(mask) => {
            let mut output = product(&[through_update], None);
            output.par_chunks_exact_mut(d_input).enumerate().with_min_len(ROWS).for_each(|(row, values)| {
                mask.apply(row, 0, values);
            });
            add_product(&[through_weight], &mut output);
            output
        }
    };
    tensor(output, Shape::new([rows, d_input]))
}

fn stretches(columns: usize, width: usize) -> impl Iterator<Item = Range<usize>> {
    (0..columns).step_by(width).map(move |first| first..columns.min(first + width))
}

/// A part of `x` as the update sees it, by way of `kept` where entries are dropped.
fn masked<'b>(
    x: Matrix<'b>,
    mask: &Option<DropoutMask>,
    rows: Range<usize>,
    columns: Range<usize>,
    kept: &'b mut Vec<f32>,
) -> Matrix<'b> {
    let part = x.part(rows.clone(), columns.clone());
    let Some(mask) = mask else { return part };
    kept.clear();
    for (index, row) in rows.enumerate() {
        let first = kept.len();
        kept.extend_from_slice(part.row(index));
        mask.apply(row, columns.start as u32, &mut kept[first..]);
    }
    Matrix::new(kept, part.rows(), part.columns(), part.columns())
}
