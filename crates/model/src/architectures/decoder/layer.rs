//! One layer: attention and a feed-forward network, each with its norms and added to what it read.

use burn::module::Module;
use burn::tensor::Tensor;
use lora::{ForwardContext, Sublayer};

use super::attention::SelfAttention;
use super::config::{DecoderConfig, Norms};
use super::feed_forward::FeedForward;
use super::scaled;
use crate::Error;
use crate::architectures::{Around, select};
use crate::cache::Cache;
use crate::layers::{Residual, RmsNorm};
use crate::loader::Loader;

/// `LlamaDecoderLayer`, `Olmo2DecoderLayer`, `Gemma2DecoderLayer`
#[derive(Module, Debug)]
pub(super) struct Layer {
    before_attention: Option<RmsNorm>,
    self_attn: SelfAttention,
    after_attention: Option<RmsNorm>,
    attended: Residual,
    before_mlp: Option<RmsNorm>,
    mlp: FeedForward,
    after_mlp: Option<RmsNorm>,
    fed_forward: Residual,
    residual_multiplier: f64,
}

impl Layer {
    pub(super) fn load(loader: &Loader<'_>, config: &DecoderConfig, layer: usize) -> Result<Self, Error> {
        let (of_attention, of_mlp) = match config.norms {
            Norms::Before => ([Some("input_layernorm"), None], [Some("post_attention_layernorm"), None]),
            Norms::After => ([None, Some("post_attention_layernorm")], [None, Some("post_feedforward_layernorm")]),
            Norms::Around => (
                [Some("input_layernorm"), Some("post_attention_layernorm")],
                [Some("pre_feedforward_layernorm"), Some("post_feedforward_layernorm")],
            ),
        };
        let norm = |name: Option<&str>| name.map(|name| loader.rms_norm(name, config.hidden, config.norm)).transpose();
        let residual = |name: &str, sublayer| loader.residual(name, sublayer, config.hidden, loader.dropout(name, 0.0));
        Ok(Self {
            before_attention: norm(of_attention[0])?,
            self_attn: SelfAttention::load(&loader.at("self_attn"), config, layer)?,
            after_attention: norm(of_attention[1])?,
            attended: residual("attention_adapters", Sublayer::Attention)?,
            before_mlp: norm(of_mlp[0])?,
            mlp: FeedForward::load(&loader.at("mlp"), config, layer)?,
            after_mlp: norm(of_mlp[1])?,
            fed_forward: residual("output_adapters", Sublayer::FeedForward)?,
            residual_multiplier: config.residual_multiplier,
        })
    }

    pub(super) fn forward(&self, x: Tensor<2>, around: &Around, cache: Option<&mut Cache>) -> Tensor<2> {
        let context = self.attend(x.clone(), around, cache);
        self.after_heads(context, x, &around.ctx)
    }

    /// The output in these rows alone.
    pub(super) fn forward_rows(
        &self,
        x: Tensor<2>,
        rows: &[usize],
        around: &Around,
        cache: Option<&mut Cache>,
    ) -> (Tensor<2>, ForwardContext) {
        let context = self.attend(x.clone(), around, cache);
        let (context, selected) = select(context, rows, &around.ctx);
        let (x, _) = select(x, rows, &around.ctx);
        (self.after_heads(context, x, &selected), selected)
    }

    fn attend(&self, x: Tensor<2>, around: &Around, cache: Option<&mut Cache>) -> Tensor<2> {
        self.self_attn.forward(normed(self.before_attention.as_ref(), x), around, cache)
    }

    /// All that follows the heads of attention, whose output is `context`.
    fn after_heads(&self, context: Tensor<2>, x: Tensor<2>, ctx: &ForwardContext) -> Tensor<2> {
        let attended = normed(self.after_attention.as_ref(), self.self_attn.output(context, ctx));
        let x = self.attended.forward(x, self.scaled(attended), ctx);
        let inner = self.mlp.forward(normed(self.before_mlp.as_ref(), x.clone()), ctx);
        self.fed_forward.forward(x, self.scaled(normed(self.after_mlp.as_ref(), inner)), ctx)
    }

    fn scaled(&self, branch: Tensor<2>) -> Tensor<2> {
        scaled(branch, self.residual_multiplier)
    }
}

fn normed(norm: Option<&RmsNorm>, x: Tensor<2>) -> Tensor<2> {
    match norm {
        Some(norm) => norm.forward(x),
        None => x,
    }
}
