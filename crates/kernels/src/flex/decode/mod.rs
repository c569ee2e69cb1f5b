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

use std::ops::Range;

use rayon::prelude::*;

use self::form::{Form, Sums};
use self::nf4::Arranged;
use super::filled::filled;
use super::matrix::{Factor, Matrix, Stored};
use super::prefetch::{Cache, prefetch};

/// Outputs that one thread works on at a time.
const OUTPUTS: usize = 32;

/// From so many left rows on rows of a weight in bf16 are widened once for all of them, and not by each four again. The sums are the same.
const WIDENED_ONCE: usize = 8;

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
    blocks.par_chunks_mut(OUTPUTS * rows).enumerate().for_each_init(Scratch::default, |scratch, (block, values)| {
        let width = values.len() / rows;
        let outputs = block * OUTPUTS..block * OUTPUTS + width;
        let write = |row: usize, output: usize, sum: f32| {
            values[row * width + output - outputs.start] = sum + bias.map_or(0.0, |bias| bias[output]);
        };
        match &arranged {
            Some(arranged) => arranged.products(&form.nf4, &weight, outputs.clone(), write),
            None => products(form, x, &weight, outputs.clone(), scratch, write),
        }
    });
    in_rows(blocks, [rows, d_output], OUTPUTS)
}

/// What one thread keeps from output to output.
#[derive(Default)]
struct Scratch {
    /// Two rows of the weight in f32, where they have to be widened.
    wide: [Vec<f32>; 2],
}

/// The products of all left rows with some rows of the weight: `write` is told the left row, the output, and the sum.
fn products(
    form: &Form,
    x: Matrix<'_>,
    weight: &Stored<'_>,
    outputs: Range<usize>,
    scratch: &mut Scratch,
    mut write: impl FnMut(usize, usize, f32),
) {
    let all = 0..weight.columns();
    let [of_first, of_second] = &mut scratch.wide;
    for first in outputs.clone().step_by(2) {
        // Of an odd number of outputs the last is computed twice.
        let pair = [first, (first + 1).min(outputs.end - 1)];
        let mut write = |row: usize, of_pair: usize, sum: f32| write(row, pair[of_pair], sum);
        if let [Some((first, factor)), Some((second, of_second))] = pair.map(|index| weight.int8_row(index)) {
            let factors = [factor, of_second];
            // Rows are so short that the processor hardly sees where they go on.
            let following = [pair[1] + 1, pair[1] + 2].map(|index| index.min(outputs.end - 1));
            following
                .into_iter()
                .filter_map(|index| weight.int8_row(index))
                .for_each(|(row, _)| prefetch(row, Cache::First));
            with_rows(&form.int8, x, [first, second], |row, of_pair, sum| {
                write(row, of_pair, factors[of_pair] * sum);
            });
        } else if x.rows() < WIDENED_ONCE
            && let [Some(first), Some(second)] = pair.map(|index| weight.bf16_row(index, all.clone()))
        {
            with_rows(&form.bf16, x, [first, second], write);
        } else {
            of_first.resize(all.len(), 0.0);
            of_second.resize(all.len(), 0.0);
            let rows = [weight.row(pair[0], all.clone(), of_first), weight.row(pair[1], all.clone(), of_second)];
            with_rows(&form.f32, x, rows, write);
        }
    }
}

/// Two rows of the weight with as many left rows at a time as a form takes.
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
