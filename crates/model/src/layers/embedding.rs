//! A table of vectors, looked up by index.

use burn::module::Module;
use burn::tensor::{Int, Tensor};
use lora::Weight;

#[derive(Module, Debug)]
pub(crate) struct Embedding {
    pub(crate) weight: Weight<2>,
}

impl Embedding {
    /// `[tokens]` to `[tokens, d]`
    pub(crate) fn forward(&self, indices: Tensor<1, Int>) -> Tensor<2> {
        // Rows first: a half-precision table is never widened as a whole.
        kernels::widen(self.weight.value().select(0, indices))
    }
}
