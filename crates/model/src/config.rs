//! `config.json`: read, checked, and what every architecture has in common there.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::quantised::{QuantisedError, gguf};

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ConfigError {
    #[error("{} has no config.json", directory.display())]
    #[diagnostic(help(
        "a model is a directory with config.json, model.safetensors and a tokenizer, as on the Hugging Face Hub"
    ))]
    Missing { directory: PathBuf },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Quantised(#[from] QuantisedError),
    #[error("cannot read {}: {source}", file.display())]
    Read { file: PathBuf, source: std::io::Error },
    #[error("{}, line {line}, column {column}: malformed JSON: {reason}", file.display())]
    #[diagnostic(help("the file is not the config.json that Transformers writes: download or copy it again"))]
    Syntax { file: PathBuf, line: usize, column: usize, reason: String },
    #[error("{}: {message}", file.display())]
    Value {
        file: PathBuf,
        message: String,
        #[help]
        help: String,
    },
}

/// Of a dimension, a vocabulary, a window: two can be multiplied. How many layers there may be, [`Config::check_layers`] says.
const LARGEST_SIZE: u64 = 1 << 31;

/// What serde wanted, in other words than Rust's.
fn expected(complaint: &str) -> &str {
    match complaint.rsplit_once("expected ").map_or(complaint, |(_, expected)| expected) {
        "usize" => "a whole number of at least 0",
        "f64" => "a number",
        other => other,
    }
}

/// `config.json` of a model, with where it stands, so that every complaint can say so.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    file: PathBuf,
    values: Value,
}

impl Config {
    pub(crate) fn read(directory: &Path) -> Result<Self, ConfigError> {
        let file = directory.join("config.json");
        if !file.exists() {
            if let Some(file) = gguf(directory) {
                return Err(QuantisedError::Gguf { file }.into());
            }
            return Err(ConfigError::Missing { directory: directory.into() });
        }
        let text = lora::read_regular_text(&file).map_err(|source| ConfigError::Read { file: file.clone(), source })?;
        let values: Value = json::parse(text.as_bytes()).map_err(|error| Self::syntax(&file, &error))?;
        let config = Self { file, values };
        match config.values {
            Value::Object(_) => Ok(config),
            _ => Err(config.wrong("not a JSON object".to_string(), "copy the model's config.json again")),
        }
    }

    pub(crate) fn values(&self) -> &Value {
        &self.values
    }

    /// Sets a key to what turned out to be so.
    pub(crate) fn set(&mut self, key: &str, value: Value) {
        if let Value::Object(keys) = &mut self.values {
            keys.insert(key.to_string(), value);
        }
    }

    /// False where the key is missing.
    pub(crate) fn flag(&self, key: &str) -> bool {
        self.values.get(key) == Some(&Value::Bool(true))
    }

    pub(crate) fn number(&self, key: &str) -> Option<f64> {
        self.values.get(key)?.as_f64()
    }

    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        self.values.get(key)?.as_str()
    }

    fn syntax(file: &Path, error: &serde_json::Error) -> ConfigError {
        let text = error.to_string();
        // serde_json ends its message with the position.
        let reason = text.rsplit_once(" at line ").map_or(text.as_str(), |(reason, _)| reason).to_string();
        ConfigError::Syntax { file: file.into(), line: error.line(), column: error.column(), reason }
    }

    /// The keys that an architecture needs.
    pub(crate) fn parse<C: DeserializeOwned>(&self) -> Result<C, ConfigError> {
        if let Some((key, value)) = self.too_large::<C>() {
            let help = "the file is not the config.json of a model: download or copy it again";
            return Err(self.wrong(format!("`{key}` is {value}, expected at most {LARGEST_SIZE}"), help));
        }
        C::deserialize(&self.values).map_err(|error| {
            let text = error.to_string();
            let help = "the file is not the config.json that Transformers writes: download or copy it again";
            match self.misfit::<C>(&text) {
                Some((key, value)) => self.wrong(format!("`{key}` is {value}, expected {}", expected(&text)), help),
                None => self.wrong(text.replace("missing field", "it lacks"), help),
            }
        })
    }

    /// A key that is read as a size and is none, with its value.
    fn too_large<C: DeserializeOwned>(&self) -> Option<(&str, &Value)> {
        let keys = self.values.as_object()?;
        let is_large = |value: &Value| value.as_u64().is_some_and(|size| size > LARGEST_SIZE);
        // Numbers that are no sizes, as the base of rotary positions, may be as large as they please: they could be negative, too.
        let is_size = |key: &str| {
            let mut others = keys.clone();
            others.insert(key.to_owned(), (-1).into());
            C::deserialize(&self.values).is_ok() && C::deserialize(Value::Object(others)).is_err()
        };
        let large = keys.iter().filter(|(key, value)| is_large(value) && !key.ends_with("layers") && *key != "n_layer");
        large.map(|(key, value)| (key.as_str(), value)).take(100).find(|(key, _)| is_size(key))
    }

    /// The key whose value is to blame for `complaint`, which serde makes without naming it: the one without which
    /// there is another complaint, or none.
    fn misfit<C: DeserializeOwned>(&self, complaint: &str) -> Option<(&str, &Value)> {
        let keys = self.values.as_object().filter(|_| !complaint.starts_with("missing field"))?;
        // Each is tried: of a file with more keys than any has, the message does without.
        let keys = Some(keys).filter(|keys| keys.len() < 1000)?;
        keys.iter().map(|(key, value)| (key.as_str(), value)).find(|(key, _)| {
            let mut others = keys.clone();
            others.shift_remove(*key);
            C::deserialize(Value::Object(others)).err().is_none_or(|error| error.to_string() != complaint)
        })
    }

    /// Sizes that are 0 and probabilities that are none, which a model can be described by but not built of.
    pub(crate) fn check_ranges(&self, sizes: &[&str], probabilities: &[&str]) -> Result<(), ConfigError> {
        let value = |key: &&&str| self.values.get(**key).and_then(Value::as_f64);
        let help = "the file is not the config.json of a model: download or copy it again";
        if let Some(key) = sizes.iter().find(|key| value(key).is_some_and(|size| size < 1.0)) {
            return Err(self.wrong(format!("`{key}` is 0, expected 1 or more"), help));
        }
        match probabilities.iter().find(|key| value(key).is_some_and(|p| !(0.0..1.0).contains(&p))) {
            Some(key) => {
                let message = format!("`{key}` is {}, expected a probability below 1", self.values[*key]);
                Err(self.wrong(message, help))
            }
            None => Ok(()),
        }
    }

    /// Factors and caps, which are above 0 where they are given.
    pub(crate) fn check_positive(&self, keys: &[&str]) -> Result<(), ConfigError> {
        match keys.iter().find(|key| self.number(key).is_some_and(|value| value <= 0.0)) {
            Some(key) => {
                let help = "a number above 0 belongs there: copy the model's config.json again";
                Err(self.wrong(format!("`{key}` is {}", self.values[*key]), help))
            }
            None => Ok(()),
        }
    }

    /// Keys of what llama.cpp has no place for.
    pub(crate) fn check_false_for_llama_cpp(&self, keys: &[&str]) -> Result<(), ConfigError> {
        match keys.iter().find(|key| self.flag(key)) {
            Some(key) => {
                let help = "llama.cpp computes it otherwise: this model has no form in GGUF";
                Err(self.wrong(format!("`{key}` is true"), help))
            }
            None => Ok(()),
        }
    }

    /// The same file with these values for keys that it lacks.
    pub(crate) fn with_defaults(&self, defaults: &[(&str, Value)]) -> Self {
        let mut filled = self.clone();
        for (key, value) in defaults {
            if filled.values.get(key).is_none() {
                filled.set(key, value.clone());
            }
        }
        filled
    }

    /// What every layer lacks is listed, and adapters are made for it: of layers without end until memory ends.
    pub(crate) fn check_layers(&self, key: &str) -> Result<(), ConfigError> {
        const MOST: u64 = 1000;
        match self.values.get(key).and_then(Value::as_u64).filter(|layers| *layers > MOST) {
            Some(layers) => {
                let help = "the file is not the config.json of a model: download or copy it again";
                Err(self.wrong(format!("`{key}` is {layers}, expected at most {MOST}"), help))
            }
            None => Ok(()),
        }
    }

    pub(crate) fn wrong(&self, message: String, help: &str) -> ConfigError {
        ConfigError::Value { file: self.file.clone(), message, help: help.to_string() }
    }

    /// The names of the classes in the order of their indices; `None` where the file has none.
    pub(crate) fn labels(&self) -> Result<Option<Vec<String>>, ConfigError> {
        let Some(Value::Object(map)) = self.values.get("id2label") else { return Ok(None) };
        let mut labels = vec![None; map.len()];
        for (id, label) in map {
            let index: Option<usize> = id.parse().ok();
            let place = index.and_then(|index| labels.get_mut(index));
            match (place, label.as_str()) {
                (Some(place), Some(label)) => *place = Some(label.to_string()),
                _ => {
                    return Err(
                        self.wrong(format!("`id2label` has the entry `{id}`"), "it maps \"0\", \"1\", ... to names")
                    );
                }
            }
        }
        Ok(labels.into_iter().collect())
    }

    /// A classifier's problem, where `problem_type` says it.
    pub(crate) fn check_problem(&self, expected: &str) -> Result<(), ConfigError> {
        if let Some(problem) = self.text("problem_type").filter(|problem| *problem != expected) {
            let labels = match expected {
                "regression" => "numbers",
                "multi_label_classification" => "lists of classes",
                _ => "classes",
            };
            let help = format!("the task is {expected}: remove `problem_type` if the labels are {labels}");
            return Err(self.wrong(format!("`problem_type` is `{problem}`"), &help));
        }
        Ok(())
    }

    /// Encoders here attend in both directions by absolute positions.
    pub(crate) fn check_encoder(&self) -> Result<(), ConfigError> {
        if let Some(kind) = self.text("position_embedding_type").filter(|kind| *kind != "absolute") {
            let help = "only absolute position embeddings are supported";
            return Err(self.wrong(format!("`position_embedding_type` is `{kind}`"), help));
        }
        if self.values.get("is_decoder") == Some(&Value::Bool(true)) {
            return Err(
                self.wrong("`is_decoder` is true".to_string(), "encoders are supported, their use as decoders is not")
            );
        }
        Ok(())
    }
}
