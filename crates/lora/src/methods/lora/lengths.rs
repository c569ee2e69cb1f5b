//! What DoRA does to a weight beyond LoRA: what belongs to each output is brought to a length of its own.

use std::collections::HashMap;

use burn::tensor::TensorData;

use super::check::Stretched;
use super::sum::{Adding, Sum};
use crate::peft::AdapterTensors;
use crate::update::InMlx;
use crate::{Beyond, Expected, Fold, Form, ThinFactors};

/// The sum, and then the lengths, `[d_output]`.
#[derive(Debug)]
pub(super) struct Lengths {
    pub(super) sum: Sum,
    pub(super) lengths: String,
}

/// DoRA as mlx-lm has it.
pub(super) const IN_MLX: InMlx = InMlx { fine_tune_type: "dora", ending: ".m" };

impl Form for Lengths {
    fn tensors(&self) -> Vec<&str> {
        let mut tensors = self.sum.tensors();
        tensors.push(&self.lengths);
        tensors
    }

    fn depends_on_weight(&self) -> bool {
        true
    }

    fn thin_factors(&self) -> Option<ThinFactors<'_>> {
        let beyond = Beyond { tensor: &self.lengths, holds: "DoRA's lengths", method: "DoRA", mlx: Some(IN_MLX) };
        self.sum.thin_factors().map(|factors| ThinFactors { beyond: Some(beyond), ..factors })
    }

    fn fold(&self, adapter: &HashMap<String, TensorData>) -> Option<Box<dyn Fold>> {
        let sum = self.sum.folded(adapter)?;
        let wanted: Vec<f64> = adapter.get(&self.lengths)?.iter::<f64>().collect();
        let by_columns = self.sum.transposed;
        let squares = vec![0.0; if by_columns { wanted.len() } else { 0 }];
        Some(Box::new(Stretching { sum, wanted, by_columns, squares }))
    }

    fn expected(&self, file: &AdapterTensors, _: &[usize]) -> Option<Box<dyn Expected>> {
        Some(Box::new(Stretched::of(self, file)?))
    }
}

/// The lengths that rows or columns are brought to; what has no length stays without. Lengths are computed in f64.
#[derive(Debug)]
struct Stretching {
    sum: Adding,
    wanted: Vec<f64>,
    by_columns: bool,
    /// Of the columns that were looked at, the squares of their lengths.
    squares: Vec<f64>,
}

impl Fold for Stretching {
    /// Columns have no length until then.
    fn looks_first(&self) -> bool {
        self.by_columns
    }

    fn look(&mut self, first: usize, columns: usize, rows: &[f32]) {
        let mut rows = rows.to_vec();
        self.sum.apply(first, columns, &mut rows);
        for row in rows.chunks(columns.max(1)) {
            self.squares.iter_mut().zip(row).for_each(|(square, value)| *square += f64::from(*value).powi(2));
        }
    }

    fn apply(&self, first: usize, columns: usize, rows: &mut [f32]) {
        self.sum.apply(first, columns, rows);
        let factor = |wanted: f64, square: f64| wanted / square.sqrt().max(f64::from(f32::MIN_POSITIVE));
        let of_columns: Vec<f64> =
            self.wanted.iter().zip(&self.squares).map(|(wanted, square)| factor(*wanted, *square)).collect();
        for (row, values) in rows.chunks_mut(columns.max(1)).enumerate() {
            if self.by_columns {
                values.iter_mut().zip(&of_columns).for_each(|(it, factor)| *it = (f64::from(*it) * factor) as f32);
            } else {
                let square = values.iter().map(|value| f64::from(*value).powi(2)).sum();
                let factor = factor(self.wanted[first + row], square);
                values.iter_mut().for_each(|value| *value = (f64::from(*value) * factor) as f32);
            }
        }
    }
}
