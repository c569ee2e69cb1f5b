//! BERT (Devlin et al. 2018, arXiv 1810.04805). Reference: `BertForSequenceClassification`, `BertForTokenClassification` and
//! `BertForMaskedLM` in Transformers. The backbone serves RoBERTa as well, whose positions begin later, and ELECTRA, whose embeddings
//! may be narrower than its layers.

use burn::module::Module;
use burn::tensor::Tensor;
use gguf::Value;
use kernels::{Activation, attention};
use lora::{Embedding, ForwardContext, Linear};
use serde::Deserialize;

use super::post_norm::{AfterAttention, PostNormConfig};
use super::{
    ActivationShape, AnyBackbone, Architecture, Around, Backbone, ENCODER, Exports, GgufModel, Variant, activation,
    attention_options, check_heads, exports, select,
};
use crate::Error;
use crate::cache::Cache;
use crate::config::{Config, ConfigError};
use crate::head::{Head, HeadConfig, HeadLayer, Output, OutputNames, Pooling};
use crate::layers::{Dropout, LayerNorm};
use crate::loader::{Bias, Loader};
use crate::tokens::Tokens;

/// The keys of `config.json` this file needs, with the defaults of Transformers' `BertConfig`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct BertConfig {
    vocab_size: usize,
    pub(super) hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    #[serde(default = "gelu")]
    hidden_act: String,
    #[serde(default = "a_tenth")]
    hidden_dropout_prob: f64,
    #[serde(default = "a_tenth")]
    attention_probs_dropout_prob: f64,
    pub(super) max_position_embeddings: usize,
    #[serde(default = "two")]
    type_vocab_size: usize,
    #[serde(default = "tiny")]
    pub(super) layer_norm_eps: f64,
    classifier_dropout: Option<f64>,
    #[serde(default)]
    pub(super) pad_token_id: Option<usize>,
    /// Of ELECTRA alone: the width of its embeddings, which `embeddings_project` takes to that of the layers.
    #[serde(skip)]
    pub(super) embedding_size: Option<usize>,
}

fn gelu() -> String {
    "gelu".to_string()
}

fn a_tenth() -> f64 {
    0.1
}

fn two() -> usize {
    2
}

fn tiny() -> f64 {
    1e-12
}

pub(crate) static ARCHITECTURE: Architecture = Architecture {
    model_types: &["bert"],
    prefix: "bert.",
    backbone: ENCODER,
    word_embeddings: "embeddings.word_embeddings",
    ties_by_default: true,
    default_targets: &["query", "value"],
    constants: &["position_ids", "token_type_ids"],
    check: |config| check(config).map(|_| ()),
    max_positions: |config| Ok(config.parse::<BertConfig>()?.max_position_embeddings),
    activations: |config| Ok(check(config)?.activations()),
    load: |loader, config| Ok(AnyBackbone::Bert(BertModel::load(loader, config, &check(config)?, 0)?)),
    exports: Exports { encoder: Some(gguf_encoder), ..Exports::gguf(gguf) },
    variants: &[
        Variant {
            head: Head::SequenceClassification,
            class: "BertForSequenceClassification",
            describe: |config| {
                let parsed = check(config)?;
                let layers = vec![
                    HeadLayer::dense("bert.pooler.dense", parsed.hidden_size, Activation::Tanh),
                    HeadLayer::dropout("dropout", parsed.head_dropout()),
                ];
                Ok(HeadConfig::new(Pooling::First, layers))
            },
            output: Output::Values { module: "classifier", bias: Bias::Yes },
            modules: &["classifier"],
            pooler: "bert.pooler",
            ignored_keys: &["cls.*"],
        },
        Variant {
            head: Head::TokenClassification,
            class: "BertForTokenClassification",
            describe: |config| {
                let layers = vec![HeadLayer::dropout("dropout", check(config)?.head_dropout())];
                Ok(HeadConfig::new(Pooling::Rows, layers))
            },
            output: Output::Values { module: "classifier", bias: Bias::Yes },
            modules: &["classifier"],
            pooler: "",
            ignored_keys: &["bert.pooler.*", "cls.*"],
        },
        Variant {
            head: Head::MaskedLm,
            class: "BertForMaskedLM",
            describe: |config| {
                let parsed = check(config)?;
                let activation = activation(config, "hidden_act", &parsed.hidden_act)?;
                let layers = vec![
                    HeadLayer::dense("cls.predictions.transform.dense", parsed.hidden_size, activation),
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
            ignored_keys: &["bert.pooler.*", "cls.seq_relationship.*", "classifier.*"],
        },
    ],
};

/// As llama.cpp has it: an encoder for embeddings, or with the head of a sequence classifier one that ranks (`--pooling rank`).
fn gguf(config: &Config, head: Head) -> Result<GgufModel, ConfigError> {
    let mut model = gguf_encoder(config)?;
    match head {
        // The official converter leaves the pooler out; llama.cpp computes it where it is there.
        Head::SequenceClassification => {
            model.modules.extend(exports::modules(&[("bert.pooler.dense", "cls"), ("classifier", "cls.output")]));
            model.settings.push(("pooling_type", Value::U32(RANK)));
            model.left_out = &[];
        }
        Head::MaskedLm => {
            model.left_out = &["cls.", "bert.pooler."];
            let note = "llama.cpp has no place for a masked-language-model head: the file is the encoder below it";
            model.notes.push(note.into());
        }
        // Its head is no name that the table has.
        Head::TokenClassification | Head::CausalLm => {}
    }
    Ok(model)
}

/// Embeddings and layers. The pooler of `BertModel` is of no embedding of a text: sentence-transformers leaves it out, too.
fn gguf_encoder(config: &Config) -> Result<GgufModel, ConfigError> {
    let parsed = check(config)?;
    if parsed.hidden_act != "gelu" {
        let message = format!("`hidden_act` is `{}`", parsed.hidden_act);
        return Err(config.wrong(message, "llama.cpp computes `gelu`: this model has no form in GGUF"));
    }
    let number = |value: usize| Value::U32(value as u32);
    let settings = vec![
        ("block_count", number(parsed.num_hidden_layers)),
        ("context_length", number(parsed.max_position_embeddings)),
        ("embedding_length", number(parsed.hidden_size)),
        ("feed_forward_length", number(parsed.intermediate_size)),
        ("attention.head_count", number(parsed.num_attention_heads)),
        ("attention.layer_norm_epsilon", Value::F32(parsed.layer_norm_eps as f32)),
        ("attention.causal", Value::Bool(false)),
    ];
    let modules = exports::modules(&[
        ("bert.embeddings.word_embeddings", "token_embd"),
        ("bert.embeddings.position_embeddings", "position_embd"),
        ("bert.embeddings.token_type_embeddings", "token_types"),
        ("bert.embeddings.LayerNorm", "token_embd_norm"),
        ("bert.encoder.layer.*.attention.self.query", "blk.*.attn_q"),
        ("bert.encoder.layer.*.attention.self.key", "blk.*.attn_k"),
        ("bert.encoder.layer.*.attention.self.value", "blk.*.attn_v"),
        ("bert.encoder.layer.*.attention.output.dense", "blk.*.attn_output"),
        ("bert.encoder.layer.*.attention.output.LayerNorm", "blk.*.attn_output_norm"),
        ("bert.encoder.layer.*.intermediate.dense", "blk.*.ffn_up"),
        ("bert.encoder.layer.*.output.dense", "blk.*.ffn_down"),
        ("bert.encoder.layer.*.output.LayerNorm", "blk.*.layer_output_norm"),
    ]);
    Ok(GgufModel {
        architecture: "bert",
        settings,
        metadata: vec![("tokenizer.ggml.token_type_count", number(parsed.type_vocab_size))],
        modules,
        left_out: &["bert.pooler."],
        added: Vec::new(),
        notes: Vec::new(),
    })
}

/// `LLAMA_POOLING_TYPE_RANK`
const RANK: u32 = 4;

impl BertConfig {
    /// Dropout before the output layer of a classifier.
    pub(super) fn head_dropout(&self) -> f64 {
        self.classifier_dropout.unwrap_or(self.hidden_dropout_prob)
    }

    pub(super) fn embedding_width(&self) -> usize {
        self.embedding_size.unwrap_or(self.hidden_size)
    }

    pub(super) fn activations(&self) -> ActivationShape {
        ActivationShape {
            width: self.hidden_size,
            inner: self.intermediate_size,
            layers: self.num_hidden_layers,
            vocabulary: self.vocab_size,
            keys: self.hidden_size,
            gated: false,
            norms: 2 * self.hidden_size,
            after_norms: &["query", "key", "value", "intermediate.dense"],
        }
    }
}

/// The configuration, if the model it describes can be built.
pub(super) fn check(config: &Config) -> Result<BertConfig, ConfigError> {
    let parsed: BertConfig = config.parse()?;
    config.check_encoder()?;
    config.check_ranges(
        &[
            "vocab_size",
            "hidden_size",
            "num_hidden_layers",
            "intermediate_size",
            "max_position_embeddings",
            "type_vocab_size",
        ],
        &["hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout"],
    )?;
    config.check_layers("num_hidden_layers")?;
    check_heads(config, "num_attention_heads", parsed.hidden_size, parsed.num_attention_heads)?;
    activation(config, "hidden_act", &parsed.hidden_act)?;
    Ok(parsed)
}

/// Embeddings and layers, `BertModel` without its pooler.
#[derive(Module, Debug)]
pub(crate) struct BertModel {
    embeddings: Embeddings,
    /// Where the embeddings are not as wide as the layers.
    embeddings_project: Option<Linear>,
    layer: Vec<Layer>,
}

impl BertModel {
    /// `first_position` is the index of a sequence's first position embedding.
    pub(super) fn load(
        loader: &Loader<'_>,
        config: &Config,
        parsed: &BertConfig,
        first_position: usize,
    ) -> Result<Self, Error> {
        let layers = loader.at("encoder.layer");
        let (width, hidden) = (parsed.embedding_width(), parsed.hidden_size);
        let embeddings = Embeddings::load(&loader.at("embeddings"), parsed, first_position)?;
        let embeddings_project = match width == hidden {
            true => None,
            false => Some(loader.linear("embeddings_project", width, hidden, Bias::Yes)?),
        };
        let layer = (0..parsed.num_hidden_layers).map(|i| Layer::load(&layers.at(&i.to_string()), config, parsed));
        Ok(Self { embeddings, embeddings_project, layer: layer.collect::<Result<_, _>>()? })
    }
}

impl Backbone for BertModel {
    fn word_embeddings(&self) -> &Embedding {
        &self.embeddings.word_embeddings
    }

    fn layers(&self) -> usize {
        self.layer.len()
    }

    fn trains_embeddings(&self) -> bool {
        self.embeddings.num_params() + self.embeddings_project.num_params() > 0
    }

    fn trains(&self, layer: usize) -> bool {
        self.layer[layer].num_params() > 0
    }

    fn embed(&self, tokens: &Tokens, ctx: &ForwardContext) -> Tensor<2> {
        let embedded = self.embeddings.forward(tokens, ctx);
        match &self.embeddings_project {
            Some(project) => project.forward(embedded, ctx),
            None => embedded,
        }
    }

    fn layer(&self, layer: usize, hidden: Tensor<2>, around: &Around, _: Option<&mut Cache>) -> Tensor<2> {
        self.layer[layer].forward(hidden, &around.ctx)
    }

    fn last_layer(
        &self,
        hidden: Tensor<2>,
        rows: &[usize],
        around: &Around,
        _: Option<&mut Cache>,
    ) -> (Tensor<2>, ForwardContext) {
        self.layer[self.layer.len() - 1].forward_rows(hidden, rows, &around.ctx)
    }
}

/// `BertEmbeddings`
#[derive(Module, Debug)]
struct Embeddings {
    word_embeddings: Embedding,
    position_embeddings: Embedding,
    token_type_embeddings: Embedding,
    layer_norm: LayerNorm,
    dropout: Dropout,
    first_position: usize,
    segments: usize,
}

impl Embeddings {
    fn load(loader: &Loader<'_>, config: &BertConfig, first_position: usize) -> Result<Self, Error> {
        let width = config.embedding_width();
        Ok(Self {
            word_embeddings: loader.embedding("word_embeddings", config.vocab_size, width)?,
            position_embeddings: loader.embedding("position_embeddings", config.max_position_embeddings, width)?,
            token_type_embeddings: loader.embedding("token_type_embeddings", config.type_vocab_size, width)?,
            layer_norm: loader.layer_norm("LayerNorm", width, config.layer_norm_eps)?,
            dropout: loader.dropout("dropout", config.hidden_dropout_prob),
            first_position,
            segments: config.type_vocab_size,
        })
    }

    fn forward(&self, tokens: &Tokens, ctx: &ForwardContext) -> Tensor<2> {
        let positions = tokens.positions.clone() + self.first_position as i32;
        // A model with one segment does not look at them, whatever the tokenizer says of pairs.
        let segments = if self.segments > 1 { tokens.segments.clone() } else { tokens.segments.zeros_like() };
        let sum = self.word_embeddings.forward(tokens.ids.clone(), ctx)
            + self.token_type_embeddings.forward(segments, ctx)
            + self.position_embeddings.forward(positions, ctx);
        self.dropout.forward(self.layer_norm.forward(sum), ctx)
    }
}

/// `BertLayer`
#[derive(Module, Debug)]
struct Layer {
    self_attention: SelfAttention,
    after_attention: AfterAttention,
}

impl Layer {
    fn load(loader: &Loader<'_>, config: &Config, parsed: &BertConfig) -> Result<Self, Error> {
        let after = PostNormConfig {
            hidden: parsed.hidden_size,
            inner: parsed.intermediate_size,
            activation: activation(config, "hidden_act", &parsed.hidden_act)?,
            dropout: parsed.hidden_dropout_prob,
            epsilon: parsed.layer_norm_eps,
        };
        Ok(Self {
            self_attention: SelfAttention::load(&loader.at("attention.self"), parsed)?,
            after_attention: AfterAttention::load(loader, after)?,
        })
    }

    fn forward(&self, hidden: Tensor<2>, ctx: &ForwardContext) -> Tensor<2> {
        let context = self.self_attention.forward(hidden.clone(), ctx);
        self.after_attention.forward(context, hidden, ctx)
    }

    /// The output in these rows alone.
    fn forward_rows(&self, hidden: Tensor<2>, rows: &[usize], ctx: &ForwardContext) -> (Tensor<2>, ForwardContext) {
        let (context, selected) = select(self.self_attention.forward(hidden.clone(), ctx), rows, ctx);
        let (hidden, _) = select(hidden, rows, ctx);
        (self.after_attention.forward(context, hidden, &selected), selected)
    }
}

/// `BertSelfAttention`
#[derive(Module, Debug)]
struct SelfAttention {
    query: Linear,
    key: Linear,
    value: Linear,
    dropout: Dropout,
    width: usize,
    heads: usize,
}

impl SelfAttention {
    fn load(loader: &Loader<'_>, config: &BertConfig) -> Result<Self, Error> {
        let width = config.hidden_size;
        Ok(Self {
            query: loader.linear("query", width, width, Bias::Yes)?,
            key: loader.linear("key", width, width, Bias::Yes)?,
            value: loader.linear("value", width, width, Bias::Yes)?,
            dropout: loader.dropout("dropout", config.attention_probs_dropout_prob),
            width,
            heads: config.num_attention_heads,
        })
    }

    fn forward(&self, x: Tensor<2>, ctx: &ForwardContext) -> Tensor<2> {
        let query = self.query.forward(x.clone(), ctx);
        let key = self.key.forward(x.clone(), ctx);
        let value = self.value.forward(x, ctx);
        let options = attention_options(self.width, self.heads, self.dropout.mask(ctx));
        attention(query, key, value, ctx.layout(), options)
    }
}
