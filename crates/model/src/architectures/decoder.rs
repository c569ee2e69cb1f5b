//! The decoder that Llama and its relatives share: RMSNorm before each part, rotary positions, grouped-query attention, a
//! gated feed-forward network. Reference: `LlamaModel` in Transformers. An architecture's own file turns its `config.json`
//! into a [`DecoderConfig`]; nothing here asks for a model's name.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use kernels::{
    Activation, Attention, AttentionMask, ForwardContext, Layout, attention, gated_activation, residual, rotary,
};
use lora::{Embedding, Linear, OutputLayer, Projection};
use serde::Deserialize;

use super::{Around, Backbone, Model, SequenceClassifier, activation, select};
use crate::Error;
use crate::architectures::CausalLm;
use crate::cache::Cache;
use crate::config::{Config, ConfigError};
use crate::layers::{Angles, Dropout, RmsNorm, Rope};
use crate::loader::{Bias, Loader};
use crate::tokens::Tokens;

/// The keys of `config.json` that all of these architectures have, with the defaults of Transformers' `LlamaConfig`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct DecoderKeys {
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    /// Heads of keys and values; fewer than `num_attention_heads` in grouped-query attention.
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    #[serde(default = "silu")]
    hidden_act: String,
    #[serde(default = "a_millionth")]
    rms_norm_eps: f64,
    #[serde(default)]
    attention_dropout: f64,
    pub(super) max_position_embeddings: usize,
    sliding_window: Option<usize>,
    layer_types: Option<Vec<String>>,
}

fn silu() -> String {
    "silu".to_string()
}

fn a_millionth() -> f64 {
    1e-6
}

/// A decoder, described.
#[derive(Debug, Clone)]
pub(super) struct DecoderConfig {
    vocabulary: usize,
    hidden: usize,
    inner: usize,
    layers: usize,
    pub(super) heads: usize,
    kv_heads: usize,
    d_head: usize,
    activation: Activation,
    epsilon: f64,
    attention_dropout: f64,
    rope: Rope,
    pub(super) projections: Projections,
    pub(super) query_key_bias: bool,
    pub(super) output_bias: bool,
    pub(super) feed_forward_bias: bool,
    /// RMSNorm of each head of queries and keys, before they turn.
    pub(super) query_key_norm: bool,
    /// Of each layer: how many tokens back it sees, if not all.
    windows: Vec<Option<usize>>,
    /// Of each layer: whether its queries and keys turn.
    pub(super) turns: Vec<bool>,
}

/// Whether projections of one input lie in one weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Projections {
    /// `q_proj`, `k_proj`, `v_proj`; `gate_proj`, `up_proj`
    Apart,
    /// `qkv_proj`; `gate_up_proj`
    Joined,
}

impl DecoderConfig {
    /// What the common keys say; an architecture's file sets the rest.
    pub(super) fn read(config: &Config) -> Result<(Self, DecoderKeys), ConfigError> {
        let keys: DecoderKeys = config.parse()?;
        let sizes = [
            "vocab_size",
            "hidden_size",
            "intermediate_size",
            "num_hidden_layers",
            "num_attention_heads",
            "num_key_value_heads",
            "head_dim",
            "max_position_embeddings",
            "sliding_window",
        ];
        config.check_ranges(&sizes, &["attention_dropout"])?;
        config.check_layers("num_hidden_layers")?;
        let heads = keys.num_attention_heads;
        let kv_heads = keys.num_key_value_heads.unwrap_or(heads);
        if !heads.is_multiple_of(kv_heads) {
            let message = format!("{kv_heads} heads of keys do not divide {heads} heads of queries");
            return Err(config.wrong(message, "correct `num_key_value_heads`: copy the model's config.json again"));
        }
        let d_head = match keys.head_dim {
            Some(d_head) => d_head,
            None => {
                super::check_heads(config, "num_attention_heads", keys.hidden_size, heads)?;
                keys.hidden_size / heads
            }
        };
        let described = Self {
            vocabulary: keys.vocab_size,
            hidden: keys.hidden_size,
            inner: keys.intermediate_size,
            layers: keys.num_hidden_layers,
            heads,
            kv_heads,
            d_head,
            activation: activation(config, "hidden_act", &keys.hidden_act)?,
            epsilon: keys.rms_norm_eps,
            attention_dropout: keys.attention_dropout,
            rope: Rope::read(config, d_head)?,
            projections: Projections::Apart,
            query_key_bias: false,
            output_bias: false,
            feed_forward_bias: false,
            query_key_norm: false,
            windows: vec![None; keys.num_hidden_layers],
            turns: vec![true; keys.num_hidden_layers],
        };
        Ok((described, keys))
    }

    /// A window in every layer.
    pub(super) fn slide(&mut self, keys: &DecoderKeys) {
        self.windows = vec![keys.sliding_window; self.layers];
    }

    /// A window in the layers that `layer_types` says have one; without that key in those from `first` on.
    pub(super) fn slide_some(
        &mut self,
        config: &Config,
        keys: &DecoderKeys,
        first: Option<usize>,
    ) -> Result<(), ConfigError> {
        let Some(types) = &keys.layer_types else {
            let first = first.unwrap_or(self.layers);
            self.windows = (0..self.layers).map(|layer| keys.sliding_window.filter(|_| layer >= first)).collect();
            return Ok(());
        };
        if types.len() != self.layers {
            let message = format!("`layer_types` has {} entries for {} layers", types.len(), self.layers);
            return Err(config.wrong(message, "copy the model's config.json again"));
        }
        for (window, kind) in self.windows.iter_mut().zip(types) {
            *window = match kind.as_str() {
                "full_attention" => None,
                "sliding_attention" => keys.sliding_window,
                other => {
                    let message = format!("`layer_types` has `{other}`, which this version does not support");
                    return Err(config.wrong(message, "supported: full_attention, sliding_attention"));
                }
            };
        }
        Ok(())
    }

    fn query_width(&self) -> usize {
        self.heads * self.d_head
    }

    fn key_width(&self) -> usize {
        self.kv_heads * self.d_head
    }
}

fn bias(there: bool) -> Bias {
    if there { Bias::Yes } else { Bias::No }
}

pub(super) fn load_causal_lm(loader: &Loader<'_>, config: &DecoderConfig) -> Result<Model, Error> {
    let model = Decoder::load(&loader.at("model"), config)?;
    let lm_head = loader.output_layer([config.hidden, config.vocabulary])?;
    Ok(Model::CausalLm(CausalLm::Decoder(DecoderForCausalLM { model, lm_head })))
}

pub(super) fn load_classifier(loader: &Loader<'_>, config: &DecoderConfig, labels: usize) -> Result<Model, Error> {
    let model = Decoder::load(&loader.at("model"), config)?;
    let score = loader.output_linear("score", config.hidden, labels, Bias::No)?;
    let classifier = DecoderForSequenceClassification { model, score };
    Ok(Model::SequenceClassifier(SequenceClassifier::Decoder(classifier)))
}

/// `LlamaForCausalLM`
#[derive(Module, Debug)]
pub struct DecoderForCausalLM {
    model: Decoder,
    lm_head: OutputLayer,
}

impl DecoderForCausalLM {
    pub(super) fn output(&self) -> Projection<'_> {
        self.lm_head.projection(self.model.word_embeddings().weight())
    }

    pub(super) fn backbone(&self) -> &dyn Backbone {
        &self.model
    }
}

/// `LlamaForSequenceClassification`
#[derive(Module, Debug)]
pub struct DecoderForSequenceClassification {
    model: Decoder,
    score: Linear,
}

impl DecoderForSequenceClassification {
    /// `[sequences, hidden]` to `[sequences, labels]`
    pub(super) fn logits(&self, features: Tensor<2>, ctx: &ForwardContext) -> Tensor<2> {
        self.score.forward(features, ctx)
    }

    pub(super) fn backbone(&self) -> &dyn Backbone {
        &self.model
    }
}

/// `LlamaModel`
#[derive(Module, Debug)]
struct Decoder {
    embed_tokens: Embedding,
    layers: Vec<Layer>,
    norm: RmsNorm,
    #[module(skip)]
    rope: Rope,
}

impl Decoder {
    fn load(loader: &Loader<'_>, config: &DecoderConfig) -> Result<Self, Error> {
        let layers = loader.at("layers");
        Ok(Self {
            embed_tokens: loader.embedding("embed_tokens", config.vocabulary, config.hidden)?,
            layers: (0..config.layers)
                .map(|layer| Layer::load(&layers.at(&layer.to_string()), config, layer))
                .collect::<Result<_, _>>()?,
            norm: loader.rms_norm("norm", config.hidden, config.epsilon)?,
            rope: config.rope.clone(),
        })
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

    fn angles(&self, layout: &Layout, device: &Device) -> Option<Angles> {
        Some(self.rope.angles(layout, device))
    }

    fn embed(&self, tokens: &Tokens, _: &ForwardContext) -> Tensor<2> {
        self.embed_tokens.forward(tokens.ids.clone())
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
        let (hidden, behind) = self.layers[self.layers.len() - 1].forward_rows(hidden, rows, around, cache);
        (self.norm.forward(hidden), behind)
    }
}

/// `LlamaDecoderLayer`
#[derive(Module, Debug)]
struct Layer {
    input_layernorm: RmsNorm,
    self_attn: SelfAttention,
    post_attention_layernorm: RmsNorm,
    mlp: Mlp,
}

impl Layer {
    fn load(loader: &Loader<'_>, config: &DecoderConfig, layer: usize) -> Result<Self, Error> {
        let norm = |name: &str| loader.rms_norm(name, config.hidden, config.epsilon);
        Ok(Self {
            input_layernorm: norm("input_layernorm")?,
            self_attn: SelfAttention::load(&loader.at("self_attn"), config, layer)?,
            post_attention_layernorm: norm("post_attention_layernorm")?,
            mlp: Mlp::load(&loader.at("mlp"), config)?,
        })
    }

    fn forward(&self, x: Tensor<2>, around: &Around, cache: Option<&mut Cache>) -> Tensor<2> {
        let context = self.self_attn.forward(self.input_layernorm.forward(x.clone()), around, cache);
        self.behind_attention(context, x, &around.ctx)
    }

    /// The output in these rows alone.
    fn forward_rows(
        &self,
        x: Tensor<2>,
        rows: &[usize],
        around: &Around,
        cache: Option<&mut Cache>,
    ) -> (Tensor<2>, ForwardContext) {
        let context = self.self_attn.forward(self.input_layernorm.forward(x.clone()), around, cache);
        let (context, behind) = select(context, rows, &around.ctx);
        let (x, _) = select(x, rows, &around.ctx);
        (self.behind_attention(context, x, &behind), behind)
    }

    fn behind_attention(&self, context: Tensor<2>, x: Tensor<2>, ctx: &ForwardContext) -> Tensor<2> {
        let x = residual(x, self.self_attn.o_proj.forward(context, ctx), None);
        let inner = self.mlp.forward(self.post_attention_layernorm.forward(x.clone()), ctx);
        residual(x, inner, None)
    }
}

/// `LlamaAttention`, and with norms of queries and keys `Qwen3Attention`.
#[derive(Module, Debug)]
struct SelfAttention {
    projections: QueryKeyValue,
    o_proj: Linear,
    q_norm: Option<RmsNorm>,
    k_norm: Option<RmsNorm>,
    dropout: Dropout,
    heads: usize,
    kv_heads: usize,
    d_head: usize,
    turns: bool,
    layer: usize,
    #[module(skip)]
    mask: AttentionMask,
}

#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant, reason = "there is one in each layer, and layers lie elsewhere anyway")]
enum QueryKeyValue {
    Apart(QueryKeyValueApart),
    /// `qkv_proj`
    Joined(Linear),
}

#[derive(Module, Debug)]
struct QueryKeyValueApart {
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
}

impl SelfAttention {
    fn load(loader: &Loader<'_>, config: &DecoderConfig, layer: usize) -> Result<Self, Error> {
        let (hidden, of_queries, of_keys) = (config.hidden, config.query_width(), config.key_width());
        let has_bias = bias(config.query_key_bias);
        let norm = |name: &str| match config.query_key_norm {
            true => loader.rms_norm(name, config.d_head, config.epsilon).map(Some),
            false => Ok(None),
        };
        let projections = match config.projections {
            Projections::Apart => QueryKeyValue::Apart(QueryKeyValueApart {
                q_proj: loader.linear("q_proj", hidden, of_queries, has_bias)?,
                k_proj: loader.linear("k_proj", hidden, of_keys, has_bias)?,
                v_proj: loader.linear("v_proj", hidden, of_keys, has_bias)?,
            }),
            Projections::Joined => {
                QueryKeyValue::Joined(loader.linear("qkv_proj", hidden, of_queries + 2 * of_keys, has_bias)?)
            }
        };
        Ok(Self {
            projections,
            o_proj: loader.linear("o_proj", of_queries, hidden, bias(config.output_bias))?,
            q_norm: norm("q_norm")?,
            k_norm: norm("k_norm")?,
            dropout: loader.dropout("dropout", config.attention_dropout),
            heads: config.heads,
            kv_heads: config.kv_heads,
            d_head: config.d_head,
            turns: config.turns[layer],
            layer,
            mask: AttentionMask::Causal { window: config.windows[layer] },
        })
    }

    fn forward(&self, x: Tensor<2>, around: &Around, cache: Option<&mut Cache>) -> Tensor<2> {
        let ctx = &around.ctx;
        let (q, k, v) = self.project(x, ctx);
        let angles = around.angles.as_ref().filter(|_| self.turns);
        let q = place(q, self.q_norm.as_ref(), self.heads, angles);
        let k = place(k, self.k_norm.as_ref(), self.kv_heads, angles);
        let (k, v) = match cache {
            Some(cache) => cache.extend(self.layer, k, v, ctx.layout()),
            None => (k, v),
        };
        let options = Attention {
            heads: self.heads,
            kv_heads: self.kv_heads,
            scale: 1.0 / (self.d_head as f32).sqrt(),
            soft_cap: None,
            mask: self.mask,
            dropout: self.dropout.mask(ctx),
        };
        attention(q, k, v, ctx.layout(), options)
    }

    fn project(&self, x: Tensor<2>, ctx: &ForwardContext) -> (Tensor<2>, Tensor<2>, Tensor<2>) {
        match &self.projections {
            QueryKeyValue::Apart(QueryKeyValueApart { q_proj, k_proj, v_proj }) => {
                (q_proj.forward(x.clone(), ctx), k_proj.forward(x.clone(), ctx), v_proj.forward(x, ctx))
            }
            QueryKeyValue::Joined(qkv_proj) => {
                let joined = qkv_proj.forward(x, ctx);
                let (of_queries, of_keys) = (self.heads * self.d_head, self.kv_heads * self.d_head);
                let part = |start, width| joined.clone().narrow(1, start, width);
                (part(0, of_queries), part(of_queries, of_keys), part(of_queries + of_keys, of_keys))
            }
        }
    }
}

/// Queries or keys with their norm and their place in the sequence.
fn place(x: Tensor<2>, norm: Option<&RmsNorm>, heads: usize, angles: Option<&Angles>) -> Tensor<2> {
    let x = match norm {
        Some(norm) => norm.forward_heads(x),
        None => x,
    };
    match angles {
        Some(angles) => rotary(x, angles.cosines.clone(), angles.sines.clone(), heads),
        None => x,
    }
}

/// `LlamaMLP`
#[derive(Module, Debug)]
struct Mlp {
    projections: GateUp,
    down_proj: Linear,
    inner: usize,
    #[module(skip)]
    activation: Activation,
}

#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant, reason = "there is one in each layer, and layers lie elsewhere anyway")]
enum GateUp {
    Apart(GateUpApart),
    /// `gate_up_proj`
    Joined(Linear),
}

#[derive(Module, Debug)]
struct GateUpApart {
    gate_proj: Linear,
    up_proj: Linear,
}

impl Mlp {
    fn load(loader: &Loader<'_>, config: &DecoderConfig) -> Result<Self, Error> {
        let (hidden, inner, has_bias) = (config.hidden, config.inner, bias(config.feed_forward_bias));
        let projections = match config.projections {
            Projections::Apart => GateUp::Apart(GateUpApart {
                gate_proj: loader.linear("gate_proj", hidden, inner, has_bias)?,
                up_proj: loader.linear("up_proj", hidden, inner, has_bias)?,
            }),
            Projections::Joined => GateUp::Joined(loader.linear("gate_up_proj", hidden, 2 * inner, has_bias)?),
        };
        let down_proj = loader.linear("down_proj", inner, hidden, has_bias)?;
        Ok(Self { projections, down_proj, inner, activation: config.activation })
    }

    fn forward(&self, x: Tensor<2>, ctx: &ForwardContext) -> Tensor<2> {
        let (gate, up) = match &self.projections {
            GateUp::Apart(GateUpApart { gate_proj, up_proj }) => {
                (gate_proj.forward(x.clone(), ctx), up_proj.forward(x, ctx))
            }
            GateUp::Joined(gate_up_proj) => {
                let joined = gate_up_proj.forward(x, ctx);
                (joined.clone().narrow(1, 0, self.inner), joined.narrow(1, self.inner, self.inner))
            }
        };
        self.down_proj.forward(gated_activation(gate, up, self.activation), ctx)
    }
}
