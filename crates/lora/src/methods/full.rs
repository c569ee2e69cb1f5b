//! Full fine-tuning: every tensor is trained, and a whole model is saved.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{HeadAlone, Method};
use crate::method::BackwardPass;
use crate::peft::{ConfigError, Keys};
use crate::settings::Setting;
use crate::{AdapterMethod, Base, Selector};

pub(super) const NAME: &str = "full";
pub(super) const PEFT_TYPE: Option<&str> = None;
pub(super) const SUMMARY: &str = "every weight is trained";
pub(super) const SETTINGS: &[Setting] = &[];

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Full {}

impl Full {
    pub(super) fn from_peft(_: &mut Keys<'_>) -> Result<Option<Self>, ConfigError> {
        Ok(None)
    }
}

impl AdapterMethod for Full {
    fn describe(&self) -> String {
        "full fine-tuning".to_string()
    }

    fn trains_all(&self) -> bool {
        true
    }

    fn backward_pass(&self) -> BackwardPass {
        BackwardPass::Trained
    }

    fn resolved(&self, _: &Base<'_>) -> Method {
        Method::full()
    }

    fn written(&self, _: &Selector) -> Method {
        Method::full()
    }

    fn as_settings(&self) -> Method {
        Method::full()
    }

    fn to_peft(&self, fan_in_fan_out: bool) -> Map<String, Value> {
        HeadAlone::new(Vec::new()).to_peft(fan_in_fan_out)
    }
}
