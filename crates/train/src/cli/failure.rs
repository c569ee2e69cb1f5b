//! How a command fails: with an error, and with the exit status that says whose fault it was.

use std::process::ExitCode;

use miette::Diagnostic;
use model::hub::HubError;

use crate::{adapter, config, device, prepare, run};

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

    /// What went wrong while running, with all that it says.
    pub(super) fn running(error: impl Diagnostic + Send + Sync + 'static) -> Self {
        Self { error: Some(Box::new(error)), of_input: false }
    }

    /// A wrong command line or input that no other room knows of.
    pub(super) fn usage(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self::input(Simple::WithHelp { message: message.into(), help: help.into() })
    }

    /// The same with other words on what can be done about it.
    pub(super) fn with_help(self, help: String) -> Self {
        let message = self.error.map_or_else(String::new, |error| error.to_string());
        Self { error: Some(Box::new(Simple::WithHelp { message, help })), of_input: self.of_input }
    }

    pub(super) fn status(&self) -> ExitCode {
        match (&self.error, self.of_input) {
            (None, _) => ExitCode::SUCCESS,
            (Some(_), true) => ExitCode::from(2),
            (Some(_), false) => ExitCode::from(1),
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
        let of_input = error.is_of_input();
        Self { error: Some(Box::new(error)), of_input }
    }
}

impl From<crate::writing::Error> for Failure {
    fn from(error: crate::writing::Error) -> Self {
        match error {
            crate::writing::Error::Sampling(error) => Self::running(error),
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

impl From<data::Error> for Failure {
    fn from(error: data::Error) -> Self {
        Self::input(error)
    }
}

impl From<model::Error> for Failure {
    fn from(error: model::Error) -> Self {
        Self::input(error)
    }
}

impl From<lora::Error> for Failure {
    fn from(error: lora::Error) -> Self {
        Self::input(error)
    }
}

impl From<adapter::Error> for Failure {
    fn from(error: adapter::Error) -> Self {
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
