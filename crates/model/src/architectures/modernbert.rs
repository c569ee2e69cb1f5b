//! ModernBERT (Warner et al. 2024, arXiv 2412.13663), and models saved as such: Ettin's encoders, mmBERT. Rotary positions, norms
//! before each part, gated feed-forward networks, and windows in most layers. Reference: `ModernBertForSequenceClassification`,
//! `ModernBertForTokenClassification` and `ModernBertForMaskedLM` in Transformers.

use burn::module::Module;
use burn::tensor::Tensor;
use kernels::{Activation, Attention, AttentionMask, Gate, attention, joined_gated_activation, residual, rotary};
use lora::{Embedding, ForwardContext, Linear};
use serde::Deserialize;

use super::{
    ActivationShape, AnyBackbone, Architecture, Around, Backbone, Exports, Variant, activation, attention_options,
    check_heads, select, sliding_layers,
};
use crate::Error;
use crate::cache::Cache;
use crate::config::{Config, ConfigError};
use crate::head::{Head, HeadConfig, HeadLayer, Output, OutputNames, Pooling};
use crate::layers::{Dropout, LayerNorm, Rope};
use crate::loader::{Bias, Loader};
use crate::tokens::Tokens;

/// The keys of `config.json` this file needs, with the defaults of Transformers' `ModernBertConfig`.
#[derive(Debug, Clone, Deserialize)]
struct Keys {
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    max_position_embeddings: usize,
    #[serde(default = "gelu")]
    hidden_activation: String,
    #[serde(default = "gelu")]
    classifier_activation: String,
    #[serde(default = "small")]
    norm_eps: f64,
    /// Tokens that a layer with a window sees, half of them on either side.
    #[serde(default = "local_attention")]
    local_attention: usize,
    /// Without `layer_types` the first of as many layers has no window.
    #[serde(default = "three")]
    global_attn_every_n_layers: usize,
    layer_types: Option<Vec<String>>,
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    mlp_bias: bool,
    #[serde(default)]
    norm_bias: bool,
    #[serde(default)]
    classifier_bias: bool,
    #[serde(default = "yes")]
    decoder_bias: bool,
    classifier_pooling: Option<String>,
    #[serde(default)]
    embedding_dropout: f64,
    #[serde(default)]
    attention_dropout: f64,
    #[serde(default)]
    mlp_dropout: f64,
    #[serde(default)]
    classifier_dropout: f64,
}

fn gelu() -> String {
    "gelu".to_string()
}

fn small() -> f64 {
    1e-5
}

fn local_attention() -> usize {
    128
}

fn three() -> usize {
    3
}

fn yes() -> bool {
    true
}

pub(crate) static ARCHITECTURE: Architecture = Architecture {
    model_types: &["modernbert"],
    prefix: "model.",
    backbone: &["embeddings.", "layers.", "final_norm."],
    word_embeddings: "embeddings.tok_embeddings",
    ties_by_default: true,
    // PEFT has none: queries, keys and values, as one layer has them.
    default_targets: &["Wqkv"],
    constants: &["rotary_emb.inv_freq"],
    check: |config| ModernBertConfig::read(config).map(|_| ()),
    max_positions: |config| Ok(config.parse::<Keys>()?.max_position_embeddings),
    activations: |config| Ok(ModernBertConfig::read(config)?.activations()),
    load: |loader, config| {
        Ok(AnyBackbone::ModernBert(ModernBertModel::load(loader, &ModernBertConfig::read(config)?)?))
    },
    exports: Exports::NONE,
    variants: &[
        Variant {
            head: Head::SequenceClassification,
            class: "ModernBertForSequenceClassification",
            describe: |config| {
                let described = ModernBertConfig::read(config)?;
                Ok(HeadConfig::new(described.pooling, described.classifier()))
            },
            output: Output::Values { module: "classifier", bias: Bias::Yes },
            modules: &["classifier"],
            pooler: "head",
            ignored_keys: &["decoder.*"],
        },
        Variant {
            head: Head::TokenClassification,
            class: "ModernBertForTokenClassification",
            describe: |config| {
                let described = ModernBertConfig::read(config)?;
                Ok(HeadConfig::new(Pooling::Rows, described.classifier()))
            },
            output: Output::Values { module: "classifier", bias: Bias::Yes },
            modules: &["classifier"],
            pooler: "head",
            ignored_keys: &["decoder.*"],
        },
        Variant {
            head: Head::MaskedLm,
            class: "ModernBertForMaskedLM",
            describe: |config| {
                let described = ModernBertConfig::read(config)?;
                if !described.keys.decoder_bias {
                    let help = "the output layer of the models that are published has a bias, and so it has here";
                    return Err(config.wrong("`decoder_bias` is false".to_string(), help));
                }
                Ok(HeadConfig::new(Pooling::Rows, described.prediction_head()))
            },
            output: Output::Vocabulary(OutputNames { module: "decoder", bias_of: Some("decoder") }),
            modules: &["head", "decoder"],
            pooler: "",
            ignored_keys: &["classifier.*"],
        },
    ],
};

/// `config.json`, read and checked.
#[derive(Debug, Clone)]
struct ModernBertConfig {
    keys: Keys,
    activation: Activation,
    classifier_activation: Activation,
    pooling: Pooling,
    /// Of each layer: whether it has a window.
    slides: Vec<bool>,
    /// Of layers that see everything, and of those with a window.
    ropes: [Rope; 2],
}

impl ModernBertConfig {
    /// The configuration, if the model it describes can be built.
    fn read(config: &Config) -> Result<Self, ConfigError> {
        let keys: Keys = config.parse()?;
        config.check_ranges(
            &[
                "vocab_size",
                "hidden_size",
                "intermediate_size",
                "num_hidden_layers",
                "max_position_embeddings",
                "local_attention",
                "global_attn_every_n_layers",
            ],
            &["embedding_dropout", "attention_dropout", "mlp_dropout", "classifier_dropout"],
        )?;
        config.check_layers("num_hidden_layers")?;
        check_heads(config, "num_attention_heads", keys.hidden_size, keys.num_attention_heads)?;
        let pooling = match keys.classifier_pooling.as_deref() {
            None | Some("cls") => Pooling::First,
            Some("mean") => Pooling::Mean,
            Some(other) => {
                let message = format!("`classifier_pooling` is `{other}`, which this version does not support");
                return Err(config.wrong(message, "supported: cls, mean"));
            }
        };
        let slides = match &keys.layer_types {
            Some(types) => sliding_layers(config, types, keys.num_hidden_layers)?,
            None => (0..keys.num_hidden_layers).map(|layer| layer % keys.global_attn_every_n_layers != 0).collect(),
        };
        let d_head = keys.hidden_size / keys.num_attention_heads;
        let ropes = [
            Rope::read_kind(config, d_head, "full_attention", ("global_rope_theta", 160_000.0))?,
            Rope::read_kind(config, d_head, "sliding_attention", ("local_rope_theta", 10_000.0))?,
        ];
        Ok(Self {
            activation: activation(config, "hidden_activation", &keys.hidden_activation)?,
            classifier_activation: activation(config, "classifier_activation", &keys.classifier_activation)?,
            pooling,
            slides,
            ropes,
            keys,
        })
    }

    /// `ModernBertPredictionHead`
    fn prediction_head(&self) -> Vec<HeadLayer> {
        let (bias, of_norm) = (bias(self.keys.classifier_bias), bias(self.keys.norm_bias));
        vec![
            HeadLayer::dense("head.dense", self.keys.hidden_size, self.classifier_activation).with_bias(bias),
            HeadLayer::layer_norm("head.norm", self.keys.norm_eps).with_bias(of_norm),
        ]
    }

    fn classifier(&self) -> Vec<HeadLayer> {
        let mut layers = self.prediction_head();
        layers.push(HeadLayer::dropout("drop", self.keys.classifier_dropout));
        layers
    }

    fn activations(&self) -> ActivationShape {
        ActivationShape {
            width: self.keys.hidden_size,
            inner: self.keys.intermediate_size,
            layers: self.keys.num_hidden_layers,
            vocabulary: self.keys.vocab_size,
            keys: self.keys.hidden_size,
            norms: 2 * self.keys.hidden_size,
            gated: true,
            after_norms: &["Wqkv", "Wi"],
        }
    }

    fn norm(&self, loader: &Loader<'_>, name: &str) -> Result<LayerNorm, Error> {
        loader.layer_norm_of(name, self.keys.hidden_size, self.keys.norm_eps, bias(self.keys.norm_bias))
    }
}

fn bias(there: bool) -> Bias {
    if there { Bias::Yes } else { Bias::No }
}

/// `ModernBertModel`
#[derive(Module, Debug)]
pub(crate) struct ModernBertModel {
    tok_embeddings: Embedding,
    norm: LayerNorm,
    drop: Dropout,
    layers: Vec<Layer>,
    final_norm: LayerNorm,
    #[module(skip)]
    ropes: [Rope; 2],
}

impl ModernBertModel {
    fn load(loader: &Loader<'_>, config: &ModernBertConfig) -> Result<Self, Error> {
        let (embeddings, layers, keys) = (loader.at("embeddings"), loader.at("layers"), &config.keys);
        Ok(Self {
            tok_embeddings: embeddings.embedding("tok_embeddings", keys.vocab_size, keys.hidden_size)?,
            norm: config.norm(&embeddings, "norm")?,
            drop: embeddings.dropout("drop", keys.embedding_dropout),
            layers: (0..keys.num_hidden_layers)
                .map(|layer| Layer::load(&layers.at(&layer.to_string()), config, layer))
                .collect::<Result<_, _>>()?,
            final_norm: config.norm(loader, "final_norm")?,
            ropes: config.ropes.clone(),
        })
    }
}

impl Backbone for ModernBertModel {
    fn word_embeddings(&self) -> &Embedding {
        &self.tok_embeddings
    }

    fn layers(&self) -> usize {
        self.layers.len()
    }

    fn trains_embeddings(&self) -> bool {
        self.tok_embeddings.num_params() + self.norm.num_params() > 0
    }

    fn trains(&self, layer: usize) -> bool {
        self.layers[layer].num_params() > 0
    }

    fn ropes(&self) -> &[Rope] {
        &self.ropes
    }

    fn embed(&self, tokens: &Tokens, ctx: &ForwardContext) -> Tensor<2> {
        self.drop.forward(self.norm.forward(self.tok_embeddings.forward(tokens.ids.clone(), ctx)), ctx)
    }

    fn layer(&self, layer: usize, hidden: Tensor<2>, around: &Around, _: Option<&mut Cache>) -> Tensor<2> {
        let layer = &self.layers[layer];
        let context = layer.attend(hidden.clone(), around);
        layer.after_heads(context, hidden, &around.ctx)
    }

    fn last_layer(
        &self,
        hidden: Tensor<2>,
        rows: &[usize],
        around: &Around,
        _: Option<&mut Cache>,
    ) -> (Tensor<2>, ForwardContext) {
        let layer = &self.layers[self.layers.len() - 1];
        let (context, ctx) = select(layer.attend(hidden.clone(), around), rows, &around.ctx);
        let (hidden, _) = select(hidden, rows, &around.ctx);
        (self.final_norm.forward(layer.after_heads(context, hidden, &ctx)), ctx)
    }
}

/// `ModernBertEncoderLayer`
#[derive(Module, Debug)]
struct Layer {
    /// The first layer reads what the norm of the embeddings has made.
    attn_norm: Option<LayerNorm>,
    attn: SelfAttention,
    mlp_norm: LayerNorm,
    mlp: Mlp,
}

impl Layer {
    fn load(loader: &Loader<'_>, config: &ModernBertConfig, layer: usize) -> Result<Self, Error> {
        let attn_norm = if layer == 0 { None } else { Some(config.norm(loader, "attn_norm")?) };
        Ok(Self {
            attn_norm,
            attn: SelfAttention::load(&loader.at("attn"), config, layer)?,
            mlp_norm: config.norm(loader, "mlp_norm")?,
            mlp: Mlp::load(&loader.at("mlp"), config)?,
        })
    }

    /// What the heads of attention give.
    fn attend(&self, x: Tensor<2>, around: &Around) -> Tensor<2> {
        let x = match &self.attn_norm {
            Some(norm) => norm.forward(x),
            None => x,
        };
        self.attn.forward(x, around)
    }

    /// All that follows the heads of attention, whose output is `context`.
    fn after_heads(&self, context: Tensor<2>, x: Tensor<2>, ctx: &ForwardContext) -> Tensor<2> {
        let x = self.attn.out_drop.residual(x, self.attn.output.forward(context, ctx), ctx);
        let inner = self.mlp.forward(self.mlp_norm.forward(x.clone()), ctx);
        residual(x, inner, None)
    }
}

/// `ModernBertAttention`
#[derive(Module, Debug)]
struct SelfAttention {
    /// `Wqkv`: queries, keys and values side by side.
    query_key_value: Linear,
    /// `Wo`
    output: Linear,
    dropout: Dropout,
    out_drop: Dropout,
    width: usize,
    heads: usize,
    rope: usize,
    #[module(skip)]
    mask: AttentionMask,
}

impl SelfAttention {
    fn load(loader: &Loader<'_>, config: &ModernBertConfig, layer: usize) -> Result<Self, Error> {
        let (keys, slides) = (&config.keys, config.slides[layer]);
        let (width, bias) = (keys.hidden_size, bias(keys.attention_bias));
        Ok(Self {
            query_key_value: loader.linear("Wqkv", width, 3 * width, bias)?,
            output: loader.linear("Wo", width, width, bias)?,
            dropout: loader.dropout("attention_dropout", keys.attention_dropout),
            out_drop: loader.dropout("out_drop", keys.attention_dropout),
            width,
            heads: keys.num_attention_heads,
            rope: usize::from(slides),
            mask: AttentionMask::Bidirectional { window: slides.then_some(keys.local_attention / 2) },
        })
    }

    fn forward(&self, x: Tensor<2>, around: &Around) -> Tensor<2> {
        let ctx = &around.ctx;
        let joined = self.query_key_value.forward(x, ctx);
        let part = |index: usize| joined.clone().narrow(1, index * self.width, self.width);
        let turned = |x: Tensor<2>| match around.angles(Some(self.rope)) {
            Some(angles) => rotary(x, angles.cosines.clone(), angles.sines.clone(), self.heads),
            None => x,
        };
        let options =
            Attention { mask: self.mask, ..attention_options(self.width, self.heads, self.dropout.mask(ctx)) };
        attention(turned(part(0)), turned(part(1)), part(2), ctx.layout(), options)
    }
}

/// `ModernBertMLP`
#[derive(Module, Debug)]
struct Mlp {
    /// `Wi`: what goes through the activation function, and what multiplies it.
    input_gate: Linear,
    /// `Wo`
    output: Linear,
    drop: Dropout,
    #[module(skip)]
    activation: Activation,
}

impl Mlp {
    fn load(loader: &Loader<'_>, config: &ModernBertConfig) -> Result<Self, Error> {
        let (keys, bias) = (&config.keys, bias(config.keys.mlp_bias));
        Ok(Self {
            input_gate: loader.linear("Wi", keys.hidden_size, 2 * keys.intermediate_size, bias)?,
            output: loader.linear("Wo", keys.intermediate_size, keys.hidden_size, bias)?,
            drop: loader.dropout("drop", keys.mlp_dropout),
            activation: config.activation,
        })
    }

    fn forward(&self, x: Tensor<2>, ctx: &ForwardContext) -> Tensor<2> {
        let inner = joined_gated_activation(self.input_gate.forward(x, ctx), Gate::First, self.activation);
        self.output.forward(self.drop.forward(inner, ctx), ctx)
    }
}
