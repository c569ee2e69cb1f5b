//! Reading `adapter_config.json`, with PEFT's default for each absent key.

use std::path::Path;

use indexmap::IndexSet;
use serde_json::{Value, json};

use super::keys::{Keys, integer, shown};
use super::{ConfigError, PeftConfig, is_not_empty};
use crate::config::{BiasMode, Init, LoraConfig, Names, Targets};
use crate::suggest::suggest;

impl PeftConfig {
    /// # Errors
    /// Text that is no JSON object, another type of adapter, values that are wrong, and keys whose meaning we do not
    /// implement or do not know, unless they are off (null, false or empty).
    pub fn from_json(file: &Path, text: &str) -> Result<Self, ConfigError> {
        let mut keys = Keys::parse(file, text)?;
        keys.check_type()?;
        keys.check_targets()?;
        let targets = keys.names("target_modules")?;
        let mut config = Self {
            targets_missing: targets.is_none(),
            frozen_b: keys.trains_a_alone(),
            lora: keys.lora(targets)?,
            base_model: keys.text("base_model_name_or_path")?,
            revision: keys.text("revision")?,
            task_type: keys.text("task_type")?,
            peft_version: keys.text("peft_version")?,
            auto_mapping: keys.take("auto_mapping"),
            ensure_weight_tying: keys.flag("ensure_weight_tying")?,
            notes: Vec::new(),
        };
        keys.refuse_the_rest()?;
        config.notes = keys.notes;
        Ok(config)
    }
}

impl Keys<'_> {
    fn check_type(&mut self) -> Result<(), ConfigError> {
        match self.take("peft_type") {
            None => Err(ConfigError::NoType { file: self.file.to_owned() }),
            Some(found) if found == "LORA" => Ok(()),
            Some(found) => Err(ConfigError::OtherType { file: self.file.to_owned(), found: shown(&found) }),
        }
    }

    /// PEFT's word for no module leaves the saved modules alone in the adapter. With every bias trained it is BitFit,
    /// which has no type of its own.
    fn check_targets(&self) -> Result<(), ConfigError> {
        let key = "target_modules";
        let Some(none) = self.map.get(key).filter(|targets| *targets == "dummy-target-modules") else { return Ok(()) };
        let trains_biases = self.map.get("bias").is_some_and(|bias| bias != "none");
        let saved = self.map.get("modules_to_save").and_then(Value::as_array).map_or(0, Vec::len);
        let reason = match (trains_biases, saved) {
            (true, _) => "this is a BitFit adapter: not supported by this version",
            (false, 0) => "it adapts no module and saves none: there is nothing in it",
            (false, _) => return Ok(()),
        };
        Err(self.unsupported(key, none, reason))
    }

    fn lora(&mut self, targets: Option<Names>) -> Result<LoraConfig, ConfigError> {
        Ok(LoraConfig {
            r: self.take_strictly("r").map_or(Ok(8), |value| self.rank("r", &value))?,
            alpha: self.take_strictly("lora_alpha").map_or(Ok(8.0), |value| self.float("lora_alpha", &value))?,
            dropout: self.dropout()?,
            bias: self.bias()?,
            target_modules: match targets {
                Some(Names::Pattern(word)) if word.eq_ignore_ascii_case("all-linear") => Targets::AllLinear,
                Some(names) => Targets::Names(names),
                None => Targets::Names(Names::List(vec![])),
            },
            exclude_modules: self.names("exclude_modules")?.filter(is_not_empty),
            layers: self.layers()?,
            layers_pattern: match self.names("layers_pattern")?.filter(is_not_empty) {
                Some(Names::List(patterns)) => patterns,
                Some(Names::Pattern(pattern)) => vec![pattern],
                None => vec![],
            },
            modules_to_save: self.modules_to_save()?,
            rank_pattern: self.pattern("rank_pattern", Self::rank)?,
            alpha_pattern: self.pattern("alpha_pattern", Self::float)?,
            use_rslora: self.flag("use_rslora")?,
            init: self.init()?,
        })
    }

    fn dropout(&mut self) -> Result<f64, ConfigError> {
        let key = "lora_dropout";
        let Some(value) = self.take_strictly(key) else { return Ok(0.0) };
        let dropout = self.float(key, &value)?;
        if (0.0..1.0).contains(&dropout) { Ok(dropout) } else { Err(self.wrong(key, &value, "a probability below 1")) }
    }

    fn bias(&mut self) -> Result<BiasMode, ConfigError> {
        let value = self.take_strictly("bias").unwrap_or_else(|| json!("none"));
        match value.as_str() {
            Some("none") => Ok(BiasMode::None),
            Some("all") => Ok(BiasMode::All),
            Some("lora_only") => Ok(BiasMode::LoraOnly),
            Some(other) => Err(ConfigError::Bias {
                file: self.file.to_owned(),
                found: other.to_owned(),
                suggestion: suggest(other, ["none", "all", "lora_only"]),
            }),
            None => Err(self.wrong("bias", &value, "\"none\", \"all\" or \"lora_only\"")),
        }
    }

    fn layers(&mut self) -> Result<Option<Vec<usize>>, ConfigError> {
        let key = "layers_to_transform";
        let list = match self.take(key) {
            None => return Ok(None),
            Some(Value::Array(list)) => list,
            Some(number) => vec![number],
        };
        if list.is_empty() {
            return Ok(None);
        }
        let mut layers = Vec::with_capacity(list.len());
        for value in &list {
            match (integer(value), value.as_i64()) {
                (Some(layer), _) => layers.push(layer),
                // PEFT compares it with the number of each layer, so that it means none: not the last.
                (None, Some(_)) => self.notes.push(format!("`{key}`: no layer has the number {value}")),
                (None, None) => return Err(self.wrong(key, value, "the number of a layer")),
            }
        }
        match layers.is_empty() {
            true => Err(self.wrong(key, &Value::Array(list), "a list with the number of a layer")),
            false => Ok(Some(layers)),
        }
    }

    /// Each name once: PEFT adds the standard heads again on every load and save.
    fn modules_to_save(&mut self) -> Result<Vec<String>, ConfigError> {
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

    fn trains_a_alone(&self) -> bool {
        self.map.get("init_lora_weights").and_then(Value::as_str).is_some_and(|name| name.eq_ignore_ascii_case("mica"))
    }

    /// The start is history once the adapter is trained, unless it changed the base as well.
    fn init(&mut self) -> Result<Init, ConfigError> {
        let key = "init_lora_weights";
        let value = self.take(key).unwrap_or(Value::Bool(true));
        let name = match &value {
            Value::Bool(_) => return Ok(Init::Default),
            Value::String(name) => name.to_lowercase(),
            other => return Err(self.wrong(key, other, "true, false or a name")),
        };
        let reason = match name.as_str() {
            "gaussian" => return Ok(Init::Gaussian),
            // They choose A, or A and B, and leave the base as it is.
            "eva" | "orthogonal" | "mica" => return Ok(Init::Default),
            "loftq" => "the adapter belongs to a base quantised by LoftQ",
            changed if changed.starts_with("pissa") || ["olora", "corda", "lora_ga"].contains(&changed) => {
                "this start also changes the base: save with PEFT's `path_initial_model_for_weight_conversion`, which makes a plain adapter of it"
            }
            _ => "supported: true, false, \"gaussian\", \"eva\", \"orthogonal\", \"mica\"",
        };
        Err(self.unsupported(key, &value, reason))
    }
}

#[cfg(test)]
mod tests {
    use indexmap::IndexMap;

    use super::*;
    use crate::peft::config::fixtures::*;

    #[test]
    fn a_file_of_peft_is_read() {
        let expected = PeftConfig {
            lora: LoraConfig {
                r: 4,
                alpha: 16.0,
                dropout: 0.0,
                bias: BiasMode::None,
                target_modules: list(&["query", "value"]),
                exclude_modules: None,
                layers: None,
                layers_pattern: vec![],
                modules_to_save: names(&["classifier", "score"]),
                rank_pattern: IndexMap::new(),
                alpha_pattern: IndexMap::new(),
                use_rslora: false,
                init: Init::Default,
            },
            base_model: Some("../model".to_owned()),
            revision: None,
            task_type: Some("SEQ_CLS".to_owned()),
            peft_version: Some("0.21.2".to_owned()),
            auto_mapping: None,
            targets_missing: false,
            frozen_b: false,
            ensure_weight_tying: false,
            notes: vec![],
        };
        assert_eq!(read(BERT_CLS).expect("PEFT's own file"), expected);
    }

    #[test]
    fn the_other_parity_cases_are_read() {
        let layers = accepted(r#""layers_pattern": "layer", "layers_to_transform": [1, 2]"#).lora;
        assert_eq!((layers.layers, layers.layers_pattern), (Some(vec![1, 2]), names(&["layer"])));

        let all_biases = accepted(r#""bias": "all", "modules_to_save": ["classifier", "score"]"#).lora;
        assert_eq!(all_biases.bias, BiasMode::All);
        assert_eq!(accepted(r#""bias": "lora_only""#).lora.bias, BiasMode::LoraOnly);

        let text = r#"{"peft_type": "LORA", "use_rslora": true, "r": 4, "fan_in_fan_out": true,
            "target_modules": ".*\\.(query|value|intermediate\\.dense)",
            "rank_pattern": {"layer\\.0\\.attention\\.self\\.query": 8}, "alpha_pattern": {"intermediate.dense": 32}}"#;
        let pattern = read(text).expect("a valid configuration").lora;
        let expression = r".*\.(query|value|intermediate\.dense)".to_owned();
        assert_eq!(pattern.target_modules, Targets::Names(Names::Pattern(expression)));
        assert_eq!(pattern.rank_pattern, IndexMap::from([(r"layer\.0\.attention\.self\.query".to_owned(), 8)]));
        assert_eq!(pattern.alpha_pattern, IndexMap::from([("intermediate.dense".to_owned(), 32.0)]));
        assert!(pattern.use_rslora);

        let mapping =
            r#"{"base_model_class": "BertForMaskedLM", "parent_library": "transformers.models.bert.modeling_bert"}"#;
        let masked = accepted(&format!(r#""auto_mapping": {mapping}, "task_type": null, "modules_to_save": null"#));
        assert_eq!((masked.task_type, masked.lora.modules_to_save), (None, vec![]));
        assert_eq!(masked.auto_mapping.expect("a mapping").to_string(), mapping.replace(": ", ":").replace(", ", ","));
    }

    #[test]
    fn absent_keys_take_the_defaults_of_peft() {
        let config = read(r#"{"peft_type": "LORA"}"#).expect("a valid configuration");
        assert!(config.targets_missing);
        let lora = config.lora;
        assert_eq!((lora.r, lora.alpha, lora.dropout), (8, 8.0, 0.0));
        assert_eq!((lora.bias, lora.init, lora.use_rslora), (BiasMode::None, Init::Default, false));
    }

    #[test]
    fn values_of_either_form_are_read() {
        assert_eq!(accepted(r#""lora_alpha": 8.5"#).lora.alpha, 8.5);
        assert_eq!(accepted(r#""layers_to_transform": 3"#).lora.layers, Some(vec![3]));
        assert_eq!(accepted(r#""layers_pattern": ["h", "layer"]"#).lora.layers_pattern, names(&["h", "layer"]));
        let excluded = |keys| accepted(keys).lora.exclude_modules;
        assert_eq!(excluded(r#""exclude_modules": "a.*""#), Some(Names::Pattern("a.*".to_owned())));
        assert_eq!(excluded(r#""exclude_modules": ["b"]"#), Some(Names::List(names(&["b"]))));
        assert_eq!(excluded(r#""exclude_modules": []"#), None);
        let all = read(r#"{"peft_type": "LORA", "target_modules": "All-Linear"}"#).expect("a valid configuration");
        assert_eq!(all.lora.target_modules, Targets::AllLinear);
    }

    #[test]
    fn starts_that_leave_a_plain_adapter_are_read() {
        let init = |value| accepted(&format!(r#""init_lora_weights": {value}"#)).lora.init;
        assert_eq!((init("true"), init("false"), init("\"gaussian\"")), (Init::Default, Init::Default, Init::Gaussian));
        for start in ["\"eva\"", "\"orthogonal\"", "\"mica\""] {
            assert_eq!(init(start), Init::Default, "{start}");
        }
        assert!(accepted(r#""init_lora_weights": "mica""#).frozen_b);
    }

    #[test]
    fn modules_saved_twice_are_folded_in_order() {
        let twice = r#""modules_to_save": ["score", "classifier", "score", "classifier"]"#;
        assert_eq!(accepted(twice).lora.modules_to_save, names(&["score", "classifier"]));
    }

    #[test]
    fn numbers_that_no_layer_has_mean_none_and_are_told() {
        let config = accepted(r#""layers_to_transform": [-1, 2]"#);
        assert_eq!(config.lora.layers, Some(vec![2]));
        assert_eq!(config.notes, ["`layers_to_transform`: no layer has the number -1"]);
        let (message, _) = refusal(with(r#""layers_to_transform": -1"#));
        assert!(message.ends_with("[-1] is not a list with the number of a layer"), "{message}");
    }

    #[test]
    fn patterns_keep_the_order_of_the_file() {
        let lora = accepted(r#""rank_pattern": {"b": 2, "a": 1, "c": 3}"#).lora;
        assert_eq!(lora.rank_pattern.keys().collect::<Vec<_>>(), ["b", "a", "c"]);
    }

    #[test]
    fn starts_that_change_the_base_are_refused_with_the_reason() {
        for (start, reason) in [
            ("pissa", "this start also changes the base"),
            ("pissa_niter_4", "this start also changes the base"),
            ("olora", "this start also changes the base"),
            ("corda", "this start also changes the base"),
            ("lora_ga", "this start also changes the base"),
            ("loftq", "the adapter belongs to a base quantised by LoftQ"),
            ("guassian", "supported: true, false, \"gaussian\""),
        ] {
            let (message, help) = refusal(with(&format!(r#""init_lora_weights": "{start}""#)));
            assert_eq!(message, format!("`init_lora_weights` in adapter_config.json: \"{start}\" is not supported"));
            assert!(help.starts_with(reason), "{start}: {help}");
        }
    }

    #[test]
    fn other_adapters_are_refused() {
        let (message, help) = refusal(read(r#"{"peft_type": "IA3"}"#));
        assert_eq!(message, "`peft_type` in adapter_config.json: adapters of type \"IA3\" are not supported");
        assert_eq!(help, "supported: \"LORA\"");
        assert_eq!(refusal(read(r#"{"r": 4}"#)).0, "adapter_config.json has no `peft_type`");
        assert_eq!(refusal(read("[]")).0, "adapter_config.json is not a JSON object");
    }

    #[test]
    fn an_adapter_without_targets_is_the_modules_it_saves() {
        let none = |rest: &str| {
            read(&format!(r#"{{"peft_type": "LORA", "target_modules": "dummy-target-modules", "bias": {rest}}}"#))
        };
        let head = none(r#""none", "modules_to_save": ["classifier"]"#).expect("a head alone").lora;
        assert_eq!(head.modules_to_save, names(&["classifier"]));
        let message = "`target_modules` in adapter_config.json: \"dummy-target-modules\" is not supported";
        let bitfit = "this is a BitFit adapter: not supported by this version";
        let refused = |rest: &str| refusal(none(rest));
        assert_eq!(refused(r#""all", "modules_to_save": ["classifier"]"#), (message.to_owned(), bitfit.to_owned()));
        let nothing = "it adapts no module and saves none: there is nothing in it";
        assert_eq!(refused(r#""none""#), (message.to_owned(), nothing.to_owned()));
    }

    #[test]
    fn an_unknown_bias_is_refused_with_the_nearest() {
        let (message, help) = refusal(with(r#""bias": "lora-only""#));
        assert_eq!(message, "`bias` in adapter_config.json: unknown value `lora-only`");
        assert_eq!(help, "did you mean `lora_only`?");
    }
}
