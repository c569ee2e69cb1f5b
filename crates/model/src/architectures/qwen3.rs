//! Qwen3 (Yang et al. 2025, arXiv 2505.09388): Llama with norms of queries and keys. Reference: `Qwen3ForCausalLM` in Transformers.

use serde::Deserialize;

use super::decoder::{self, DecoderConfig, QueryKeyNorm, Turning};
use super::like_llama::like_llama;
use super::{Architecture, Exports, GgufModel};
use crate::config::{Config, ConfigError};
use crate::head::Head;

pub(crate) static ARCHITECTURE: Architecture = like_llama! {
    model_type: "qwen3",
    class: "Qwen3",
    ties_by_default: false,
    default_targets: &["q_proj", "v_proj"],
    read: read,
    exports: Exports::both(gguf),
};

#[derive(Deserialize)]
struct Qwen3Keys {
    #[serde(default)]
    use_sliding_window: bool,
    /// The layers before it attend to everything.
    max_window_layers: Option<usize>,
}

fn read(config: &Config) -> Result<DecoderConfig, ConfigError> {
    let (mut described, keys) = DecoderConfig::read(config)?;
    let own: Qwen3Keys = config.parse()?;
    let attention_bias = config.flag("attention_bias");
    (described.query_key_bias, described.output_bias) = (attention_bias, attention_bias);
    described.query_key_norm = QueryKeyNorm::Heads;
    if own.use_sliding_window {
        described.slide_some(config, &keys, own.max_window_layers)?;
    }
    Ok(described)
}

fn gguf(config: &Config, _: Head) -> Result<GgufModel, ConfigError> {
    config.check_false_for_llama_cpp(&["attention_bias"])?;
    decoder::gguf(config, &read(config)?, ("qwen3", Turning::Halves))
}
