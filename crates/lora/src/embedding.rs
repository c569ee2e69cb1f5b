//! A table of vectors, looked up by index.

use burn::module::Module;
use burn::tensor::{Int, Tensor};

use crate::{EmbeddingAdapter, Weight};

#[derive(Module, Debug)]
pub struct Embedding {
    weight: Weight<2>,
    adapters: Vec<EmbeddingAdapter>,
}

impl Embedding {
    pub fn new(weight: Weight<2>, adapters: Vec<EmbeddingAdapter>) -> Self {
        Self { weight, adapters }
    }

    /// The table itself, which a tied output layer borrows. An adapter is no part of it.
    pub fn weight(&self) -> &Weight<2> {
        &self.weight
    }

    /// `[tokens]` to `[tokens, d]`
    pub fn forward(&self, indices: Tensor<1, Int>) -> Tensor<2> {
        let found = self.weight.rows(indices.clone());
        self.adapters.iter().fold(found, |found, adapter| adapter.forward(found, indices.clone()))
    }
}
