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
    /// `scale * B·A` is added, or that transposed, as the weight lies: `a: [r, d_input]`, `b: [d_output, r]`.
    LowRank { a: String, b: String, scale: f64, transposed: bool },
}

impl Update {
    /// The names of its tensors.
    pub fn tensors(&self) -> Vec<&str> {
        match &self.form {
            Form::LowRank { a, b, .. } => vec![a, b],
        }
    }

    /// The name of the weight in the base.
    pub fn weight(&self) -> String {
        format!("{}.weight", self.module)
    }

    /// The base's weight with the update in it, in f32: the one place where an update is a dense matrix. `None` where a
    /// tensor of it is not among those of the adapter.
    pub fn merged(&self, weight: TensorData, adapter: &HashMap<String, TensorData>) -> Option<TensorData> {
        let device = Device::flex();
        let tensor = |name: &str| Some(Tensor::<2>::from_data(adapter.get(name)?.clone(), &device));
        match &self.form {
            Form::LowRank { a, b, scale, transposed } => {
                let product = tensor(b)?.matmul(tensor(a)?) * *scale;
                let product = if *transposed { product.transpose() } else { product };
                Some((Tensor::<2>::from_data(weight, &device) + product).into_data())
            }
        }
    }
}
