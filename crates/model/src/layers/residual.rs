//! A residual connection: what attention or a feed-forward network gives is dropped out and added to what it has read.

use burn::module::Module;
use burn::tensor::Tensor;
use kernels::ForwardContext;

use super::Dropout;

#[derive(Module, Debug)]
pub(crate) struct Residual {
    dropout: Dropout,
}

impl Residual {
    pub(crate) fn new(dropout: Dropout) -> Self {
        Self { dropout }
    }

    /// The sum of `x` and what is kept of `branch`, `[rows, d]` each.
    pub(crate) fn forward(&self, x: Tensor<2>, branch: Tensor<2>, ctx: &ForwardContext) -> Tensor<2> {
        self.dropout.residual(x, branch, ctx)
    }
}
