//! What stands between HTTP and the models: a handle that is cheap to clone, and one thread that passes go through. Requests are
//! made ready where they come from (templates, tokens), and wait in a bounded queue; answers come as events over channels, and
//! whoever drops the receiving end has ended the request. How requests share the model is this room's affair alone.

mod base_files;
mod classification;
mod error;
mod generation;
mod load;
mod place;
mod prepare;
mod preparing;
mod registry;
mod statistics;
mod worker;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use inference::ServedAdapter;
use tokio::sync::{mpsc, oneshot};

use base_files::BaseFiles;
pub(crate) use base_files::CHANGED_BASE;
use classification::Classification;
pub use error::Error;
use error::Fault;
use generation::Generation;
pub(crate) use generation::{Event, Token};
use place::Place;
pub(crate) use prepare::{Answered, Generate, Inputs, Prompts, Text};
pub(crate) use preparing::THREADS;
use preparing::{Preparing, Work};
use registry::Loaded;
pub use registry::Model;
use registry::Registry;
pub(crate) use statistics::{Cache, Kind, Passes, Statistics};
use worker::{Job, Worker};

/// The model that adapters share, what clients call it, and where it lies.
#[derive(Debug)]
pub struct Base {
    pub name: String,
    pub directory: PathBuf,
    pub model: inference::Base,
}

impl Base {
    /// Directories of the machine, and what they are called in answers.
    fn places(&self) -> Vec<(&Path, &str)> {
        vec![(&self.directory, &self.name)]
    }
}

/// What requests may take together.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Requests that wait; where more come they are refused.
    pub max_queue: usize,
    /// Tokens of a pass: prompts, and texts to classify, of more are read in several. At most so many texts are written at a time.
    pub max_batch_tokens: usize,
    /// Bytes of keys and values of all texts that are written.
    pub cache_memory: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_queue: 256, max_batch_tokens: 512, cache_memory: 2 << 30 }
    }
}

/// A handle to the models.
#[derive(Debug, Clone)]
pub struct Engine {
    base: Arc<Base>,
    files: Arc<BaseFiles>,
    limits: Limits,
    registry: Arc<Registry>,
    statistics: Arc<Statistics>,
    preparing: Preparing,
    jobs: mpsc::UnboundedSender<Job>,
}

impl Engine {
    /// Starts the thread that passes go through. The base answers itself if it has a head that writes or classifies.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(base: Base, adapters: Vec<(String, ServedAdapter)>, limits: Limits) -> Result<Self, std::io::Error> {
        let (engine, worker) = Self::new(base, adapters, limits);
        std::thread::Builder::new().name("models".to_string()).spawn(move || worker.run())?;
        Ok(engine)
    }

    /// A handle, and what answers it once it runs.
    fn new(base: Base, adapters: Vec<(String, ServedAdapter)>, limits: Limits) -> (Self, Worker) {
        // Not bounded: the places are.
        let (jobs, waiting) = mpsc::unbounded_channel();
        let (base, registry) = (Arc::new(base), Arc::new(Registry::default()));
        registry.extend(Model::of_base(&base, limits.max_queue));
        registry.extend(adapters.into_iter().map(|(name, adapter)| {
            Model::of_adapter(name, &base, Loaded::new(adapter, jobs.clone()), limits.max_queue)
        }));
        let files = Arc::new(BaseFiles::new(base.model.pretrained.files_in_use()));
        let worker = Worker::new(base.clone(), files.clone(), limits, waiting);
        let statistics = worker.statistics().clone();
        (Self { base, files, limits, registry, statistics, preparing: Preparing::default(), jobs }, worker)
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

    /// Whether nobody has written into the base's files since they were loaded; no request is answered any more where somebody has.
    pub(crate) async fn is_intact(&self) -> bool {
        let files = self.files.clone();
        // A file system over a network may take its time.
        tokio::task::spawn_blocking(move || !files.were_changed()).await.unwrap_or(false)
    }

    pub(crate) fn limits(&self) -> Limits {
        self.limits
    }

    /// Texts that the model writes, choice by choice: how many tokens their prompts have, and their events, which end with
    /// [`Event::Failed`], or after each choice has ended.
    pub(crate) async fn generate(
        &self,
        model: &Arc<Model>,
        request: Generate,
    ) -> Result<(usize, mpsc::UnboundedReceiver<Event>), Error> {
        let room = self.statistics.cache().rows;
        let work = Work::Texts(request.prompts.bytes(), &model.preparing);
        let texts = self.prepare(model, work, move |base, model| prepare::texts(base, model, request, room));
        let (texts, place) = texts.await?;
        let prompt_tokens = texts.prompt_tokens;
        // Not bounded: a client that does not read must not stop the thread. There are no more events than tokens asked for.
        let (events, receiver) = mpsc::unbounded_channel();
        self.send(Job::Generate(Generation::new(model.clone(), texts, events, place)))?;
        Ok((prompt_tokens, receiver))
    }

    /// The answers of a model that classifies, in the order of the texts.
    pub(crate) async fn predict(&self, model: &Arc<Model>, inputs: Inputs) -> Result<Vec<Answered>, Error> {
        let work = Work::Texts(inputs.bytes(), &model.preparing);
        let questions = self.prepare(model, work, move |base, model| prepare::questions(base, model, &inputs));
        let (questions, place) = questions.await?;
        let (answer, answered) = oneshot::channel();
        self.send(Job::Classify(Classification::new(model.clone(), questions, answer, place)))?;
        answered.await.map_err(|_| Error::Panicked)?
    }

    /// The tokens of a text, or of a conversation as the chat template writes it.
    pub(crate) async fn tokenize(
        &self,
        model: &Arc<Model>,
        prompts: Prompts,
        special: bool,
    ) -> Result<Vec<u32>, Error> {
        let work = Work::Texts(prompts.bytes(), &model.preparing);
        let tokens = self.prepare(model, work, move |base, model| prepare::tokens(base, model, &prompts, special));
        Ok(tokens.await?.0)
    }

    pub(crate) async fn detokenize(&self, model: &Arc<Model>, tokens: Vec<u32>) -> Result<String, Error> {
        let work = Work::Texts(size_of_val(tokens.as_slice()), &model.preparing);
        Ok(self.prepare(model, work, move |base, model| prepare::text(base, model, &tokens)).await?.0)
    }

    /// The bytes of a token.
    pub(crate) fn token_bytes(&self, model: &Model, token: u32) -> Vec<u8> {
        model.processor(&self.base.model).map(|processor| processor.tokenizer.token_bytes(token)).unwrap_or_default()
    }

    /// Opens the adapter in this directory under a name. Given up on the way, the name is free again.
    pub(crate) async fn load(&self, name: &str, directory: PathBuf) -> Result<(), Error> {
        let reserved = self.registry.reserve(name)?;
        let (base, jobs, name) = (self.base.clone(), self.jobs.clone(), name.to_string());
        let (place, max_queue) = (self.place()?, self.limits.max_queue);
        let loaded = self.preparing.run(Work::Adapter, move || {
            let _place = place;
            load::open(&base, &name, &directory)
                .map(|adapter| Model::of_adapter(name, &base, Loaded::new(adapter, jobs), max_queue))
                .map_err(|error| error.at("lora_path"))
        });
        reserved.fill(loaded.await??);
        Ok(())
    }

    /// From here on nobody finds the model; it is given back after the requests that have found it.
    pub(crate) fn unload(&self, name: &str) -> Result<(), Error> {
        self.registry.remove(name).map(drop)
    }

    /// What a request is to the model, made beside the thread of the passes, so that no long text or template holds up others.
    async fn prepare<T: Send + 'static>(
        &self,
        model: &Arc<Model>,
        work: Work<'_>,
        run: impl FnOnce(&inference::Base, &Model) -> Result<T, Fault> + Send + 'static,
    ) -> Result<(T, Place), Error> {
        let _waiting = model.preparing.wait()?;
        let (base, model, place) = (self.base.clone(), model.clone(), self.place()?);
        let prepared = self.preparing.run(work, move || {
            let prepared = run(&base.model, &model);
            prepared.map(|prepared| (prepared, place)).map_err(|fault| fault.error(&base.places()))
        });
        prepared.await?
    }

    fn place(&self) -> Result<Place, Error> {
        let max_queue = self.limits.max_queue;
        Place::take(&self.statistics, max_queue).ok_or(Error::QueueFull { max_queue })
    }

    fn send(&self, job: Job) -> Result<(), Error> {
        self.jobs.send(job).map_err(|_| Error::Panicked)
    }
}

#[cfg(test)]
mod tests;
