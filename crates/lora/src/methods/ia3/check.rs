//! What (IA)3 makes of a weight or a bias by the values in its file, to compare a merge with: in f64, and without anything that folds.

use super::scaling::{Scaling, Side};
use crate::peft::AdapterTensors;
use crate::{Expected, Precision};

/// Each value is multiplied by that of its row or column.
pub(super) struct Products {
    factors: Vec<f32>,
    columns: usize,
    by_rows: bool,
}

impl Products {
    /// `None` where the file has not the vector.
    pub(super) fn of(scaling: &Scaling, file: &AdapterTensors, shape: &[usize]) -> Option<Self> {
        let factors = file.values(&scaling.vector)?.to_vec();
        let columns = shape.last().copied().unwrap_or(1);
        // Of a bias, which has no rows, each value is an output's.
        let by_rows = shape.len() > 1 && (scaling.of == Side::Outputs) != scaling.transposed;
        Some(Self { factors, columns, by_rows })
    }
}

impl Expected for Products {
    fn first_beyond_rounding(&self, start: usize, base: &[f32], found: &[f32], precision: Precision) -> Option<usize> {
        let is_off = |at: &usize| {
            let place = start + at;
            let factor = self.factors[if self.by_rows { place / self.columns } else { place % self.columns }];
            let expected = f64::from(base[*at]) * f64::from(factor);
            !precision.explains(found[*at], expected, f64::from(f32::EPSILON) * expected.abs())
        };
        (0..base.len()).find(is_off).map(|at| start + at)
    }
}
