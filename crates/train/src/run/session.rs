//! What a run carries from step to step, and how it ends.

use std::sync::Arc;
use std::time::Instant;

use lora::Plan;
use tasks::Task;

use super::checkpoint::RunState;
use super::directory::{Directory, Metrics};
use super::{Error, Legs, Outcome, Questions, Summary, events, record, report, save};
use crate::output::Output;
use crate::prepare::RunPlan;
use crate::report::Record;

/// What a run carries from step to step.
pub(super) struct Session {
    pub(super) config: crate::config::TrainConfig,
    pub(super) save: save::Saver,
    pub(super) adapter_plan: Plan,
    pub(super) directory: Directory,
    pub(super) metrics: Metrics,
    /// For TensorBoard.
    pub(super) events: Option<events::Events>,
    pub(super) state: RunState,
    pub(super) train: Arc<data::Dataset>,
    pub(super) valid: Option<Arc<data::Dataset>>,
    pub(super) sampler: Arc<data::Sampler>,
    pub(super) legs: Legs,
    pub(super) seed: u64,
    pub(super) task: Arc<dyn Task>,
    pub(super) questions: Option<Arc<Questions>>,
    pub(super) started: Instant,
    /// Of the processes before this one.
    pub(super) seconds_before: f64,
    pub(super) steps: usize,
    pub(super) interrupted: bool,
    pub(super) output: Output,
}

impl Session {
    pub(super) fn new(
        plan: &RunPlan,
        state: RunState,
        save: save::Saver,
        adapter_plan: Plan,
        (directory, metrics): (Directory, Metrics),
        output: Output,
    ) -> Result<Self, Error> {
        let events = match plan.config.train.tensorboard {
            true => Some(events::Events::open(&directory, state.step)?),
            false => None,
        };
        let mut session = Self {
            config: plan.config.train.clone(),
            save,
            adapter_plan,
            directory,
            metrics,
            events,
            started: Instant::now(),
            seconds_before: state.seconds,
            state,
            train: plan.train.clone(),
            valid: plan.valid.clone(),
            sampler: plan.sampler.clone(),
            legs: plan.legs.clone(),
            seed: plan.config.seed,
            task: plan.task.clone(),
            questions: plan.questions.clone(),
            steps: plan.steps,
            interrupted: false,
            output,
        };
        session.enter_leg();
        Ok(session)
    }

    /// Whether early stopping has ended the leg before is nothing to the one that begins.
    pub(super) fn enter_leg(&mut self) {
        if self.legs.go_on_after(self.state.step) {
            (self.state.stopped, self.state.without_improvement) = (false, 0);
        }
    }

    /// What the run took so far, in all its processes.
    pub(super) fn seconds(&self) -> f64 {
        self.seconds_before + self.started.elapsed().as_secs_f64()
    }

    /// The step after which training ends, which early stopping may have set.
    pub(super) fn last_step(&self) -> usize {
        if self.state.stopped { self.state.step } else { self.steps }
    }

    /// Where examples of the training data stand.
    pub(super) fn places(&self, examples: &[usize]) -> Vec<data::Place> {
        examples.iter().map(|example| self.train.place(*example)).collect()
    }

    pub(super) fn epochs(&self) -> usize {
        self.steps.div_ceil(self.sampler.steps_per_epoch())
    }

    /// Reads what was saved and compares it with what was trained; then the run is finished.
    pub(super) fn finish(&mut self, plan: &RunPlan, record: Record, before: &[String]) -> Result<Outcome, Error> {
        // The model that was trained is gone, and with it what was left of its base.
        crate::ALLOCATOR.give_back();
        let best = self.state.best.as_ref().expect("a run that ends has saved what came of it");
        let (model, adapter) = self.save.verify(self.directory.root(), &best.probe, self.adapter_plan.rounds_base())?;
        let after = match &plan.questions {
            Some(questions) => questions.answers(&model)?,
            None => Vec::new(),
        };
        self.say_answers(before, &after);
        let summary = Summary {
            steps: self.state.step,
            best: best.scores.clone().map(|scores| (best.step, scores)),
            seconds: self.seconds(),
            peak_memory_bytes: record::peak_memory_bytes(),
            stopped_early: self.state.stopped,
            loss_error: best.loss_error,
        };
        report::finish(plan, record, (&model, &adapter), [before, &after], &summary, &self.directory)?;
        let (seconds, peak_memory_bytes) = (summary.seconds, summary.peak_memory_bytes);
        self.metrics.append(&record::Line::End { seconds, peak_memory_bytes })?;
        self.metrics.sync()?;
        Ok(Outcome::Finished(summary))
    }

    /// A few answers before and after training, beside the references.
    fn say_answers(&self, before: &[String], after: &[String]) {
        const SHOWN: usize = 3;
        let Some(questions) = &self.questions else { return };
        for (question, (before, after)) in questions.iter().zip(before.iter().zip(after)).take(SHOWN) {
            let line = |name: &str, text: &str| self.output.say(&format!("{name:12}{}", text.trim()));
            line("prompt", &question.prompt);
            line("  before", before);
            line("  after", after);
            line("  reference", &question.answer);
        }
    }
}
