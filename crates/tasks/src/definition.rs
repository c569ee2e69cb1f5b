//! What is known of a task before any data.

use std::path::Path;
use std::sync::Arc;

use data::language::Purpose;
use data::{ColumnNames, Dataset, Labels, Record, Tokenizer};
use model::{Head, Pretrained};
use serde_json::{Map, Value};

use crate::metrics::Score;
use crate::{Columns, Error, Fitted, LabelFinder, Task};

/// A task as the configuration names it; one `static` in the file of each, listed in [`crate::registry`].
#[derive(Debug)]
pub struct Definition {
    /// As the configuration and `kindling.json` write it.
    pub name: &'static str,
    /// For people: "text classification".
    pub words: &'static str,
    /// What a model for it answers with.
    pub head: Head,
    /// Whether the head answers over the whole vocabulary, as a language model's does, whose classes are its tokens.
    pub vocabulary: bool,
    pub classes: Classes,
    /// What a trained model does for people.
    pub usage: Use,
    /// The keys of the configuration that mean something to this task and not to every other: `data.label`.
    pub keys: &'static [&'static str],
    /// What it keeps of its own keys in `kindling.json`.
    pub settings: &'static [Setting],
    /// All scores that its evaluations may have, but for the loss.
    pub scores: &'static [&'static Score],
    /// Those by which the best model may be chosen, first the one that is taken where nobody says.
    pub best: &'static [&'static Score],
    /// PEFT's `task_type`; `None` where PEFT has no name for it.
    pub peft_type: Option<&'static str>,
    /// The modules of a new head, that PEFT trains in full and saves with an adapter of this task type.
    pub modules_to_save: &'static [&'static str],
    /// The class of Transformers that loads the base.
    pub auto_class: &'static str,
    /// Transformers' `problem_type` of a base that already has a head for it; `None` where nothing says it.
    pub problem: Option<&'static str>,
    /// As the Hugging Face Hub calls the task.
    pub pipeline: &'static str,
    /// The columns of a file that are read by these names, by its first row.
    pub columns: fn(&Path, &Record, &ColumnNames, Purpose) -> Result<Columns, data::Error>,
    /// What finds the classes of training data; `None` for a task without classes.
    pub finder: Option<fn() -> Box<dyn LabelFinder>>,
    pub open: fn(Opening<'_>) -> Result<Arc<dyn Task>, Error>,
}

/// Whether a task has classes with names, and how many an example has of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Classes {
    None,
    One,
    /// None, one or several; or one for each of several tokens.
    Several,
}

/// What a trained model does for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Answers rows, each by itself.
    Predict,
    /// Writes texts.
    Generate,
    /// Nothing yet: it can be scored.
    Score,
}

/// A key of `[data]` that a task keeps with what was trained.
#[derive(Debug)]
pub struct Setting {
    pub key: &'static str,
    /// A value as it is typed; `None`: it is none.
    pub parse: fn(&str) -> Option<Value>,
    /// What is expected of a value, in words.
    pub expected: &'static str,
}

/// What a task is opened for.
#[derive(Debug)]
pub struct Opening<'a> {
    pub tokenizer: &'a Tokenizer,
    /// The directory that the tokenizer is from, which may be an adapter's.
    pub of_tokenizer: &'a Path,
    /// The directory of the model.
    pub directory: &'a Path,
    pub pretrained: &'a Pretrained,
    /// Of a task with classes.
    pub labels: Option<Labels>,
    /// Values of [`Definition::settings`], and where it is to be trained of all keys of `[data]` and `[train]`; others than its
    /// own are passed over.
    pub settings: &'a Map<String, Value>,
    /// Beside a trained model; nothing before it is trained.
    pub fitted: &'a Fitted,
    /// The training data of a task with classes; `None` where it is not to be trained.
    pub training: Option<&'a Dataset>,
}
