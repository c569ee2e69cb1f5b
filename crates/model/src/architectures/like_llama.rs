//! What is to be known of an architecture that `decoder.rs` builds, before one of its models is loaded: the same for all of them
//! but for their names, PEFT's targets, and how their `config.json` is read.

/// The [`Architecture`](super::Architecture) of models whose classes in Transformers begin with `$class`. `$read` is the
/// architecture's own reader of `config.json`.
macro_rules! like_llama {
    (
        model_type: $model_type:literal,
        class: $class:literal,
        ties_by_default: $ties:literal,
        default_targets: $targets:expr,
        read: $read:path $(,)?
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
            variants: &[
                $crate::architectures::Variant {
                    head: $crate::architectures::Head::CausalLm,
                    class: concat!($class, "ForCausalLM"),
                    modules: &["lm_head"],
                    output: Some($crate::architectures::OutputNames { module: "lm_head", bias_of: None }),
                    pooler: "",
                    ignored_keys: &["score.*"],
                    load: |loader, config, _| $crate::architectures::decoder::load_causal_lm(loader, &$read(config)?),
                },
                $crate::architectures::Variant {
                    head: $crate::architectures::Head::SequenceClassification,
                    class: concat!($class, "ForSequenceClassification"),
                    modules: &["score"],
                    output: None,
                    pooler: "",
                    ignored_keys: &["lm_head.*"],
                    load: |loader, config, labels| {
                        $crate::architectures::decoder::load_classifier(loader, &$read(config)?, labels)
                    },
                },
            ],
        }
    };
}
pub(super) use like_llama;
