//! Checkpoints whose weights are stored quantised in another way than bitsandbytes' int8 and nf4, told from others before a tensor is asked for: every method has tensors of
//! its own, and what they lack would be an error that leads astray.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::checkpoint::Checkpoint;
use crate::config::Config;

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum QuantisedError {
    #[error("{} is quantised: {how}", directory.display())]
    Checkpoint {
        directory: PathBuf,
        how: String,
        #[help]
        help: String,
    },
    #[error("{} is a GGUF file, as llama.cpp reads and mostly quantises it", file.display())]
    #[diagnostic(help(
        "take the unquantised checkpoint that it was made from: a directory with config.json, model.safetensors and a tokenizer"
    ))]
    Gguf { file: PathBuf },
}

/// The keys of `config.json` under which tools say how they have quantised: Transformers', compressed-tensors' of old, and
/// mlx-lm's.
const KEYS: [&str; 3] = ["quantization_config", "compression_config", "quantization"];

/// Endings of the names of tensors that only quantised layers have.
const TENSORS: [&str; 19] = [
    // bitsandbytes
    ".weight.absmax",
    ".weight.quant_map",
    ".SCB",
    // GPTQ and AWQ
    ".qweight",
    ".qzeros",
    ".g_idx",
    // compressed-tensors, FP8, ModelOpt, Quark
    ".weight_packed",
    ".weight_scale",
    ".weight_scale_inv",
    ".weight_zero_point",
    ".input_scale",
    // MXFP4
    "_proj_blocks",
    "_proj_scales",
    // AQLM, VPTQ, HQQ, quanto, EETQ
    ".codebooks",
    ".centroids.weight",
    ".W_q",
    ".weight._data",
    ".weight._scale",
    ".weight_scales",
];

pub(crate) fn check_config(directory: &Path, config: &Config) -> Result<(), QuantisedError> {
    let refused_key = |key: &'static str| config.values().get(key).filter(|settings| !is_read(settings));
    let of_key = |key: &'static str| Some((key, method(refused_key(key)?)?));
    match KEYS.into_iter().find_map(of_key) {
        Some((key, method)) => {
            let rest = format!("; if its weights are not quantised after all, remove `{key}` from config.json");
            Err(refused(directory, config, format!("config.json says so (`{key}`: {method})"), &rest))
        }
        None => Ok(()),
    }
}

/// The same for a directory of which there is no more than `config.json` yet; what else may be wrong with that comes later.
pub(crate) fn check_directory(directory: &Path) -> Result<(), QuantisedError> {
    Config::read(directory).map_or(Ok(()), |config| check_config(directory, &config))
}

/// For checkpoints whose `config.json` does not say it.
pub(crate) fn check_tensors(directory: &Path, checkpoint: &Checkpoint, config: &Config) -> Result<(), QuantisedError> {
    for name in checkpoint.names() {
        let Some(entry) = checkpoint.entry(name) else { continue };
        let dtype = format!("{:?}", entry.dtype);
        let is_small = dtype.starts_with("F8") || dtype.starts_with("F6") || dtype.starts_with("F4");
        let is_packed = is_small || ["U8", "I8", "U32", "I32"].contains(&dtype.as_str());
        if is_packed && name.ends_with(".weight") && checkpoint.quantisation(name).is_none() {
            return Err(refused(directory, config, format!("its `{name}` is {dtype}"), ""));
        }
        if TENSORS.iter().any(|ending| name.ends_with(ending)) {
            return Err(refused(directory, config, format!("it has `{name}`"), ""));
        }
    }
    Ok(())
}

/// A GGUF file of a directory, or the path itself.
pub(crate) fn gguf(path: &Path) -> Option<PathBuf> {
    let is_gguf = |path: &PathBuf| path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("gguf"));
    if path.is_file() {
        return Some(path.to_path_buf()).filter(is_gguf);
    }
    let mut files: Vec<PathBuf> = std::fs::read_dir(path).ok()?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.sort_unstable();
    files.into_iter().find(is_gguf)
}

/// Whether the settings are bitsandbytes' for int8 or nf4, which are read.
fn is_read(settings: &Value) -> bool {
    let is = |key: &str, value: Value| settings.get(key) == Some(&value);
    let is_of_bitsandbytes = settings.get("quant_method").is_none_or(|method| method == "bitsandbytes");
    let (in_4bit, in_8bit) = (is("load_in_4bit", true.into()), is("load_in_8bit", true.into()));
    is_of_bitsandbytes && if in_4bit { is("bnb_4bit_quant_type", "nf4".into()) } else { in_8bit }
}

/// The method by its name and its bits; `None` where the settings are empty.
fn method(settings: &Value) -> Option<String> {
    let Value::Object(keys) = settings else {
        return (!settings.is_null() && settings != &Value::Bool(false)).then(|| settings.to_string());
    };
    if keys.is_empty() {
        return None;
    }
    let is_set = |key: &str| keys.get(key) == Some(&Value::Bool(true));
    let bits = match (is_set("load_in_4bit"), is_set("load_in_8bit")) {
        (true, _) => Some(4),
        (_, true) => Some(8),
        _ => ["bits", "w_bit", "nbits"].iter().find_map(|key| keys.get(*key)?.as_u64()),
    };
    let name = keys.get("quant_method").or_else(|| keys.get("quant_algo")).and_then(Value::as_str);
    let of_bitsandbytes = || keys.keys().any(|key| key.starts_with("load_in_")).then_some("bitsandbytes");
    let name = name.or_else(of_bitsandbytes);
    if let (Some(name), Some(kind)) = (name, keys.get("bnb_4bit_quant_type").and_then(Value::as_str))
        && bits == Some(4)
    {
        return Some(format!("{name}, {kind}"));
    }
    Some(match (name, bits) {
        (Some(name), Some(bits)) => format!("{name}, {bits} bits"),
        (Some(name), None) => name.to_string(),
        (None, Some(bits)) => format!("{bits} bits"),
        (None, None) => "an unknown method".to_string(),
    })
}

fn refused(directory: &Path, config: &Config, how: String, rest: &str) -> QuantisedError {
    let help = match original(directory, config) {
        Some((name, file)) => {
            format!("take the unquantised checkpoint: {file} says that it was made from {name}{rest}")
        }
        None => format!("take the unquantised checkpoint that it was made from{rest}"),
    };
    QuantisedError::Checkpoint { directory: directory.into(), how, help }
}

/// The repository that the checkpoint was made from, and the file that says so.
fn original(directory: &Path, config: &Config) -> Option<(String, &'static str)> {
    let of_card = lora::read_regular_text(&directory.join("README.md")).ok().and_then(|card| base_model(&card));
    let of_card = of_card.map(|name| (name, "README.md"));
    let of_config = config.text("_name_or_path").map(|name| (name.to_string(), "config.json"));
    [of_card, of_config].into_iter().flatten().find(|(name, _)| is_unquantised_repository(name))
}

/// `base_model` of the front matter of a model card: a name, or a list of which the first counts.
fn base_model(card: &str) -> Option<String> {
    let mut lines = card.lines();
    lines.next().filter(|line| line.trim() == "---")?;
    let mut lines = lines.take_while(|line| line.trim() != "---");
    let value = lines.find_map(|line| line.strip_prefix("base_model:"))?.trim();
    let value = match value.is_empty() {
        true => lines.next()?.trim().strip_prefix('-')?.trim(),
        false => value,
    };
    Some(value.trim_matches(['"', '\'', '[', ']']).to_string())
}

/// `org/name`, unless it says that it is quantised itself.
fn is_unquantised_repository(name: &str) -> bool {
    let quantised = ["4bit", "8bit", "gptq", "awq", "fp8", "gguf", "int4", "int8", "mxfp4", "quant"];
    let lower = name.to_lowercase();
    let is_repository = matches!(name.split('/').collect::<Vec<_>>()[..], [org, name] if !org.is_empty() && !name.is_empty())
        && !name.starts_with(['.', '~'])
        && !name.contains(char::is_whitespace);
    is_repository && !quantised.iter().any(|word| lower.contains(word))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_way_to_say_it_is_understood_and_empty_settings_say_nothing() {
        for (settings, expected) in [
            (json!({ "quant_method": "bitsandbytes", "load_in_4bit": true }), Some("bitsandbytes, 4 bits")),
            (json!({ "load_in_4bit": true, "bnb_4bit_quant_type": "fp4" }), Some("bitsandbytes, fp4")),
            (json!({ "load_in_8bit": true, "llm_int8_threshold": 6.0 }), Some("bitsandbytes, 8 bits")),
            (json!({ "quant_method": "gptq", "bits": 4, "group_size": 128 }), Some("gptq, 4 bits")),
            (json!({ "quant_method": "mxfp4" }), Some("mxfp4")),
            (json!({ "quant_algo": "FP8" }), Some("FP8")),
            (json!({ "bits": 4, "group_size": 64 }), Some("4 bits")),
            (json!({ "config_groups": {} }), Some("an unknown method")),
            (json!({}), None),
            (json!(null), None),
            (json!(false), None),
        ] {
            assert_eq!(method(&settings).as_deref(), expected, "{settings}");
        }
    }

    #[test]
    fn the_original_is_a_repository_that_is_not_quantised_itself() {
        let card = |value: &str| base_model(&format!("---\nlicense: mit\nbase_model:{value}\n---\n# Model\n"));
        assert_eq!(card(" org/name").as_deref(), Some("org/name"));
        assert_eq!(card("\n- org/name\n- other/name").as_deref(), Some("org/name"));
        assert_eq!(card(" \"org/name\"").as_deref(), Some("org/name"));
        assert_eq!(base_model("# Model\nbase_model: org/name"), None);
        assert!(is_unquantised_repository("meta-llama/Llama-3.2-1B"));
        for name in ["unsloth/llama-3-8b-bnb-4bit", "/home/me/model", "./model", "model", "a/b/c", "TheBloke/x-GPTQ"] {
            assert!(!is_unquantised_repository(name), "{name}");
        }
    }
}
