//! `kindling` without a command: the quickstart. A small model and a small data set lie in the binary, are unpacked into
//! the user's cache, and trained into `runs/quickstart`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use data::{Batch, Dataset};
use model::{Values, write_atomically};

use super::eval::Scorer;
use super::failure::Failure;
use super::predict::Prediction;
use super::train::execute;
use crate::adapter::Adapter;
use crate::config::{self, Best};
use crate::metrics::Scores;
use crate::output::Output;
use crate::prepare::RunPlan;
use crate::run::{Start, rows};
use crate::tasks::{MicroBatch, Trainee};

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

pub(super) fn run(output: &Output) -> Result<ExitCode, Failure> {
    let assets = unpack()?;
    let config = assets.join("configs/quickstart.toml");
    let loaded = config::load(&config, &[], &std::env::current_dir()?)?;
    let plan = RunPlan::new(&loaded, None, output)?;
    let valid =
        plan.valid.clone().ok_or_else(|| Failure::message("the quickstart has no validation data".to_string()))?;

    let before = scores(&untrained(&plan)?, &valid, &plan, output)?;
    let status = execute(&plan, Start::Overwrite, false, output)?;
    if status != ExitCode::SUCCESS || output.json() {
        return Ok(status);
    }
    let trained = trained(&plan)?;
    let after = scores(&trained, &valid, &plan, output)?;
    output.result(&format!("\n{}", output.bold("accuracy on the validation texts")))?;
    output.result(&format!("  before   {:.3}", before.merit(Best::Accuracy)))?;
    output.result(&format!("  after    {:.3}", after.merit(Best::Accuracy)))?;
    output.result(&format!("\n{}", output.bold("some of its predictions")))?;
    predictions(&trained, &valid, &plan, output)?;
    next_steps(&assets, output)
}

/// Writes the assets into `kindling/<version>` of the user's cache.
pub(super) fn unpack() -> Result<PathBuf, Failure> {
    let root = cache().join("kindling").join(env!("CARGO_PKG_VERSION"));
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

fn cache() -> PathBuf {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    variable("XDG_CACHE_HOME")
        .or_else(|| variable("LOCALAPPDATA"))
        .or_else(|| variable("HOME").map(|home| home.join(".cache")))
        .unwrap_or_else(std::env::temp_dir)
}

fn untrained(plan: &RunPlan) -> Result<Trainee, Failure> {
    let adapter_plan = plan.adapter_plan()?;
    let (model, _) =
        plan.pretrained.load(adapter_plan, plan.task.classes(), plan.frozen, Values::Read, &plan.device)?;
    Ok(Trainee::new(model))
}

fn trained(plan: &RunPlan) -> Result<Trainee, Failure> {
    let adapter = Adapter::read(&plan.output_dir.join("adapter"), Some(&plan.pretrained))?;
    let adapter_plan = lora::Plan::new(adapter.method, Some(adapter.tensors), 0)?;
    let (model, _) =
        plan.pretrained.load(adapter_plan, plan.task.classes(), plan.frozen, Values::Read, &plan.device)?;
    Ok(Trainee::new(model))
}

fn scores(model: &Trainee, valid: &Dataset, plan: &RunPlan, output: &Output) -> Result<Scores, Failure> {
    let mut scorer = Scorer::new(model, &plan.task);
    let bar = output.bar(valid.len() as u64, "evaluating {bar:30} {pos}/{len}");
    scorer.score(valid, 0, &bar, &mut |_| Ok(()))?;
    bar.finish_and_clear();
    Ok(scorer.evaluation.scores())
}

fn predictions(model: &Trainee, valid: &Dataset, plan: &RunPlan, output: &Output) -> Result<(), Failure> {
    let step = (valid.len() / SHOWN).max(1);
    let indices: Vec<usize> = (0..valid.len()).step_by(step).take(SHOWN).collect();
    let texts = plan.valid_examples();
    let logits = rows(model.logits(&MicroBatch::evaluation(Batch::new(valid, &indices, 0))));
    for (logits, index) in logits.into_iter().zip(indices) {
        let prediction = Prediction::new(logits, plan.task.label_names());
        output.result(&format!("  {}", prediction.describe(texts.get(index).map_or("", |example| &example.text))))?;
    }
    Ok(())
}

fn next_steps(assets: &Path, output: &Output) -> Result<ExitCode, Failure> {
    let model = assets.join("models/quickstart");
    output.result(&format!("\n{}", output.bold("what to type next")))?;
    output.result(&format!(
        "  kindling predict --model {} --adapter runs/quickstart/adapter \"can you order more coffee\"",
        model.display()
    ))?;
    output.result("  kindling inspect runs/quickstart")?;
    output.result(&format!(
        "  kindling train {} --set data.train=YOURS.csv --set data.valid=YOURS-TOO.csv --set output_dir=runs/yours",
        assets.join("configs/quickstart.toml").display()
    ))?;
    Ok(ExitCode::SUCCESS)
}
