//! A trained model as commands open it: with what was typed in the place of what its files say, and with what there is to
//! know of it said.

use std::path::Path;

use burn::tensor::Device;
use data::{ColumnKey, ColumnNames, ColumnRole};
use inference::{AdapterError, Error, ModelFiles, Overrides, Pipeline, Saved};
use serde_json::{Map, Value};
use tasks::{TaskName, Use};

use super::Failure;
use crate::output::{Output, counted};
use crate::run::tell;

/// Opens what was named. `usage` is what the command needs a model for, if it is not for all; `sets` are its `--set` arguments,
/// of which it takes those with the `keys` of `[data]`.
pub(super) fn open(
    files: &ModelFiles,
    usage: Option<Use>,
    (sets, keys): (&[String], &[&str]),
    device: &Device,
    output: &Output,
) -> Result<Pipeline, Failure> {
    let saved = Saved::read(files, usage).map_err(|error| match error {
        Error::NoModel { .. } => {
            let help = "a model is a directory with config.json, model.safetensors and a tokenizer, or an id on the \
                        Hugging Face Hub: org/name or org/name@revision";
            Failure::usage(error.to_string(), help)
        }
        Error::OtherUse { path, task, wanted } => other_use(&path, task, wanted),
        other => other.into(),
    })?;
    if let (Some(base), Some(adapter)) = (saved.other_base(), &files.adapter) {
        let (adapter, model) = (adapter.display(), files.model.display());
        output.warn(&match Path::new(base) == files.model {
            true => format!("the weights of {model} have changed since the adapter {adapter} was trained"),
            false => format!("the adapter {adapter} was trained on other weights ({base}) than those of {model}"),
        });
    }
    let pipeline = saved.load(&overrides(sets, keys)?, device).map_err(|error| match error {
        Error::Length { positions, .. } => {
            let of_length = |set: &&String| set.trim_start().starts_with("data.max_length");
            let set = sets.iter().rev().find(of_length).map_or("data.max_length", String::as_str);
            cannot_be_used(set, format!("expected a number from 1 to {positions}"))
        }
        Error::Adapter(AdapterError::Positions { .. }) => {
            let help = "the adapter was trained on another model: give its base with --model";
            Failure::from(error).advising(help.to_string())
        }
        other => other.into(),
    })?;
    tell(&pipeline.loaded, output);
    if let Some(directory) = &files.adapter {
        say_adapter(directory, &pipeline, output);
    }
    Ok(pipeline)
}

fn other_use(directory: &Path, task: TaskName, wanted: Use) -> Failure {
    let others: Vec<&str> = TaskName::all().filter(|task| task.usage == wanted).map(|task| task.name).collect();
    let (last, first) = others.split_last().map_or(("", &[][..]), |(last, first)| (*last, first));
    let others = if first.is_empty() { last.to_owned() } else { format!("{} and {last}", first.join(", ")) };
    let message = format!("{} was trained for {task}, this command is for {others}", directory.display());
    let help = match task.usage {
        Use::Predict => "`kindling predict` and `kindling eval` are for it",
        Use::Score => "`kindling eval` scores it",
        Use::Generate => "`kindling generate` and `kindling eval` are for it",
    };
    Failure::usage(message, help)
}

pub(super) const MAX_LENGTH: &str = "max_length";

/// All keys of `[data]` that `--set` overrides of a trained model.
pub(super) fn all_keys() -> Vec<&'static str> {
    let columns = ColumnNames::keys().iter().map(|key| key.name);
    let of_tasks = TaskName::all().flat_map(|task| task.settings).map(|setting| setting.key);
    columns.chain([MAX_LENGTH]).chain(of_tasks).collect()
}

/// The keys of what models with this use read of a row to answer it.
pub(super) fn keys_of_input(usage: Use) -> Vec<&'static str> {
    let is_read = |key: &&ColumnKey| {
        let mut tasks = TaskName::all().filter(|task| task.usage == usage);
        key.role == ColumnRole::Input && tasks.any(|task| task.has(&format!("data.{}", key.name)))
    };
    ColumnNames::keys().iter().filter(is_read).map(|key| key.name).collect()
}

/// What `--set` arguments say instead of a model's files.
fn overrides(sets: &[String], keys: &[&str]) -> Result<Overrides, Failure> {
    let (mut columns, mut settings, mut max_length) = (Vec::new(), Map::new(), None);
    for set in sets {
        let (key, value) = parsed(set, keys)?;
        let of_tasks = || TaskName::all().flat_map(|task| task.settings);
        match key {
            // What is no number is out of the range that the model has positions for, as 0 is.
            MAX_LENGTH => max_length = Some(value.parse().unwrap_or(0)),
            key => match of_tasks().find(|setting| setting.key == key) {
                Some(setting) => {
                    let value: Option<Value> = (setting.parse)(&value);
                    let value = value.ok_or_else(|| cannot_be_used(set, format!("expected {}", setting.expected)))?;
                    settings.insert(key.to_string(), value);
                }
                None => columns.push((key.to_string(), value)),
            },
        }
    }
    Ok(Overrides { columns, settings, max_length })
}

/// The columns that `--set` arguments name, of which a command takes those with these `keys`.
pub(super) fn column_names(sets: &[String], keys: &[&str]) -> Result<ColumnNames, Failure> {
    let mut names = ColumnNames::default();
    for set in sets {
        let (key, value) = parsed(set, keys)?;
        names.set(key, &value)?;
    }
    Ok(names)
}

/// The key of a `--set` argument within `[data]`, and its value.
fn parsed<'a>(set: &'a str, keys: &[&str]) -> Result<(&'a str, String), Failure> {
    let Some((key, value)) = set.split_once('=') else {
        let help = "write it as KEY=VALUE, for example `--set data.text=sentence`".to_string();
        return Err(cannot_be_used(set, help));
    };
    let key = key.trim();
    match key.strip_prefix("data.").filter(|name| keys.contains(name)) {
        Some(name) => Ok((name, value.trim().trim_matches('"').to_string())),
        None => {
            let keys: Vec<String> = keys.iter().map(|name| format!("data.{name}")).collect();
            Err(cannot_be_used(set, suggest::suggestion(key, keys.iter().map(String::as_str))))
        }
    }
}

fn cannot_be_used(set: &str, help: String) -> Failure {
    Failure::usage(format!("`--set {set}` cannot be used here"), help)
}

/// An adapter that has no effect is worth a word: PEFT's users meet it as a model that learned nothing.
fn say_adapter(directory: &Path, pipeline: &Pipeline, output: &Output) {
    let plan = &pipeline.loaded.plan;
    let sizes = lora::update_sizes(&plan.tensors_written(&pipeline.model).into_iter().collect(), plan.updates());
    let tensors = counted(plan.parameters().len(), "tensor", "tensors");
    // Biases and heads take the places of the base's own: nothing of them is added to a weight.
    if sizes.is_empty() {
        return output.say(&format!("adapter {}: {tensors}", directory.display()));
    }
    let total = sizes.iter().map(|size| size.norm * size.norm).sum::<f64>().sqrt();
    let modules = counted(sizes.len(), "module", "modules");
    output.say(&format!("adapter {}: {tensors}, {modules}, norm of the update {total:.4}", directory.display()));
    let is_all = !plan.updates().iter().any(lora::Update::depends_on_weight);
    if total == 0.0 && is_all {
        output.warn(&format!("{}: the model answers as its base does", plan.method().without_effect()));
    }
}
