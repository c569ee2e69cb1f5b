//! Gemma 2 (Gemma Team 2024, arXiv 2408.00118): norms around each part with a factor of 1 + w, embeddings times the root of
//! their width, soft caps of attention scores and logits, a window in every other layer. Reference: `Gemma2ForCausalLM` in
//! Transformers. Gemma 3 is read with what is here, too.

use kernels::LogitsTransform;
use serde::Deserialize;
use serde_json::json;

use super::decoder::{DecoderConfig, Norms};
use super::like_llama::like_llama;
use super::{Architecture, activation};
use crate::config::{Config, ConfigError};

pub(crate) static ARCHITECTURE: Architecture = like_llama! {
    model_type: "gemma2",
    class: "Gemma2",
    ties_by_default: true,
    default_targets: &["q_proj", "v_proj"],
    read: read,
};

/// The keys that Gemma 2 and 3 have beside those of Llama, with the defaults of `Gemma2Config` and `Gemma3TextConfig`.
#[derive(Deserialize)]
struct GemmaKeys {
    #[serde(default = "gelu_tanh")]
    hidden_activation: String,
    /// Attention scores are divided by its root.
    query_pre_attn_scalar: f64,
    attn_logit_softcapping: Option<f64>,
    final_logit_softcapping: Option<f64>,
    use_bidirectional_attention: Option<bool>,
}

fn gelu_tanh() -> String {
    "gelu_pytorch_tanh".to_string()
}

fn read(config: &Config) -> Result<DecoderConfig, ConfigError> {
    let caps = [("attn_logit_softcapping", json!(50.0)), ("final_logit_softcapping", json!(30.0))];
    describe(&config.with_defaults(&caps), 2)
}

/// What Gemma 2 and 3 have in common. Every `pattern`-th layer attends to everything where `layer_types` does not say which.
pub(super) fn describe(config: &Config, pattern: usize) -> Result<DecoderConfig, ConfigError> {
    let sizes = [
        ("head_dim", json!(256)),
        ("num_key_value_heads", json!(4)),
        ("sliding_window", json!(4096)),
        ("query_pre_attn_scalar", json!(256)),
    ];
    let config = &config.with_defaults(&sizes);
    let (mut described, keys) = DecoderConfig::read(config)?;
    let own: GemmaKeys = config.parse()?;
    config.check_positive(&["query_pre_attn_scalar", "attn_logit_softcapping", "final_logit_softcapping"])?;
    if own.use_bidirectional_attention == Some(true) {
        let help = "models that attend in both directions, such as EmbeddingGemma, are not supported: choose a Gemma that \
                    is a causal language model";
        return Err(config.wrong("`use_bidirectional_attention` is true".to_string(), help));
    }
    if config.number("sliding_window").is_none() {
        let help = "a number of tokens belongs there: copy the model's config.json again";
        return Err(config.wrong("`sliding_window` is null".to_string(), help));
    }
    described.activation = activation(config, "hidden_activation", &own.hidden_activation)?;
    let attention_bias = config.flag("attention_bias");
    (described.query_key_bias, described.output_bias) = (attention_bias, attention_bias);
    described.norm.plus_one = true;
    described.norms = Norms::Around;
    described.scale = (1.0 / own.query_pre_attn_scalar.sqrt()) as f32;
    described.score_soft_cap = own.attn_logit_softcapping.map(|cap| cap as f32);
    described.logits = LogitsTransform { scale: 1.0, soft_cap: own.final_logit_softcapping.map(|cap| cap as f32) };
    // In the type that embeddings are computed in, which is f32 here whatever they are stored in.
    described.embedding_multiplier = (described.hidden as f64).sqrt();
    described.slide_but_each(config, &keys, pattern)?;
    Ok(described)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn described(changes: &Value) -> DecoderConfig {
        let mut config = json!({
            "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 3, "num_attention_heads": 8, "vocab_size": 99,
            "max_position_embeddings": 8192,
        });
        config.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("config.json"), config.to_string()).unwrap();
        read(&Config::read(directory.path()).unwrap()).unwrap()
    }

    #[test]
    fn defaults_are_those_of_gemma2_config() {
        let bare = described(&json!({}));
        assert_eq!((bare.score_soft_cap, bare.logits.soft_cap, bare.scale), (Some(50.0), Some(30.0), 0.0625));
        assert_eq!((bare.d_head, bare.windows), (256, vec![Some(4096), None, Some(4096)]));
        let listed = described(&json!({ "layer_types": ["full_attention", "sliding_attention", "full_attention"] }));
        assert_eq!(listed.windows, [None, Some(4096), None]);
        let uncapped = described(&json!({ "attn_logit_softcapping": null, "final_logit_softcapping": null }));
        assert_eq!((uncapped.score_soft_cap, uncapped.logits), (None, LogitsTransform::default()));
    }
}
