//! burn's learner, driven by optimiser step instead of by epoch: accumulation to the target, evaluation, checkpoints and
//! stopping all happen between two steps, in the order metrics line, evaluation, best adapter, checkpoint.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use burn::data::dataloader::Progress;
use burn::module::Module;
use burn::train::{
    EventProcessorTraining, Interrupter, Learner, LearnerEvent, SupervisedLearningStrategy,
    SupervisedTrainingEventProcessor, TrainLoader, TrainingComponents, TrainingItem, ValidLoader,
};

use super::checkpoint::{self, Best, Failure};
use super::evaluate::{Evaluated, evaluate};
use super::executor::{Caller, StepExecutor, StepGradients};
use super::optimizer::average_and_clip;
use super::record::Line;
use super::save::Kept;
use super::{Error, Session, weights};
use crate::output::{counted, duration};
use crate::report;
use tasks::{StepOutput, TrainableModel};

/// After this many steps every part of the adapter must have moved.
const TRAINED_BY: usize = 10;

pub(super) struct ByStep {
    /// Taken by the one call of `fit`, and given back with its result.
    session: Mutex<Option<(Session, Box<dyn StepExecutor>)>>,
    /// The steps to be done.
    steps: Range<usize>,
    failure: Failure,
    result: Arc<Mutex<Option<Result<Session, Error>>>>,
}

impl ByStep {
    pub(super) fn new(
        session: Session,
        executor: Box<dyn StepExecutor>,
        steps: Range<usize>,
        failure: Failure,
        result: Arc<Mutex<Option<Result<Session, Error>>>>,
    ) -> Self {
        Self { session: Mutex::new(Some((session, executor))), steps, failure, result }
    }
}

type Processor = SupervisedTrainingEventProcessor<TrainableModel>;

impl SupervisedLearningStrategy<TrainableModel> for ByStep {
    fn fit(
        &self,
        components: TrainingComponents<TrainableModel>,
        mut learner: Learner<TrainableModel>,
        // The executor makes its micro-batches itself.
        _: TrainLoader<TrainableModel>,
        valid: ValidLoader<TrainableModel>,
        _first_epoch: usize,
    ) -> (TrainableModel, Processor) {
        let taken = self.session.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (mut session, mut executor) = taken.expect("burn calls `fit` once");
        let mut fit = Fit { components, valid, failure: &self.failure };
        let result = fit.run(&mut session, &mut learner, &mut *executor, self.steps.clone()).map(|()| session);
        *self.result.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        (learner.model(), fit.components.event_processor)
    }
}

struct Fit<'a> {
    components: TrainingComponents<TrainableModel>,
    valid: ValidLoader<TrainableModel>,
    failure: &'a Failure,
}

impl Fit<'_> {
    fn run(
        &mut self,
        session: &mut Session,
        learner: &mut Learner<TrainableModel>,
        executor: &mut dyn StepExecutor,
        steps: Range<usize>,
    ) -> Result<(), Error> {
        if let Some(checkpoint) = &session.checkpoint {
            checkpoint::restore(learner, checkpoint)?;
        }
        weights::compare(session, &learner.model())?;
        let bar = session.output.bar(session.steps as u64, "step {pos}/{len} {bar:24} {msg}");
        bar.set_position(session.state.step as u64);
        let (begun, before) = (Instant::now(), session.state.step);
        let mut since = Instant::now();
        let mut epoch = 0;
        for step in steps {
            let of_step = (step - 1) / session.sampler.steps_per_epoch() + 1;
            if of_step != epoch {
                self.begin_epoch(session, &mut epoch, of_step);
            }
            let Some(done) = self.gradients(session, learner, executor, step)? else {
                self.interrupt(session, learner)?;
                break;
            };
            let stop = done.stop;
            let line = self.step(session, learner, step, done, since)?;
            bar.set_position(step as u64);
            // Of this process's steps, which an interrupted one's say nothing about.
            let each = begun.elapsed().as_secs_f64() / (step - before) as f64;
            bar.set_message(format!("{line} · {} left", duration(each * (session.steps - step) as f64)));
            self.after_step(session, learner, step)?;
            since = Instant::now();
            if session.state.stopped {
                break;
            }
            // Several workers stop where all have agreed to.
            if stop || !session.workers.are_several() && self.interrupter().should_stop() {
                self.interrupt(session, learner)?;
                break;
            }
        }
        bar.finish_and_clear();
        for line in executor.account() {
            session.output.say(&line);
        }
        self.end_epoch(epoch);
        if session.state.best.is_none() && !session.interrupted {
            let (model, step) = (learner.model().valid(), session.state.step);
            let probe = session.keep(&model, (step, None))?;
            session.state.best = Some(Best { step, scores: None, loss_error: None, probe });
        }
        Ok(())
    }

    fn interrupter(&self) -> &Interrupter {
        &self.components.interrupter
    }

    /// Saves what was done.
    fn interrupt(&mut self, session: &mut Session, learner: &Learner<TrainableModel>) -> Result<(), Error> {
        self.save_if_new(session, learner)?;
        session.interrupted = session.state.step < session.last_step();
        Ok(())
    }

    /// Those of a step, while burn's event processor hears what comes of the micro-batches.
    fn gradients(
        &mut self,
        session: &Session,
        learner: &Learner<TrainableModel>,
        executor: &mut dyn StepExecutor,
        step: usize,
    ) -> Result<Option<StepGradients>, Error> {
        // The dashboard counts the optimiser steps of each epoch.
        let per_epoch = session.sampler.steps_per_epoch();
        let progress = Progress::new((step - 1) % per_epoch + 1, per_epoch, None);
        let TrainingComponents { event_processor, interrupter, .. } = &mut self.components;
        let mut told = |output: StepOutput| {
            let item = TrainingItem::new(output, progress.clone(), Some(step), Some(learner.lr_current()));
            interrupter.fail_on_error(event_processor.process_train(LearnerEvent::ProcessedItem(item)));
        };
        let should_stop = || interrupter.should_stop();
        executor.gradients(&learner.model(), step, &mut Caller { told: &mut told, should_stop: &should_stop })
    }

    /// The optimiser's step and its line in `metrics.jsonl`; returns what the progress line says of it.
    fn step(
        &mut self,
        session: &mut Session,
        learner: &mut Learner<TrainableModel>,
        step: usize,
        StepGradients { mut gradients, sums, .. }: StepGradients,
        since: Instant,
    ) -> Result<String, Error> {
        let max_norm = session.config.max_grad_norm;
        let grad_norm = average_and_clip(&learner.model(), &mut gradients, sums.divisor, max_norm);
        if !grad_norm.is_finite() {
            return Err(Error::NotANumber {
                step,
                what: "the gradient's norm",
                places: session.places(&sums.examples),
            });
        }
        learner.lr_step();
        rayon::scope(|_| learner.optimizer_step(gradients));
        let (loss, learning_rate) = (sums.loss / sums.divisor, learner.lr_current().base());
        let step_seconds = since.elapsed().as_secs_f64();
        let epoch = step as f64 / session.sampler.steps_per_epoch() as f64;
        let (examples, tokens) = (sums.examples.len(), sums.tokens);
        if let Some(journal) = &mut session.journal {
            let line = Line::Step { step, epoch, loss, learning_rate, grad_norm, step_seconds, examples, tokens };
            journal.append(&line)?;
            journal.scalars(
                step,
                &[
                    ("train/loss", loss),
                    ("train/learning_rate", learning_rate),
                    ("train/grad_norm", grad_norm),
                    ("train/step_seconds", step_seconds),
                    ("train/tokens_per_second", sums.tokens as f64 / step_seconds),
                ],
            )?;
        }
        session.state.step = step;
        if step == TRAINED_BY {
            check_trained(session, &learner.model())?;
        }
        let rate = sums.tokens as f64 / step_seconds;
        Ok(format!("loss {loss:.3} · rate {learning_rate:.1e} · {rate:.0} tokens/s"))
    }

    /// Evaluation, best adapter, early stopping and checkpoint, each when due. The last step is always evaluated and
    /// checkpointed.
    fn after_step(
        &mut self,
        session: &mut Session,
        learner: &Learner<TrainableModel>,
        step: usize,
    ) -> Result<(), Error> {
        let per_epoch = session.sampler.steps_per_epoch();
        let due = |every: usize| step.is_multiple_of(if every == 0 { per_epoch } else { every });
        let last = session.legs.end_with(step);
        if session.valid.is_some() && (last || due(session.config.eval_every)) {
            self.evaluate(session, learner, step)?;
        }
        if last || session.state.stopped || due(session.config.checkpoint_every) {
            self.save(session, learner)?;
        }
        session.enter_leg();
        Ok(())
    }

    fn evaluate(&mut self, session: &mut Session, learner: &Learner<TrainableModel>, step: usize) -> Result<(), Error> {
        let started = Instant::now();
        let model = learner.model().valid();
        let workers = session.workers.clone();
        let (mut evaluation, mut fitter) = (session.task.evaluator(), session.task.fitter());
        let epoch = step.div_ceil(session.sampler.steps_per_epoch());
        let total_items = self.valid.num_items();
        self.tell_valid(LearnerEvent::StartSplit { epoch_number: epoch, total_items });
        let valid = self.valid.clone();
        let mut batches = valid.iter();
        loop {
            let some = batches.by_ref().take(workers.size()).collect::<Result<Vec<_>, _>>();
            let some = some.map_err(|error| Error::Learner(error.to_string()))?;
            if some.is_empty() {
                break;
            }
            let Evaluated { outputs, own } = evaluate(&workers, &model, some)?;
            for output in &outputs {
                evaluation.add(output);
                if let Some(fitter) = &mut fitter {
                    fitter.add(output);
                }
            }
            if let Some(own) = own {
                let item = TrainingItem::new(own, batches.progress(), Some(step), None);
                self.tell_valid(LearnerEvent::ProcessedItem(item));
            }
        }
        self.tell_valid(LearnerEvent::EndSplit(epoch));
        let mut scores = evaluation.scores();
        if let Some(questions) = &session.questions {
            scores = scores.with_generated(questions.scores(&questions.answers(&model, &workers)?));
        }
        if !scores.loss().is_finite() {
            return Err(Error::NotANumber { step, what: "the validation loss", places: Vec::new() });
        }
        if let Some(journal) = &mut session.journal {
            journal.append(&Line::Eval { step, split: "valid", scores: &scores })?;
            let named = scores.named();
            let tags: Vec<String> = named.iter().map(|(name, _)| format!("valid/{}", report::key(name))).collect();
            let scalars: Vec<(&str, f64)> =
                tags.iter().zip(&named).map(|(tag, (_, value))| (tag.as_str(), *value)).collect();
            journal.scalars(step, &scalars)?;
        }
        let best = session.state.best.as_ref().and_then(|best| best.scores.as_ref());
        let better = scores.is_better(best, session.config.best);
        session.output.say(&format!(
            "step {step}: valid {scores} ({}){}",
            duration(started.elapsed().as_secs_f64()),
            if better { ", the best so far" } else { "" },
        ));
        if better {
            let fitted = fitter.map(|fitter| fitter.fit()).unwrap_or_default();
            let probe = session.keep(&model, (step, Some(Kept { scores: &scores, fitted })))?;
            session.state.best = Some(Best { step, scores: Some(scores), loss_error: evaluation.loss_error(), probe });
            session.state.without_improvement = 0;
        } else {
            session.state.without_improvement += 1;
        }
        let patience = session.legs.of_step(step).train.early_stopping_patience;
        let may_stop = session.legs.is_in_last(step) && step < session.steps;
        if patience > 0 && session.state.without_improvement >= patience && may_stop {
            let evaluations = counted(patience, "evaluation", "evaluations");
            session.output.say(&format!("stopped early: no improvement in {evaluations}"));
            session.state.stopped = true;
        }
        Ok(())
    }

    /// A checkpoint of the last whole step, unless there is one.
    fn save_if_new(&mut self, session: &mut Session, learner: &Learner<TrainableModel>) -> Result<(), Error> {
        let step = session.state.step;
        let journal = session.journal.as_ref();
        let is_there =
            || Ok::<_, Error>(journal.is_some_and(|journal| journal.directory.checkpoints().contains(&step)));
        match step == 0 || session.workers.of_first("whether a checkpoint is there", is_there)? {
            true => Ok(()),
            false => self.save(session, learner),
        }
    }

    fn save(&mut self, session: &mut Session, learner: &Learner<TrainableModel>) -> Result<(), Error> {
        session.save.check_base(&mut session.state)?;
        weights::compare(session, &learner.model())?;
        session.state.seconds = session.seconds();
        let step = session.state.step;
        let Some(journal) = &mut session.journal else { return Ok(()) };
        let (length, sha256) = journal.sync()?;
        (session.state.metrics_length, session.state.metrics_sha256) = (length, Some(sha256));
        checkpoint::begin(&journal.directory, session.adapter_plan.starts())?;
        let checkpointer = self.components.checkpointer.as_mut().expect("the learner was given checkpointers");
        checkpointer.checkpoint(learner, step, &self.components.event_store);
        checkpoint::complete(&journal.directory, &mut session.state, session.config.keep_checkpoints, self.failure)
    }

    fn begin_epoch(&mut self, session: &Session, epoch: &mut usize, next: usize) {
        self.end_epoch(*epoch);
        *epoch = next;
        let total_items = session.sampler.steps_per_epoch();
        let event = LearnerEvent::StartSplit { epoch_number: next, total_items };
        self.components.interrupter.fail_on_error(self.components.event_processor.process_train(event));
    }

    fn end_epoch(&mut self, epoch: usize) {
        if epoch > 0 {
            for event in [LearnerEvent::EndSplit(epoch), LearnerEvent::EndEpoch(epoch)] {
                self.components.interrupter.fail_on_error(self.components.event_processor.process_train(event));
            }
        }
    }

    fn tell_valid(&mut self, event: LearnerEvent<StepOutput>) {
        self.components.interrupter.fail_on_error(self.components.event_processor.process_valid(event));
    }
}

/// A tensor that is still as it was before the first step has never had a gradient.
fn check_trained(session: &Session, model: &TrainableModel) -> Result<(), Error> {
    let step = session.state.step;
    // The first rates of a warm-up may be too small to tell.
    let schedule = session.legs.schedule();
    let curve = schedule.curve(step - 1);
    if curve.learning_rate == 0.0 || curve.warmup >= step {
        return Ok(());
    }
    for (name, values) in session.adapter_plan.tensors(model) {
        // No token has come to this expert yet.
        if session.adapter_plan.is_sparse(&name) {
            continue;
        }
        let initial = session.adapter_plan.method().value_without_effect(&name);
        if initial.is_some_and(|initial| values.iter::<f32>().all(|value| value == initial)) {
            return Err(Error::Untrained { step, name });
        }
    }
    Ok(())
}
