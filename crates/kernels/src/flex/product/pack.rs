//! The right factor of a product in panels: columns that one tile takes, laid row after row, so that the innermost loop
//! reads memory from one end to the other; and a left factor that lies transposed.

use std::ops::Range;

use rayon::prelude::*;

use super::micro::Form;
use crate::flex::matrix::{Factor, Matrix, Stored};

/// Values that are turned from rows into columns at once.
pub(super) const BLOCK: usize = 8;

/// Rows `depth` and the given columns of `right`, as rows of `width` values; what lies beyond the columns is zero.
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
    wide.resize(BLOCK * depth.len().max(columns.len()), 0.0);
    match right {
        Factor::Plain(stored) => {
            for (row, panel) in depth.zip(panel.chunks_exact_mut(width)) {
                let (to, beyond) = panel.split_at_mut(columns.len());
                stored.read(row, columns.clone(), to);
                beyond.fill(0.0);
            }
        }
        Factor::Transposed(stored) => {
            if columns.len() < width {
                panel.fill(0.0);
            }
            let length = depth.len();
            for first in columns.clone().step_by(BLOCK) {
                let to = &mut panel[first - columns.start..];
                let rows = first..columns.end.min(first + BLOCK);
                if rows.len() < BLOCK {
                    for (column, row) in rows.enumerate() {
                        for (at, value) in stored.row(row, depth.clone(), wide).iter().enumerate() {
                            to[at * width + column] = *value;
                        }
                    }
                    continue;
                }
                let (from, step) = rows_together(&stored, rows, depth.clone(), wide);
                transpose(form, from, step, length, to, width);
            }
        }
    }
}

/// Rows of a transpose that one thread writes at a time.
const STRIP: usize = 64;

/// The transpose of a left factor, on all threads.
pub(super) fn transposed(form: &Form, matrix: Matrix<'_>) -> Vec<f32> {
    let (depth, rows) = (matrix.rows(), matrix.columns());
    let whole = depth / BLOCK * BLOCK;
    let mut output = vec![0.0; rows * depth];
    output.par_chunks_mut(STRIP * depth).enumerate().for_each(|(strip, output)| {
        let columns = strip * STRIP..rows.min((strip + 1) * STRIP);
        for first in (0..whole).step_by(BLOCK) {
            let block = matrix.part(first..first + BLOCK, columns.clone());
            transpose(form, block.values(), block.stride(), columns.len(), &mut output[first..], depth);
        }
        for step in whole..depth {
            for (row, value) in matrix.row(step)[columns.clone()].iter().enumerate() {
                output[row * depth + step] = *value;
            }
        }
    });
    output
}

/// Parts of [`BLOCK`] rows in f32, and how far apart they lie.
fn rows_together<'b>(
    stored: &Stored<'b>,
    rows: Range<usize>,
    part: Range<usize>,
    wide: &'b mut [f32],
) -> (&'b [f32], usize) {
    if let Some(matrix) = stored.as_matrix() {
        return (matrix.part(rows, part).values(), matrix.stride());
    }
    for (row, wide) in rows.zip(wide.chunks_exact_mut(part.len())) {
        stored.row(row, part.clone(), wide);
    }
    (wide, part.len())
}

/// [`BLOCK`] rows of `length` values as columns.
pub(super) fn transpose(form: &Form, from: &[f32], step: usize, length: usize, to: &mut [f32], width: usize) {
    assert!(
        (BLOCK - 1) * step + length <= from.len() && (length - 1) * width + BLOCK <= to.len(),
        "rows and columns fit"
    );
    let whole = length / BLOCK * BLOCK;
    for at in (0..whole).step_by(BLOCK) {
        // SAFETY: the processor has the vectors of every form that is handed out; the block ends within what was asserted above.
        #[expect(unsafe_code, reason = "vector instructions; see SAFETY")]
        unsafe {
            (form.transpose)(from.as_ptr().add(at), step, to.as_mut_ptr().add(at * width), width);
        }
    }
    for at in whole..length {
        for row in 0..BLOCK {
            to[at * width + row] = from[row * step + at];
        }
    }
}
