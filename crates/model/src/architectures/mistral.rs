//! Mistral (Jiang et al. 2023, arXiv 2310.06825): Llama with a sliding window. Reference: `MistralForCausalLM` in Transformers.

use super::Architecture;
use super::decoder::DecoderConfig;
use super::like_llama::like_llama;
use crate::config::{Config, ConfigError};

pub(crate) static ARCHITECTURE: Architecture = like_llama! {
    model_type: "mistral",
    class: "Mistral",
    ties_by_default: false,
    default_targets: &["q_proj", "v_proj"],
    read: read,
};

fn read(config: &Config) -> Result<DecoderConfig, ConfigError> {
    let (mut described, keys) = DecoderConfig::read(config)?;
    described.slide(&keys);
    Ok(described)
}
