//! BitFit: every bias is trained, and the head, on frozen weights (Ben Zaken et al. 2022, arXiv 2106.10199). PEFT has no type
//! for it; an adapter of LoRA without targets and with `bias = "all"` is exactly that, to PEFT as well.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::lora::LoraConfig;
use super::none::NO_TARGETS;
use super::{Method, OtherName, lora};
use crate::config::{BiasMode, Names, TargetConfig, Targets};
use crate::method::UnreadKeys;
use crate::peft::{ConfigError, Keys, STANDARD_HEADS};
use crate::settings::{MODULES_TO_SAVE, Setting};
use crate::{AdapterMethod, Base, Kind, Parameter, Part, Selector, TargetError, Treatment};

pub(super) const NAME: &str = "bitfit";
pub(super) const PEFT_TYPE: Option<&str> = lora::PEFT_TYPE;
pub(super) const OTHER_NAMES: &[OtherName] = &[OtherName::of(&["bitfit", "biases"], "BitFit")];
pub(super) const SUMMARY: &str = "every bias, and the classification head";
pub(super) const SETTINGS: &[Setting] = &[MODULES_TO_SAVE];

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BitFit {
    /// Trained in full and saved with the biases, each with all below it; first those of the task, once the base is known.
    modules_to_save: Vec<String>,
    /// The base's, for messages.
    #[serde(skip)]
    model_type: String,
}

impl BitFit {
    /// The keys of LoRA that would say something of targets have no bearing where there are none.
    pub(super) fn from_peft(keys: &mut Keys<'_>) -> Result<Option<Self>, ConfigError> {
        let is = |key: &str, value: &str| keys.peek(key).is_some_and(|found| *found == value);
        if !is("target_modules", NO_TARGETS) || !is("bias", "all") {
            return Ok(None);
        }
        let modules_to_save = LoraConfig::read_peft(keys)?.targets.modules_to_save;
        Ok(Some(Self { modules_to_save, model_type: String::new() }))
    }
}

impl AdapterMethod for BitFit {
    fn describe(&self) -> String {
        "BitFit, every bias".to_string()
    }

    fn modules_to_save(&self) -> &[String] {
        &self.modules_to_save
    }

    fn trains_bias(&self, _: Treatment) -> bool {
        true
    }

    fn check_model(&self, _: &[(String, Kind)], parameters: &[Parameter]) -> Result<(), TargetError> {
        match parameters.iter().any(|parameter| parameter.part == Part::Bias) {
            true => Ok(()),
            false => Err(TargetError::Setting {
                key: "method",
                problem: format!("BitFit trains biases, and this model (`{}`) has none", self.model_type),
                help: |name| format!("set {} to \"lora\", or to \"ia3\" for as few parameters", name("method")),
            }),
        }
    }

    fn resolved(&self, base: &Base<'_>) -> Method {
        let of = TargetConfig { modules_to_save: self.modules_to_save.clone(), ..TargetConfig::default() };
        Method::BitFit(Box::new(Self {
            modules_to_save: of.resolved(&[], base.heads).modules_to_save,
            model_type: base.model_type.to_owned(),
        }))
    }

    fn written(&self, _: &Selector) -> Method {
        Method::BitFit(Box::new(self.clone()))
    }

    fn as_settings(&self) -> Method {
        let mut settings = self.clone();
        settings.modules_to_save.retain(|module| !STANDARD_HEADS.contains(&module.as_str()));
        Method::BitFit(Box::new(settings))
    }

    fn with_ranks(&self, _: &[(String, usize)], _: Option<TargetConfig>) -> Result<Method, &'static str> {
        Err("BitFit, which trains biases")
    }

    fn to_peft(&self, fan_in_fan_out: bool) -> Map<String, Value> {
        let targets = TargetConfig {
            target_modules: Targets::Names(Names::Pattern(NO_TARGETS.to_string())),
            modules_to_save: self.modules_to_save.clone(),
            ..TargetConfig::default()
        };
        LoraConfig { bias: BiasMode::All, targets, ..LoraConfig::of_peft() }.to_peft(fan_in_fan_out)
    }

    fn unread_keys(&self) -> UnreadKeys {
        lora::UNREAD
    }
}
