//! DistilBERT (Sanh et al. 2019, arXiv 1910.01108). Reference: `DistilBertForSequenceClassification`,
//! `DistilBertForTokenClassification` and `DistilBertForMaskedLM` in Transformers.

use burn::module::Module;
use burn::tensor::Tensor;
use kernels::{Activation, attention};
use lora::{Embedding, ForwardContext, Linear, Sublayer};
use serde::Deserialize;

use super::{
    ActivationShape, AnyBackbone, Architecture, Around, Backbone, ENCODER, Exports, Variant, activation,
    attention_options, check_heads, select,
};
use crate::Error;
use crate::cache::Cache;
use crate::config::{Config, ConfigError};
use crate::head::{Head, HeadConfig, HeadLayer, Output, OutputNames, Pooling};
use crate::layers::{Dropout, LayerNorm, Residual};
use crate::loader::{Bias, Loader};
use crate::tokens::Tokens;

/// `nn.LayerNorm(eps=1e-12)` throughout the reference.
const LAYER_NORM_EPSILON: f64 = 1e-12;

/// The keys of `config.json` this file needs, with the defaults of Transformers' `DistilBertConfig`.
#[derive(Debug, Clone, Deserialize)]
struct DistilBertConfig {
    vocab_size: usize,
    dim: usize,
    n_layers: usize,
    n_heads: usize,
    hidden_dim: usize,
    max_position_embeddings: usize,
    #[serde(default = "gelu")]
    activation: String,
    #[serde(default = "a_tenth")]
    dropout: f64,
    #[serde(default = "a_tenth")]
    attention_dropout: f64,
    #[serde(default = "a_fifth")]
    seq_classif_dropout: f64,
}

fn gelu() -> String {
    "gelu".to_string()
}

fn a_tenth() -> f64 {
    0.1
}

fn a_fifth() -> f64 {
    0.2
}

pub(crate) static ARCHITECTURE: Architecture = Architecture {
    model_types: &["distilbert"],
    prefix: "distilbert.",
    backbone: ENCODER,
    word_embeddings: "embeddings.word_embeddings",
    ties_by_default: true,
    // PEFT has no entry for it; in the spirit of BERT's.
    default_targets: &["q_lin", "v_lin"],
    constants: &["position_ids"],
    check: |config| check(config).map(|_| ()),
    max_positions: |config| Ok(config.parse::<DistilBertConfig>()?.max_position_embeddings),
    activations: |config| {
        let parsed = check(config)?;
        Ok(ActivationShape {
            width: parsed.dim,
            inner: parsed.hidden_dim,
            layers: parsed.n_layers,
            vocabulary: parsed.vocab_size,
            keys: parsed.dim,
            gated: false,
            norms: 2 * parsed.dim,
            after_norms: &["q_lin", "k_lin", "v_lin", "lin1"],
        })
    },
    load: |loader, config| Ok(AnyBackbone::DistilBert(DistilBertModel::load(loader, config, &check(config)?)?)),
    exports: Exports::NONE,
    variants: &[
        Variant {
            head: Head::SequenceClassification,
            class: "DistilBertForSequenceClassification",
            describe: |config| {
                let parsed = check(config)?;
                let layers = vec![
                    HeadLayer::head_dense("pre_classifier", parsed.dim, Activation::Relu),
                    HeadLayer::dropout("dropout", parsed.seq_classif_dropout),
                ];
                Ok(HeadConfig::new(Pooling::First, layers))
            },
            output: Output::Values { module: "classifier", bias: Bias::Yes },
            modules: &["pre_classifier", "classifier"],
            pooler: "",
            ignored_keys: &["vocab_*", "qa_outputs.*"],
        },
        Variant {
            head: Head::TokenClassification,
            class: "DistilBertForTokenClassification",
            describe: |config| {
                let layers = vec![HeadLayer::dropout("dropout", check(config)?.dropout)];
                Ok(HeadConfig::new(Pooling::Rows, layers))
            },
            output: Output::Values { module: "classifier", bias: Bias::Yes },
            modules: &["classifier"],
            pooler: "",
            ignored_keys: &["vocab_*", "qa_outputs.*", "pre_classifier.*"],
        },
        Variant {
            head: Head::MaskedLm,
            class: "DistilBertForMaskedLM",
            describe: |config| {
                let parsed = check(config)?;
                let activation = activation(config, "activation", &parsed.activation)?;
                let layers = vec![
                    HeadLayer::dense("vocab_transform", parsed.dim, activation),
                    HeadLayer::layer_norm("vocab_layer_norm", LAYER_NORM_EPSILON),
                ];
                Ok(HeadConfig::new(Pooling::Rows, layers))
            },
            output: Output::Vocabulary(OutputNames { module: "vocab_projector", bias_of: Some("vocab_projector") }),
            modules: &["vocab_transform", "vocab_layer_norm", "vocab_projector"],
            pooler: "",
            ignored_keys: &["pre_classifier.*", "classifier.*", "qa_outputs.*"],
        },
    ],
};

fn check(config: &Config) -> Result<DistilBertConfig, ConfigError> {
    let parsed: DistilBertConfig = config.parse()?;
    config.check_encoder()?;
    config.check_ranges(
        &["vocab_size", "dim", "n_layers", "hidden_dim", "max_position_embeddings"],
        &["dropout", "attention_dropout", "seq_classif_dropout"],
    )?;
    config.check_layers("n_layers")?;
    check_heads(config, "n_heads", parsed.dim, parsed.n_heads)?;
    activation(config, "activation", &parsed.activation)?;
    Ok(parsed)
}

/// Embeddings and layers.
#[derive(Module, Debug)]
pub(crate) struct DistilBertModel {
    embeddings: Embeddings,
    layer: Vec<TransformerBlock>,
}

impl DistilBertModel {
    fn load(loader: &Loader<'_>, config: &Config, parsed: &DistilBertConfig) -> Result<Self, Error> {
        let layers = loader.at("transformer.layer");
        let embeddings = Embeddings::load(&loader.at("embeddings"), parsed)?;
        let layer = (0..parsed.n_layers).map(|i| TransformerBlock::load(&layers.at(&i.to_string()), config, parsed));
        Ok(Self { embeddings, layer: layer.collect::<Result<_, _>>()? })
    }
}

impl Backbone for DistilBertModel {
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
        self.layer[layer].num_params() > 0
    }

    fn embed(&self, tokens: &Tokens, ctx: &ForwardContext) -> Tensor<2> {
        self.embeddings.forward(tokens, ctx)
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

/// Words and positions; DistilBERT has no segments.
#[derive(Module, Debug)]
struct Embeddings {
    word_embeddings: Embedding,
    position_embeddings: Embedding,
    layer_norm: LayerNorm,
    dropout: Dropout,
}

impl Embeddings {
    fn load(loader: &Loader<'_>, config: &DistilBertConfig) -> Result<Self, Error> {
        Ok(Self {
            word_embeddings: loader.embedding("word_embeddings", config.vocab_size, config.dim)?,
            position_embeddings: loader.embedding("position_embeddings", config.max_position_embeddings, config.dim)?,
            layer_norm: loader.layer_norm("LayerNorm", config.dim, LAYER_NORM_EPSILON)?,
            dropout: loader.dropout("dropout", config.dropout),
        })
    }

    fn forward(&self, tokens: &Tokens, ctx: &ForwardContext) -> Tensor<2> {
        let sum = self.word_embeddings.forward(tokens.ids.clone(), ctx)
            + self.position_embeddings.forward(tokens.positions.clone(), ctx);
        self.dropout.forward(self.layer_norm.forward(sum), ctx)
    }
}

/// `TransformerBlock`: the residuals are added before each norm; dropout acts after the feed-forward network alone.
#[derive(Module, Debug)]
struct TransformerBlock {
    q_lin: Linear,
    k_lin: Linear,
    v_lin: Linear,
    out_lin: Linear,
    attention_dropout: Dropout,
    after_attention: Residual,
    sa_layer_norm: LayerNorm,
    lin1: Linear,
    lin2: Linear,
    after_ffn: Residual,
    output_layer_norm: LayerNorm,
    width: usize,
    heads: usize,
    #[module(skip)]
    activation: Activation,
}

impl TransformerBlock {
    fn load(loader: &Loader<'_>, config: &Config, parsed: &DistilBertConfig) -> Result<Self, Error> {
        let (width, inner) = (parsed.dim, parsed.hidden_dim);
        let (attention, ffn) = (loader.at("attention"), loader.at("ffn"));
        Ok(Self {
            q_lin: attention.linear("q_lin", width, width, Bias::Yes)?,
            k_lin: attention.linear("k_lin", width, width, Bias::Yes)?,
            v_lin: attention.linear("v_lin", width, width, Bias::Yes)?,
            out_lin: attention.linear("out_lin", width, width, Bias::Yes)?,
            attention_dropout: attention.dropout("dropout", parsed.attention_dropout),
            // Without dropout.
            after_attention: loader.residual(
                "attention_adapters",
                Sublayer::Attention,
                width,
                loader.dropout("attention_adapters", 0.0),
            )?,
            sa_layer_norm: loader.layer_norm("sa_layer_norm", width, LAYER_NORM_EPSILON)?,
            lin1: ffn.linear("lin1", width, inner, Bias::Yes)?,
            lin2: ffn.linear("lin2", inner, width, Bias::Yes)?,
            after_ffn: loader.residual(
                "output_adapters",
                Sublayer::FeedForward,
                width,
                ffn.dropout("dropout", parsed.dropout),
            )?,
            output_layer_norm: loader.layer_norm("output_layer_norm", width, LAYER_NORM_EPSILON)?,
            width,
            heads: parsed.n_heads,
            activation: activation(config, "activation", &parsed.activation)?,
        })
    }

    fn forward(&self, x: Tensor<2>, ctx: &ForwardContext) -> Tensor<2> {
        let context = self.attend(x.clone(), ctx);
        self.after_attention(context, x, ctx)
    }

    /// The output in these rows alone.
    fn forward_rows(&self, x: Tensor<2>, rows: &[usize], ctx: &ForwardContext) -> (Tensor<2>, ForwardContext) {
        let (context, selected) = select(self.attend(x.clone(), ctx), rows, ctx);
        let (x, _) = select(x, rows, ctx);
        (self.after_attention(context, x, &selected), selected)
    }

    fn attend(&self, x: Tensor<2>, ctx: &ForwardContext) -> Tensor<2> {
        let query = self.q_lin.forward(x.clone(), ctx);
        let key = self.k_lin.forward(x.clone(), ctx);
        let value = self.v_lin.forward(x, ctx);
        let options = attention_options(self.width, self.heads, self.attention_dropout.mask(ctx));
        attention(query, key, value, ctx.layout(), options)
    }

    fn after_attention(&self, context: Tensor<2>, x: Tensor<2>, ctx: &ForwardContext) -> Tensor<2> {
        let norm = |sum| self.sa_layer_norm.forward(sum);
        let attended = norm(self.after_attention.before(x, self.out_lin.forward(context, ctx), &norm, ctx));
        let inner = self.activation.forward(self.lin1.forward(attended.clone(), ctx));
        let output = self.lin2.forward(inner, ctx);
        let norm = |sum| self.output_layer_norm.forward(sum);
        norm(self.after_ffn.before(attended, output, &norm, ctx))
    }
}
