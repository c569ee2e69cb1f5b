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
    Bottleneck { down: String, up: String },
}

impl Form {
    /// The name of its first tensor.
    pub(crate) fn first(&self) -> &str {
        match self {
            Self::LowRank { a, .. } => a,
            Self::Scaling { vector, .. } => vector,
            Self::Bottleneck { down, .. } => down,
        }
    }

    /// The factors of a low rank, the one that reads first, with their scale; of a bottleneck as if its activation function were
    /// the identity.
    pub(crate) fn factors(&self) -> Option<([&String; 2], f64)> {
        match self {
            Self::LowRank { a, b, scale, .. } => Some(([a, b], *scale)),
            Self::Bottleneck { down, up } => Some(([down, up], 1.0)),
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
            Form::Bottleneck { down, up } => vec![down, up],
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

    /// The base's weight with the update in it, in f32: the one place where an update is a dense matrix. `None` where a
    /// tensor of it is not among those of the adapter, and where it is no weight's.
    pub fn merged(&self, weight: TensorData, adapter: &HashMap<String, TensorData>) -> Option<TensorData> {
        let device = Device::flex();
        let tensor = |name: &str| Some(Tensor::<2>::from_data(adapter.get(name)?.clone(), &device));
        match &self.form {
            Form::LowRank { a, b, scale, transposed, magnitude } => {
                let product = tensor(b)?.matmul(tensor(a)?) * *scale;
                let product = if *transposed { product.transpose() } else { product };
                let sum = (Tensor::<2>::from_data(weight, &device) + product).into_data();
                match magnitude {
                    None => Some(sum),
                    Some(magnitude) => Some(with_lengths(sum, adapter.get(magnitude)?, *transposed)),
                }
            }
            Form::Scaling { vector, of, transposed } => {
                let is_by_rows = (*of == Side::Outputs) != *transposed;
                let factors = tensor(vector)?;
                let count = factors.shape().num_elements();
                let factors = factors.reshape(if is_by_rows { [count, 1] } else { [1, count] });
                Some((Tensor::<2>::from_data(weight, &device) * factors).into_data())
            }
            Form::Bottleneck { .. } => None,
        }
    }

    /// The base's bias with the update in it, in f32, where [it changes](Self::changes_bias).
    pub fn merged_bias(&self, bias: TensorData, adapter: &HashMap<String, TensorData>) -> Option<TensorData> {
        let Form::Scaling { vector, of: Side::Outputs, .. } = &self.form else { return None };
        let device = Device::flex();
        let factors = Tensor::<2>::from_data(adapter.get(vector)?.clone(), &device);
        let count = factors.shape().num_elements();
        Some((Tensor::<1>::from_data(bias, &device) * factors.reshape([count])).into_data())
    }
}

/// The matrix with what belongs to each output, its rows or `by_columns` its columns, brought to these lengths; what has none
/// stays without.
fn with_lengths(matrix: TensorData, lengths: &TensorData, by_columns: bool) -> TensorData {
    let shape = matrix.shape().clone();
    let columns = shape[1].max(1);
    let mut values: Vec<f32> = matrix.iter::<f32>().collect();
    let output = |at: usize| if by_columns { at % columns } else { at / columns };
    let mut factors: Vec<f64> = lengths.iter::<f64>().collect();
    let mut squares = vec![0.0_f64; factors.len()];
    values.iter().enumerate().for_each(|(at, value)| squares[output(at)] += f64::from(*value).powi(2));
    factors
        .iter_mut()
        .zip(squares)
        .for_each(|(factor, square)| *factor /= square.sqrt().max(f64::from(f32::MIN_POSITIVE)));
    values.iter_mut().enumerate().for_each(|(at, value)| *value = (f64::from(*value) * factors[output(at)]) as f32);
    TensorData::new(values, shape)
}
