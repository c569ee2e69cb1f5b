//! The files of a bottleneck adapter as the `adapters` package of AdapterHub has them (1.3): what is trained in full is in files of its
//! own, as a prediction head, and `adapter_config.json` has the keys of `BnConfig` under `config`, and what the package says of the base.

use serde_json::{Map, Value, json};

use super::{BottleneckConfig, Placement};
use crate::files::{Beside, Pickle};
use crate::method::UnreadKeys;
use crate::methods::Method;
use crate::peft::{ConfigError, Keys, PeftConfig, number};
use crate::{Base, Layout, Package};

/// The version of `adapters` whose format is written.
const VERSION: &str = "adapters.1.3.0";

pub(in crate::methods) static LAYOUT: Layout = Layout {
    tensor_file: "adapter.safetensors",
    beside: Some(Beside { tensor_file: "model_head.safetensors", config_file: "head_config.json", config: head_json }),
    prefix: "",
    described: "such an adapter is a directory with adapter_config.json and adapter.safetensors, as kindling writes it, and AdapterHub's `adapters` with use_safetensors=True",
    pickle: Pickle {
        file: "pytorch_adapter.bin",
        again: "load it in Python with model.load_adapter(DIR) and save it again with model.save_adapter(DIR, NAME, use_safetensors=True)",
    },
    is_own: |keys| keys.peek("config").is_some_and(Value::is_object),
    read,
    keys: |config| Map::from_iter([("model_name".to_string(), json!(config.base_model))]),
    package: Package {
        // The Hub's name for `adapters`.
        library: "adapter-transformers",
        name: "AdapterHub's `adapters`",
        version: "adapters 1.3.0",
        import: "import adapters",
        load: |adapter| {
            format!("adapters.init(base)\nbase.load_adapter({adapter}, use_safetensors=True, set_active=True)")
        },
    },
};

/// What the files say of the base.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct OfBase {
    pub(super) model_type: String,
    class: String,
    width: usize,
}

impl OfBase {
    pub(super) fn new(base: &Base<'_>) -> Self {
        Self { model_type: base.model_type.to_string(), class: base.class.to_string(), width: base.width }
    }
}

/// Variants of `BnConfig`. Their defaults are null, false or empty.
const UNSUPPORTED: &[(&str, &str)] = &[
    ("ln_before", "norms within the adapter are not supported"),
    ("ln_after", "norms within the adapter are not supported"),
    ("is_parallel", "parallel adapters are not supported; sequential ones are"),
    ("use_gating", "gates are not supported"),
    ("inv_adapter", "invertible adapters are not supported"),
    ("cross_adapter", "adapters after cross-attention are not supported"),
    ("leave_out", "an adapter in some layers alone is not supported"),
    ("phm_layer", "Compacter is not supported; adapters of dense layers are"),
];

/// How an adapter started, and settings of variants that are off.
const IGNORED: &[&str] = &[
    "adapter_residual_before_ln",
    "architecture",
    "factorized_phm_W",
    "factorized_phm_rule",
    "hypercomplex_nonlinearity",
    "init_weights",
    "init_weights_seed",
    "inv_adapter_reduction_factor",
    "learn_phm",
    "phm_bias",
    "phm_c_init",
    "phm_dim",
    "phm_init_range",
    "phm_rank",
    "shared_W_phm",
    "shared_phm_rule",
];

pub(super) const UNREAD: UnreadKeys = UnreadKeys { unsupported: UNSUPPORTED, ignored: IGNORED };

impl BottleneckConfig {
    /// From the keys under `config`; `is_old` is a file of the package's forerunner, which named the two forms of GELU otherwise.
    fn from_adapterhub(keys: &mut Keys<'_>, is_old: bool) -> Result<Self, ConfigError> {
        if let Some(other) = keys.peek("architecture").filter(|it| !it.is_null()) {
            return Err(keys.unsupported(
                "architecture",
                other,
                "bottleneck adapters are read in this format, and no others",
            ));
        }
        let placement = placement(keys)?;
        let factor = keys.take("reduction_factor").unwrap_or(Value::Null);
        let reduction_factor = match factor.as_f64() {
            Some(factor) if factor > 0.0 => factor,
            Some(_) => return Err(keys.wrong("reduction_factor", &factor, "a number greater than 0")),
            None => {
                return Err(keys.unsupported("reduction_factor", &factor, "one number for all layers is supported"));
            }
        };
        let written = keys.text("non_linearity")?.unwrap_or_default();
        let non_linearity = match (is_old, written.to_lowercase().as_str()) {
            (true, "gelu") => "gelu_new".to_string(),
            (true, "gelu_orig") => "gelu".to_string(),
            (_, name) => name.to_string(),
        };
        if non_linearity.parse::<kernels::Activation>().is_err() {
            let expected = "an activation function that kindling has";
            return Err(keys.wrong("non_linearity", &json!(written), expected));
        }
        for (key, neutral) in [("scaling", 1.0), ("dropout", 0.0), ("stochastic_depth", 0.0)] {
            let Some(value) = keys.take(key).filter(|value| value.as_f64() != Some(neutral)) else { continue };
            match key {
                "scaling" => return Err(keys.unsupported(key, &value, "only 1.0 is supported")),
                // In training alone.
                _ => keys.notes.push(format!("`{key}`: adapters here have none")),
            }
        }
        Ok(Self { placement, reduction_factor, non_linearity, ..Self::default() })
    }

    /// Every key that `adapters` writes but for the name of the base.
    pub(super) fn write_adapterhub(&self) -> Map<String, Value> {
        let base = self.base.clone().unwrap_or_default();
        let is_pfeiffer = self.placement == Placement::Pfeiffer;
        let keys = json!({
            "config": {
                "adapter_residual_before_ln": false,
                "cross_adapter": false,
                "dropout": 0.0,
                "factorized_phm_W": true,
                "factorized_phm_rule": false,
                "hypercomplex_nonlinearity": "glorot-uniform",
                "init_weights": "bert",
                "init_weights_seed": null,
                "inv_adapter": null,
                "inv_adapter_reduction_factor": null,
                "is_parallel": false,
                "learn_phm": true,
                "leave_out": [],
                "ln_after": false,
                "ln_before": false,
                "mh_adapter": !is_pfeiffer,
                "non_linearity": self.non_linearity,
                "original_ln_after": true,
                "original_ln_before": is_pfeiffer,
                "output_adapter": true,
                "phm_bias": true,
                "phm_c_init": "normal",
                "phm_dim": 4,
                "phm_init_range": 0.0001,
                "phm_layer": false,
                "phm_rank": 1,
                "reduction_factor": number(self.reduction_factor),
                "residual_before_ln": true,
                "scaling": 1.0,
                "shared_W_phm": false,
                "shared_phm_rule": true,
                "stochastic_depth": 0.0,
                "use_gating": false,
            },
            "hidden_size": base.width,
            "model_class": base.class,
            "model_type": base.model_type,
            "name": "default",
            "version": VERSION,
        });
        keys.as_object().cloned().unwrap_or_default()
    }
}

/// The keys of the adapter are under `config`.
fn read(mut keys: Keys<'_>) -> Result<PeftConfig, ConfigError> {
    let map = keys.take("config").and_then(|config| config.as_object().cloned()).unwrap_or_default();
    let mut own = Keys { file: keys.file, map, notes: Vec::new() };
    // Those of the package's forerunner, adapter-transformers, had none at first.
    let is_old = keys.text("version")?.is_none();
    let method = Method::Adapter(Box::new(BottleneckConfig::from_adapterhub(&mut own, is_old)?));
    own.refuse_the_rest(method.unread_keys())?;
    let (base_model, notes) = (keys.text("model_name")?, own.notes);
    let (revision, task_type, peft_version, auto_mapping) = (None, None, None, None);
    Ok(PeftConfig { method, base_model, revision, task_type, peft_version, fan_in_fan_out: false, auto_mapping, notes })
}

/// `head_config.json` of a model with one head, which has no name and no settings.
fn head_json(config: &PeftConfig, labels: &[String]) -> String {
    let mut keys = config.keys(false);
    let of_number = ["LABEL_0".to_string()];
    let labels = if labels.is_empty() { &of_number } else { labels };
    let ids = labels.iter().enumerate().map(|(id, label)| (label.clone(), json!(id)));
    keys.insert("config".to_string(), Value::Null);
    keys.insert("name".to_string(), Value::Null);
    keys.insert("label2id".to_string(), Value::Object(ids.collect::<Map<_, _>>()));
    keys.insert("num_labels".to_string(), json!(labels.len()));
    let mut file = Value::Object(keys);
    file.sort_all_objects();
    format!("{file:#}")
}

fn placement(keys: &mut Keys<'_>) -> Result<Placement, ConfigError> {
    let mut flag = |key: &str, default: bool| match keys.take(key) {
        None => Ok(default),
        Some(Value::Bool(flag)) => Ok(flag),
        Some(other) => Err(keys.wrong(key, &other, "true or false")),
    };
    let of_attention = flag("mh_adapter", false)?;
    let of_output = flag("output_adapter", false)?;
    let before = flag("original_ln_before", false)?;
    if !flag("original_ln_after", true)? {
        return Err(keys.unsupported("original_ln_after", &json!(false), "only true is supported"));
    }
    let residual = keys.take("residual_before_ln").unwrap_or(Value::Bool(true));
    let placement = match (of_attention, of_output, before) {
        (true, true, false) => Placement::Houlsby,
        // It says nothing of an adapter that reads the output itself.
        (false, true, true) if residual != Value::Bool(true) => {
            return Err(keys.unsupported("residual_before_ln", &residual, "only true is supported"));
        }
        (false, true, true) => Placement::Pfeiffer,
        (false, _, _) | (true, false, _) | (true, true, true) => {
            let reason = "supported are Houlsby's placement (`double_seq_bn`) and Pfeiffer's (`seq_bn`)";
            let found =
                json!({ "mh_adapter": of_attention, "output_adapter": of_output, "original_ln_before": before });
            return Err(keys.unsupported("config", &found, reason));
        }
    };
    Ok(placement)
}
