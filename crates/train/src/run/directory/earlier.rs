//! Runs of versions that kept no record. Such a directory is taken for a run only if its files say so themselves: the
//! complete configuration that a run writes, beside metrics or checkpoints that can be read. Names alone prove nothing.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;
use toml::Table;

use super::record::Record;

/// Keys that every complete configuration has, and hardly one that a person wrote.
const WRITTEN_OUT: [(&str, &[&str]); 4] = [
    ("", &["seed", "output_dir"]),
    ("model", &["path", "task", "dtype", "weights", "save_dtype"]),
    ("data", &["train", "valid_fraction", "max_length"]),
    ("train", &["epochs", "max_steps", "batch_size", "betas", "eps", "keep_checkpoints", "device"]),
];

/// The files of a checkpoint.
const CHECKPOINT: [&str; 4] = ["model.bpk", "optimizer.bpk", "schedule.bpk", "state.json"];

/// What a run writes into `adapter/` or `model/`, the files of tokenizers included.
const RESULT: [&str; 15] = [
    "adapter_config.json",
    "adapter_model.safetensors",
    "README.md",
    "kindling.json",
    "config.json",
    "model.safetensors",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
];

/// The record that such a run would have; `None` if it is none.
pub(super) fn record(place: &Path) -> Option<Record> {
    // An empty file that every run held locked.
    let is_run = is_regular(&place.join(".lock")) && place.join(".lock").metadata().ok()?.len() == 0;
    let config = fs::read_to_string(place.join("config.toml")).ok().filter(|text| is_complete(text))?;
    let metrics = fs::read_to_string(place.join("metrics.jsonl")).unwrap_or_default();
    let first = metrics.lines().next().map(|line| serde_json::from_str::<Value>(line).unwrap_or_default());
    let has_metrics = match first {
        None => false,
        Some(line) if line["event"] == "step" || line["event"] == "eval" || line["event"] == "end" => true,
        Some(_) => return None,
    };
    let steps = checkpoints(place)?;
    if !is_run || !has_metrics && steps.is_empty() && !is_bare(place) {
        return None;
    }
    let mut names: BTreeSet<String> =
        [".lock", "config.toml", "metrics.jsonl", "train.log", "report.json", "report.html"].map(String::from).into();
    names.extend(steps.iter().flat_map(|step| CHECKPOINT.map(|name| format!("checkpoints/{step}/{name}"))));
    for result in ["adapter", "model"].iter().filter(|result| is_result(&place.join(result))) {
        names.extend(RESULT.map(|name| format!("{result}/{name}")));
    }
    names.retain(|name| super::record::is_own(place, name));
    Some(Record::of(config, names))
}

fn is_complete(config: &str) -> bool {
    let Ok(config) = config.parse::<Table>() else { return false };
    WRITTEN_OUT.iter().all(|(table, keys)| {
        let table = match *table {
            "" => Some(&config),
            table => config.get(table).and_then(|table| table.as_table()),
        };
        table.is_some_and(|table| keys.iter().all(|key| table.contains_key(*key)))
    })
}

/// The names of complete checkpoints; `None` where a checkpoint's directory holds something else.
fn checkpoints(place: &Path) -> Option<Vec<String>> {
    let mut steps = Vec::new();
    let Ok(entries) = fs::read_dir(place.join("checkpoints")) else { return Some(steps) };
    for entry in entries {
        let name = entry.ok()?.file_name().into_string().ok()?;
        let Some(step) = name.strip_prefix("step-").and_then(|step| step.parse::<usize>().ok()) else { continue };
        let state = fs::read_to_string(place.join("checkpoints").join(&name).join("state.json")).ok()?;
        let state: Value = serde_json::from_str(&state).ok()?;
        if state["step"] != step || !state["identity"].is_object() {
            return None;
        }
        steps.push(name);
    }
    Some(steps)
}

/// Whether nothing is there but what a run makes before its first step.
fn is_bare(place: &Path) -> bool {
    let Ok(entries) = fs::read_dir(place) else { return false };
    let known = |name: &str| [".lock", "config.toml", "metrics.jsonl", "train.log", "checkpoints"].contains(&name);
    entries.flatten().all(|entry| entry.file_name().to_str().is_some_and(known))
        && fs::read_dir(place.join("checkpoints")).is_ok_and(|mut entries| entries.next().is_none())
}

fn is_result(directory: &Path) -> bool {
    let sidecar = fs::read_to_string(directory.join("kindling.json")).unwrap_or_default();
    serde_json::from_str::<Value>(&sidecar).is_ok_and(|sidecar| sidecar["kindling"].is_string())
}

fn is_regular(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|found| found.is_file())
}
