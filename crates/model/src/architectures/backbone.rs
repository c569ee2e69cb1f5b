//! What architectures have in common below the head: embeddings, then one layer after the other.

use std::ops::Deref;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use kernels::{Noise, Phase, Precision};
use lora::{Embedding, ForwardContext, Routes};

use crate::cache::Cache;
use crate::layers::{Angles, Rope};
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

    /// The rotary embeddings that its layers choose from: each layer says which is its own.
    fn ropes(&self) -> &[Rope] {
        &[]
    }

    /// What a cache holds of a token in each layer, once for its keys and once for its values; 0 for what writes no texts.
    fn cached_width(&self) -> usize {
        0
    }

    /// `[tokens, hidden]`
    fn embed(&self, tokens: &Tokens, ctx: &ForwardContext) -> Tensor<2>;

    /// One of the layers before the last, `[tokens, hidden]` to the same.
    fn layer(&self, layer: usize, hidden: Tensor<2>, around: &Around, cache: Option<&mut Cache>) -> Tensor<2>;

    /// The last layer in these rows alone, with what comes after it: `[rows, hidden]`, and the context for a head.
    fn last_layer(
        &self,
        hidden: Tensor<2>,
        rows: &[usize],
        around: &Around,
        cache: Option<&mut Cache>,
    ) -> (Tensor<2>, ForwardContext);
}

/// The kinds of backbones, each with its module: burn's modules are sized types, so this enum stands for a `dyn Backbone`.
macro_rules! backbones {
    ($($kind:ident($module:ty)),+ $(,)?) => {
        #[derive(Module, Debug)]
        #[allow(clippy::large_enum_variant, reason = "a process has one or two models, whose layers lie elsewhere anyway")]
        pub(crate) enum AnyBackbone {
            $($kind($module)),+
        }

        impl Deref for AnyBackbone {
            type Target = dyn Backbone;

            fn deref(&self) -> &Self::Target {
                match self {
                    $(Self::$kind(backbone) => backbone),+
                }
            }
        }
    };
}

backbones! {
    Bert(super::bert::BertModel),
    DebertaV2(super::deberta_v2::DebertaV2Model),
    DistilBert(super::distilbert::DistilBertModel),
    Gpt2(super::gpt2::Gpt2Model),
    ModernBert(super::modernbert::ModernBertModel),
    Decoder(super::decoder::Decoder),
}

/// What the layers of one forward pass look up.
#[derive(Debug)]
pub(crate) struct Around {
    pub(crate) ctx: ForwardContext,
    /// Of each of the backbone's [ropes](Backbone::ropes).
    angles: Vec<Angles>,
}

impl Around {
    pub(crate) fn new(backbone: &dyn Backbone, tokens: &Tokens, noise: Option<Noise>, precision: Precision) -> Self {
        let ctx = ForwardContext::new(tokens.layout().clone(), noise).with_precision(precision);
        let device: Device = tokens.ids.device();
        let angles = backbone.ropes().iter().map(|rope| rope.angles(ctx.layout(), &device)).collect();
        Self { ctx, angles }
    }

    /// With these sequences' rows going through adapters beside those of the model.
    pub(crate) fn with_routes(self, routes: Routes) -> Self {
        Self { ctx: self.ctx.with_routes(routes), ..self }
    }

    /// The same in another phase.
    pub(crate) fn in_phase(self, phase: Phase) -> Self {
        Self { ctx: self.ctx.with_phase(phase), ..self }
    }

    /// The angles of a layer's own rotary embedding; `None` for a layer without one.
    pub(crate) fn angles(&self, rope: Option<usize>) -> Option<&Angles> {
        rope.map(|rope| &self.angles[rope])
    }
}

/// From the tokens to what a head reads. With a cache the tokens go on where it ends, and are added to it.
pub(crate) fn through(
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
    backbone.last_layer(hidden, rows, around, cache)
}
