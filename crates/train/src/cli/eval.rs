//! `kindling eval`: the scores of a trained model on labelled data.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use data::language::Purpose;
use data::{Batch, Dataset};
use indexmap::IndexMap;
use indicatif::ProgressBar;
use model::Pretrained;
use serde_json::{Map, Value, json};

use super::agree;
use super::open::{all_keys, check_unwritten, open};
use super::table::{Answers, Columns as Beside};
use super::workers::WorkerArguments;
use super::{DeviceArgument, Failure, ModelArguments, scores};
use crate::config::{self, Config};
use crate::output::Output;
use crate::prepare::validation_data;
use crate::run::{evaluate, evaluation_batches};
use crate::workers::Workers;
use inference::{Pipeline, not_finite};
use tasks::metrics::Scores;
use tasks::{
    Columns, Encoding, Evaluator, HostOutput, MicroBatch, Rows, Task, TrainableModel, check_dataset, host, number,
};

/// Rows read and encoded together.
const CHUNK: usize = 512;

/// Score a trained model on labelled data
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kindling eval --run runs/sst2
  kindling eval --run runs/sst2 --data test.csv --per-example mistakes.csv
  kindling eval --model bert-base-uncased --adapter someone/sst2-lora --data test.csv --json")]
pub(super) struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    /// Labelled data: .jsonl .json .csv .tsv .parquet .txt, each also with .gz, or - (JSON lines); by default the
    /// validation data of the run
    #[arg(long, value_name = "F")]
    data: Option<PathBuf>,
    /// Write a row for each example, as the ending says: .csv .tsv .parquet .json, or .jsonl for an object a line. It has
    /// the line, the text, the label that was expected and the one that was predicted, the loss and the targets
    #[arg(long, value_name = "OUT")]
    per_example: Option<PathBuf>,
    /// Add the logits to the rows of --per-example
    #[arg(long, requires = "per_example")]
    logits: bool,
    /// Override data.max_length, .mask_probability, .loss_on, or a column: data.text, .text_pair, .label, .prompt,
    /// .completion, .messages, .text_template, .prompt_template, .completion_template (repeatable)
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    #[command(flatten)]
    pub(super) device: DeviceArgument,
    #[command(flatten)]
    pub(super) workers: WorkerArguments,
}

pub(super) fn run(arguments: &Arguments, workers: &Workers, output: &Output) -> Result<ExitCode, Failure> {
    let device = agree::device(&arguments.device.device, workers)?.open()?;
    let run = arguments.model.run.as_ref().or(arguments.model.adapter.as_ref());
    if arguments.data.is_none() && run.is_none() {
        let help = "give a file of labelled data with --data; a run, named with --run, has validation data of its own";
        return Err(Failure::usage("there is nothing to score the model on", help));
    }
    if arguments.data.as_deref() == Some(Path::new("-")) {
        super::workers::refuse_piped_input(workers)?;
    }
    let model = arguments.model.located(output)?;
    let own = match (&arguments.data, run) {
        (None, Some(run)) => Some(RunConfig::load(run, &model.model, &arguments.set)?),
        _ => None,
    };
    let own_files = own.iter().flat_map(|own| own.config.data.valid.as_ref().unwrap_or(&own.config.data.train).iter());
    let inputs: Vec<&Path> = arguments.data.as_deref().into_iter().chain(own_files).collect();
    let per_example = arguments.per_example.as_deref();
    let answers = Answers::open(per_example, inputs.first().copied(), Beside::None, output)?;
    let pipeline = open(&model, None, (&arguments.set, &all_keys()), &device, output)?;
    agree::on_files(&pipeline, &model, inputs, workers)?;
    let mut scorer = Scorer::new(&pipeline.model, &*pipeline.task, &pipeline.pretrained);
    scorer.with_logits = arguments.logits;
    scorer.workers = workers.clone();
    let mut listed = Listed { answers, task: &*pipeline.task, texts: Vec::new(), is_wanted: per_example.is_some() };
    let (examples, truncated) = match (own, &arguments.data) {
        (Some(own), _) => {
            let (dataset, texts) = own.validation_data(&pipeline, listed.is_wanted, output)?;
            listed.texts = texts;
            let bar = output.bar(dataset.len() as u64, "evaluating {bar:30} {pos}/{len}");
            scorer.score(&dataset, 0, &bar, &mut |example| listed.push(example))?;
            bar.finish_and_clear();
            (dataset.len(), dataset.truncated())
        }
        (None, file) => {
            let file = file.as_deref().expect("without a run there is a file");
            score_file(file, &pipeline, &mut scorer, output, Some(&mut listed))?
        }
    };
    check_unwritten(&pipeline.pretrained)?;
    // Nothing is written or said of what another one finds wrong.
    workers.gather("the end of the data", &())?;
    if per_example.is_some() {
        listed.answers.finish()?;
    }
    scores::print(&*scorer.evaluation, &*pipeline.task, examples, truncated, output)?;
    Ok(ExitCode::SUCCESS)
}

/// The scores of a model on a file, for a command that shows them beside others, with how many examples there are and how many texts of
/// them were truncated.
pub(super) fn scores_on(file: &Path, pipeline: &Pipeline, output: &Output) -> Result<(Scores, usize, usize), Failure> {
    let mut scorer = Scorer::new(&pipeline.model, &*pipeline.task, &pipeline.pretrained);
    let (examples, truncated) = score_file(file, pipeline, &mut scorer, output, None)?;
    check_unwritten(&pipeline.pretrained)?;
    Ok((scorer.evaluation.scores(), examples, truncated))
}

/// Every example with what came of it, where that is wanted.
struct Listed<'a> {
    answers: Answers<'a>,
    task: &'a dyn Task,
    /// Of each row of the data set that is being scored.
    texts: Vec<Shown>,
    is_wanted: bool,
}

/// The text of a row.
struct Shown {
    text: String,
    text_pair: Option<String>,
}

impl Shown {
    fn of(row: data::Example) -> Self {
        Self { text: row.text, text_pair: row.text_pair }
    }
}

impl Listed<'_> {
    fn texts_of(&mut self, rows: &Rows) {
        if self.is_wanted {
            self.texts = rows.texts().into_owned().into_iter().map(Shown::of).collect();
        }
    }

    fn push(&mut self, example: Scored) -> std::io::Result<()> {
        if !self.is_wanted {
            return Ok(());
        }
        let labels = self.task.label_names();
        let text = self.texts.get(example.row);
        let keys = [
            ("line", Some(json!(example.line))),
            ("text", text.map(|shown| json!(shown.text))),
            ("text_pair", text.and_then(|shown| shown.text_pair.as_ref()).map(|pair| json!(pair))),
        ];
        let mut row: Map<String, Value> =
            keys.into_iter().filter_map(|(key, value)| Some((key.to_string(), value?))).collect();
        row.extend(example.compared);
        row.insert("loss".to_string(), number(example.loss as f32));
        row.insert("tokens".to_string(), json!(example.targets));
        if let Some(logits) = &example.logits {
            let numbers = |logits: &[f32]| logits.iter().map(|logit| number(*logit)).collect::<Vec<_>>();
            match (logits, self.answers.format().is_table() && !labels.is_empty()) {
                (Logits::OfExample(logits), true) => {
                    row.extend(labels.iter().map(|label| format!("logit_{label}")).zip(numbers(logits)));
                }
                (Logits::OfExample(logits), false) => drop(row.insert("logits".to_string(), numbers(logits).into())),
                (Logits::OfTokens(logits, width), _) => {
                    let of_each: Value = logits.chunks(*width).map(numbers).collect();
                    row.insert("logits".to_string(), of_each);
                }
            }
        }
        self.answers.push(&IndexMap::new(), row)
    }
}

/// How a model did on an example.
pub(super) struct Scored {
    /// The number of its row in the data set.
    row: usize,
    line: usize,
    /// What the data says, and what the model says.
    compared: Map<String, Value>,
    /// The mean over its targets.
    loss: f64,
    targets: usize,
    logits: Option<Logits>,
}

enum Logits {
    /// Of the example as a whole, or of a language model those of its last position.
    OfExample(Vec<f32>),
    /// Of each token with a target so many.
    OfTokens(Vec<f32>, usize),
}

/// Told how every example came out, in order.
type Each<'a> = dyn FnMut(Scored) -> std::io::Result<()> + 'a;

/// Runs a model over data sets and gathers what it answers.
pub(super) struct Scorer<'a> {
    model: &'a TrainableModel,
    task: &'a dyn Task,
    pretrained: &'a Pretrained,
    pub(super) evaluation: Box<dyn Evaluator>,
    with_logits: bool,
    /// Each computes some of the batches.
    workers: Workers,
}

impl<'a> Scorer<'a> {
    pub(super) fn new(model: &'a TrainableModel, task: &'a dyn Task, pretrained: &'a Pretrained) -> Self {
        Self { model, task, pretrained, evaluation: task.evaluator(), with_logits: false, workers: Workers::one() }
    }

    /// `first` is the number of the data set's first example in its file.
    pub(super) fn score(
        &mut self,
        dataset: &Dataset,
        first: usize,
        bar: &ProgressBar,
        each: &mut Each<'_>,
    ) -> Result<(), Failure> {
        let rows = dataset.rows();
        let vocabulary = self.task.definition().vocabulary;
        for some in evaluation_batches(dataset, 0..dataset.len()).chunks(self.workers.size()) {
            let input = |chunk: &Vec<usize>| self.task.evaluation(Batch::new(dataset, chunk, first + chunk[0]));
            let inputs: Vec<MicroBatch> = some.iter().map(input).collect();
            let outputs = evaluate(&self.workers, self.model, inputs.clone())?.outputs;
            let last = match self.with_logits && vocabulary {
                true => self.workers.in_turn("logits", &inputs, |input| Ok::<_, Failure>(self.last(input)))?,
                false => vec![Vec::new(); some.len()],
            };
            for (((chunk, input), output), last) in some.iter().zip(inputs).zip(outputs).zip(last) {
                self.answered((dataset, &rows), (chunk, &input), (&output, &last), each)?;
                bar.inc(chunk.len() as u64);
            }
        }
        Ok(())
    }

    /// Bits of a language model's logits at the last position of each sequence: JSON, in which workers tell them, has no number
    /// that is none.
    fn last(&self, input: &MicroBatch) -> Vec<u32> {
        let rows = input.batch.last_tokens();
        let last = MicroBatch { batch: Batch { rows, ..input.batch.clone() }, ..input.clone() };
        host(self.model.logits(&last)).into_iter().map(f32::to_bits).collect()
    }

    /// What came of a batch.
    fn answered(
        &mut self,
        (dataset, rows): (&Dataset, &[usize]),
        (chunk, input): (&[usize], &MicroBatch),
        (output, last): (&HostOutput, &[u32]),
        each: &mut Each<'_>,
    ) -> Result<(), Failure> {
        self.evaluation.add(output);
        if !output.losses.iter().chain(&output.outputs).all(|number| number.is_finite()) {
            return Err(not_finite(self.pretrained, "the losses").into());
        }
        let vocabulary = self.task.definition().vocabulary;
        let last: Vec<f32> = last.iter().copied().map(f32::from_bits).collect();
        for (sequence, index) in chunk.iter().enumerate() {
            let own = output.of_sequence(sequence);
            let losses = &output.losses[own.clone()];
            let loss = losses.iter().map(|loss| f64::from(*loss)).sum::<f64>() / losses.len().max(1) as f64;
            let logits = match vocabulary {
                true => &last[sequence * last.len() / chunk.len()..(sequence + 1) * last.len() / chunk.len()],
                false => &output.outputs[own.start * output.width..own.end * output.width],
            };
            let logits = self.with_logits.then(|| match vocabulary || input.batch.rows.is_empty() {
                true => Logits::OfExample(logits.to_vec()),
                false => Logits::OfTokens(logits.to_vec(), output.width),
            });
            each(Scored {
                row: rows[*index],
                line: dataset.get(*index).line(),
                compared: self.task.compared(output, sequence),
                loss,
                targets: losses.len(),
                logits,
            })?;
        }
        Ok(())
    }
}

/// The rows of a file, which is never held as a whole. Returns how many there were, and how many were truncated.
fn score_file(
    file: &Path,
    pipeline: &Pipeline,
    scorer: &mut Scorer<'_>,
    output: &Output,
    mut listed: Option<&mut Listed<'_>>,
) -> Result<(usize, usize), Failure> {
    let bar = output.bar(0, "evaluating {spinner} {pos}");
    let (mut done, mut truncated) = (0, 0);
    let mut score = |rows: &Rows| -> Result<(), Failure> {
        let encoding = Encoding::new(&pipeline.tokenizer, pipeline.max_length);
        let mut dataset = Dataset::default();
        pipeline.task.encode(file, rows, &encoding, &mut dataset)?;
        check_dataset(&dataset, &pipeline.pretrained)?;
        pipeline.task.check(&dataset, &pipeline.tokenizer)?;
        truncated += dataset.truncated();
        if let Some(listed) = &mut listed {
            listed.texts_of(rows);
        }
        scorer.score(&dataset, done, &bar, &mut |example| {
            listed.as_mut().map_or(Ok(()), |listed| listed.push(example))
        })?;
        done += dataset.len();
        Ok(())
    };
    let mut chunk: Option<(Columns, Rows)> = None;
    for record in data::records(file)? {
        let record = record?;
        let (columns, rows) = match &mut chunk {
            Some(chunk) => chunk,
            None => {
                let columns =
                    (pipeline.task.definition().columns)(file, &record, &pipeline.columns, Purpose::Training)?;
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

/// The configuration of a run, which says what its validation data is.
struct RunConfig {
    config: Config,
}

impl RunConfig {
    fn load(run: &Path, model: &Path, sets: &[String]) -> Result<Self, Failure> {
        // Of an adapter's directory the run is around it.
        let root = if run.join("config.toml").exists() { run } else { run.parent().unwrap_or(run) };
        let file = root.join("config.toml");
        if !file.exists() {
            let message = format!("{} has no config.toml that says what its validation data is", run.display());
            return Err(Failure::usage(message, "name a file of labelled data with --data"));
        }
        // The base may be elsewhere by now.
        let base = format!("model.path={}", serde_json::to_string(&std::path::absolute(model)?)?);
        let sets: Vec<String> = sets.iter().cloned().chain([base]).collect();
        let config = config::load(&file, &sets, &std::env::current_dir()?)?.config;
        if config.data.valid.is_none() && config.data.valid_fraction == 0.0 {
            let message = format!("{} was trained without validation data", root.display());
            return Err(Failure::usage(message, "name a file of labelled data with --data"));
        }
        Ok(Self { config })
    }

    /// The data that the run's best model was chosen by, and the texts of its rows where they are `listed`.
    fn validation_data(
        &self,
        pipeline: &Pipeline,
        listed: bool,
        output: &Output,
    ) -> Result<(Dataset, Vec<Shown>), Failure> {
        let (dataset, again) = validation_data(&self.config, pipeline, output)?;
        let texts = if listed { again.rows(&dataset, &pipeline.tokenizer).texts().into_owned() } else { Vec::new() };
        Ok((dataset, texts.into_iter().map(Shown::of).collect()))
    }
}
