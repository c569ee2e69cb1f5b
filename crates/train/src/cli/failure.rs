//! How a command fails: with an error, and with the exit status that says whose fault it was.

use std::fmt;
use std::process::ExitCode;

use data::{Advice, AdvicePart};
use inference::{AdapterError, GenerationError};
use miette::Diagnostic;
use model::hub::HubError;

use crate::shell;
use crate::workers::Elsewhere;
use crate::{config, device, output, prepare, run};

#[derive(Debug)]
pub(super) struct Failure {
    /// `None`: whoever read the output has enough of it, and there is nothing to say.
    pub(super) error: Option<Box<dyn Diagnostic + Send + Sync>>,
    /// The command line, the configuration or an input is wrong: exit status 2. Otherwise something failed: 1.
    of_input: bool,
    /// What can be done about data, where keys of a configuration may be part of it.
    advice: Option<Advice>,
}

/// An interrupted run's exit status, 128 + SIGINT.
pub(super) const INTERRUPTED: u8 = 130;

#[derive(Debug, thiserror::Error, Diagnostic)]
enum Simple {
    #[error("{0}")]
    Message(String),
    #[error("{message}")]
    WithHelp {
        message: String,
        #[help]
        help: String,
    },
}

impl Failure {
    pub(super) fn input(error: impl Diagnostic + Send + Sync + 'static) -> Self {
        Self { error: Some(Box::new(error)), of_input: true, advice: None }
    }

    /// Something that went wrong while running, without more to say.
    pub(super) fn message(message: String) -> Self {
        Self { error: Some(Box::new(Simple::Message(message))), of_input: false, advice: None }
    }

    /// Something that went wrong while running, and what can be done about it.
    pub(super) fn with_help(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self::running(Simple::WithHelp { message: message.into(), help: help.into() })
    }

    /// What went wrong while running, with all that it says.
    pub(super) fn running(error: impl Diagnostic + Send + Sync + 'static) -> Self {
        Self { error: Some(Box::new(error)), of_input: false, advice: None }
    }

    /// A wrong command line or input that no other room knows of.
    pub(super) fn usage(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self::input(Simple::WithHelp { message: message.into(), help: help.into() })
    }

    /// The same with other words on what can be done about it.
    pub(super) fn advising(self, help: String) -> Self {
        let message = self.to_string();
        Self { error: Some(Box::new(Simple::WithHelp { message, help })), of_input: self.of_input, advice: None }
    }

    /// The same in other words, with the same advice.
    pub(super) fn renamed(self, message: String) -> Self {
        let error: Box<dyn Diagnostic + Send + Sync> = match self.help() {
            Some(help) => Box::new(Simple::WithHelp { message, help }),
            None => Box::new(Simple::Message(message)),
        };
        Self { error: Some(error), ..self }
    }

    /// What can be done about it.
    pub(super) fn help(&self) -> Option<String> {
        self.error.as_ref().and_then(|error| error.help().map(|help| help.to_string()))
    }

    /// For a command without a configuration: its keys are set with `--set`.
    pub(super) fn on_command_line(self) -> Self {
        match &self.advice {
            Some(advice) => {
                let help = advice.parts().iter().map(with_set).collect();
                self.advising(help)
            }
            None => self,
        }
    }

    /// As the other workers are told of it.
    pub(super) fn told(&self) -> Elsewhere {
        Elsewhere {
            message: self.to_string(),
            help: self.help(),
            of_input: self.of_input,
            is_silent: self.error.is_none(),
        }
    }

    /// Whether a wrong command line or input is at fault.
    pub(super) fn is_of_input(&self) -> bool {
        self.error.is_some() && self.of_input
    }

    pub(super) fn status(&self) -> ExitCode {
        match (&self.error, self.of_input) {
            (None, _) => ExitCode::SUCCESS,
            (Some(_), true) => ExitCode::from(2),
            (Some(_), false) => ExitCode::from(1),
        }
    }
}

/// Advice as the command line takes it.
fn with_set(part: &AdvicePart) -> String {
    let set = |key: &str, value: &str| format!("`--set {}`", shell::quoted(&format!("data.{key}={value}")));
    match part {
        AdvicePart::Text(text) => text.clone(),
        AdvicePart::Set { key, value } => format!("add {}", set(key, value)),
        AdvicePart::SetOneOf { key, columns } => {
            format!("add {} with one of these columns: {columns}", set(key, "COLUMN"))
        }
        AdvicePart::Value { key, value } => set(key, value),
        AdvicePart::Column { key } => set(key, "COLUMN"),
    }
}

/// Without what can be done about it.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.as_ref().map_or(Ok(()), |error| f.write_str(&output::message(error.as_ref())))
    }
}

impl From<Elsewhere> for Failure {
    fn from(failure: Elsewhere) -> Self {
        let of_input = failure.of_input;
        match failure.is_silent {
            true => Self { error: None, of_input: false, advice: None },
            false => Self { error: Some(Box::new(failure)), of_input, advice: None },
        }
    }
}

impl From<config::ConfigError> for Failure {
    fn from(error: config::ConfigError) -> Self {
        Self::input(error)
    }
}

impl From<device::DeviceError> for Failure {
    fn from(error: device::DeviceError) -> Self {
        Self::input(error)
    }
}

impl From<prepare::Error> for Failure {
    fn from(error: prepare::Error) -> Self {
        use prepare::Error;
        let error = match error {
            Error::Data(error) => return error.into(),
            Error::Task(error) => return error.into(),
            other => other,
        };
        let of_input = error.is_of_input();
        Self { error: Some(Box::new(error)), of_input, advice: None }
    }
}

impl From<GenerationError> for Failure {
    fn from(error: GenerationError) -> Self {
        match error {
            GenerationError::Room { tokens, positions, .. } => Self::usage(
                error.to_string(),
                format!("shorten it, or lower `--max-new-tokens` to {}", positions - tokens),
            ),
            GenerationError::Sampling(error) => Self::running(error),
            error => Self::input(error),
        }
    }
}

impl From<HubError> for Failure {
    fn from(error: HubError) -> Self {
        let of_input = error.is_of_input();
        Self { error: Some(Box::new(error)), of_input, advice: None }
    }
}

impl From<tasks::Error> for Failure {
    fn from(error: tasks::Error) -> Self {
        match error {
            tasks::Error::Data(error) => error.into(),
            error => Self::input(error),
        }
    }
}

impl From<data::Error> for Failure {
    fn from(error: data::Error) -> Self {
        Self { advice: error.advice().cloned(), ..Self::input(error) }
    }
}

impl From<model::Error> for Failure {
    fn from(error: model::Error) -> Self {
        let of_input = error.is_of_input();
        Self { error: Some(Box::new(error)), of_input, advice: None }
    }
}

impl From<lora::Error> for Failure {
    fn from(error: lora::Error) -> Self {
        Self::input(error)
    }
}

impl From<inference::Error> for Failure {
    fn from(error: inference::Error) -> Self {
        use inference::Error;
        match error {
            Error::Adapter(error) => error.into(),
            Error::Model(error) => error.into(),
            Error::Data(error) => error.into(),
            Error::Task(error) => error.into(),
            Error::Generation(error) => error.into(),
            Error::SeveralColumns { .. } => {
                let help = "give a file with these columns with --input, or JSON lines on standard input";
                Self::usage(error.to_string(), help)
            }
            Error::NotFinite { .. } => Self::running(error),
            Error::NoModel { .. }
            | Error::NotAModel { .. }
            | Error::NoBase { .. }
            | Error::NoAnswers { .. }
            | Error::NoTexts { .. }
            | Error::OtherUse { .. }
            | Error::OtherBase { .. }
            | Error::OtherHead { .. }
            | Error::NoHead { .. }
            | Error::Length { .. } => Self::input(error),
        }
    }
}

impl From<AdapterError> for Failure {
    fn from(error: AdapterError) -> Self {
        let of_input = error.is_of_input();
        Self { error: Some(Box::new(error)), of_input, advice: None }
    }
}

impl From<run::Error> for Failure {
    fn from(error: run::Error) -> Self {
        let of_input = error.is_of_input();
        Self { error: Some(Box::new(error)), of_input, advice: None }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            // `kindling predict ... | head` is no failure.
            std::io::ErrorKind::BrokenPipe => Self { error: None, of_input: false, advice: None },
            _ => Self::message(format!("cannot write the result: {error}")),
        }
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::message(format!("cannot write the result: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_that_cannot_be_written_is_no_fault_of_the_input() {
        let failed = |error| Failure::from(model::Error::Checkpoint(error));
        let file = std::path::PathBuf::from("model.safetensors");
        let source = std::io::ErrorKind::StorageFull;
        let write = model::CheckpointError::Write { file: file.clone(), source: source.into() };
        assert!(!failed(write).is_of_input());
        assert!(failed(model::CheckpointError::Read { file, source: source.into() }).is_of_input());
    }

    #[test]
    fn advice_on_data_is_given_as_the_command_line_takes_it() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let advice = |name: &str, data: &str, names: data::ColumnNames| {
            let file = directory.path().join(name);
            std::fs::write(&file, data).expect("a file");
            let first = data::records(&file).expect("a file").next().expect("a row").expect("a row that can be read");
            let found = data::Columns::find(&file, &first, &names, data::Labelled::Yes)
                .and_then(|columns| columns.example(&file, &first));
            let failure = Failure::from(found.expect_err("a column is missing or wrong")).on_command_line();
            failure.error.and_then(|error| error.help().map(|help| help.to_string()))
        };
        let help = |help: &str| Some(help.to_owned());
        let none = data::ColumnNames::default;
        assert_eq!(advice("a.csv", "sentence,label\na,1\n", none()), help("add `--set data.text=sentence`"));
        assert_eq!(advice("a.csv", "my text,label\na,1\n", none()), help("add `--set 'data.text=my text'`"));
        assert_eq!(
            advice("a.csv", "b,c,label\na,a,1\n", none()),
            help("add `--set data.text=COLUMN` with one of these columns: b, c")
        );
        assert_eq!(
            advice("a.jsonl", "{\"text\": 3, \"label\": 1}\n", none()),
            help("put the value in double quotes, or choose another column with `--set data.text=COLUMN`")
        );
        let texts = data::ColumnNames { text_template: Some("{{ txt }}".to_owned()), ..none() };
        assert_eq!(
            advice("a.csv", "text,label\na,1\n", texts),
            help("`data.text_template` names it: did you mean `text`?")
        );
    }
}
