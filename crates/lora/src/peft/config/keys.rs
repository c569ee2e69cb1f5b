//! The keys of `adapter_config.json` taken one by one, each as the type it must have.

use std::path::Path;

use indexmap::{IndexMap, IndexSet};
use serde_json::{Map, Value};

use super::{ConfigError, is_not_empty};
use crate::config::{Names, Targets};

/// The file's keys that have not been read yet.
pub(crate) struct Keys<'a> {
    pub(crate) file: &'a Path,
    pub(crate) map: Map<String, Value>,
    /// What has no effect.
    pub(crate) notes: Vec<String>,
}

impl<'a> Keys<'a> {
    pub(crate) fn parse(file: &'a Path, text: &str) -> Result<Self, ConfigError> {
        match json::parse(text.as_bytes()) {
            Ok(Value::Object(map)) => Ok(Self { file, map, notes: Vec::new() }),
            Ok(_) => Err(ConfigError::NotAnObject { file: file.to_owned() }),
            Err(error) => {
                let text = error.to_string();
                // serde_json ends its message with the position.
                let reason = text.rsplit_once(" at line ").map_or(text.as_str(), |(reason, _)| reason).to_owned();
                Err(ConfigError::Syntax { file: file.to_owned(), line: error.line(), column: error.column(), reason })
            }
        }
    }

    /// The value of a key for which null is as good as absent.
    pub(crate) fn take(&mut self, key: &str) -> Option<Value> {
        self.take_strictly(key).filter(|value| !value.is_null())
    }

    /// The value of a key that may be absent, but not null.
    pub(crate) fn take_strictly(&mut self, key: &str) -> Option<Value> {
        self.map.shift_remove(key)
    }

    pub(crate) fn peek(&self, key: &str) -> Option<&Value> {
        self.map.get(key)
    }

    pub(crate) fn text(&mut self, key: &str) -> Result<Option<String>, ConfigError> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.wrong(key, &other, "a string or null")),
        }
    }

    pub(crate) fn flag(&mut self, key: &str) -> Result<bool, ConfigError> {
        match self.take(key) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(other) => Err(self.wrong(key, &other, "true or false")),
        }
    }

    pub(crate) fn names(&mut self, key: &str) -> Result<Option<Names>, ConfigError> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::String(pattern)) => Ok(Some(Names::Pattern(pattern))),
            Some(Value::Array(list)) => Ok(Some(Names::List(self.list(key, &list)?))),
            Some(other) => Err(self.wrong(key, &other, "a list of names or one string")),
        }
    }

    /// As `names`, without names that are none.
    pub(crate) fn some_names(&mut self, key: &str) -> Result<Option<Names>, ConfigError> {
        Ok(self.names(key)?.filter(is_not_empty))
    }

    /// `target_modules`; where they are null, PEFT takes its default for the architecture.
    pub(crate) fn targets(&mut self) -> Result<Targets, ConfigError> {
        Ok(match self.names("target_modules")? {
            Some(Names::Pattern(word)) if word.eq_ignore_ascii_case("all-linear") => Targets::AllLinear,
            Some(names) => Targets::Names(names),
            None => Targets::Auto,
        })
    }

    /// Each name once: PEFT adds the standard heads again on every load and save.
    pub(crate) fn modules_to_save(&mut self) -> Result<Vec<String>, ConfigError> {
        let key = "modules_to_save";
        match self.take(key) {
            None => Ok(vec![]),
            Some(Value::Array(list)) => {
                let once: IndexSet<String> = self.list(key, &list)?.into_iter().collect();
                Ok(once.into_iter().collect())
            }
            Some(other) => Err(self.wrong(key, &other, "a list of names")),
        }
    }

    pub(crate) fn list(&self, key: &str, list: &[Value]) -> Result<Vec<String>, ConfigError> {
        let name = |value: &Value| value.as_str().map(str::to_owned).ok_or_else(|| self.wrong(key, value, "a name"));
        list.iter().map(name).collect()
    }

    /// Values by regular expression, in the order of the file.
    pub(crate) fn pattern<T>(
        &mut self,
        key: &str,
        read: impl Fn(&Self, &str, &Value) -> Result<T, ConfigError>,
    ) -> Result<IndexMap<String, T>, ConfigError> {
        match self.take_strictly(key) {
            None => Ok(IndexMap::new()),
            Some(Value::Object(map)) => map
                .into_iter()
                .map(|(name, value)| {
                    let value = read(self, &format!("{key}.{name}"), &value)?;
                    Ok((name, value))
                })
                .collect(),
            Some(other) => Err(self.wrong(key, &other, "an object")),
        }
    }

    pub(crate) fn rank(&self, key: &str, value: &Value) -> Result<usize, ConfigError> {
        integer(value)
            .filter(|rank| *rank > 0)
            .ok_or_else(|| self.wrong(key, value, "a rank (an integer of 1 or more)"))
    }

    pub(crate) fn float(&self, key: &str, value: &Value) -> Result<f64, ConfigError> {
        value.as_f64().ok_or_else(|| self.wrong(key, value, "a number"))
    }

    pub(crate) fn wrong(&self, key: &str, found: &Value, expected: &'static str) -> ConfigError {
        ConfigError::Value { file: self.file.to_owned(), key: key.to_owned(), found: shown(found), expected }
    }

    pub(crate) fn unsupported(&self, key: &str, found: &Value, reason: &'static str) -> ConfigError {
        ConfigError::Unsupported { file: self.file.to_owned(), key: key.to_owned(), found: shown(found), reason }
    }
}

pub(crate) fn integer(value: &Value) -> Option<usize> {
    value.as_u64().and_then(|integer| usize::try_from(integer).ok())
}

/// A value for a message, cut where it gets long.
pub(crate) fn shown(value: &Value) -> String {
    const LONGEST: usize = 60;
    let text = value.to_string();
    match text.char_indices().nth(LONGEST) {
        None => text,
        Some((end, _)) => format!("{}...", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use crate::peft::config::fixtures::*;

    #[test]
    fn wrong_values_are_refused() {
        for (key, value, expected) in [
            ("r", "0", "a rank (an integer of 1 or more)"),
            ("r", "-1", "a rank (an integer of 1 or more)"),
            ("r", "8.0", "a rank (an integer of 1 or more)"),
            ("r", "null", "a rank (an integer of 1 or more)"),
            ("lora_alpha", "\"16\"", "a number"),
            ("lora_alpha", "null", "a number"),
            ("lora_dropout", "1.0", "a probability below 1"),
            ("lora_dropout", "-0.1", "a probability below 1"),
            ("rank_pattern", "null", "an object"),
            ("alpha_pattern", "[]", "an object"),
            ("layers_to_transform", "1.5", "the number of a layer"),
            ("layers_to_transform", "true", "the number of a layer"),
            ("layers_pattern", "1", "a list of names or one string"),
            ("modules_to_save", "\"classifier\"", "a list of names"),
            ("exclude_modules", "true", "a list of names or one string"),
            ("use_rslora", "1", "true or false"),
            ("bias", "true", "\"none\", \"all\" or \"lora_only\""),
            ("init_lora_weights", "1", "true, false or a name"),
            ("task_type", "1", "a string or null"),
        ] {
            let (message, _) = refusal(with(&format!(r#""{key}": {value}"#)));
            assert_eq!(message, format!("`{key}` in adapter_config.json: {value} is not {expected}"));
        }
    }

    #[test]
    fn wrong_values_within_values_are_refused() {
        for (keys, message) in [
            (r#""rank_pattern": {"query": 0}"#, "`rank_pattern.query` in adapter_config.json: 0 is not a rank"),
            (
                r#""alpha_pattern": {"query": "1"}"#,
                "`alpha_pattern.query` in adapter_config.json: \"1\" is not a number",
            ),
            (
                r#""layers_to_transform": [0, 1.5]"#,
                "`layers_to_transform` in adapter_config.json: 1.5 is not the number",
            ),
            (r#""modules_to_save": ["score", 1]"#, "`modules_to_save` in adapter_config.json: 1 is not a name"),
        ] {
            let found = refusal(with(keys)).0;
            assert!(found.starts_with(message), "{found}");
        }
    }

    #[test]
    fn broken_json_is_refused_with_its_place() {
        let (message, _) = refusal(read("{\n  \"peft_type\": \"LORA\",\n  \"lora_alpha\": NaN\n}"));
        assert_eq!(message, "adapter_config.json, line 3, column 17: malformed JSON: expected value");
    }
}
