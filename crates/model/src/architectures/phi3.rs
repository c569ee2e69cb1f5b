//! Phi-3 (Abdin et al. 2024, arXiv 2404.14219), Phi-3.5, Phi-4 and Phi-4-mini: Llama with joined projections and a window; some turn
//! with `longrope`, and Phi-4-mini three quarters of each head alone. Reference: `Phi3ForCausalLM` in Transformers.

use super::decoder::{self, DecoderConfig, Projections, Turning};
use super::like_llama::like_llama;
use super::{Architecture, Exports, GgufModel};
use crate::config::{Config, ConfigError};
use crate::head::Head;

pub(crate) static ARCHITECTURE: Architecture = like_llama! {
    model_type: "phi3",
    class: "Phi3",
    ties_by_default: false,
    default_targets: &["qkv_proj"],
    read: read,
    exports: Exports::both(gguf),
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

fn gguf(config: &Config, _: Head) -> Result<GgufModel, ConfigError> {
    decoder::gguf(config, &read(config)?, ("phi3", Turning::Halves))
}
