//! Factors in bf16 for processors that multiply pairs of them: two values that belong to neighbouring steps of the depth lie
//! together as the two halves of one f32, whose bits alone count. Beyond an odd depth stands a zero.

use std::ops::Range;

use half::bf16;
use rayon::prelude::*;

use super::micro::{Form, LARGEST};
use super::pack::{BLOCK, transpose};
use crate::flex::matrix::{Factor, Matrix, Stored};
use crate::wide::with_wide_vectors;

/// Rows that one thread rounds at a time.
const ROWS: usize = 16;

/// The rows of a left factor, each `depth.div_ceil(2)` pairs long.
pub(super) fn left(matrix: Matrix<'_>) -> Vec<f32> {
    let pairs = matrix.columns().div_ceil(2);
    let mut rounded = vec![0.0; matrix.rows() * pairs];
    rounded.par_chunks_mut(ROWS * pairs).enumerate().for_each(|(block, rounded)| {
        for (row, rounded) in rounded.chunks_exact_mut(pairs).enumerate() {
            along(matrix.row(block * ROWS + row), rounded);
        }
    });
    rounded
}

/// Like [`super::pack::pack`]: pairs `depth` of `right` as rows of `width` pairs.
pub(super) fn pack(
    form: &Form,
    right: Factor<Stored<'_>>,
    depth: Range<usize>,
    columns: Range<usize>,
    width: usize,
    wide: &mut Vec<f32>,
    panel: &mut [f32],
) {
    assert!(columns.len() <= width && panel.len() == depth.len() * width, "a panel has room for its columns");
    let steps = 2 * depth.start..right.shape()[0].min(2 * depth.end);
    if columns.len() < width {
        panel.fill(0.0);
    }
    match right {
        Factor::Plain(stored) => {
            wide.resize(2 * columns.len(), 0.0);
            let zeros = [0.0; LARGEST];
            let zeros = &zeros[..columns.len()];
            let (even, odd) = wide.split_at_mut(columns.len());
            for (step, panel) in steps.clone().step_by(2).zip(panel.chunks_exact_mut(width)) {
                let even = stored.row(step, columns.clone(), &mut *even);
                let odd = match step + 1 < steps.end {
                    true => stored.row(step + 1, columns.clone(), &mut *odd),
                    false => zeros,
                };
                across(even, odd, &mut panel[..columns.len()]);
            }
        }
        Factor::Transposed(stored) => {
            let pairs = depth.len();
            wide.resize(BLOCK * pairs + steps.len(), 0.0);
            let (rounded, wide) = wide.split_at_mut(BLOCK * pairs);
            for first in columns.clone().step_by(BLOCK) {
                let to = &mut panel[first - columns.start..];
                let rows = first..columns.end.min(first + BLOCK);
                for (row, rounded) in rows.clone().zip(rounded.chunks_exact_mut(pairs)) {
                    match stored.bf16_row(row, steps.clone()) {
                        Some(values) => side_by_side(values, rounded),
                        None => along(stored.row(row, steps.clone(), wide), rounded),
                    }
                }
                if rows.len() == BLOCK {
                    transpose(form, rounded, pairs, pairs, to, width);
                    continue;
                }
                for (column, rounded) in rounded.chunks_exact(pairs).take(rows.len()).enumerate() {
                    for (at, pair) in rounded.iter().enumerate() {
                        to[at * width + column] = *pair;
                    }
                }
            }
        }
    }
}

/// The nearest bf16, ties to even, in the upper half.
#[inline(always)]
fn rounded(value: f32) -> u32 {
    let bits = value.to_bits();
    // What is no number must not become infinite.
    let nan = (bits & 0x7fff_ffff > 0x7f80_0000) as u32 * 0x0040_0000;
    (bits | nan).wrapping_add((0x7fff + (bits >> 16 & 1)) * (nan == 0) as u32)
}

with_wide_vectors! {
    /// Values that lie one after the other.
    fn along(values: &[f32], pairs: &mut [f32]) {
        let whole = values.chunks_exact(2);
        let rest = whole.remainder().first().copied();
        for (pair, values) in pairs.iter_mut().zip(whole) {
            *pair = f32::from_bits(rounded(values[0]) >> 16 | rounded(values[1]) & 0xffff_0000);
        }
        if let (Some(value), Some(pair)) = (rest, pairs.last_mut()) {
            *pair = f32::from_bits(rounded(value) >> 16);
        }
    }
}

with_wide_vectors! {
    /// Values of two rows.
    fn across(even: &[f32], odd: &[f32], pairs: &mut [f32]) {
        for ((pair, even), odd) in pairs.iter_mut().zip(even).zip(odd) {
            *pair = f32::from_bits(rounded(*even) >> 16 | rounded(*odd) & 0xffff_0000);
        }
    }
}

with_wide_vectors! {
    /// Values that are in bf16 already.
    fn side_by_side(values: &[bf16], pairs: &mut [f32]) {
        let whole = values.chunks_exact(2);
        let rest = whole.remainder().first().copied();
        for (pair, values) in pairs.iter_mut().zip(whole) {
            *pair = f32::from_bits(u32::from(values[0].to_bits()) | u32::from(values[1].to_bits()) << 16);
        }
        if let (Some(value), Some(pair)) = (rest, pairs.last_mut()) {
            *pair = f32::from_bits(u32::from(value.to_bits()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_is_that_of_bf16() {
        let values = [0.0, -0.0, 1.0, 1.001, -3.1, 1e-40, 3.4e38, f32::MAX, f32::INFINITY, f32::NEG_INFINITY];
        for value in values.into_iter().chain((0..5000).map(|i| (i as f32 * 0.37 - 900.0).powi(3))) {
            assert_eq!(rounded(value) >> 16, u32::from(bf16::from_f32(value).to_bits()), "{value}");
        }
        assert!(bf16::from_bits((rounded(f32::NAN) >> 16) as u16).is_nan());
        assert!(bf16::from_bits((rounded(f32::from_bits(0xffff_ffff)) >> 16) as u16).is_nan());
        assert!(bf16::from_bits((rounded(f32::from_bits(0x7f80_0001)) >> 16) as u16).is_nan());
    }
}
