//! Reading `adapter_config.json`, with PEFT's default for each absent key.

use std::path::Path;

use indexmap::IndexSet;

use super::keys::{Keys, shown};
use super::{ConfigError, PeftConfig};
use crate::Layout;
use crate::methods::{FOREIGN, Method, PEFT_TYPES};

impl PeftConfig {
    /// # Errors
    /// Text that is no JSON object, another type of adapter, values that are wrong, and keys whose meaning we do not
    /// implement or do not know, unless they are off (null, false or empty).
    pub fn from_json(file: &Path, text: &str) -> Result<Self, ConfigError> {
        let mut keys = Keys::parse(file, text)?;
        if let Some(of_peft) = FOREIGN.iter().find_map(|foreign| (foreign.keys)(file, &keys.map)) {
            keys.map = of_peft;
        }
        (Layout::of(&keys).read)(keys)
    }

    /// As PEFT writes it.
    pub(crate) fn of_peft(mut keys: Keys<'_>) -> Result<Self, ConfigError> {
        let method = keys.method()?;
        let mut config = Self {
            base_model: keys.text("base_model_name_or_path")?,
            revision: keys.text("revision")?,
            task_type: keys.text("task_type")?,
            peft_version: keys.text("peft_version")?,
            // PEFT sets it anew for each layer: what is no boolean has no effect.
            fan_in_fan_out: keys.peek("fan_in_fan_out").is_some_and(|value| *value == true),
            auto_mapping: keys.take("auto_mapping"),
            notes: Vec::new(),
            method,
        };
        keys.refuse_the_rest(config.method.unread_keys())?;
        config.notes = keys.notes;
        Ok(config)
    }
}

impl Keys<'_> {
    fn method(&mut self) -> Result<Method, ConfigError> {
        let supported: IndexSet<String> = PEFT_TYPES.iter().flatten().map(|it| format!("\"{it}\"")).collect();
        let supported = supported.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        let file = self.file.to_owned();
        let Some(found) = self.take("peft_type") else { return Err(ConfigError::NoType { file, supported }) };
        let method = match found.as_str() {
            Some(peft_type) => Method::from_peft(peft_type, self)?,
            None => None,
        };
        method.ok_or_else(|| ConfigError::OtherType { file, found: shown(&found), supported })
    }
}

#[cfg(test)]
mod tests {
    use indexmap::IndexMap;

    use super::*;
    use crate::peft::config::fixtures::*;
    use crate::{BiasMode, Init, LoraConfig, Names, TargetConfig, Targets};

    #[test]
    fn a_file_of_peft_is_read() {
        let expected = PeftConfig {
            method: Method::Lora(Box::new(LoraConfig {
                r: 4,
                alpha: 16.0,
                dropout: 0.0,
                bias: BiasMode::None,
                targets: TargetConfig {
                    target_modules: list(&["query", "value"]),
                    exclude_modules: None,
                    layers: None,
                    layers_pattern: vec![],
                    modules_to_save: names(&["classifier", "score"]),
                },
                init: Init::Default,
                ..LoraConfig::default()
            })),
            base_model: Some("../model".to_owned()),
            revision: None,
            task_type: Some("SEQ_CLS".to_owned()),
            peft_version: Some("0.21.2".to_owned()),
            fan_in_fan_out: false,
            auto_mapping: None,
            notes: vec![],
        };
        assert_eq!(read(BERT_CLS).expect("PEFT's own file"), expected);
    }

    #[test]
    fn the_other_parity_cases_are_read() {
        let layers = accepted(r#""layers_pattern": "layer", "layers_to_transform": [1, 2]"#).lora().clone();
        assert_eq!((layers.targets.layers, layers.targets.layers_pattern), (Some(vec![1, 2]), names(&["layer"])));

        let all_biases = accepted(r#""bias": "all", "modules_to_save": ["classifier", "score"]"#).lora().clone();
        assert_eq!(all_biases.bias, BiasMode::All);
        assert_eq!(accepted(r#""bias": "lora_only""#).lora().bias, BiasMode::LoraOnly);

        let text = r#"{"peft_type": "LORA", "use_rslora": true, "r": 4, "fan_in_fan_out": true,
            "target_modules": ".*\\.(query|value|intermediate\\.dense)",
            "rank_pattern": {"layer\\.0\\.attention\\.self\\.query": 8}, "alpha_pattern": {"intermediate.dense": 32}}"#;
        let pattern = read(text).expect("a valid configuration").lora().clone();
        let expression = r".*\.(query|value|intermediate\.dense)".to_owned();
        assert_eq!(pattern.targets.target_modules, Targets::Names(Names::Pattern(expression)));
        assert_eq!(pattern.rank_pattern, IndexMap::from([(r"layer\.0\.attention\.self\.query".to_owned(), 8)]));
        assert_eq!(pattern.alpha_pattern, IndexMap::from([("intermediate.dense".to_owned(), 32.0)]));
        assert!(pattern.use_rslora);

        let mapping =
            r#"{"base_model_class": "BertForMaskedLM", "parent_library": "transformers.models.bert.modeling_bert"}"#;
        let masked = accepted(&format!(r#""auto_mapping": {mapping}, "task_type": null, "modules_to_save": null"#));
        assert_eq!((&masked.task_type, &masked.lora().targets.modules_to_save), (&None, &vec![]));
        assert_eq!(masked.auto_mapping.expect("a mapping").to_string(), mapping.replace(": ", ":").replace(", ", ","));
    }

    #[test]
    fn absent_keys_take_the_defaults_of_peft() {
        let config = read(r#"{"peft_type": "LORA"}"#).expect("a valid configuration");
        let lora = config.lora().clone();
        assert_eq!(lora.targets.target_modules, Targets::Auto);
        assert_eq!((lora.r, lora.alpha, lora.dropout), (8, 8.0, 0.0));
        assert_eq!((lora.bias, lora.init, lora.use_rslora), (BiasMode::None, Init::Default, false));
    }

    #[test]
    fn values_of_either_form_are_read() {
        assert_eq!(accepted(r#""lora_alpha": 8.5"#).lora().alpha, 8.5);
        assert_eq!(accepted(r#""layers_to_transform": 3"#).lora().targets.layers, Some(vec![3]));
        assert_eq!(
            accepted(r#""layers_pattern": ["h", "layer"]"#).lora().targets.layers_pattern,
            names(&["h", "layer"])
        );
        let excluded = |keys| accepted(keys).lora().targets.exclude_modules.clone();
        assert_eq!(excluded(r#""exclude_modules": "a.*""#), Some(Names::Pattern("a.*".to_owned())));
        assert_eq!(excluded(r#""exclude_modules": ["b"]"#), Some(Names::List(names(&["b"]))));
        assert_eq!(excluded(r#""exclude_modules": []"#), None);
        let all = read(r#"{"peft_type": "LORA", "target_modules": "All-Linear"}"#).expect("a valid configuration");
        assert_eq!(all.lora().targets.target_modules, Targets::AllLinear);
    }

    #[test]
    fn starts_that_leave_a_plain_adapter_are_read() {
        let init = |value| accepted(&format!(r#""init_lora_weights": {value}"#)).lora().init;
        assert_eq!((init("true"), init("false"), init("\"gaussian\"")), (Init::Default, Init::Default, Init::Gaussian));
        for start in ["\"eva\"", "\"orthogonal\""] {
            assert_eq!(init(start), Init::Default, "{start}");
        }
        assert_eq!(init("\"mica\""), Init::Mica);
        // The base that they leave is made again.
        let of_base = (Init::Pissa { iterations: None }, Init::Olora);
        assert_eq!((init("\"pissa\""), init("\"olora\"")), of_base);
    }

    #[test]
    fn modules_saved_twice_are_folded_in_order() {
        let twice = r#""modules_to_save": ["score", "classifier", "score", "classifier"]"#;
        assert_eq!(accepted(twice).lora().targets.modules_to_save, names(&["score", "classifier"]));
    }

    #[test]
    fn numbers_that_no_layer_has_mean_none_and_are_told() {
        let config = accepted(r#""layers_to_transform": [-1, 2]"#);
        assert_eq!(config.lora().targets.layers, Some(vec![2]));
        assert_eq!(config.notes, ["`layers_to_transform`: no layer has the number -1"]);
        let (message, _) = refusal(with(r#""layers_to_transform": -1"#));
        assert!(message.ends_with("[-1] is not a list with the number of a layer"), "{message}");
    }

    #[test]
    fn patterns_keep_the_order_of_the_file() {
        let lora = accepted(r#""rank_pattern": {"b": 2, "a": 1, "c": 3}"#).lora().clone();
        assert_eq!(lora.rank_pattern.keys().collect::<Vec<_>>(), ["b", "a", "c"]);
    }

    #[test]
    fn starts_that_change_the_base_are_refused_with_the_reason() {
        for (start, reason) in [
            ("pissa_niter_4", "this start is random, so that the base it left cannot be made again"),
            ("corda", "this start also changes the base"),
            ("lora_ga", "this start also changes the base"),
            ("loftq", "the adapter belongs to a base quantised by LoftQ"),
            ("guassian", "supported: true, false, \"gaussian\", \"pissa\", \"olora\""),
        ] {
            let (message, help) = refusal(with(&format!(r#""init_lora_weights": "{start}""#)));
            assert_eq!(message, format!("`init_lora_weights` in adapter_config.json: \"{start}\" is not supported"));
            assert!(help.starts_with(reason), "{start}: {help}");
        }
    }

    #[test]
    fn other_adapters_are_refused() {
        let (message, help) = refusal(read(r#"{"peft_type": "VERA"}"#));
        assert_eq!(message, "`peft_type` in adapter_config.json: adapters of type \"VERA\" are not supported");
        assert_eq!(help, "supported: \"LORA\", \"IA3\"");
        assert_eq!(refusal(read(r#"{"r": 4}"#)).0, "adapter_config.json has no `peft_type`");
        assert_eq!(refusal(read("[]")).0, "adapter_config.json is not a JSON object");
    }

    #[test]
    fn an_adapter_without_targets_is_the_modules_it_saves() {
        let none = |rest: &str| {
            read(&format!(r#"{{"peft_type": "LORA", "target_modules": "dummy-target-modules", "bias": {rest}}}"#))
        };
        let head = none(r#""none", "modules_to_save": ["classifier"]"#).expect("a head alone").method;
        assert_eq!(head, Method::modules(names(&["classifier"])));
        let bitfit = |rest: &str| none(rest).expect("BitFit").method;
        for rest in [r#""all""#, r#""all", "modules_to_save": ["classifier", "pooler"]"#] {
            let method = bitfit(rest);
            assert_eq!(method.name(), "bitfit");
            assert_eq!(method.modules_to_save().len(), if rest.contains("pooler") { 2 } else { 0 });
            let again = serde_json::Value::Object(method.to_peft(false)).to_string();
            assert_eq!(read(&again).expect("as it was written").method, method);
        }
        // Without a target there is no bias of one.
        assert_eq!(bitfit(r#""lora_only", "modules_to_save": ["classifier"]"#), head);
        let message = "`target_modules` in adapter_config.json: \"dummy-target-modules\" is not supported";
        let refused = |rest: &str| refusal(none(rest));
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
