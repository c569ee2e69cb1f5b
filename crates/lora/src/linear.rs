//! The linear layer all architectures are made of.

use burn::module::Module;
use burn::tensor::Tensor;
use kernels::Pass;

use crate::{Adapter, Weight};

/// `x·Wᵀ + b`, with what an adapter adds. W is `[d_output, d_input]`, as in the checkpoint.
#[derive(Module, Debug)]
pub struct Linear {
    weight: Weight<2>,
    bias: Weight<1>,
    adapter: Option<Adapter>,
}

impl Linear {
    pub fn new(weight: Weight<2>, bias: Weight<1>, adapter: Option<Adapter>) -> Self {
        Self { weight, bias, adapter }
    }

    /// `[rows, d_input]` to `[rows, d_output]`
    pub fn forward(&self, x: Tensor<2>, pass: &Pass) -> Tensor<2> {
        let output = match &self.adapter {
            Some(adapter) => adapter.forward(x, &self.weight, pass),
            None => self.weight.apply(x),
        };
        output + self.bias.value().unsqueeze()
    }
}
