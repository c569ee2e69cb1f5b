//! What LoRA and DoRA make of a weight by the values in their file, to compare a merge with: in f64, with what roundings may come to, and
//! without anything that folds.

use rayon::prelude::*;

use super::lengths::Lengths;
use super::sum::Sum;
use crate::peft::AdapterTensors;
use crate::{Expected, Precision};

/// `base + scale * left · right`, as the weight lies.
pub(super) struct Sums {
    /// `[rows, rank]`
    left: Vec<f32>,
    /// `[rank, columns]`
    right: Vec<f32>,
    rank: usize,
    columns: usize,
    scale: f64,
}

/// A value, and the sum of the magnitudes of its terms.
#[derive(Clone, Copy)]
struct Terms {
    value: f64,
    size: f64,
}

impl Sums {
    /// The factors as the file has them; `None` where it has not both.
    pub(super) fn of(&Sum { ref a, ref b, scale, transposed }: &Sum, file: &AdapterTensors) -> Option<Self> {
        let &[rank, columns] = file.shape(a)? else { return None };
        let (a, b) = (file.values(a)?, file.values(b)?);
        let transpose = |matrix: &[f32], width: usize| -> Vec<f32> {
            (0..width).flat_map(|column| matrix.iter().skip(column).step_by(width).copied()).collect()
        };
        Some(match transposed {
            false => Self { left: b.to_vec(), right: a.to_vec(), rank, columns, scale },
            true => {
                Self { left: transpose(a, columns), right: transpose(b, rank), rank, columns: b.len() / rank, scale }
            }
        })
    }

    /// What the roundings of a sum in f32 come to, once for each term, as a share of the sizes of its terms.
    fn of_terms(&self) -> f64 {
        (self.rank + 4) as f64 * f64::from(f32::EPSILON)
    }

    fn row(&self, row: usize, base: &[f32]) -> Vec<Terms> {
        let mut sums: Vec<Terms> =
            base.iter().map(|value| Terms { value: f64::from(*value), size: f64::from(value.abs()) }).collect();
        let left = &self.left[row * self.rank..][..self.rank];
        for (factor, right) in left.iter().zip(self.right.chunks(self.columns)) {
            let factor = f64::from(*factor) * self.scale;
            for (sum, value) in sums.iter_mut().zip(right) {
                let term = factor * f64::from(*value);
                sum.value += term;
                sum.size += term.abs();
            }
        }
        sums
    }

    /// The index of the first value that is not as `is_near` has it, which gets the row, the column, the sum, and the value.
    fn first_other(
        &self,
        start: usize,
        (base, found): (&[f32], &[f32]),
        is_near: impl Fn((usize, usize), Terms, f32) -> bool + Sync,
    ) -> Option<usize> {
        let row = |(row, (base, found)): (usize, (&[f32], &[f32]))| {
            let row = start / self.columns + row;
            let sums = self.row(row, base);
            let is_off = |column: &usize| !is_near((row, *column), sums[*column], found[*column]);
            (0..self.columns).find(is_off).map(|column| row * self.columns + column)
        };
        base.par_chunks(self.columns).zip(found.par_chunks(self.columns)).enumerate().filter_map(row).min()
    }
}

impl Expected for Sums {
    fn first_beyond_rounding(&self, start: usize, base: &[f32], found: &[f32], precision: Precision) -> Option<usize> {
        let of_terms = self.of_terms();
        let is_near =
            |_: (usize, usize), sum: Terms, found: f32| precision.explains(found, sum.value, of_terms * sum.size);
        self.first_other(start, (base, found), is_near)
    }
}

/// The same with what belongs to each output brought to its length.
pub(super) struct Stretched {
    sums: Sums,
    lengths: Vec<f32>,
    by_columns: bool,
    /// Of each output's sums, and of the sizes of their terms.
    squares: Vec<(f64, f64)>,
}

impl Stretched {
    /// `None` where the file has not all tensors.
    pub(super) fn of(Lengths { sum, lengths }: &Lengths, file: &AdapterTensors) -> Option<Self> {
        let (sums, lengths) = (Sums::of(sum, file)?, file.values(lengths)?.to_vec());
        Some(Self { sums, by_columns: sum.transposed, squares: vec![(0.0, 0.0); lengths.len()], lengths })
    }

    /// By what each output's values are multiplied, and the error of that as a share, for each share that a sum is off.
    fn of_outputs(&self) -> Vec<(f64, f64)> {
        let of_output = |(length, (value, size)): (&f32, &(f64, f64))| {
            let norm = value.sqrt().max(f64::from(f32::MIN_POSITIVE));
            (f64::from(*length) / norm, size.sqrt() / norm)
        };
        self.lengths.iter().zip(&self.squares).map(of_output).collect()
    }
}

impl Expected for Stretched {
    fn looks_first(&self) -> bool {
        true
    }

    fn look(&mut self, start: usize, base: &[f32]) {
        let columns = self.sums.columns;
        for (row, base) in base.chunks(columns).enumerate() {
            let row = start / columns + row;
            for (column, sum) in self.sums.row(row, base).into_iter().enumerate() {
                let (value, size) = &mut self.squares[if self.by_columns { column } else { row }];
                *value += sum.value * sum.value;
                *size += sum.size * sum.size;
            }
        }
    }

    fn first_beyond_rounding(&self, start: usize, base: &[f32], found: &[f32], precision: Precision) -> Option<usize> {
        let (of_terms, of_outputs) = (self.sums.of_terms(), self.of_outputs());
        let is_near = |(row, column): (usize, usize), sum: Terms, found: f32| {
            let (factor, error) = of_outputs[if self.by_columns { column } else { row }];
            let expected = factor * sum.value;
            let of_factor = of_terms * error + f64::from(f32::EPSILON);
            precision.explains(found, expected, of_factor * expected.abs() + of_terms * (factor * sum.size).abs())
        };
        self.sums.first_other(start, (base, found), is_near)
    }
}
