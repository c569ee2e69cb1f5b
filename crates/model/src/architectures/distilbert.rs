//! DistilBERT (Sanh et al. 2019, arXiv 1910.01108). Reference: `DistilBertForSequenceClassification` and
//! `DistilBertForMaskedLM` in Transformers.

use burn::module::Module;
use burn::tensor::{Tensor, activation::relu};
use kernels::{Activation, ForwardContext, attention, residual};
use lora::{Embedding, Linear, OutputLayer, Projection};
use serde::Deserialize;

use super::{
    Architecture, Around, Backbone, ENCODER, Head, MaskedLm, Model, OutputNames, SequenceClassifier, Variant,
    activation, attention_options, check_heads, select,
};
use crate::Error;
use crate::cache::Cache;
use crate::config::{Config, ConfigError};
use crate::layers::{Dropout, LayerNorm};
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
    variants: &[
        Variant {
            head: Head::SequenceClassification,
            class: "DistilBertForSequenceClassification",
            modules: &["pre_classifier", "classifier"],
            output: None,
            pooler: "",
            ignored_keys: &["vocab_*", "qa_outputs.*"],
            load: |loader, config, labels| {
                let model = DistilBertForSequenceClassification::load(loader, config, labels)?;
                Ok(Model::SequenceClassifier(SequenceClassifier::DistilBert(model)))
            },
        },
        Variant {
            head: Head::MaskedLm,
            class: "DistilBertForMaskedLM",
            modules: &["vocab_transform", "vocab_layer_norm", "vocab_projector"],
            output: Some(OutputNames { module: "vocab_projector", bias_of: Some("vocab_projector") }),
            pooler: "",
            ignored_keys: &["pre_classifier.*", "classifier.*", "qa_outputs.*"],
            load: |loader, config, _| {
                Ok(Model::MaskedLm(MaskedLm::DistilBert(DistilBertForMaskedLM::load(loader, config)?)))
            },
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

#[derive(Module, Debug)]
pub struct DistilBertForSequenceClassification {
    distilbert: DistilBertModel,
    pre_classifier: Linear,
    dropout: Dropout,
    classifier: Linear,
}

impl DistilBertForSequenceClassification {
    fn load(loader: &Loader<'_>, config: &Config, labels: usize) -> Result<Self, Error> {
        let parsed = check(config)?;
        Ok(Self {
            distilbert: DistilBertModel::load(&loader.at("distilbert"), config, &parsed)?,
            pre_classifier: loader.output_linear("pre_classifier", parsed.dim, parsed.dim, Bias::Yes)?,
            dropout: loader.dropout("dropout", parsed.seq_classif_dropout),
            classifier: loader.output_linear("classifier", parsed.dim, labels, Bias::Yes)?,
        })
    }

    /// `[sequences, hidden]` to `[sequences, labels]`
    pub(super) fn logits(&self, features: Tensor<2>, ctx: &ForwardContext) -> Tensor<2> {
        let inner = relu(self.pre_classifier.forward(features, ctx));
        self.classifier.forward(self.dropout.forward(inner, ctx), ctx)
    }

    pub(super) fn backbone(&self) -> &dyn Backbone {
        &self.distilbert
    }
}

/// `DistilBertForMaskedLM`
#[derive(Module, Debug)]
pub struct DistilBertForMaskedLM {
    distilbert: DistilBertModel,
    vocab_transform: Linear,
    vocab_layer_norm: LayerNorm,
    vocab_projector: OutputLayer,
    #[module(skip)]
    activation: Activation,
}

impl DistilBertForMaskedLM {
    fn load(loader: &Loader<'_>, config: &Config) -> Result<Self, Error> {
        let parsed = check(config)?;
        Ok(Self {
            distilbert: DistilBertModel::load(&loader.at("distilbert"), config, &parsed)?,
            vocab_transform: loader.linear("vocab_transform", parsed.dim, parsed.dim, Bias::Yes)?,
            vocab_layer_norm: loader.layer_norm("vocab_layer_norm", parsed.dim, LAYER_NORM_EPSILON)?,
            vocab_projector: loader.output_layer([parsed.dim, parsed.vocab_size])?,
            activation: activation(config, "activation", &parsed.activation)?,
        })
    }

    pub(super) fn before_output(&self, hidden: Tensor<2>, ctx: &ForwardContext) -> Tensor<2> {
        self.vocab_layer_norm.forward(self.activation.forward(self.vocab_transform.forward(hidden, ctx)))
    }

    pub(super) fn output(&self) -> Projection<'_> {
        self.vocab_projector.projection(self.distilbert.word_embeddings().weight())
    }

    pub(super) fn backbone(&self) -> &dyn Backbone {
        &self.distilbert
    }
}

/// Embeddings and layers.
#[derive(Module, Debug)]
struct DistilBertModel {
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
        let sum = self.word_embeddings.forward(tokens.ids.clone())
            + self.position_embeddings.forward(tokens.positions.clone());
        self.dropout.forward(self.layer_norm.forward(sum), ctx)
    }
}

/// `TransformerBlock`: the residuals are added before each norm; dropout acts behind the feed-forward network alone.
#[derive(Module, Debug)]
struct TransformerBlock {
    q_lin: Linear,
    k_lin: Linear,
    v_lin: Linear,
    out_lin: Linear,
    attention_dropout: Dropout,
    sa_layer_norm: LayerNorm,
    lin1: Linear,
    lin2: Linear,
    dropout: Dropout,
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
            sa_layer_norm: loader.layer_norm("sa_layer_norm", width, LAYER_NORM_EPSILON)?,
            lin1: ffn.linear("lin1", width, inner, Bias::Yes)?,
            lin2: ffn.linear("lin2", inner, width, Bias::Yes)?,
            dropout: ffn.dropout("dropout", parsed.dropout),
            output_layer_norm: loader.layer_norm("output_layer_norm", width, LAYER_NORM_EPSILON)?,
            width,
            heads: parsed.n_heads,
            activation: activation(config, "activation", &parsed.activation)?,
        })
    }

    fn forward(&self, x: Tensor<2>, ctx: &ForwardContext) -> Tensor<2> {
        let context = self.attend(x.clone(), ctx);
        self.behind_attention(context, x, ctx)
    }

    /// The output in these rows alone.
    fn forward_rows(&self, x: Tensor<2>, rows: &[usize], ctx: &ForwardContext) -> (Tensor<2>, ForwardContext) {
        let (context, behind) = select(self.attend(x.clone(), ctx), rows, ctx);
        let (x, _) = select(x, rows, ctx);
        (self.behind_attention(context, x, &behind), behind)
    }

    fn attend(&self, x: Tensor<2>, ctx: &ForwardContext) -> Tensor<2> {
        let query = self.q_lin.forward(x.clone(), ctx);
        let key = self.k_lin.forward(x.clone(), ctx);
        let value = self.v_lin.forward(x, ctx);
        let options = attention_options(self.width, self.heads, self.attention_dropout.mask(ctx));
        attention(query, key, value, ctx.layout(), options)
    }

    fn behind_attention(&self, context: Tensor<2>, x: Tensor<2>, ctx: &ForwardContext) -> Tensor<2> {
        let attended = self.sa_layer_norm.forward(residual(x, self.out_lin.forward(context, ctx), None));
        let inner = self.activation.forward(self.lin1.forward(attended.clone(), ctx));
        let output = self.lin2.forward(inner, ctx);
        self.output_layer_norm.forward(self.dropout.residual(attended, output, ctx))
    }
}
