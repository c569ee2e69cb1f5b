//! Full fine-tuning: every tensor is trained, or those of some layers and what follows them, and a whole model is saved.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{HeadAlone, Method, OtherName};
use crate::config::one_or_several;
use crate::method::{BackwardPass, Place};
use crate::peft::{ConfigError, Keys};
use crate::settings::{Setting, SettingKind};
use crate::targets::layer_of;
use crate::{AdapterMethod, Base, Kind, Parameter, Selector, TargetConfig, TargetError};

pub(super) const NAME: &str = "full";
pub(super) const PEFT_TYPE: Option<&str> = None;
pub(super) const OTHER_NAMES: &[OtherName] =
    &[OtherName::of(&["full", "fullfinetuning", "finetuning", "finetune", "fft"], "full fine-tuning")];
pub(super) const SUMMARY: &str = "every weight is trained, or those of some layers and what follows them";

const LAYERS: &str = "layers";
const LAST_LAYERS: &str = "last_layers";

pub(super) const SETTINGS: &[Setting] = &[
    Setting::new(LAYERS, SettingKind::Layers, "the layers to train, counted from 0; without it all")
        .such_as("[10, 11]"),
    Setting::new(LAST_LAYERS, SettingKind::Count(1), "So many of the last layers are trained; excludes `layers`")
        .such_as("2"),
    Setting::new(
        "train_embeddings",
        SettingKind::Flag,
        "Train the embeddings and all else below the first layer; if not, there is no backward pass below the first layer that is trained. An output layer that is tied to the word embeddings is trained as they are",
    )
    .such_as("false"),
];

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Full {
    /// The layers that are trained; `None` for all.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "one_or_several")]
    pub layers: Option<Vec<usize>>,
    /// So many of the last ones instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_layers: Option<usize>,
    pub train_embeddings: bool,
    /// How many the base has, once it is known.
    #[serde(skip)]
    of_base: usize,
}

impl Default for Full {
    fn default() -> Self {
        Self { layers: None, last_layers: None, train_embeddings: true, of_base: 0 }
    }
}

impl Full {
    pub(super) fn from_peft(_: &mut Keys<'_>) -> Result<Option<Self>, ConfigError> {
        Ok(None)
    }

    fn trains_layer(&self, layer: usize) -> bool {
        match (&self.layers, self.last_layers) {
            (Some(layers), _) => layers.contains(&layer),
            (None, Some(count)) => layer + count >= self.of_base,
            (None, None) => true,
        }
    }
}

impl AdapterMethod for Full {
    fn describe(&self) -> String {
        let layers = match (&self.layers, self.last_layers) {
            (Some(layers), _) => {
                let numbers: Vec<String> = layers.iter().map(usize::to_string).collect();
                format!(" of layers {} and what follows them", numbers.join(", "))
            }
            (None, Some(1)) => " of the last layer and what follows it".to_string(),
            (None, Some(count)) => format!(" of the last {count} layers and what follows them"),
            (None, None) => String::new(),
        };
        let embeddings = match (self.train_embeddings, layers.is_empty()) {
            (true, true) | (false, false) => "",
            (true, false) => ", and of the embeddings",
            (false, true) => " but for the embeddings",
        };
        format!("full fine-tuning{layers}{embeddings}")
    }

    fn shown(&self) -> Map<String, Value> {
        let settings = match (&self.layers, self.last_layers) {
            (None, None) if self.train_embeddings => json!({}),
            (layers, last) => json!({
                LAYERS: layers, LAST_LAYERS: last, "train_embeddings": self.train_embeddings,
            }),
        };
        settings.as_object().cloned().unwrap_or_default()
    }

    fn trains(&self, place: Place) -> bool {
        match place {
            Place::Embeddings => self.train_embeddings,
            Place::Layer(layer) => self.trains_layer(layer),
            Place::Above => true,
        }
    }

    fn trains_all(&self) -> bool {
        self.layers.is_none() && self.last_layers.is_none() && self.train_embeddings
    }

    fn saves_model(&self) -> bool {
        true
    }

    fn backward_pass(&self) -> BackwardPass {
        BackwardPass::Trained
    }

    fn check(&self) -> Result<(), TargetError> {
        match self.layers.is_some() && self.last_layers.is_some() {
            false => Ok(()),
            true => Err(TargetError::Setting {
                key: LAST_LAYERS,
                problem: "layers are chosen twice".to_string(),
                help: |name| format!("keep {} or {}, not both", name(LAYERS), name(LAST_LAYERS)),
            }),
        }
    }

    fn check_model(&self, modules: &[(String, Kind)], _: &[Parameter]) -> Result<(), TargetError> {
        let known: BTreeSet<usize> = modules.iter().filter_map(|(path, _)| layer_of(path)).collect();
        let unknown = self.layers.iter().flatten().find(|layer| !known.contains(layer));
        match (unknown, self.last_layers) {
            (Some(layer), _) => {
                let (first, last) = (known.first().unwrap_or(&0), known.last().unwrap_or(&0));
                Err(TargetError::Setting {
                    key: LAYERS,
                    problem: format!("the model has no layer {layer}, only {first} to {last}"),
                    help: |name| format!("remove it from {}", name(LAYERS)),
                })
            }
            (None, Some(count)) if count > known.len() => Err(TargetError::Setting {
                key: LAST_LAYERS,
                problem: format!("the model has {} layers, not {count}", known.len()),
                help: |name| format!("lower {}, or remove it to train all layers", name(LAST_LAYERS)),
            }),
            _ => Ok(()),
        }
    }

    fn resolved(&self, base: &Base<'_>) -> Method {
        Method::Full(Box::new(Self { of_base: base.layers, ..self.clone() }))
    }

    fn written(&self, _: &Selector) -> Method {
        Method::Full(Box::new(self.clone()))
    }

    fn as_settings(&self) -> Method {
        Method::Full(Box::new(self.clone()))
    }

    fn with_ranks(&self, _: &[(String, usize)], _: Option<TargetConfig>) -> Result<Method, &'static str> {
        Err("a whole model")
    }

    fn to_peft(&self, fan_in_fan_out: bool) -> Map<String, Value> {
        HeadAlone::new(Vec::new()).to_peft(fan_in_fan_out)
    }
}
