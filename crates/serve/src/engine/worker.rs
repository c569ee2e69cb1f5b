//! The thread that owns the models: one request after another, in the order in which they came. A request whose client is
//! gone is passed over.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use inference::Pipeline;
use tokio::sync::{mpsc, oneshot};

use super::generate::{Event, Generate, Prompts};
use super::predict::{Answered, Inputs};
use super::{Base, Error, Model, Statistics, generate, load, predict};

pub(super) type Answer<T> = oneshot::Sender<Result<T, Error>>;

#[derive(Debug)]
pub(super) struct Job {
    /// `None`: it needs none.
    pub(super) model: Option<Arc<Model>>,
    pub(super) work: Work,
}

#[derive(Debug)]
pub(super) enum Work {
    Generate(Generate, mpsc::UnboundedSender<Event>),
    Predict(Inputs, Answer<Vec<Answered>>),
    /// With or without special tokens.
    Tokenize(Prompts, bool, Answer<Vec<u32>>),
    Detokenize(Vec<u32>, Answer<String>),
    /// A name and a directory.
    Load(String, PathBuf, Answer<Arc<Model>>),
    Unload,
}

#[derive(Debug)]
pub(super) struct Worker {
    base: Base,
    /// By the numbers of their loads.
    pipelines: HashMap<u64, Pipeline>,
    statistics: Arc<Statistics>,
}

impl Worker {
    pub(super) fn new(base: Base, statistics: Arc<Statistics>) -> Self {
        Self { base, pipelines: HashMap::new(), statistics }
    }

    pub(super) fn add(&mut self, model: &Model, pipeline: Pipeline) {
        self.pipelines.insert(model.id, pipeline);
    }

    pub(super) fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        while let Some(job) = jobs.blocking_recv() {
            // One that is unloaded was in no queue's count: it takes the place that it waits for.
            if !matches!(job.work, Work::Unload) {
                self.statistics.left_queue();
            }
            self.statistics.running_now(1);
            self.work(job);
            self.statistics.running_now(0);
        }
    }

    fn work(&mut self, Job { model, work }: Job) {
        let pipeline = model.as_ref().and_then(|model| self.pipelines.get(&model.id));
        let places = [(self.base.directory.as_path(), self.base.name.as_str())];
        match work {
            Work::Generate(request, events) => {
                let Some(pipeline) = pipeline else { return };
                let written = guarded(&places, || generate::write(pipeline, &request, &events));
                if let Err(error) = written {
                    // Nobody may be there any more.
                    let _ = events.send(Event::Failed(error));
                }
            }
            Work::Predict(inputs, answer) => {
                reply(answer, &places, pipeline, |pipeline| predict::answer(pipeline, &inputs));
            }
            Work::Tokenize(prompts, special, answer) => {
                reply(answer, &places, pipeline, |pipeline| generate::tokens(pipeline, &prompts, special));
            }
            Work::Detokenize(tokens, answer) => reply(answer, &places, pipeline, |pipeline| {
                generate::check_tokens(pipeline, &tokens)?;
                Ok(pipeline.tokenizer.decode(&tokens))
            }),
            Work::Load(name, directory, answer) => self.load(name, &directory, answer),
            Work::Unload => _ = model.and_then(|model| self.pipelines.remove(&model.id)),
        }
    }

    fn load(&mut self, name: String, directory: &Path, answer: Answer<Arc<Model>>) {
        if answer.is_closed() {
            return;
        }
        let places = [(self.base.directory.as_path(), self.base.name.as_str()), (directory, name.as_str())];
        let loaded = guarded(&places, || load::open(&self.base, &name, directory));
        let loaded = loaded.map(|(model, pipeline)| {
            self.pipelines.insert(model.id, pipeline);
            model
        });
        if let Err(Ok(model)) = answer.send(loaded) {
            self.pipelines.remove(&model.id);
        }
    }
}

/// What goes wrong while a request is answered.
#[derive(Debug)]
pub(super) enum Fault {
    Inference(Box<inference::Error>),
    Engine(Error),
}

impl<E: Into<inference::Error>> From<E> for Fault {
    fn from(error: E) -> Self {
        Self::Inference(Box::new(error.into()))
    }
}

fn reply<T>(
    answer: Answer<T>,
    places: &[(&Path, &str)],
    pipeline: Option<&Pipeline>,
    work: impl FnOnce(&Pipeline) -> Result<T, Fault>,
) {
    let Some(pipeline) = pipeline.filter(|_| !answer.is_closed()) else { return };
    // Nobody may be there any more.
    let _ = answer.send(guarded(places, || work(pipeline)));
}

/// A panic is a fault of ours that one request meets: the others are answered.
fn guarded<T>(places: &[(&Path, &str)], work: impl FnOnce() -> Result<T, Fault>) -> Result<T, Error> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(Fault::Inference(error))) => Err(Error::of(*error, places)),
        Ok(Err(Fault::Engine(error))) => Err(error),
        Err(_) => Err(Error::Panicked),
    }
}
