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

/// The output layer of a language model that is tied to the word embeddings: `x·Wᵀ + b` with their W. It owns no weight, its
/// forward borrows theirs, so that one parameter gets both gradients. An adapter is this end's alone, as in PEFT.
#[derive(Module, Debug)]
pub struct TiedLinear {
    bias: Weight<1>,
    adapter: Option<Adapter>,
}

impl TiedLinear {
    pub fn new(bias: Weight<1>, adapter: Option<Adapter>) -> Self {
        Self { bias, adapter }
    }

    /// `x: [rows, d]`, `embeddings: [vocabulary, d]`, output `[rows, vocabulary]`
    pub fn forward(&self, x: Tensor<2>, embeddings: &Weight<2>, pass: &Pass) -> Tensor<2> {
        let output = match &self.adapter {
            Some(adapter) => adapter.forward(x, embeddings, pass),
            None => embeddings.apply(x),
        };
        output + self.bias.value().unsqueeze()
    }
}
