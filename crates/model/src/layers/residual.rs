//! A residual connection: what attention or a feed-forward network gives is dropped out and added to what it has read. Adapters that
//! act on a sublayer as a whole, and not on one of its linear layers, stand here.

use burn::module::Module;
use burn::tensor::Tensor;
use kernels::{ForwardContext, residual};
use lora::ResidualAdapter;

use super::Dropout;

#[derive(Module, Debug)]
pub(crate) struct Residual {
    dropout: Dropout,
    adapters: Vec<ResidualAdapter>,
}

impl Residual {
    pub(crate) fn new(dropout: Dropout, adapters: Vec<ResidualAdapter>) -> Self {
        Self { dropout, adapters }
    }

    /// The sum of `x` and what is kept of `branch`, `[rows, d]` each.
    pub(crate) fn forward(&self, x: Tensor<2>, branch: Tensor<2>, ctx: &ForwardContext) -> Tensor<2> {
        self.before(x, branch, &|sum| sum, ctx)
    }

    /// The sum alone, where `norm` follows it.
    pub(crate) fn before(
        &self,
        x: Tensor<2>,
        branch: Tensor<2>,
        norm: &dyn Fn(Tensor<2>) -> Tensor<2>,
        ctx: &ForwardContext,
    ) -> Tensor<2> {
        if self.adapters.is_empty() {
            return self.dropout.residual(x, branch, ctx);
        }
        let kept = self.dropout.forward(branch, ctx);
        let branch = self.adapters.iter().fold(kept, |branch, adapter| adapter.forward(branch, &x, norm, ctx.phase()));
        residual(x, branch, None)
    }
}
