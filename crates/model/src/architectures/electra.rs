//! ELECTRA (Clark et al. 2020, arXiv 2003.10555): BERT's layers below embeddings that may be narrower than they are, and a
//! classification head of two layers without a pooler. Reference: `ElectraForSequenceClassification`,
//! `ElectraForTokenClassification` and `ElectraForMaskedLM` in Transformers; the head of the last is that of a generator, which a
//! discriminator does not have.

use kernels::Activation;

use super::bert::{self, BertConfig, BertModel};
use super::{AnyBackbone, Architecture, Exports, Variant};
use crate::config::{Config, ConfigError};
use crate::head::{Head, HeadConfig, HeadLayer, Output, OutputNames, Pooling};
use crate::loader::Bias;

pub(crate) static ARCHITECTURE: Architecture = Architecture {
    model_types: &["electra"],
    prefix: "electra.",
    backbone: &["embeddings.", "embeddings_project.", "encoder."],
    word_embeddings: "embeddings.word_embeddings",
    ties_by_default: true,
    default_targets: &["query", "value"],
    constants: &["position_ids", "token_type_ids"],
    check: |config| check(config).map(|_| ()),
    max_positions: |config| Ok(config.parse::<BertConfig>()?.max_position_embeddings),
    activations: |config| Ok(check(config)?.activations()),
    load: |loader, config| Ok(AnyBackbone::Bert(BertModel::load(loader, config, &check(config)?, 0)?)),
    exports: Exports::NONE,
    variants: &[
        Variant {
            head: Head::SequenceClassification,
            class: "ElectraForSequenceClassification",
            describe: |config| {
                let parsed = check(config)?;
                let layers = vec![
                    HeadLayer::dropout("classifier.dropout.0", parsed.head_dropout()),
                    // GELU whatever `hidden_act` says.
                    HeadLayer::head_dense("classifier.dense", parsed.hidden_size, Activation::Gelu),
                    HeadLayer::dropout("classifier.dropout.1", parsed.head_dropout()),
                ];
                Ok(HeadConfig::new(Pooling::First, layers))
            },
            output: Output::Values { module: "classifier.out_proj", bias: Bias::Yes },
            modules: &["classifier"],
            pooler: "",
            ignored_keys: &["discriminator_predictions.*", "generator_predictions.*", "generator_lm_head.*"],
        },
        Variant {
            head: Head::TokenClassification,
            class: "ElectraForTokenClassification",
            describe: |config| {
                let layers = vec![HeadLayer::dropout("dropout", check(config)?.head_dropout())];
                Ok(HeadConfig::new(Pooling::Rows, layers))
            },
            output: Output::Values { module: "classifier", bias: Bias::Yes },
            modules: &["classifier"],
            pooler: "",
            ignored_keys: &[
                "discriminator_predictions.*",
                "generator_predictions.*",
                "generator_lm_head.*",
                "classifier.dense.*",
                "classifier.out_proj.*",
            ],
        },
        Variant {
            head: Head::MaskedLm,
            class: "ElectraForMaskedLM",
            describe: |config| {
                let parsed = check(config)?;
                let layers = vec![
                    // Back to the width of the embeddings, with GELU whatever `hidden_act` says.
                    HeadLayer::dense("generator_predictions.dense", parsed.embedding_width(), Activation::Gelu),
                    HeadLayer::layer_norm("generator_predictions.LayerNorm", parsed.layer_norm_eps),
                ];
                Ok(HeadConfig::new(Pooling::Rows, layers))
            },
            output: Output::Vocabulary(OutputNames { module: "generator_lm_head", bias_of: Some("generator_lm_head") }),
            modules: &["generator_predictions", "generator_lm_head"],
            pooler: "",
            ignored_keys: &["discriminator_predictions.*", "classifier.*"],
        },
    ],
};

/// The configuration, if the model it describes can be built.
fn check(config: &Config) -> Result<BertConfig, ConfigError> {
    let mut parsed = bert::check(config)?;
    config.check_ranges(&["embedding_size"], &[])?;
    // The default of Transformers' `ElectraConfig`.
    parsed.embedding_size = Some(config.number("embedding_size").map_or(128, |size| size as usize));
    Ok(parsed)
}
