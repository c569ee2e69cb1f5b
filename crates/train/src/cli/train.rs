//! `kindling train`: one fine-tuning run.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use burn::train::Interrupter;
use clap::Args;
use serde_json::json;
use tasks::TaskName;

use super::failure::{Failure, INTERRUPTED};
use super::from_data::Made;
use super::plan::Asked;
use super::workers::WorkerArguments;
use super::{agree, find_lr, finished, init, plan, signals};
use crate::config;
use crate::output::{Output, bytes, counted, duration};
use crate::prepare::RunPlan;
use crate::run::{self, Directory, Options, Outcome, Resumption, Start, Summary, Watch};
use crate::workers::Workers;

/// Fine-tune a model as a configuration says
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  kindling train questions.csv\n  kindling train sst2.toml --dry-run\n  kindling train sst2.toml --set train.learning_rate=1e-4 --set adapter.r=16\n  kindling train sst2.toml --resume"
)]
pub(super) struct Arguments {
    /// The configuration, a TOML file; or training data: what `init` would write for it is written next to it, and run
    config: PathBuf,
    /// With data: the model, a directory or an id on the Hugging Face Hub; default: as `init` chooses
    #[arg(long, value_name = "M")]
    model: Option<PathBuf>,
    /// With data: what to train for; default: as `init` chooses
    #[arg(long, value_parser = init::task_parser(), value_name = "T")]
    task: Option<TaskName>,
    /// Override a key: train.epochs=5 (repeatable)
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Where to compute; overrides train.device
    #[arg(long, value_name = "D")]
    pub(super) device: Option<String>,
    /// Go on with an interrupted run, or with a finished one by more steps: --resume --set train.epochs=5
    #[arg(long, conflicts_with = "overwrite")]
    resume: bool,
    /// Replace what an earlier run left in the output directory
    #[arg(long)]
    overwrite: bool,
    /// Check everything, print the plan, train nothing
    #[arg(long)]
    dry_run: bool,
    /// With --dry-run: take a few steps forward and backward, and estimate how long the run will take
    #[arg(long, requires = "dry_run")]
    time: bool,
    /// Try learning rates that rise from step to step, show the loss by the rate and suggest one; train nothing
    #[arg(long, conflicts_with_all = ["resume", "overwrite", "dry_run", "dashboard", "open", "watch"])]
    find_lr: bool,
    /// Show burn's dashboard instead of the progress line (needs the cargo feature `dashboard`)
    #[arg(long)]
    dashboard: bool,
    /// Show the report in the browser when the run is done
    #[arg(long, conflicts_with = "dry_run")]
    open: bool,
    /// Serve the report of the run in progress on 127.0.0.1, at a free port or at this one, until the run ends
    #[arg(long, value_name = "PORT", num_args = 0..=1, require_equals = true, default_missing_value = "0", conflicts_with = "dry_run")]
    watch: Option<u16>,
    #[command(flatten)]
    pub(super) workers: WorkerArguments,
}

pub(super) fn run(arguments: &Arguments, workers: &Workers, output: &Output) -> Result<ExitCode, Failure> {
    if arguments.dashboard && !cfg!(feature = "dashboard") {
        let help = "build it in with `cargo run -p train --features dashboard`, or leave out `--dashboard`";
        return Err(Failure::usage("this binary was built without the dashboard", help));
    }
    if arguments.dashboard && workers.are_several() {
        let help = "leave it out; `--watch` shows the report of the run in progress";
        return Err(Failure::usage("`--dashboard` shows one process, and there are several workers", help));
    }
    let made = match data::is_data(&arguments.config) {
        true => {
            let Arguments { config, model, task, set, .. } = arguments;
            Some(Made::of(config, model.as_deref(), *task, set, output)?)
        }
        false => None,
    };
    let mut loaded = match &made {
        Some(made) => made.loaded.clone(),
        None => configuration(arguments)?,
    };
    let root = loaded.config.output_dir.clone().unwrap_or_else(|| PathBuf::from("runs").join(&loaded.name));
    agree::on_configuration(&loaded, workers)?;
    // What one worker does as well as several.
    if (arguments.find_lr || arguments.dry_run) && !workers.is_first() {
        return Ok(ExitCode::SUCCESS);
    }
    if arguments.find_lr {
        find_lr::check(&loaded.config)?;
        let (plan, _) = prepare(&loaded, arguments, &Workers::one(), output)?;
        plan::say(&plan, output);
        find_lr::run(&plan, output)?;
        return Ok(ExitCode::SUCCESS);
    }
    let start = match (arguments.resume, arguments.overwrite) {
        (true, _) => Start::Resume,
        (_, true) => Start::Overwrite,
        _ => Start::New,
    };
    // A dry run is the first worker's alone.
    let alone = Workers::one();
    let workers = if arguments.dry_run { &alone } else { workers };
    if take_up(&root, start, &mut loaded, workers)? == Resumption::Finished {
        return nothing_to_do(&root, output);
    }
    let watch = arguments.watch.filter(|_| !arguments.dry_run && workers.is_first()).map(watch).transpose()?;
    let (plan, shapes) = prepare(&loaded, arguments, workers, output)?;
    agree::on_inputs(&plan, workers, output)?;
    agree::on_accumulation(&plan, workers, output)?;
    workers.of_first("the output directory", || run::check_plan(&plan, start))?;
    if arguments.dry_run {
        check_values(&plan)?;
        let Some(done) = (if start == Start::Resume { run::check_resume(&plan, output)? } else { Some(0) }) else {
            return nothing_to_do(&root, output);
        };
        if let Some(made) = &made {
            made.say(output);
        }
        plan::print(&plan, &shapes, Asked { done, time: arguments.time }, output)?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(made) = made.as_ref().filter(|_| workers.is_first()) {
        made.write(output)?;
    }
    let shown = Shown { dashboard: arguments.dashboard, watch };
    let status = execute(&plan, start, (shown, "--resume"), workers, output)?;
    if arguments.open && workers.is_first() && status == ExitCode::SUCCESS {
        finished::open_report(&plan.output_dir, output);
    }
    Ok(status)
}

/// What the first worker finds where the run is to be, and what `--resume` makes of the configuration there.
fn take_up(root: &Path, start: Start, loaded: &mut config::Loaded, workers: &Workers) -> Result<Resumption, Failure> {
    let (resumption, train, legs) = workers.of_first("the run to resume", || {
        run::check(root, start)?;
        let resumption = match start {
            Start::Resume => run::take_up(root, loaded)?,
            Start::New | Start::Overwrite => {
                run::check_sets(loaded)?;
                Resumption::Run
            }
        };
        Ok::<_, Failure>((resumption, loaded.config.train.clone(), loaded.config.legs.clone()))
    })?;
    // Each worker computes on a device of its own host.
    let device = std::mem::take(&mut loaded.config.train.device);
    (loaded.config.train, loaded.config.legs) = (config::TrainConfig { device, ..train }, legs);
    Ok(resumption)
}

fn configuration(arguments: &Arguments) -> Result<config::Loaded, Failure> {
    let given =
        [("--model", "model.path", arguments.model.is_some()), ("--task", "model.task", arguments.task.is_some())];
    if let Some((option, key, _)) = given.into_iter().find(|(.., is_given)| *is_given) {
        let help = format!("in a configuration it is `{key}`: `--set {key}=...` overrides it");
        return Err(Failure::usage(format!("`{option}` is for training data given instead of a configuration"), help));
    }
    Ok(config::load(&arguments.config, &arguments.set, &std::env::current_dir()?)?)
}

/// Before the work, so that a port that is taken costs no more than its message.
fn watch(port: u16) -> Result<Watch, Failure> {
    Watch::bind(port).map_err(|error| {
        let message = format!("`--watch={port}`: cannot listen on 127.0.0.1:{port}: {}", error.kind());
        Failure::usage(message, "name another port, or none for one that is free: `--watch`")
    })
}

/// What is shown of a run while it trains.
#[derive(Debug, Default)]
pub(super) struct Shown {
    dashboard: bool,
    watch: Option<Watch>,
}

/// The plan, and what it makes of the checkpoint by its headers: all that can be wrong is found before the output
/// directory is touched.
fn prepare(
    loaded: &config::Loaded,
    arguments: &Arguments,
    workers: &Workers,
    output: &Output,
) -> Result<(RunPlan, model::Loaded), Failure> {
    let plan = RunPlan::new(loaded, arguments.device.as_deref(), workers, output)?;
    let shapes = plan.shapes().map_err(|error| error.placed(loaded))?;
    Ok((plan, shapes))
}

/// A checkpoint with values that are no numbers is refused by a dry run too, where reading it takes no longer than a moment;
/// that of a large one is found by the first step, which reads it anyway.
fn check_values(plan: &RunPlan) -> Result<(), Failure> {
    const MOST: usize = 2_000_000_000;
    match plan.pretrained.bytes() <= MOST {
        true => plan.pretrained.not_finite()?.map_or(Ok(()), |error| Err(error.into())),
        false => Ok(()),
    }
}

/// Trains by a plan, and says what came of it; of an interrupted run that `again` goes on with it.
pub(super) fn execute(
    plan: &RunPlan,
    start: Start,
    (shown, again): (Shown, &str),
    workers: &Workers,
    output: &Output,
) -> Result<ExitCode, Failure> {
    let mut directory = None;
    workers.of_first("the output directory", || {
        directory = Some(Directory::open(&plan.output_dir)?);
        Ok::<_, run::Error>(())
    })?;
    plan::say(plan, output);
    let interrupter = Interrupter::new();
    signals::stop_instead(&interrupter);
    if let Some(watch) = &shown.watch {
        output.say(&format!("watch the run at {}", output.bold(&watch.url())));
    }
    let options = Options { dashboard: shown.dashboard, watch: shown.watch, interrupter, until: None };
    match run::run(plan, directory, start, options, workers, output)? {
        Outcome::Finished(summary) => {
            report(plan, &summary, output)?;
            Ok(ExitCode::SUCCESS)
        }
        Outcome::NothingToDo => nothing_to_do(&plan.output_dir, output),
        Outcome::Interrupted { step } => {
            let root = plan.output_dir.display();
            match step {
                0 => output.say("interrupted before the first step was done"),
                _ => output.say(&format!("interrupted after step {step}, saved in {root}: `{again}` resumes")),
            }
            Ok(ExitCode::from(INTERRUPTED))
        }
    }
}

fn nothing_to_do(root: &Path, output: &Output) -> Result<ExitCode, Failure> {
    output.say(&format!("{} is a finished run: nothing to resume", root.display()));
    if output.json() {
        output.result(&serde_json::to_string(&json!({ "output_dir": root, "state": "finished" }))?)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn report(plan: &RunPlan, summary: &Summary, output: &Output) -> Result<(), Failure> {
    let result = plan.output_dir.join(if plan.method.saves_model() { "model" } else { "adapter" });
    if output.json() {
        let best = summary.best.as_ref().map(|(step, scores)| json!({ "step": step, "scores": scores }));
        output.result(&serde_json::to_string(&json!({
            "output_dir": plan.output_dir, "result": result, "steps": summary.steps, "best": best,
            "stopped_early": summary.stopped_early, "seconds": summary.seconds,
            "peak_memory_bytes": summary.peak_memory_bytes,
        }))?)?;
        return Ok(());
    }
    if let Some((step, scores)) = &summary.best {
        output.say(&format!("best at step {step}: {scores}"));
    }
    let (seconds, memory) = (duration(summary.seconds), bytes(summary.peak_memory_bytes as usize));
    let steps = counted(summary.steps, "step", "steps");
    output.say(&format!("{steps} in {seconds}, peak memory {memory}"));
    output.say(&format!("saved and verified: {}", output.bold(&result.display().to_string())));
    finished::say(&plan.output_dir, &*plan.task, &plan.config.data.columns, output);
    Ok(())
}
