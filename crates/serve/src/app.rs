//! What every request is answered with, and in which time.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::engine::Engine;
use crate::memory::Memory;
use crate::metrics::Metrics;
use crate::problem::Problem;
use crate::stage::{Stage, reached};
use crate::{Log, Settings};

#[derive(Debug)]
pub(crate) struct App {
    pub(crate) engine: Engine,
    pub(crate) settings: Settings,
    pub(crate) log: Log,
    pub(crate) metrics: Metrics,
    pub(crate) memory: Memory,
    pub(crate) stage: watch::Receiver<Stage>,
    /// Whether it is reached from this machine alone.
    pub(crate) is_local: bool,
}

impl App {
    /// The answer before the time of the request is over, and before the server has ended.
    pub(crate) async fn in_time<T>(
        &self,
        answer: impl Future<Output = Result<T, crate::EngineError>>,
    ) -> Result<T, Problem> {
        let mut stage = self.stage.clone();
        tokio::select! {
            answer = timeout(self.settings.request_timeout, answer) => match answer {
                Ok(answer) => Ok(answer?),
                Err(_) => Err(self.too_late()),
            },
            () = reached(&mut stage, Stage::Ended) => Err(Problem::stopping()),
        }
    }

    pub(crate) fn too_late(&self) -> Problem {
        Problem::timeout(self.settings.request_timeout.as_secs_f64())
    }

    pub(crate) fn deadline(&self) -> Instant {
        // A duration that no clock reaches is none that matters.
        Instant::now()
            .checked_add(self.settings.request_timeout)
            .unwrap_or(Instant::now() + Duration::from_secs(1 << 30))
    }

    /// Fields of OpenAI's that have no effect here are said once.
    pub(crate) fn ignored(&self, path: &str, names: impl IntoIterator<Item = impl std::fmt::Display>) {
        for name in names {
            self.log.say_once(format!("requests to {path} have the field `{name}`: it has no effect here"));
        }
    }
}
