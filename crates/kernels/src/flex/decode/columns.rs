//! Products with a weight `[d_input, d_output]`, as the `Conv1D` of GPT-2 has it: its rows are added up, so many at a time, in blocks, and
//! the blocks' sums in their order. Of a few rows a thread has a block of the weight's rows, which it reads from end to end; of more a
//! strip of its columns, for which sums stay in registers. Both add up alike.

use std::ops::Range;

use rayon::prelude::*;

use super::in_rows;
use crate::flex::matrix::{Matrix, Stored};
use crate::flex::prefetch::{Cache, prefetch};
use crate::wide::with_wide_vectors;

/// Rows of a weight whose sums are added up before those of others.
const BLOCK: usize = 96;

/// Rows of a weight that are added to the sums at once: so many places of the memory are asked at a time.
const TOGETHER: usize = 16;

/// Up to so many rows a product waits for the weight alone.
const FEW: usize = 4;

/// Columns of the weight that a thread has at a time where rows are more.
const STRIP: usize = 128;

/// Rows whose sums are in registers.
const ROWS: usize = 4;

/// Columns whose sums are in registers: two vectors of 256 bits for each row.
const LANES: usize = 16;

pub(super) fn product(x: Matrix<'_>, weight: Stored<'_>, bias: Option<&[f32]>) -> Vec<f32> {
    let mut padded = Vec::new();
    let x = padded_columns(x, &mut padded);
    if x.rows() <= FEW { by_blocks(x, weight, bias) } else { by_strips(x, weight, bias) }
}

fn by_blocks(x: Matrix<'_>, weight: Stored<'_>, bias: Option<&[f32]>) -> Vec<f32> {
    let (rows, d_input, d_output) = (x.rows(), weight.rows(), weight.columns());
    let blocks: Vec<usize> = (0..d_input).step_by(BLOCK).collect();
    let sums: Vec<Vec<f32>> = blocks
        .par_iter()
        .map(|block| {
            let mut sums = vec![0.0; rows * d_output];
            let mut wide = [(); TOGETHER].map(|()| Vec::new());
            for first in (*block..d_input.min(block + BLOCK)).step_by(TOGETHER) {
                let of_weight = rows_from(&weight, first, 0..d_output, &mut wide);
                for (row, sums) in sums.chunks_exact_mut(d_output).enumerate() {
                    add_rows(*factors(x, row, first), of_weight, sums);
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

fn by_strips(x: Matrix<'_>, weight: Stored<'_>, bias: Option<&[f32]>) -> Vec<f32> {
    let (rows, d_input, d_output) = (x.rows(), weight.rows(), weight.columns());
    let mut strips = vec![0.0; rows * d_output];
    strips.par_chunks_mut(STRIP * rows).enumerate().for_each(|(strip, output)| {
        let width = output.len() / rows;
        let columns = strip * STRIP..strip * STRIP + width;
        if let Some(bias) = bias {
            output.chunks_exact_mut(width).for_each(|output| output.copy_from_slice(&bias[columns.clone()]));
        }
        let mut sums = vec![0.0; rows * width];
        // Rows of a weight are often a multiple of a page apart, where they would displace each other from a core's first cache.
        let mut panel = vec![0.0; TOGETHER * width];
        for block in (0..d_input).step_by(BLOCK) {
            sums.fill(0.0);
            for first in (block..d_input.min(block + BLOCK)).step_by(TOGETHER) {
                for (at, row) in panel.chunks_exact_mut(width).enumerate() {
                    weight.read((first + at).min(d_input - 1), columns.clone(), row);
                }
                let following = first + TOGETHER..d_input.min(first + 2 * TOGETHER);
                if let Some(weight) = weight.as_matrix() {
                    following.for_each(|row| prefetch(&weight.row(row)[columns.clone()], Cache::Second));
                }
                let (tiles, rest) = sums.split_at_mut(rows / ROWS * ROWS * width);
                for (tile, sums) in tiles.chunks_exact_mut(ROWS * width).enumerate() {
                    let factors = std::array::from_fn(|at| *factors(x, tile * ROWS + at, first));
                    add_rows_of_tile(&factors, &panel, sums);
                }
                for (row, sums) in rest.chunks_exact_mut(width).enumerate() {
                    let rows_of_panel = std::array::from_fn(|at| &panel[at * width..][..width]);
                    add_rows(*factors(x, rows / ROWS * ROWS + row, first), rows_of_panel, sums);
                }
            }
            output.iter_mut().zip(&sums).for_each(|(output, sum)| *output += sum);
        }
    });
    in_rows(strips, [rows, d_output], STRIP)
}

/// Some columns of rows of the weight. Beyond the last row the last stands in, with nothing to multiply it by.
fn rows_from<'b>(
    weight: &Stored<'b>,
    first: usize,
    columns: Range<usize>,
    wide: &'b mut [Vec<f32>; TOGETHER],
) -> [&'b [f32]; TOGETHER] {
    let mut rows = (first..).map(|row| row.min(weight.rows() - 1));
    wide.each_mut().map(|wide| {
        if weight.as_matrix().is_none() {
            wide.resize(columns.len(), 0.0);
        }
        weight.row(rows.next().unwrap_or_default(), columns.clone(), wide)
    })
}

/// Zeros follow where the columns are not a multiple of [`TOGETHER`].
fn padded_columns<'p>(x: Matrix<'p>, padded: &'p mut Vec<f32>) -> Matrix<'p> {
    let width = x.columns().next_multiple_of(TOGETHER);
    if width == x.columns() {
        return x;
    }
    padded.resize(x.rows() * width, 0.0);
    for (row, padded) in padded.chunks_exact_mut(width).enumerate() {
        padded[..x.columns()].copy_from_slice(x.row(row));
    }
    Matrix::new(padded, x.rows(), width, width)
}

/// What some rows of the weight are multiplied by for a left row.
fn factors<'a>(x: Matrix<'a>, row: usize, first: usize) -> &'a [f32; TOGETHER] {
    x.row(row)[first..].first_chunk().expect("left rows are padded")
}

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

with_wide_vectors! {
    /// The same for several rows, which lie one after the other, as those of the weight do.
    fn add_rows_of_tile(factors: &[[f32; TOGETHER]; ROWS], panel: &[f32], sums: &mut [f32]) {
        let width = sums.len() / ROWS;
        let whole = width / LANES * LANES;
        for first in (0..whole).step_by(LANES) {
            let mut added = [[0.0_f32; LANES]; ROWS];
            for (at, row) in panel.chunks_exact(width).take(TOGETHER).enumerate() {
                let of_weight: &[f32; LANES] = row[first..].first_chunk().expect("columns up to a whole number of lanes");
                for (added, factors) in added.iter_mut().zip(factors) {
                    for lane in 0..LANES {
                        added[lane] += factors[at] * of_weight[lane];
                    }
                }
            }
            for (row, added) in added.iter().enumerate() {
                let sums = &mut sums[row * width + first..][..LANES];
                sums.iter_mut().zip(added).for_each(|(sum, added)| *sum += added);
            }
        }
        for (row, factors) in factors.iter().enumerate() {
            for column in whole..width {
                let mut added = 0.0;
                for (factor, of_weight) in factors.iter().zip(panel.chunks_exact(width)) {
                    added += factor * of_weight[column];
                }
                sums[row * width + column] += added;
            }
        }
    }
}
