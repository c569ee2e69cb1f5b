//! What (IA)3 does to a weight: what belongs to each input or output is multiplied by a value of a vector.

use std::collections::HashMap;

use burn::tensor::TensorData;

use super::check::Products;
use crate::peft::AdapterTensors;
use crate::{Expected, Fold, Form};

/// Of a linear layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Inputs,
    Outputs,
}

/// The values are of the inputs or of the outputs, whose bias they multiply too; `transposed` is as the weight lies.
#[derive(Debug)]
pub(super) struct Scaling {
    pub(super) vector: String,
    pub(super) of: Side,
    pub(super) transposed: bool,
}

impl Scaling {
    fn folded(&self, adapter: &HashMap<String, TensorData>, by_rows: bool) -> Option<Box<dyn Fold>> {
        let factors = adapter.get(&self.vector)?.iter::<f32>().collect();
        Some(Box::new(Multiplying { factors, by_rows }))
    }
}

impl Form for Scaling {
    fn tensors(&self) -> Vec<&str> {
        vec![&self.vector]
    }

    fn changes_bias(&self) -> bool {
        self.of == Side::Outputs
    }

    /// The root of the mean square of its values less one.
    fn norm(&self, adapter: &HashMap<String, TensorData>) -> Option<f64> {
        let values = adapter.get(&self.vector)?;
        let squares: f64 = values.iter::<f64>().map(|value| (value - 1.0).powi(2)).sum();
        Some((squares / values.num_elements().max(1) as f64).sqrt())
    }

    fn is_relative(&self) -> bool {
        true
    }

    fn fold(&self, adapter: &HashMap<String, TensorData>) -> Option<Box<dyn Fold>> {
        self.folded(adapter, (self.of == Side::Outputs) != self.transposed)
    }

    fn fold_bias(&self, adapter: &HashMap<String, TensorData>) -> Option<Box<dyn Fold>> {
        self.changes_bias().then(|| self.folded(adapter, true)).flatten()
    }

    fn expected(&self, file: &AdapterTensors, shape: &[usize]) -> Option<Box<dyn Expected>> {
        Some(Box::new(Products::of(self, file, shape)?))
    }
}

/// A factor for each row or each column.
#[derive(Debug)]
struct Multiplying {
    factors: Vec<f32>,
    by_rows: bool,
}

impl Fold for Multiplying {
    fn apply(&self, first: usize, columns: usize, rows: &mut [f32]) {
        for (row, values) in rows.chunks_mut(columns.max(1)).enumerate() {
            match self.by_rows {
                true => values.iter_mut().for_each(|value| *value *= self.factors[first + row]),
                false => values.iter_mut().zip(&self.factors).for_each(|(value, factor)| *value *= factor),
            }
        }
    }
}
