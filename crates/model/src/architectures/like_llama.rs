//! What is to be known of an architecture that `decoder/` builds, before one of its models is loaded: the same for all of them
//! but for their names, PEFT's targets, and how their `config.json` is read.

use kernels::LogitsTransform;

use super::Variant;
use super::token_classifier_dropout;
use crate::config::{Config, ConfigError};
use crate::head::{Head, HeadConfig, HeadLayer, Output, OutputNames, Pooling};
use crate::loader::Bias;

/// The [`Architecture`](super::Architecture) of models whose classes in Transformers begin with `$class`, or that have the heads
/// `$variants`, where Transformers has not all of them. `$read` is the architecture's own reader of `config.json`, `$exports` what it is exported for.
macro_rules! like_llama {
    (
        model_type: $model_type:literal,
        class: $class:literal,
        ties_by_default: $ties:literal,
        default_targets: $targets:expr,
        read: $read:path $(, exports: $exports:expr)? $(,)?
    ) => {
        $crate::architectures::like_llama::like_llama! {
            model_type: $model_type,
            variants: &[
                $crate::architectures::like_llama::causal_lm(concat!($class, "ForCausalLM"), |config| {
                    Ok($crate::architectures::like_llama::language_model($read(config)?.logits))
                }),
                $crate::architectures::like_llama::sequence_classifier(concat!($class, "ForSequenceClassification")),
                $crate::architectures::like_llama::token_classifier(concat!($class, "ForTokenClassification")),
            ],
            ties_by_default: $ties,
            default_targets: $targets,
            read: $read $(, exports: $exports)?,
        }
    };
    (
        model_type: $model_type:literal,
        variants: $variants:expr,
        ties_by_default: $ties:literal,
        default_targets: $targets:expr,
        read: $read:path $(, exports: $exports:expr)? $(,)?
    ) => {
        $crate::architectures::Architecture {
            model_types: &[$model_type],
            prefix: "model.",
            backbone: &["embed_tokens.", "layers.", "norm."],
            word_embeddings: "embed_tokens",
            ties_by_default: $ties,
            default_targets: $targets,
            constants: &["rotary_emb.inv_freq"],
            check: |config| $read(config).map(|_| ()),
            max_positions: |config| {
                Ok($crate::architectures::decoder::DecoderConfig::read(config)?.1.max_position_embeddings)
            },
            activations: |config| Ok($read(config)?.activations()),
            load: |loader, config| $crate::architectures::decoder::Decoder::load(loader, &$read(config)?),
            exports: $crate::architectures::like_llama::like_llama!(@exports $($exports)?),
            variants: $variants,
        }
    };
    (@exports) => { $crate::architectures::Exports::NONE };
    (@exports $exports:expr) => { $exports };
}
pub(super) use like_llama;

/// A head over the vocabulary for the rows it is asked about.
pub(super) fn language_model(logits: LogitsTransform) -> HeadConfig {
    HeadConfig { logits, ..HeadConfig::new(Pooling::Rows, Vec::new()) }
}

pub(super) const fn causal_lm(
    class: &'static str,
    describe: fn(&Config) -> Result<HeadConfig, ConfigError>,
) -> Variant {
    Variant {
        head: Head::CausalLm,
        class,
        describe,
        output: Output::Vocabulary(OutputNames { module: "lm_head", bias_of: None }),
        modules: &["lm_head"],
        pooler: "",
        ignored_keys: &["score.*"],
    }
}

/// `GenericForSequenceClassification`
pub(super) const fn sequence_classifier(class: &'static str) -> Variant {
    Variant {
        head: Head::SequenceClassification,
        class,
        describe: |_| Ok(HeadConfig::new(Pooling::Last, Vec::new())),
        output: Output::Values { module: "score", bias: Bias::No },
        modules: &["score"],
        pooler: "",
        ignored_keys: &["lm_head.*"],
    }
}

/// `GenericForTokenClassification`
pub(super) const fn token_classifier(class: &'static str) -> Variant {
    Variant {
        head: Head::TokenClassification,
        class,
        describe: |config| {
            let layers = vec![HeadLayer::dropout("dropout", token_classifier_dropout(config)?)];
            Ok(HeadConfig::new(Pooling::Rows, layers))
        },
        output: Output::Values { module: "score", bias: Bias::Yes },
        modules: &["score"],
        pooler: "",
        ignored_keys: &["lm_head.*"],
    }
}
