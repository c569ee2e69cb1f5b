//! The parts that architectures share: what a linear layer, an embedding and a norm are made of is decided by the loader.

mod dropout;
mod embedding;
mod layer_norm;

pub(crate) use dropout::Dropout;
pub(crate) use embedding::Embedding;
pub(crate) use layer_norm::LayerNorm;
