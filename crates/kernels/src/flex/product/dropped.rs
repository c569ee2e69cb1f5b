//! Products with the entries that dropout takes away, which are few: by these alone, what is left is a difference from a product of
//! all. Stretches of a panel of the right factor stay in a core's first cache while the rows pass by. The order of every sum depends
//! on shapes and the mask alone.

use std::cell::RefCell;
use std::ops::Range;

use rayon::prelude::*;

use super::micro::Form;
use super::pack;
use crate::DropoutMask;
use crate::flex::columns::Columns;
use crate::flex::matrix::{Factor, Matrix, Stored};
use crate::flex::prefetch::{Cache, prefetch};
use crate::wide::with_wide_vectors;

/// Columns of the left factor in a stretch, and of the right factor in a panel: 24 KiB.
const STRETCH: usize = 96;
pub(in crate::flex) const PANEL: usize = 64;

/// Rows whose sums stay in a core's second cache until they are taken: 256 KiB.
const ROWS: usize = 1024;

/// Sums that run beside each other.
const LANES: usize = 8;

/// Memory that a thread keeps from product to product.
#[derive(Default)]
struct Scratch {
    sums: Vec<f32>,
    panel: Vec<f32>,
    wide: Vec<f32>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl Scratch {
    /// Room for sums and for a panel, with what was left in it.
    fn with<T>(sums: usize, panel: usize, work: impl FnOnce(&mut [f32], &mut [f32], &mut Vec<f32>) -> T) -> T {
        SCRATCH.with_borrow_mut(|Self { sums: of_sums, panel: of_panel, wide }| {
            of_sums.resize(of_sums.len().max(sums), 0.0);
            of_panel.resize(of_panel.len().max(panel), 0.0);
            work(&mut of_sums[..sums], &mut of_panel[..panel], wide)
        })
    }
}

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
            // As many as are to be expected, and some.
            let places = (rows * columns.len()) as f32 * (mask.probability() * 1.1);
            let (mut starts, mut places) = (Vec::with_capacity(rows + 1), Vec::with_capacity(places as usize));
            for row in 0..rows {
                starts.push(places.len());
                let mut words = [0; STRETCH / u32::BITS as usize];
                mask.dropped(row, columns.start as u32, &mut words);
                for (word, first) in words.into_iter().zip((0..).step_by(u32::BITS as usize)) {
                    extend(&mut places, word, first, columns.len());
                }
            }
            starts.push(places.len());
            Stretch { columns, starts, places }
        };
        Self { rows, stretches: firsts.par_iter().map(stretch).collect() }
    }

    /// Of `x·right` the terms with dropped entries of `x`: for some rows of [`PANEL`] columns, `take` is called with the block's own
    /// of `outputs`, the rows' numbers and their sums, each row's `PANEL` values apart.
    pub(in crate::flex) fn product<T: Send>(
        &self,
        x: Matrix<'_>,
        right: Factor<Stored<'_>>,
        outputs: Vec<T>,
        take: impl Fn(&mut T, Range<usize>, &[f32]) + Sync,
    ) {
        let form = Form::current();
        let [_, width] = right.shape();
        let values: Vec<Vec<f32>> = self.stretches.par_iter().map(|stretch| self.values(stretch, x)).collect();
        assert_eq!(outputs.len(), width.div_ceil(PANEL), "each block has its output");
        outputs.into_par_iter().enumerate().for_each(|(block, mut output)| {
            let columns = block * PANEL..width.min((block + 1) * PANEL);
            for first in (0..self.rows).step_by(ROWS) {
                let rows = first..self.rows.min(first + ROWS);
                Scratch::with(rows.len() * PANEL, STRETCH * PANEL, |sums, panel, wide| {
                    for (index, (stretch, values)) in self.stretches.iter().zip(&values).enumerate() {
                        let panel = &mut panel[..stretch.columns.len() * PANEL];
                        pack::pack(form, right, stretch.columns.clone(), columns.clone(), PANEL, wide, panel);
                        if let Some(next) = self.stretches.get(index + 1) {
                            ask_for(right, next.columns.clone(), columns.clone());
                        }
                        add_rows(stretch, rows.clone(), values, panel, sums);
                    }
                    take(&mut output, rows, sums);
                });
            }
        });
    }

    /// The dropped values of a stretch, as their places.
    fn values(&self, stretch: &Stretch, x: Matrix<'_>) -> Vec<f32> {
        let mut values = Vec::with_capacity(stretch.places.len());
        for row in 0..self.rows {
            let of_row = &x.row(row)[stretch.columns.clone()];
            values.extend(stretch.places[stretch.of_row(row)].iter().map(|place| of_row[usize::from(*place)]));
        }
        values
    }

    /// Writes the dropped entries of `upstream·rightᵀ` where they stand in `output`, whose rows are contiguous.
    pub(in crate::flex) fn fill(&self, upstream: Matrix<'_>, right: Factor<Stored<'_>>, output: &mut [f32]) {
        let [columns, width] = right.shape();
        let form = Form::current();
        let outputs = Columns::of(output, columns, STRETCH);
        self.stretches.par_iter().zip(outputs).for_each(|(stretch, mut output)| {
            let (sums, panel) = (stretch.places.len() * LANES, stretch.columns.len() * PANEL);
            Scratch::with(sums, panel, |sums, panel, wide| {
                for first in (0..width).step_by(PANEL) {
                    let of_panel = first..width.min(first + PANEL);
                    pack::pack(form, right, stretch.columns.clone(), of_panel.clone(), PANEL, wide, panel);
                    ask_for(right, stretch.columns.clone(), of_panel.end..width.min(of_panel.end + PANEL));
                    add_dots(stretch, upstream.part(0..self.rows, of_panel), panel, first == 0, sums);
                }
                let (sums, _) = sums.as_chunks::<LANES>();
                for row in 0..self.rows {
                    let (output, dropped) = (output.row(row), stretch.of_row(row));
                    for (place, [a, b, c, d, e, f, g, h]) in stretch.places[dropped.clone()].iter().zip(&sums[dropped])
                    {
                        output[usize::from(*place)] = ((a + e) + (c + g)) + ((b + f) + (d + h));
                    }
                }
            });
        });
    }
}

/// What a panel is made of next: a few values each of rows that lie far apart.
fn ask_for(right: Factor<Stored<'_>>, depth: Range<usize>, columns: Range<usize>) {
    if let Factor::Transposed(stored) = right
        && let Some(matrix) = stored.as_matrix()
    {
        columns.for_each(|column| prefetch(&matrix.row(column)[depth.clone()], Cache::Second));
    }
}

/// Adds the places of a word's bits, of which the lowest is at `first`.
fn extend(places: &mut Vec<u8>, word: u32, first: usize, columns: usize) {
    let mut rest = match columns.saturating_sub(first) {
        within @ 0..32 => word & ((1 << within) - 1),
        _ => word,
    };
    let (mut of_word, mut count) = ([0; u32::BITS as usize], 0);
    while rest != 0 {
        of_word[count] = (first + rest.trailing_zeros() as usize) as u8;
        rest &= rest - 1;
        count += 1;
    }
    places.extend_from_slice(&of_word[..count]);
}

with_wide_vectors! {
    /// To the sums of each row, those before the first stretch being zeros, adds rows of the panel, each times its value.
    fn add_rows(stretch: &Stretch, rows: Range<usize>, values: &[f32], panel: &[f32], sums: &mut [f32]) {
        let (panel, _) = panel.as_chunks::<PANEL>();
        let (sums, _) = sums.as_chunks_mut::<PANEL>();
        for (row, output) in rows.zip(sums) {
            let dropped = stretch.of_row(row);
            let mut sums = if stretch.columns.start == 0 { [0.0; PANEL] } else { *output };
            for (value, place) in values[dropped.clone()].iter().zip(&stretch.places[dropped]) {
                let of_panel = &panel[usize::from(*place)];
                for at in 0..PANEL {
                    sums[at] += value * of_panel[at];
                }
            }
            *output = sums;
        }
    }
}

with_wide_vectors! {
    /// To the sums of each dropped entry, those before the first panel being zeros, adds the products of its row with its row of the
    /// panel, in lanes.
    fn add_dots(stretch: &Stretch, upstream: Matrix<'_>, panel: &[f32], is_first: bool, sums: &mut [f32]) {
        let (panel, _) = panel.as_chunks::<PANEL>();
        let (sums, _) = sums.as_chunks_mut::<LANES>();
        let mut values = [0.0; PANEL];
        for row in 0..upstream.rows() {
            match upstream.row(row).as_array::<PANEL>() {
                Some(whole) => values = *whole,
                None => values[..upstream.columns()].copy_from_slice(upstream.row(row)),
            }
            let dropped = stretch.of_row(row);
            for (place, output) in stretch.places[dropped.clone()].iter().zip(&mut sums[dropped]) {
                let of_panel = &panel[usize::from(*place)];
                let mut sums = [if is_first { [0.0; LANES] } else { *output }, [0.0; LANES]];
                for first in (0..PANEL).step_by(2 * LANES) {
                    for (half, sums) in sums.iter_mut().enumerate() {
                        for (lane, sum) in sums.iter_mut().enumerate() {
                            let at = first + half * LANES + lane;
                            *sum += values[at] * of_panel[at];
                        }
                    }
                }
                for lane in 0..LANES {
                    output[lane] = sums[0][lane] + sums[1][lane];
                }
            }
        }
    }
}
