//! Products of matrices, those of dense layers and those of attention's tiles.
//!
//! The output is cut into tiles whose sums stay in registers ([`micro`]). For some columns and a stretch of the depth the right
//! factor is laid out in panels ([`pack`]), which stay in a core's second cache while the rows of the left factor pass by; the left
//! factor is read where it lies. Frozen weights in half precision are widened on the way into a panel, or, where products are to be in
//! bf16 and the processor has them, both factors are rounded to pairs of bf16 ([`pairs`]). The order of every sum
//! depends on shapes alone, so that any number of threads gives the same bits.

mod micro;
mod pack;
mod pairs;

use std::cell::RefCell;
use std::ops::Range;

use rayon::prelude::*;

use self::micro::{FORMS, Form, LARGEST, Run, Tile};
use super::matrix::{Factor, Matrix, Stored, extent};
use crate::Precision;

/// Steps of the depth that a panel holds: 48 columns of them are 144 KiB.
const DEPTH: usize = 768;

/// The same where the right factor is read where it lies: as many rows as there are entries for pages in a core's first table.
const SHORT_DEPTH: usize = 64;

/// Panels that one thread fills before the rows pass by.
const PANELS: usize = 2;

/// Tasks for each thread, so that none waits long for the last.
const TASKS: usize = 8;

/// Fewer rows are not worth filling a panel once more.
const ROWS: usize = 64;

/// What a product adds up: `factor * left·right`.
#[derive(Clone, Copy)]
pub(super) struct Term<'a> {
    pub left: Factor<Matrix<'a>>,
    pub right: Factor<Stored<'a>>,
    pub factor: f32,
    /// Of the two factors; sums are in f32.
    pub precision: Precision,
}

/// A term as the innermost loop takes it.
struct Factors<'a> {
    left: Factor<Matrix<'a>>,
    right: Factor<Stored<'a>>,
    factor: f32,
    /// Steps of the loop.
    depth: usize,
    run: [Run; 3],
    /// Whether a step is a pair of them.
    pairs: bool,
}

impl<'a> Factors<'a> {
    /// `rounded` is empty, or the left factor in pairs.
    fn new(form: &Form, term: &Term<'a>, rounded: &'a [f32]) -> Self {
        let Term { left, right, factor, .. } = *term;
        let [rows, depth] = left.shape();
        match form.run_pairs.filter(|_| !rounded.is_empty()) {
            Some(run) => {
                let depth = depth.div_ceil(2);
                let left = Factor::Plain(Matrix::new(rounded, rows, depth, depth));
                Self { left, right, factor, depth, run, pairs: true }
            }
            None => Self { left, right, factor, depth, run: form.run, pairs: false },
        }
    }
}

/// Whether this processor multiplies in bf16.
pub(crate) fn has_bf16() -> bool {
    FORMS[0].run_pairs.is_some()
}

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
    write(FORMS[0], terms, row.map_or(Start::Zero, Start::Row), room, Threads::All);
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
    write(FORMS[0], terms, Start::Output, room, Threads::All);
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
    write(FORMS[0], &[term], start, room, Threads::One);
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
    let rounded: Vec<Vec<f32>> = terms.iter().map(|term| rounded(form, term)).collect();
    let terms = terms.iter().zip(&rounded).map(|(term, rounded)| Factors::new(form, term, rounded)).collect();
    let job = Job { form, terms, start, rows, columns, output: Output(place), stride };
    let panels = columns.div_ceil(form.columns());
    if threads == Threads::One {
        return job.run(0..rows, 0..panels);
    }
    let wanted = TASKS * rayon::current_num_threads();
    let most = if job.is_thin() { panels } else { PANELS };
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

/// The left factor of a term in pairs of bf16, if that is how it is to be computed and can be.
fn rounded(form: &Form, term: &Term<'_>) -> Vec<f32> {
    match (term.precision, term.left, form.run_pairs) {
        (Precision::Bf16, Factor::Plain(left), Some(_)) => pairs::left(left),
        _ => Vec::new(),
    }
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
    fn is_thin(&self) -> bool {
        self.rows <= 2 * self.form.rows
    }

    fn run(&self, rows: Range<usize>, panels: Range<usize>) {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut start = self.start;
            for term in &self.terms {
                let step = if self.is_thin() { SHORT_DEPTH } else { DEPTH };
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
        if self.is_thin()
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
        // A tile over the edge of the output is computed beside it.
        let mut beside = [0.0; LARGEST];
        (tile.output, tile.output_step) = (beside.as_mut_ptr(), width);
        // SAFETY: as above, and `beside` has room for the largest tile.
        #[expect(unsafe_code, reason = "the innermost loop; see SAFETY")]
        unsafe {
            run(&tile);
        }
        for (row, sums) in rows.zip(beside.chunks_exact(width)) {
            for (index, (column, sum)) in panel.columns.clone().zip(sums).enumerate() {
                // SAFETY: a value of this task's tile, which lies within the output.
                #[expect(unsafe_code, reason = "a value of the output; see SAFETY")]
                unsafe {
                    let output = place(row).add(index);
                    *output = match start {
                        Start::Zero => *sum,
                        Start::Row(row) => row[column] + sum,
                        Start::Output => *output + sum,
                    };
                }
            }
        }
    }
}

static ZEROS: [f32; LARGEST] = [0.0; LARGEST];

#[cfg(test)]
mod tests {
    use super::*;

    fn values(count: usize, seed: usize) -> Vec<f32> {
        (0..count).map(|i| ((i * 7 + seed * 13) % 23) as f32 / 8.0 - 1.375).collect()
    }

    /// Row by row and step by step, in double precision.
    fn definition(terms: &[Term<'_>], start: impl Fn(usize, usize) -> f32, row: usize, column: usize) -> f64 {
        let left = |factor: Factor<Matrix<'_>>, step: usize| match factor {
            Factor::Plain(matrix) => matrix.row(row)[step],
            Factor::Transposed(matrix) => matrix.row(step)[row],
        };
        let right = |factor: Factor<Stored<'_>>, step: usize| match factor {
            Factor::Plain(stored) => stored.as_matrix().unwrap().row(step)[column],
            Factor::Transposed(stored) => stored.as_matrix().unwrap().row(column)[step],
        };
        let sum = |term: &Term<'_>| {
            let along = (0..term.left.shape()[1])
                .map(|step| f64::from(left(term.left, step)) * f64::from(right(term.right, step)));
            f64::from(term.factor) * along.sum::<f64>()
        };
        f64::from(start(row, column)) + terms.iter().map(sum).sum::<f64>()
    }

    /// A factor of this shape, with more between its rows than belongs to it.
    fn factor(values: &[f32], shape: [usize; 2], transposed: bool) -> Factor<Matrix<'_>> {
        let [rows, columns] = shape;
        if transposed {
            Factor::Transposed(Matrix::new(values, columns, rows, rows + 3))
        } else {
            Factor::Plain(Matrix::new(values, rows, columns, columns + 3))
        }
    }

    #[test]
    fn every_form_multiplies_by_the_definition_whatever_the_shapes_and_how_factors_lie() {
        let shapes = [[1, 1, 1], [3, 5, 7], [8, 48, 16], [17, 49, 50], [70, 131, 97], [9, 200, 800], [33, 12, 1601]];
        for (index, form) in FORMS.iter().enumerate() {
            for [rows, columns, depth] in shapes {
                for way in 0..8 {
                    let (left_turned, right_turned) = (way % 2 == 1, way / 2 % 2 == 1);
                    // The values of the first term are whole eighths below 4: rounding to bf16 leaves them as they are.
                    let precision = if way < 4 { Precision::F32 } else { Precision::Bf16 };
                    let (left, right) = (values((rows + 3) * (depth + 3), 1), values((depth + 3) * (columns + 3), 2));
                    let (thin, narrow) = (values((rows + 3) * 6, 3), values((columns + 3) * 6, 4));
                    let terms = [
                        Term {
                            left: factor(&left, [rows, depth], left_turned),
                            right: factor(&right, [depth, columns], right_turned).stored(),
                            factor: 0.5,
                            precision,
                        },
                        Term {
                            left: factor(&thin, [rows, 3], !left_turned),
                            right: factor(&narrow, [3, columns], !right_turned).stored(),
                            factor: -2.0,
                            precision: Precision::F32,
                        },
                    ];
                    let (row, before) = (values(columns, 5), values(rows * (columns + 2), 6));
                    for start in [Start::Zero, Start::Row(&row), Start::Output] {
                        let value = |row_index: usize, column: usize| match start {
                            Start::Zero => 0.0,
                            Start::Row(row) => row[column],
                            Start::Output => before[row_index * (columns + 2) + column],
                        };
                        let mut output = before.clone();
                        let room = Room { place: output.as_mut_ptr(), values: output.len(), stride: columns + 2 };
                        write(form, &terms, start, room, Threads::One);
                        for (i, of_row) in output.chunks_exact(columns + 2).enumerate() {
                            for (j, found) in of_row[..columns].iter().enumerate() {
                                let exact = definition(&terms, value, i, j);
                                // Sums of up to 1,601 products of a size of 1, in f32.
                                let close = (f64::from(*found) - exact).abs() < 2e-3;
                                assert!(
                                    close,
                                    "form {index}, {rows} x {columns} x {depth}, way {way}: {found} {exact}"
                                );
                            }
                            let beyond = &before[i * (columns + 2) + columns..][..2];
                            assert_eq!(&of_row[columns..], beyond, "what lies between the rows stays");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn any_number_of_threads_gives_the_same_bits() {
        let (rows, columns, depth) = (150, 500, 900);
        let (left, right) = (values((rows + 3) * (depth + 3), 1), values((depth + 3) * (columns + 3), 2));
        let terms = [Term {
            left: factor(&left, [rows, depth], false),
            right: factor(&right, [depth, columns], true).stored(),
            factor: 0.3,
            precision: Precision::F32,
        }];
        let with = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| product(&terms, None))
        };
        let one = with(1);
        assert_eq!(one, with(2));
        assert_eq!(one, with(13));
    }
}
