//! Mistral (Jiang et al. 2023, arXiv 2310.06825): Llama with a sliding window. Reference: `MistralForCausalLM` in Transformers.

use super::decoder::{DecoderConfig, load_causal_lm, load_classifier};
use super::{Architecture, Head, Variant};
use crate::config::{Config, ConfigError};

pub(crate) static ARCHITECTURE: Architecture = Architecture {
    model_types: &["mistral"],
    prefix: "model.",
    backbone: &["embed_tokens.", "layers.", "norm."],
    word_embeddings: "embed_tokens",
    ties_by_default: false,
    default_targets: &["q_proj", "v_proj"],
    constants: &["rotary_emb.inv_freq"],
    check: |config| read(config).map(|_| ()),
    max_positions: |config| Ok(DecoderConfig::read(config)?.1.max_position_embeddings),
    variants: &[
        Variant {
            head: Head::CausalLm,
            class: "MistralForCausalLM",
            modules: &["lm_head"],
            pooler: "",
            passed_over: &["score.*"],
            load: |loader, config, _| load_causal_lm(loader, &read(config)?),
        },
        Variant {
            head: Head::SequenceClassification,
            class: "MistralForSequenceClassification",
            modules: &["score"],
            pooler: "",
            passed_over: &["lm_head.*"],
            load: |loader, config, labels| load_classifier(loader, &read(config)?, labels),
        },
    ],
};

fn read(config: &Config) -> Result<DecoderConfig, ConfigError> {
    let (mut described, keys) = DecoderConfig::read(config)?;
    described.slide(&keys);
    Ok(described)
}
