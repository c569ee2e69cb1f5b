//! SmolLM3 (Hugging Face 2025): Llama of which some layers know no positions. Reference: `SmolLM3ForCausalLM` in Transformers.

use serde::Deserialize;

use super::decoder::{self, DecoderConfig, Turning};
use super::like_llama::like_llama;
use super::{Architecture, Exports, GgufModel};
use crate::config::{Config, ConfigError};
use crate::head::Head;

pub(crate) static ARCHITECTURE: Architecture = like_llama! {
    model_type: "smollm3",
    class: "SmolLM3",
    ties_by_default: true,
    default_targets: &["q_proj", "v_proj"],
    read: read,
    exports: Exports::both(gguf),
};

#[derive(Deserialize)]
struct SmolLm3Keys {
    /// 1 for a layer that knows positions, 0 for one that does not.
    no_rope_layers: Option<Vec<u8>>,
    /// Without that list: every so many-th layer does not.
    no_rope_layer_interval: Option<usize>,
    #[serde(default)]
    use_sliding_window: bool,
}

fn read(config: &Config) -> Result<DecoderConfig, ConfigError> {
    let (mut described, keys) = DecoderConfig::read(config)?;
    let own: SmolLm3Keys = config.parse()?;
    let attention_bias = config.flag("attention_bias");
    (described.query_key_bias, described.output_bias) = (attention_bias, attention_bias);
    described.feed_forward_bias = config.flag("mlp_bias");
    let layers = described.turns.len();
    let interval = own.no_rope_layer_interval.unwrap_or(4).max(1);
    described.turns = match own.no_rope_layers {
        Some(list) if list.len() == layers => list.iter().map(|turns| (*turns != 0).then_some(0)).collect(),
        Some(list) => {
            let message = format!("`no_rope_layers` has {} entries for {layers} layers", list.len());
            return Err(config.wrong(message, "copy the model's config.json again"));
        }
        None => (0..layers).map(|layer| ((layer + 1) % interval != 0).then_some(0)).collect(),
    };
    if own.use_sliding_window {
        described.slide_some(config, &keys, None)?;
    }
    Ok(described)
}

fn gguf(config: &Config, _: Head) -> Result<GgufModel, ConfigError> {
    config.check_false_for_llama_cpp(&["attention_bias", "mlp_bias"])?;
    let described = read(config)?;
    let turns_there = |layer: usize| !(layer + 1).is_multiple_of(4);
    if (0..described.layers).any(|layer| described.turns[layer].is_some() != turns_there(layer)) {
        let help = "llama.cpp computes it otherwise: this model has no form in GGUF";
        return Err(config.wrong("not every fourth layer alone knows no positions".to_owned(), help));
    }
    decoder::gguf(config, &described, ("smollm3", Turning::Neighbours))
}
