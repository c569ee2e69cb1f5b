//! Products with rows in nf4, whose codes are looked up where they lie. A left row is laid out as the values come: of the words of 32
//! bits that a vector of codes has, first the lowest four bits of each, then the next.

use std::ops::Range;

use super::OUTPUTS;
use super::form::Form;
use crate::flex::matrix::{Matrix, Stored};
use crate::flex::quantised::Scales;

/// The loops of a kind of vectors, by left rows.
pub(super) struct Dots {
    /// Values whose codes are loaded at once.
    pub group: usize,
    /// A left row in the order in which the values come; it is a multiple of `group` long.
    pub arrange: fn(row: &[f32], to: &mut [f32]),
    pub four: Run<4>,
    pub two: Run<2>,
    pub one: Run<1>,
}

/// The sums of the products of left rows, [arranged](Dots::arrange), with as many rows of a weight as there are `sums`: the codes of these
/// rows and the scales of their blocks lie one after the other.
///
/// # Safety
/// The processor has the vectors of the form.
pub(super) type Run<const ROWS: usize> =
    unsafe fn(left: [&[f32]; ROWS], codes: &[u8], scales: &Scales<'_>, sums: &mut [[f32; ROWS]]);

/// Left rows as the loops for nf4 take them.
pub(super) struct Arranged {
    values: Vec<f32>,
    rows: usize,
    /// Of a row of the weight, and of one that is laid out.
    columns: usize,
    width: usize,
}

impl Arranged {
    /// `None` where the weight is not in nf4 or has blocks that reach beyond a row.
    pub(super) fn new(form: &Form, x: Matrix<'_>, weight: &Stored<'_>) -> Option<Self> {
        let Dots { group, arrange, .. } = form.nf4;
        let columns = x.columns();
        weight.nf4()?.blocks(0, columns)?;
        let width = columns.next_multiple_of(group);
        let mut padded = vec![0.0; width];
        let mut values = vec![0.0; x.rows() * width];
        for (row, values) in values.chunks_exact_mut(width).enumerate() {
            padded[..columns].copy_from_slice(x.row(row));
            arrange(&padded, values);
        }
        Some(Self { values, rows: x.rows(), columns, width })
    }

    /// The products of all left rows with at most [`OUTPUTS`] rows of the weight, as [`super::products`] has them.
    pub(super) fn products(
        &self,
        dots: &Dots,
        weight: &Stored<'_>,
        outputs: Range<usize>,
        mut write: impl FnMut(usize, usize, f32),
    ) {
        let (start, count) = (outputs.start * self.columns, outputs.len() * self.columns);
        let blocks = weight.nf4().and_then(|nf4| nf4.blocks(start, count));
        let (codes, scales) = &blocks.expect("a weight in nf4 whose rows are whole blocks");
        let mut first = 0;
        while first < self.rows {
            let outputs = outputs.clone();
            first += match self.rows - first {
                4.. => self.products_of(dots.four, first, codes, scales, outputs, &mut write),
                2.. => self.products_of(dots.two, first, codes, scales, outputs, &mut write),
                _ => self.products_of(dots.one, first, codes, scales, outputs, &mut write),
            };
        }
    }

    /// Those of as many left rows as the loop takes; says how many.
    fn products_of<const ROWS: usize>(
        &self,
        run: Run<ROWS>,
        first: usize,
        codes: &[u8],
        scales: &Scales<'_>,
        outputs: Range<usize>,
        write: &mut impl FnMut(usize, usize, f32),
    ) -> usize {
        let mut sums = [[0.0; ROWS]; OUTPUTS];
        let sums = &mut sums[..outputs.len()];
        // SAFETY: no form is handed out but of vectors that the processor has.
        #[expect(unsafe_code, reason = "a function for certain processors; see SAFETY")]
        unsafe {
            run(self.rows_from(first), codes, scales, sums);
        }
        for (output, sums) in outputs.zip(sums) {
            sums.iter().enumerate().for_each(|(row, sum)| write(first + row, output, *sum));
        }
        ROWS
    }

    fn rows_from<const ROWS: usize>(&self, first: usize) -> [&[f32]; ROWS] {
        std::array::from_fn(|at| &self.values[(first + at) * self.width..][..self.width])
    }
}

/// For vectors of so many words: eight values of each word, of which a byte has the first in its upper half.
pub(super) fn arrange<const LANES: usize>(row: &[f32], to: &mut [f32]) {
    for (group, to) in row.chunks_exact(8 * LANES).zip(to.chunks_exact_mut(8 * LANES)) {
        for (step, to) in to.chunks_exact_mut(LANES).enumerate() {
            to.iter_mut().enumerate().for_each(|(word, to)| *to = group[8 * word + (step ^ 1)]);
        }
    }
}

/// The body of [`Run`] for vectors of `lanes` words in terms of a few operations. `look_up` makes values of the lowest four bits of
/// each word, and `scale` a vector of the scales of a group.
macro_rules! dots {
    (
        $left:ident, $codes:ident, $scales:ident, $sums:ident, $rows:ident, $lanes:literal, $zero:expr, $load:path,
        $load_codes:path, $look_up:expr, $shift:path, $multiply_add:path, $add:path, $scale:expr, $store:path
    ) => {{
        let bytes = $codes.len() / $sums.len();
        let groups = bytes.div_ceil(4 * $lanes);
        assert!($left.iter().all(|row| row.len() == groups * 8 * $lanes), "left rows are laid out for these codes");
        for (output, (codes, of_output)) in $codes.chunks_exact(bytes).zip($sums).enumerate() {
            let scales = $scales.of_row(output, 2 * bytes / $crate::quantised::BLOCK);
            let mut totals = [$zero; $rows];
            for (group, codes) in codes.chunks(4 * $lanes).enumerate() {
                let mut codes = $load_codes(codes);
                let mut sums = [[$zero; 2]; $rows];
                for step in 0..8 {
                    let values = $look_up(codes);
                    for row in 0..$rows {
                        let of_left = $load($left[row].as_ptr().add((group * 8 + step) * $lanes));
                        sums[row][step % 2] = $multiply_add(values, of_left, sums[row][step % 2]);
                    }
                    codes = $shift(codes);
                }
                let scale = $scale(&scales, group);
                for row in 0..$rows {
                    totals[row] = $multiply_add($add(sums[row][0], sums[row][1]), scale, totals[row]);
                }
            }
            *of_output = totals.map(|total| {
                let mut lanes = [0.0_f32; $lanes];
                $store(lanes.as_mut_ptr(), total);
                let mut width = $lanes / 2;
                while width > 0 {
                    for at in 0..width {
                        lanes[at] += lanes[at + width];
                    }
                    width /= 2;
                }
                lanes[0]
            });
        }
    }};
}
pub(super) use dots;
