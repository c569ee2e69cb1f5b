//! Qwen2 and Qwen2.5 (Yang et al. 2024, arXiv 2407.10671; 2412.15115): Llama with biases of queries, keys and values. Reference:
//! `Qwen2ForCausalLM` in Transformers.

use serde::Deserialize;

use super::decoder::{DecoderConfig, load_causal_lm, load_classifier};
use super::{Architecture, Head, Variant};
use crate::config::{Config, ConfigError};

pub(crate) static ARCHITECTURE: Architecture = Architecture {
    model_types: &["qwen2"],
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
            class: "Qwen2ForCausalLM",
            modules: &["lm_head"],
            pooler: "",
            passed_over: &["score.*"],
            load: |loader, config, _| load_causal_lm(loader, &read(config)?),
        },
        Variant {
            head: Head::SequenceClassification,
            class: "Qwen2ForSequenceClassification",
            modules: &["score"],
            pooler: "",
            passed_over: &["lm_head.*"],
            load: |loader, config, labels| load_classifier(loader, &read(config)?, labels),
        },
    ],
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
