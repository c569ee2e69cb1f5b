//! `[[legs]]`: how a finished run went on. A run writes them into its `config.toml`, so that the file repeats the run as it
//! was, first with the settings of `[train]` and then, after the named steps, with others.

use serde::{Deserialize, Serialize};
use toml::Value;

use super::keys::Key;
use super::words::Schedule;
use super::written::TrainConfig;

/// Settings from a step on. What is `None` stays as it was before.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Leg {
    /// Optimiser steps that were done before it.
    pub(crate) after_step: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) epochs: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_steps: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) learning_rate: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) schedule: Option<Schedule>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) warmup_steps: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) warmup_ratio: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) early_stopping_patience: Option<usize>,
}

impl Leg {
    /// Keys of `[train]` that a leg may set, in the order of the file.
    pub(crate) const KEYS: [&str; 7] =
        ["epochs", "max_steps", "learning_rate", "schedule", "warmup_steps", "warmup_ratio", "early_stopping_patience"];

    /// Takes the value that `train` has of one of `KEYS`.
    pub(crate) fn set(&mut self, key: &str, train: &TrainConfig) {
        match key {
            "epochs" => self.epochs = Some(train.epochs),
            "max_steps" => self.max_steps = Some(train.max_steps),
            "learning_rate" => self.learning_rate = Some(train.learning_rate),
            "schedule" => self.schedule = Some(train.schedule),
            "early_stopping_patience" => self.early_stopping_patience = Some(train.early_stopping_patience),
            // One of the two: the other one's value would contradict it.
            "warmup_steps" | "warmup_ratio" => {
                (self.warmup_steps, self.warmup_ratio) = (train.warmup_steps, train.warmup_ratio);
            }
            _ => unreachable!("the key is one of `KEYS`"),
        }
    }

    /// The keys that it sets, with their values as TOML.
    pub(crate) fn written(&self) -> Vec<(&'static str, Value)> {
        let table = toml::Table::try_from(self).expect("numbers and words are TOML");
        Self::KEYS.into_iter().filter_map(|key| Some((key, table.get(key)?.clone()))).collect()
    }

    /// `train.epochs = 5, train.learning_rate = 0.0001`
    pub(crate) fn in_words(&self) -> String {
        let written = self.written();
        written.iter().map(|(key, value)| format!("train.{key} = {value}")).collect::<Vec<_>>().join(", ")
    }

    /// `[train]` as it is from this leg on.
    pub(crate) fn over(&self, train: &TrainConfig) -> TrainConfig {
        let has_warmup = self.warmup_steps.is_some() || self.warmup_ratio.is_some();
        let warmup = match has_warmup {
            true => (self.warmup_steps, self.warmup_ratio),
            false => (train.warmup_steps, train.warmup_ratio),
        };
        TrainConfig {
            epochs: self.epochs.unwrap_or(train.epochs),
            max_steps: self.max_steps.unwrap_or(train.max_steps),
            learning_rate: self.learning_rate.unwrap_or(train.learning_rate),
            schedule: self.schedule.unwrap_or(train.schedule),
            warmup_steps: warmup.0,
            warmup_ratio: warmup.1,
            early_stopping_patience: self.early_stopping_patience.unwrap_or(train.early_stopping_patience),
            ..train.clone()
        }
    }

    /// Whether a value of the file is a list of legs: each after a later step than the one before, with keys that `[train]`
    /// would take too.
    pub(super) fn are(value: &Value) -> bool {
        let Some(legs) = value.as_array() else { return false };
        let leg = |value: &Value| -> Option<Self> {
            let leg = Self::deserialize(value.clone()).ok()?;
            let takes = |(key, value): &(&str, Value)| {
                let key = Key::find(&format!("train.{key}")).expect("a leg has keys of `[train]`");
                key.check(value, "", String::new()).is_ok()
            };
            let one_warmup = leg.warmup_steps.is_none() || leg.warmup_ratio.is_none();
            (one_warmup && leg.written().iter().all(takes)).then_some(leg)
        };
        let steps: Option<Vec<usize>> = legs.iter().map(|value| Some(leg(value)?.after_step)).collect();
        steps.is_some_and(|steps| steps.first() != Some(&0) && steps.is_sorted_by(|left, right| left < right))
    }
}
