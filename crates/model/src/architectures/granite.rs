//! Granite 3 (IBM 2024): Llama with factors of embeddings, attention scores, residuals and logits (Yang et al. 2022, arXiv
//! 2203.03466). Reference: `GraniteForCausalLM` in Transformers.

use kernels::LogitsTransform;
use serde::Deserialize;

use super::Architecture;
use super::decoder::DecoderConfig;
use super::like_llama::{causal_lm, language_model, like_llama};
use crate::config::{Config, ConfigError};

pub(crate) static ARCHITECTURE: Architecture = like_llama! {
    model_type: "granite",
    variants: &[causal_lm("GraniteForCausalLM", |config| Ok(language_model(read(config)?.logits)))],
    ties_by_default: false,
    // PEFT has none for it.
    default_targets: &["q_proj", "v_proj"],
    read: read,
};

#[derive(Deserialize)]
struct GraniteKeys {
    #[serde(default = "one")]
    embedding_multiplier: f64,
    /// Of attention scores, instead of one over the root of a head's width.
    #[serde(default = "one")]
    attention_multiplier: f64,
    #[serde(default = "one")]
    residual_multiplier: f64,
    /// Logits are divided by it.
    #[serde(default = "one")]
    logits_scaling: f64,
}

fn one() -> f64 {
    1.0
}

fn read(config: &Config) -> Result<DecoderConfig, ConfigError> {
    let (mut described, _) = DecoderConfig::read(config)?;
    let own: GraniteKeys = config.parse()?;
    config.check_positive(&[
        "embedding_multiplier",
        "attention_multiplier",
        "residual_multiplier",
        "logits_scaling",
    ])?;
    let attention_bias = config.flag("attention_bias");
    (described.query_key_bias, described.output_bias) = (attention_bias, attention_bias);
    described.feed_forward_bias = config.flag("mlp_bias");
    described.embedding_multiplier = own.embedding_multiplier;
    described.scale = own.attention_multiplier as f32;
    described.residual_multiplier = own.residual_multiplier;
    described.logits = LogitsTransform { scale: (1.0 / own.logits_scaling) as f32, soft_cap: None };
    Ok(described)
}
