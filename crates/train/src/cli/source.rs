//! What a command works on. A run is enough: it knows its adapter, and the adapter records its base. From what was typed
//! to two directories, in one place for every command that uses a trained model.

use std::path::{Path, PathBuf};

use clap::Args;
use miette::Diagnostic;
use model::hub::{HubError, Source, Wanted};

use super::Failure;
use crate::hub::locate;
use crate::output::Output;
use crate::run::{Directory, State};
use inference::{DirectoryKind, ModelFiles};

/// A run, an adapter or a model, as typed.
#[derive(Debug, Clone, Args)]
pub(super) struct ModelArguments {
    /// Directory of a run: its best adapter on the base that it records, or its model where all weights were trained
    #[arg(long, value_name = "DIR", conflicts_with = "adapter")]
    pub(super) run: Option<PathBuf>,
    /// The model: a directory, or an id on the Hugging Face Hub, org/name or org/name@revision. With a run or an adapter
    /// it is the base, and needed only where that is no longer where it was
    #[arg(long, value_name = "M")]
    pub(super) model: Option<PathBuf>,
    /// An adapter, as kindling or PEFT wrote it: its directory, that of its run, or an id on the Hub
    #[arg(long, value_name = "A")]
    pub(super) adapter: Option<PathBuf>,
}

impl ModelArguments {
    /// Directories, with what is on the Hub fetched.
    pub(super) fn located(&self, output: &Output) -> Result<ModelFiles, Failure> {
        match (&self.run, &self.adapter, &self.model) {
            (Some(run), _, model) => of_run(run, model.as_deref(), output),
            (None, Some(adapter), model) => of_adapter(adapter, model.as_deref(), output),
            (None, None, Some(model)) => Ok(ModelFiles { model: model_of(model, output)?, adapter: None }),
            (None, None, None) => Err(Failure::usage(
                "no model is named",
                "name a run with --run DIR, an adapter with --adapter A, or a model with --model M",
            )),
        }
    }
}

fn of_run(run: &Path, model: Option<&Path>, output: &Output) -> Result<ModelFiles, Failure> {
    let shown = run.display();
    match DirectoryKind::of(run) {
        // Whoever completes a path in a shell ends in `runs/x/adapter` as easily.
        DirectoryKind::Adapter => with_adapter(run.to_path_buf(), model, output),
        DirectoryKind::RunWithAdapter(adapter) => {
            say_unfinished(run, "adapter", output);
            with_adapter(adapter, model, output)
        }
        DirectoryKind::RunWithModel(_) if model.is_some() => {
            Err(Failure::usage(format!("all weights of {shown} were trained: it needs no base"), "leave out --model"))
        }
        DirectoryKind::RunWithModel(model) => {
            say_unfinished(run, "model", output);
            Ok(ModelFiles { model, adapter: None })
        }
        DirectoryKind::RunAlone => Err(nothing_yet(run)),
        DirectoryKind::Model => Err(Failure::usage(format!("{shown} is a model, not a run"), "give it with --model")),
        DirectoryKind::Else if !run.exists() => {
            Err(Failure::usage(format!("there is no directory {shown}"), neighbour(run)))
        }
        DirectoryKind::Else => Err(Failure::usage(
            format!("{shown} is not a run's directory"),
            "a run's directory has config.toml and adapter/ or model/; `kindling train` writes it",
        )),
    }
}

fn of_adapter(named: &Path, model: Option<&Path>, output: &Output) -> Result<ModelFiles, Failure> {
    with_adapter(adapter_of(named, output)?, model, output)
}

/// The directory of an adapter, which may be named by that of its run, or by an id of the Hub.
pub(super) fn adapter_of(named: &Path, output: &Output) -> Result<PathBuf, Failure> {
    let shown = named.display();
    match DirectoryKind::of(named) {
        DirectoryKind::RunWithAdapter(adapter) => {
            say_unfinished(named, "adapter", output);
            Ok(adapter)
        }
        DirectoryKind::RunWithModel(_) => Err(Failure::usage(
            format!("all weights of {shown} were trained: it has a model, and no adapter"),
            format!("use it with `--run {shown}`"),
        )),
        DirectoryKind::RunAlone => Err(nothing_yet(named)),
        // A directory that is none is for the reader of adapters to complain about.
        DirectoryKind::Adapter | DirectoryKind::Model | DirectoryKind::Else => {
            Ok(locate(named, Wanted::Adapter, output)?.directory)
        }
    }
}

pub(super) fn with_adapter(adapter: PathBuf, model: Option<&Path>, output: &Output) -> Result<ModelFiles, Failure> {
    let model = match model {
        Some(model) => model_of(model, output)?,
        None => recorded_base(&adapter, output)?,
    };
    Ok(ModelFiles { model, adapter: Some(adapter) })
}

pub(super) fn model_of(named: &Path, output: &Output) -> Result<PathBuf, Failure> {
    match DirectoryKind::of(named) {
        DirectoryKind::RunWithModel(model) => Ok(model),
        // Some repositories have the merged model beside its adapter.
        DirectoryKind::Adapter if named.join("config.json").exists() => Ok(named.to_path_buf()),
        DirectoryKind::Adapter | DirectoryKind::RunWithAdapter(_) => Err(Failure::usage(
            format!("{} is an adapter, not a model", named.display()),
            format!("use it with `--run {}`: it records its base", named.display()),
        )),
        DirectoryKind::RunAlone => Err(nothing_yet(named)),
        DirectoryKind::Model | DirectoryKind::Else => Ok(locate(named, Wanted::Model, output)?.directory),
    }
}

/// The base that an adapter was trained on, where it was then.
fn recorded_base(adapter: &Path, output: &Output) -> Result<PathBuf, Failure> {
    let shown = adapter.display();
    let recorded = inference::recorded_base(adapter)?.ok_or_else(|| {
        let message = format!("{shown} does not record its base model");
        Failure::usage(message, "give its base with --model: a directory, or an id on the Hugging Face Hub")
    })?;
    if let Some(found) = recorded.directory(adapter) {
        return Ok(found);
    }
    let named = recorded.to_string();
    let Source::Hub(id) = Source::parse(&named) else {
        let [place, other] = recorded.places(adapter);
        let looked = match place == other {
            true => recorded.path,
            false => format!("{}, nor at {}", recorded.path, other.display()),
        };
        let message = format!("the model that {shown} was trained on is no longer at {looked}");
        let help = "give its present directory with --model: its weights are compared with the recorded ones";
        return Err(Failure::usage(message, help));
    };
    let found = locate(Path::new(&named), Wanted::Model, output);
    Ok(found.map_err(|error| no_base(&format!("the base of {shown}, {id}, cannot be fetched"), error))?.directory)
}

fn no_base(message: &str, error: HubError) -> Failure {
    let otherwise = "give a directory that has it with --model";
    let help = error.help().map_or(otherwise.to_string(), |help| format!("{help}; or {otherwise}"));
    let of_input = error.is_of_input();
    let message = format!("{message}: {error}");
    if of_input { Failure::usage(message, help) } else { Failure::with_help(message, help) }
}

fn nothing_yet(run: &Path) -> Failure {
    let shown = run.display();
    Failure::usage(
        format!("{shown} has no adapter or model yet"),
        format!(
            "the first is saved at the first evaluation; `kindling train {shown}/config.toml --resume` resumes the run"
        ),
    )
}

fn say_unfinished(run: &Path, what: &str, output: &Output) {
    if !run.join("metrics.jsonl").exists() {
        return;
    }
    let shown = run.display();
    match Directory::state(run) {
        State::Finished => {}
        State::Interrupted { step } => {
            output.say(&format!("{shown} is not finished (step {step}): its best {what} so far is used"));
        }
        State::New => output.say(&format!("{shown} is not finished: its best {what} so far is used")),
    }
}

/// The directory beside it that may have been meant.
pub(super) fn neighbour(run: &Path) -> String {
    match suggest::nearest_path(run, Path::is_dir) {
        Some(near) => format!("did you mean `{}`?", near.display()),
        None => {
            "a run's directory is what `kindling train` wrote, `runs/NAME` unless `output_dir` says otherwise".into()
        }
    }
}
