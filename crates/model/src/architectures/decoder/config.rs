//! A decoder, described: what the common keys of `config.json` say, and what an architecture's own file adds.

use kernels::{Activation, AttentionMask, LogitsTransform};
use serde::Deserialize;

use crate::architectures::{ActivationShape, activation, check_heads, sliding_layers};
use crate::config::{Config, ConfigError};
use crate::layers::{RmsNormConfig, Rope};

/// The keys of `config.json` that all of these architectures have, with the defaults of Transformers' `LlamaConfig`.
#[derive(Debug, Clone, Deserialize)]
pub(in crate::architectures) struct DecoderKeys {
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
    pub(in crate::architectures) max_position_embeddings: usize,
    sliding_window: Option<usize>,
    layer_types: Option<Vec<String>>,
}

fn silu() -> String {
    "silu".to_string()
}

fn a_millionth() -> f64 {
    1e-6
}

/// A decoder, described. What an architecture does not set is as in Llama.
#[derive(Debug, Clone)]
pub(in crate::architectures) struct DecoderConfig {
    pub(super) vocabulary: usize,
    pub(in crate::architectures) hidden: usize,
    pub(super) inner: usize,
    pub(in crate::architectures) layers: usize,
    pub(super) heads: usize,
    pub(super) kv_heads: usize,
    pub(in crate::architectures) d_head: usize,
    pub(in crate::architectures) activation: Activation,
    pub(super) attention_dropout: f64,
    pub(in crate::architectures) projections: Projections,
    pub(in crate::architectures) query_key_bias: bool,
    pub(in crate::architectures) output_bias: bool,
    pub(in crate::architectures) feed_forward_bias: bool,
    /// Of all norms.
    pub(in crate::architectures) norm: RmsNormConfig,
    pub(in crate::architectures) norms: Norms,
    /// RMSNorm of queries and keys, before they turn.
    pub(in crate::architectures) query_key_norm: QueryKeyNorm,
    /// The factor of attention scores.
    pub(in crate::architectures) scale: f32,
    /// The bound of attention scores, `attn_logit_softcapping` in Gemma 2.
    pub(in crate::architectures) score_soft_cap: Option<f32>,
    /// What becomes of a language model's logits.
    pub(in crate::architectures) logits: LogitsTransform,
    /// The factor of word embeddings as they enter the first layer.
    pub(in crate::architectures) embedding_multiplier: f64,
    /// The factor of what attention and the feed-forward network add.
    pub(in crate::architectures) residual_multiplier: f64,
    /// The experts that some layers have in place of one feed-forward network.
    pub(in crate::architectures) experts: Option<ExpertsConfig>,
    /// Whether a token sees those after it as well: an encoder of these blocks.
    pub(in crate::architectures) bidirectional: bool,
    /// Of each layer: how many tokens back it sees, if not all.
    pub(in crate::architectures) windows: Vec<Option<usize>>,
    /// The rotary embeddings that layers choose from.
    pub(in crate::architectures) ropes: Vec<Rope>,
    /// Of each layer: which of `ropes` turns its queries and keys, if any.
    pub(in crate::architectures) turns: Vec<Option<usize>>,
}

/// A mixture of experts, of which each token chooses some.
#[derive(Debug, Clone)]
pub(in crate::architectures) struct ExpertsConfig {
    pub(in crate::architectures) count: usize,
    pub(in crate::architectures) per_token: usize,
    /// The inner width of each.
    pub(in crate::architectures) inner: usize,
    /// Whether the weights of the experts that a token has chosen add up to 1.
    pub(in crate::architectures) renormalised: bool,
    /// Of each layer: whether it has them.
    pub(in crate::architectures) layers: Vec<bool>,
}

/// Whether projections of one input lie in one weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::architectures) enum Projections {
    /// `q_proj`, `k_proj`, `v_proj`; `gate_proj`, `up_proj`
    Apart,
    /// `qkv_proj`; `gate_up_proj`
    Joined,
}

/// Where the norms of a layer are, by their names in Transformers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::architectures) enum Norms {
    /// Before attention (`input_layernorm`) and before the feed-forward network (`post_attention_layernorm`).
    Before,
    /// After attention (`post_attention_layernorm`) and after the feed-forward network (`post_feedforward_layernorm`).
    After,
    /// Before and after attention (`input_layernorm`, `post_attention_layernorm`), before and after the feed-forward network
    /// (`pre_feedforward_layernorm`, `post_feedforward_layernorm`).
    Around,
}

/// How queries and keys are normed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::architectures) enum QueryKeyNorm {
    None,
    /// Each head by itself.
    Heads,
    /// All heads together.
    Whole,
}

impl DecoderConfig {
    /// What the common keys say; an architecture's file sets the rest.
    pub(in crate::architectures) fn read(config: &Config) -> Result<(Self, DecoderKeys), ConfigError> {
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
                check_heads(config, "num_attention_heads", keys.hidden_size, heads)?;
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
            attention_dropout: keys.attention_dropout,
            projections: Projections::Apart,
            query_key_bias: false,
            output_bias: false,
            feed_forward_bias: false,
            norm: RmsNormConfig { epsilon: keys.rms_norm_eps, plus_one: false },
            norms: Norms::Before,
            query_key_norm: QueryKeyNorm::None,
            scale: 1.0 / (d_head as f32).sqrt(),
            score_soft_cap: None,
            logits: LogitsTransform::default(),
            embedding_multiplier: 1.0,
            residual_multiplier: 1.0,
            experts: None,
            bidirectional: false,
            windows: vec![None; keys.num_hidden_layers],
            ropes: vec![Rope::read(config, d_head)?],
            turns: vec![Some(0); keys.num_hidden_layers],
        };
        Ok((described, keys))
    }

    /// A window in every layer.
    pub(in crate::architectures) fn slide(&mut self, keys: &DecoderKeys) {
        self.windows = vec![keys.sliding_window; self.layers];
    }

    /// A window in the layers that `layer_types` says have one; without that key in those from `first` on.
    pub(in crate::architectures) fn slide_some(
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
        let slides = sliding_layers(config, types, self.layers)?;
        self.windows = slides.into_iter().map(|slides| keys.sliding_window.filter(|_| slides)).collect();
        Ok(())
    }

    /// A window in the layers that `layer_types` says have one; without that key in all but every `pattern`-th.
    pub(in crate::architectures) fn slide_but_each(
        &mut self,
        config: &Config,
        keys: &DecoderKeys,
        pattern: usize,
    ) -> Result<(), ConfigError> {
        if keys.layer_types.is_some() {
            return self.slide_some(config, keys, None);
        }
        let slides = |layer: usize| !(layer + 1).is_multiple_of(pattern);
        self.windows = (0..self.layers).map(|layer| keys.sliding_window.filter(|_| slides(layer))).collect();
        Ok(())
    }

    pub(in crate::architectures) fn activations(&self) -> ActivationShape {
        let after_norms: &[&str] = match self.norms {
            Norms::Before | Norms::Around => {
                &["q_proj", "k_proj", "v_proj", "qkv_proj", "gate_proj", "up_proj", "gate_up_proj"]
            }
            Norms::After => &[],
        };
        let of_layer = match self.norms {
            Norms::Before | Norms::After => 2 * self.hidden,
            Norms::Around => 4 * self.hidden,
        };
        let of_heads = match self.query_key_norm {
            QueryKeyNorm::None => 0,
            QueryKeyNorm::Heads | QueryKeyNorm::Whole => self.query_width() + self.key_width(),
        };
        ActivationShape {
            width: self.hidden,
            inner: self.inner_kept(),
            layers: self.layers,
            vocabulary: self.vocabulary,
            keys: self.key_width(),
            gated: true,
            norms: of_layer + of_heads,
            after_norms,
        }
    }

    /// What a layer keeps of its feed-forward network, as the inner width of a dense one that keeps as much: of each expert that a
    /// token has chosen gate, up, and the output in the order of the experts and in that of the tokens; the mean over the layers.
    fn inner_kept(&self) -> usize {
        let Some(experts) = &self.experts else { return self.inner };
        let sparse = experts.layers.iter().filter(|sparse| **sparse).count();
        let of_experts = experts.per_token.saturating_mul(experts.inner + self.hidden);
        let dense = (self.layers - sparse) * self.inner;
        sparse.saturating_mul(of_experts).saturating_add(dense).div_ceil(self.layers)
    }

    pub(super) fn mask(&self, layer: usize) -> AttentionMask {
        let window = self.windows[layer];
        match self.bidirectional {
            true => AttentionMask::Bidirectional { window },
            false => AttentionMask::Causal { window },
        }
    }

    pub(super) fn query_width(&self) -> usize {
        self.heads * self.d_head
    }

    pub(super) fn key_width(&self) -> usize {
        self.kv_heads * self.d_head
    }
}
