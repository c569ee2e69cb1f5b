//! A frozen linear layer with DoRA: the products of LoRA, and one pass over what they give. With dropout the base sees all of its
//! input and what is kept of it; of the latter it is computed what the few dropped entries come to. On the way back the factors
//! multiply rows of the weight and of B, which are fewer than those of the gradient.

use std::ops::Range;

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::Shape;

use super::columns::{Columns, NewColumns};
use super::filled::filled;
use super::matrix::{Factor, Matrix};
use super::prefetch::{Cache, ROWS_AHEAD, prefetch};
use super::product::{Dropped, PANEL, Start, Term, product, serial};
use super::{CHUNK, changed, lora_linear, tensor, vector_of, with_rows};
use crate::dora_linear::{Forward, Gradient, composed, composed_backward, composed_input_backward};
use crate::wide::with_wide_vectors;
use crate::{DropoutMask, FrozenPrimitive, LowRank, Maybe, Precision};

/// Rows whose updates are computed before they are added: 32 KiB.
const TOGETHER: usize = 128;

/// Outputs whose sums over the rows one thread has at a time.
const OUTPUTS: usize = 64;

pub(crate) fn forward(
    x: FlexTensor,
    weight: FrozenPrimitive<Flex>,
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
        let output = rows_of(&direction, |_, direction, output| scale_row(direction, of_factors, bias, output));
        return (output, down, direction);
    };
    let [x, a, b] = [x, a, b].map(with_rows);
    let matrices = (Matrix::of(&x), Factor::of_frozen(&weight), Matrix::of(&a), Matrix::of(&b));
    let (Some(of_x), Some(of_weight), Some(of_a), Some(of_b)) = matrices else {
        return composed::<Flex>(x, weight, bias.map_or(Maybe::None, Maybe::Some), a, b, factors, options);
    };
    let (rows, width, r) = (of_x.rows(), of_factors.len(), of_a.rows());
    if !is_sparse(&mask, rows) {
        return composed::<Flex>(x, weight, bias.map_or(Maybe::None, Maybe::Some), a, b, factors, options);
    }
    let (right, precision) = (of_weight.transposed(), options.compute.precision);
    let mut output = product(&[Term { left: Factor::Plain(of_x), right, factor: 1.0, precision }], None);
    let down = lora_linear::down(of_x, of_a, options.scale, &options.mask);
    let of_down = Matrix::new(&down, rows, r, r);
    let mut direction = Vec::with_capacity(rows * width);
    let zeros = vec![0.0; width];
    let bias = bias.as_ref().and_then(|bias| bias.as_slice::<f32>()).unwrap_or(&zeros);
    let of_direction = NewColumns::of(&mut direction.spare_capacity_mut()[..rows * width], width, PANEL);
    let blocks = of_direction.into_iter().zip(Columns::of(&mut output, width, PANEL)).enumerate();
    // Of what is kept the base gives what it gives of all less what it gives of the dropped entries.
    Dropped::new(&mask, [rows, of_x.columns()]).product(
        of_x,
        right,
        blocks.collect(),
        |(block, (direction, output)), rows, dropped| {
            let outputs = *block * PANEL..width.min((*block + 1) * PANEL);
            let (of_b, of_outputs) =
                (of_b.part(outputs.clone(), 0..r), [of_factors, bias].map(|it| &it[outputs.clone()]));
            let mut update = [0.0; TOGETHER * PANEL];
            for (first, dropped) in rows.clone().step_by(TOGETHER).zip(dropped.chunks(TOGETHER * PANEL)) {
                let rows = first..rows.end.min(first + TOGETHER);
                let of_down = of_down.part(rows.clone(), 0..r);
                serial(Factor::Plain(of_down), Factor::Transposed(of_b), 1.0, &mut update, PANEL, Start::Zero);
                join(rows, [dropped, &update], mask.keep(), of_outputs, output, direction);
            }
        },
    );
    // SAFETY: the blocks are all of its columns, and every row of each has been written.
    #[expect(unsafe_code, reason = "memory that has been filled; see SAFETY")]
    unsafe {
        direction.set_len(rows * width);
    }
    let shape = Shape::new([rows, width]);
    (tensor(output, shape.clone()), tensor(down, Shape::new([rows, r])), tensor(direction, shape))
}

/// Whether entries are so few, and rows so many, that it pays to compute with what is dropped.
fn is_sparse(mask: &DropoutMask, rows: usize) -> bool {
    rows >= 32 && mask.probability() <= 0.25
}

pub(crate) fn input_backward(
    d_output: FlexTensor,
    weight: FrozenPrimitive<Flex>,
    d_down: FlexTensor,
    a: FlexTensor,
    factors: FlexTensor,
    options: LowRank,
) -> FlexTensor {
    let ([d_output, d_down, a], factors) = ([d_output, d_down, a].map(with_rows), vector_of(factors));
    let matrices = (
        Matrix::of(&d_output),
        Factor::of_frozen(&weight),
        Matrix::of(&d_down),
        Matrix::of(&a),
        factors.as_slice::<f32>(),
    );
    let (Some(upstream), Some(right), Some(of_d_down), Some(of_a), Some(of_factors)) = matrices else {
        return composed_input_backward::<Flex>(d_output, weight, d_down, a, factors, options);
    };
    let (rows, d_input) = (upstream.rows(), of_a.columns());
    if options.mask.as_ref().is_some_and(|mask| !is_sparse(mask, rows)) {
        return composed_input_backward::<Flex>(d_output, weight, d_down, a, factors, options);
    }
    // What reaches kept entries by way of the base and of the difference from it, at once.
    let keep = options.mask.as_ref().map(DropoutMask::keep);
    let of_outputs: Vec<f32> = match keep {
        Some(keep) => of_factors.iter().map(|factor| 1.0 + keep * (factor - 1.0)).collect(),
        None => of_factors.to_vec(),
    };
    let through_weight = Term {
        left: Factor::Plain(upstream),
        right: right.with_rows_times(&of_outputs),
        factor: 1.0,
        precision: options.compute.precision,
    };
    let through_update = Term {
        left: Factor::Plain(of_d_down),
        right: Factor::Plain(of_a.into()),
        factor: keep.unwrap_or(1.0),
        precision: Precision::F32,
    };
    let mut output = product(&[through_weight, through_update], None);
    if let Some(mask) = &options.mask {
        Dropped::new(mask, [rows, d_input]).fill(upstream, right.transposed(), &mut output);
    }
    tensor(output, Shape::new([rows, d_input]))
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
            if row + ROWS_AHEAD < rows {
                for matrix in [of_direction, upstream] {
                    prefetch(&matrix.row(row + ROWS_AHEAD)[outputs.clone()], Cache::First);
                }
            }
            add_products(&of_direction.row(row)[outputs.clone()], &upstream.row(row)[outputs.clone()], sums);
        }
    });
    let r = down.layout().shape()[1];
    let (d_a, d_b, d_down) = lora_linear::backward(x, down, times(b, of_factors, r), d_output, options);
    (d_a, times(d_b, of_factors, r), tensor(d_factors, Shape::new([width])), d_down)
}

/// Rows of `width` values, each times its factor.
fn times(matrix: FlexTensor, factors: &[f32], width: usize) -> FlexTensor {
    changed(matrix, |values| {
        for (row, factor) in values.chunks_exact_mut(width).zip(factors) {
            row.iter_mut().for_each(|value| *value *= factor);
        }
    })
}

fn rows_at_once(width: usize) -> usize {
    (CHUNK / width.max(1)).max(1)
}

/// A new matrix, row by row from those of another.
fn rows_of(matrix: &FlexTensor, map: impl Fn(usize, &[f32], &mut [f32]) + Sync) -> FlexTensor {
    let from = Matrix::of(matrix).expect("its rows are contiguous");
    let (rows, width) = (from.rows(), from.columns());
    let height = rows_at_once(width);
    let lengths = (0..rows.div_ceil(height)).map(|block| height.min(rows - block * height) * width);
    let values = filled(lengths, |block, to| {
        for (index, to) in to.chunks_exact_mut(width).enumerate() {
            map(block * height + index, from.row(block * height + index), to);
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
    /// Of a base's output for all entries, for the dropped ones, and an update: what the layer gives, and its direction.
    fn join(
        rows: Range<usize>,
        parts: [&[f32]; 2],
        keep: f32,
        of_outputs: [&[f32]; 2],
        output: &mut Columns<'_>,
        direction: &mut NewColumns<'_>,
    ) {
        let ([dropped, update], [factors, bias]) = (parts.map(|it| it.chunks_exact(PANEL)), of_outputs);
        for ((row, dropped), update) in rows.zip(dropped).zip(update) {
            let of_outputs = factors.iter().zip(bias);
            let of_row = output.row(row).iter_mut().zip(direction.row(row)).zip(dropped.iter().zip(update)).zip(of_outputs);
            for (((base, direction), (dropped, update)), (factor, bias)) in of_row {
                let kept = keep * (*base - dropped);
                let whole = update + kept;
                direction.write(whole);
                *base += whole * factor - kept + bias;
            }
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
