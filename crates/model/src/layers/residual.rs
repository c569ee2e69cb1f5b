//! A residual connection: what attention or a feed-forward network gives is dropped out and added to what it has read. Adapters that
//! act on a sublayer as a whole, and not on one of its linear layers, stand here.

use burn::module::Module;
use burn::tensor::Tensor;
use kernels::{hash_text, residual};
use lora::{ForwardContext, ResidualAdapter};

use super::Dropout;

#[derive(Module, Debug)]
pub(crate) struct Residual {
    dropout: Dropout,
    adapters: Vec<ResidualAdapter>,
    /// The hash of its path, by which adapters beside those of the model are found.
    #[module(skip)]
    site: u64,
}

impl Residual {
    pub(crate) fn new(path: &str, dropout: Dropout, adapters: Vec<ResidualAdapter>) -> Self {
        Self { dropout, adapters, site: hash_text(path) }
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
        let mut routed = ctx.routes().residual(self.site).peekable();
        if self.adapters.is_empty() && routed.peek().is_none() {
            return self.dropout.residual(x, branch, ctx);
        }
        let kept = self.dropout.forward(branch, ctx);
        let branch = self.adapters.iter().fold(kept, |branch, adapter| adapter.forward(branch, &x, norm, ctx.phase()));
        let branch = routed.fold(branch, |branch, (rows, adapter)| {
            let place = [rows, 0..branch.dims()[1]];
            let of_rows = |tensor: &Tensor<2>| tensor.clone().slice(place.clone());
            let changed = adapter.forward(of_rows(&branch), &of_rows(&x), norm, ctx.phase());
            branch.slice_assign(place, changed)
        });
        residual(x, branch, None)
    }
}
