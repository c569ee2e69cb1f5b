//! Dropout at a place of the model; the place's path is what its random bits derive from.

use burn::module::Module;
use burn::tensor::Tensor;
use kernels::{DropoutMask, dropout, residual};
use lora::ForwardContext;

#[derive(Module, Debug)]
pub(crate) struct Dropout {
    probability: f64,
    #[module(skip)]
    site: u64,
}

impl Dropout {
    pub(crate) fn new(probability: f64, path: &str) -> Self {
        Self { probability, site: kernels::hash_text(path) }
    }

    /// `[rows, d]` to `[rows, d]`; does nothing in evaluation.
    pub(crate) fn forward(&self, x: Tensor<2>, ctx: &ForwardContext) -> Tensor<2> {
        dropout(x, self.mask(ctx))
    }

    /// `x` and what is kept of `branch`, `[rows, d]` each.
    pub(crate) fn residual(&self, x: Tensor<2>, branch: Tensor<2>, ctx: &ForwardContext) -> Tensor<2> {
        residual(x, branch, self.mask(ctx))
    }

    /// For operations that drop within themselves.
    pub(crate) fn mask(&self, ctx: &ForwardContext) -> Option<DropoutMask> {
        ctx.dropout_mask(self.probability, self.site)
    }
}
