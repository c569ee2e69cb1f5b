//! A training run: from its plan to a trained adapter that was read back and compared.

mod adamw;
mod answers;
mod before;
mod beginning;
mod checkpoint;
mod directory;
mod error;
mod evaluate;
mod events;
mod executor;
#[cfg(test)]
mod faults;
mod find_lr;
#[cfg(test)]
mod interrupted;
mod legs;
mod loader;
mod measure;
mod optimizer;
mod origins;
mod record;
mod renderer;
mod replay;
mod report;
mod resume;
mod save;
mod schedule;
mod session;
mod shared;
mod strategy;
mod watch;
mod weights;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use burn::tensor::TensorData;
use burn::train::metric::LossMetric;
use burn::train::renderer::MetricsRenderer;
#[cfg(feature = "dashboard")]
use burn::train::renderer::tui::TuiMetricsRendererWrapper;
use burn::train::{Interrupter, Learner, SupervisedTraining, TrainingStrategy};
use model::Values;

pub(crate) use answers::Questions;
pub(crate) use checkpoint::Identity;
pub(crate) use directory::{Directory, State, check, recorded_config};
pub(crate) use error::Error;
pub(crate) use evaluate::evaluate;
pub(crate) use find_lr::{RangeTest, Tried, find_learning_rate};
pub(crate) use legs::{Legs, NoSteps, check_sets};
pub(crate) use loader::{EvaluationBatches, evaluation_batches};
pub(crate) use measure::{Measured, measure};
pub(crate) use origins::{binary, machine, settings_fingerprint};
pub(crate) use replay::{Recorded, Stretch, replay};
pub(crate) use resume::{Resumption, take_up};
pub(crate) use save::{difference, with_dtype};
pub(crate) use watch::Watch;

use crate::config::Files;
use crate::output::{Output, counted};
use crate::prepare::RunPlan;
use beginning::{Beginning, Checkpoint, begin};
use checkpoint::{RunState, SaveAndWait, record_files};
use executor::{Local, StepExecutor};
use loader::TrainingBatches;
use renderer::{Silent, Unrecorded};
use session::{Journal, Session};
use shared::Shared;
use strategy::ByStep;
use tasks::TrainableModel;
use tasks::metrics::{ConfusionMetric, ScoreMetric, Scores};

use crate::workers::Workers;

/// How to begin, where something lies already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    New,
    Resume,
    Overwrite,
}

/// What came of a run.
#[derive(Debug)]
pub(crate) struct Summary {
    pub(crate) steps: usize,
    pub(crate) best: Option<(usize, Scores)>,
    pub(crate) seconds: f64,
    pub(crate) peak_memory_bytes: u64,
    /// Early stopping ended it.
    pub(crate) stopped_early: bool,
    /// The standard error of the best evaluation's loss, a language model's.
    pub(crate) loss_error: Option<f64>,
}

/// How a run ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    Finished(Summary),
    /// By a signal; the number of whole steps that are in a checkpoint.
    Interrupted {
        step: usize,
    },
    /// It was finished before, and nothing that was asked for changes that.
    NothingToDo,
}

pub(crate) struct Options {
    pub(crate) dashboard: bool,
    /// Where the page of the run in progress is served.
    pub(crate) watch: Option<Watch>,
    pub(crate) interrupter: Interrupter,
    /// The last step to be done, where that is not the run's.
    pub(crate) until: Option<usize>,
}

/// Refuses what a run would refuse before it begins, and leaves everything as it is.
pub(crate) fn check_plan(plan: &RunPlan, start: Start) -> Result<(), Error> {
    if start != Start::Resume {
        refuse_own_inputs(plan)?;
    }
    directory::check_writable(&plan.output_dir)
}

/// Trains by a plan, in the directory of the first worker; the others have none.
pub(crate) fn run(
    plan: &RunPlan,
    directory: Option<Directory>,
    start: Start,
    mut options: Options,
    workers: &Workers,
    output: &Output,
) -> Result<Outcome, Error> {
    let identity = plan.identity();
    let save = save::Saver::new(plan, &identity);
    let beginning = workers.of_first("how the run begins", || {
        let directory = directory.as_ref().expect("the first worker has it");
        begin(plan, (start, &identity, &save), directory, output)
    })?;
    let resumed = match beginning {
        Beginning::NothingToDo => return Ok(Outcome::NothingToDo),
        Beginning::Anew => None,
        Beginning::After(state) => Some(*state),
    };
    let checkpoint = resumed.as_ref().map(|state| Checkpoint::of(state, directory.as_ref(), workers)).transpose()?;
    let save = if workers.is_first() { save.with_origins(plan) } else { save };

    // burn's balanced strategy, within a layer: what norms make for layers that keep their inputs is made again. Taking whole
    // layers again is `TrainableModel`'s, with `train.gradient_checkpointing`.
    let device = plan.device.clone().autodiff().gradient_checkpointing();
    let starts = match resumed.as_ref().zip(checkpoint.as_ref()) {
        Some((state, checkpoint)) => checkpoint::starts(checkpoint.path(), state)?,
        None => HashMap::new(),
    };
    if plan.method.changes_base() && starts.is_empty() {
        output.say("decomposing the weights that the adapter starts from");
    }
    // Several workers agree on where they stop, which is after a step.
    let interrupter = (!workers.are_several()).then_some(&options.interrupter);
    let (model, loaded) = match load(plan, starts, &device, interrupter) {
        Err(error) if error.is_interruption() => {
            return Ok(Outcome::Interrupted { step: resumed.map_or(0, |state| state.step) });
        }
        loaded => loaded?,
    };
    tell(&loaded, output);
    let journal = directory.map(|directory| Journal::open(plan, directory, resumed.as_ref())).transpose()?;
    let heard = if options.dashboard { output.silenced() } else { output.clone() };
    // Until this function ends.
    let watching = options.watch.take().map(|watch| watch.serve(&plan.output_dir)).transpose();
    let _watching = watching.unwrap_or_else(|error| {
        output.warn(&format!("the page of the run is not served: {error}"));
        None
    });
    let untrained = before::untrained(plan, &model, workers, &heard).map_err(|error| blame(plan, error))?;
    let first = journal.as_ref().map(|journal| report::begin(plan, &loaded.plan, &untrained, &journal.directory));
    let record = first.transpose()?;
    let state = resumed.unwrap_or_else(|| RunState::new(identity));
    let from = checkpoint.as_ref().map(|checkpoint| checkpoint.path().to_path_buf());
    let session = Session::new(plan, (state, from), save, loaded.plan, journal, (workers, heard));
    let mut session = train(session, model, (plan, options)).map_err(|error| blame(plan, error))?;

    match session.interrupted {
        true => Ok(Outcome::Interrupted { step: session.state.step }),
        false => session.finish(plan, record, &untrained.answers).map_err(|error| blame(plan, error)),
    }
}

/// Whoever has changed the base meanwhile is to blame for whatever comes of it. Where numbers are none the weights of the base are
/// looked at, which is not done before: one of them may be none.
fn blame(plan: &RunPlan, error: Error) -> Error {
    if let Err(changed) = save::base_unchanged(&plan.pretrained.files_in_use()) {
        return changed;
    }
    match &error {
        Error::NotANumber { .. } | Error::Answers(_) => match plan.pretrained.not_finite() {
            Ok(Some(of_base)) => Error::Model(of_base),
            Ok(None) | Err(_) => error,
        },
        _ => error,
    }
}

/// The step after which `--resume` would go on, with all that it would refuse and say; `None` where there is nothing to do.
/// The run stays as it is.
pub(crate) fn check_resume(plan: &RunPlan, output: &Output) -> Result<Option<usize>, Error> {
    if Directory::state(&plan.output_dir) == State::New {
        output.say("no complete checkpoint: starting at step 1");
        return Ok(Some(0));
    }
    let directory = Directory::open(&plan.output_dir)?;
    let identity = plan.identity();
    let Some(state) = resume::newest_state(plan, &identity, &directory, output)? else { return Ok(Some(0)) };
    if directory.own_state() == State::Finished && !plan.legs.go_on_after(state.step) {
        return Ok(None);
    }
    check_resumed(plan, &save::Saver::new(plan, &identity), &directory, &state)?;
    say_beginning(plan, Some(&state), &directory, output);
    Ok(Some(state.step))
}

/// What can be found wrong before the first step, and would be only after the last one.
fn check_resumed(plan: &RunPlan, save: &save::Saver, directory: &Directory, state: &RunState) -> Result<(), Error> {
    if state.step > plan.steps {
        let length = |steps: usize| counted(steps, "step", "steps");
        let (then, now) = (format!("{} done", length(state.step)), format!("{} asked for", length(plan.steps)));
        return Err(Error::Changed { what: "the length".to_string(), then, now });
    }
    directory.check_config(&plan.config.to_toml(), plan.config_file.as_deref())?;
    match &state.best {
        Some(best) => save.check(directory, &plan.pretrained, best.step),
        None => Ok(()),
    }
}

fn say_beginning(plan: &RunPlan, resumed: Option<&RunState>, directory: &Directory, output: &Output) {
    if directory.keeps_earlier_run() {
        let root = directory.root().display();
        output.say(&format!("the run in {root} is kept until the first checkpoint of this one"));
    }
    let Some(state) = resumed else { return };
    match plan.config.legs.last().filter(|leg| leg.after_step == state.step) {
        None => output.say(&format!("resuming after step {}", state.step)),
        Some(leg) => {
            let more = counted(plan.steps - state.step, "more step", "more steps");
            output.say(&format!("continuing after step {} with {}: {more}", state.step, leg.in_words()));
        }
    }
}

/// What a run reads must not lie where it writes: the place is cleared first.
fn refuse_own_inputs(plan: &RunPlan) -> Result<(), Error> {
    let Ok(root) = plan.output_dir.canonicalize() else { return Ok(()) };
    let config = &plan.config;
    let train = config.data.train.iter().map(|file| ("`data.train`", file));
    let valid = config.data.valid.iter().flat_map(Files::iter).map(|file| ("`data.valid`", file));
    let init_from = config.adapter.init_from.as_deref().map(|path| ("`adapter.init_from`", path));
    let base = ("`model.path`", plan.base.directory.as_path());
    for (key, path) in std::iter::once(base).chain(train).chain(valid).chain(init_from) {
        if path.canonicalize().is_ok_and(|path| path.starts_with(&root)) {
            return Err(Error::OwnInput { key, path: path.to_owned() });
        }
    }
    Ok(())
}

/// The model of the plan on a device, as the learner takes it; `starts` is what the run took out of the base when it began. Where
/// it is taken out now, `interrupter` ends that between two modules.
fn load(
    plan: &RunPlan,
    starts: HashMap<String, TensorData>,
    device: &burn::tensor::Device,
    interrupter: Option<&Interrupter>,
) -> Result<(TrainableModel, model::Loaded), Error> {
    let adapter_plan = plan.adapter_plan().map_err(|error| match error {
        crate::prepare::Error::Adapter(error) => Error::Adapter(error),
        crate::prepare::Error::Model(error) => Error::Model(error),
        other => Error::Learner(other.to_string()),
    })?;
    let adapter_plan = adapter_plan.with_starts(starts);
    let adapter_plan = match interrupter.cloned() {
        Some(interrupter) => adapter_plan.interrupted_by(move || interrupter.should_stop()),
        None => adapter_plan,
    };
    let (model, loaded) = plan.pretrained.load(adapter_plan, plan.task.outputs(), plan.frozen, Values::Read, device)?;
    let (checkpointing, precision) = (plan.config.train.gradient_checkpointing, plan.precision);
    Ok((TrainableModel { checkpointing, precision, ..TrainableModel::new(model, plan.task.clone()) }, loaded))
}

/// What a user should know of how the model was put together.
pub(crate) fn tell(loaded: &model::Loaded, output: &Output) {
    if !loaded.initialised.is_empty() {
        output.say(&format!("newly initialised and trained: {}", loaded.initialised.join(", ")));
    }
    if !loaded.unused.is_empty() {
        output.say(&format!("unused weights of the checkpoint: {}", loaded.unused.join(", ")));
    }
    if !loaded.plan.replacements().is_empty() {
        let own: Vec<&str> = loaded.plan.replacements().iter().map(|own| own.name.as_str()).collect();
        output.say(&format!("the adapter's own, in place of the base's: {}", own.join(", ")));
    }
    for note in loaded.notes.iter().map(String::as_str).chain(loaded.plan.notes()) {
        output.warn(note);
    }
}

/// Runs burn's learner with our strategy over the steps that are left.
fn train(session: Session, model: TrainableModel, (plan, options): (&RunPlan, Options)) -> Result<Session, Error> {
    let task = session.task.clone();
    let batches = TrainingBatches {
        task: task.clone(),
        dataset: session.train.clone(),
        sampler: session.sampler.clone(),
        seed: session.seed,
        steps: session.state.step + 1..options.until.unwrap_or(session.last_step()) + 1,
    };
    let validation = EvaluationBatches {
        task: task.clone(),
        examples: 0..session.valid.as_ref().map_or(0, |valid| valid.len()),
        dataset: session.valid.clone().unwrap_or_else(|| session.train.clone()),
    };
    let failure = checkpoint::Failure::default();
    let files = session.journal.as_ref().map(|journal| record_files(&journal.directory, &failure));
    let renderer: Box<dyn MetricsRenderer> = Box::new(Silent);
    // Without the feature the command line has refused already.
    #[cfg(feature = "dashboard")]
    let renderer = match options.dashboard {
        true => Box::new(TuiMetricsRendererWrapper::new(options.interrupter.clone(), None)),
        false => renderer,
    };
    let (epochs, schedule, root) = (session.epochs(), session.legs.schedule(), plan.output_dir.clone());
    let optimizer = optimizer::adamw(&session.config, &session.adapter_plan);
    let result = Arc::new(Mutex::new(None));
    let executor: Box<dyn StepExecutor> = match session.workers.are_several() {
        true => Box::new(Shared::new(&session.workers, batches.clone(), plan.device.clone(), session.output.clone())),
        false => Box::new(Local(batches.clone())),
    };
    let strategy = ByStep::new(session, executor, batches.steps.clone(), failure, result.clone());

    let mut training =
        SupervisedTraining::new(root, Arc::new(batches), Arc::new(validation)).metrics((LossMetric::new(),));
    for shown in task.shown() {
        let metric = ScoreMetric::new(&task, *shown);
        training = training.metric_train_numeric(metric.clone()).metric_valid_numeric(metric);
    }
    if let Some(metric) = ConfusionMetric::new(&task) {
        training = training.metrics_text((metric,));
    }
    if let Some([model_file, optimizer_file, schedule_file]) = files {
        training = training
            .with_custom_checkpointers(model_file, optimizer_file, schedule_file)
            .with_checkpointing_strategy(SaveAndWait);
    }
    let outcome = training
        .with_training_strategy(TrainingStrategy::Custom(Arc::new(strategy)))
        .with_metric_logger(Unrecorded)
        .with_application_logger(None)
        .with_interrupter(options.interrupter)
        .renderer(renderer)
        .num_epochs(epochs)
        .launch(Learner::new(model, optimizer, schedule));
    if let Some(error) = outcome.error {
        return Err(Error::Learner(error.to_string()));
    }
    let result = result.lock().unwrap_or_else(PoisonError::into_inner).take();
    result.unwrap_or_else(|| Err(Error::Learner("the learner ended without a result".to_string())))
}
