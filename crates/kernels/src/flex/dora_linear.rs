//! A frozen linear layer with DoRA: the products of LoRA, and one pass over what they give. With dropout the base sees all of its
//! input and what is kept of it; of the latter it is computed what the few dropped entries come to.

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::Shape;
use rayon::prelude::*;

use super::filled::filled;
use super::matrix::{Factor, Matrix};
use super::product::{Dropped, PANEL, Term, product};
use super::{CHUNK, changed, dropout, linear, lora_linear, tensor, vector_of, with_rows};
use crate::dora_linear::{Forward, Gradient, composed, composed_backward, composed_input_backward};
use crate::wide::with_wide_vectors;
use crate::{Compute, DropoutMask, FrozenPrimitive, LowRank, Maybe, Precision};

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
    let x = with_rows(x);
    let (Some(of_x), Some(of_weight)) = (Matrix::of(&x), Factor::of_frozen(&weight)) else {
        return composed::<Flex>(x, weight, bias.map_or(Maybe::None, Maybe::Some), a, b, factors, options);
    };
    let (rows, width) = (of_x.rows(), of_factors.len());
    if !is_sparse(&mask, rows) {
        return composed::<Flex>(x, weight, bias.map_or(Maybe::None, Maybe::Some), a, b, factors, options);
    }
    // Of what is kept the base gives what it gives of all less what it gives of the dropped entries.
    let dropped = Dropped::new(&mask, [rows, of_x.columns()]).product(of_x, of_weight.transposed());
    let base = linear::forward(x.clone(), weight.clone(), None, options.compute);
    let kept = dropout::dropout(x, &mask);
    let scale = options.scale;
    let down = changed(linear::forward(kept, FrozenPrimitive::Float(a), None, Compute::default()), |down| {
        down.par_chunks_mut(CHUNK).for_each(|down| down.iter_mut().for_each(|value| *value *= scale));
    });
    let direction = linear::forward(down.clone(), FrozenPrimitive::Float(b), None, Compute::default());
    let zeros = vec![0.0; width];
    let bias = bias.as_ref().and_then(|bias| bias.as_slice::<f32>()).unwrap_or(&zeros);
    let mut output = None;
    let direction = changed(direction, |direction| {
        output = Some(changed(base, |base| {
            let rows = direction.par_chunks_mut(width).zip(base.par_chunks_mut(width)).enumerate();
            rows.with_min_len(rows_at_once(width)).for_each(|(row, (direction, base))| {
                for (block, dropped) in dropped.iter().enumerate() {
                    let columns = block * PANEL..width.min((block + 1) * PANEL);
                    let dropped = &dropped[row * PANEL..][..columns.len()];
                    let of_outputs = [&of_factors[columns.clone()], &bias[columns.clone()]];
                    join(dropped, mask.keep(), of_outputs, &mut direction[columns.clone()], &mut base[columns]);
                }
            });
        }));
    });
    (output.expect("`changed` calls what changes"), down, direction)
}

/// Whether entries are so few, and rows so many, that it pays to compute with what is dropped.
fn is_sparse(mask: &DropoutMask, rows: usize) -> bool {
    rows >= 32 && mask.probability() <= 0.25
}

/// The gradient of the input; `scaled` is that of the output times the factors.
pub(crate) fn input_backward(
    d_output: FlexTensor,
    scaled: FlexTensor,
    weight: FrozenPrimitive<Flex>,
    d_down: FlexTensor,
    a: FlexTensor,
    options: LowRank,
) -> FlexTensor {
    let [d_output, scaled, d_down, a] = [d_output, scaled, d_down, a].map(with_rows);
    let matrices =
        (Matrix::of(&d_output), Matrix::of(&scaled), Factor::of_frozen(&weight), Matrix::of(&d_down), Matrix::of(&a));
    let mask = options.mask.clone().filter(|mask| is_sparse(mask, d_output.layout().shape()[0]));
    let (Some(mask), (Some(upstream), Some(of_scaled), Some(right), Some(of_d_down), Some(of_a))) = (mask, matrices)
    else {
        return composed_input_backward::<Flex>(d_output, scaled, weight, d_down, a, options);
    };
    let (rows, d_input, keep) = (upstream.rows(), of_a.columns(), mask.keep());
    // What reaches kept entries by way of the base and of the difference from it, at once.
    let both = rows_of(&d_output, |index, d_output, both| {
        both.copy_from_slice(of_scaled.row(index));
        between(d_output, keep, both);
    });
    let of_both = Matrix::of(&both).expect("a new matrix");
    let through_update = Term {
        left: Factor::Plain(of_d_down),
        right: Factor::Plain(of_a.into()),
        factor: keep,
        precision: Precision::F32,
    };
    let through_weight =
        Term { left: Factor::Plain(of_both), right, factor: 1.0, precision: options.compute.precision };
    let mut output = product(&[through_weight, through_update], None);
    Dropped::new(&mask, [rows, d_input]).fill(upstream, right.transposed(), &mut output);
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
            add_products(&of_direction.row(row)[outputs.clone()], &upstream.row(row)[outputs.clone()], sums);
        }
    });
    let zeros = vec![0.0; width];
    let scaled = rows_of(&d_output, |_, d_output, scaled| scale_row(d_output, of_factors, &zeros, scaled));
    let (d_a, d_b, d_down) = lora_linear::backward(x, down, b, scaled.clone(), options);
    (d_a, d_b, tensor(d_factors, Shape::new([width])), d_down, scaled)
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
    fn join(dropped: &[f32], keep: f32, of_outputs: [&[f32]; 2], direction: &mut [f32], base: &mut [f32]) {
        let [factors, bias] = of_outputs;
        let of_outputs = factors.iter().zip(bias);
        for (((base, direction), dropped), (factor, bias)) in base.iter_mut().zip(direction).zip(dropped).zip(of_outputs) {
            let kept = keep * (*base - dropped);
            *direction += kept;
            *base += *direction * factor - kept + bias;
        }
    }
}

with_wide_vectors! {
    /// `left + keep * (values - left)`
    fn between(left: &[f32], keep: f32, values: &mut [f32]) {
        for (value, left) in values.iter_mut().zip(left) {
            *value = left + keep * (*value - left);
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
