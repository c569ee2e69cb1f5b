//! No adapter: the head alone is trained, on a frozen model. PEFT has no type for it; an adapter of LoRA without targets is
//! its modules and nothing else.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::lora::LoraConfig;
use super::{Method, OtherName, lora};
use crate::config::{Names, TargetConfig, Targets};
use crate::method::{BackwardPass, UnreadKeys};
use crate::peft::{ConfigError, Keys, STANDARD_HEADS};
use crate::settings::Setting;
use crate::{AdapterMethod, Base, Selector};

pub(super) const NAME: &str = "none";
pub(super) const PEFT_TYPE: Option<&str> = lora::PEFT_TYPE;
pub(super) const OTHER_NAMES: &[OtherName] =
    &[OtherName::of(&["head", "headalone", "linearprobe", "linearprobing"], "a trained head alone")];
pub(super) const SUMMARY: &str = "the classification head alone";
pub(super) const SETTINGS: &[Setting] = &[];

/// PEFT's own word for "no module".
pub(super) const NO_TARGETS: &str = "dummy-target-modules";

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeadAlone {
    /// Each with all below it; the task decides which.
    #[serde(skip)]
    modules: Vec<String>,
}

impl HeadAlone {
    pub fn new(modules: Vec<String>) -> Self {
        Self { modules }
    }

    /// With every bias trained it is BitFit's.
    pub(super) fn from_peft(keys: &mut Keys<'_>) -> Result<Option<Self>, ConfigError> {
        let key = "target_modules";
        let Some(none) = keys.peek(key).filter(|targets| *targets == NO_TARGETS) else { return Ok(None) };
        match keys.peek("modules_to_save").and_then(Value::as_array).map_or(0, Vec::len) {
            0 => Err(keys.unsupported(key, none, "it adapts no module and saves none: there is nothing in it")),
            _ => Ok(Some(Self::new(LoraConfig::read_peft(keys)?.targets.modules_to_save))),
        }
    }
}

impl AdapterMethod for HeadAlone {
    fn describe(&self) -> String {
        "the classification head alone".to_string()
    }

    fn modules_to_save(&self) -> &[String] {
        &self.modules
    }

    fn backward_pass(&self) -> BackwardPass {
        BackwardPass::Head
    }

    fn resolved(&self, base: &Base<'_>) -> Method {
        Method::modules(base.heads.to_vec())
    }

    fn written(&self, _: &Selector) -> Method {
        Method::modules(self.modules.clone())
    }

    fn as_settings(&self) -> Method {
        let is_own = |module: &&String| !STANDARD_HEADS.contains(&module.as_str());
        Method::modules(self.modules.iter().filter(is_own).cloned().collect())
    }

    fn with_ranks(&self, _: &[(String, usize)], _: Option<TargetConfig>) -> Result<Method, &'static str> {
        Err("a head alone, without an update of a weight")
    }

    fn to_peft(&self, fan_in_fan_out: bool) -> Map<String, Value> {
        let targets = TargetConfig {
            target_modules: Targets::Names(Names::Pattern(NO_TARGETS.to_string())),
            modules_to_save: self.modules.clone(),
            ..TargetConfig::default()
        };
        LoraConfig { targets, ..LoraConfig::of_peft() }.to_peft(fan_in_fan_out)
    }

    fn unread_keys(&self) -> UnreadKeys {
        lora::UNREAD
    }
}
