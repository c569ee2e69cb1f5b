//! A table of vectors, looked up by index.

use burn::module::Module;
use burn::tensor::{Int, Tensor};

use crate::{LoraEmbedding, Weight};

#[derive(Module, Debug)]
pub struct Embedding {
    weight: Weight<2>,
    adapter: Option<LoraEmbedding>,
}

impl Embedding {
    pub fn new(weight: Weight<2>, adapter: Option<LoraEmbedding>) -> Self {
        Self { weight, adapter }
    }

    /// The table itself, which a tied output layer borrows. An adapter is no part of it.
    pub fn weight(&self) -> &Weight<2> {
        &self.weight
    }

    /// `[tokens]` to `[tokens, d]`
    pub fn forward(&self, indices: Tensor<1, Int>) -> Tensor<2> {
        // Rows first: a half-precision table is never widened as a whole.
        let found = kernels::widen(self.weight.value().select(0, indices.clone()));
        match &self.adapter {
            Some(adapter) => found + adapter.forward(indices),
            None => found,
        }
    }
}
