//! RoBERTa (Liu et al. 2019, arXiv 1907.11692) and XLM-RoBERTa: BERT's layers, positions that begin after the padding index, and
//! a classification head of two layers without a pooler. Reference: `RobertaForSequenceClassification`,
//! `RobertaForTokenClassification` and `RobertaForMaskedLM` in Transformers.

use kernels::Activation;

use super::bert::{BertConfig, BertModel, check};
use super::{AnyBackbone, Architecture, ENCODER, Variant};
use crate::head::{Head, HeadConfig, HeadLayer, Output, OutputNames, Pooling};
use crate::loader::Bias;

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
    activations: |config| Ok(check(config)?.activations()),
    load: |loader, config| {
        let parsed = check(config)?;
        Ok(AnyBackbone::Bert(BertModel::load(loader, config, &parsed, first_position(&parsed))?))
    },
    variants: &[
        Variant {
            head: Head::SequenceClassification,
            class: "RobertaForSequenceClassification",
            describe: |config| {
                let parsed = check(config)?;
                let layers = vec![
                    HeadLayer::dropout("classifier.dropout.0", parsed.head_dropout()),
                    HeadLayer::head_dense("classifier.dense", parsed.hidden_size, Activation::Tanh),
                    HeadLayer::dropout("classifier.dropout.1", parsed.head_dropout()),
                ];
                Ok(HeadConfig::new(Pooling::First, layers))
            },
            output: Output::Values { module: "classifier.out_proj", bias: Bias::Yes },
            modules: &["classifier"],
            pooler: "",
            // The pooler of a bare `RobertaModel` has no place in the classifier.
            ignored_keys: &["lm_head.*", "roberta.pooler.*"],
        },
        Variant {
            head: Head::TokenClassification,
            class: "RobertaForTokenClassification",
            describe: |config| {
                let layers = vec![HeadLayer::dropout("dropout", check(config)?.head_dropout())];
                Ok(HeadConfig::new(Pooling::Rows, layers))
            },
            output: Output::Values { module: "classifier", bias: Bias::Yes },
            modules: &["classifier"],
            pooler: "",
            ignored_keys: &["lm_head.*", "roberta.pooler.*", "classifier.dense.*", "classifier.out_proj.*"],
        },
        Variant {
            head: Head::MaskedLm,
            class: "RobertaForMaskedLM",
            describe: |config| {
                let parsed = check(config)?;
                let layers = vec![
                    // GELU whatever `hidden_act` says.
                    HeadLayer::dense("lm_head.dense", parsed.hidden_size, Activation::Gelu),
                    HeadLayer::layer_norm("lm_head.layer_norm", parsed.layer_norm_eps),
                ];
                Ok(HeadConfig::new(Pooling::Rows, layers))
            },
            output: Output::Vocabulary(OutputNames { module: "lm_head.decoder", bias_of: Some("lm_head") }),
            modules: &["lm_head"],
            pooler: "",
            ignored_keys: &["roberta.pooler.*", "classifier.*"],
        },
    ],
};

/// Positions count from the padding token's index plus one, as fairseq did.
fn first_position(config: &BertConfig) -> usize {
    config.pad_token_id.unwrap_or(1).saturating_add(1)
}
