//! A failure of one worker, which is the failure of all.

use serde::{Deserialize, Serialize};

use super::joined::Joined;

/// A failure that all have agreed on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error, miette::Diagnostic)]
#[error("{message}")]
pub(crate) struct Elsewhere {
    pub(crate) message: String,
    #[help]
    pub(crate) help: Option<String>,
    /// What was asked for was wrong, rather than something that happened on the way.
    pub(crate) of_input: bool,
    /// There is nothing to say: whoever read the output has enough of it.
    pub(crate) is_silent: bool,
}

impl Elsewhere {
    /// The same, saying where it was unless that is the worker that speaks.
    pub(super) fn of(self, rank: usize, workers: &Joined) -> Self {
        match rank == 0 || self.is_silent {
            true => self,
            false => Self { message: format!("{}: {}", workers.name(rank), self.message), ..self },
        }
    }
}
