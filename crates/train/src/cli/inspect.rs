//! `kindling inspect`: what an adapter, a checkpoint or a run is.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use lora::UpdateSize;
use model::{ConfigError, Pretrained};
use serde_json::{Map, Value, json};

use super::{Failure, evaluations, source};
use crate::output::{Output, bytes, thousands};
use crate::report::{Evaluation, Report};
use crate::run::{Directory, State};
use inference::Adapter;

/// Beside the weights.
const MARKS: [&str; 5] = ["adapter_config.json", "kindling.json", "config.json", "config.toml", "metrics.jsonl"];

/// Show what an adapter, a checkpoint or a run is
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kindling inspect runs/sst2
  kindling inspect runs/sst2/adapter
  kindling inspect models/bert --json")]
pub(super) struct Arguments {
    /// Directory of an adapter, a model or a run, or its weights or configuration
    #[arg(required_unless_present = "run", conflicts_with = "run")]
    path: Option<PathBuf>,
    /// The same, as other commands name a run
    #[arg(long, value_name = "DIR")]
    run: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments, output: &Output) -> Result<ExitCode, Failure> {
    let given = arguments.path.as_ref().or(arguments.run.as_ref()).expect("clap requires one of them");
    let path = directory_of(given)?;
    let has = |name: &str| path.join(name).exists();
    let is_run = has("config.toml") && has("metrics.jsonl");
    let mut table = Vec::new();
    let document = if has("adapter_config.json") {
        adapter(path)?
    } else if is_run {
        let run = Report::read(path).map_err(Failure::input)?;
        table = evaluations::table(&run);
        run_document(path, &run)?
    } else if has("config.json") {
        checkpoint(path)?
    } else if !path.exists() {
        return Err(Failure::usage(format!("there is no directory {}", path.display()), source::neighbour(path)));
    } else {
        // What is no model may still be one for another program.
        if let Err(error @ model::Error::Config(ConfigError::Quantised(_))) = Pretrained::head_of(path) {
            return Err(error.into());
        }
        let message = format!("{} is neither an adapter, nor a model, nor a run", path.display());
        return Err(Failure::usage(
            message,
            "give the directory of an adapter (adapter_config.json), of a model (config.json) or of a run (config.toml, metrics.jsonl)",
        ));
    };
    if output.json() {
        output.result(&serde_json::to_string(&document)?)?;
    } else {
        for line in text(&document, table) {
            output.result(&line)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A file that makes a directory an adapter, a model or a run stands for it.
fn directory_of(given: &Path) -> Result<&Path, Failure> {
    if !given.is_file() {
        return Ok(given);
    }
    let directory = given.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = given.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let is_weights = name.ends_with(".safetensors") || name.ends_with(".safetensors.index.json");
    if is_weights || MARKS.contains(&name) {
        return Ok(directory);
    }
    if let Err(error @ model::Error::Config(ConfigError::Quantised(_))) = Pretrained::head_of(given) {
        return Err(error.into());
    }
    let message = format!("{} is a file, and none of an adapter, a model or a run", given.display());
    Err(Failure::usage(
        message,
        "give the directory of one, or one of its files: adapter_config.json, config.json, config.toml or weights (.safetensors)",
    ))
}

/// What has become of a run, and what it made.
fn run_document(directory: &Path, run: &Report) -> Result<Value, Failure> {
    let state = match Directory::state(directory) {
        State::Finished => "finished",
        State::Interrupted { .. } | State::New => "interrupted",
    };
    let scores = |evaluation: &Evaluation| {
        let mut keys = json!({ "step": evaluation.step });
        if let (Value::Object(keys), Ok(Value::Object(scores))) = (&mut keys, serde_json::to_value(&evaluation.scores))
        {
            keys.extend(scores);
        }
        keys
    };
    let best = run.evaluations.iter().find(|evaluation| Some(evaluation.step) == run.best_step);
    let mut document = json!({
        "state": state, "steps": run.steps.len(), "best_step": run.best_step,
        "best_evaluation": best.map(scores), "last_evaluation": run.evaluations.last().map(scores),
    });
    let made = match (directory.join("adapter").is_dir(), directory.join("model").is_dir()) {
        (true, _) => adapter(&directory.join("adapter"))?,
        (false, true) => checkpoint(&directory.join("model"))?,
        (false, false) => json!({}),
    };
    if let (Value::Object(run), Value::Object(made)) = (&mut document, made) {
        run.extend(made);
    }
    Ok(document)
}

fn adapter(directory: &Path) -> Result<Value, Failure> {
    let adapter = Adapter::read(directory, None)?;
    let mut tensors = Map::new();
    let mut elements = 0;
    for (name, shape) in adapter.tensors.names() {
        elements += shape.iter().product::<usize>();
        tensors.insert(name.to_string(), json!(shape));
    }
    let base = base(&adapter);
    // Of an adapter that started as a part of its base the tensors are not by themselves what it changes.
    let updates = if adapter.method.changes_base() { Vec::new() } else { adapter.tensors.updates() };
    let data = adapter.tensors.data();
    let spectra = lora::spectra(&data, &updates);
    let scalings = lora::update_sizes(&data, &updates).into_iter().filter(|size| size.is_relative);
    let scaling = |size: UpdateSize| json!({ "module": size.module, "relative": size.norm });
    let moved = |module: &str| {
        let update = updates.iter().find(|update| update.module == module && update.depends_on_weight())?;
        base.as_ref()?.moved(update, &data).ok().flatten()
    };
    let low_rank = spectra.iter().map(|of| update(of, moved(&of.module), base.as_ref()));
    let updates: Vec<Value> = low_rank.chain(scalings.map(scaling)).collect();
    let mut document = Map::from_iter([("method".to_string(), json!(adapter.method.name()))]);
    document.extend(adapter.method.shown());
    let of_all = json!({
        "modules_to_save": adapter.method.modules_to_save(), "base": adapter.config.base_model,
        "labels": adapter.sidecar.as_ref().map(|sidecar| &sidecar.labels),
        "fitted": adapter.sidecar.as_ref().map(|sidecar| &sidecar.fitted).filter(|fitted| !fitted.is_empty()),
        "trainable_parameters": elements, "tensors": tensors, "updates": updates,
    });
    document.extend(of_all.as_object().cloned().unwrap_or_default());
    Ok(Value::Object(document))
}

/// The base, where it is at hand: what an update is compared with.
fn base(adapter: &Adapter) -> Option<Pretrained> {
    let directory = Path::new(adapter.config.base_model.as_deref()?);
    let head = adapter.task()?.head;
    directory.is_dir().then(|| Pretrained::open(directory, head).ok()).flatten()
}

/// `moved` is how far it changes its weight, where that is not the low-rank product alone.
fn update(spectrum: &lora::Spectrum, moved: Option<f64>, base: Option<&Pretrained>) -> Value {
    let frobenius = moved.unwrap_or_else(|| spectrum.frobenius());
    let weight = base.and_then(|base| base.weight_norm(&spectrum.module).ok().flatten());
    json!({
        "module": spectrum.module, "frobenius": frobenius,
        "relative": weight.filter(|weight| *weight > 0.0).map(|weight| frobenius / weight),
        "singular_values": spectrum.singular_values, "effective_rank": spectrum.effective_rank(),
    })
}

fn checkpoint(directory: &Path) -> Result<Value, Failure> {
    let pretrained = Pretrained::open(directory, Pretrained::head_of(directory)?)?;
    let all = pretrained.tensors();
    let mut types: Vec<&str> = all.iter().map(|(_, _, dtype)| dtype.as_str()).collect();
    types.sort_unstable();
    types.dedup();
    let tensors: Map<String, Value> = all.iter().map(|(name, shape, _)| (name.clone(), json!(shape))).collect();
    Ok(json!({
        "class": pretrained.class(), "model_type": pretrained.config().get("model_type"), "dtypes": types,
        "parameters": pretrained.elements(), "bytes": pretrained.bytes(), "max_positions": pretrained.max_positions()?,
        "vocabulary": pretrained.vocabulary_size(), "labels": pretrained.labels()?, "new_parts": pretrained.new_parts(),
        "default_targets": pretrained.default_targets(), "fingerprint": pretrained.fingerprint(), "tensors": tensors,
    }))
}

/// The document for people, with a table in front of its longest part: long lists are counted, not printed.
fn text(document: &Value, table: Vec<String>) -> Vec<String> {
    let Value::Object(keys) = document else { return Vec::new() };
    let mut lines = Vec::new();
    for (key, value) in keys {
        let shown = match (key.as_str(), value) {
            // Evaluations are a table below.
            ("updates" | "best_evaluation" | "last_evaluation", _) | (_, Value::Null) => continue,
            ("tensors", Value::Object(tensors)) => thousands(tensors.len()),
            ("parameters" | "trainable_parameters", Value::Number(n)) => thousands(n.as_u64().unwrap_or(0) as usize),
            ("bytes", Value::Number(n)) => bytes(n.as_u64().unwrap_or(0) as usize),
            (_, Value::String(text)) => text.clone(),
            (_, Value::Array(items)) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
            (_, other) => other.to_string(),
        };
        if !shown.is_empty() {
            lines.push(format!("{:22}{shown}", key.replace('_', " ")));
        }
    }
    let has_table = !table.is_empty();
    lines.extend(table);
    if let Some(Value::Array(updates)) = keys.get("updates")
        && !updates.is_empty()
    {
        if has_table {
            lines.push(String::new());
        }
        lines.push(
            "updates by module: norm, in per cent of the weight's, effective rank, largest singular values".into(),
        );
        for update in updates {
            let number = |value: &Value, decimals: usize| match value.as_f64() {
                Some(number) => format!("{number:.decimals$}"),
                None => "-".to_string(),
            };
            let relative =
                update["relative"].as_f64().map_or("      -".to_string(), |share| format!("{:6.2}%", 100.0 * share));
            let values = update["singular_values"].as_array().map_or(&[][..], Vec::as_slice);
            let values: Vec<String> = values.iter().take(4).map(|value| number(value, 3)).collect();
            lines.push(format!(
                "  {:>9} {relative} {:>6}  {:28} {}",
                number(&update["frobenius"], 4),
                number(&update["effective_rank"], 1),
                values.join(" "),
                plain(&update["module"]),
            ));
        }
    }
    lines
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_string)
}
