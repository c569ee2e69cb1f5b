//! `adapter_config.json`, PEFT's configuration of an adapter, read and written; the keys of a method are its own affair.
//! PEFT drops a key it does not know with a warning; here whatever could change the result is refused by its name.

mod error;
#[cfg(test)]
mod fixtures;
mod keys;
mod read;
mod rest;
mod write;

use serde_json::Value;

pub use error::ConfigError;
pub(crate) use keys::{Keys, integer, shown};
pub(crate) use rest::is_off;
pub(crate) use write::{number, some_list, some_names, sorted, written_targets};

use crate::Method;
use crate::config::Names;

/// What `adapter_config.json` holds.
#[derive(Debug, Clone, PartialEq)]
pub struct PeftConfig {
    pub method: Method,
    /// Hub name or path of the base.
    pub base_model: Option<String>,
    pub revision: Option<String>,
    pub task_type: Option<String>,
    /// The version that wrote the file; ours when it is written again.
    pub peft_version: Option<String>,
    /// Whether the weights of its targets lie as (in, out), GPT-2's.
    pub fan_in_fan_out: bool,
    /// The base's class, for adapters without a task type.
    pub auto_mapping: Option<Value>,
    /// What stands in the file without an effect, to be told to the user.
    pub notes: Vec<String>,
}

fn is_not_empty(names: &Names) -> bool {
    match names {
        Names::List(list) => !list.is_empty(),
        Names::Pattern(pattern) => !pattern.is_empty(),
    }
}

#[cfg(test)]
impl PeftConfig {
    fn lora(&self) -> &crate::LoraConfig {
        match &self.method {
            Method::Lora(lora) => lora,
            other => panic!("{other:?}"),
        }
    }

    fn lora_mut(&mut self) -> &mut crate::LoraConfig {
        match &mut self.method {
            Method::Lora(lora) => lora,
            other => panic!("{other:?}"),
        }
    }
}
