//! The columns that `--set` names, found in the data.

use std::path::Path;

use data::{Column, Dialogue, Given, Profile};
use suggest::{list, suggestion};

use crate::cli::Failure;
use crate::cli::open::column_names;
use tasks::{TaskName, Use};

/// The keys of `[data]` that are looked for in the data.
const KEYS: [&str; 6] = ["text", "text_pair", "label", "prompt", "completion", "messages"];

/// Whether an argument of `--set` names a column.
pub(in crate::cli) fn names_column(set: &str) -> bool {
    let key = set.split_once('=').and_then(|(key, _)| key.trim().strip_prefix("data."));
    key.is_some_and(|key| KEYS.contains(&key))
}

#[derive(Default)]
pub(super) struct Named<'a> {
    /// Of labelled and plain texts.
    pub(super) given: Given<'a>,
    /// Of what is asked and answered.
    pub(super) dialogue: Option<Dialogue<'a>>,
}

impl<'a> Named<'a> {
    /// Errors: another key; a column that is not there; a prompt without a completion, or the other way round.
    pub(super) fn of(profile: &'a Profile, file: &Path, sets: &[String]) -> Result<Self, Failure> {
        let names = column_names(sets, &KEYS)?;
        let column = |name: &Option<String>| match name.as_deref() {
            Some(name) => column(profile, file, name).map(Some),
            None => Ok(None),
        };
        let given =
            Given { text: column(&names.text)?, text_pair: column(&names.text_pair)?, label: column(&names.label)? };
        let dialogue = match (column(&names.messages)?, column(&names.prompt)?, column(&names.completion)?) {
            (Some(messages), ..) => Some(Dialogue::Messages(messages)),
            (None, Some(prompt), Some(completion)) if prompt.is_of_lists() && completion.is_of_lists() => {
                Some(Dialogue::Turns { prompt, completion })
            }
            (None, Some(prompt), Some(completion)) => Some(Dialogue::Answer { prompt, context: None, completion }),
            (None, Some(_), None) => return Err(alone("data.prompt", "data.completion")),
            (None, None, Some(_)) => return Err(alone("data.completion", "data.prompt")),
            (None, None, None) => None,
        };
        Ok(Self { given, dialogue })
    }

    pub(super) fn is_empty(&self) -> bool {
        let Given { text, text_pair, label } = self.given;
        text.or(text_pair).or(label).is_none() && self.dialogue.is_none()
    }

    /// A key that was given, but that the task does not have.
    pub(super) fn unused(&self, task: TaskName) -> Option<&'static str> {
        let of_labels = self.given.label.map(|_| "data.label").or(self.given.text_pair.map(|_| "data.text_pair"));
        let of_answers = self.dialogue.map(|dialogue| match dialogue {
            Dialogue::Messages(_) => "data.messages",
            Dialogue::Turns { .. } | Dialogue::Answer { .. } => "data.prompt",
        });
        match task.usage {
            Use::Predict => of_answers.or(of_labels.filter(|key| !task.has(key))),
            Use::Score => of_labels.or(of_answers),
            Use::Generate => of_labels,
        }
    }
}

fn column<'a>(profile: &'a Profile, file: &Path, name: &str) -> Result<&'a Column, Failure> {
    let columns = profile.columns.iter().map(|column| column.name.as_str());
    profile.column(name).ok_or_else(|| {
        Failure::input(data::Error::MissingColumn {
            file: file.to_path_buf(),
            column: name.to_owned(),
            columns: list(columns.clone()),
            suggestion: suggestion(name, columns).into(),
        })
    })
}

fn alone(given: &str, missing: &str) -> Failure {
    let help = format!("name the other column too: `--set {missing}=COLUMN`");
    Failure::usage(format!("`{given}` is named without `{missing}`"), help)
}
