//! `kindling inspect`: what an adapter, a checkpoint or a run is.

mod adapter;
mod bars;
mod moved;
mod pair;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use lora::peft::Program;
use model::{ConfigError, Pretrained};
use serde_json::{Map, Value, json};

use super::report::write_page;
use super::{Failure, evaluations, source};
use crate::output::{Output, bytes, thousands};
use crate::report::{AdapterPage, Evaluation, ModuleUpdate, PairPage, Report};
use crate::run::{Directory, State};

use adapter::Inspected;
use moved::Moved;
use pair::Pair;

/// Beside the weights.
const MARKS: [&str; 5] = ["adapter_config.json", "kindling.json", "config.json", "config.toml", "metrics.jsonl"];

/// Show what an adapter, a checkpoint or a run is
///
/// Of an adapter: who can load it, and of each module's update its norm, singular values and effective rank, e to the entropy of the
/// singular values' shares (Roy and Vetterli 2007). Of a model that was trained whole, or its last layers: how far each layer is from the
/// base. Two adapters are compared.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kindling inspect runs/sst2
  kindling inspect runs/sst2/adapter --html adapter.html
  kindling inspect runs/a runs/b
  kindling inspect runs/full --model models/bert
  kindling inspect models/bert --json")]
pub(super) struct Arguments {
    /// Directory of an adapter, a model or a run, or its weights or configuration
    #[arg(required_unless_present = "run", conflicts_with = "run")]
    path: Option<PathBuf>,
    /// Another adapter, or its run, to compare the first with: cosine and principal angles of the updates
    #[arg(value_name = "OTHER", conflicts_with = "run")]
    other: Option<PathBuf>,
    /// The same as PATH, as other commands name a run
    #[arg(long, value_name = "DIR")]
    run: Option<PathBuf>,
    /// Directory of the base, where it is no longer where the adapter or the model says: changes are shown relative to its weights
    #[arg(long, value_name = "M")]
    model: Option<PathBuf>,
    /// Write a page with what there is to see of an adapter, or of two
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// What was looked at.
struct Found {
    document: Value,
    lines: Vec<String>,
    /// Of an adapter.
    page: Option<String>,
}

pub(super) fn run(arguments: &Arguments, output: &Output) -> Result<ExitCode, Failure> {
    let given = arguments.path.as_ref().or(arguments.run.as_ref()).expect("clap requires one of them");
    let path = directory_of(given)?;
    let model = arguments.model.as_deref();
    let found = match &arguments.other {
        Some(other) => two([path, directory_of(other)?], model, output)?,
        None => one(path, model, output)?,
    };
    if let Some(file) = &arguments.html {
        let Some(page) = &found.page else {
            let message = format!("`--html` shows an adapter, and {} is none", path.display());
            return Err(Failure::usage(message, "leave it out; of a run `kindling report` makes a page"));
        };
        write_page(file, page, "--html", output)?;
    }
    if output.json() {
        output.result(&serde_json::to_string(&found.document)?)?;
    } else {
        for line in found.lines {
            output.result(&line)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn one(path: &Path, model: Option<&Path>, output: &Output) -> Result<Found, Failure> {
    let has = |name: &str| path.join(name).exists();
    let is_run = has("config.toml") && has("metrics.jsonl");
    if has("adapter_config.json") {
        let inspected = Inspected::read(path, model, output)?;
        let document = inspected.document();
        return Ok(Found {
            lines: text(&document, obstacles(&inspected), Vec::new(), of_adapter(&inspected)),
            page: Some(page(&inspected)?),
            document,
        });
    }
    if is_run {
        return of_run(path, model, output);
    }
    if has("config.json") {
        let (document, moved) = of_model(path, model, output)?;
        let lines = text(&document, Vec::new(), Vec::new(), moved);
        return Ok(Found { lines, page: None, document });
    }
    if !path.exists() {
        return Err(Failure::usage(format!("there is no directory {}", path.display()), source::neighbour(path)));
    }
    // What is no model may still be one for another program.
    if let Err(error @ model::Error::Config(ConfigError::Quantised(_))) = Pretrained::head_of(path) {
        return Err(error.into());
    }
    let message = format!("{} is neither an adapter, nor a model, nor a run", path.display());
    Err(Failure::usage(
        message,
        "give the directory of an adapter (adapter_config.json), of a model (config.json) or of a run (config.toml, metrics.jsonl)",
    ))
}

fn two(paths: [&Path; 2], model: Option<&Path>, output: &Output) -> Result<Found, Failure> {
    let adapter = |path: &Path| {
        let of_run = path.join("adapter");
        match of_run.join("adapter_config.json").exists() {
            true => of_run,
            false => path.to_path_buf(),
        }
    };
    let [left, right] = paths.map(adapter);
    let pair = Pair::read([&left, &right], model, output)?;
    let page = PairPage { names: &pair.names, modules: &pair.modules, cosine: pair.cosine, alone: &pair.alone };
    let page = page.html().map_err(Failure::running)?;
    Ok(Found { document: pair.document(), lines: pair.lines(), page: Some(page) })
}

fn page(inspected: &Inspected) -> Result<String, Failure> {
    let adapter = &inspected.adapter;
    // A run calls every adapter the same.
    let of_run = inspected.directory.parent().filter(|_| inspected.directory.ends_with("adapter"));
    let named = of_run.filter(|run| run.file_name().is_some()).unwrap_or(&inspected.directory);
    let name = named.file_name().unwrap_or(inspected.directory.as_os_str()).to_string_lossy();
    let base = adapter.config.base_model.as_deref().map(|base| {
        let path = Path::new(base);
        // A local path is nobody else's.
        if path.is_absolute() {
            path.file_name().unwrap_or_default().to_string_lossy().into_owned()
        } else {
            base.to_string()
        }
    });
    let facts = [
        ("Method", Some(adapter.method.describe())),
        ("Base", base),
        ("Base kept in", inspected.quantised().map(|base| base.to_string())),
        ("Task", adapter.task().map(|task| task.to_string())),
        ("Saved whole", Some(adapter.method.modules_to_save().join(", ")).filter(|modules| !modules.is_empty())),
    ];
    let page = AdapterPage {
        title: &name,
        facts: facts.into_iter().filter_map(|(name, value)| Some((name, value?))).collect(),
        programs: &inspected.programs,
        updates: &inspected.updates,
        needs_base: inspected.needs_base(),
    };
    page.html().map_err(Failure::running)
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
fn of_run(directory: &Path, model: Option<&Path>, output: &Output) -> Result<Found, Failure> {
    let run = Report::read(directory).map_err(Failure::input)?;
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
    let method = run.record.facts.iter().find(|(name, _)| name == "method").map(|(_, method)| method);
    let mut document = json!({
        "state": state, "trained_as": method, "steps": run.steps.len(), "best_step": run.best_step,
        "best_evaluation": best.map(scores), "last_evaluation": run.evaluations.last().map(scores),
    });
    let adapter = directory.join("adapter");
    let adapter = adapter.is_dir().then(|| Inspected::read(&adapter, model, output)).transpose()?;
    let (made, details) = match &adapter {
        Some(adapter) => (adapter.document(), of_adapter(adapter)),
        None if directory.join("model").is_dir() => of_model(&directory.join("model"), model, output)?,
        None => (json!({}), Vec::new()),
    };
    if let (Value::Object(run), Value::Object(made)) = (&mut document, made) {
        run.extend(made);
    }
    let obstacles = adapter.as_ref().map(obstacles).unwrap_or_default();
    let lines = text(&document, obstacles, evaluations::table(&run), details);
    Ok(Found { lines, page: adapter.as_ref().map(page).transpose()?, document })
}

/// A whole model, and what there is to tell of its way from the base that it was trained from.
fn of_model(directory: &Path, base: Option<&Path>, output: &Output) -> Result<(Value, Vec<String>), Failure> {
    let mut document = checkpoint(directory)?;
    let Some(moved) = Moved::read(directory, base, output)? else { return Ok((document, Vec::new())) };
    if let (Value::Object(document), Value::Object(moved)) = (&mut document, moved.document()) {
        document.extend(moved);
    }
    let lines = moved.lines().into_iter().chain(updates(moved.updates()));
    Ok((document, lines.collect()))
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

/// The document for people: long lists are counted, not printed. What stands against an adapter in other programs follows its keys,
/// then a table, and at last its longest part.
fn text(document: &Value, obstacles: Vec<String>, table: Vec<String>, details: Vec<String>) -> Vec<String> {
    let Value::Object(keys) = document else { return Vec::new() };
    let mut lines = Vec::new();
    for (key, value) in keys {
        let shown = match (key.as_str(), value) {
            // Evaluations are a table below.
            ("updates" | "moved" | "best_evaluation" | "last_evaluation", _) | (_, Value::Null) => continue,
            // As it is where nothing is said.
            ("quantize_output", Value::Bool(false)) => continue,
            ("tensors", Value::Object(tensors)) => thousands(tensors.len()),
            ("loaded_by", Value::Object(programs)) => {
                let is_loaded = |(_, program): &(&String, &Value)| program["loads"] == true;
                programs.iter().filter(is_loaded).map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
            }
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
    lines.extend(obstacles);
    let is_apart = !table.is_empty() && !details.is_empty();
    lines.extend(table);
    if is_apart {
        lines.push(String::new());
    }
    lines.extend(details);
    lines
}

/// A line for each program that cannot load it.
fn obstacles(adapter: &Inspected) -> Vec<String> {
    let refusing = adapter.programs.iter().filter(|program| !program.obstacles.is_empty());
    let line = |program: &Program| format!("{:22}{}", format!("not by {}", program.name), program.obstacles.join("; "));
    refusing.map(line).collect()
}

fn of_adapter(adapter: &Inspected) -> Vec<String> {
    match adapter.needs_base() {
        true => vec!["what it changes is known on its base alone: name that with --model".to_string()],
        false => updates(&adapter.updates),
    }
}

/// A line for each module, with its size as a bar and its singular values as columns.
fn updates(updates: &[ModuleUpdate]) -> Vec<String> {
    if updates.is_empty() {
        return Vec::new();
    }
    // Sizes compare where all are relative, or none is.
    let is_relative = updates.iter().all(|update| update.relative.is_some());
    let size = |update: &ModuleUpdate| if is_relative { update.relative.unwrap_or_default() } else { update.norm };
    let largest = updates.iter().map(size).fold(f64::MIN_POSITIVE, f64::max);
    let mut lines = vec![
        "updates by module: norm, in per cent of the weight's, effective rank, rank of 90 and of 99 % of the energy, singular values"
            .to_string(),
    ];
    for update in updates {
        let relative = update.relative.map_or("-".to_string(), |share| format!("{:.2}%", 100.0 * share));
        let bar = bars::bar(size(update) / largest, 10);
        let of_spectrum = match &update.spectrum {
            Some(spectrum) => {
                let [low, high] = adapter::SHARES.map(|(_, share)| spectrum.rank_of_energy(share));
                let columns = bars::columns(&spectrum.singular_values, 16);
                format!("{:>6.1} {low:>3} {high:>3}  {columns}", spectrum.effective_rank())
            }
            None => format!("{:>6} {:>3} {:>3}  {:16}", "-", "-", "-", ""),
        };
        lines.push(format!("  {:>9.4} {relative:>7} {bar} {of_spectrum}  {}", update.norm, update.module));
    }
    lines
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_string)
}
