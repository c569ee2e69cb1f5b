//! What may stand in `adapter_config.json` beside the keys that are read: whatever is off, and whatever has no bearing
//! on the adapter.

use serde_json::Value;

use super::ConfigError;
use super::keys::{Keys, shown};
use crate::method::UnreadKeys;

/// Of every method.
const IGNORED: &[&str] = &["inference_mode", "runtime_config"];

impl Keys<'_> {
    /// Whatever is left must be off, or have no bearing on the adapter.
    pub(crate) fn refuse_the_rest(&mut self, unread: UnreadKeys) -> Result<(), ConfigError> {
        for (key, value) in self.map.iter().filter(|(_, value)| !is_off(value)) {
            if let Some((_, reason)) = unread.unsupported.iter().find(|(unsupported, _)| unsupported == key) {
                return Err(self.unsupported(key, value, reason));
            }
            if !IGNORED.iter().chain(unread.ignored).any(|ignored| ignored == key) {
                let (file, key, found) = (self.file.to_owned(), key.clone(), shown(value));
                return Err(ConfigError::UnknownKey { file, key, found });
            }
        }
        Ok(())
    }
}

pub(crate) fn is_off(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(true) | Value::Number(_) | Value::String(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use crate::peft::config::fixtures::*;

    #[test]
    fn unknown_keys_that_are_off_are_ignored() {
        let off = r#""a": null, "b": false, "c": [], "d": {}, "runtime_config": {"ephemeral_gpu_offload": true}"#;
        assert_eq!(accepted(off), accepted(r#""megatron_config": {"x": 1}, "eva_config": {"rho": 2.0}"#));
    }

    #[test]
    fn what_has_no_effect_on_a_finished_adapter_is_told_or_ignored() {
        let config = accepted(r#""target_parameters": ["experts.gate_up_proj"], "lorap_emb_lr": 1e-06"#);
        assert_eq!(config.notes, [r#"`target_parameters`: no parameter is adapted by ["experts.gate_up_proj"]"#]);
        assert!(accepted(r#""ensure_weight_tying": true"#).lora().ensure_weight_tying);
    }

    #[test]
    fn an_unknown_key_that_is_on_is_refused() {
        let (message, help) = refusal(with(r#""use_mora": true"#));
        assert_eq!(message, "`use_mora` in adapter_config.json: unknown key with the value true");
        assert_eq!(help, "it may change what the adapter computes; if it does not, remove it from the file");
    }

    #[test]
    fn variants_are_refused_by_name() {
        for (key, value, reason) in [
            ("lora_bias", "true", "biases of `lora_B`"),
            ("trainable_token_indices", "[1, 2]", "trained token embeddings"),
            ("layer_replication", "[[0, 4], [2, 5]]", "replicated layers"),
            ("use_qalora", "true", "QALoRA"),
            ("use_bdlora", r#"{"nblocks": 2}"#, "BD-LoRA"),
            ("alora_invocation_tokens", "[7]", "activated LoRA"),
            ("arrow_config", r#"{"top_k": 3}"#, "Arrow routing"),
            ("kasa_config", r#"{"beta": 1}"#, "KaSA"),
            ("monteclora_config", r#"{"n": 1}"#, "MonteCLoRA"),
            ("velora_config", r#"{"n": 1}"#, "VeLoRA"),
        ] {
            let (message, help) = refusal(with(&format!(r#""{key}": {value}"#)));
            let found = value.replace(": ", ":").replace(", ", ",");
            assert_eq!(message, format!("`{key}` in adapter_config.json: {found} is not supported"));
            assert!(help.starts_with(reason), "{key}: {help}");
        }
    }
}
