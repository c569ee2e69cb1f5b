//! Products with the entries that dropout takes away, which are few: by these alone, what is left is a difference from a product of
//! all. Stretches of a panel of the right factor stay in a core's first cache while the rows pass by. The order of every sum depends
//! on shapes and the mask alone.

use std::ops::Range;

use rayon::prelude::*;

use super::micro::Form;
use super::pack;
use crate::DropoutMask;
use crate::flex::matrix::{Factor, Matrix, Stored};
use crate::wide::with_wide_vectors;

/// Columns of the left factor in a stretch, and of the right factor in a panel: 24 KiB.
const STRETCH: usize = 96;
pub(in crate::flex) const PANEL: usize = 64;

/// Sums that run beside each other.
const LANES: usize = 8;

/// The entries of a matrix that a mask drops.
pub(in crate::flex) struct Dropped {
    rows: usize,
    stretches: Vec<Stretch>,
}

struct Stretch {
    columns: Range<usize>,
    /// Where the places of each row begin, and where the last ones end.
    starts: Vec<usize>,
    /// Columns, counted from the first of the stretch, one row after the other.
    places: Vec<u8>,
}

impl Stretch {
    fn of_row(&self, row: usize) -> Range<usize> {
        self.starts[row]..self.starts[row + 1]
    }
}

impl Dropped {
    pub(in crate::flex) fn new(mask: &DropoutMask, [rows, columns]: [usize; 2]) -> Self {
        let firsts: Vec<usize> = (0..columns).step_by(STRETCH).collect();
        let stretch = |first: &usize| {
            let columns = *first..columns.min(first + STRETCH);
            let mut factors = [0.0; STRETCH];
            let factors = &mut factors[..columns.len()];
            let (mut starts, mut places) = (Vec::with_capacity(rows + 1), Vec::new());
            for row in 0..rows {
                starts.push(places.len());
                mask.fill(row, columns.start as u32, factors);
                places.extend((0..columns.len()).filter(|at| factors[*at] == 0.0).map(|at| at as u8));
            }
            starts.push(places.len());
            Stretch { columns, starts, places }
        };
        Self { rows, stretches: firsts.par_iter().map(stretch).collect() }
    }

    /// Of `x·right` the terms with dropped entries of `x`, in blocks of [`PANEL`] columns, each with rows of as many values.
    pub(in crate::flex) fn product(&self, x: Matrix<'_>, right: Factor<Stored<'_>>) -> Vec<Vec<f32>> {
        let form = Form::current();
        let [_, width] = right.shape();
        let firsts: Vec<usize> = (0..width).step_by(PANEL).collect();
        let block = |first: &usize| {
            let columns = *first..width.min(first + PANEL);
            let mut output = vec![0.0; self.rows * PANEL];
            let (mut panel, mut wide) = (vec![0.0; STRETCH * PANEL], Vec::new());
            for stretch in &self.stretches {
                let panel = &mut panel[..stretch.columns.len() * PANEL];
                pack::pack(form, right, stretch.columns.clone(), columns.clone(), PANEL, &mut wide, panel);
                for (row, output) in output.chunks_exact_mut(PANEL).enumerate() {
                    let places = &stretch.places[stretch.of_row(row)];
                    add_rows(&x.row(row)[stretch.columns.clone()], places, panel, output);
                }
            }
            output
        };
        firsts.par_iter().map(block).collect()
    }

    /// Writes the dropped entries of `upstream·rightᵀ` where they stand in `output`, whose rows are contiguous.
    pub(in crate::flex) fn fill(&self, upstream: Matrix<'_>, right: Factor<Stored<'_>>, output: &mut [f32]) {
        let [columns, width] = right.shape();
        let form = Form::current();
        let sampled = |stretch: &Stretch| {
            let mut sums = vec![0.0; stretch.places.len() * LANES];
            let (mut panel, mut wide) = (vec![0.0; STRETCH * PANEL], Vec::new());
            let panel = &mut panel[..stretch.columns.len() * PANEL];
            let mut padded = [0.0; PANEL];
            for first in (0..width).step_by(PANEL) {
                let of_panel = first..width.min(first + PANEL);
                pack::pack(form, right, stretch.columns.clone(), of_panel.clone(), PANEL, &mut wide, panel);
                padded.fill(0.0);
                for row in 0..self.rows {
                    padded[..of_panel.len()].copy_from_slice(&upstream.row(row)[of_panel.clone()]);
                    let range = stretch.of_row(row);
                    let sums = &mut sums[range.start * LANES..range.end * LANES];
                    add_dots(&padded, &stretch.places[range], panel, sums);
                }
            }
            sums
        };
        let sampled: Vec<Vec<f32>> = self.stretches.par_iter().map(sampled).collect();
        output.par_chunks_exact_mut(columns).enumerate().with_min_len(LANES).for_each(|(row, output)| {
            for (stretch, sampled) in self.stretches.iter().zip(&sampled) {
                let output = &mut output[stretch.columns.clone()];
                for at in stretch.of_row(row) {
                    output[usize::from(stretch.places[at])] = sampled[at * LANES..][..LANES].iter().sum();
                }
            }
        });
    }
}

with_wide_vectors! {
    /// Adds rows of the panel, each times its value of the row.
    fn add_rows(row: &[f32], places: &[u8], panel: &[f32], output: &mut [f32]) {
        let (panel, _) = panel.as_chunks::<PANEL>();
        let Some(output) = output.as_mut_array::<PANEL>() else { return };
        let mut sums = *output;
        for place in places {
            let (value, of_panel) = (row[usize::from(*place)], &panel[usize::from(*place)]);
            for at in 0..PANEL {
                sums[at] += value * of_panel[at];
            }
        }
        *output = sums;
    }
}

with_wide_vectors! {
    /// Adds the products of the row with rows of the panel, in lanes.
    fn add_dots(row: &[f32; PANEL], places: &[u8], panel: &[f32], sums: &mut [f32]) {
        let (panel, _) = panel.as_chunks::<PANEL>();
        let (sums, _) = sums.as_chunks_mut::<LANES>();
        for (place, output) in places.iter().zip(sums) {
            let (of_panel, mut sums) = (&panel[usize::from(*place)], *output);
            for first in (0..PANEL).step_by(LANES) {
                for lane in 0..LANES {
                    sums[lane] += row[first + lane] * of_panel[first + lane];
                }
            }
            *output = sums;
        }
    }
}
