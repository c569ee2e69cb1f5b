//! What a product adds up, and how the innermost loop takes it.

use super::micro::{Form, Run};
use super::{PANELS, ROWS, Threads, pack, pairs};
use crate::Precision;
use crate::flex::matrix::{Factor, Matrix, Stored};

/// What a product adds up: `factor * left·right`.
#[derive(Clone, Copy)]
pub(in crate::flex) struct Term<'a> {
    pub left: Factor<Matrix<'a>>,
    pub right: Factor<Stored<'a>>,
    pub factor: f32,
    /// Of the two factors; sums are in f32.
    pub precision: Precision,
}

/// A term as the innermost loop takes it.
pub(super) struct Factors<'a> {
    pub left: Factor<Matrix<'a>>,
    pub right: Factor<Stored<'a>>,
    pub factor: f32,
    /// Steps of the loop.
    pub depth: usize,
    pub run: &'static [Run],
    /// Whether a step is a pair of them.
    pub pairs: bool,
    /// Whether the left factor lies transposed, as it does where rows are added up.
    pub is_sum_of_rows: bool,
}

impl<'a> Factors<'a> {
    pub(super) fn new(form: &Form, term: &Term<'a>, laid: &'a Laid) -> Self {
        let Term { left, right, factor, .. } = *term;
        let [rows, depth] = left.shape();
        let is_sum_of_rows = matches!(left, Factor::Transposed(_));
        let (left, depth, pairs) = match laid {
            Laid::AsItLies => (left, depth, None),
            Laid::Upright(values) => (Factor::Plain(Matrix::new(values, rows, depth, depth)), depth, None),
            Laid::InPairs(values, run) => {
                let depth = depth.div_ceil(2);
                (Factor::Plain(Matrix::new(values, rows, depth, depth)), depth, Some(*run))
            }
        };
        Self { left, right, factor, depth, run: pairs.unwrap_or(form.run), pairs: pairs.is_some(), is_sum_of_rows }
    }
}

/// How the left factor of a term is read.
pub(super) enum Laid {
    AsItLies,
    /// Its transpose, of a factor that lies transposed.
    Upright(Vec<f32>),
    /// Rounded to pairs of bf16, with the loops for those.
    InPairs(Vec<f32>, &'static [Run]),
}

impl Laid {
    pub(super) fn new(form: &Form, term: &Term<'_>, threads: Threads) -> Self {
        let ([rows, _], [_, columns]) = (term.left.shape(), term.right.shape());
        match (term.left, term.precision, form.run_pairs) {
            (Factor::Plain(left), Precision::Bf16, Some(run)) => Self::InPairs(pairs::left(left), run),
            // Where so many tasks read it, turning it once is cheaper than a strip at a time in each.
            (Factor::Transposed(left), ..)
                if threads == Threads::All && rows >= ROWS && columns > PANELS * form.columns() =>
            {
                Self::Upright(pack::transposed(form, left))
            }
            _ => Self::AsItLies,
        }
    }
}
