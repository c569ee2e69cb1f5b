//! Why a request has no answer. Directories of this machine are no part of what is said.

use std::path::Path;

use inference::GenerationError;
use miette::Diagnostic;

#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    #[error("{} waiting already: try again later", if *max_queue == 1 { "a request is".to_string() } else { format!("{max_queue} requests are") })]
    QueueFull { max_queue: usize },
    #[error("{message}")]
    TooLong { message: String, field: Option<String> },
    /// A text that has no room in the cache.
    #[error("{message}")]
    Cache { message: String, field: Option<String> },
    /// Of a text that was to be answered whole.
    #[error("{message}")]
    Truncated { message: String, field: Option<String> },
    #[error("{message}")]
    Input { message: String, field: Option<String> },
    /// What a request may have, and this model does not read.
    #[error("{message}")]
    Unsupported { message: String, field: String },
    #[error("there is no model `{name}`: {suggestion}")]
    NoModel { name: String, suggestion: String },
    #[error("{message}")]
    NameTaken { message: String },
    #[error("{message}")]
    Failed { message: String },
    #[error("the model could not answer: this is a fault of kindling, please report it with the request")]
    Panicked,
}

/// What goes wrong while a request is answered.
#[derive(Debug)]
pub(super) struct Fault {
    cause: Cause,
    /// The field of the request that is to blame.
    field: Option<String>,
}

#[derive(Debug)]
enum Cause {
    Inference(Box<inference::Error>),
    Engine(Error),
}

impl<E: Into<inference::Error>> From<E> for Fault {
    fn from(error: E) -> Self {
        Self { cause: Cause::Inference(Box::new(error.into())), field: None }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self { cause: Cause::Engine(error), field: None }
    }
}

impl Fault {
    /// Blames a field of the request.
    pub(super) fn at(self, field: &str) -> Self {
        Self { field: Some(field.to_string()), ..self }
    }

    /// As clients are told, without the directories in `places`, which have another name for them.
    pub(super) fn error(self, places: &[(&Path, &str)]) -> Error {
        let error = match self.cause {
            Cause::Inference(error) => Error::of(*error, places),
            Cause::Engine(error) => error,
        };
        match self.field {
            Some(field) => error.at(&field),
            None => error,
        }
    }
}

impl Error {
    /// With what can be done about it, and without the directories in `places`, which have another name for clients.
    fn of(error: inference::Error, places: &[(&Path, &str)]) -> Self {
        use inference::Error;
        let help = error.help().map(|help| help.to_string());
        let message = match help {
            Some(help) => format!("{error}: {help}"),
            None => error.to_string(),
        };
        let message = without(message, places);
        match error {
            Error::Generation(GenerationError::Prompt { .. } | GenerationError::Room { .. }) => {
                Self::TooLong { message, field: None }
            }
            Error::Generation(GenerationError::Cache { .. }) => Self::Cache { message, field: None },
            Error::Generation(GenerationError::Sampling(model::SamplingError::NotFinite { .. }))
            | Error::Generation(GenerationError::Sampling(model::SamplingError::NothingToChoose { .. }))
            | Error::NotFinite { .. } => Self::Failed { message },
            _ => Self::Input { message, field: None },
        }
    }

    pub(super) fn input(message: impl Into<String>) -> Self {
        Self::Input { message: message.into(), field: None }
    }

    /// Blames a field of the request, unless another one is blamed already, or none can be.
    pub(super) fn at(mut self, name: &str) -> Self {
        match &mut self {
            Self::TooLong { field, .. }
            | Self::Cache { field, .. }
            | Self::Truncated { field, .. }
            | Self::Input { field, .. } => _ = field.get_or_insert_with(|| name.to_string()),
            Self::QueueFull { .. }
            | Self::Unsupported { .. }
            | Self::NoModel { .. }
            | Self::NameTaken { .. }
            | Self::Failed { .. }
            | Self::Panicked => {}
        }
        self
    }
}

/// Clients know directories by names; the longest first, since one may lie in another.
fn without(mut message: String, places: &[(&Path, &str)]) -> String {
    let mut places: Vec<(String, &str)> = places
        .iter()
        .map(|(path, name)| (path.display().to_string(), *name))
        .filter(|(path, _)| !path.is_empty())
        .collect();
    places.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
    for (path, name) in places {
        message = message.replace(&format!("{path}/"), &format!("{name}/"));
        // A single word, such as `.`, may stand for something else.
        if path.contains('/') {
            message = message.replace(&path, name);
        }
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_no_directory_of_the_machine() {
        let places = [(Path::new("/srv/adapters"), "[root]"), (Path::new("/srv/adapters/a"), "a")];
        let message = "cannot read /srv/adapters/a/adapter_config.json, as /srv/adapters/b can be".to_string();
        assert_eq!(without(message, &places), "cannot read a/adapter_config.json, as [root]/b can be");
        let message = "cannot read ./config.json: it is no model. Is it a run?".to_string();
        let expected = "cannot read base/config.json: it is no model. Is it a run?";
        assert_eq!(without(message, &[(Path::new("."), "base")]), expected);
    }
}
