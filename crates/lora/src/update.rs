//! What an adapter does to the weight of its module, as one of few forms: which tensors it is made of, and how they are
//! folded into a weight. Methods are many, forms are these.

use std::collections::HashMap;

use burn::tensor::{Device, Tensor, TensorData};

/// The update of a module.
#[derive(Debug, Clone, PartialEq)]
pub struct Update {
    pub module: String,
    pub form: Form,
}

/// Tensors are named as in the adapter's file without PEFT's prefix.
#[derive(Debug, Clone, PartialEq)]
pub enum Form {
    /// `scale * B·A` is added, or that transposed, as the weight lies: `a: [r, d_input]`, `b: [d_output, r]`. With a
    /// `magnitude: [d_output]` what belongs to each output is then brought to that length (DoRA).
    LowRank { a: String, b: String, scale: f64, transposed: bool, magnitude: Option<String> },
    /// What belongs to each input or output is multiplied by a value of the vector, with outputs their bias; `transposed` is
    /// as the weight lies.
    Scaling { vector: String, of: Side, transposed: bool },
    /// The output of a sublayer gets what a network makes of it: `down: [inner, d]`, an activation function, `up: [d, inner]`.
    /// It is no weight's.
    Network { down: String, up: String },
}

impl Form {
    /// The name of its first tensor.
    pub(crate) fn first(&self) -> &str {
        match self {
            Self::LowRank { a, .. } => a,
            Self::Scaling { vector, .. } => vector,
            Self::Network { down, .. } => down,
        }
    }

    /// The factors of a low rank, the one that reads first, with their scale; of a network as if its activation function were
    /// the identity.
    pub(crate) fn factors(&self) -> Option<([&String; 2], f64)> {
        match self {
            Self::LowRank { a, b, scale, .. } => Some(([a, b], *scale)),
            Self::Network { down, up } => Some(([down, up], 1.0)),
            Self::Scaling { .. } => None,
        }
    }
}

/// Of a linear layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Inputs,
    Outputs,
}

impl Update {
    /// The names of its tensors.
    pub fn tensors(&self) -> Vec<&str> {
        match &self.form {
            Form::LowRank { a, b, magnitude, .. } => {
                [Some(a), Some(b), magnitude.as_ref()].into_iter().flatten().map(String::as_str).collect()
            }
            Form::Scaling { vector, .. } => vec![vector],
            Form::Network { down, up } => vec![down, up],
        }
    }

    /// The name of the weight in the base.
    pub fn weight(&self) -> String {
        format!("{}.weight", self.module)
    }

    /// Whether the bias of the module changes with the weight.
    pub fn changes_bias(&self) -> bool {
        matches!(self.form, Form::Scaling { of: Side::Outputs, .. })
    }

    /// Whether its size cannot be told without the weight.
    pub fn depends_on_weight(&self) -> bool {
        matches!(self.form, Form::LowRank { magnitude: Some(_), .. })
    }

    /// The base's weight with the update in it, in f32; `None` where a tensor of it is not among those of the adapter, and where
    /// it is no weight's.
    pub fn merged(&self, weight: TensorData, adapter: &HashMap<String, TensorData>) -> Option<TensorData> {
        let shape = weight.shape().clone();
        let columns = shape.last().copied().unwrap_or(1);
        let mut values: Vec<f32> = weight.iter::<f32>().collect();
        let mut fold = self.fold(adapter)?;
        if fold.looks_first() {
            fold.look(0, columns, &values);
        }
        fold.apply(0, columns, &mut values);
        Some(TensorData::new(values, shape))
    }

    /// The update to be folded into its weight; `None` where a tensor of it is not among those of the adapter.
    pub fn fold(&self, adapter: &HashMap<String, TensorData>) -> Option<Fold> {
        let device = Device::flex();
        let tensor = |name: &str| Some(Tensor::<2>::from_data(adapter.get(name)?.clone(), &device));
        Some(match &self.form {
            Form::LowRank { a, b, scale, transposed, magnitude } => {
                let (a, b) = (tensor(a)?, tensor(b)?);
                let (left, right) = if *transposed { (a.transpose(), b.transpose()) } else { (b, a) };
                let lengths = match magnitude {
                    None => None,
                    Some(magnitude) => Some(Lengths::new(adapter.get(magnitude)?, *transposed)),
                };
                Fold(Change::Sum(Box::new(Sum { left, right, scale: *scale, lengths })))
            }
            Form::Scaling { vector, of, transposed } => {
                let factors = adapter.get(vector)?.iter::<f32>().collect();
                Fold(Change::Product { factors, by_rows: (*of == Side::Outputs) != *transposed })
            }
            Form::Network { .. } => return None,
        })
    }

    /// The update to be folded into the bias of its module, a column of one value for each output, where
    /// [it changes](Self::changes_bias).
    pub fn fold_bias(&self, adapter: &HashMap<String, TensorData>) -> Option<Fold> {
        let Form::Scaling { vector, of: Side::Outputs, .. } = &self.form else { return None };
        Some(Fold(Change::Product { factors: adapter.get(vector)?.iter::<f32>().collect(), by_rows: true }))
    }
}

/// An update on its way into a weight, of which some rows are at hand at a time: the one place where an update is dense, and
/// only so many rows of it. Computed in f32, lengths in f64.
#[derive(Debug)]
pub struct Fold(Change);

#[derive(Debug)]
enum Change {
    Sum(Box<Sum>),
    /// A factor for each row or each column.
    Product {
        factors: Vec<f32>,
        by_rows: bool,
    },
}

/// `scale * left · right` is added, as the weight lies: `[rows, r]` and `[r, columns]`.
#[derive(Debug)]
struct Sum {
    left: Tensor<2>,
    right: Tensor<2>,
    scale: f64,
    lengths: Option<Lengths>,
}

/// The lengths that rows or columns are brought to; what has no length stays without.
#[derive(Debug)]
struct Lengths {
    wanted: Vec<f64>,
    by_columns: bool,
    /// Of the columns that were looked at, the squares of their lengths.
    squares: Vec<f64>,
}

impl Fold {
    /// Whether every row has to be [looked at](Self::look) before the first is changed: columns have no length until then.
    pub fn looks_first(&self) -> bool {
        matches!(&self.0, Change::Sum(sum) if sum.lengths.as_ref().is_some_and(|lengths| lengths.by_columns))
    }

    /// Takes note of some whole rows of the weight, the first of them row `first`.
    pub fn look(&mut self, first: usize, columns: usize, rows: &[f32]) {
        let Change::Sum(sum) = &mut self.0 else { return };
        let mut rows = rows.to_vec();
        sum.add(first, columns, &mut rows);
        if let Some(lengths) = &mut sum.lengths {
            lengths.look(columns, &rows);
        }
    }

    /// Changes some whole rows of the weight, the first of them row `first`.
    pub fn apply(&self, first: usize, columns: usize, rows: &mut [f32]) {
        match &self.0 {
            Change::Sum(sum) => {
                sum.add(first, columns, rows);
                if let Some(lengths) = &sum.lengths {
                    lengths.apply(first, columns, rows);
                }
            }
            Change::Product { factors, by_rows } => {
                for (row, values) in rows.chunks_mut(columns.max(1)).enumerate() {
                    match by_rows {
                        true => values.iter_mut().for_each(|value| *value *= factors[first + row]),
                        false => values.iter_mut().zip(factors).for_each(|(value, factor)| *value *= factor),
                    }
                }
            }
        }
    }
}

impl Sum {
    fn add(&self, first: usize, columns: usize, rows: &mut [f32]) {
        let count = rows.len() / columns.max(1);
        if count == 0 {
            return;
        }
        let product = self.left.clone().narrow(0, first, count).matmul(self.right.clone()) * self.scale;
        let product = product.into_data();
        rows.iter_mut().zip(product.iter::<f32>()).for_each(|(value, product)| *value += product);
    }
}

impl Lengths {
    fn new(wanted: &TensorData, by_columns: bool) -> Self {
        let wanted: Vec<f64> = wanted.iter::<f64>().collect();
        Self { squares: vec![0.0; if by_columns { wanted.len() } else { 0 }], wanted, by_columns }
    }

    fn look(&mut self, columns: usize, rows: &[f32]) {
        for row in rows.chunks(columns.max(1)) {
            self.squares.iter_mut().zip(row).for_each(|(square, value)| *square += f64::from(*value).powi(2));
        }
    }

    fn apply(&self, first: usize, columns: usize, rows: &mut [f32]) {
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

#[cfg(test)]
mod tests;
