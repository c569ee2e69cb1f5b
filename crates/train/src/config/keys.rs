//! The list of keys, in the order of the file, with what each takes; and what a message says about a
//! key that is not in it.

use std::ops::Bound;
use std::sync::LazyLock;

use lora::{Init, Known, Method, Setting};
use toml::{Table, Value};

use super::error::ConfigError;
use super::kinds::Kind;
use super::words::{Best, Compute, Dtype, LossOn, Optimizer, SaveDtype, Schedule, Task, Weights};
use super::written::{Config, line};
use suggest::nearest;

/// The tables of the file in their order; "" is its top.
pub(super) const TABLES: &[&str] = &["", "model", "adapter", "data", "train"];

pub(super) struct Key {
    pub(super) table: &'static str,
    pub(super) name: &'static str,
    /// PEFT's name for it, which is taken as well.
    alias: Option<&'static str>,
    pub(super) kind: Kind,
    /// A value to show where the default says nothing, as TOML; "" where it does.
    example: &'static str,
}

const POSITIVE: Kind = Kind::Number(Bound::Excluded(0.0), Bound::Unbounded);
const NOT_NEGATIVE: Kind = Kind::Number(Bound::Included(0.0), Bound::Unbounded);
const BELOW_ONE: Kind = Kind::Number(Bound::Included(0.0), Bound::Excluded(1.0));
const UP_TO_ONE: Kind = Kind::Number(Bound::Included(0.0), Bound::Included(1.0));
const SHARE: Kind = Kind::Number(Bound::Excluded(0.0), Bound::Excluded(1.0));
const RATE: Kind = Kind::Number(Bound::Excluded(0.0), Bound::Included(1e3));

/// In the order of the contract, in which a configuration is written.
pub(super) static KEYS: LazyLock<Vec<Key>> = LazyLock::new(|| {
    let of_method = |setting: Setting| Key {
        table: "adapter",
        name: setting.name,
        alias: setting.alias,
        kind: setting.kind.into(),
        example: setting.example,
    };
    let method = [key("adapter", "method", Kind::Word(Method::NAMES), "")];
    let init_from = [key("adapter", "init_from", Kind::Text, "\"runs/first/adapter\"")];
    let of_methods = lora::settings().into_iter().map(of_method);
    RUN_AND_MODEL.into_iter().chain(method).chain(of_methods).chain(init_from).chain(DATA_AND_TRAINING).collect()
});

#[rustfmt::skip]
const RUN_AND_MODEL: [Key; 9] = [
    key("", "seed", Kind::Seed, ""),
    key("", "output_dir", Kind::Text, "\"runs/first\""),
    key("model", "path", Kind::Text, "\"models/bert-base-uncased\""),
    key("model", "task", Kind::Word(Task::NAMES), ""),
    key("model", "labels", Kind::SomeNames, "[\"negative\", \"positive\"]"),
    key("model", "dtype", Kind::Word(Dtype::NAMES), ""),
    key("model", "quantize_output", Kind::Flag, ""),
    key("model", "weights", Kind::Word(Weights::NAMES), ""),
    key("model", "save_dtype", Kind::Word(SaveDtype::NAMES), ""),
];

#[rustfmt::skip]
const DATA_AND_TRAINING: [Key; 47] = [
    key("data", "train", Kind::Files, "\"train.jsonl\""),
    key("data", "valid", Kind::Files, "\"valid.jsonl\""),
    key("data", "valid_fraction", BELOW_ONE, ""),
    key("data", "text", Kind::Text, "\"text\""),
    key("data", "text_pair", Kind::Text, "\"text_pair\""),
    key("data", "label", Kind::Text, "\"label\""),
    key("data", "prompt", Kind::Text, "\"prompt\""),
    key("data", "completion", Kind::Text, "\"completion\""),
    key("data", "messages", Kind::Text, "\"messages\""),
    key("data", "tokens", Kind::Text, "\"tokens\""),
    key("data", "tags", Kind::Text, "\"tags\""),
    key("data", "entities", Kind::Text, "\"entities\""),
    key("data", "max_length", Kind::Count(1), "128"),
    key("data", "text_template", Kind::Template, ""),
    key("data", "prompt_template", Kind::Template, ""),
    key("data", "completion_template", Kind::Template, ""),
    key("data", "pack", Kind::Flag, ""),
    key("data", "loss_on", Kind::Word(LossOn::NAMES), ""),
    key("data", "mask_probability", SHARE, ""),
    key("data", "class_weights", Kind::ClassWeights, "\"balanced\""),
    key("train", "epochs", Kind::Count(0), ""),
    key("train", "max_steps", Kind::Count(0), ""),
    key("train", "batch_size", Kind::Count(1), ""),
    key("train", "grad_accumulation", Kind::Count(1), ""),
    key("train", "learning_rate", RATE, ""),
    key("train", "optimizer", Kind::Word(Optimizer::NAMES), ""),
    key("train", "betas", Kind::Betas, ""),
    key("train", "eps", POSITIVE, ""),
    key("train", "weight_decay", NOT_NEGATIVE, ""),
    key("train", "schedule", Kind::Word(Schedule::NAMES), ""),
    key("train", "warmup_steps", Kind::Count(0), "100"),
    key("train", "warmup_ratio", UP_TO_ONE, "0.06"),
    key("train", "max_grad_norm", NOT_NEGATIVE, ""),
    key("train", "shuffle", Kind::Flag, ""),
    key("train", "group_by_length", Kind::Flag, ""),
    key("train", "eval_every", Kind::Count(0), ""),
    key("train", "eval_generate", Kind::Count(0), ""),
    key("train", "checkpoint_every", Kind::Count(0), ""),
    key("train", "keep_checkpoints", Kind::Count(1), ""),
    key("train", "best", Kind::Word(Best::NAMES), ""),
    key("train", "early_stopping_patience", Kind::Count(0), ""),
    key("train", "label_smoothing", BELOW_ONE, ""),
    key("train", "tensorboard", Kind::Flag, ""),
    key("train", "gradient_checkpointing", Kind::Flag, ""),
    key("train", "compute", Kind::Word(Compute::NAMES), ""),
    key("train", "device", Kind::Text, ""),
    key("", "legs", Kind::Legs, "[{ after_step = 24, epochs = 5 }]"),
];

/// What Transformers calls some keys.
const ELSEWHERE: &[(&str, &str)] = &[
    ("num_train_epochs", "epochs"),
    ("per_device_train_batch_size", "batch_size"),
    ("gradient_accumulation_steps", "grad_accumulation"),
    ("lr", "learning_rate"),
    ("lr_scheduler_type", "schedule"),
    ("label_smoothing_factor", "label_smoothing"),
];

const fn key(table: &'static str, name: &'static str, kind: Kind, example: &'static str) -> Key {
    Key { table, name, alias: None, kind, example }
}

impl Key {
    /// The key `table.name`.
    pub(super) fn find(dotted: &str) -> Option<&'static Self> {
        let (table, name) = split(dotted);
        KEYS.iter().find(|key| key.table == table && key.is_called(name))
    }

    pub(super) fn is_called(&self, name: &str) -> bool {
        self.name == name || self.alias == Some(name)
    }

    pub(super) fn dotted(&self) -> String {
        dotted(self.table, self.name)
    }

    /// The value of this key in a whole configuration.
    pub(super) fn value<'a>(&self, config: &'a Table) -> Option<&'a Value> {
        match self.table {
            "" => config.get(self.name),
            table => config.get(table)?.get(self.name),
        }
    }

    /// Its default; of a key that the default method lacks, that of the first method with it.
    pub(super) fn default(&self) -> Option<Value> {
        let of_method = |name: &&str| Table::try_from(Method::named(name)?).ok()?.get(self.name).cloned();
        let of_methods = || Method::NAMES.iter().filter(|_| self.table == "adapter").find_map(of_method);
        self.value(&Config::default().to_table()).cloned().or_else(of_methods)
    }

    /// The line to write: `name = value`.
    pub(super) fn example(&self) -> String {
        match self.default() {
            Some(value) if self.example.is_empty() => line(self.name, &value),
            _ => format!("{} = {}", self.name, self.example),
        }
    }

    pub(super) fn example_help(&self) -> String {
        let word = if self.example.is_empty() { "the default is" } else { "for example" };
        format!("{word} `{}`", self.example())
    }

    /// An error unless this key takes `value`, which was typed as `found`.
    pub(super) fn check(&self, value: &Value, found: &str, place: String) -> Result<(), ConfigError> {
        match (self.kind, value) {
            (Kind::Word(words), Value::String(word)) if words.iter().any(|known| is_word(word, known)) => Ok(()),
            (Kind::Word(words), Value::String(word)) => Err(self.no_word(word, words, place)),
            (kind, value) if kind.takes(value) => Ok(()),
            (kind, _) => Err(ConfigError::value(place, self, found, kind.expected())),
        }
    }

    fn no_word(&self, word: &str, words: &[&str], place: String) -> ConfigError {
        let key = self.name;
        let word = word.to_owned();
        let is_numbered = |known: &&&str| known.strip_suffix('N').is_some_and(|stem| word.starts_with(stem));
        let suggestion = match words.iter().find(is_numbered) {
            Some(known) => format!("the N of `{known}` is an integer from 1 to {}", Init::MOST_ITERATIONS),
            None => match Method::known_as(&word).filter(|_| self.table == "adapter" && self.name == "method") {
                Some(known) => as_settings(known),
                None => suggestion(&word, words),
            },
        };
        ConfigError::UnknownWord { place, key, word, suggestion }
    }
}

/// Whether a word is this one, where `_N` at its end stands for a number of iterations: `pissa_niter_16`.
fn is_word(word: &str, known: &str) -> bool {
    let number = known.strip_suffix('N').filter(|stem| stem.ends_with('_')).and_then(|stem| word.strip_prefix(stem));
    match number {
        Some(number) => (1..=Init::MOST_ITERATIONS).any(|possible| possible.to_string() == number),
        None => word == known,
    }
}

/// Whether `[adapter]` has the key `name` under this method.
pub(super) fn has(method: &Method, name: &str) -> bool {
    let is_its_own = || lora::settings_of(method.name()).iter().any(|setting| setting.name == name);
    name == "method" || (name == "init_from" && !method.saves_model()) || is_its_own()
}

/// A method that has the key `name`.
pub(super) fn with_key(name: &str) -> &'static str {
    let has_it = |method: &&&str| lora::settings_of(method).iter().any(|setting| setting.name == name);
    Method::NAMES.iter().find(has_it).unwrap_or(&Method::NAMES[0])
}

/// The error for `name` in `table`, which is no key.
pub(super) fn unknown(table: &str, name: &str, place: String) -> ConfigError {
    let help = help_for_unknown(table, name);
    ConfigError::UnknownKey { place, help }
}

fn help_for_unknown(table: &str, name: &str) -> String {
    if let Some(key) = Key::find(table) {
        return format!("set the whole table, for example `{}`", key.example());
    }
    if !TABLES.contains(&table) {
        return match nearest(table, TABLES[1..].iter().copied()) {
            Some(near) => format!("did you mean `{near}.{name}`?"),
            None => list(""),
        };
    }
    let name = ELSEWHERE.iter().find(|(other, _)| *other == name).map_or(name, |(_, ours)| ours);
    let here = || names(table);
    if here().any(|key| key == name) {
        return format!("did you mean `{name}`?");
    }
    match KEYS.iter().find(|key| key.is_called(name)) {
        Some(key) if key.table.is_empty() => {
            format!("`{name}` belongs at the top, before the first table")
        }
        Some(key) => format!("`{name}` belongs under [{}]", key.table),
        None => match nearest(name, here()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => list(table),
        },
    }
}

/// What may stand in `table`; at the top the other tables too.
fn names(table: &str) -> impl Iterator<Item = &'static str> {
    let tables = if table.is_empty() { &TABLES[1..] } else { &[] };
    // Legs are written by runs.
    let keys = KEYS.iter().filter(move |key| key.table == table && !matches!(key.kind, Kind::Legs));
    keys.map(|key| key.name).chain(tables.iter().copied())
}

fn list(table: &str) -> String {
    let names = names(table).collect::<Vec<_>>().join(", ");
    if table.is_empty() { format!("the top has: {names}") } else { format!("[{table}] has: {names}") }
}

pub(super) fn dotted(table: &str, name: &str) -> String {
    if table.is_empty() { name.to_owned() } else { format!("{table}.{name}") }
}

/// Table and name of a key.
pub(super) fn split(dotted: &str) -> (&str, &str) {
    dotted.rsplit_once('.').unwrap_or(("", dotted))
}

/// What to write in a configuration for what people know as a method.
fn as_settings(known: Known) -> String {
    match known {
        Known::As { title, method, setting: None } => format!("{title} is `method = \"{method}\"`"),
        Known::As { title, method, setting: Some((key, value)) } => match key.strip_prefix("adapter.") {
            Some(name) => format!("{title} is `method = \"{method}\"` with `{name} = {value}`"),
            None => format!("{title} is `method = \"{method}\"` with `{key} = {value}`"),
        },
        Known::Not { title, near } => format!("kindling has no {title}: the nearest is `method = \"{near}\"`"),
    }
}

/// What to write instead of `word`: the nearest of `words`, and all of them.
fn suggestion(word: &str, words: &[&str]) -> String {
    match nearest(word, words.iter().copied()) {
        Some(near) => format!("did you mean `{near}`? ({})", words.join(", ")),
        None => format!("expected one of: {}", words.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use data::ColumnNames;
    use lora::{LoraConfig, TargetConfig};

    use super::super::words::Balance;
    use super::super::written::{AdapterConfig, ClassWeights, DataConfig, ModelConfig, TrainConfig};
    use super::*;

    fn with_layers() -> Method {
        let targets = TargetConfig { layers: Some(vec![0]), ..TargetConfig::default() };
        Method::Lora(Box::new(LoraConfig { targets, ..LoraConfig::default() }))
    }

    fn all_columns() -> ColumnNames {
        let names: Table = ColumnNames::keys().iter().map(|key| (key.name.to_owned(), "a".into())).collect();
        names.try_into().expect("keys of columns are those of their names")
    }

    /// A configuration in which no key is left out.
    fn full() -> Config {
        Config {
            output_dir: Some("out".into()),
            model: ModelConfig { labels: Some(vec!["a".to_owned()]), ..ModelConfig::default() },
            adapter: AdapterConfig { method: with_layers(), init_from: Some("adapter".into()) },
            data: DataConfig {
                valid: Some("valid".into()),
                columns: all_columns(),
                max_length: Some(1),
                class_weights: Some(ClassWeights::Word(Balance::Balanced)),
                ..DataConfig::default()
            },
            train: TrainConfig { warmup_steps: Some(1), warmup_ratio: Some(0.5), ..TrainConfig::default() },
            ..Config::default()
        }
    }

    #[test]
    fn the_list_has_the_fields_of_config() {
        let mut fields = Vec::new();
        for (name, value) in full().to_table() {
            match value {
                Value::Table(table) => fields.extend(table.keys().map(|key| dotted(&name, key))),
                _ => fields.push(name),
            }
        }
        let of_lora = |key: &&Key| key.table != "adapter" || has(&with_layers(), key.name);
        let mut keys: Vec<String> = KEYS.iter().filter(of_lora).map(Key::dotted).collect();
        keys.sort();
        fields.sort();
        assert_eq!(keys, fields);
    }

    #[test]
    fn every_key_takes_its_example_and_its_default() {
        let defaults = Config::default().to_table();
        for key in KEYS.iter() {
            let example: Table = key.example().parse().expect("an example is TOML");
            let required = ["model.path", "data.train"].contains(&key.dotted().as_str());
            let default = key.value(&defaults).filter(|_| !required);
            for value in example.values().chain(default) {
                let checked = key.check(value, "", key.dotted());
                assert!(checked.is_ok(), "{}: {value}", key.dotted());
            }
        }
    }

    #[test]
    fn the_names_peft_and_transformers_use_lead_to_keys() {
        for (_, ours) in ELSEWHERE {
            assert!(KEYS.iter().any(|key| key.name == *ours), "{ours}");
        }
    }
}
