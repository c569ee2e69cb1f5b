//! What can be wrong with a checkpoint when a model is put together from it.

use std::path::PathBuf;

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum LoadError {
    #[error("{} lacks {} of the tensors its config.json asks for:{}", directory.display(), names.len(), list(names))]
    Missing {
        directory: PathBuf,
        names: Vec<String>,
        #[help]
        help: String,
    },
    #[error(
        "{} has {} tensor{} that a {model} has no place for:{}",
        directory.display(), names.len(), if names.len() == 1 { "" } else { "s" }, list(names)
    )]
    Unexpected {
        directory: PathBuf,
        model: String,
        names: Vec<String>,
        #[help]
        help: String,
    },
    #[error("{}: `{tensor}` has {found:?}, config.json asks for {expected:?}", file.display())]
    #[diagnostic(help("config.json and the checkpoint do not belong together: copy both from one place"))]
    Shape { file: PathBuf, tensor: String, found: Vec<usize>, expected: Vec<usize> },
    #[error(
        "{}: the trained head (`{tensor}`) is for {found} class{}, not for {expected}",
        file.display(), if *found == 1 { "" } else { "es" }
    )]
    #[diagnostic(help("name all its classes in `model.labels`, or start from a checkpoint without a head"))]
    Classes { file: PathBuf, tensor: String, found: usize, expected: usize },
    #[error("{} has no trained {head} (no {})", directory.display(), names.join(", "))]
    NoHead {
        directory: PathBuf,
        head: &'static str,
        names: Vec<String>,
        #[help]
        help: &'static str,
    },
    #[error(
        "`adapter.modules_to_save`: `{module}` is tied to the word embeddings, so it has no weight of its own to save"
    )]
    #[diagnostic(help(
        "leave it out of `adapter.modules_to_save`, or train all tensors with `adapter.method = \"full\"`"
    ))]
    Tied { module: String },
    #[error("the adapter was started with a part of `{module}`, which is tied to the word embeddings")]
    #[diagnostic(help(
        "PEFT took that part out of the word embeddings as well: save it with PEFT's `path_initial_model_for_weight_conversion`, which makes a plain adapter of it"
    ))]
    PartOfTied { module: String },
    #[error("{} is in {stored} already, and cannot be brought to {asked}", directory.display())]
    #[diagnostic(help("leave `model.dtype` out, or take the unquantised checkpoint that it was made from"))]
    OtherQuantisation { directory: PathBuf, stored: &'static str, asked: &'static str },
    #[error("`modules_to_save`: `{module}` is the output layer of this model as well, which is tied to it")]
    #[diagnostic(help(
        "adapt it with LoRA by naming it in `target_modules`, or train all tensors with `adapter.method = \"full\"`"
    ))]
    Shared { module: String },
}

fn list(names: &[String]) -> String {
    const SHOWN: usize = 12;
    let mut text: String = names.iter().take(SHOWN).map(|name| format!("\n  {name}")).collect();
    if names.len() > SHOWN {
        text.push_str(&format!("\n  ... and {} more", names.len() - SHOWN));
    }
    text
}
