//! Attention of grouped queries, with rotary positions and norms of queries and keys where a model has them.

use burn::module::Module;
use burn::tensor::Tensor;
use kernels::{Attention, AttentionMask, attention, rotary};
use lora::{ForwardContext, Linear};

use super::bias;
use super::config::{DecoderConfig, Projections, QueryKeyNorm};
use crate::Error;
use crate::architectures::Around;
use crate::cache::Cache;
use crate::layers::{Angles, Dropout, RmsNorm};
use crate::loader::Loader;

/// `LlamaAttention`; with norms of queries and keys `Qwen3Attention` and `Olmo2Attention`.
#[derive(Module, Debug)]
pub(super) struct SelfAttention {
    projections: QueryKeyValue,
    o_proj: Linear,
    q_norm: Option<RmsNorm>,
    k_norm: Option<RmsNorm>,
    dropout: Dropout,
    heads: usize,
    kv_heads: usize,
    d_head: usize,
    scale: f32,
    soft_cap: Option<f32>,
    rope: Option<usize>,
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
    pub(super) fn load(loader: &Loader<'_>, config: &DecoderConfig, layer: usize) -> Result<Self, Error> {
        let (hidden, of_queries, of_keys) = (config.hidden, config.query_width(), config.key_width());
        let has_bias = bias(config.query_key_bias);
        let norm = |name: &str, width: usize| match config.query_key_norm {
            QueryKeyNorm::None => Ok(None),
            QueryKeyNorm::Heads => loader.rms_norm(name, config.d_head, config.norm).map(Some),
            QueryKeyNorm::Whole => loader.rms_norm(name, width, config.norm).map(Some),
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
            q_norm: norm("q_norm", of_queries)?,
            k_norm: norm("k_norm", of_keys)?,
            dropout: loader.dropout("dropout", config.attention_dropout),
            heads: config.heads,
            kv_heads: config.kv_heads,
            d_head: config.d_head,
            scale: config.scale,
            soft_cap: config.score_soft_cap,
            rope: config.turns[layer],
            layer,
            mask: config.mask(layer),
        })
    }

    pub(super) fn forward(&self, x: Tensor<2>, around: &Around, cache: Option<&mut Cache>) -> Tensor<2> {
        let ctx = &around.ctx;
        let (q, k, v) = self.project(x, ctx);
        let angles = around.angles(self.rope);
        let q = place(q, self.q_norm.as_ref(), self.heads, angles);
        let k = place(k, self.k_norm.as_ref(), self.kv_heads, angles);
        let (k, v) = match cache {
            Some(cache) => cache.extend(self.layer, k, v, ctx.layout()),
            None => (k, v),
        };
        let options = Attention {
            heads: self.heads,
            kv_heads: self.kv_heads,
            scale: self.scale,
            soft_cap: self.soft_cap,
            mask: self.mask,
            dropout: self.dropout.mask(ctx),
        };
        attention(q, k, v, ctx.layout(), options)
    }

    /// What the heads' output adds to the hidden states, `[rows, heads * d_head]` to `[rows, hidden]`.
    pub(super) fn output(&self, context: Tensor<2>, ctx: &ForwardContext) -> Tensor<2> {
        self.o_proj.forward(context, ctx)
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
        Some(norm) => norm.forward_groups(x),
        None => x,
    };
    match angles {
        Some(angles) => rotary(x, angles.cosines.clone(), angles.sines.clone(), heads),
        None => x,
    }
}
