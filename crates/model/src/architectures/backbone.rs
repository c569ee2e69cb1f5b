//! What architectures have in common below the head: embeddings, then one layer after the other.

use burn::tensor::{Device, Tensor};
use kernels::{ForwardContext, Layout, Noise, Precision};
use lora::Embedding;

use super::{Features, Model};
use crate::cache::Cache;
use crate::layers::Angles;
use crate::tokens::Tokens;

/// A model below its head.
pub(crate) trait Backbone {
    fn word_embeddings(&self) -> &Embedding;

    /// How many layers there are: at least one.
    fn layers(&self) -> usize;

    /// Whether anything is trained in the embeddings.
    fn trains_embeddings(&self) -> bool;

    /// Whether anything is trained in this layer.
    fn trains(&self, layer: usize) -> bool;

    /// The angles by which rotary embeddings turn, the same in all layers.
    fn angles(&self, _layout: &Layout, _device: &Device) -> Option<Angles> {
        None
    }

    /// `[tokens, hidden]`
    fn embed(&self, tokens: &Tokens, ctx: &ForwardContext) -> Tensor<2>;

    /// One of the layers before the last, `[tokens, hidden]` to the same.
    fn layer(&self, layer: usize, hidden: Tensor<2>, around: &Around, cache: Option<&mut Cache>) -> Tensor<2>;

    /// The last layer in these rows alone, with what stands behind it: `[rows, hidden]`, and the pass for a head.
    fn last_layer(
        &self,
        hidden: Tensor<2>,
        rows: &[usize],
        around: &Around,
        cache: Option<&mut Cache>,
    ) -> (Tensor<2>, ForwardContext);
}

/// What the layers of one forward pass look up.
#[derive(Debug)]
pub(crate) struct Around {
    pub(crate) ctx: ForwardContext,
    pub(crate) angles: Option<Angles>,
}

impl Around {
    pub(super) fn new(backbone: &dyn Backbone, tokens: &Tokens, noise: Option<Noise>, precision: Precision) -> Self {
        let ctx = ForwardContext::new(tokens.layout().clone(), noise).with_precision(precision);
        let angles = backbone.angles(ctx.layout(), &tokens.ids.device());
        Self { ctx, angles }
    }
}

/// From the tokens to what a head reads. With a cache the tokens go on where it ends, and are added to it.
pub(super) fn through(
    backbone: &dyn Backbone,
    tokens: &Tokens,
    rows: &[usize],
    around: &Around,
    mut cache: Option<&mut Cache>,
) -> (Tensor<2>, ForwardContext) {
    let mut hidden = backbone.embed(tokens, &around.ctx);
    for layer in 0..backbone.layers() - 1 {
        hidden = backbone.layer(layer, hidden, around, cache.as_deref_mut());
    }
    let features = backbone.last_layer(hidden, rows, around, cache.as_deref_mut());
    if let Some(cache) = cache {
        cache.advance(around.ctx.layout());
    }
    features
}

/// A forward pass that its caller takes layer by layer, as often as it likes: the same layer gives the same again, dropout
/// included. This is what gradient checkpointing steps through.
pub struct Layerwise<'a> {
    backbone: &'a dyn Backbone,
    tokens: &'a Tokens,
    rows: Vec<usize>,
    around: Around,
}

impl<'a> Layerwise<'a> {
    pub(super) fn new(
        model: &'a Model,
        tokens: &'a Tokens,
        rows: &[usize],
        noise: Option<Noise>,
        precision: Precision,
    ) -> Self {
        let backbone = model.backbone();
        let around = Around::new(backbone, tokens, noise, precision);
        Self { backbone, tokens, rows: model.rows(rows, &around.ctx), around }
    }

    /// Layers before the last.
    pub fn layers(&self) -> usize {
        self.backbone.layers() - 1
    }

    /// Whether anything is trained in the embeddings or in one of the layers before this one.
    pub fn trains_below(&self, layer: usize) -> bool {
        self.backbone.trains_embeddings() || (0..layer).any(|below| self.backbone.trains(below))
    }

    /// `[tokens, hidden]`
    pub fn embed(&self) -> Tensor<2> {
        self.backbone.embed(self.tokens, &self.around.ctx)
    }

    /// One of the layers before the last, `[tokens, hidden]` to the same.
    pub fn layer(&self, layer: usize, hidden: Tensor<2>) -> Tensor<2> {
        self.backbone.layer(layer, hidden, &self.around, None)
    }

    /// The last layer, to what the head reads.
    pub fn last_layer(&self, hidden: Tensor<2>) -> Features {
        let (hidden, ctx) = self.backbone.last_layer(hidden, &self.rows, &self.around, None);
        Features { hidden, ctx }
    }
}
