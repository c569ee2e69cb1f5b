//! What LoRA does to a weight: the product of its factors is added.

use std::collections::HashMap;

use burn::tensor::{Device, Tensor, TensorData};

use super::check::Sums;
use crate::peft::AdapterTensors;
use crate::{Expected, Fold, Form, ThinFactors};

/// `scale * B·A` is added, or that transposed, as the weight lies: `a: [r, d_input]`, `b: [d_output, r]`.
#[derive(Debug)]
pub(super) struct Sum {
    pub(super) a: String,
    pub(super) b: String,
    pub(super) scale: f64,
    pub(super) transposed: bool,
}

impl Sum {
    pub(super) fn folded(&self, adapter: &HashMap<String, TensorData>) -> Option<Adding> {
        let device = Device::flex();
        let tensor = |name: &str| Some(Tensor::<2>::from_data(adapter.get(name)?.clone(), &device));
        let (a, b) = (tensor(&self.a)?, tensor(&self.b)?);
        let (left, right) = if self.transposed { (a.transpose(), b.transpose()) } else { (b, a) };
        Some(Adding { left, right, scale: self.scale })
    }
}

impl Form for Sum {
    fn tensors(&self) -> Vec<&str> {
        vec![&self.a, &self.b]
    }

    fn thin_factors(&self) -> Option<ThinFactors<'_>> {
        Some(ThinFactors { a: &self.a, b: &self.b, scale: self.scale, transposed: self.transposed, beyond: None })
    }

    fn fold(&self, adapter: &HashMap<String, TensorData>) -> Option<Box<dyn Fold>> {
        Some(Box::new(self.folded(adapter)?))
    }

    fn expected(&self, file: &AdapterTensors, _: &[usize]) -> Option<Box<dyn Expected>> {
        Some(Box::new(Sums::of(self, file)?))
    }
}

/// `scale * left · right` is added, as the weight lies: `[rows, r]` and `[r, columns]`. In f32.
#[derive(Debug)]
pub(super) struct Adding {
    left: Tensor<2>,
    right: Tensor<2>,
    scale: f64,
}

impl Fold for Adding {
    fn apply(&self, first: usize, columns: usize, rows: &mut [f32]) {
        let count = rows.len() / columns.max(1);
        if count == 0 {
            return;
        }
        let product = self.left.clone().narrow(0, first, count).matmul(self.right.clone()) * self.scale;
        let product = product.into_data();
        rows.iter_mut().zip(product.iter::<f32>()).for_each(|(value, product)| *value += product);
    }
}
