//! `kindling eval`: the scores of a trained model on labelled data.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use burn::train::InferenceStep;
use clap::Args;
use data::{Batch, Dataset};
use indicatif::ProgressBar;
use serde_json::{Value, json};

use super::sink::Sink;
use super::trained::{Trained, tokenizer};
use super::{DeviceArgument, Failure, ModelArguments};
use crate::config;
use crate::device::DeviceName;
use crate::output::{Output, counted, thousands};
use crate::prepare::{RunPlan, check_dataset, check_maskable};
use crate::run::{Evaluation, evaluation_batches};
use crate::tasks::{Columns, MicroBatch, Rows, Task, Trainee};

/// Rows read and encoded together.
const CHUNK: usize = 512;

/// Score a trained model on labelled data
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  kindling eval --model bert --adapter runs/sst2/adapter --data test.csv\n  kindling eval --run runs/sst2 --json"
)]
pub(super) struct Arguments {
    /// The model: a directory, or an id on the Hugging Face Hub, org/name or org/name@revision
    #[arg(long, value_name = "M", required_unless_present = "run", conflicts_with = "run")]
    model: Option<PathBuf>,
    /// An adapter for it, as kindling or PEFT wrote it: a directory or an id on the Hub
    #[arg(long, value_name = "A", requires = "model")]
    adapter: Option<PathBuf>,
    /// Labelled data: .jsonl .json .csv .tsv .parquet .txt, each also with .gz, or - (JSON lines)
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
    /// Override data.max_length, .mask_probability, .loss_on, or a column: data.text, .text_pair, .label, .prompt,
    /// .completion, .messages, .text_template, .prompt_template, .completion_template (repeatable)
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    #[command(flatten)]
    pub(super) device: DeviceArgument,
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
    let model = model.located(output)?;
    let mut per_example = Sink::open(arguments.per_example.as_deref(), arguments.data.as_deref())?;
    let trained = Trained::open(&model, None, &arguments.set, &device, output)?;
    let mut scorer = Scorer::new(&trained.model, &trained.task);
    scorer.with_logits = arguments.logits;
    let mut write = |example: Scored| match (&arguments.per_example, example) {
        (None, _) => Ok(()),
        (Some(_), Scored { loss, targets, logits: Some(logits) }) => {
            per_example.json(&json!({ "loss": loss, "tokens": targets, "logits": logits }))
        }
        (Some(_), Scored { loss, targets, logits: None }) => {
            per_example.json(&json!({ "loss": loss, "tokens": targets }))
        }
    };
    let (examples, truncated) = match (valid, &arguments.data) {
        (Some(dataset), _) => {
            let bar = output.bar(dataset.len() as u64, "evaluating {bar:30} {pos}/{len}");
            scorer.score(&dataset, 0, &bar, &mut write)?;
            bar.finish_and_clear();
            (dataset.len(), dataset.truncated())
        }
        (None, file) => {
            let file = file.as_deref().expect("clap requires --data without --run, and `of_run` has validation data");
            score_file(file, &model, &trained, &mut scorer, output, &mut write)?
        }
    };
    if arguments.per_example.is_some() {
        per_example.finish()?;
    }
    report(&scorer.evaluation, &trained.task, examples, truncated, output)?;
    Ok(ExitCode::SUCCESS)
}

/// How a model did on an example.
pub(super) struct Scored {
    /// The mean over its targets.
    loss: f64,
    targets: usize,
    /// Of its class, or of a language model those of its last position.
    logits: Option<Vec<f32>>,
}

/// Told how every example came out, in order.
type Each<'a> = dyn FnMut(Scored) -> std::io::Result<()> + 'a;

/// Runs a model over data sets and gathers what it answers.
pub(super) struct Scorer<'a> {
    model: &'a Trainee,
    task: &'a Task,
    pub(super) evaluation: Evaluation,
    with_logits: bool,
}

impl<'a> Scorer<'a> {
    pub(super) fn new(model: &'a Trainee, task: &'a Task) -> Self {
        Self { model, task, evaluation: Evaluation::new(task), with_logits: false }
    }

    /// `first` is the number of the data set's first example in its file.
    pub(super) fn score(
        &mut self,
        dataset: &Dataset,
        first: usize,
        bar: &ProgressBar,
        each: &mut Each<'_>,
    ) -> Result<(), Failure> {
        for chunk in evaluation_batches(dataset, 0..dataset.len()) {
            let input = self.task.evaluation(Batch::new(dataset, &chunk, first + chunk[0]));
            let of = input.batch.sequences_of_targets();
            let (losses, logits) = self.evaluation.add(&InferenceStep::step(self.model, input.clone()));
            let mut logits = match self.task {
                _ if !self.with_logits => Vec::new(),
                Task::SequenceClassification(_) => logits,
                Task::MaskedLm(_) | Task::CausalLm(_) => {
                    let rows = input.batch.last_tokens();
                    let last = MicroBatch { batch: Batch { rows, ..input.batch }, ..input };
                    crate::run::rows(self.model.logits(&last))
                }
            }
            .into_iter();
            for sequence in 0..chunk.len() {
                let own: Vec<f64> =
                    losses.iter().zip(&of).filter(|(_, i)| **i == sequence).map(|(l, _)| f64::from(*l)).collect();
                let loss = own.iter().sum::<f64>() / own.len().max(1) as f64;
                each(Scored { loss, targets: own.len(), logits: logits.next() })?;
            }
            bar.inc(chunk.len() as u64);
        }
        Ok(())
    }
}

/// The rows of a file, which is never held as a whole. Returns how many there were, and how many were truncated.
fn score_file(
    file: &Path,
    arguments: &ModelArguments,
    trained: &Trained,
    scorer: &mut Scorer<'_>,
    output: &Output,
    each: &mut Each<'_>,
) -> Result<(usize, usize), Failure> {
    let tokenizer = tokenizer(arguments)?;
    let bar = output.bar(0, "evaluating {spinner} {pos}");
    let (mut done, mut truncated) = (0, 0);
    let mut score = |rows: &Rows| -> Result<(), Failure> {
        let dataset = rows.encode(file, &trained.task, &tokenizer, trained.max_length, &|_| {})?;
        check_dataset(&dataset, &trained.pretrained)?;
        if matches!(trained.task, Task::MaskedLm(_)) {
            check_maskable(&dataset, &tokenizer)?;
        }
        truncated += dataset.truncated();
        scorer.score(&dataset, done, &bar, each)?;
        done += dataset.len();
        Ok(())
    };
    let mut chunk: Option<(Columns, Rows)> = None;
    for record in data::records(file)? {
        let record = record?;
        let (columns, rows) = match &mut chunk {
            Some(chunk) => chunk,
            None => {
                let columns = Columns::find(trained.task.name(), file, &record, trained.columns.written())?;
                let rows = columns.no_rows();
                chunk.insert((columns, rows))
            }
        };
        rows.push(columns, file, &record)?;
        if rows.len() == CHUNK {
            score(rows)?;
            rows.clear();
        }
    }
    if let Some((_, rows)) = &chunk {
        score(rows)?;
    }
    bar.finish_and_clear();
    Ok((done, truncated))
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

fn report(
    evaluation: &Evaluation,
    task: &Task,
    examples: usize,
    truncated: usize,
    output: &Output,
) -> Result<(), Failure> {
    let scores = evaluation.scores();
    if truncated > 0 {
        output.warn(&format!("{} truncated", counted(truncated, "text was", "texts were")));
    }
    if output.json() {
        let mut document = json!({ "loss": scores.loss(), "examples": examples, "tokens": evaluation.targets() });
        if let (Value::Object(keys), Value::Object(scores)) = (&mut document, serde_json::to_value(scores)?) {
            keys.extend(scores);
            if let Some(confusion) = evaluation.confusion() {
                keys.insert("labels".to_string(), json!(task.label_names()));
                keys.insert("confusion".to_string(), json!(confusion.rows().collect::<Vec<_>>()));
            }
        }
        output.result(&serde_json::to_string(&document)?)?;
        return Ok(());
    }
    output.result(&format!("{:14} {}", "examples", thousands(examples)))?;
    for (name, value) in scores.named() {
        output.result(&format!("{name:14} {value:.4}"))?;
    }
    const SHOWN: usize = 12;
    if let Some(confusion) = evaluation.confusion().filter(|_| task.classes() <= SHOWN) {
        output.result("confusion (rows: truth, columns: prediction)")?;
        let width = task.label_names().iter().map(|name| name.chars().count()).max().unwrap_or(0);
        for (name, row) in task.label_names().iter().zip(confusion.rows()) {
            let cells: String = row.iter().map(|count| format!(" {count:>6}")).collect();
            output.result(&format!("  {name:width$}{cells}"))?;
        }
    }
    Ok(())
}
