//! A file of PEFT, and shorter ones, for tests.

use std::path::Path;

use miette::Diagnostic;

use super::{ConfigError, PeftConfig};
use crate::config::{Names, Targets};

/// `parity/cases/bert-cls`, as PEFT 0.21.2 wrote it but for the order of `target_modules`, a set.
pub(super) const BERT_CLS: &str = r#"{
  "alora_invocation_tokens": null,
  "alpha_pattern": {},
  "arrow_config": null,
  "auto_mapping": null,
  "base_model_name_or_path": "../model",
  "bias": "none",
  "corda_config": null,
  "ensure_weight_tying": false,
  "eva_config": null,
  "exclude_modules": null,
  "fan_in_fan_out": false,
  "inference_mode": true,
  "init_lora_weights": true,
  "kasa_config": null,
  "layer_replication": null,
  "layers_pattern": null,
  "layers_to_transform": null,
  "loftq_config": {},
  "lora_alpha": 16,
  "lora_bias": false,
  "lora_dropout": 0.0,
  "lora_ga_config": null,
  "megatron_config": null,
  "megatron_core": "megatron.core",
  "modules_to_save": [
    "classifier",
    "score"
  ],
  "monteclora_config": null,
  "peft_type": "LORA",
  "peft_version": "0.21.2",
  "qalora_group_size": 16,
  "r": 4,
  "rank_pattern": {},
  "revision": null,
  "target_modules": [
    "query",
    "value"
  ],
  "target_parameters": null,
  "task_type": "SEQ_CLS",
  "trainable_token_indices": null,
  "use_bdlora": null,
  "use_dora": false,
  "use_qalora": false,
  "use_rslora": false,
  "velora_config": null
}"#;

pub(super) fn read(text: &str) -> Result<PeftConfig, ConfigError> {
    PeftConfig::from_json(Path::new("adapter_config.json"), text)
}

/// A configuration with these keys besides `peft_type`.
pub(super) fn with(keys: &str) -> Result<PeftConfig, ConfigError> {
    read(&format!(r#"{{"peft_type": "LORA", "target_modules": ["query"], {keys}}}"#))
}

pub(super) fn accepted(keys: &str) -> PeftConfig {
    with(keys).expect("a valid configuration")
}

/// Message and help of the refusal.
pub(super) fn refusal(result: Result<PeftConfig, ConfigError>) -> (String, String) {
    let error = result.expect_err("a refusal");
    (error.to_string(), error.help().map(|help| help.to_string()).unwrap_or_default())
}

pub(super) fn names(list: &[&str]) -> Vec<String> {
    list.iter().map(|name| (*name).to_owned()).collect()
}

pub(super) fn list(names: &[&str]) -> Targets {
    Targets::Names(Names::List(self::names(names)))
}
