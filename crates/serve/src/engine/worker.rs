//! The thread that all passes go through: one for texts that are written, one for what is classified, in turn, as long as there is
//! either. Requests join and leave between passes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use lora::AdapterSet;
use model::FilesInUse;
use tokio::sync::mpsc;

use super::classification::{Classification, Classifying};
use super::generation::{Generation, Writing};
use super::{Base, Error, Limits, Statistics};

#[derive(Debug)]
pub(super) enum Job {
    Generate(Generation),
    Classify(Classification),
    /// No further request goes through these adapters.
    Forget(Arc<AdapterSet>),
}

#[derive(Debug)]
pub(super) struct Worker {
    base: Arc<Base>,
    base_in_use: FilesInUse,
    jobs: mpsc::UnboundedReceiver<Job>,
    /// `None`: the base is no causal language model.
    writing: Option<Writing>,
    classifying: Classifying,
    statistics: Arc<Statistics>,
}

impl Worker {
    pub(super) fn new(base: Arc<Base>, limits: Limits, jobs: mpsc::UnboundedReceiver<Job>) -> Self {
        let statistics = Arc::<Statistics>::default();
        let writing = base.model.model.causal_lm().map(|model| Writing::new(model, limits, statistics.clone()));
        let classifying = Classifying::new(limits.max_batch_tokens, statistics.clone());
        let base_in_use = base.model.pretrained.files_in_use();
        Self { base, base_in_use, jobs, writing, classifying, statistics }
    }

    pub(super) fn statistics(&self) -> &Arc<Statistics> {
        &self.statistics
    }

    /// Until there is no handle any more.
    pub(super) fn run(mut self) {
        loop {
            let first = match self.is_idle() {
                true => match self.jobs.blocking_recv() {
                    Some(job) => Some(job),
                    None => return,
                },
                false => None,
            };
            for job in first.into_iter().chain(std::iter::from_fn(|| self.jobs.try_recv().ok())).collect::<Vec<_>>() {
                // A panic is a fault of ours: those whose request or pass it was are told, and others are answered.
                let _ = catch_unwind(AssertUnwindSafe(|| self.take(job)));
            }
            if self.base_in_use.written_to().is_some() {
                self.refuse();
                continue;
            }
            let (base, classifying) = (&self.base, &mut self.classifying);
            if catch_unwind(AssertUnwindSafe(|| classifying.pass(base))).is_err() {
                classifying.fail();
            }
            if let (Some(model), Some(writing)) = (base.model.model.causal_lm(), &mut self.writing)
                && catch_unwind(AssertUnwindSafe(|| writing.pass(base, model))).is_err()
            {
                writing.fail(model, &Error::Panicked);
            }
        }
    }

    /// Somebody has written into the base's file: what it answers from here on is not what it was loaded to answer.
    fn refuse(&mut self) {
        let message =
            "the model's file was changed since it was loaded: the server has to be started again".to_string();
        let error = Error::Failed { message };
        self.classifying.refuse(&error);
        if let (Some(model), Some(writing)) = (self.base.model.model.causal_lm(), &mut self.writing) {
            writing.fail(model, &error);
        }
    }

    fn is_idle(&self) -> bool {
        self.classifying.is_idle() && self.writing.as_ref().is_none_or(Writing::is_idle)
    }

    fn take(&mut self, job: Job) {
        match (job, &mut self.writing) {
            (Job::Generate(request), Some(writing)) => writing.submit(request, &self.base),
            (Job::Forget(adapters), Some(writing)) => writing.forget(&adapters),
            (Job::Classify(request), _) => self.classifying.push(request),
            // Only a causal language model's adapters write, and leave something to be forgotten.
            (Job::Generate(_) | Job::Forget(_), None) => {}
        }
    }
}
