//! DeBERTa-v2 and v3 (He et al. 2020, arXiv 2006.03654 and 2111.09543): BERT's layers with disentangled attention to relative
//! positions, which all layers read from one table. Reference: `DebertaV2ForSequenceClassification`,
//! `DebertaV2ForTokenClassification` and `DebertaV2ForMaskedLM` (with the head that `legacy` asks for) in Transformers. The
//! convolution of v2's xlarge and xxlarge is not here.

use burn::module::Module;
use burn::tensor::Tensor;
use kernels::{DisentangledAttention, RelativePositions, disentangled_attention, widen};
use lora::{Embedding, ForwardContext, Linear};
use serde::Deserialize;
use serde_json::Value;

use super::post_norm::{AfterAttention, PostNormConfig};
use super::{
    ActivationShape, AnyBackbone, Architecture, Around, Backbone, Exports, Variant, activation, check_heads, select,
};
use crate::Error;
use crate::cache::Cache;
use crate::config::{Config, ConfigError};
use crate::head::{Head, HeadConfig, HeadLayer, Output, OutputNames, Pooling};
use crate::layers::{Dropout, LayerNorm};
use crate::loader::{Bias, Loader};
use crate::tokens::Tokens;

/// The keys of `config.json` this file needs, with the defaults of Transformers' `DebertaV2Config`.
#[derive(Debug, Clone, Deserialize)]
struct DebertaConfig {
    vocab_size: usize,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    #[serde(default = "gelu")]
    hidden_act: String,
    #[serde(default = "a_tenth")]
    hidden_dropout_prob: f64,
    #[serde(default = "a_tenth")]
    attention_probs_dropout_prob: f64,
    max_position_embeddings: usize,
    #[serde(default)]
    type_vocab_size: usize,
    #[serde(default = "tiny")]
    layer_norm_eps: f64,
    /// `hidden_size` where it is missing.
    embedding_size: Option<usize>,
    #[serde(default = "yes")]
    position_biased_input: bool,
    /// Buckets in each direction; not positive: each distance has a row of its own.
    #[serde(default = "none")]
    position_buckets: i64,
    /// Not positive: `max_position_embeddings`.
    #[serde(default = "none")]
    max_relative_positions: i64,
    #[serde(default)]
    share_att_key: bool,
    #[serde(default)]
    norm_rel_ebd: String,
    #[serde(default)]
    pooler_dropout: f64,
    #[serde(default = "gelu")]
    pooler_hidden_act: String,
    /// `hidden_dropout_prob` where it is missing.
    cls_dropout: Option<f64>,
    #[serde(default = "yes")]
    legacy: bool,
}

fn gelu() -> String {
    "gelu".to_string()
}

fn a_tenth() -> f64 {
    0.1
}

fn tiny() -> f64 {
    1e-7
}

fn yes() -> bool {
    true
}

fn none() -> i64 {
    -1
}

/// The terms of attention to positions, `pos_att_type`.
#[derive(Debug, Clone, Copy)]
struct Terms {
    /// Content to position, `c2p`.
    to_position: bool,
    /// Position to content, `p2c`.
    to_content: bool,
}

impl Terms {
    /// A list, or in older files one text with `|` between the names.
    fn read(config: &Config) -> Result<Self, ConfigError> {
        let names: Vec<&str> = match config.values().get("pos_att_type") {
            Some(Value::String(names)) => names.split('|').map(str::trim).filter(|name| !name.is_empty()).collect(),
            Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        if let Some(other) = names.iter().find(|name| !["c2p", "p2c"].contains(*name)) {
            return Err(config.wrong(
                format!("`pos_att_type` has `{other}`, which this version does not support"),
                "supported: c2p, p2c",
            ));
        }
        Ok(Self { to_position: names.contains(&"c2p"), to_content: names.contains(&"p2c") })
    }
}

pub(crate) static ARCHITECTURE: Architecture = Architecture {
    model_types: &["deberta-v2"],
    prefix: "deberta.",
    backbone: &["embeddings.", "encoder."],
    word_embeddings: "embeddings.word_embeddings",
    ties_by_default: true,
    default_targets: &["query_proj", "value_proj"],
    // Absolute positions stand in checkpoints whose `position_biased_input` is false.
    constants: &["position_ids", "embeddings.position_embeddings.weight"],
    check: |config| check(config).map(|_| ()),
    max_positions: |config| Ok(config.parse::<DebertaConfig>()?.max_position_embeddings),
    activations: |config| {
        let parsed = check(config)?;
        Ok(ActivationShape {
            width: parsed.hidden_size,
            inner: parsed.intermediate_size,
            layers: parsed.num_hidden_layers,
            vocabulary: parsed.vocab_size,
            keys: parsed.hidden_size,
            norms: 2 * parsed.hidden_size,
            gated: false,
            after_norms: &["query_proj", "key_proj", "value_proj", "intermediate.dense"],
        })
    },
    load: |loader, config| Ok(AnyBackbone::DebertaV2(DebertaV2Model::load(loader, config, &check(config)?)?)),
    exports: Exports::NONE,
    variants: &[
        Variant {
            head: Head::SequenceClassification,
            class: "DebertaV2ForSequenceClassification",
            describe: |config| {
                let parsed = check(config)?;
                let pooled = activation(config, "pooler_hidden_act", &parsed.pooler_hidden_act)?;
                // `ContextPooler`, whose width is that of the hidden states.
                let layers = vec![
                    HeadLayer::dropout("pooler.dropout", parsed.pooler_dropout),
                    HeadLayer::dense("pooler.dense", parsed.hidden_size, pooled),
                    HeadLayer::dropout("dropout", parsed.cls_dropout.unwrap_or(parsed.hidden_dropout_prob)),
                ];
                Ok(HeadConfig::new(Pooling::First, layers))
            },
            output: Output::Values { module: "classifier", bias: Bias::Yes },
            modules: &["classifier"],
            pooler: "pooler",
            ignored_keys: &["cls.*", "lm_predictions.*", "mask_predictions.*"],
        },
        Variant {
            head: Head::TokenClassification,
            class: "DebertaV2ForTokenClassification",
            describe: |config| {
                let layers = vec![HeadLayer::dropout("dropout", check(config)?.hidden_dropout_prob)];
                Ok(HeadConfig::new(Pooling::Rows, layers))
            },
            output: Output::Values { module: "classifier", bias: Bias::Yes },
            modules: &["classifier"],
            pooler: "",
            ignored_keys: &["pooler.*", "cls.*", "lm_predictions.*", "mask_predictions.*"],
        },
        Variant {
            head: Head::MaskedLm,
            class: "DebertaV2ForMaskedLM",
            describe: |config| {
                let parsed = check(config)?;
                if !parsed.legacy {
                    return Err(config.wrong(
                        "`legacy` is false: the head `lm_predictions` is not supported".to_string(),
                        "set `legacy` to true to train the head `cls.predictions`, which Transformers takes by default",
                    ));
                }
                let activation = activation(config, "hidden_act", &parsed.hidden_act)?;
                let layers = vec![
                    HeadLayer::dense("cls.predictions.transform.dense", parsed.embedding_width(), activation),
                    HeadLayer::layer_norm("cls.predictions.transform.LayerNorm", parsed.layer_norm_eps),
                ];
                Ok(HeadConfig::new(Pooling::Rows, layers))
            },
            output: Output::Vocabulary(OutputNames {
                module: "cls.predictions.decoder",
                bias_of: Some("cls.predictions"),
            }),
            modules: &["cls.predictions"],
            pooler: "",
            ignored_keys: &["pooler.*", "classifier.*", "lm_predictions.*", "mask_predictions.*"],
        },
    ],
};

impl DebertaConfig {
    fn embedding_width(&self) -> usize {
        self.embedding_size.unwrap_or(self.hidden_size)
    }

    fn positions(&self) -> RelativePositions {
        let positive = |value: i64| usize::try_from(value).ok().filter(|value| *value > 0);
        RelativePositions {
            buckets: positive(self.position_buckets),
            largest: positive(self.max_relative_positions).unwrap_or(self.max_position_embeddings),
        }
    }
}

/// The configuration, if the model it describes can be built.
fn check(config: &Config) -> Result<DebertaConfig, ConfigError> {
    let parsed: DebertaConfig = config.parse()?;
    config.check_ranges(
        &[
            "vocab_size",
            "hidden_size",
            "num_hidden_layers",
            "intermediate_size",
            "max_position_embeddings",
            "embedding_size",
        ],
        &["hidden_dropout_prob", "attention_probs_dropout_prob", "pooler_dropout", "cls_dropout"],
    )?;
    config.check_layers("num_hidden_layers")?;
    check_heads(config, "num_attention_heads", parsed.hidden_size, parsed.num_attention_heads)?;
    activation(config, "hidden_act", &parsed.hidden_act)?;
    Terms::read(config)?;
    if !config.flag("relative_attention") {
        let help = "models with relative attention are supported, as all that were published have it";
        return Err(config.wrong("`relative_attention` is not true".to_string(), help));
    }
    if let Some(size) = config.number("conv_kernel_size").filter(|size| *size > 0.0) {
        let message = format!("`conv_kernel_size` is {size}: the convolution of DeBERTa-v2 is not supported");
        return Err(config.wrong(message, "take a model without one: those of DeBERTa-v3 have none"));
    }
    let sizes = [
        ("pooler_hidden_size", parsed.hidden_size),
        ("attention_head_size", parsed.hidden_size / parsed.num_attention_heads),
    ];
    for (key, expected) in sizes {
        if let Some(size) = config.number(key).filter(|size| *size != expected as f64) {
            let message = format!("`{key}` is {size}, expected {expected}");
            return Err(config.wrong(message, "other widths than those of the layers are not supported"));
        }
    }
    Ok(parsed)
}

/// Embeddings, layers and the table of relative positions that all layers read.
#[derive(Module, Debug)]
pub(crate) struct DebertaV2Model {
    embeddings: Embeddings,
    layer: Vec<Layer>,
    rel_embeddings: Embedding,
    /// Where `norm_rel_ebd` asks for it.
    layer_norm: Option<LayerNorm>,
}

impl DebertaV2Model {
    fn load(loader: &Loader<'_>, config: &Config, parsed: &DebertaConfig) -> Result<Self, Error> {
        let (encoder, hidden, rows) = (loader.at("encoder"), parsed.hidden_size, 2 * parsed.positions().span());
        let (layers, terms) = (encoder.at("layer"), Terms::read(config)?);
        let embeddings = Embeddings::load(&loader.at("embeddings"), parsed)?;
        let rel_embeddings = encoder.embedding("rel_embeddings", rows, hidden)?;
        let is_normed = parsed.norm_rel_ebd.split('|').any(|name| name.trim().eq_ignore_ascii_case("layer_norm"));
        let layer_norm = match is_normed {
            true => Some(encoder.layer_norm("LayerNorm", hidden, parsed.layer_norm_eps)?),
            false => None,
        };
        let layer =
            (0..parsed.num_hidden_layers).map(|i| Layer::load(&layers.at(&i.to_string()), config, parsed, terms));
        Ok(Self { embeddings, layer: layer.collect::<Result<_, _>>()?, rel_embeddings, layer_norm })
    }

    /// The table of relative positions, `[2 * span, hidden]`. Each layer makes it for itself, so that it can be recomputed with
    /// that layer.
    fn positions(&self) -> Tensor<2> {
        let table = widen(self.rel_embeddings.weight().value());
        match &self.layer_norm {
            Some(norm) => norm.forward(table),
            None => table,
        }
    }
}

impl Backbone for DebertaV2Model {
    fn word_embeddings(&self) -> &Embedding {
        &self.embeddings.word_embeddings
    }

    fn layers(&self) -> usize {
        self.layer.len()
    }

    fn trains_embeddings(&self) -> bool {
        self.embeddings.num_params() > 0
    }

    fn trains(&self, layer: usize) -> bool {
        // The table of positions belongs to every layer.
        self.layer[layer].num_params() + self.rel_embeddings.num_params() + self.layer_norm.num_params() > 0
    }

    fn embed(&self, tokens: &Tokens, ctx: &ForwardContext) -> Tensor<2> {
        self.embeddings.forward(tokens, ctx)
    }

    fn layer(&self, layer: usize, hidden: Tensor<2>, around: &Around, _: Option<&mut Cache>) -> Tensor<2> {
        self.layer[layer].forward(hidden, self.positions(), &around.ctx)
    }

    fn last_layer(
        &self,
        hidden: Tensor<2>,
        rows: &[usize],
        around: &Around,
        _: Option<&mut Cache>,
    ) -> (Tensor<2>, ForwardContext) {
        self.layer[self.layer.len() - 1].forward_rows(hidden, self.positions(), rows, &around.ctx)
    }
}

/// `DebertaV2Embeddings`: words, and in some models absolute positions and segments.
#[derive(Module, Debug)]
struct Embeddings {
    word_embeddings: Embedding,
    position_embeddings: Option<Embedding>,
    token_type_embeddings: Option<Embedding>,
    segments: usize,
    embed_proj: Option<Linear>,
    layer_norm: LayerNorm,
    dropout: Dropout,
}

impl Embeddings {
    fn load(loader: &Loader<'_>, config: &DebertaConfig) -> Result<Self, Error> {
        let (width, hidden) = (config.embedding_width(), config.hidden_size);
        let table = |wanted: bool, name: &str, rows: usize| match wanted {
            true => loader.embedding(name, rows, width).map(Some),
            false => Ok(None),
        };
        let (positions, segments) = (config.max_position_embeddings, config.type_vocab_size);
        Ok(Self {
            word_embeddings: loader.embedding("word_embeddings", config.vocab_size, width)?,
            position_embeddings: table(config.position_biased_input, "position_embeddings", positions)?,
            token_type_embeddings: table(segments > 0, "token_type_embeddings", segments)?,
            segments,
            embed_proj: match width == hidden {
                true => None,
                false => Some(loader.linear("embed_proj", width, hidden, Bias::No)?),
            },
            layer_norm: loader.layer_norm("LayerNorm", hidden, config.layer_norm_eps)?,
            dropout: loader.dropout("dropout", config.hidden_dropout_prob),
        })
    }

    fn forward(&self, tokens: &Tokens, ctx: &ForwardContext) -> Tensor<2> {
        let mut sum = self.word_embeddings.forward(tokens.ids.clone(), ctx);
        if let Some(positions) = &self.position_embeddings {
            sum = sum + positions.forward(tokens.positions.clone(), ctx);
        }
        if let Some(embeddings) = &self.token_type_embeddings {
            // As in BERT.
            let segments = if self.segments > 1 { tokens.segments.clone() } else { tokens.segments.zeros_like() };
            sum = sum + embeddings.forward(segments, ctx);
        }
        if let Some(project) = &self.embed_proj {
            sum = project.forward(sum, ctx);
        }
        self.dropout.forward(self.layer_norm.forward(sum), ctx)
    }
}

/// `DebertaV2Layer`
#[derive(Module, Debug)]
struct Layer {
    self_attention: SelfAttention,
    after_attention: AfterAttention,
}

impl Layer {
    fn load(loader: &Loader<'_>, config: &Config, parsed: &DebertaConfig, terms: Terms) -> Result<Self, Error> {
        let after = PostNormConfig {
            hidden: parsed.hidden_size,
            inner: parsed.intermediate_size,
            activation: activation(config, "hidden_act", &parsed.hidden_act)?,
            dropout: parsed.hidden_dropout_prob,
            epsilon: parsed.layer_norm_eps,
        };
        Ok(Self {
            self_attention: SelfAttention::load(&loader.at("attention.self"), parsed, terms)?,
            after_attention: AfterAttention::load(loader, after)?,
        })
    }

    fn forward(&self, hidden: Tensor<2>, positions: Tensor<2>, ctx: &ForwardContext) -> Tensor<2> {
        let context = self.self_attention.forward(hidden.clone(), positions, ctx);
        self.after_attention.forward(context, hidden, ctx)
    }

    /// The output in these rows alone.
    fn forward_rows(
        &self,
        hidden: Tensor<2>,
        positions: Tensor<2>,
        rows: &[usize],
        ctx: &ForwardContext,
    ) -> (Tensor<2>, ForwardContext) {
        let (context, selected) = select(self.self_attention.forward(hidden.clone(), positions, ctx), rows, ctx);
        let (hidden, _) = select(hidden, rows, ctx);
        (self.after_attention.forward(context, hidden, &selected), selected)
    }
}

/// `DisentangledSelfAttention`
#[derive(Module, Debug)]
struct SelfAttention {
    query_proj: Linear,
    key_proj: Linear,
    value_proj: Linear,
    /// Projections of the positions; without `share_att_key` those of the contents serve.
    pos_key_proj: Option<Linear>,
    pos_query_proj: Option<Linear>,
    pos_dropout: Dropout,
    dropout: Dropout,
    heads: usize,
    scale: f32,
    #[module(skip)]
    terms: Terms,
    #[module(skip)]
    positions: RelativePositions,
}

impl SelfAttention {
    fn load(loader: &Loader<'_>, config: &DebertaConfig, terms: Terms) -> Result<Self, Error> {
        let (width, heads) = (config.hidden_size, config.num_attention_heads);
        let linear = |name: &str| loader.linear(name, width, width, Bias::Yes);
        let own = |wanted: bool, name: &str| match wanted && !config.share_att_key {
            true => linear(name).map(Some),
            false => Ok(None),
        };
        let summands = 1 + usize::from(terms.to_position) + usize::from(terms.to_content);
        Ok(Self {
            query_proj: linear("query_proj")?,
            key_proj: linear("key_proj")?,
            value_proj: linear("value_proj")?,
            pos_key_proj: own(terms.to_position, "pos_key_proj")?,
            pos_query_proj: own(terms.to_content, "pos_query_proj")?,
            pos_dropout: loader.dropout("pos_dropout", config.hidden_dropout_prob),
            dropout: loader.dropout("dropout", config.attention_probs_dropout_prob),
            heads,
            scale: 1.0 / ((width / heads * summands) as f32).sqrt(),
            terms,
            positions: config.positions(),
        })
    }

    /// `x: [tokens, hidden]` and the table of positions `[2 * span, hidden]` to `[tokens, hidden]`
    fn forward(&self, x: Tensor<2>, positions: Tensor<2>, ctx: &ForwardContext) -> Tensor<2> {
        if ctx.routes().is_empty() {
            let tables = self.tables(positions, ctx);
            return self.attend(self.project(x, ctx), tables, ctx);
        }
        // What an adapter makes of the positions is its own.
        let projected = self.project(x, ctx);
        let parts = ctx.by_adapter().into_iter().map(|(rows, ctx)| {
            let part = projected.each_ref().map(|all| all.clone().narrow(0, rows.start, rows.len()));
            self.attend(part, self.tables(positions.clone(), &ctx), &ctx)
        });
        Tensor::cat(parts.collect(), 0)
    }

    /// Keys and queries of the positions, for sequences that go through one adapter.
    fn tables(&self, positions: Tensor<2>, ctx: &ForwardContext) -> [Tensor<2>; 2] {
        let of_table = ctx.of_table(positions.dims()[0]);
        let positions = self.pos_dropout.forward(positions, &of_table);
        // Without a term its table is zeros.
        let table = |term: bool, projection: &Linear| match term {
            true => projection.forward(positions.clone(), &of_table),
            false => positions.zeros_like(),
        };
        let pos_key = table(self.terms.to_position, self.pos_key_proj.as_ref().unwrap_or(&self.key_proj));
        let pos_query = table(self.terms.to_content, self.pos_query_proj.as_ref().unwrap_or(&self.query_proj));
        [pos_key, pos_query]
    }

    /// Queries, keys and values.
    fn project(&self, x: Tensor<2>, ctx: &ForwardContext) -> [Tensor<2>; 3] {
        let query = self.query_proj.forward(x.clone(), ctx);
        let key = self.key_proj.forward(x.clone(), ctx);
        [query, key, self.value_proj.forward(x, ctx)]
    }

    fn attend(
        &self,
        [query, key, value]: [Tensor<2>; 3],
        [pos_key, pos_query]: [Tensor<2>; 2],
        ctx: &ForwardContext,
    ) -> Tensor<2> {
        let options = DisentangledAttention {
            heads: self.heads,
            scale: self.scale,
            positions: self.positions,
            dropout: self.dropout.mask(ctx),
        };
        disentangled_attention(query, key, value, pos_key, pos_query, ctx.layout(), options)
    }
}
