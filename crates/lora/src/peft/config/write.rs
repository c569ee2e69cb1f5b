//! Writing `adapter_config.json` as PEFT does, to the byte.

use serde_json::{Map, Value, json};

use super::{PeftConfig, is_not_empty};
use crate::config::{Names, Targets};

impl PeftConfig {
    /// The file as PEFT writes it: every key, sorted at every level, sets as sorted lists. `fan_in_fan_out` is true for
    /// bases whose weights lie as (in, out), GPT-2's.
    pub fn to_json(&self, fan_in_fan_out: bool) -> String {
        let mut file = Value::Object(self.keys(fan_in_fan_out));
        file.sort_all_objects();
        format!("{file:#}")
    }

    pub(crate) fn keys(&self, fan_in_fan_out: bool) -> Map<String, Value> {
        let mut keys = self.method.to_peft(fan_in_fan_out);
        keys.extend((self.method.layout().keys)(self));
        keys
    }
}

pub(crate) fn written_targets(targets: &Targets) -> Value {
    match targets {
        Targets::AllLinear => json!("all-linear"),
        Targets::Auto => Value::Null,
        Targets::Names(targets) => names(targets),
    }
}

/// As they are written; nothing for none.
pub(crate) fn some_names(of: &Names) -> Option<Value> {
    is_not_empty(of).then(|| names(of))
}

fn names(names: &Names) -> Value {
    match names {
        Names::List(list) => json!(sorted(list)),
        Names::Pattern(pattern) => json!(pattern),
    }
}

pub(crate) fn sorted(names: &[String]) -> Vec<String> {
    let mut names = names.to_vec();
    names.sort();
    names.dedup();
    names
}

/// PEFT's null for a list with nothing in it.
pub(crate) fn some_list<T: serde::Serialize>(list: &[T]) -> Value {
    if list.is_empty() { Value::Null } else { json!(list) }
}

/// An integer if it is one: vLLM and llama.cpp read `lora_alpha` as such.
pub(crate) fn number(alpha: f64) -> Value {
    // Below 2^53 every integer has a float of its own.
    if alpha.fract() == 0.0 && alpha.abs() < 9.0e15 { json!(alpha as i64) } else { json!(alpha) }
}

#[cfg(test)]
mod tests {
    use crate::config::Names;
    use crate::peft::config::fixtures::{BERT_CLS, accepted, names, read};

    #[test]
    fn a_file_of_peft_is_written_to_the_byte() {
        assert_eq!(read(BERT_CLS).expect("PEFT's own file").to_json(false), BERT_CLS);
    }

    #[test]
    fn what_is_written_is_sorted_and_reads_back() {
        let mut config = accepted(
            r#""rank_pattern": {"b": 2, "a": 1}, "alpha_pattern": {"b": 2.5, "a": 4.0}, "lora_alpha": 8.5,
            "exclude_modules": ["z", "y"], "layers_to_transform": [1, 0], "layers_pattern": "layer",
            "modules_to_save": ["score", "classifier"], "init_lora_weights": "gaussian", "peft_version": "0.7.0",
            "auto_mapping": {"parent_library": "p", "base_model_class": "c"}, "revision": "main""#,
        );
        let text = config.to_json(true);
        for part in [
            "\"alpha_pattern\": {\n    \"a\": 4,\n    \"b\": 2.5\n  },",
            "\"auto_mapping\": {\n    \"base_model_class\": \"c\",\n    \"parent_library\": \"p\"\n  },",
            "\"exclude_modules\": [\n    \"y\",\n    \"z\"\n  ],",
            "\"fan_in_fan_out\": true,",
            "\"init_lora_weights\": \"gaussian\",",
            "\"layers_pattern\": [\n    \"layer\"\n  ],",
            "\"layers_to_transform\": [\n    1,\n    0\n  ],",
            "\"lora_alpha\": 8.5,",
            "\"modules_to_save\": [\n    \"classifier\",\n    \"score\"\n  ],",
            "\"peft_version\": \"0.21.2\",",
            "\"rank_pattern\": {\n    \"a\": 1,\n    \"b\": 2\n  },",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }

        config.peft_version = Some("0.21.2".to_owned());
        config.fan_in_fan_out = true;
        config.lora_mut().targets.exclude_modules = Some(Names::List(names(&["y", "z"])));
        config.lora_mut().targets.modules_to_save = names(&["classifier", "score"]);
        // Equality of maps does not look at the order.
        assert_eq!(read(&text).expect("our own file"), config);
    }
}
