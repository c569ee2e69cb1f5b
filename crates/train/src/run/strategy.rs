//! burn's learner, driven by optimiser step instead of by epoch: accumulation to the target, evaluation, checkpoints and
//! stopping all happen between two steps, in the order metrics line, evaluation, best adapter, checkpoint.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use burn::data::dataloader::Progress;
use burn::module::Module;
use burn::optim::GradientsAccumulator;
use burn::train::{
    EventProcessorTraining, InferenceStep, Interrupter, Learner, LearnerEvent, SupervisedLearningStrategy,
    SupervisedTrainingEventProcessor, TrainLoader, TrainingComponents, TrainingItem, ValidLoader,
};

use super::checkpoint::{self, Best, Failure};
use super::optimizer::average_and_clip;
use super::record::Line;
use super::save::Kept;
use super::{Error, Session};
use crate::output::{counted, duration};
use crate::report;
use tasks::{MicroBatch, StepOutput, TrainableModel, host};

/// After this many steps every part of the adapter must have moved.
const TRAINED_BY: usize = 10;

pub(super) struct ByStep {
    /// Taken by the one call of `fit`, and given back with its result.
    session: Mutex<Option<Session>>,
    failure: Failure,
    result: Arc<Mutex<Option<Result<Session, Error>>>>,
}

impl ByStep {
    pub(super) fn new(session: Session, failure: Failure, result: Arc<Mutex<Option<Result<Session, Error>>>>) -> Self {
        Self { session: Mutex::new(Some(session)), failure, result }
    }
}

type Processor = SupervisedTrainingEventProcessor<TrainableModel>;

impl SupervisedLearningStrategy<TrainableModel> for ByStep {
    fn fit(
        &self,
        components: TrainingComponents<TrainableModel>,
        mut learner: Learner<TrainableModel>,
        train: TrainLoader<TrainableModel>,
        valid: ValidLoader<TrainableModel>,
        _first_epoch: usize,
    ) -> (TrainableModel, Processor) {
        let session = self.session.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut session = session.expect("burn calls `fit` once");
        let mut fit = Fit { components, valid, failure: &self.failure };
        let result = fit.run(&mut session, &mut learner, &train).map(|()| session);
        *self.result.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        (learner.model(), fit.components.event_processor)
    }
}

struct Fit<'a> {
    components: TrainingComponents<TrainableModel>,
    valid: ValidLoader<TrainableModel>,
    failure: &'a Failure,
}

/// What is summed up over the micro-batches of a step.
struct Window {
    gradients: GradientsAccumulator<TrainableModel>,
    loss: f64,
    /// The number of targets, or the sum of their weights.
    divisor: f64,
    tokens: usize,
    /// Their numbers in the training data.
    examples: Vec<usize>,
}

impl Window {
    fn new() -> Self {
        Self { gradients: GradientsAccumulator::new(), loss: 0.0, divisor: 0.0, tokens: 0, examples: Vec::new() }
    }
}

impl Fit<'_> {
    fn run(
        &mut self,
        session: &mut Session,
        learner: &mut Learner<TrainableModel>,
        train: &TrainLoader<TrainableModel>,
    ) -> Result<(), Error> {
        if session.state.step > 0 {
            checkpoint::restore(learner, &session.directory.checkpoint(session.state.step))?;
        }
        let bar = session.output.bar(session.steps as u64, "step {pos}/{len} {bar:24} {msg}");
        bar.set_position(session.state.step as u64);
        let (begun, before) = (Instant::now(), session.state.step);
        let mut window = Window::new();
        let mut since = Instant::now();
        let mut epoch = 0;
        for batch in train.iter() {
            let batch = batch.map_err(|error| Error::Learner(error.to_string()))?;
            if batch.epoch != epoch {
                self.begin_epoch(session, &mut epoch, batch.epoch);
            }
            let (step, ends_step) = (batch.step, batch.ends_step);
            // The dashboard counts the optimiser steps of each epoch.
            let per_epoch = session.sampler.steps_per_epoch();
            let progress = Progress::new((step - 1) % per_epoch + 1, per_epoch, None);
            self.micro_batch(session, learner, &mut window, batch, progress)?;
            if ends_step {
                let done = std::mem::replace(&mut window, Window::new());
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
            }
            if self.interrupter().should_stop() {
                // An incomplete window is dropped: the next process begins its step anew.
                self.save_if_new(session, learner)?;
                session.interrupted = session.state.step < session.last_step();
                break;
            }
        }
        bar.finish_and_clear();
        self.end_epoch(epoch);
        if session.state.best.is_none() && !session.interrupted {
            let (model, step) = (learner.model().valid(), session.state.step);
            let probe = session.save.save(&session.directory, &session.adapter_plan, &model, (step, None))?;
            session.state.best = Some(Best { step, scores: None, loss_error: None, probe });
        }
        Ok(())
    }

    fn interrupter(&self) -> &Interrupter {
        &self.components.interrupter
    }

    /// Forward and backward of the SUM of the losses; gradients are added up.
    fn micro_batch(
        &mut self,
        session: &Session,
        learner: &Learner<TrainableModel>,
        window: &mut Window,
        batch: MicroBatch,
        progress: Progress,
    ) -> Result<(), Error> {
        let (step, tokens, examples) = (batch.step, batch.batch.tokens(), batch.batch.examples.clone());
        let of_targets = batch.batch.sequences_of_targets();
        let output = learner.train_step(batch);
        let losses = host(output.item.losses.clone().inner());
        let mut broken: Vec<usize> =
            losses.iter().zip(of_targets).filter(|(loss, _)| !loss.is_finite()).map(|(_, i)| examples[i]).collect();
        broken.dedup();
        if !broken.is_empty() {
            return Err(Error::NotANumber { step, what: "the loss", places: session.places(&broken) });
        }
        window.gradients.accumulate(&learner.model(), output.grads);
        window.loss += losses.iter().map(|loss| f64::from(*loss)).sum::<f64>();
        window.divisor += session.task.divisor(&output.item.targets);
        window.tokens += tokens;
        window.examples.extend(examples);
        let item = TrainingItem::new(output.item, progress, Some(step), Some(learner.lr_current()));
        let told = self.components.event_processor.process_train(LearnerEvent::ProcessedItem(item));
        self.components.interrupter.fail_on_error(told);
        Ok(())
    }

    /// The optimiser's step and its line in `metrics.jsonl`; returns what the progress line says of it.
    fn step(
        &mut self,
        session: &mut Session,
        learner: &mut Learner<TrainableModel>,
        step: usize,
        mut window: Window,
        since: Instant,
    ) -> Result<String, Error> {
        let mut gradients = window.gradients.grads();
        let max_norm = session.config.max_grad_norm;
        let grad_norm = average_and_clip(&learner.model(), &mut gradients, window.divisor, max_norm);
        if !grad_norm.is_finite() {
            return Err(Error::NotANumber {
                step,
                what: "the gradient's norm",
                places: session.places(&window.examples),
            });
        }
        learner.lr_step();
        learner.optimizer_step(gradients);
        let (loss, learning_rate) = (window.loss / window.divisor, learner.lr_current().base());
        let step_seconds = since.elapsed().as_secs_f64();
        session.metrics.append(&Line::Step {
            step,
            epoch: step as f64 / session.sampler.steps_per_epoch() as f64,
            loss,
            learning_rate,
            grad_norm,
            step_seconds,
            examples: window.examples.len(),
            tokens: window.tokens,
        })?;
        if let Some(events) = &session.events {
            events.scalars(
                step,
                &[
                    ("train/loss", loss),
                    ("train/learning_rate", learning_rate),
                    ("train/grad_norm", grad_norm),
                    ("train/step_seconds", step_seconds),
                    ("train/tokens_per_second", window.tokens as f64 / step_seconds),
                ],
            )?;
        }
        session.state.step = step;
        if step == TRAINED_BY {
            check_trained(session, &learner.model())?;
        }
        let rate = window.tokens as f64 / step_seconds;
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
        let (mut evaluation, mut fitter) = (session.task.evaluator(), session.task.fitter());
        let epoch = step.div_ceil(session.sampler.steps_per_epoch());
        let total_items = self.valid.num_items();
        self.tell_valid(LearnerEvent::StartSplit { epoch_number: epoch, total_items });
        let valid = self.valid.clone();
        let mut batches = valid.iter();
        while let Some(batch) = batches.next() {
            let batch = batch.map_err(|error| Error::Learner(error.to_string()))?;
            let output = InferenceStep::step(&model, batch);
            let answers = output.host();
            evaluation.add(&answers);
            if let Some(fitter) = &mut fitter {
                fitter.add(&answers);
            }
            let item = TrainingItem::new(output, batches.progress(), Some(step), None);
            self.tell_valid(LearnerEvent::ProcessedItem(item));
        }
        self.tell_valid(LearnerEvent::EndSplit(epoch));
        let mut scores = evaluation.scores();
        if let Some(questions) = &session.questions {
            scores = scores.with_generated(questions.scores(&questions.answers(&model)?));
        }
        if !scores.loss().is_finite() {
            return Err(Error::NotANumber { step, what: "the validation loss", places: Vec::new() });
        }
        session.metrics.append(&Line::Eval { step, split: "valid", scores: &scores })?;
        if let Some(events) = &session.events {
            let named = scores.named();
            let tags: Vec<String> = named.iter().map(|(name, _)| format!("valid/{}", report::key(name))).collect();
            let scalars: Vec<(&str, f64)> =
                tags.iter().zip(&named).map(|(tag, (_, value))| (tag.as_str(), *value)).collect();
            events.scalars(step, &scalars)?;
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
            let kept = (step, Some(Kept { scores: &scores, fitted }));
            let probe = session.save.save(&session.directory, &session.adapter_plan, &model, kept)?;
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
        if step == 0 || session.directory.checkpoints().contains(&step) {
            return Ok(());
        }
        self.save(session, learner)
    }

    fn save(&mut self, session: &mut Session, learner: &Learner<TrainableModel>) -> Result<(), Error> {
        let step = session.state.step;
        session.save.check_base(&mut session.state)?;
        let (length, sha256) = session.metrics.sync()?;
        (session.state.metrics_length, session.state.metrics_sha256) = (length, Some(sha256));
        session.state.seconds = session.seconds();
        checkpoint::begin(&session.directory, session.adapter_plan.starts())?;
        let checkpointer = self.components.checkpointer.as_mut().expect("the learner was given checkpointers");
        checkpointer.checkpoint(learner, step, &self.components.event_store);
        checkpoint::complete(&session.directory, &mut session.state, session.config.keep_checkpoints, self.failure)
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
