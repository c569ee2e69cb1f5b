//! Llama 1 to 3.3 (Touvron et al. 2023, arXiv 2302.13971; 2407.21783), and models saved as such: SmolLM, TinyLlama. Reference:
//! `LlamaForCausalLM` in Transformers.

use super::decoder::{self, DecoderConfig, Turning};
use super::like_llama::like_llama;
use super::{Architecture, Exports, GgufModel};
use crate::config::{Config, ConfigError};
use crate::head::Head;

pub(crate) static ARCHITECTURE: Architecture = like_llama! {
    model_type: "llama",
    class: "Llama",
    ties_by_default: false,
    default_targets: &["q_proj", "v_proj"],
    read: read,
    exports: Exports::both(gguf),
};

fn read(config: &Config) -> Result<DecoderConfig, ConfigError> {
    let (mut described, _) = DecoderConfig::read(config)?;
    let attention_bias = config.flag("attention_bias");
    (described.query_key_bias, described.output_bias) = (attention_bias, attention_bias);
    described.feed_forward_bias = config.flag("mlp_bias");
    Ok(described)
}

fn gguf(config: &Config, _: Head) -> Result<GgufModel, ConfigError> {
    decoder::gguf(config, &read(config)?, ("llama", Turning::Neighbours))
}
