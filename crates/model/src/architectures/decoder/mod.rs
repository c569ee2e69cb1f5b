//! The decoder that Llama and its relatives share: RMSNorm around each part, rotary positions, grouped-query attention, a gated
//! feed-forward network. Reference: `LlamaModel` in Transformers. An architecture's own file turns its `config.json` into a
//! [`DecoderConfig`]; nothing here asks for a model's name.

mod attention;
mod config;
mod experts;
mod feed_forward;
mod gguf;
mod layer;

use burn::module::Module;
use burn::tensor::Tensor;
use lora::{Embedding, ForwardContext};

use super::{AnyBackbone, Around, Backbone};
use crate::Error;
use crate::cache::Cache;
use crate::layers::{RmsNorm, Rope};
use crate::loader::{Bias, Loader};
use crate::tokens::Tokens;
use layer::Layer;

pub(super) use config::{DecoderConfig, ExpertsConfig, Norms, Projections, QueryKeyNorm};
pub(super) use gguf::{Turning, gguf};

fn bias(there: bool) -> Bias {
    if there { Bias::Yes } else { Bias::No }
}

/// `LlamaModel`
#[derive(Module, Debug)]
pub(crate) struct Decoder {
    embed_tokens: Embedding,
    layers: Vec<Layer>,
    norm: RmsNorm,
    embedding_multiplier: f64,
    key_width: usize,
    #[module(skip)]
    ropes: Vec<Rope>,
}

impl Decoder {
    pub(super) fn load(loader: &Loader<'_>, config: &DecoderConfig) -> Result<AnyBackbone, Error> {
        let layers = loader.at("layers");
        Ok(AnyBackbone::Decoder(Self {
            embed_tokens: loader.embedding("embed_tokens", config.vocabulary, config.hidden)?,
            layers: (0..config.layers)
                .map(|layer| Layer::load(&layers.at(&layer.to_string()), config, layer))
                .collect::<Result<_, _>>()?,
            norm: loader.rms_norm("norm", config.hidden, config.norm)?,
            embedding_multiplier: config.embedding_multiplier,
            key_width: config.key_width(),
            ropes: config.ropes.clone(),
        }))
    }
}

impl Backbone for Decoder {
    fn word_embeddings(&self) -> &Embedding {
        &self.embed_tokens
    }

    fn layers(&self) -> usize {
        self.layers.len()
    }

    fn trains_embeddings(&self) -> bool {
        self.embed_tokens.num_params() > 0
    }

    fn trains(&self, layer: usize) -> bool {
        self.layers[layer].num_params() > 0
    }

    fn ropes(&self) -> &[Rope] {
        &self.ropes
    }

    fn cached_width(&self) -> usize {
        self.key_width
    }

    fn embed(&self, tokens: &Tokens, ctx: &ForwardContext) -> Tensor<2> {
        scaled(self.embed_tokens.forward(tokens.ids.clone(), ctx), self.embedding_multiplier)
    }

    fn layer(&self, layer: usize, hidden: Tensor<2>, around: &Around, cache: Option<&mut Cache>) -> Tensor<2> {
        self.layers[layer].forward(hidden, around, cache)
    }

    fn last_layer(
        &self,
        hidden: Tensor<2>,
        rows: &[usize],
        around: &Around,
        cache: Option<&mut Cache>,
    ) -> (Tensor<2>, ForwardContext) {
        let (hidden, ctx) = self.layers[self.layers.len() - 1].forward_rows(hidden, rows, around, cache);
        (self.norm.forward(hidden), ctx)
    }
}

/// `x` times a factor that most models do not have.
fn scaled(x: Tensor<2>, factor: f64) -> Tensor<2> {
    if factor == 1.0 { x } else { x * factor }
}
