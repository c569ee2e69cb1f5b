//! Qwen3's mixtures of experts (Yang et al. 2025, arXiv 2505.09388): Qwen3 with experts in some layers, or in all. Reference:
//! `Qwen3MoeForCausalLM` in Transformers. PEFT has no default targets for it; Qwen3's.

use serde::Deserialize;

use super::Architecture;
use super::decoder::{DecoderConfig, ExpertsConfig, QueryKeyNorm};
use super::like_llama::like_llama;
use crate::config::{Config, ConfigError};

pub(crate) static ARCHITECTURE: Architecture = like_llama! {
    model_type: "qwen3_moe",
    class: "Qwen3Moe",
    ties_by_default: false,
    default_targets: &["q_proj", "v_proj"],
    read: read,
};

/// With the defaults of `Qwen3MoeConfig`.
#[derive(Deserialize)]
struct Qwen3MoeKeys {
    #[serde(default)]
    use_sliding_window: bool,
    /// In Transformers 5; before, `num_experts`.
    num_local_experts: Option<usize>,
    num_experts: Option<usize>,
    #[serde(default = "eight")]
    num_experts_per_tok: usize,
    #[serde(default = "width")]
    moe_intermediate_size: usize,
    #[serde(default)]
    norm_topk_prob: bool,
    /// Every so many layers one has experts.
    #[serde(default = "one")]
    decoder_sparse_step: usize,
    /// Layers without experts all the same.
    mlp_only_layers: Option<Vec<usize>>,
}

fn eight() -> usize {
    8
}

fn width() -> usize {
    768
}

fn one() -> usize {
    1
}

fn read(config: &Config) -> Result<DecoderConfig, ConfigError> {
    let (mut described, keys) = DecoderConfig::read(config)?;
    let own: Qwen3MoeKeys = config.parse()?;
    let attention_bias = config.flag("attention_bias");
    (described.query_key_bias, described.output_bias) = (attention_bias, attention_bias);
    described.query_key_norm = QueryKeyNorm::Heads;
    if own.use_sliding_window {
        described.slide(&keys);
    }
    if config.flag("output_router_logits") {
        let help = "this version trains without the loss that balances the experts, as Transformers does by default: set it to \
                    false";
        return Err(config.wrong("`output_router_logits` is true".to_string(), help));
    }
    described.experts = experts(config, &own, described.layers)?;
    Ok(described)
}

/// `Qwen3MoeDecoderLayer.__init__`
fn experts(config: &Config, own: &Qwen3MoeKeys, layers: usize) -> Result<Option<ExpertsConfig>, ConfigError> {
    config.check_ranges(&["num_experts_per_tok", "moe_intermediate_size", "decoder_sparse_step"], &[])?;
    let (key, count) = match (own.num_local_experts, own.num_experts) {
        (Some(count), _) => ("num_local_experts", count),
        (None, count) => ("num_experts", count.unwrap_or(128)),
    };
    if count == 0 {
        return Ok(None);
    }
    // As of layers: an adapter is made for each.
    const MOST: usize = 4096;
    if count > MOST {
        let help = "the file is not the config.json of a model: download or copy it again";
        return Err(config.wrong(format!("`{key}` is {count}, expected at most {MOST}"), help));
    }
    if own.num_experts_per_tok > count {
        let message = format!("`num_experts_per_tok` is {}, of {count} experts", own.num_experts_per_tok);
        return Err(
            config.wrong(message, "a token chooses among the experts there are: copy the model's config.json again")
        );
    }
    let dense = own.mlp_only_layers.as_deref().unwrap_or_default();
    let is_sparse = |layer: usize| !dense.contains(&layer) && (layer + 1).is_multiple_of(own.decoder_sparse_step);
    Ok(Some(ExpertsConfig {
        count,
        per_token: own.num_experts_per_tok,
        inner: own.moe_intermediate_size,
        renormalised: own.norm_topk_prob,
        layers: (0..layers).map(is_sparse).collect(),
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_layer_keeps_what_the_chosen_experts_make_of_a_token() {
        let inner = |own: Value| {
            let mut config = json!({
                "hidden_size": 64, "intermediate_size": 400, "num_hidden_layers": 4, "num_attention_heads": 4, "vocab_size": 99,
                "max_position_embeddings": 128, "num_experts": 16, "num_experts_per_tok": 2, "moe_intermediate_size": 48,
            });
            config.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
            let directory = tempfile::tempdir().unwrap();
            std::fs::write(directory.path().join("config.json"), config.to_string()).unwrap();
            read(&Config::read(directory.path()).unwrap()).unwrap().activations().inner
        };
        let sparse = 2 * (48 + 64);
        assert_eq!(inner(json!({})), sparse);
        assert_eq!(inner(json!({ "num_experts": 160 })), sparse, "of the others it keeps nothing");
        assert_eq!(inner(json!({ "num_experts_per_tok": 4 })), 2 * sparse);
        assert_eq!(inner(json!({ "decoder_sparse_step": 2 })), (sparse + 400) / 2);
        assert_eq!(inner(json!({ "num_experts": 0 })), 400);
    }
}
