//! A table of vectors, looked up by index.

use burn::module::Module;
use burn::tensor::{Int, Tensor};
use kernels::hash_text;

use crate::{EmbeddingAdapter, ForwardContext, Weight};

#[derive(Module, Debug)]
pub struct Embedding {
    weight: Weight<2>,
    adapters: Vec<EmbeddingAdapter>,
    /// The hash of its path, by which adapters beside those of the model are found.
    #[module(skip)]
    site: u64,
}

impl Embedding {
    pub fn new(path: &str, weight: Weight<2>, adapters: Vec<EmbeddingAdapter>) -> Self {
        Self { weight, adapters, site: hash_text(path) }
    }

    /// The table itself, which a tied output layer borrows. An adapter is no part of it.
    pub fn weight(&self) -> &Weight<2> {
        &self.weight
    }

    /// `[tokens]` to `[tokens, d]`
    pub fn forward(&self, indices: Tensor<1, Int>, ctx: &ForwardContext) -> Tensor<2> {
        let found = self.weight.rows(indices.clone());
        let found = self.adapters.iter().fold(found, |found, adapter| adapter.forward(found, indices.clone()));
        ctx.routes().embedding(self.site).fold(found, |found, (rows, adapter)| {
            let place = [rows.clone(), 0..found.dims()[1]];
            let of_rows = adapter.forward(found.clone().slice(place.clone()), indices.clone().slice([rows]));
            found.slice_assign(place, of_rows)
        })
    }
}
