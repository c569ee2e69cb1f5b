//! Gemma 3's text models (Gemma Team 2025, arXiv 2503.19786): Gemma 2 without caps, with norms of queries and keys, five layers
//! with a window to one without, and a rotary embedding for each of the two kinds. Reference: `Gemma3ForCausalLM` in
//! Transformers. What also reads images has the `model_type` gemma3 and is not supported.

use serde_json::{Value, json};

use super::Architecture;
use super::decoder::{DecoderConfig, QueryKeyNorm};
use super::gemma2::describe;
use super::like_llama::{causal_lm, language_model, like_llama, sequence_classifier};
use crate::config::{Config, ConfigError};
use crate::layers::Rope;

pub(crate) static ARCHITECTURE: Architecture = like_llama! {
    model_type: "gemma3_text",
    variants: &[causal_lm("Gemma3ForCausalLM", |config| Ok(language_model(read(config)?.logits))), sequence_classifier("Gemma3TextForSequenceClassification")],
    ties_by_default: true,
    default_targets: &["q_proj", "v_proj"],
    read: read,
};

fn read(config: &Config) -> Result<DecoderConfig, ConfigError> {
    config.check_ranges(&["sliding_window_pattern"], &[])?;
    let pattern = config.number("sliding_window_pattern").unwrap_or(6.0) as usize;
    let mut described = describe(config, pattern)?;
    described.query_key_norm = QueryKeyNorm::Heads;
    // `Gemma3TextConfig.convert_rope_params_to_dict`: an older file's scaling is that of the layers that attend to everything.
    let global =
        rope(config, described.d_head, "full_attention", ("rope_theta", 1e6), config.values().get("rope_scaling"))?;
    let local = rope(config, described.d_head, "sliding_attention", ("rope_local_base_freq", 1e4), None)?;
    described.ropes = vec![global, local];
    described.turns = described.windows.iter().map(|window| Some(usize::from(window.is_some()))).collect();
    Ok(described)
}

/// The rotary embedding of one kind of layers: `rope_parameters` has an entry for each; older files have a key for the base.
fn rope(
    config: &Config,
    d_head: usize,
    kind: &str,
    (older, default): (&str, f64),
    scaling: Option<&Value>,
) -> Result<Rope, ConfigError> {
    let theta = json!(config.number(older).unwrap_or(default));
    let of_kind = config.values().get("rope_parameters").and_then(|parameters| parameters.get(kind)?.as_object());
    let mut of_layers = config.clone();
    match of_kind {
        Some(parameters) => {
            let mut parameters = parameters.clone();
            parameters.extend(scaling.and_then(Value::as_object).cloned().unwrap_or_default());
            parameters.entry("rope_theta").or_insert(theta);
            of_layers.set("rope_parameters", parameters.into());
        }
        None => {
            of_layers.set("rope_parameters", Value::Null);
            of_layers.set("rope_scaling", scaling.cloned().unwrap_or_default());
            of_layers.set("rope_theta", theta);
        }
    }
    Rope::read(&of_layers, d_head)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(changes: &Value) -> String {
        let mut config = json!({
            "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 7, "num_attention_heads": 4, "vocab_size": 99,
            "max_position_embeddings": 32768, "sliding_window": 512,
        });
        config.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("config.json"), config.to_string()).unwrap();
        format!("{:?}", read(&Config::read(directory.path()).unwrap()).unwrap())
    }

    /// As Gemma 3 1B was published, and as `save_pretrained` of Transformers 5 writes it.
    #[test]
    fn the_older_and_the_newer_keys_mean_the_same() {
        let older = described(&json!({
            "rope_theta": 1e6, "rope_local_base_freq": 1e4, "rope_scaling": { "factor": 8.0, "rope_type": "linear" },
            "sliding_window_pattern": 6, "attn_logit_softcapping": null, "head_dim": 256, "query_pre_attn_scalar": 256,
        }));
        let mut types = vec!["sliding_attention"; 7];
        types[5] = "full_attention";
        let newer = described(&json!({
            "layer_types": types, "num_key_value_heads": 4, "rope_parameters": {
                "full_attention": { "factor": 8.0, "rope_theta": 1e6, "rope_type": "linear" },
                "sliding_attention": { "rope_theta": 1e4, "rope_type": "default" },
            },
        }));
        assert_eq!(older, newer);
        let bare = described(&json!({}));
        assert_eq!(
            bare,
            older.replace("Linear { factor: 8.0 }", "Default"),
            "defaults are those of `Gemma3TextConfig`"
        );
        assert!(bare.contains("turns: [Some(1), Some(1), Some(1), Some(1), Some(1), Some(0), Some(1)]"), "{bare}");
    }
}
