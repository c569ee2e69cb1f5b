//! What can be wrong with a trained model.

use std::path::PathBuf;

use tasks::{TaskName, Use};

use crate::{AdapterError, GenerationError};

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum Error {
    #[error("there is no directory {}", path.display())]
    #[diagnostic(help("a model is a directory with config.json, model.safetensors and a tokenizer"))]
    NoModel { path: PathBuf },
    #[error("{} is neither an adapter nor a model", path.display())]
    #[diagnostic(help(
        "an adapter has adapter_config.json, a model config.json; a run has one of them once it has saved something"
    ))]
    NotAModel { path: PathBuf },
    #[error("{}: {}", adapter.display(), no_base(base.as_deref()))]
    #[diagnostic(help("open it with the directory of its base"))]
    NoBase { adapter: PathBuf, base: Option<String> },
    #[error("{} was trained for {task}", path.display())]
    OtherUse { path: PathBuf, task: TaskName, wanted: Use },
    #[error("texts cannot be cut off after {asked} tokens: the model has {positions} positions")]
    #[diagnostic(help("ask for a number from 1 to {positions}"))]
    Length { asked: usize, positions: usize },
    #[error("the adapter {} was trained on other weights ({base}) than those of {}", adapter.display(), model.display())]
    #[diagnostic(help("open its own base for it, or train it again on this one"))]
    OtherBase { adapter: PathBuf, base: String, model: PathBuf },
    #[error("the adapter {} is for {task}, for which {} has not been opened", adapter.display(), model.display())]
    #[diagnostic(help(
        "the output layer of a language model is its base's: open the base that it was trained on for it alone"
    ))]
    OtherHead { adapter: PathBuf, task: TaskName, model: PathBuf },
    #[error("{} has no trained head of its own", path.display())]
    #[diagnostic(help("ask one of its adapters"))]
    NoHead { path: PathBuf },
    #[error("{what} are not finite numbers, though all weights are: activations overflow in the forward pass")]
    #[diagnostic(help(
        "the adapter may be for another base, or its training went wrong: compare with the base model's predictions"
    ))]
    NotFinite { what: &'static str },
    #[error("the model reads several columns ({}), not one text", columns.join(", "))]
    #[diagnostic(help("give rows that have these columns"))]
    SeveralColumns { columns: Vec<String> },
    #[error("a model for {task} does not answer texts")]
    NoAnswers { task: TaskName },
    #[error("a model for {task} does not write texts")]
    NoTexts { task: TaskName },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Generation(#[from] GenerationError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Adapter(#[from] AdapterError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Model(#[from] model::Error),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Data(#[from] data::Error),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Task(#[from] tasks::Error),
}

fn no_base(base: Option<&str>) -> String {
    match base {
        Some(base) => format!("its base {base} is no directory"),
        None => "it does not record its base".to_string(),
    }
}
