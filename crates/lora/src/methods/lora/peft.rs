//! The keys of LoRA in `adapter_config.json`: read with PEFT's default for each absent one, and written as PEFT does.

use serde_json::{Map, Value, json};
use suggest::suggestion;

use super::{Init, LoraConfig};
use crate::config::{BiasMode, Names, TargetConfig};
use crate::method::UnreadKeys;
use crate::methods::none::NO_TARGETS;
use crate::peft::{ConfigError, Keys, integer, is_off, number, shown, some_list, some_names, sorted, written_targets};

/// Variants that would change the forward pass, the tensors or the base, with what to do about them. Their defaults are
/// null, false or empty.
const UNSUPPORTED: &[(&str, &str)] = &[
    ("lora_bias", "biases of `lora_B` are not supported; merge the adapter with PEFT"),
    ("trainable_token_indices", "trained token embeddings are not supported; merge the adapter with PEFT"),
    ("layer_replication", "replicated layers are not supported"),
    ("use_qalora", "QALoRA is not supported; plain LoRA and rsLoRA are"),
    ("use_bdlora", "BD-LoRA is not supported; plain LoRA and rsLoRA are"),
    ("alora_invocation_tokens", "activated LoRA is not supported; plain LoRA and rsLoRA are"),
    ("arrow_config", "Arrow routing is not supported; plain LoRA and rsLoRA are"),
    ("kasa_config", "KaSA is not supported; plain LoRA and rsLoRA are"),
    ("monteclora_config", "MonteCLoRA is not supported; plain LoRA and rsLoRA are"),
    ("velora_config", "VeLoRA is not supported; plain LoRA and rsLoRA are"),
];

/// Keys without a bearing on a trained adapter: derived data, settings of starts that are refused by `init_lora_weights`
/// where they matter, and learning rates and the like of other trainers (ms-swift's `lora_dtype`, `lorap_*`).
const IGNORED: &[&str] = &[
    "corda_config",
    "eva_config",
    "fan_in_fan_out",
    "loftq_config",
    "lora_dtype",
    "lora_ga_config",
    "lorap_emb_lr",
    "lorap_lr_ratio",
    "megatron_config",
    "megatron_core",
    "merge_weights",
    "qalora_group_size",
];

pub(in crate::methods) const UNREAD: UnreadKeys = UnreadKeys { unsupported: UNSUPPORTED, ignored: IGNORED };

impl LoraConfig {
    /// `None` where no module is adapted: that is another method.
    pub(in crate::methods) fn from_peft(keys: &mut Keys<'_>) -> Result<Option<Self>, ConfigError> {
        match keys.peek("target_modules").is_some_and(|targets| *targets == NO_TARGETS) {
            true => Ok(None),
            false => Self::read_peft(keys).map(Some),
        }
    }

    pub(in crate::methods) fn read_peft(keys: &mut Keys<'_>) -> Result<Self, ConfigError> {
        let target_modules = keys.targets()?;
        let config = Self {
            r: keys.take_strictly("r").map_or(Ok(8), |value| keys.rank("r", &value))?,
            alpha: keys.take_strictly("lora_alpha").map_or(Ok(8.0), |value| keys.float("lora_alpha", &value))?,
            dropout: dropout(keys)?,
            bias: bias(keys)?,
            targets: TargetConfig {
                target_modules,
                exclude_modules: keys.some_names("exclude_modules")?,
                layers: layers(keys)?,
                layers_pattern: match keys.some_names("layers_pattern")? {
                    Some(Names::List(patterns)) => patterns,
                    Some(Names::Pattern(pattern)) => vec![pattern],
                    None => vec![],
                },
                modules_to_save: keys.modules_to_save()?,
            },
            rank_pattern: keys.pattern("rank_pattern", Keys::rank)?,
            alpha_pattern: keys.pattern("alpha_pattern", Keys::float)?,
            use_rslora: keys.flag("use_rslora")?,
            use_dora: keys.flag("use_dora")?,
            init: init(keys)?,
            ensure_weight_tying: keys.flag("ensure_weight_tying")?,
            ..Self::default()
        };
        // LoRA on bare parameters. The models here have none of those that are meant, and what an adapter learned of one
        // would be a tensor without a place.
        if let Some(parameters) = keys.take_strictly("target_parameters").filter(|value| !is_off(value)) {
            keys.notes.push(format!("`target_parameters`: no parameter is adapted by {}", shown(&parameters)));
        }
        Ok(config)
    }

    /// Every key that PEFT writes and that is LoRA's own.
    pub(super) fn write_peft(&self, fan_in_fan_out: bool) -> Map<String, Value> {
        let alphas = self.alpha_pattern.iter().map(|(key, alpha)| (key.clone(), number(*alpha)));
        let keys = json!({
            "alora_invocation_tokens": null,
            "alpha_pattern": alphas.collect::<Map<_, _>>(),
            "arrow_config": null,
            "bias": self.bias,
            "corda_config": null,
            "ensure_weight_tying": false,
            "eva_config": null,
            "exclude_modules": self.targets.exclude_modules.as_ref().and_then(some_names),
            "fan_in_fan_out": fan_in_fan_out,
            "init_lora_weights": match self.init {
                Init::Default => json!(true),
                other => json!(other.name()),
            },
            "kasa_config": null,
            "layer_replication": null,
            "layers_pattern": some_list(&self.targets.layers_pattern),
            "layers_to_transform": some_list(self.targets.layers.as_deref().unwrap_or_default()),
            "loftq_config": {},
            "lora_alpha": number(self.alpha),
            "lora_bias": false,
            "lora_dropout": self.dropout,
            "lora_ga_config": null,
            "megatron_config": null,
            "megatron_core": "megatron.core",
            "modules_to_save": some_list(&sorted(&self.targets.modules_to_save)),
            "monteclora_config": null,
            "peft_type": super::PEFT_TYPE,
            "qalora_group_size": 16,
            "r": self.r,
            "rank_pattern": self.rank_pattern,
            "target_modules": written_targets(&self.targets.target_modules),
            "target_parameters": null,
            "trainable_token_indices": null,
            "use_bdlora": null,
            "use_dora": self.use_dora,
            "use_qalora": false,
            "use_rslora": self.use_rslora,
            "velora_config": null,
        });
        keys.as_object().cloned().unwrap_or_default()
    }
}

fn dropout(keys: &mut Keys<'_>) -> Result<f64, ConfigError> {
    let key = "lora_dropout";
    let Some(value) = keys.take_strictly(key) else { return Ok(0.0) };
    let dropout = keys.float(key, &value)?;
    if (0.0..1.0).contains(&dropout) { Ok(dropout) } else { Err(keys.wrong(key, &value, "a probability below 1")) }
}

fn bias(keys: &mut Keys<'_>) -> Result<BiasMode, ConfigError> {
    let value = keys.take_strictly("bias").unwrap_or_else(|| json!("none"));
    match value.as_str() {
        Some("none") => Ok(BiasMode::None),
        Some("all") => Ok(BiasMode::All),
        Some("lora_only") => Ok(BiasMode::LoraOnly),
        Some(other) => Err(ConfigError::UnknownWord {
            file: keys.file.to_owned(),
            key: "bias",
            found: other.to_owned(),
            suggestion: suggestion(other, ["none", "all", "lora_only"]),
        }),
        None => Err(keys.wrong("bias", &value, "\"none\", \"all\" or \"lora_only\"")),
    }
}

fn layers(keys: &mut Keys<'_>) -> Result<Option<Vec<usize>>, ConfigError> {
    let key = "layers_to_transform";
    let list = match keys.take(key) {
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
            (None, Some(_)) => keys.notes.push(format!("`{key}`: no layer has the number {value}")),
            (None, None) => return Err(keys.wrong(key, value, "the number of a layer")),
        }
    }
    match layers.is_empty() {
        true => Err(keys.wrong(key, &Value::Array(list), "a list with the number of a layer")),
        false => Ok(Some(layers)),
    }
}

/// The start is history once the adapter is trained, unless it changed the base as well: then it has to be made again.
fn init(keys: &mut Keys<'_>) -> Result<Init, ConfigError> {
    let key = "init_lora_weights";
    let value = keys.take(key).unwrap_or(Value::Bool(true));
    let name = match &value {
        Value::Bool(_) => return Ok(Init::Default),
        Value::String(name) => name.to_lowercase(),
        other => return Err(keys.wrong(key, other, "true, false or a name")),
    };
    let reason = match name.as_str() {
        "gaussian" => return Ok(Init::Gaussian),
        // They choose A, or A and B, and leave the base as it is.
        "eva" | "orthogonal" => return Ok(Init::Default),
        "mica" => return Ok(Init::Mica),
        // The base they left can be made again: the decompositions are the same, but for signs that cancel.
        "pissa" => return Ok(Init::Pissa { iterations: None }),
        "olora" => return Ok(Init::Olora),
        "loftq" => "the adapter belongs to a base quantised by LoftQ",
        random if random.starts_with("pissa_niter_") => {
            "this start is random, so that the base it left cannot be made again: save with PEFT's `path_initial_model_for_weight_conversion`, which makes a plain adapter of it"
        }
        "corda" | "lora_ga" => {
            "this start also changes the base: save with PEFT's `path_initial_model_for_weight_conversion`, which makes a plain adapter of it"
        }
        _ => "supported: true, false, \"gaussian\", \"pissa\", \"olora\", \"eva\", \"orthogonal\", \"mica\"",
    };
    Err(keys.unsupported(key, &value, reason))
}
