//! A trained model as commands open it: with what was typed in the place of what its files say, and with what there is to
//! know of it said.

use std::path::Path;

use burn::tensor::Device;
use data::{ColumnKey, ColumnNames, ColumnRole};
use inference::{
    AdapterError, Backbone, Error, LoadedBackbone, ModelFiles, Overrides, Pipeline, QuantisedBase, Saved, method_of,
};
use lora::Plan;
use model::{Frozen, Model, Pretrained};
use serde_json::{Map, Value};
use tasks::{TaskName, Use};

use super::Failure;
use crate::config::Dtype;
use crate::output::{Output, counted};
use crate::run::tell;

/// Opens what was named. `usage` is what the command needs a model for, if it is not for all; `sets` are its `--set` arguments,
/// of which it takes those with the `keys` of `[data]`.
pub(super) fn open(
    files: &ModelFiles,
    usage: Option<Use>,
    sets: (&[String], &[&str]),
    device: &Device,
    output: &Output,
) -> Result<Pipeline, Failure> {
    let saved = read(files, usage)?;
    if let Some(other) = other_base(&saved, files) {
        output.warn(&other);
    }
    load(saved, files, sets, device, output)
}

/// Reads all of it but the weights.
pub(super) fn read(files: &ModelFiles, usage: Option<Use>) -> Result<Saved, Failure> {
    Saved::read(files, usage).map_err(|error| match error {
        Error::NoModel { .. } => {
            let help = "a model is a directory with config.json, model.safetensors and a tokenizer, or an id on the \
                        Hugging Face Hub: org/name or org/name@revision";
            Failure::usage(error.to_string(), help)
        }
        Error::OtherUse { path, task, wanted } => other_use(&path, task, wanted),
        other => other.into(),
    })
}

/// # Errors
/// The checkpoint's files have quantised matrices, of which no other model is made.
pub(super) fn check_unquantised(files: &ModelFiles) -> Result<(), Failure> {
    let directory = &files.model;
    let Some(quantisation) = Pretrained::open(directory, Pretrained::head_of(directory)?)?.quantisation() else {
        return Ok(());
    };
    let (shown, kind) = (directory.display(), quantisation.name());
    Err(match files.adapter {
        // To the adapter the codes are other weights than those that they were made from.
        Some(_) => Failure::usage(
            format!("{shown} is in {kind}, which has no room for an update"),
            "name the unquantised checkpoint that it was made from with --model, and give --allow-other-base",
        ),
        None => Failure::usage(
            format!("{shown} is in {kind}, of which no file for llama.cpp is made"),
            "name the unquantised checkpoint that it was made from with --model",
        ),
    })
}

/// # Errors
/// The adapter is of a method that no weight takes in. `done` is what cannot be done with it for that.
pub(super) fn check_mergeable(adapter: &Path, done: &str) -> Result<(), Failure> {
    match method_of(adapter)?.why_not_merged() {
        Some(reason) => {
            let message = format!("{} cannot be {done}: {reason}", adapter.display());
            Err(Failure::usage(message, "use it beside its base, with --adapter"))
        }
        None => Ok(()),
    }
}

/// # Errors
/// Somebody has written into the files that the weights are mapped from: what was computed with them may be wrong.
pub(super) fn check_unwritten(pretrained: &Pretrained) -> Result<(), Failure> {
    match pretrained.files_in_use().written_to() {
        None => Ok(()),
        Some(path) => {
            let message = format!("{} was written to while it was in use: the results may be wrong", path.display());
            Err(Failure::with_help(message, "put it back as it was, and run the command again"))
        }
    }
}

/// What there is to say where an adapter was trained on other weights than those of the model.
pub(super) fn other_base(saved: &Saved, files: &ModelFiles) -> Option<String> {
    Some(other_weights(saved.other_base()?, files.adapter.as_ref()?, &files.model))
}

/// The same of an adapter by the name of the base that it records.
pub(super) fn other_weights(base: &str, adapter: &Path, model: &Path) -> String {
    let is_changed = Path::new(base) == model;
    let (adapter, model) = (adapter.display(), model.display());
    match is_changed {
        true => format!("the weights of {model} have changed since the adapter {adapter} was trained"),
        false => format!("the adapter {adapter} was trained on other weights ({base}) than those of {model}"),
    }
}

/// What the weights of a base are kept in, for messages.
pub(super) fn kind_of_base(quantised: Option<QuantisedBase>) -> String {
    quantised.map_or("a float type".to_string(), |quantised| quantised.to_string())
}

/// Puts the model together, and says what there is to know of it.
pub(super) fn load(
    saved: Saved,
    files: &ModelFiles,
    (sets, keys): (&[String], &[&str]),
    device: &Device,
    output: &Output,
) -> Result<Pipeline, Failure> {
    let overrides = overrides(&saved, sets, keys)?;
    let other_kind = saved.other_kind(&overrides);
    let pipeline = saved.load(&overrides, device).map_err(|error| match error {
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
    // Of a kind that the base cannot be brought to there is nothing to warn of.
    if let (Some([trained, opened]), Some(adapter)) = (other_kind, &files.adapter) {
        let (adapter, trained, opened) = (adapter.display(), kind_of_base(trained), kind_of_base(opened));
        output.warn(&format!("the adapter {adapter} was trained on a base in {trained}, not in {opened}"));
    }
    tell(&pipeline.loaded, output);
    if let Some(directory) = &files.adapter {
        say_adapter(directory, &pipeline.loaded.plan, &pipeline.model.model, output);
    }
    Ok(pipeline)
}

/// Puts a backbone together, and says what there is to know of it.
pub(super) fn load_backbone(
    backbone: Backbone,
    files: &ModelFiles,
    output: &Output,
) -> Result<LoadedBackbone, Failure> {
    let backbone = backbone.load(&Device::flex())?;
    tell(&backbone.loaded, output);
    if let Some(directory) = &files.adapter {
        say_adapter(directory, &backbone.loaded.plan, &backbone.model, output);
    }
    Ok(backbone)
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
fn overrides(saved: &Saved, sets: &[String], keys: &[&str]) -> Result<Overrides, Failure> {
    let (mut columns, mut settings, mut max_length) = (Vec::new(), Map::new(), None);
    for set in sets.iter().filter(|set| of_model(set).is_none()) {
        let (key, value) = parsed(set, keys, &OF_MODEL)?;
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
    Ok(Overrides { columns, settings, max_length, frozen: frozen(saved, sets)? })
}

/// The keys of `[model]` that `--set` overrides of a trained model.
const DTYPE: &str = "model.dtype";
const QUANTIZE_OUTPUT: &str = "model.quantize_output";
const OF_MODEL: [&str; 2] = [DTYPE, QUANTIZE_OUTPUT];

/// Such a key, and its value.
fn of_model(set: &str) -> Option<(&'static str, &str)> {
    let (key, value) = set.split_once('=')?;
    let key = OF_MODEL.into_iter().find(|known| *known == key.trim())?;
    Some((key, value.trim().trim_matches('"')))
}

/// How frozen weights are kept, where `--set` arguments say it. What they do not say of the two keys stays as it was in training.
fn frozen(saved: &Saved, sets: &[String]) -> Result<Option<Frozen>, Failure> {
    let (mut dtype, mut output) = (None, None);
    for set in sets {
        match of_model(set) {
            Some((DTYPE, word)) => match Dtype::named(word) {
                Some(named) => dtype = Some(named),
                None => return Err(cannot_be_used(set, suggest::suggestion(word, Dtype::NAMES.iter().copied()))),
            },
            Some((key, "true")) if !saved.task().has(key) => {
                let help = format!("leave it out: a model for {} has no output layer over words", saved.task());
                return Err(cannot_be_used(set, help));
            }
            Some((_, "true")) => output = Some((true, set)),
            Some((_, "false")) => output = Some((false, set)),
            Some(_) => return Err(cannot_be_used(set, "expected true or false".to_string())),
            None => {}
        }
    }
    let (of_training, output_of_training) = match saved.frozen(&Overrides::default()) {
        Frozen::Quantised { quantisation, output } => (Some(quantisation), output),
        Frozen::AsStored | Frozen::As(_) => (None, false),
    };
    let quantisation = dtype.map_or(of_training, Dtype::quantisation);
    match (output, quantisation) {
        (Some((output, _)), Some(quantisation)) => Ok(Some(Frozen::Quantised { quantisation, output })),
        (Some((true, set)), None) => {
            Err(cannot_be_used(set, "it needs `--set model.dtype=int8` or `--set model.dtype=nf4`".to_string()))
        }
        // Of a float type nothing is quantised, whatever of the output layer was in training.
        (Some((false, _)), None) | (None, _) => Ok(dtype.map(|dtype| dtype.frozen(output_of_training))),
    }
}

/// The columns that `--set` arguments name, of which a command takes those with these `keys`.
pub(super) fn column_names(sets: &[String], keys: &[&str]) -> Result<ColumnNames, Failure> {
    let mut names = ColumnNames::default();
    for set in sets {
        let (key, value) = parsed(set, keys, &[])?;
        names.set(key, &value)?;
    }
    Ok(names)
}

/// The key of a `--set` argument within `[data]`, and its value. `others` are keys that could be meant as well.
fn parsed<'a>(set: &'a str, keys: &[&str], others: &[&str]) -> Result<(&'a str, String), Failure> {
    let Some((key, value)) = set.split_once('=') else {
        let help = "write it as KEY=VALUE, for example `--set data.text=sentence`".to_string();
        return Err(cannot_be_used(set, help));
    };
    let key = key.trim();
    match key.strip_prefix("data.").filter(|name| keys.contains(name)) {
        Some(name) => Ok((name, value.trim().trim_matches('"').to_string())),
        None => {
            let keys: Vec<String> = keys.iter().map(|name| format!("data.{name}")).collect();
            let keys = keys.iter().map(String::as_str).chain(others.iter().copied());
            Err(cannot_be_used(set, suggest::suggestion(key, keys)))
        }
    }
}

fn cannot_be_used(set: &str, help: String) -> Failure {
    Failure::usage(format!("`--set {set}` cannot be used here"), help)
}

/// An adapter that has no effect is worth a word: PEFT's users meet it as a model that learned nothing.
fn say_adapter(directory: &Path, plan: &Plan, model: &Model, output: &Output) {
    let sizes = lora::update_sizes(&plan.tensors_written(model).into_iter().collect(), plan.updates());
    let tensors = counted(plan.parameters().len(), "tensor", "tensors");
    // Biases and heads take the places of the base's own: nothing of them is added to a weight.
    if sizes.is_empty() {
        return output.say(&format!("adapter {}: {tensors}", directory.display()));
    }
    let total = sizes.iter().map(|size| size.norm * size.norm).sum::<f64>().sqrt();
    let modules = counted(sizes.len(), "module", "modules");
    // What a scaling changes of its weight would take reading that.
    let size = match sizes.iter().all(|size| size.is_relative) {
        true => format!("vectors {:.4} from one (root mean square)", total / (sizes.len() as f64).sqrt()),
        false => format!("norm of the update {total:.4}"),
    };
    output.say(&format!("adapter {}: {tensors}, {modules}, {size}", directory.display()));
    let is_all = !plan.updates().iter().any(|update| update.form.depends_on_weight());
    if total == 0.0 && is_all {
        output.warn(&format!("{}: the model answers as its base does", plan.method().without_effect()));
    }
}
