//! RoBERTa (Liu et al. 2019, arXiv 1907.11692) and XLM-RoBERTa: BERT's layers, positions that begin behind the padding
//! index, and a classification head of two layers without a pooler. Reference: `RobertaForSequenceClassification` and
//! `RobertaForMaskedLM` in Transformers.

use burn::module::Module;
use burn::tensor::Tensor;
use kernels::{Activation, ForwardContext};
use lora::{Linear, OutputLayer, Projection};

use super::bert::{BertConfig, BertModel, check};
use super::{Architecture, Backbone, ENCODER, Head, MaskedLm, Model, OutputNames, SequenceClassifier, Variant};
use crate::Error;
use crate::config::Config;
use crate::layers::{Dropout, LayerNorm};
use crate::loader::{Bias, Loader};

pub(crate) static ARCHITECTURE: Architecture = Architecture {
    model_types: &["roberta", "xlm-roberta"],
    prefix: "roberta.",
    backbone: ENCODER,
    word_embeddings: "embeddings.word_embeddings",
    ties_by_default: true,
    default_targets: &["query", "value"],
    constants: &["position_ids", "token_type_ids"],
    check: |config| check(config).map(|_| ()),
    max_positions: |config| {
        let parsed: BertConfig = config.parse()?;
        Ok(parsed.max_position_embeddings.saturating_sub(first_position(&parsed)))
    },
    variants: &[
        Variant {
            head: Head::SequenceClassification,
            class: "RobertaForSequenceClassification",
            modules: &["classifier"],
            output: None,
            pooler: "",
            // The pooler of a bare `RobertaModel` has no place in the classifier.
            ignored_keys: &["lm_head.*", "roberta.pooler.*"],
            load: |loader, config, labels| {
                let model = RobertaForSequenceClassification::load(loader, config, labels)?;
                Ok(Model::SequenceClassifier(SequenceClassifier::Roberta(model)))
            },
        },
        Variant {
            head: Head::MaskedLm,
            class: "RobertaForMaskedLM",
            modules: &["lm_head"],
            output: Some(OutputNames { module: "lm_head.decoder", bias_of: Some("lm_head") }),
            pooler: "",
            ignored_keys: &["roberta.pooler.*", "classifier.*"],
            load: |loader, config, _| Ok(Model::MaskedLm(MaskedLm::Roberta(RobertaForMaskedLM::load(loader, config)?))),
        },
    ],
};

/// Positions count from the padding token's index plus one, as fairseq did.
fn first_position(config: &BertConfig) -> usize {
    config.pad_token_id.unwrap_or(1).saturating_add(1)
}

#[derive(Module, Debug)]
pub struct RobertaForSequenceClassification {
    roberta: BertModel,
    classifier: ClassificationHead,
}

impl RobertaForSequenceClassification {
    fn load(loader: &Loader<'_>, config: &Config, labels: usize) -> Result<Self, Error> {
        let parsed = check(config)?;
        Ok(Self {
            roberta: BertModel::load(&loader.at("roberta"), config, &parsed, first_position(&parsed))?,
            classifier: ClassificationHead::load(&loader.at("classifier"), &parsed, labels)?,
        })
    }

    /// `[sequences, hidden]` to `[sequences, labels]`
    pub(super) fn logits(&self, features: Tensor<2>, ctx: &ForwardContext) -> Tensor<2> {
        self.classifier.forward(features, ctx)
    }

    pub(super) fn backbone(&self) -> &dyn Backbone {
        &self.roberta
    }
}

/// `RobertaClassificationHead`
#[derive(Module, Debug)]
struct ClassificationHead {
    dropout: Dropout,
    dense: Linear,
    dropout_output: Dropout,
    out_proj: Linear,
}

impl ClassificationHead {
    fn load(loader: &Loader<'_>, config: &BertConfig, labels: usize) -> Result<Self, Error> {
        let hidden = config.hidden_size;
        let dropout = config.classifier_dropout.unwrap_or(config.hidden_dropout_prob);
        Ok(Self {
            dropout: loader.dropout("dropout.0", dropout),
            dense: loader.output_linear("dense", hidden, hidden, Bias::Yes)?,
            dropout_output: loader.dropout("dropout.1", dropout),
            out_proj: loader.output_linear("out_proj", hidden, labels, Bias::Yes)?,
        })
    }

    fn forward(&self, first: Tensor<2>, ctx: &ForwardContext) -> Tensor<2> {
        let inner = self.dense.forward(self.dropout.forward(first, ctx), ctx).tanh();
        self.out_proj.forward(self.dropout_output.forward(inner, ctx), ctx)
    }
}

/// `RobertaForMaskedLM`; its `RobertaLMHead` is `lm_head`, with GELU whatever `hidden_act` says.
#[derive(Module, Debug)]
pub struct RobertaForMaskedLM {
    roberta: BertModel,
    dense: Linear,
    layer_norm: LayerNorm,
    decoder: OutputLayer,
}

impl RobertaForMaskedLM {
    fn load(loader: &Loader<'_>, config: &Config) -> Result<Self, Error> {
        let parsed = check(config)?;
        let hidden = parsed.hidden_size;
        let head = loader.at("lm_head");
        Ok(Self {
            roberta: BertModel::load(&loader.at("roberta"), config, &parsed, first_position(&parsed))?,
            dense: head.linear("dense", hidden, hidden, Bias::Yes)?,
            layer_norm: head.layer_norm("layer_norm", hidden, parsed.layer_norm_eps)?,
            decoder: loader.output_layer([hidden, parsed.vocab_size])?,
        })
    }

    pub(super) fn before_output(&self, hidden: Tensor<2>, ctx: &ForwardContext) -> Tensor<2> {
        self.layer_norm.forward(Activation::Gelu.forward(self.dense.forward(hidden, ctx)))
    }

    pub(super) fn output(&self) -> Projection<'_> {
        self.decoder.projection(self.roberta.word_embeddings().weight())
    }

    pub(super) fn backbone(&self) -> &dyn Backbone {
        &self.roberta
    }
}
