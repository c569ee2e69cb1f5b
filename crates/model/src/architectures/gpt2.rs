//! GPT-2 (Radford et al. 2019). Reference: `GPT2LMHeadModel`, `GPT2ForSequenceClassification` and `GPT2ForTokenClassification`
//! in Transformers. Its linear layers are `Conv1D`, whose weights lie `[d_input, d_output]`.

use burn::module::Module;
use burn::tensor::Tensor;
use gguf::Value;
use kernels::{Activation, Attention, AttentionMask, attention, joined_attention};
use lora::{Embedding, ForwardContext, Linear, Sublayer};
use serde::Deserialize;

use super::{
    ActivationShape, AnyBackbone, Architecture, Around, Backbone, Exports, GgufModel, Layout, Variant, activation,
    check_heads, exports, select, token_classifier_dropout,
};
use crate::Error;
use crate::cache::Cache;
use crate::config::{Config, ConfigError};
use crate::head::{Head, HeadConfig, HeadLayer, Output, OutputNames, Pooling};
use crate::layers::{Dropout, LayerNorm, Residual};
use crate::loader::{Bias, Loader};
use crate::tokens::Tokens;

/// The keys of `config.json` this file needs, with the defaults of Transformers' `GPT2Config`.
#[derive(Debug, Clone, Deserialize)]
struct Gpt2Config {
    vocab_size: usize,
    n_embd: usize,
    n_layer: usize,
    n_head: usize,
    n_positions: usize,
    n_inner: Option<usize>,
    #[serde(default = "gelu_new")]
    activation_function: String,
    #[serde(default = "a_tenth")]
    embd_pdrop: f64,
    #[serde(default = "a_tenth")]
    attn_pdrop: f64,
    #[serde(default = "a_tenth")]
    resid_pdrop: f64,
    #[serde(default = "small")]
    layer_norm_epsilon: f64,
    #[serde(default = "yes")]
    scale_attn_weights: bool,
    #[serde(default)]
    scale_attn_by_inverse_layer_idx: bool,
}

fn gelu_new() -> String {
    "gelu_new".to_string()
}

fn a_tenth() -> f64 {
    0.1
}

fn small() -> f64 {
    1e-5
}

fn yes() -> bool {
    true
}

pub(crate) static ARCHITECTURE: Architecture = Architecture {
    model_types: &["gpt2"],
    prefix: "transformer.",
    backbone: &["wte.", "wpe.", "h.", "ln_f."],
    word_embeddings: "wte",
    ties_by_default: true,
    default_targets: &["c_attn"],
    // Masks that old checkpoints hold.
    constants: &["attn.bias", "attn.masked_bias"],
    check: |config| check(config).map(|_| ()),
    max_positions: |config| Ok(config.parse::<Gpt2Config>()?.n_positions),
    activations: |config| {
        let parsed = check(config)?;
        Ok(ActivationShape {
            width: parsed.n_embd,
            inner: parsed.inner(),
            layers: parsed.n_layer,
            vocabulary: parsed.vocab_size,
            keys: parsed.n_embd,
            gated: false,
            norms: 2 * parsed.n_embd,
            after_norms: &["c_attn", "c_fc"],
        })
    },
    load: |loader, config| Ok(AnyBackbone::Gpt2(Gpt2Model::load(loader, config, &check(config)?)?)),
    exports: Exports::gguf(gguf),
    variants: &[
        Variant {
            head: Head::CausalLm,
            class: "GPT2LMHeadModel",
            describe: |_| Ok(HeadConfig::new(Pooling::Rows, Vec::new())),
            output: Output::Vocabulary(OutputNames { module: "lm_head", bias_of: None }),
            modules: &["lm_head"],
            pooler: "",
            ignored_keys: &["score.*", "classifier.*"],
        },
        Variant {
            head: Head::SequenceClassification,
            class: "GPT2ForSequenceClassification",
            describe: |_| Ok(HeadConfig::new(Pooling::Last, Vec::new())),
            output: Output::Values { module: "score", bias: Bias::No },
            modules: &["score"],
            pooler: "",
            ignored_keys: &["lm_head.*", "classifier.*"],
        },
        Variant {
            head: Head::TokenClassification,
            class: "GPT2ForTokenClassification",
            describe: |config| {
                let layers = vec![HeadLayer::dropout("dropout", token_classifier_dropout(config)?)];
                Ok(HeadConfig::new(Pooling::Rows, layers))
            },
            output: Output::Values { module: "classifier", bias: Bias::Yes },
            modules: &["classifier"],
            pooler: "",
            ignored_keys: &["lm_head.*", "score.*"],
        },
    ],
};

impl Gpt2Config {
    fn inner(&self) -> usize {
        self.n_inner.unwrap_or(4 * self.n_embd)
    }
}

/// As llama.cpp has it.
fn gguf(config: &Config, _: Head) -> Result<GgufModel, ConfigError> {
    let parsed = check(config)?;
    config.check_false_for_llama_cpp(&["scale_attn_by_inverse_layer_idx"])?;
    if parsed.activation_function != "gelu_new" {
        let message = format!("`activation_function` is `{}`", parsed.activation_function);
        let help = "llama.cpp computes `gelu_new`: this model has no form in GGUF";
        return Err(config.wrong(message, help));
    }
    let number = |value: usize| Value::U32(value as u32);
    let mut model = GgufModel {
        architecture: "gpt2",
        settings: vec![
            ("block_count", number(parsed.n_layer)),
            ("context_length", number(parsed.n_positions)),
            ("embedding_length", number(parsed.n_embd)),
            ("feed_forward_length", number(parsed.inner())),
            ("attention.head_count", number(parsed.n_head)),
            ("attention.layer_norm_epsilon", Value::F32(parsed.layer_norm_epsilon as f32)),
        ],
        metadata: Vec::new(),
        modules: exports::modules(&[
            ("transformer.wte", "token_embd"),
            ("transformer.wpe", "position_embd"),
            ("transformer.ln_f", "output_norm"),
            ("lm_head", "output"),
            ("transformer.h.*.ln_1", "blk.*.attn_norm"),
            ("transformer.h.*.ln_2", "blk.*.ffn_norm"),
            ("transformer.h.*.attn.c_attn", "blk.*.attn_qkv"),
            ("transformer.h.*.attn.c_proj", "blk.*.attn_output"),
            ("transformer.h.*.mlp.c_fc", "blk.*.ffn_up"),
            ("transformer.h.*.mlp.c_proj", "blk.*.ffn_down"),
        ]),
        left_out: &[],
        added: Vec::new(),
        notes: Vec::new(),
    };
    for conv1d in ["attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"] {
        model.lay(&format!("transformer.h.*.{conv1d}"), Layout::Transposed);
    }
    Ok(model)
}

/// The configuration, if the model it describes can be built.
fn check(config: &Config) -> Result<Gpt2Config, ConfigError> {
    let parsed: Gpt2Config = config.parse()?;
    config.check_ranges(
        &["vocab_size", "n_embd", "n_layer", "n_head", "n_positions", "n_inner"],
        &["embd_pdrop", "attn_pdrop", "resid_pdrop"],
    )?;
    config.check_layers("n_layer")?;
    check_heads(config, "n_head", parsed.n_embd, parsed.n_head)?;
    activation(config, "activation_function", &parsed.activation_function)?;
    if config.flag("add_cross_attention") {
        return Err(config.wrong("`add_cross_attention` is true".to_string(), "cross-attention is not supported"));
    }
    Ok(parsed)
}

/// `GPT2Model`
#[derive(Module, Debug)]
pub(crate) struct Gpt2Model {
    wte: Embedding,
    wpe: Embedding,
    dropout: Dropout,
    h: Vec<Block>,
    ln_f: LayerNorm,
}

impl Gpt2Model {
    fn load(loader: &Loader<'_>, config: &Config, parsed: &Gpt2Config) -> Result<Self, Error> {
        let blocks = loader.at("h");
        Ok(Self {
            wte: loader.embedding("wte", parsed.vocab_size, parsed.n_embd)?,
            wpe: loader.embedding("wpe", parsed.n_positions, parsed.n_embd)?,
            dropout: loader.dropout("drop", parsed.embd_pdrop),
            h: (0..parsed.n_layer)
                .map(|layer| Block::load(&blocks.at(&layer.to_string()), config, parsed, layer))
                .collect::<Result<_, _>>()?,
            ln_f: loader.layer_norm("ln_f", parsed.n_embd, parsed.layer_norm_epsilon)?,
        })
    }
}

impl Backbone for Gpt2Model {
    fn word_embeddings(&self) -> &Embedding {
        &self.wte
    }

    fn layers(&self) -> usize {
        self.h.len()
    }

    fn trains_embeddings(&self) -> bool {
        self.wte.num_params() + self.wpe.num_params() > 0
    }

    fn trains(&self, layer: usize) -> bool {
        self.h[layer].num_params() > 0
    }

    fn cached_width(&self) -> usize {
        self.wte.weight().dims()[1]
    }

    fn embed(&self, tokens: &Tokens, ctx: &ForwardContext) -> Tensor<2> {
        let embedded = self.wte.forward(tokens.ids.clone(), ctx) + self.wpe.forward(tokens.positions.clone(), ctx);
        self.dropout.forward(embedded, ctx)
    }

    fn layer(&self, layer: usize, hidden: Tensor<2>, around: &Around, cache: Option<&mut Cache>) -> Tensor<2> {
        self.h[layer].forward(hidden, &around.ctx, cache)
    }

    fn last_layer(
        &self,
        hidden: Tensor<2>,
        rows: &[usize],
        around: &Around,
        cache: Option<&mut Cache>,
    ) -> (Tensor<2>, ForwardContext) {
        let (hidden, selected) = self.h[self.h.len() - 1].forward_rows(hidden, rows, &around.ctx, cache);
        (self.ln_f.forward(hidden), selected)
    }
}

/// `GPT2Block`
#[derive(Module, Debug)]
struct Block {
    ln_1: LayerNorm,
    attn: SelfAttention,
    after_attn: Residual,
    ln_2: LayerNorm,
    mlp: Mlp,
    after_mlp: Residual,
}

impl Block {
    fn load(loader: &Loader<'_>, config: &Config, parsed: &Gpt2Config, layer: usize) -> Result<Self, Error> {
        let norm = |name: &str| loader.layer_norm(name, parsed.n_embd, parsed.layer_norm_epsilon);
        let residual = |name: &str, sublayer, (module, dropout): (&str, &str)| {
            loader.residual(name, sublayer, parsed.n_embd, loader.at(module).dropout(dropout, parsed.resid_pdrop))
        };
        Ok(Self {
            ln_1: norm("ln_1")?,
            attn: SelfAttention::load(&loader.at("attn"), parsed, layer)?,
            after_attn: residual("attention_adapters", Sublayer::Attention, ("attn", "resid_dropout"))?,
            ln_2: norm("ln_2")?,
            mlp: Mlp::load(&loader.at("mlp"), config, parsed)?,
            after_mlp: residual("output_adapters", Sublayer::FeedForward, ("mlp", "dropout"))?,
        })
    }

    fn forward(&self, x: Tensor<2>, ctx: &ForwardContext, cache: Option<&mut Cache>) -> Tensor<2> {
        let context = self.attn.forward(self.ln_1.forward(x.clone()), ctx, cache);
        self.after_attention(context, x, ctx)
    }

    /// The output in these rows alone.
    fn forward_rows(
        &self,
        x: Tensor<2>,
        rows: &[usize],
        ctx: &ForwardContext,
        cache: Option<&mut Cache>,
    ) -> (Tensor<2>, ForwardContext) {
        let (context, selected) = select(self.attn.forward(self.ln_1.forward(x.clone()), ctx, cache), rows, ctx);
        let (x, _) = select(x, rows, ctx);
        (self.after_attention(context, x, &selected), selected)
    }

    fn after_attention(&self, context: Tensor<2>, x: Tensor<2>, ctx: &ForwardContext) -> Tensor<2> {
        let x = self.after_attn.forward(x, self.attn.c_proj.forward(context, ctx), ctx);
        let output = self.mlp.forward(self.ln_2.forward(x.clone()), ctx);
        self.after_mlp.forward(x, output, ctx)
    }
}

/// `GPT2Attention`
#[derive(Module, Debug)]
struct SelfAttention {
    c_attn: Linear,
    c_proj: Linear,
    attn_dropout: Dropout,
    width: usize,
    heads: usize,
    scale: f32,
    layer: usize,
}

impl SelfAttention {
    fn load(loader: &Loader<'_>, config: &Gpt2Config, layer: usize) -> Result<Self, Error> {
        let width = config.n_embd;
        let mut scale = if config.scale_attn_weights { 1.0 / ((width / config.n_head) as f32).sqrt() } else { 1.0 };
        if config.scale_attn_by_inverse_layer_idx {
            scale /= (layer + 1) as f32;
        }
        Ok(Self {
            c_attn: loader.conv1d("c_attn", width, 3 * width)?,
            c_proj: loader.conv1d("c_proj", width, width)?,
            attn_dropout: loader.dropout("attn_dropout", config.attn_pdrop),
            width,
            heads: config.n_head,
            scale,
            layer,
        })
    }

    fn forward(&self, x: Tensor<2>, ctx: &ForwardContext, cache: Option<&mut Cache>) -> Tensor<2> {
        let joined = self.c_attn.forward(x, ctx);
        let options = Attention {
            heads: self.heads,
            kv_heads: self.heads,
            scale: self.scale,
            soft_cap: None,
            mask: AttentionMask::Causal { window: None },
            dropout: self.attn_dropout.mask(ctx),
        };
        let Some(cache) = cache else { return joined_attention(joined, ctx.layout(), options) };
        let part = |index: usize| joined.clone().narrow(1, index * self.width, self.width);
        let (k, v) = cache.extend(self.layer, part(1), part(2), ctx.layout());
        attention(part(0), k, v, ctx.layout(), options)
    }
}

/// `GPT2MLP`
#[derive(Module, Debug)]
struct Mlp {
    c_fc: Linear,
    c_proj: Linear,
    #[module(skip)]
    activation: Activation,
}

impl Mlp {
    fn load(loader: &Loader<'_>, config: &Config, parsed: &Gpt2Config) -> Result<Self, Error> {
        let (width, inner) = (parsed.n_embd, parsed.inner());
        Ok(Self {
            c_fc: loader.conv1d("c_fc", width, inner)?,
            c_proj: loader.conv1d("c_proj", inner, width)?,
            activation: activation(config, "activation_function", &parsed.activation_function)?,
        })
    }

    fn forward(&self, x: Tensor<2>, ctx: &ForwardContext) -> Tensor<2> {
        let inner = self.activation.forward(self.c_fc.forward(x, ctx));
        self.c_proj.forward(inner, ctx)
    }
}
