//! `kindling eval`: the scores of a trained model on labelled data.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use burn::train::InferenceStep;
use clap::Args;
use data::{Batch, Columns, Dataset, Example, Labelled, Labels, Written};
use indicatif::ProgressBar;
use serde_json::json;

use super::sink::Sink;
use super::trained::{Trained, tokenizer};
use super::{Common, DeviceArgument, Failure, ModelArguments};
use crate::config;
use crate::device::DeviceName;
use crate::output::{Output, thousands};
use crate::prepare::{RunPlan, check_vocabulary};
use crate::run::Evaluation;
use crate::tasks::{Classifier, MicroBatch};

const BATCH: usize = 32;

/// Rows read and encoded together.
const CHUNK: usize = 16 * BATCH;

/// Score a trained model on labelled data
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  kindling eval --model bert --adapter runs/sst2/adapter --data test.csv\n  kindling eval --run runs/sst2 --json"
)]
pub(super) struct Arguments {
    /// Directory of the model
    #[arg(long, value_name = "DIR", required_unless_present = "run", conflicts_with = "run")]
    model: Option<PathBuf>,
    /// Directory of an adapter for it, as kindling or PEFT wrote it
    #[arg(long, value_name = "DIR", requires = "model")]
    adapter: Option<PathBuf>,
    /// Labelled data: .jsonl .json .csv .tsv, each also with .gz, or - (JSON lines)
    #[arg(long, value_name = "F", required_unless_present = "run")]
    data: Option<PathBuf>,
    /// Directory of a finished run: its result on its validation data (or on --data)
    #[arg(long, value_name = "DIR")]
    run: Option<PathBuf>,
    /// Write one line for each example: loss, and with --logits the logits
    #[arg(long, value_name = "OUT.jsonl")]
    per_example: Option<PathBuf>,
    /// Add the logits to the lines of --per-example
    #[arg(long, requires = "per_example")]
    logits: bool,
    /// Override data.text, data.text_pair, data.label or data.max_length (repeatable)
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    #[command(flatten)]
    pub(super) device: DeviceArgument,
    #[command(flatten)]
    pub(super) common: Common,
}

pub(super) fn run(arguments: &Arguments, output: &Output) -> Result<ExitCode, Failure> {
    let device = DeviceName::parse(&arguments.device.device)?.open()?;
    let (model, valid) = match &arguments.run {
        Some(run) => of_run(run, arguments.data.is_none(), output)?,
        None => {
            let model = arguments.model.clone().expect("clap requires --model without --run");
            (ModelArguments { model, adapter: arguments.adapter.clone() }, None)
        }
    };
    let mut per_example = Sink::open(arguments.per_example.as_deref())?;
    let trained = Trained::open(&model, &arguments.set, &device, output)?;
    let mut write = |loss: f32, logits: &[f32]| match (&arguments.per_example, arguments.logits) {
        (None, _) => Ok(()),
        (Some(_), true) => per_example.json(&json!({ "loss": loss, "tokens": 1, "logits": logits })),
        (Some(_), false) => per_example.json(&json!({ "loss": loss, "tokens": 1 })),
    };
    let mut evaluation = Evaluation::new(trained.labels.len());
    let truncated = match (valid, &arguments.data) {
        (Some(dataset), _) => {
            let bar = output.bar(dataset.len() as u64, "evaluating {bar:30} {pos}/{len}");
            evaluate(&trained.model, &dataset, &mut evaluation, &bar, &mut write)?;
            bar.finish_and_clear();
            dataset.truncated()
        }
        (None, file) => {
            let file = file.as_deref().expect("clap requires --data without --run, and `of_run` has validation data");
            evaluate_file(file, &model, &trained, &mut evaluation, output, &mut write)?
        }
    };
    if arguments.per_example.is_some() {
        per_example.finish()?;
    }
    report(&evaluation, &trained.labels, truncated, output)?;
    Ok(ExitCode::SUCCESS)
}

/// Told the loss and the logits of every example, in order.
type Each<'a> = dyn FnMut(f32, &[f32]) -> std::io::Result<()> + 'a;

/// Runs the model over a data set and adds what it answers to `evaluation`.
pub(super) fn evaluate(
    model: &Classifier,
    dataset: &Dataset,
    evaluation: &mut Evaluation,
    bar: &ProgressBar,
    each: &mut Each<'_>,
) -> Result<(), Failure> {
    let indices: Vec<usize> = (0..dataset.len()).collect();
    for chunk in indices.chunks(BATCH) {
        let batch = Batch::new(dataset, chunk, 0);
        let targets = batch.targets.clone();
        let found = InferenceStep::step(model, MicroBatch::evaluation(batch));
        let (losses, logits) = evaluation.add(found.loss, found.output, &targets);
        for (loss, logits) in losses.iter().zip(&logits) {
            each(*loss, logits)?;
        }
        bar.inc(chunk.len() as u64);
    }
    Ok(())
}

/// The same for the rows of a file, which is never held as a whole. Returns how many texts were truncated.
fn evaluate_file(
    file: &Path,
    arguments: &ModelArguments,
    trained: &Trained,
    evaluation: &mut Evaluation,
    output: &Output,
    each: &mut Each<'_>,
) -> Result<usize, Failure> {
    let tokenizer = tokenizer(arguments)?;
    let bar = output.bar(0, "evaluating {spinner} {pos}");
    let mut columns: Option<Columns> = None;
    let mut truncated = 0;
    let mut score = |examples: &[Example]| -> Result<(), Failure> {
        let (labels, length) = (&trained.labels, trained.max_length);
        let dataset = Dataset::encode(file, examples, labels, &tokenizer, length, &|_| {})?;
        check_vocabulary(dataset.examples.iter().map(|example| &example.encoded), &trained.pretrained)?;
        truncated += dataset.truncated();
        evaluate(&trained.model, &dataset, evaluation, &bar, each)
    };
    let mut chunk: Vec<Example> = Vec::with_capacity(CHUNK);
    for record in data::records(file)? {
        let record = record?;
        let found = match &columns {
            Some(columns) => columns,
            None => {
                let names = &trained.columns;
                let (text, text_pair, label) =
                    (names.text.as_deref(), names.text_pair.as_deref(), names.label.as_deref());
                let written = Written { text, text_template: None, text_pair, label };
                columns.insert(Columns::find(file, &record, written, Labelled::Yes)?)
            }
        };
        chunk.push(found.example(file, &record)?);
        if chunk.len() == CHUNK {
            score(&chunk)?;
            chunk.clear();
        }
    }
    score(&chunk)?;
    bar.finish_and_clear();
    Ok(truncated)
}

/// The model of a run, and the validation data it was chosen by.
fn of_run(run: &Path, with_data: bool, output: &Output) -> Result<(ModelArguments, Option<Dataset>), Failure> {
    let file = run.join("config.toml");
    if !file.exists() {
        let help = "a run's directory has config.toml and adapter/ or model/; `kindling train` writes it";
        return Err(Failure::usage(format!("{} is not the directory of a run", run.display()), help));
    }
    let loaded = config::load(&file, &[], &std::env::current_dir()?)?;
    let arguments = match run.join("model").is_dir() {
        true => ModelArguments { model: run.join("model"), adapter: None },
        false => ModelArguments { model: loaded.config.model.path.clone(), adapter: Some(run.join("adapter")) },
    };
    if !with_data {
        return Ok((arguments, None));
    }
    match RunPlan::new(&loaded, Some("cpu"), output)?.valid {
        Some(valid) => Ok((arguments, Some(Arc::unwrap_or_clone(valid)))),
        None => {
            let message = format!("{} was trained without validation data", run.display());
            Err(Failure::usage(message, "name a file of labelled data with --data"))
        }
    }
}

fn report(evaluation: &Evaluation, labels: &Labels, truncated: usize, output: &Output) -> Result<(), Failure> {
    let (scores, examples) = (evaluation.scores(), evaluation.confusion().total());
    if truncated > 0 {
        output.warn(&format!("{} texts were truncated", thousands(truncated)));
    }
    if output.json() {
        let confusion: Vec<&[u64]> = evaluation.confusion().rows().collect();
        output.result(&serde_json::to_string(&json!({
            "loss": scores.loss, "examples": examples, "tokens": examples, "accuracy": scores.accuracy,
            "f1_macro": scores.f1_macro, "matthews": scores.matthews, "labels": labels.names(), "confusion": confusion,
        }))?)?;
        return Ok(());
    }
    output.result(&format!("examples   {}", thousands(examples as usize)))?;
    for (name, value) in [
        ("loss", scores.loss),
        ("accuracy", scores.accuracy),
        ("F1 macro", scores.f1_macro),
        ("Matthews", scores.matthews),
    ] {
        output.result(&format!("{name:10} {value:.4}"))?;
    }
    const SHOWN: usize = 12;
    if labels.len() <= SHOWN {
        output.result("confusion (rows: truth, columns: prediction)")?;
        let width = labels.names().iter().map(|name| name.chars().count()).max().unwrap_or(0);
        for (name, row) in labels.names().iter().zip(evaluation.confusion().rows()) {
            let cells: String = row.iter().map(|count| format!(" {count:>6}")).collect();
            output.result(&format!("  {name:width$}{cells}"))?;
        }
    }
    Ok(())
}
