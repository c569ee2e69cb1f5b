//! OLMo 2 (Team OLMo 2024, arXiv 2501.00656): Llama with norms after attention and feed-forward network instead of before them,
//! and norms of whole queries and keys. Reference: `Olmo2ForCausalLM` in Transformers.

use serde_json::json;

use super::Architecture;
use super::decoder::{DecoderConfig, Norms, QueryKeyNorm};
use super::like_llama::{causal_lm, language_model, like_llama, sequence_classifier};
use crate::config::{Config, ConfigError};

pub(crate) static ARCHITECTURE: Architecture = like_llama! {
    model_type: "olmo2",
    variants: &[causal_lm("Olmo2ForCausalLM", |config| Ok(language_model(read(config)?.logits))), sequence_classifier("Olmo2ForSequenceClassification")],
    ties_by_default: false,
    // PEFT has none for it.
    default_targets: &["q_proj", "v_proj"],
    read: read,
};

fn read(config: &Config) -> Result<DecoderConfig, ConfigError> {
    let (mut described, _) = DecoderConfig::read(&config.with_defaults(&[("rms_norm_eps", json!(1e-5))]))?;
    let attention_bias = config.flag("attention_bias");
    (described.query_key_bias, described.output_bias) = (attention_bias, attention_bias);
    described.norms = Norms::After;
    described.query_key_norm = QueryKeyNorm::Whole;
    Ok(described)
}
