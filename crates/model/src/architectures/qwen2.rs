//! Qwen2 and Qwen2.5 (Yang et al. 2024, arXiv 2407.10671; 2412.15115): Llama with biases of queries, keys and values. Reference:
//! `Qwen2ForCausalLM` in Transformers.

use serde::Deserialize;

use super::decoder::{self, DecoderConfig, Turning};
use super::like_llama::like_llama;
use super::{Architecture, Exports, GgufModel};
use crate::config::{Config, ConfigError};
use crate::head::Head;

pub(crate) static ARCHITECTURE: Architecture = like_llama! {
    model_type: "qwen2",
    class: "Qwen2",
    ties_by_default: false,
    default_targets: &["q_proj", "v_proj"],
    read: read,
    exports: Exports::both(gguf),
};

#[derive(Deserialize)]
struct Qwen2Keys {
    #[serde(default)]
    use_sliding_window: bool,
    /// The layers before it attend to everything.
    max_window_layers: Option<usize>,
}

fn read(config: &Config) -> Result<DecoderConfig, ConfigError> {
    let (mut described, keys) = DecoderConfig::read(config)?;
    let own: Qwen2Keys = config.parse()?;
    described.query_key_bias = true;
    if own.use_sliding_window {
        described.slide_some(config, &keys, own.max_window_layers)?;
    }
    Ok(described)
}

fn gguf(config: &Config, _: Head) -> Result<GgufModel, ConfigError> {
    decoder::gguf(config, &read(config)?, ("qwen2", Turning::Halves))
}
