//! Where two runs part, and what of their machines may be the reason.

use std::collections::BTreeSet;
use std::path::Path;

use inference::{Provenance, Sidecar};
use serde_json::Value;

use crate::run;

/// Keys of `metrics.jsonl` that say what a clock or the system said.
const OF_CLOCK: [&str; 3] = ["step_seconds", "seconds", "peak_memory_bytes"];

/// Keys of `kindling.json` that say what wrote it, or are hashes of files that are compared themselves.
const OF_WRITER: [&str; 3] = ["kindling", "files", "sha256"];

/// The first thing that is not the same.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Difference {
    pub(super) step: usize,
    /// A key of `metrics.jsonl`, or a file of the result and what of it.
    pub(super) key: String,
    pub(super) then: Value,
    pub(super) now: Value,
}

/// Of two `metrics.jsonl`, in the lines of these steps. The run may have gone on after them; what was done again may not.
pub(super) fn of_metrics(then: &str, now: &str, stretch: run::Stretch) -> Option<Difference> {
    let lines = |text: &str, until: usize| -> Vec<Value> {
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let is_of_it = |line: &Value| {
            line["step"].as_u64().is_some_and(|step| (stretch.from as u64) < step && step <= until as u64)
        };
        lines.filter(is_of_it).collect()
    };
    let (then, now) = (lines(then, stretch.until), lines(now, usize::MAX));
    let absent = Value::Null;
    (0..then.len().max(now.len())).find_map(|index| {
        let [then, now] = [&then, &now].map(|lines| lines.get(index).unwrap_or(&absent));
        let step = then["step"].as_u64().or(now["step"].as_u64()).unwrap_or_default() as usize;
        first_key(then, now, &OF_CLOCK).map(|(key, then, now)| Difference { step, key, then, now })
    })
}

/// The first key whose values differ; `event` where a line is missing in one of the two.
fn first_key(then: &Value, now: &Value, without: &[&str]) -> Option<(String, Value, Value)> {
    let (Some(left), Some(right)) = (then.as_object(), now.as_object()) else {
        let of = |line: &Value| line.get("event").cloned().unwrap_or(Value::Null);
        return (then != now).then(|| ("event".to_string(), of(then), of(now)));
    };
    let keys: Vec<&String> = left.keys().chain(right.keys().filter(|key| !left.contains_key(*key))).collect();
    let value = |of: &serde_json::Map<String, Value>, key: &str| of.get(key).cloned().unwrap_or(Value::Null);
    keys.into_iter().filter(|key| !without.contains(&key.as_str())).find_map(|key| {
        let (then, now) = (value(left, key), value(right, key));
        (then != now).then(|| (key.clone(), then, now))
    })
}

/// Of two results, each in the directory of an adapter or a model, after the same step.
pub(super) fn of_results(then: &Path, now: &Path, step: usize) -> Option<Difference> {
    let names = |directory: &Path| -> BTreeSet<String> {
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    };
    // What a person has put beside them is not the run's.
    let is_compared = |name: &&String| name.ends_with(".safetensors") || name.ends_with(".json");
    let mut all = names(now);
    all.extend(names(then).into_iter().filter(|name| name.ends_with(".safetensors")));
    all.iter().filter(is_compared).find_map(|name| {
        let [left, right] = [then, now].map(|directory| std::fs::read(directory.join(name)).ok());
        if left == right {
            return None;
        }
        let (part, then, now) = match (left, right) {
            (Some(left), Some(right)) if name == "kindling.json" => sidecars(&left, &right)?,
            (Some(left), Some(right)) if name.ends_with(".safetensors") => tensors(&left, &right),
            (Some(left), Some(right)) => documents(&left, &right),
            (left, right) => {
                let is_there = |file: Option<Vec<u8>>| Value::from(if file.is_some() { "there" } else { "missing" });
                (String::new(), is_there(left), is_there(right))
            }
        };
        let key = if part.is_empty() { name.clone() } else { format!("{part} in {name}") };
        Some(Difference { step, key, then, now })
    })
}

type Part = (String, Value, Value);

fn sidecars(left: &[u8], right: &[u8]) -> Option<Part> {
    let parsed = |bytes: &[u8]| -> Value {
        let mut document: Value = serde_json::from_slice(bytes).unwrap_or_default();
        if let Some(trained) = document.get_mut("trained").and_then(Value::as_object_mut) {
            // Told in words, and no part of the result.
            for key in ["binary", "machine"] {
                trained.shift_remove(key);
            }
        }
        document
    };
    first_key(&parsed(left), &parsed(right), &OF_WRITER)
}

fn documents(left: &[u8], right: &[u8]) -> Part {
    let parsed = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap_or_default();
    first_key(&parsed(left), &parsed(right), &[]).unwrap_or_default()
}

/// The first tensor by name, with the first of its values that differs.
fn tensors(left: &[u8], right: &[u8]) -> Part {
    let parsed = |bytes: &[u8]| lora::peft::from_bytes(bytes).unwrap_or_default();
    let (left, right) = (parsed(left), parsed(right));
    let names: BTreeSet<&String> = left.keys().chain(right.keys()).collect();
    let part = names.into_iter().find_map(|name| {
        let [then, now] = [left.get(name), right.get(name)]
            .map(|data| data.map(|data| data.iter::<f32>().collect::<Vec<_>>()).unwrap_or_default());
        let count = then.len().max(now.len());
        let bits = |values: &[f32], index: usize| values.get(index).map(|value| value.to_bits());
        let index = (0..count).find(|index| bits(&then, *index) != bits(&now, *index))?;
        let value = |values: &[f32]| values.get(index).map_or(Value::Null, |value| Value::from(*value));
        Some((format!("{name}[{index}]"), value(&then), value(&now)))
    });
    part.unwrap_or_default()
}

/// What of the machine, the device or the executable is another one, in words: each may change the last bits of a number.
pub(super) fn of_machines(sidecar: Option<&Sidecar>, device: &str) -> Vec<String> {
    let Some(sidecar) = sidecar else { return Vec::new() };
    let mut words = Vec::new();
    let version = env!("CARGO_PKG_VERSION");
    if sidecar.version() != version {
        words.push(format!("it was trained by kindling {}, this is {version}", sidecar.version()));
    }
    let Some(Provenance { origins, .. }) = &sidecar.trained else {
        words.push("it does not record which executable and which processor trained it".to_string());
        return words;
    };
    if origins.binary != run::binary() && words.is_empty() {
        words.push(format!("it was trained by another build of kindling {version}"));
    }
    let (then, now) = (&origins.machine, run::machine(device));
    if then.processor != now.processor {
        words.push(format!("it was trained on {}, this processor is {}", then.processor, now.processor));
    }
    if then.vectors != now.vectors {
        words.push(format!(
            "it was computed with the SIMD instruction set {}, here it is {}",
            then.vectors, now.vectors
        ));
    }
    if then.device != now.device {
        words.push(format!("it was computed on the device {}, here on {}", then.device, now.device));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: [&str; 4] = [
        r#"{"event":"step","step":3,"loss":0.5,"step_seconds":1.0}"#,
        r#"{"event":"step","step":4,"loss":0.4,"step_seconds":1.0}"#,
        r#"{"event":"evaluation","step":4,"loss":0.6,"seconds":1.0}"#,
        r#"{"event":"step","step":5,"loss":0.3,"step_seconds":1.0}"#,
    ];

    fn parts(then: &[&str], now: &[&str]) -> Option<(usize, String, Value, Value)> {
        let found = of_metrics(&then.join("\n"), &now.join("\n"), run::Stretch { from: 3, until: 4 });
        found.map(|Difference { step, key, then, now }| (step, key, then, now))
    }

    #[test]
    fn lines_of_the_stretch_are_compared_without_what_a_clock_says() {
        let slower = LINES.map(|line| line.replace("1.0", "2.0"));
        let slower: Vec<&str> = slower.iter().map(String::as_str).collect();
        assert_eq!(parts(&LINES, &slower[1..3]), None);
        let other = LINES[1].replace("0.4", "0.41");
        assert_eq!(parts(&LINES, &[&other, LINES[2]]), Some((4, "loss".to_string(), 0.4.into(), 0.41.into())));
    }

    #[test]
    fn a_line_that_only_one_of_them_has_is_a_difference() {
        let event = |name: &str| Value::from(name);
        assert_eq!(parts(&LINES, &LINES[1..2]), Some((4, "event".to_string(), event("evaluation"), Value::Null)));
        // Steps after the stretch were not asked for.
        assert_eq!(parts(&LINES, &LINES[1..]), Some((5, "event".to_string(), Value::Null, event("step"))));
    }
}
