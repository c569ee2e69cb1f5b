//! How a command fails: with an error, and with the exit status that says whose fault it was.

use std::fmt;
use std::process::ExitCode;

use inference::{AdapterError, GenerationError};
use miette::Diagnostic;
use model::hub::HubError;

use crate::shell;
use crate::{config, device, output, prepare, run};

#[derive(Debug)]
pub(super) struct Failure {
    /// `None`: whoever read the output has enough of it, and there is nothing to say.
    pub(super) error: Option<Box<dyn Diagnostic + Send + Sync>>,
    /// The command line, the configuration or an input is wrong: exit status 2. Otherwise something failed: 1.
    of_input: bool,
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
        Self { error: Some(Box::new(error)), of_input: true }
    }

    /// Something that went wrong while running, without more to say.
    pub(super) fn message(message: String) -> Self {
        Self { error: Some(Box::new(Simple::Message(message))), of_input: false }
    }

    /// Something that went wrong while running, and what can be done about it.
    pub(super) fn with_help(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self::running(Simple::WithHelp { message: message.into(), help: help.into() })
    }

    /// What went wrong while running, with all that it says.
    pub(super) fn running(error: impl Diagnostic + Send + Sync + 'static) -> Self {
        Self { error: Some(Box::new(error)), of_input: false }
    }

    /// A wrong command line or input that no other room knows of.
    pub(super) fn usage(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self::input(Simple::WithHelp { message: message.into(), help: help.into() })
    }

    /// The same with other words on what can be done about it.
    pub(super) fn advising(self, help: String) -> Self {
        let message = self.to_string();
        Self { error: Some(Box::new(Simple::WithHelp { message, help })), of_input: self.of_input }
    }

    /// For a command without a configuration: its help names keys of one as `--set` takes them.
    pub(super) fn on_command_line(self) -> Self {
        let Some(error) = &self.error else { return self };
        match error.help().map(|help| help.to_string()).filter(|help| help.contains("`data.")) {
            Some(help) => self.advising(with_set(&help)),
            None => self,
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

/// ``set `data.text = "a"` `` as ``add `--set data.text=a` ``, and a key that something is chosen with likewise.
fn with_set(help: &str) -> String {
    let help = help.replace("`data.", "`\0data.").replace(" to one of these columns", " with one of these columns");
    let parts: Vec<&str> = help.split('`').collect();
    let typed = |(n, part): (usize, &&str)| {
        let before = if n == 0 { "" } else { parts[n - 1] };
        match part.strip_prefix('\0').map(|key| (key, key.split_once(" = "))) {
            Some((_, Some((key, value)))) => {
                let value = serde_json::from_str::<String>(value).unwrap_or_else(|_| value.to_string());
                format!("`--set {}`", shell::quoted(&format!("{key}={value}")))
            }
            Some((key, None)) if before.ends_with("with ") || parts[n + 1..].concat().starts_with(" with one of") => {
                format!("`--set {key}=COLUMN`")
            }
            Some((key, None)) => format!("`{key}`"),
            None if n % 2 == 1 => format!("`{part}`"),
            None => part.to_string(),
        }
    };
    parts.iter().enumerate().map(typed).collect::<String>().replace("set `--set ", "add `--set ")
}

/// Without what can be done about it.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.as_ref().map_or(Ok(()), |error| f.write_str(&output::message(error.as_ref())))
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
        let of_input = error.is_of_input();
        Self { error: Some(Box::new(error)), of_input }
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
        Self { error: Some(Box::new(error)), of_input }
    }
}

impl From<tasks::Error> for Failure {
    fn from(error: tasks::Error) -> Self {
        Self::input(error)
    }
}

impl From<data::Error> for Failure {
    fn from(error: data::Error) -> Self {
        Self::input(error)
    }
}

impl From<model::Error> for Failure {
    fn from(error: model::Error) -> Self {
        let of_input = error.is_of_input();
        Self { error: Some(Box::new(error)), of_input }
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
            | Error::Length { .. } => Self::input(error),
        }
    }
}

impl From<AdapterError> for Failure {
    fn from(error: AdapterError) -> Self {
        let of_input = error.is_of_input();
        Self { error: Some(Box::new(error)), of_input }
    }
}

impl From<run::Error> for Failure {
    fn from(error: run::Error) -> Self {
        let of_input = error.is_of_input();
        Self { error: Some(Box::new(error)), of_input }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            // `kindling predict ... | head` is no failure.
            std::io::ErrorKind::BrokenPipe => Self { error: None, of_input: false },
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
    fn keys_of_a_configuration_are_named_as_the_command_line_takes_them() {
        assert_eq!(with_set("set `data.text = \"sentence\"`"), "add `--set data.text=sentence`");
        assert_eq!(with_set("set `data.text = \"my text\"`"), "add `--set 'data.text=my text'`");
        assert_eq!(with_set("choose it with `data.text`"), "choose it with `--set data.text=COLUMN`");
        assert_eq!(
            with_set("set `data.text` to one of these columns: a, b"),
            "add `--set data.text=COLUMN` with one of these columns: a, b"
        );
        assert_eq!(with_set("set `data.max_length` to more than 2"), "set `data.max_length` to more than 2");
        assert_eq!(with_set("did you mean `texts.csv`?"), "did you mean `texts.csv`?");
    }
}
