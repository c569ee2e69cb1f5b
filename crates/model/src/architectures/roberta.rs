//! RoBERTa (Liu et al. 2019, arXiv 1907.11692), XLM-RoBERTa (Conneau et al. 2020, arXiv 1911.02116) and CamemBERT (Martin et al.
//! 2020, arXiv 1911.03894), which are one architecture under three names: BERT's layers, positions that begin after the padding
//! index, and a classification head of two layers without a pooler. Reference: `RobertaForSequenceClassification`,
//! `RobertaForTokenClassification` and `RobertaForMaskedLM` in Transformers, and the same of `XLMRoberta` and `Camembert`.

use kernels::Activation;

use super::bert::{BertConfig, BertModel, check};
use super::{AnyBackbone, Architecture, ENCODER, Exports, Variant};
use crate::head::{Head, HeadConfig, HeadLayer, Output, OutputNames, Pooling};
use crate::loader::Bias;

pub(crate) static ARCHITECTURE: Architecture = architecture(&["roberta"], &ROBERTA_VARIANTS);

pub(crate) static XLM_ROBERTA: Architecture = architecture(&["xlm-roberta"], &XLM_ROBERTA_VARIANTS);

/// PEFT has no default targets for it; RoBERTa's.
pub(crate) static CAMEMBERT: Architecture = architecture(&["camembert"], &CAMEMBERT_VARIANTS);

const ROBERTA_VARIANTS: [Variant; 3] =
    variants(["RobertaForSequenceClassification", "RobertaForTokenClassification", "RobertaForMaskedLM"]);

const XLM_ROBERTA_VARIANTS: [Variant; 3] =
    variants(["XLMRobertaForSequenceClassification", "XLMRobertaForTokenClassification", "XLMRobertaForMaskedLM"]);

const CAMEMBERT_VARIANTS: [Variant; 3] =
    variants(["CamembertForSequenceClassification", "CamembertForTokenClassification", "CamembertForMaskedLM"]);

const fn architecture(model_types: &'static [&'static str], variants: &'static [Variant]) -> Architecture {
    Architecture {
        model_types,
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
        exports: Exports::NONE,
        variants,
    }
}

/// With the names of their classes in Transformers.
const fn variants([sequences, tokens, masked_lm]: [&'static str; 3]) -> [Variant; 3] {
    [
        Variant {
            head: Head::SequenceClassification,
            class: sequences,
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
            class: tokens,
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
            class: masked_lm,
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
    ]
}

/// Positions count from the padding token's index plus one, as fairseq did.
fn first_position(config: &BertConfig) -> usize {
    config.pad_token_id.unwrap_or(1).saturating_add(1)
}
