//! What can be wrong with a run before it begins.

use std::path::PathBuf;

use inference::AdapterError;
use model::hub::HubError;
use tasks::TaskName;

use crate::config::{self, Loaded};
use crate::device::DeviceError;
use crate::output::counted;
use crate::workers::Elsewhere;

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(crate) enum Error {
    #[error(transparent)]
    #[diagnostic(transparent)]
    Config(#[from] config::ConfigError),
    #[error("{place}: {error}")]
    Device {
        place: String,
        error: DeviceError,
        #[help]
        help: Option<String>,
    },
    #[error("{place}: {error}")]
    Hub {
        place: String,
        error: Box<HubError>,
        #[help]
        help: Option<String>,
    },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Model(#[from] model::Error),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Data(#[from] data::Error),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Adapter(#[from] AdapterError),
    #[error("{message}")]
    Target {
        message: String,
        #[help]
        help: Option<String>,
    },
    #[error("{place}: the adapter was started with MiCA, which trains A alone")]
    #[diagnostic(help("it can be used and merged, but not trained further: leave `adapter.init_from` out"))]
    FrozenB { place: String },
    #[error("{place}: {reason}")]
    #[diagnostic(help(
        "leave it out, or set it to \"f32\"; `model.dtype = \"bf16\"` alone keeps the base in half the memory"
    ))]
    Compute { place: String, reason: String },
    #[error("{place}: {value} is more than the model has positions for ({positions})")]
    #[diagnostic(help(
        "lower `data.max_length`, or leave it out: the default is the smallest of 512, the model's positions and the tokenizer's limit"
    ))]
    MaxLength { place: String, value: usize, positions: usize },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Task(#[from] tasks::Error),
    #[error("{place}: {} is in {dtype}, and `adapter.method = \"full\"` trains it", directory.display())]
    #[diagnostic(help(
        "set `adapter.method = \"lora\"` to train an adapter on it, or take the unquantised checkpoint"
    ))]
    TrainedQuantised { place: String, directory: PathBuf, dtype: &'static str },
    #[error("{place}: no class is called `{name}`")]
    NoSuchClass {
        place: String,
        name: String,
        #[help]
        suggestion: String,
    },
    #[error("{place} leaves no validation example of {file}")]
    #[diagnostic(help("the file is too small to be split: give validation data with `data.valid`, or leave it out"))]
    NothingToValidate { place: String, file: String },
    #[error("the columns of {} differ from those of {}", file.display(), first.display())]
    #[diagnostic(help(
        "give all files of `data.train` or of `data.valid` the same columns, or name those that are read: `data.text`, `data.text_pair` and `data.label`, or `data.prompt`, `data.completion` and `data.messages`"
    ))]
    OtherColumns { file: PathBuf, first: PathBuf },
    #[error("{place}: no row of the validation data has an answer to compare with")]
    #[diagnostic(help("texts are not answers: it needs rows of `prompt` and `completion`, or of `messages`"))]
    NoQuestions { place: String },
    #[error("{place} is {written}, the adapter that `adapter.init_from` names has {found}")]
    #[diagnostic(help("remove the key: the adapter's own settings are used"))]
    InitFrom { place: String, written: String, found: String },
    #[error("{place}: the adapter was trained for {found}, the run is for {expected}")]
    #[diagnostic(help("set `model.task` to its task, or start without `adapter.init_from`"))]
    OtherTask { place: String, found: TaskName, expected: TaskName },
    #[error("{place}: {}", of_steps(*done, *end))]
    NoSteps {
        place: String,
        done: usize,
        end: Option<usize>,
        #[help]
        help: String,
    },
    #[error("{}: its head has {}, the run has {expected}", path.display(), counted(*found, "class", "classes"))]
    #[diagnostic(help("start from an adapter that was trained for the same labels, or without `adapter.init_from`"))]
    Classes { path: PathBuf, found: usize, expected: usize },
    #[error("{message}")]
    #[diagnostic(help("copy the {what} of one host to the others, or read it from a shared disk"))]
    OtherFile { message: String, what: &'static str },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Worker(#[from] Elsewhere),
}

impl Error {
    /// Whether what the user gave is at fault, and not the network or the disk.
    pub(crate) fn is_of_input(&self) -> bool {
        match self {
            Self::Hub { error, .. } => error.is_of_input(),
            Self::Worker(failure) => failure.of_input,
            _ => true,
        }
    }

    /// What is wrong with a setting of the method says where that was written.
    pub(crate) fn placed(self, loaded: &Loaded) -> Self {
        let Self::Model(model::Error::Adapter(lora::Error::Target(error))) = &self else { return self };
        let message = error.message_with(&|key| loaded.place(&format!("adapter.{key}")));
        Self::Target { message, help: error.help_with(&|key| format!("`adapter.{key}`")) }
    }
}

fn of_steps(done: usize, end: Option<usize>) -> String {
    let done = counted(done, "step", "steps");
    match end {
        Some(end) => format!("the run has completed {done} and would end after {end}"),
        None => format!("the run has done {done}, and would not end"),
    }
}
