//! `kindling init`: looks at data and model and writes a configuration to start from. What it writes has been through
//! the same checks as a run, so that it trains without a change.

mod choose;
mod dialogue;
mod draft;
mod look;
mod named;
mod page;
mod refusal;
mod settings;
mod several;
mod tagged;

use std::path::{MAIN_SEPARATOR, Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use data::{Profile, records};
use model::hub::Wanted;
use model::{Head, Pretrained};
use serde_json::{Value, json};
use tasks::{TaskName, Use};

use super::sink::Sink;
use super::{Failure, plan, quickstart};
use crate::config;
use crate::hub::locate;
use crate::output::Output;
use crate::shell::{program, typed};
use draft::Draft;
use look::Look;
use named::Named;
pub(super) use named::names_column;
use page::Page;
use settings::Settings;

/// Look at data and a model, and write a commented configuration to start from
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  kindling init reviews.csv\n  kindling init train.parquet --model google-bert/bert-base-uncased -o sst2.toml\n  kindling init reviews.csv --set data.text=review --set data.label=stars\n  kindling init chats.jsonl --model Qwen/Qwen2.5-0.5B-Instruct"
)]
pub(super) struct Arguments {
    /// Training data: .jsonl .json .csv .tsv .parquet .conll .txt, each also with .gz
    data: PathBuf,
    /// The model: a directory, or an id on the Hugging Face Hub, org/name or org/name@revision; default: asked for on a terminal, else one that reads the language of the data
    #[arg(long, value_name = "M")]
    model: Option<PathBuf>,
    /// What to train for; default: answers or texts for a model that writes, tags or entities where words or texts have them, several labels or classes where there are such, else masked-lm
    #[arg(long, value_parser = task_parser(), value_name = "T")]
    task: Option<TaskName>,
    /// File to write, - for standard output; default: the data's name with .toml, in the working directory
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace the file if there is one
    #[arg(long)]
    overwrite: bool,
    /// Name a column: data.text, data.text_pair, data.label, data.prompt, data.completion or data.messages (repeatable)
    #[arg(long, value_name = "KEY=COLUMN")]
    set: Vec<String>,
}

/// One of the tasks, by its name.
pub(super) fn task_parser() -> impl TypedValueParser<Value = TaskName> {
    PossibleValuesParser::new(TaskName::NAMES).map(|name| TaskName::named(&name).unwrap_or_default())
}

/// The task that is for this, where data and model do not ask for another one.
fn task_for(usage: Use) -> TaskName {
    TaskName::all().find(|task| task.usage == usage).unwrap_or_default()
}

/// What a configuration is made from.
pub(super) struct Request<'a> {
    pub(super) data: &'a Path,
    pub(super) model: Option<&'a Path>,
    pub(super) task: Option<TaskName>,
    /// `KEY=COLUMN`
    pub(super) columns: &'a [String],
    /// A run follows at once, and says what there is to know about the data.
    pub(super) runs: bool,
}

/// Where the configuration goes.
pub(super) struct Target {
    /// `None`: standard output.
    pub(super) file: Option<PathBuf>,
    /// Its paths are relative to this.
    directory: PathBuf,
    /// Of the run, if the file keeps its name.
    run: String,
}

/// A configuration that has been through the checks of a run.
pub(super) struct Composed {
    pub(super) text: String,
    document: Value,
}

/// The model as the configuration names it, and where it lies.
#[derive(Clone)]
struct Base {
    written: PathBuf,
    directory: PathBuf,
    /// The small one inside this binary.
    embedded: bool,
    /// It says of itself that it is a decoder with an output layer.
    writes: bool,
    /// Why it was recommended, where nobody named it.
    recommended: Option<&'static str>,
}

pub(super) fn run(arguments: &Arguments, output: &Output) -> Result<ExitCode, Failure> {
    let target = Target::new(arguments, output)?;
    let sink = Sink::open(target.file.as_deref(), Some(&arguments.data))?;
    let Arguments { data, model, task, set, .. } = arguments;
    let request = Request { data, model: model.as_deref(), task: *task, columns: set, runs: false };
    let composed = compose(&request, &target, output)?;
    write(sink, &composed.text)?;
    if output.json() {
        output.result(&serde_json::to_string(&composed.document)?)?;
    } else {
        next_steps(&target, output);
    }
    Ok(ExitCode::SUCCESS)
}

/// Looks at the data and the model, says what it takes them for, and writes the configuration down.
pub(super) fn compose(request: &Request<'_>, target: &Target, output: &Output) -> Result<Composed, Failure> {
    let profile = Profile::of(records(request.data)?)?;
    // What is misspelt is told before a model is downloaded.
    let named = Named::of(&profile, request.data, request.columns)?;
    let look = |base: &Base| Look::at(request.data, &profile, &named, request.task, base);
    let (look, base) = match request.model {
        Some(model) => {
            let base = base(model, output)?;
            let look = look(&base)?;
            look.say(output);
            (look, base)
        }
        None => {
            let data = look(&choose::embedded()?)?;
            data.say(output);
            let base = choose::choose(&data, output)?;
            // A model that was named in answer may be for something else.
            let look = look(&base)?;
            if look.task != data.task {
                look.say(output);
            }
            (look, base)
        }
    };
    let draft = Draft::new(&look, &base, output)?;
    let settings = Settings::new(&draft, &base);
    if !request.runs {
        draft.say(&look, &base, target, output);
    }
    Ok(Composed {
        text: Page::new(target, &look, &base, &draft, &settings)?.text()?,
        document: document(target, &look, &base, &draft, &settings),
    })
}

impl Target {
    fn new(arguments: &Arguments, output: &Output) -> Result<Self, Failure> {
        refuse_standard_input(&arguments.data)?;
        let file = match arguments.output.as_deref() {
            Some(file) if file == Path::new("-") => None,
            Some(file) => Some(file.to_path_buf()),
            None => Some(PathBuf::from(format!("{}.toml", stem(&arguments.data)))),
        };
        match &file {
            Some(file) if file.is_file() && !arguments.overwrite => {
                let help = "`--overwrite` replaces it, `-o FILE` writes elsewhere";
                return Err(Failure::usage(format!("{} already exists", file.display()), help));
            }
            None if output.json() => {
                let help = "name a file with -o, or leave out --json";
                return Err(Failure::usage("`-o -` and `--json` both write to standard output", help));
            }
            _ => {}
        }
        Self::at(&arguments.data, file)
    }

    /// Beside the data.
    pub(super) fn beside(data: &Path) -> Result<Self, Failure> {
        refuse_standard_input(data)?;
        Self::at(data, Some(data.with_file_name(format!("{}.toml", stem(data)))))
    }

    fn at(data: &Path, file: Option<PathBuf>) -> Result<Self, Failure> {
        let directory = file.as_deref().and_then(Path::parent).unwrap_or(Path::new(""));
        let run = file.as_deref().and_then(Path::file_stem);
        let run = run.map_or_else(|| stem(data), |stem| stem.to_string_lossy().into_owned());
        Ok(Self { directory: config::absolute(directory)?, run, file })
    }

    /// A message with the paths in it relative where `path` makes them so.
    fn shortened(&self, message: &str) -> String {
        message.replace(&format!("{}{MAIN_SEPARATOR}", self.directory.display()), "")
    }

    /// As it is written into the file: relative where it lies below, so that both can move together.
    fn path(&self, path: &Path) -> Result<String, Failure> {
        let absolute = config::absolute(path)?;
        let written = absolute.strip_prefix(&self.directory).unwrap_or(&absolute);
        written.to_str().map(str::to_owned).ok_or_else(|| {
            let help = "rename it: a configuration is UTF-8";
            Failure::usage(format!("{} cannot be written into a configuration", path.display()), help)
        })
    }
}

fn refuse_standard_input(data: &Path) -> Result<(), Failure> {
    if data != Path::new("-") {
        return Ok(());
    }
    let help = "save it, for example as train.jsonl: the configuration names the file that `kindling train` reads";
    Err(Failure::usage("the data cannot come from standard input", help))
}

/// `train` of `train.jsonl.gz`.
fn stem(data: &Path) -> String {
    let name = data.file_name().unwrap_or_default().to_string_lossy();
    name.split('.').next().unwrap_or_default().to_owned()
}

fn base(model: &Path, output: &Output) -> Result<Base, Failure> {
    let located = locate(model, Wanted::Model, output)?;
    if located.directory == quickstart::unpacked().join(quickstart::MODEL) {
        return choose::embedded();
    }
    if !located.directory.is_dir() {
        let help = "a model is a directory with config.json, model.safetensors and a tokenizer, or an id on the \
                    Hugging Face Hub: org/name or org/name@revision";
        return Err(Failure::usage(format!("there is no directory {}", located.directory.display()), help));
    }
    let writes = Pretrained::head_of(&located.directory)? == Head::CausalLm;
    let (written, directory) = (model.to_path_buf(), located.directory);
    Ok(Base { written, directory, embedded: false, writes, recommended: None })
}

fn write(mut sink: Sink, text: &str) -> Result<(), Failure> {
    sink.line(text.trim_end())?;
    Ok(sink.finish()?)
}

fn next_steps(target: &Target, output: &Output) {
    let Some(file) = target.file.as_deref() else { return };
    output.say(&format!("wrote {}; next:", output.bold(&file.display().to_string())));
    let (kindling, file) = (program(), typed(file));
    output.say(&format!("  {kindling} train {file} --dry-run"));
    output.say(&format!("  {kindling} train {file}"));
}

fn document(target: &Target, look: &Look<'_>, base: &Base, draft: &Draft, settings: &Settings) -> Value {
    let (config, plan) = (&draft.plan.config, &draft.plan);
    let mut document = json!({
        "config": target.file, "task": config.model.task, "model": base.written,
        "train": look.file, "valid": draft.valid, "valid_fraction": config.data.valid_fraction,
        "language": look.language().0.name(), "labels": plan.task.label_names(), "class_counts": plan.train.class_counts(plan.task.outputs()),
        "rows": look.profile.rows, "max_length": settings.max_length, "batch_size": settings.batch_size,
        "epochs": settings.epochs, "steps": settings.steps(), "early_stopping_patience": settings.patience,
        "findings": draft.findings().map(plan::finding).collect::<Vec<_>>(),
    });
    for (key, value) in config.data.columns.entries() {
        document[key.name] = json!(value);
    }
    document
}
