//! Products of matrices, those of dense layers and those of attention's tiles.
//!
//! The output is cut into tiles whose sums stay in registers ([`micro`]). For some columns and a stretch of the depth the right
//! factor is laid out in panels ([`pack`]), which stay in a core's second cache while the rows of the left factor pass by; the left
//! factor is read where it lies. Frozen weights in half precision are widened on the way into a panel, or, where products are to be in
//! bf16 and the vectors in use have them, both factors are rounded to pairs of bf16 ([`pairs`]). The order of every sum
//! depends on shapes alone, so that any number of threads gives the same bits; and on the number of rows only where the left factor
//! lies transposed, so that otherwise a row comes out alike alone and among others.

mod dropped;
mod micro;
mod pack;
mod pairs;
mod term;

use std::cell::RefCell;
use std::ops::Range;

use rayon::prelude::*;

use self::micro::{Form, LARGEST, Run, Tile};
use self::term::{Factors, Laid};

pub(super) use self::dropped::{Dropped, PANEL};
pub(super) use self::term::Term;
use super::matrix::{Factor, Matrix, extent};
use crate::Precision;

/// Steps of the depth that a panel holds: 48 columns of them are 144 KiB. Sums run this far before they are added to the output.
pub(super) const DEPTH: usize = 768;

/// The same for few rows of a left factor that lies transposed: as many rows of the right factor, which is read where it lies, as there
/// are entries for pages in a core's first table.
const SHORT_DEPTH: usize = 64;

/// Panels that one thread fills before the rows pass by.
const PANELS: usize = 2;

/// Tasks for each thread, so that none waits long for the last.
const TASKS: usize = 8;

/// Fewer rows are not worth filling a panel once more.
const ROWS: usize = 64;

/// What a product is added to.
#[derive(Clone, Copy)]
pub(super) enum Start<'a> {
    Zero,
    /// One row for all.
    Row(&'a [f32]),
    /// What stands in the output.
    Output,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Threads {
    One,
    All,
}

/// A new matrix with contiguous rows: the sum of all terms, and of `row` in each row.
pub(super) fn product(terms: &[Term<'_>], row: Option<&[f32]>) -> Vec<f32> {
    let [rows, columns] = [terms[0].left.shape()[0], terms[0].right.shape()[1]];
    let mut output = Vec::with_capacity(rows * columns);
    let room = Room { place: output.as_mut_ptr(), values: rows * columns, stride: columns };
    write(Form::current(), terms, row.map_or(Start::Zero, Start::Row), room, Threads::All);
    // SAFETY: there is room for so many values, and each belongs to one tile, which has been written.
    #[expect(unsafe_code, reason = "values that tiles have written; see SAFETY")]
    unsafe {
        output.set_len(rows * columns);
    }
    output
}

/// Adds all terms to `output`, whose rows are contiguous.
pub(super) fn add_product(terms: &[Term<'_>], output: &mut [f32]) {
    let room = Room { place: output.as_mut_ptr(), values: output.len(), stride: terms[0].right.shape()[1] };
    write(Form::current(), terms, Start::Output, room, Threads::All);
}

/// `factor * left·right` on the calling thread: a tile of a larger operation, which chooses its threads itself. The rows of
/// `output` lie `stride` values apart.
pub(super) fn serial(
    left: Factor<Matrix<'_>>,
    right: Factor<Matrix<'_>>,
    factor: f32,
    output: &mut [f32],
    stride: usize,
    start: Start<'_>,
) {
    let room = Room { place: output.as_mut_ptr(), values: output.len(), stride };
    let term = Term { left, right: right.stored(), factor, precision: Precision::F32 };
    write(Form::current(), &[term], start, room, Threads::One);
}

/// Where an output goes: so many values that may be written, rows `stride` of them apart.
struct Room {
    place: *mut f32,
    values: usize,
    stride: usize,
}

fn write(form: &'static Form, terms: &[Term<'_>], start: Start<'_>, room: Room, threads: Threads) {
    let [rows, columns] = [terms[0].left.shape()[0], terms[0].right.shape()[1]];
    for term in terms {
        let ([of_left, depth], [inner, of_right]) = (term.left.shape(), term.right.shape());
        assert!(of_left == rows && of_right == columns && depth == inner && depth > 0, "shapes of a product fit");
    }
    let Room { place, values, stride } = room;
    assert!(columns <= stride && extent(rows, columns, stride) <= values, "the output has room for a product");
    if let Start::Row(row) = start {
        assert_eq!(row.len(), columns, "the first row has a value for each column");
    }
    if rows == 0 || columns == 0 {
        return;
    }
    let laid: Vec<Laid> = terms.iter().map(|term| Laid::new(form, term, threads)).collect();
    let terms = terms.iter().zip(&laid).map(|(term, laid)| Factors::new(form, term, laid)).collect();
    let job = Job { form, terms, start, rows, columns, output: Output(place), stride };
    let panels = columns.div_ceil(form.columns());
    if threads == Threads::One {
        return job.run(0..rows, 0..panels);
    }
    let wanted = TASKS * rayon::current_num_threads();
    let most = if job.step() == SHORT_DEPTH { panels } else { PANELS };
    let together = (panels / wanted).clamp(1, most);
    let across = panels.div_ceil(together);
    let down = (wanted / 4).div_ceil(across).min(rows.div_ceil(ROWS));
    // A multiple of a tile's rows: the same tiles, however many tasks there are.
    let height = rows.div_ceil(down).next_multiple_of(form.rows);
    (0..across * rows.div_ceil(height)).into_par_iter().with_max_len(1).for_each(|task| {
        let (panel, row) = (task % across * together, task / across * height);
        job.run(row..rows.min(row + height), panel..panels.min(panel + together));
    });
}

/// Where the output begins. Tasks write different tiles of it.
#[derive(Clone, Copy)]
struct Output(*mut f32);

// SAFETY: the pointer is only used for tiles, each of which belongs to one task.
#[expect(unsafe_code, reason = "a pointer that threads share; see SAFETY")]
unsafe impl Send for Output {}
// SAFETY: as above.
#[expect(unsafe_code, reason = "a pointer that threads share; see SAFETY")]
unsafe impl Sync for Output {}

struct Job<'a> {
    form: &'static Form,
    terms: Vec<Factors<'a>>,
    start: Start<'a>,
    rows: usize,
    columns: usize,
    output: Output,
    stride: usize,
}

/// Memory that a thread keeps from product to product.
#[derive(Default)]
struct Scratch {
    panels: Vec<f32>,
    wide: Vec<f32>,
    left: Vec<f32>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// A panel of the right factor: some columns, and where its rows lie.
struct Panel {
    columns: Range<usize>,
    vectors: usize,
    values: *const f32,
    step: usize,
}

impl Job<'_> {
    /// With so few rows it does not pay to fill panels.
    fn has_few_rows(&self) -> bool {
        self.rows <= 2 * self.form.rows
    }

    /// Steps of the depth that are added up before they are added to the output. A left factor that lies transposed makes sums over
    /// rows, gradients of what all of them share; any other has rows that must not depend on their number.
    fn step(&self) -> usize {
        let is_sum_of_rows = self.terms.iter().all(|term| term.is_sum_of_rows);
        if self.has_few_rows() && is_sum_of_rows { SHORT_DEPTH } else { DEPTH }
    }

    fn run(&self, rows: Range<usize>, panels: Range<usize>) {
        SCRATCH.with_borrow_mut(|scratch| {
            let (mut start, step) = (self.start, self.step());
            for term in &self.terms {
                for first in (0..term.depth).step_by(step) {
                    self.stretch(
                        term,
                        first..term.depth.min(first + step),
                        start,
                        rows.clone(),
                        panels.clone(),
                        scratch,
                    );
                    start = Start::Output;
                }
            }
        });
    }

    /// Adds a stretch of the depth of one term.
    fn stretch(
        &self,
        term: &Factors<'_>,
        depth: Range<usize>,
        start: Start<'_>,
        rows: Range<usize>,
        panels: Range<usize>,
        scratch: &mut Scratch,
    ) {
        let Scratch { panels: packed, wide, left } = scratch;
        let room = depth.len() * self.form.columns();
        packed.resize(packed.len().max(panels.len() * room), 0.0);
        let panels: Vec<Panel> = panels
            .zip(packed.chunks_exact_mut(room))
            .map(|(panel, packed)| self.panel(term, depth.clone(), panel, wide, packed))
            .collect();
        for first in rows.clone().step_by(self.form.rows) {
            let strip = first..rows.end.min(first + self.form.rows);
            let (values, left_rows, left_step) = self.left(term.left, strip.clone(), depth.clone(), left);
            for panel in &panels {
                let tile = Tile {
                    depth: depth.len(),
                    left: values.as_ptr(),
                    left_rows,
                    left_step,
                    rows: strip.len(),
                    panel: panel.values,
                    panel_step: panel.step,
                    start: ZEROS.as_ptr(),
                    start_step: 0,
                    factor: term.factor,
                    output: std::ptr::null_mut(),
                    output_step: 0,
                };
                self.tile(tile, term.run[panel.vectors - 1], start, strip.clone(), panel);
            }
        }
    }

    fn panel(
        &self,
        term: &Factors<'_>,
        depth: Range<usize>,
        panel: usize,
        wide: &mut Vec<f32>,
        packed: &mut [f32],
    ) -> Panel {
        let first = panel * self.form.columns();
        let columns = first..self.columns.min(first + self.form.columns());
        let vectors = columns.len().div_ceil(self.form.lanes);
        let width = vectors * self.form.lanes;
        if self.has_few_rows()
            && columns.len() == width
            && !term.pairs
            && let Factor::Plain(stored) = term.right
            && let Some(matrix) = stored.as_matrix()
        {
            let part = matrix.part(depth, columns.clone());
            return Panel { columns, vectors, values: part.values().as_ptr(), step: part.stride() };
        }
        let packed = &mut packed[..depth.len() * width];
        let pack = if term.pairs { pairs::pack } else { pack::pack };
        pack(self.form, term.right, depth, columns.clone(), width, wide, packed);
        Panel { columns, vectors, values: packed.as_ptr(), step: width }
    }

    /// Some rows of the left factor: where they begin, how far apart they lie, and how far apart their values.
    fn left<'b>(
        &self,
        left: Factor<Matrix<'b>>,
        rows: Range<usize>,
        depth: Range<usize>,
        packed: &'b mut Vec<f32>,
    ) -> (&'b [f32], usize, usize) {
        match left {
            Factor::Plain(matrix) => (matrix.part(rows, depth).values(), matrix.stride(), 1),
            Factor::Transposed(matrix) => {
                packed.resize(packed.len().max(depth.len() * self.form.rows), 0.0);
                for (packed, step) in packed.chunks_exact_mut(self.form.rows).zip(depth) {
                    packed[..rows.len()].copy_from_slice(&matrix.row(step)[rows.clone()]);
                }
                (packed, 1, self.form.rows)
            }
        }
    }

    /// Completes what a tile is added to and where it goes, and computes it.
    fn tile(&self, mut tile: Tile, run: Run, start: Start<'_>, rows: Range<usize>, panel: &Panel) {
        let width = panel.vectors * self.form.lanes;
        // SAFETY: row and column lie within the output, by the assertions of `write`.
        #[expect(unsafe_code, reason = "a place in the output; see SAFETY")]
        let place = |row: usize| unsafe { self.output.0.add(row * self.stride + panel.columns.start) };
        if rows.len() == self.form.rows && panel.columns.len() == width {
            match start {
                Start::Zero => {}
                Start::Row(row) => tile.start = row[panel.columns.clone()].as_ptr(),
                Start::Output => (tile.start, tile.start_step) = (place(rows.start).cast_const(), self.stride),
            }
            (tile.output, tile.output_step) = (place(rows.start), self.stride);
            // SAFETY: the processor has the form's vectors. The left factor and the panel have all rows and values that the
            // tile reads, by the assertions of `write` and by how they were made; the tile lies within the output,
            // and no other task writes it.
            #[expect(unsafe_code, reason = "the innermost loop; see SAFETY")]
            return unsafe { run(&tile) };
        }
        // A tile over the edge of the output is computed beside it, from a copy of what it is added to: it is rounded as others are.
        let (mut from, mut beside) = ([0.0; LARGEST], [0.0; LARGEST]);
        match start {
            Start::Zero => {}
            Start::Row(row) => from[..panel.columns.len()].copy_from_slice(&row[panel.columns.clone()]),
            Start::Output => {
                tile.start_step = width;
                for (row, from) in rows.clone().zip(from.chunks_exact_mut(width)) {
                    // SAFETY: values of this task's tile, which lie within the output and which other tiles have written.
                    #[expect(unsafe_code, reason = "values of the output; see SAFETY")]
                    unsafe {
                        std::ptr::copy_nonoverlapping(place(row), from.as_mut_ptr(), panel.columns.len());
                    }
                }
            }
        }
        tile.start = from.as_ptr();
        (tile.output, tile.output_step) = (beside.as_mut_ptr(), width);
        // SAFETY: as above, and `from` and `beside` have room for the largest tile.
        #[expect(unsafe_code, reason = "the innermost loop; see SAFETY")]
        unsafe {
            run(&tile);
        }
        for (row, sums) in rows.zip(beside.chunks_exact(width)) {
            // SAFETY: values of this task's tile, which lie within the output.
            #[expect(unsafe_code, reason = "values of the output; see SAFETY")]
            unsafe {
                std::ptr::copy_nonoverlapping(sums.as_ptr(), place(row), panel.columns.len());
            }
        }
    }
}

static ZEROS: [f32; LARGEST] = [0.0; LARGEST];

#[cfg(test)]
mod tests;
