//! `adapter_config.json`, PEFT's configuration of a LoRA adapter, read and written. PEFT drops a key it does not know
//! with a warning; here whatever could change the result is refused by its name.

mod error;
#[cfg(test)]
mod fixtures;
mod keys;
mod read;
mod rest;
mod write;

use serde_json::Value;

pub use error::ConfigError;

use crate::config::{LoraConfig, Names};

/// What `adapter_config.json` holds.
#[derive(Debug, Clone, PartialEq)]
pub struct PeftConfig {
    pub lora: LoraConfig,
    /// Hub name or path of the base.
    pub base_model: Option<String>,
    pub revision: Option<String>,
    pub task_type: Option<String>,
    /// The version that wrote the file; ours when it is written again.
    pub peft_version: Option<String>,
    /// The base's class, for adapters without a task type.
    pub auto_mapping: Option<Value>,
    /// `target_modules` is null: PEFT then takes its default for the architecture, which the caller fills in.
    /// `lora.target_modules` is an empty list until then.
    pub targets_missing: bool,
    /// The start, MiCA, trains A alone: nothing to an adapter that is finished, but it cannot be trained on as others are.
    pub frozen_b: bool,
    /// Tied layers share one adapter, where they have any.
    pub ensure_weight_tying: bool,
    /// What stands in the file without an effect, to be told to the user.
    pub notes: Vec<String>,
}

fn is_not_empty(names: &Names) -> bool {
    match names {
        Names::List(list) => !list.is_empty(),
        Names::Pattern(pattern) => !pattern.is_empty(),
    }
}
