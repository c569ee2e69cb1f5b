//! Llama 1 to 3.3 (Touvron et al. 2023, arXiv 2302.13971; 2407.21783), and models saved as such: SmolLM, TinyLlama. Reference:
//! `LlamaForCausalLM` in Transformers.

use super::decoder::{DecoderConfig, load_causal_lm, load_classifier};
use super::{Architecture, Head, Variant};
use crate::config::{Config, ConfigError};

pub(crate) static ARCHITECTURE: Architecture = Architecture {
    model_types: &["llama"],
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
            class: "LlamaForCausalLM",
            modules: &["lm_head"],
            pooler: "",
            passed_over: &["score.*"],
            load: |loader, config, _| load_causal_lm(loader, &read(config)?),
        },
        Variant {
            head: Head::SequenceClassification,
            class: "LlamaForSequenceClassification",
            modules: &["score"],
            pooler: "",
            passed_over: &["lm_head.*"],
            load: |loader, config, labels| load_classifier(loader, &read(config)?, labels),
        },
    ],
};

fn read(config: &Config) -> Result<DecoderConfig, ConfigError> {
    let (mut described, _) = DecoderConfig::read(config)?;
    let attention_bias = config.flag("attention_bias");
    (described.query_key_bias, described.output_bias) = (attention_bias, attention_bias);
    described.feed_forward_bias = config.flag("mlp_bias");
    Ok(described)
}
