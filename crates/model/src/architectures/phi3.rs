//! Phi-3 (Abdin et al. 2024, arXiv 2404.14219): Llama with joined projections and a window. Reference: `Phi3ForCausalLM` in
//! Transformers. Phi-3.5 and Phi-4-mini, as they are published, ask for `longrope`, which `Rope` refuses.

use super::decoder::{DecoderConfig, Projections, load_causal_lm, load_classifier};
use super::{Architecture, Head, Variant};
use crate::config::{Config, ConfigError};

pub(crate) static ARCHITECTURE: Architecture = Architecture {
    model_types: &["phi3"],
    prefix: "model.",
    backbone: &["embed_tokens.", "layers.", "norm."],
    word_embeddings: "embed_tokens",
    ties_by_default: false,
    default_targets: &["qkv_proj"],
    constants: &["rotary_emb.inv_freq"],
    check: |config| read(config).map(|_| ()),
    max_positions: |config| Ok(DecoderConfig::read(config)?.1.max_position_embeddings),
    variants: &[
        Variant {
            head: Head::CausalLm,
            class: "Phi3ForCausalLM",
            modules: &["lm_head"],
            pooler: "",
            passed_over: &["score.*"],
            load: |loader, config, _| load_causal_lm(loader, &read(config)?),
        },
        Variant {
            head: Head::SequenceClassification,
            class: "Phi3ForSequenceClassification",
            modules: &["score"],
            pooler: "",
            passed_over: &["lm_head.*"],
            load: |loader, config, labels| load_classifier(loader, &read(config)?, labels),
        },
    ],
};

fn read(config: &Config) -> Result<DecoderConfig, ConfigError> {
    let (mut described, keys) = DecoderConfig::read(config)?;
    // Dropouts that Phi-3 was not pretrained with, and that this decoder has no place for.
    if let Some(key) = ["resid_pdrop", "embd_pdrop"].into_iter().find(|key| config.number(key).unwrap_or(0.0) > 0.0) {
        return Err(config.wrong(format!("`{key}` is not 0"), "this version trains Phi-3 without it: set it to 0.0"));
    }
    described.projections = Projections::Joined;
    described.slide(&keys);
    Ok(described)
}
