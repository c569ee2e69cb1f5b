//! What a run carries from step to step, and how it ends.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use lora::Plan;
use tasks::{Task, TrainableModel};

use super::beginning::temporary;
use super::checkpoint::{Best, RunState};
use super::directory::{Directory, Metrics};
use super::{Error, Legs, Outcome, Questions, Summary, events, record, report, save};
use crate::output::Output;
use crate::prepare::RunPlan;
use crate::report::Record;
use crate::workers::Workers;

/// Bytes of a result that is sent to the other workers, who write it to a temporary directory.
const MOST_SENT: u64 = 4 << 30;

/// What a run carries from step to step.
pub(super) struct Session {
    pub(super) config: crate::config::TrainConfig,
    pub(super) save: save::Saver,
    pub(super) adapter_plan: Plan,
    /// The first worker's alone.
    pub(super) journal: Option<Journal>,
    pub(super) workers: Workers,
    pub(super) state: RunState,
    /// Where it is read from.
    pub(super) checkpoint: Option<PathBuf>,
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

/// Where a run is written down.
pub(super) struct Journal {
    pub(super) directory: Directory,
    metrics: Metrics,
    /// For TensorBoard.
    events: Option<events::Events>,
}

impl Journal {
    pub(super) fn open(plan: &RunPlan, directory: Directory, resumed: Option<&RunState>) -> Result<Self, Error> {
        if resumed.is_some() {
            // Before the line goes away that says that the run has ended: killed in between, it has a leg that is still to come.
            directory.write_config(&plan.config.to_toml(), plan.config_file.as_deref())?;
        }
        let metrics = directory.metrics(resumed.map_or(0, |state| state.metrics_length))?;
        let events = match plan.config.train.tensorboard {
            true => Some(events::Events::open(&directory, resumed.map_or(0, |state| state.step))?),
            false => None,
        };
        Ok(Self { directory, metrics, events })
    }

    /// A line of `metrics.jsonl`.
    pub(super) fn append(&mut self, line: &record::Line<'_>) -> Result<(), Error> {
        self.metrics.append(line)
    }

    pub(super) fn scalars(&self, step: usize, scalars: &[(&str, f64)]) -> Result<(), Error> {
        self.events.as_ref().map_or(Ok(()), |events| events.scalars(step, scalars))
    }

    /// The length of `metrics.jsonl` in bytes, all of them on the disk, and their hash.
    pub(super) fn sync(&mut self) -> Result<(u64, String), Error> {
        self.metrics.sync()
    }
}

impl Session {
    pub(super) fn new(
        plan: &RunPlan,
        (state, checkpoint): (RunState, Option<PathBuf>),
        save: save::Saver,
        adapter_plan: Plan,
        journal: Option<Journal>,
        (workers, output): (&Workers, Output),
    ) -> Self {
        let mut session = Self {
            config: plan.config.train.clone(),
            save,
            adapter_plan,
            journal,
            workers: workers.clone(),
            checkpoint,
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
        session
    }

    /// Writes what came of the run so far; the model's answer to the probe.
    pub(super) fn keep(
        &self,
        model: &TrainableModel,
        kept: (usize, Option<save::Kept<'_>>),
    ) -> Result<Vec<f32>, Error> {
        // Nothing is written before all have found their base as it was.
        self.save.check_in_use()?;
        self.workers.gather("the files of the base", &())?;
        let probe = self.workers.of_first("the best result", || {
            let journal = self.journal.as_ref().expect("the first worker has it");
            let probe = self.save.save(&journal.directory, &self.adapter_plan, model, kept)?;
            // JSON has no number that is none.
            Ok::<_, Error>(probe.into_iter().map(f32::to_bits).collect::<Vec<u32>>())
        })?;
        Ok(probe.into_iter().map(f32::from_bits).collect())
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
    pub(super) fn finish(
        &mut self,
        plan: &RunPlan,
        record: Option<Record>,
        before: &[String],
    ) -> Result<Outcome, Error> {
        // The model that was trained is gone, and with it what was left of its base.
        crate::ALLOCATOR.give_back();
        let best = self.state.best.clone().expect("a run that ends has saved what came of it");
        let who = self.who_checks(plan)?;
        let checked = match self.workers.is_first() || who.are_several() {
            true => Some(self.check(plan, &best, &who)?),
            false => None,
        };
        let after = match (&plan.questions, &checked) {
            (Some(questions), Some((model, _))) => questions.answers(model, &who)?,
            (Some(_), None) | (None, _) => Vec::new(),
        };
        let model = checked.as_ref().map(|(model, _)| model);
        let sections = model.map(|model| report::sections(plan, model, &who)).transpose()?;
        self.say_answers(before, &after);
        let summary = Summary {
            steps: self.state.step,
            best: best.scores.clone().map(|scores| (best.step, scores)),
            seconds: self.seconds(),
            peak_memory_bytes: record::peak_memory_bytes(),
            stopped_early: self.state.stopped,
            loss_error: best.loss_error,
        };
        let (Some(journal), Some(record), Some((model, adapter))) = (&mut self.journal, record, checked) else {
            return Ok(Outcome::Finished(summary));
        };
        let shown = (record, sections.unwrap_or_default());
        report::finish(plan, shown, (&model, &adapter), [before, &after], &summary, &journal.directory)?;
        let (seconds, peak_memory_bytes) = (summary.seconds, summary.peak_memory_bytes);
        let base_dtype = plan.quantisation().map(|quantisation| quantisation.name());
        journal.append(&record::Line::End { seconds, peak_memory_bytes, base_dtype })?;
        journal.sync()?;
        Ok(Outcome::Finished(summary))
    }

    /// All workers, unless it is a large model that would have to be sent to them: then the one that has saved it.
    fn who_checks(&self, plan: &RunPlan) -> Result<Workers, Error> {
        let is_sent = self.workers.of_first("the size of the result", || {
            let files = self.result_files().into_iter();
            let sizes = files.map(|name| plan.output_dir.join(name).metadata().map_or(0, |found| found.len()));
            Ok::<_, Error>(sizes.sum::<u64>() <= MOST_SENT)
        })?;
        Ok(if is_sent { self.workers.clone() } else { Workers::one() })
    }

    /// The files that were written of the result: the base may have others beside it by now.
    fn result_files(&self) -> Vec<String> {
        self.journal.as_ref().expect("the first worker has it").directory.results().into_keys().collect()
    }

    /// What was saved, read back and compared, by the worker that saved it and by those that are sent it.
    fn check(&self, plan: &RunPlan, best: &Best, who: &Workers) -> Result<(TrainableModel, Plan), Error> {
        let rounds = self.adapter_plan.rounds_base();
        if !who.are_several() {
            return self.save.verify(&plan.output_dir, &best.probe, rounds);
        }
        let temporary = if who.is_first() { None } else { Some(temporary()?) };
        let place = temporary.as_ref().map_or(plan.output_dir.as_path(), |temporary| temporary.path());
        let written = || Ok::<_, Error>(self.result_files());
        let names = who.of_first("the names of the result", written)?;
        who.copies(place, &names, place).map_err(Error::of_files)?;
        self.save.verify(place, &best.probe, rounds)
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
