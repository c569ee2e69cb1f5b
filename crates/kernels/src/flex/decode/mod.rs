//! Products of the rows of a pass that decodes with a weight that is read once and where it lies: a few rows wait for the memory, tens of
//! them for the processor. A row's sums run in one order, however many rows there are: those along a row of a weight in [`SUMS`] sums
//! that run beside each other ([`form`]), those down its columns block by block.

mod columns;
mod form;
mod nf4;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

use rayon::prelude::*;

use self::form::{Form, Sums};
use self::nf4::Arranged;
use super::filled::filled;
use super::matrix::{Factor, Matrix, Stored};

/// Outputs that one thread works on at a time.
const OUTPUTS: usize = 32;

/// `x·Wᵀ + b`
pub(super) fn product(x: Matrix<'_>, weight: Factor<Stored<'_>>, bias: Option<&[f32]>) -> Vec<f32> {
    match weight {
        Factor::Plain(weight) => along_rows(Form::current(), x, weight, bias),
        Factor::Transposed(weight) => columns::product(x, weight, bias),
    }
}

/// A weight `[d_output, d_input]`: each output is a sum along a row.
fn along_rows(form: &Form, x: Matrix<'_>, weight: Stored<'_>, bias: Option<&[f32]>) -> Vec<f32> {
    let (rows, d_output) = (x.rows(), weight.rows());
    let arranged = Arranged::new(form, x, &weight);
    let mut blocks = vec![0.0; rows * d_output];
    blocks.par_chunks_mut(OUTPUTS * rows).enumerate().for_each_init(Scratch::default, |scratch, (block, outputs)| {
        let width = outputs.len() / rows;
        let first = block * OUTPUTS;
        // Of an odd number of outputs the last is computed twice.
        for at in (0..width).step_by(2) {
            let pair = [at, (at + 1).min(width - 1)];
            let indices = pair.map(|at| first + at);
            let write = |row: usize, of_pair: usize, sum: f32| {
                let at = pair[of_pair];
                outputs[row * width + at] = sum + bias.map_or(0.0, |bias| bias[first + at]);
            };
            match &arranged {
                Some(arranged) => arranged.products(&form.nf4, &weight, indices, &mut scratch.scales, write),
                None => products(form, x, &weight, indices, scratch, write),
            }
        }
    });
    in_rows(blocks, [rows, d_output], OUTPUTS)
}

/// What one thread keeps from output to output.
#[derive(Default)]
struct Scratch {
    /// Two rows of the weight in f32, where they have to be widened.
    wide: [Vec<f32>; 2],
    /// Scales of the blocks of a row.
    scales: Vec<f32>,
}

/// The products of all left rows with two rows of the weight: `write` is told the left row, which of the two, and the sum.
fn products(
    form: &Form,
    x: Matrix<'_>,
    weight: &Stored<'_>,
    indices: [usize; 2],
    scratch: &mut Scratch,
    mut write: impl FnMut(usize, usize, f32),
) {
    let [first, second] = indices;
    if let (Some((first, factor)), Some((second, of_second))) = (weight.int8_row(first), weight.int8_row(second)) {
        let factors = [factor, of_second];
        return with_rows(&form.int8, x, [first, second], |row, of_pair, sum| {
            write(row, of_pair, factors[of_pair] * sum);
        });
    }
    let all = 0..weight.columns();
    if let (Some(first), Some(second)) = (weight.bf16_row(first, all.clone()), weight.bf16_row(second, all.clone())) {
        return with_rows(&form.bf16, x, [first, second], write);
    }
    let [of_first, of_second] = &mut scratch.wide;
    of_first.resize(all.len(), 0.0);
    of_second.resize(all.len(), 0.0);
    with_rows(&form.f32, x, [weight.row(first, all.clone(), of_first), weight.row(second, all, of_second)], write);
}

/// By as many left rows at a time as a form takes.
fn with_rows<W>(sums: &Sums<W>, x: Matrix<'_>, weight: [&[W]; 2], mut write: impl FnMut(usize, usize, f32)) {
    let mut row = 0;
    let mut next = |found: &[[f32; 2]]| {
        for of_row in found {
            of_row.iter().enumerate().for_each(|(of_pair, sum)| write(row, of_pair, *sum));
            row += 1;
        }
        row
    };
    let mut first = 0;
    while first < x.rows() {
        first = match x.rows() - first {
            4.. => next(&sums.of_four([0, 1, 2, 3].map(|at| x.row(first + at)), weight)),
            2.. => next(&sums.of_two([0, 1].map(|at| x.row(first + at)), weight)),
            _ => next(&sums.of_one([x.row(first)], weight)),
        };
    }
}

/// From blocks of so many columns, one after the other, to contiguous rows.
fn in_rows(blocks: Vec<f32>, [rows, columns]: [usize; 2], width: usize) -> Vec<f32> {
    if rows == 1 {
        return blocks;
    }
    filled((0..rows).map(|_| columns), |row, output| {
        for (block, output) in output.chunks_mut(width).enumerate() {
            output.copy_from_slice(&blocks[block * width * rows + row * output.len()..][..output.len()]);
        }
    })
}

#[cfg(test)]
mod tests;
