//! Mistral (Jiang et al. 2023, arXiv 2310.06825): Llama with a sliding window. Reference: `MistralForCausalLM` in Transformers.

use super::decoder::{self, DecoderConfig, Turning};
use super::like_llama::like_llama;
use super::{Architecture, Exports, GgufModel};
use crate::config::{Config, ConfigError};
use crate::head::Head;

pub(crate) static ARCHITECTURE: Architecture = like_llama! {
    model_type: "mistral",
    class: "Mistral",
    ties_by_default: false,
    default_targets: &["q_proj", "v_proj"],
    read: read,
    exports: Exports::both(gguf),
};

fn read(config: &Config) -> Result<DecoderConfig, ConfigError> {
    let (mut described, keys) = DecoderConfig::read(config)?;
    described.slide(&keys);
    Ok(described)
}

/// Llama there too.
fn gguf(config: &Config, _: Head) -> Result<GgufModel, ConfigError> {
    decoder::gguf(config, &read(config)?, ("llama", Turning::Neighbours))
}
