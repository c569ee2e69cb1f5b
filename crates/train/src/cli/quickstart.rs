//! `kindling` without a command: the quickstart. A small model and a small data set lie in the binary, are unpacked into
//! the user's cache, and trained into `runs/quickstart`. What was trained there before is shown, and never replaced unasked.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use data::{Batch, Dataset};
use model::{Values, write_atomically};
use serde_json::{Value, json};

use super::eval::Scorer;
use super::failure::Failure;
use super::predict::describe;
use super::train::{Shown, execute};
use crate::config;
use crate::output::Output;
use crate::prepare::RunPlan;
use crate::run::{self, Start, State};
use crate::shell::program;
use crate::workers::Workers;
use inference::Adapter;
use tasks::metrics::{ACCURACY, Scores};
use tasks::{MicroBatch, TrainableModel, host};

macro_rules! asset {
    ($path:literal) => {
        ($path, include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../", $path)).as_slice())
    };
}

const ASSETS: [(&str, &[u8]); 7] = [
    asset!("configs/quickstart.toml"),
    asset!("models/quickstart/config.json"),
    asset!("models/quickstart/model.safetensors"),
    asset!("models/quickstart/tokenizer.json"),
    asset!("models/quickstart/tokenizer_config.json"),
    asset!("datasets/quickstart/train.jsonl"),
    asset!("datasets/quickstart/valid.jsonl"),
];

/// Predictions shown at the end.
const SHOWN: usize = 6;

/// The model, in the directory that the assets are unpacked into.
pub(super) const MODEL: &str = "models/quickstart";

pub(super) fn run(overwrite: bool, output: &Output) -> Result<ExitCode, Failure> {
    let assets = unpack()?;
    let config = assets.join("configs/quickstart.toml");
    let loaded = config::load(&config, &[], &std::env::current_dir()?)?;
    let root = loaded.config.output_dir.clone().unwrap_or_default();
    let asked = if overwrite { Start::Overwrite } else { Start::Resume };
    let found = run::check(&root, asked).map_err(|error| without_options(error.into(), &root))?;
    let start = match (found, overwrite) {
        (_, true) => Start::Overwrite,
        (State::Finished, false) => return show(&root, output),
        (State::Interrupted { step }, false) => {
            output.say(&format!("resuming {} after step {step}", root.display()));
            Start::Resume
        }
        (State::New, false) => Start::New,
    };
    let plan = RunPlan::new(&loaded, None, &Workers::one(), output)?;
    let valid =
        plan.valid.clone().ok_or_else(|| Failure::message("the quickstart has no validation data".to_string()))?;

    let before = scores(&untrained(&plan)?, &valid, &plan, output)?;
    let status = execute(&plan, start, (Shown::default(), &program()), &Workers::one(), output)
        .map_err(|failure| without_options(failure, &root))?;
    if status != ExitCode::SUCCESS || output.json() {
        return Ok(status);
    }
    let trained = trained(&plan)?;
    let after = scores(&trained, &valid, &plan, output)?;
    output.result(&format!("\n{}", output.bold("accuracy on the validation texts")))?;
    output.result(&format!("  before   {:.3}", before.get(&ACCURACY).unwrap_or_default()))?;
    output.result(&format!("  after    {:.3}", after.get(&ACCURACY).unwrap_or_default()))?;
    output.result(&format!("\n{}", output.bold("some of its predictions")))?;
    predictions(&trained, &valid, &plan, output)?;
    next_steps(&root, output)
}

/// What an earlier quickstart has left.
fn show(root: &Path, output: &Output) -> Result<ExitCode, Failure> {
    let best = best_of(root);
    if output.json() {
        output.result(&serde_json::to_string(&json!({ "output_dir": root, "state": "finished", "best": best }))?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let place = output.bold(&root.display().to_string());
    output.result(&format!("{place} has a finished quickstart; `{} --overwrite` trains it again", program()))?;
    let score = |name: &str| best.as_ref().and_then(|best| best[name].as_f64());
    if let (Some(step), Some(accuracy)) = (best.as_ref().and_then(|best| best["step"].as_u64()), score("accuracy")) {
        output.result(&format!("  accuracy   {accuracy:.3} on the validation texts, at step {step}"))?;
    }
    for (name, file) in [("adapter", "adapter"), ("report", "report.html"), ("settings", "config.toml")] {
        if root.join(file).exists() {
            output.result(&format!("  {name:9}  {}", root.join(file).display()))?;
        }
    }
    next_steps(root, output)
}

/// The evaluation that the adapter is from: the most accurate one, of equals that with the smaller loss.
fn best_of(root: &Path) -> Option<Value> {
    let text = std::fs::read_to_string(root.join("metrics.jsonl")).ok()?;
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let merit = |line: &Value| (line["accuracy"].as_f64().unwrap_or(0.0), -line["loss"].as_f64().unwrap_or(f64::MAX));
    lines
        .filter(|line| line["event"] == "eval")
        .reduce(|best, line| if merit(&line) > merit(&best) { line } else { best })
}

/// The quickstart has no `--set` and no `--resume`: what is to be done about its directory is said without them.
fn without_options(failure: Failure, root: &Path) -> Failure {
    let Some(error) = &failure.error else { return failure };
    let help = error.help().map(|help| help.to_string()).unwrap_or_default();
    let kindling = program();
    let help = if help.contains("--set output_dir") {
        format!("move {} away, or run `{kindling}` in another directory", root.display())
    } else if help.contains("--resume") {
        format!(
            "make room, or make the place writable, and run `{kindling}` again: it resumes from the last checkpoint"
        )
    } else if help.contains("--overwrite") {
        format!("`{kindling} --overwrite` trains it from scratch")
    } else {
        return failure;
    };
    failure.advising(help)
}

/// Writes the assets into `kindling/<version>` of the user's cache.
pub(super) fn unpack() -> Result<PathBuf, Failure> {
    let root = unpacked();
    for (name, contents) in ASSETS {
        let path = root.join(name);
        if std::fs::read(&path).is_ok_and(|found| found == contents) {
            continue;
        }
        let directory = path.parent().unwrap_or(&root);
        let written =
            std::fs::create_dir_all(directory).and_then(|()| write_atomically(&path, |file| file.write_all(contents)));
        written.map_err(|error| {
            let message = format!("cannot unpack the quickstart into {}: {error}", root.display());
            Failure::usage(message, "name a writable directory in XDG_CACHE_HOME")
        })?;
    }
    Ok(root)
}

/// Where they are unpacked.
pub(super) fn unpacked() -> PathBuf {
    cache().join("kindling").join(env!("CARGO_PKG_VERSION"))
}

fn cache() -> PathBuf {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    variable("XDG_CACHE_HOME")
        .or_else(|| variable("LOCALAPPDATA"))
        .or_else(|| variable("HOME").map(|home| home.join(".cache")))
        .unwrap_or_else(std::env::temp_dir)
}

fn untrained(plan: &RunPlan) -> Result<TrainableModel, Failure> {
    let adapter_plan = plan.adapter_plan()?;
    let (model, _) =
        plan.pretrained.load(adapter_plan, plan.task.outputs(), plan.frozen, Values::Read, &plan.device)?;
    Ok(TrainableModel::new(model, plan.task.clone()))
}

fn trained(plan: &RunPlan) -> Result<TrainableModel, Failure> {
    let adapter = Adapter::read(&plan.output_dir.join("adapter"), Some(&plan.pretrained))?;
    let adapter_plan = lora::Plan::new(adapter.method, Some(adapter.tensors), 0)?;
    let (model, _) =
        plan.pretrained.load(adapter_plan, plan.task.outputs(), plan.frozen, Values::Read, &plan.device)?;
    Ok(TrainableModel::new(model, plan.task.clone()))
}

fn scores(model: &TrainableModel, valid: &Dataset, plan: &RunPlan, output: &Output) -> Result<Scores, Failure> {
    let mut scorer = Scorer::new(model, &*plan.task, &plan.pretrained);
    let bar = output.bar(valid.len() as u64, "evaluating {bar:30} {pos}/{len}");
    scorer.score(valid, 0, &bar, &mut |_| Ok(()))?;
    bar.finish_and_clear();
    Ok(scorer.evaluation.scores())
}

fn predictions(model: &TrainableModel, valid: &Dataset, plan: &RunPlan, output: &Output) -> Result<(), Failure> {
    let step = (valid.len() / SHOWN).max(1);
    let indices: Vec<usize> = (0..valid.len()).step_by(step).take(SHOWN).collect();
    let texts = plan.valid_examples();
    let logits = model.logits(&MicroBatch::evaluation(Batch::new(valid, &indices, 0)));
    let width = logits.dims()[1];
    for (logits, index) in host(logits).chunks(width).zip(indices) {
        if let Some(answer) = plan.task.answer(logits) {
            let text = texts.get(index).map_or("", |example| &example.text);
            output.result(&format!("  {}", describe(&answer, text)))?;
        }
    }
    Ok(())
}

fn next_steps(root: &Path, output: &Output) -> Result<ExitCode, Failure> {
    let (kindling, run) = (program(), root.display());
    output.result(&format!("\n{}", output.bold("what to type next")))?;
    output.result(&format!("  {kindling} predict --run {run} \"can you order more coffee\""))?;
    output.result(&format!("  {kindling} inspect {run}"))?;
    output.result(&format!("  {kindling} train YOURS.csv"))?;
    Ok(ExitCode::SUCCESS)
}
