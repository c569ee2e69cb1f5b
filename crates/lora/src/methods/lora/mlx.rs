//! Adapters of mlx-lm, read as the LoRA or DoRA of PEFT that they are: `adapters.safetensors` has both factors transposed, and the
//! modules that it has them for are the targets. Reference: `load_adapters` in `mlx_lm/tuner/utils.py`.

use std::path::Path;

use safetensors::SafeTensors;
use serde_json::{Map, Value, json};

use super::lengths::IN_MLX;
use super::magnitude::MAGNITUDE;
use super::names::LINEAR;
use crate::methods::Foreign;
use crate::peft::PREFIX;
use crate::read_regular;

pub(in crate::methods) const MLX: Foreign = Foreign { program: "mlx-lm", tensor_file: TENSORS, keys, renamed };

/// The tensors in an adapter's directory.
const TENSORS: &str = "adapters.safetensors";

/// What the names of A, B and DoRA's lengths end in, there and here.
const ENDINGS: [(&str, &str); 3] = [(".lora_a", LINEAR[0]), (".lora_b", LINEAR[1]), (IN_MLX.ending, MAGNITUDE)];

/// The keys that PEFT would have written for these of mlx-lm, whose file lies beside its tensors; `None` where they are no such
/// adapter's.
fn keys(file: &Path, keys: &Map<String, Value>) -> Option<Map<String, Value>> {
    let is_dora = match keys.get("fine_tune_type").and_then(Value::as_str) {
        Some("lora") => false,
        Some(word) if word == IN_MLX.fine_tune_type => true,
        _ => return None,
    };
    let parameters = keys.get("lora_parameters")?;
    let (rank, scale) = (parameters["rank"].as_u64()?, parameters["scale"].as_f64()?);
    let bytes = read_regular(&file.with_file_name(TENSORS)).ok()?;
    let (_, header) = SafeTensors::read_metadata(&bytes).ok()?;
    let mut targets: Vec<String> =
        header.tensors().keys().filter_map(|name| name.strip_suffix(ENDINGS[0].0).map(str::to_owned)).collect();
    targets.sort_unstable();
    let written = json!({
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": rank, "lora_alpha": scale * rank as f64, "use_dora": is_dora,
        "lora_dropout": parameters["dropout"].as_f64().unwrap_or(0.0), "target_modules": targets, "bias": "none",
        "base_model_name_or_path": keys.get("model").and_then(Value::as_str),
    });
    written.as_object().cloned()
}

/// The name that PEFT gives to a tensor, and whether it lies the other way round there.
fn renamed(name: &str) -> (String, bool) {
    let found = |(there, here): &(&str, &str)| name.strip_suffix(there).map(|module| format!("{module}{here}"));
    match ENDINGS.iter().find_map(found) {
        Some(renamed) => (format!("{}{renamed}", PREFIX), !name.ends_with(ENDINGS[2].0)),
        None => (name.to_owned(), false),
    }
}
