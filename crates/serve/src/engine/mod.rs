//! What stands between HTTP and the models: a handle that is cheap to clone, and one thread that owns all models. Requests
//! wait in a bounded queue; answers come as events over channels, and whoever drops the receiving end has ended the request.
//! How requests share the model is this room's affair alone.

mod error;
mod generate;
mod load;
mod predict;
mod registry;
mod statistics;
mod worker;

use std::path::PathBuf;
use std::sync::Arc;

use inference::{Device, GenerationSettings, ModelFiles, Pipeline};
use tokio::sync::{mpsc, oneshot};

pub use error::Error;
pub(crate) use generate::{Event, Generate, Prompts};
pub(crate) use predict::{Answered, Inputs, Text};
pub use registry::Model;
use registry::Registry;
pub(crate) use statistics::Statistics;
use worker::{Job, Work, Worker};

/// A model as it was opened, and what clients call it.
#[derive(Debug)]
pub struct Opened {
    pub name: String,
    pub files: ModelFiles,
    pub pipeline: Pipeline,
}

/// What adapters are loaded onto later.
#[derive(Debug, Clone)]
pub struct Base {
    pub name: String,
    pub directory: PathBuf,
    pub device: Device,
}

/// A handle to the models.
#[derive(Debug, Clone)]
pub struct Engine {
    jobs: mpsc::Sender<Job>,
    registry: Arc<Registry>,
    statistics: Arc<Statistics>,
    max_queue: usize,
}

impl Engine {
    /// Starts the thread that owns the models. `max_queue` requests may wait; where more come they are refused.
    ///
    /// # Errors
    /// The thread cannot be started, or the files of an adapter cannot be read again for its hash.
    pub fn start(base: Base, models: Vec<Opened>, max_queue: usize) -> Result<Self, std::io::Error> {
        let (registry, statistics) = (Arc::new(Registry::default()), Arc::new(Statistics::default()));
        let (jobs, waiting) = mpsc::channel(max_queue.max(1));
        let mut worker = Worker::new(base.clone(), statistics.clone());
        for opened in models {
            let model = Arc::new(Model::of(&opened, &base.name)?);
            worker.add(&model, opened.pipeline);
            registry.insert(model);
        }
        std::thread::Builder::new().name("models".to_string()).spawn(move || worker.run(waiting))?;
        Ok(Self { jobs, registry, statistics, max_queue })
    }

    /// In the order of their names.
    pub fn models(&self) -> Vec<Arc<Model>> {
        self.registry.models()
    }

    pub(crate) fn model(&self, name: &str) -> Result<Arc<Model>, Error> {
        self.registry.model(name)
    }

    pub(crate) fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    pub(crate) fn max_queue(&self) -> usize {
        self.max_queue
    }

    /// Texts that the model writes. The events end with [`Event::Failed`], or after each choice has ended.
    pub(crate) fn generate(
        &self,
        model: &Arc<Model>,
        request: Generate,
    ) -> Result<mpsc::UnboundedReceiver<Event>, Error> {
        // Not bounded: a client that does not read must not stop the thread. There are no more events than tokens asked for.
        let (events, receiver) = mpsc::unbounded_channel();
        self.send(model, Work::Generate(request, events))?;
        Ok(receiver)
    }

    /// The answers of a model that classifies, in the order of the texts.
    pub(crate) async fn predict(&self, model: &Arc<Model>, inputs: Inputs) -> Result<Vec<Answered>, Error> {
        self.ask(model, |answer| Work::Predict(inputs, answer)).await
    }

    /// The tokens of a text, or of a conversation as the chat template writes it, by `settings` of no consequence.
    pub(crate) async fn tokenize(
        &self,
        model: &Arc<Model>,
        prompts: Prompts,
        special: bool,
    ) -> Result<Vec<u32>, Error> {
        self.ask(model, |answer| Work::Tokenize(prompts, special, answer)).await
    }

    pub(crate) async fn detokenize(&self, model: &Arc<Model>, tokens: Vec<u32>) -> Result<String, Error> {
        self.ask(model, |answer| Work::Detokenize(tokens, answer)).await
    }

    /// Opens the adapter in this directory under a name.
    pub(crate) async fn load(&self, name: &str, directory: PathBuf) -> Result<(), Error> {
        let reserved = self.registry.reserve(name)?;
        let (answer, loaded) = oneshot::channel();
        self.queue(Job { model: None, work: Work::Load(reserved.name().to_string(), directory, answer) })?;
        let model = loaded.await.map_err(|_| Error::Stopped)??;
        reserved.fill(model);
        Ok(())
    }

    /// From here on nobody finds the model; it is given back after the requests that have found it.
    pub(crate) async fn unload(&self, name: &str) -> Result<(), Error> {
        let model = self.registry.remove(name)?;
        self.jobs.send(Job { model: Some(model), work: Work::Unload }).await.map_err(|_| Error::Stopped)
    }

    async fn ask<T>(
        &self,
        model: &Arc<Model>,
        work: impl FnOnce(oneshot::Sender<Result<T, Error>>) -> Work,
    ) -> Result<T, Error> {
        let (answer, answered) = oneshot::channel();
        self.send(model, work(answer))?;
        answered.await.map_err(|_| Error::Stopped)?
    }

    fn send(&self, model: &Arc<Model>, work: Work) -> Result<(), Error> {
        self.queue(Job { model: Some(model.clone()), work })
    }

    fn queue(&self, job: Job) -> Result<(), Error> {
        self.statistics.queued();
        self.jobs.try_send(job).map_err(|error| {
            self.statistics.left_queue();
            match error {
                mpsc::error::TrySendError::Full(_) => Error::QueueFull { max_queue: self.max_queue },
                mpsc::error::TrySendError::Closed(_) => Error::Stopped,
            }
        })
    }
}

/// How a model's tokens are written where only its encoder is asked.
fn no_settings() -> GenerationSettings {
    GenerationSettings::default()
}
