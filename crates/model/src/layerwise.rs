//! A forward pass that its caller takes layer by layer.

use burn::tensor::Tensor;
use kernels::{Noise, Precision};

use crate::architectures::Around;
use crate::model::{Features, Model};
use crate::tokens::Tokens;

/// A forward pass that its caller takes layer by layer, as often as it likes: the same layer gives the same again, dropout
/// included. This is what gradient checkpointing steps through.
pub struct Layerwise<'a> {
    model: &'a Model,
    tokens: &'a Tokens,
    rows: Vec<usize>,
    around: Around,
}

impl<'a> Layerwise<'a> {
    pub(crate) fn new(
        model: &'a Model,
        tokens: &'a Tokens,
        rows: &[usize],
        noise: Option<Noise>,
        precision: Precision,
    ) -> Self {
        let around = Around::new(&*model.backbone, tokens, noise, precision);
        let rows = model.pooling.rows(rows, tokens.layout().queries());
        Self { model, tokens, rows, around }
    }

    /// Layers before the last.
    pub fn layers(&self) -> usize {
        self.model.backbone.layers() - 1
    }

    /// Whether anything is trained in the embeddings or in one of the layers before this one.
    pub fn trains_below(&self, layer: usize) -> bool {
        let backbone = &self.model.backbone;
        backbone.trains_embeddings() || (0..layer).any(|below| backbone.trains(below))
    }

    /// `[tokens, hidden]`
    pub fn embed(&self) -> Tensor<2> {
        self.model.backbone.embed(self.tokens, &self.around.ctx)
    }

    /// One of the layers before the last, `[tokens, hidden]` to the same.
    pub fn layer(&self, layer: usize, hidden: Tensor<2>) -> Tensor<2> {
        self.model.backbone.layer(layer, hidden, &self.around, None)
    }

    /// The last layer, to what the head reads.
    pub fn last_layer(&self, hidden: Tensor<2>) -> Features {
        let (hidden, ctx) = self.model.backbone.last_layer(hidden, &self.rows, &self.around, None);
        let (hidden, ctx) = self.model.pooling.pool(hidden, ctx, self.tokens.layout().queries());
        Features { hidden, ctx }
    }
}
