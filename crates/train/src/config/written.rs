//! The tables of the configuration file with their defaults, and the way back into a file. Fields are
//! named as the file's keys; `keys.rs` says which values a key takes, and in which order they stand.

use std::collections::BTreeMap;
use std::path::PathBuf;

use data::ColumnNames;
use lora::Method;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::files::Files;
use super::keys::{KEYS, Key, TABLES, has};
use super::kinds::Kind;
use super::legs::Leg;
use super::words::{Balance, Best, Compute, Dtype, LossOn, Optimizer, SaveDtype, Schedule, Task, Weights};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    pub(crate) seed: u64,
    /// `None`: `runs/<name of the configuration>`.
    pub(crate) output_dir: Option<PathBuf>,
    pub(crate) model: ModelConfig,
    pub(crate) adapter: AdapterConfig,
    pub(crate) data: DataConfig,
    pub(crate) train: TrainConfig,
    /// How the run went on after it had finished, by later settings.
    pub(crate) legs: Vec<Leg>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            seed: 42,
            output_dir: None,
            model: ModelConfig::default(),
            adapter: AdapterConfig::default(),
            data: DataConfig::default(),
            train: TrainConfig::default(),
            legs: Vec::new(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ModelConfig {
    /// Required: empty in the default alone.
    pub(crate) path: PathBuf,
    pub(crate) task: Task,
    pub(crate) labels: Option<Vec<String>>,
    pub(crate) dtype: Dtype,
    /// Whether `dtype` quantises the output layer of a language model too.
    pub(crate) quantize_output: bool,
    pub(crate) weights: Weights,
    pub(crate) save_dtype: SaveDtype,
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self {
            path: PathBuf::new(),
            task: Task::default(),
            labels: None,
            dtype: Dtype::Auto,
            quantize_output: false,
            weights: Weights::Pretrained,
            save_dtype: SaveDtype::F32,
        }
    }
}

/// `keys.rs` refuses keys that the method does not have.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct AdapterConfig {
    /// `method`, and the settings that are its own.
    #[serde(flatten)]
    pub(crate) method: Method,
    /// An adapter to go on from.
    pub(crate) init_from: Option<PathBuf>,
}

/// `keys.rs` refuses unknown keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct DataConfig {
    /// Required: empty in the default alone.
    pub(crate) train: Files,
    pub(crate) valid: Option<Files>,
    pub(crate) valid_fraction: f64,
    /// A written column must be there.
    #[serde(flatten)]
    pub(crate) columns: ColumnNames,
    /// In tokens.
    pub(crate) max_length: Option<usize>,
    /// Several examples of a causal language model in one row of `max_length`.
    pub(crate) pack: bool,
    pub(crate) loss_on: LossOn,
    /// The share of a text's tokens that a masked language model is to guess.
    pub(crate) mask_probability: f64,
    /// Of a classifier; `None`: all classes weigh the same.
    pub(crate) class_weights: Option<ClassWeights>,
}

/// What the losses of a class's examples weigh in training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum ClassWeights {
    Word(Balance),
    ByName(BTreeMap<String, f64>),
}

impl Default for DataConfig {
    fn default() -> Self {
        Self {
            train: Files::default(),
            valid: None,
            valid_fraction: 0.0,
            columns: ColumnNames::default(),
            max_length: None,
            pack: false,
            loss_on: LossOn::Completion,
            mask_probability: 0.15,
            class_weights: None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TrainConfig {
    pub(crate) epochs: usize,
    /// Optimiser steps after which training ends; 0: no limit.
    pub(crate) max_steps: usize,
    pub(crate) batch_size: usize,
    pub(crate) grad_accumulation: usize,
    pub(crate) learning_rate: f64,
    pub(crate) optimizer: Optimizer,
    pub(crate) betas: [f64; 2],
    pub(crate) eps: f64,
    pub(crate) weight_decay: f64,
    pub(crate) schedule: Schedule,
    /// This or `warmup_ratio`; without either there is no warm-up.
    pub(crate) warmup_steps: Option<usize>,
    pub(crate) warmup_ratio: Option<f64>,
    /// 0: no clipping.
    pub(crate) max_grad_norm: f64,
    pub(crate) shuffle: bool,
    pub(crate) group_by_length: bool,
    /// In optimiser steps; 0: each epoch.
    pub(crate) eval_every: usize,
    /// Answers that a causal language model writes at each evaluation, to be scored; 0: none.
    pub(crate) eval_generate: usize,
    /// In optimiser steps; 0: each epoch.
    pub(crate) checkpoint_every: usize,
    pub(crate) keep_checkpoints: usize,
    pub(crate) best: Best,
    /// Evaluations without improvement after which training ends; 0: off.
    pub(crate) early_stopping_patience: usize,
    /// The share of a target that is spread over all classes, of a classifier.
    pub(crate) label_smoothing: f64,
    /// Event files beside `metrics.jsonl`.
    pub(crate) tensorboard: bool,
    /// Each layer is computed anew in the backward pass: less memory, more time, the same numbers.
    pub(crate) gradient_checkpointing: bool,
    pub(crate) compute: Compute,
    pub(crate) device: String,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            epochs: 3,
            max_steps: 0,
            batch_size: 8,
            grad_accumulation: 1,
            learning_rate: 3e-4,
            optimizer: Optimizer::Adamw,
            betas: [0.9, 0.999],
            eps: 1e-8,
            weight_decay: 0.01,
            schedule: Schedule::Linear,
            warmup_steps: None,
            warmup_ratio: None,
            max_grad_norm: 1.0,
            shuffle: true,
            group_by_length: false,
            eval_every: 0,
            eval_generate: 0,
            checkpoint_every: 0,
            keep_checkpoints: 2,
            best: Best::AUTO,
            early_stopping_patience: 0,
            label_smoothing: 0.0,
            tensorboard: false,
            gradient_checkpointing: false,
            compute: Compute::Auto,
            device: "auto".to_owned(),
        }
    }
}

impl Config {
    /// The whole configuration as a file, one key a line. Left out are keys that have no value, and
    /// those that the method or the task does not have.
    pub(crate) fn to_toml(&self) -> String {
        self.to_toml_of(|_| true)
    }

    /// The same of some of the keys.
    pub(super) fn to_toml_of(&self, is_wanted: impl Fn(&Key) -> bool) -> String {
        let values = self.to_table();
        let mut text = String::new();
        for &table in TABLES {
            if !table.is_empty() {
                text += &format!("\n[{table}]\n");
            }
            for key in KEYS.iter().filter(|key| key.table == table && key.name != "legs") {
                let foreign =
                    (table == "adapter" && !has(&self.adapter.method, key.name)) || !self.model.task.has(&key.dotted());
                if let Some(value) = key.value(&values)
                    && !foreign
                    && is_wanted(key)
                {
                    text += &format!("{}\n", line(key.name, value));
                }
            }
        }
        for leg in &self.legs {
            text += &format!("\n[[legs]]\nafter_step = {}\n", leg.after_step);
            text.extend(leg.written().iter().map(|(key, value)| format!("{}\n", line(key, value))));
        }
        text
    }

    /// With an empty template for each that there is not.
    pub(super) fn to_table(&self) -> Table {
        let mut values = Table::try_from(self).expect("`load` refuses paths that are not UTF-8 and larger seeds");
        for key in KEYS.iter().filter(|key| matches!(key.kind, Kind::Template)) {
            let table = values.get_mut(key.table).and_then(Value::as_table_mut);
            table.expect("a configuration has all tables").entry(key.name).or_insert_with(|| "".into());
        }
        values
    }
}

/// `name = value`, with small numbers as people write them: `3e-4`.
pub(super) fn line(name: &str, value: &Value) -> String {
    match value {
        Value::Float(x) if *x != 0.0 && x.abs() < 1e-3 => format!("{name} = {x:e}"),
        value => format!("{name} = {value}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_the_contract_s() {
        let expected = r#"seed = 42

[model]
path = ""
task = "sequence-classification"
dtype = "auto"
weights = "pretrained"
save_dtype = "f32"

[adapter]
method = "lora"
r = 8
alpha = 32.0
dropout = 0.1
bias = "none"
target_modules = "all-linear"
exclude_modules = []
layers_pattern = []
modules_to_save = []
rank_pattern = {}
alpha_pattern = {}
use_rslora = false
use_dora = false
init = "default"
lora_plus_ratio = 0.0
lora_plus_lr_embedding = 1e-6

[data]
train = ""
valid_fraction = 0.0
text_template = ""

[train]
epochs = 3
max_steps = 0
batch_size = 8
grad_accumulation = 1
learning_rate = 3e-4
optimizer = "adamw"
betas = [0.9, 0.999]
eps = 1e-8
weight_decay = 0.01
schedule = "linear"
max_grad_norm = 1.0
shuffle = true
group_by_length = false
eval_every = 0
checkpoint_every = 0
keep_checkpoints = 2
best = "auto"
early_stopping_patience = 0
label_smoothing = 0.0
tensorboard = false
gradient_checkpointing = false
compute = "auto"
device = "auto"
"#;
        assert_eq!(Config::default().to_toml(), expected);
    }

    #[test]
    fn keys_of_another_method_are_left_out() {
        let mut config = Config::default();
        config.adapter.method = Method::full();
        assert!(config.to_toml().contains("[adapter]\nmethod = \"full\"\ntrain_embeddings = true\n\n[data]\n"));
    }
}
