//! The thread that all passes go through: one for texts that are written, one for what is classified, in turn, as long as there is
//! either. Requests join and leave between passes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use lora::AdapterSet;
use tokio::sync::mpsc;

use super::base_files::{BaseFiles, CHANGED_BASE};
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
    files: Arc<BaseFiles>,
    jobs: mpsc::UnboundedReceiver<Job>,
    /// `None`: the base is no causal language model.
    writing: Option<Writing>,
    classifying: Classifying,
    statistics: Arc<Statistics>,
}

impl Worker {
    pub(super) fn new(
        base: Arc<Base>,
        files: Arc<BaseFiles>,
        limits: Limits,
        jobs: mpsc::UnboundedReceiver<Job>,
    ) -> Self {
        let statistics = Arc::<Statistics>::default();
        let writing = base.model.model.causal_lm().map(|model| Writing::new(model, limits, statistics.clone()));
        let classifying = Classifying::new(limits.max_batch_tokens, statistics.clone());
        Self { base, files, jobs, writing, classifying, statistics }
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
            // Before a pass, since it would be in vain, and before its answers leave.
            if self.files.were_changed() || !self.classify() || !self.write() {
                self.refuse();
            }
        }
    }

    /// A pass over what is classified. Returns whether its answers are the base's.
    fn classify(&mut self) -> bool {
        let (base, classifying) = (&self.base, &mut self.classifying);
        if catch_unwind(AssertUnwindSafe(|| classifying.pass(base))).is_err() {
            classifying.fail();
        }
        if self.files.were_changed() {
            return false;
        }
        // Whoever's answer panics is told, for its channel closes.
        let _ = catch_unwind(AssertUnwindSafe(|| classifying.answer(base)));
        true
    }

    /// As [`classify`](Self::classify), of texts that are written.
    fn write(&mut self) -> bool {
        let base = &self.base;
        let (Some(model), Some(writing)) = (base.model.model.causal_lm(), &mut self.writing) else { return true };
        let Ok(events) = catch_unwind(AssertUnwindSafe(|| writing.pass(model))) else {
            writing.fail(model, &Error::Panicked);
            return true;
        };
        if self.files.were_changed() {
            return false;
        }
        if catch_unwind(AssertUnwindSafe(|| writing.hand_on(events, base))).is_err() {
            writing.fail(model, &Error::Panicked);
        }
        true
    }

    /// Somebody has written into the base's file: what it answers from here on is not what it was loaded to answer.
    fn refuse(&mut self) {
        let error = Error::Failed { message: CHANGED_BASE.to_string() };
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
