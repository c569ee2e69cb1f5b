//! `kindling predict`: the classes of texts, in the order in which they come, as they come.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use data::{Batch, Columns, Encoded, Labelled, Record, Tokenizer, Written, records, text_records};
use rayon::prelude::*;
use serde::Serialize;

use super::sink::Sink;
use super::trained::{Trained, not_finite, tokenizer};
use super::{DeviceArgument, Failure, ModelArguments};
use crate::config;
use crate::device::DeviceName;
use crate::output::{Output, counted};
use crate::prepare::check_vocabulary;
use crate::run::{largest, rows};
use crate::tasks::MicroBatch;

/// Texts read, encoded and classified together.
const CHUNK: usize = 64;

/// Classify texts
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  kindling predict --model bert --adapter runs/sst2/adapter \"a fine film\"\n  kindling predict --model bert --adapter runs/sst2/adapter --input texts.csv --output labels.jsonl"
)]
pub(super) struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    /// File of texts: .jsonl .json .csv .tsv .parquet .txt, each also with .gz, or - (JSON lines)
    #[arg(long, value_name = "F", conflicts_with = "text")]
    input: Option<PathBuf>,
    /// Write JSON lines to a file
    #[arg(long, value_name = "F")]
    output: Option<PathBuf>,
    /// Texts; without them and without --input JSON lines are read from standard input
    text: Vec<String>,
    /// Override data.text, data.text_template, data.text_pair or data.max_length (repeatable)
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    #[command(flatten)]
    pub(super) device: DeviceArgument,
}

/// A line of the result.
#[derive(Debug, Serialize)]
pub(super) struct Prediction<'a> {
    label: &'a str,
    label_id: usize,
    probabilities: Vec<f32>,
    logits: Vec<f32>,
}

impl<'a> Prediction<'a> {
    pub(super) fn new(logits: Vec<f32>, labels: &'a [String]) -> Self {
        let label_id = largest(&logits);
        let top = logits[label_id];
        let exponentials: Vec<f32> = logits.iter().map(|logit| (logit - top).exp()).collect();
        let sum: f32 = exponentials.iter().sum();
        let probabilities = exponentials.iter().map(|value| value / sum).collect();
        Self { label: &labels[label_id], label_id, probabilities, logits }
    }

    /// For people: the class, how sure, and of what.
    pub(super) fn describe(&self, text: &str) -> String {
        const SHOWN: usize = 100;
        let mut shown: String = text.chars().take(SHOWN).collect();
        if text.chars().count() > SHOWN {
            shown.push('…');
        }
        format!("{} ({:.1} %)  {shown}", self.label, 100.0 * self.probabilities[self.label_id])
    }
}

pub(super) fn run(arguments: &Arguments, output: &Output) -> Result<ExitCode, Failure> {
    let device = DeviceName::parse(&arguments.device.device)?.open()?;
    let mut sink = Sink::open(arguments.output.as_deref(), arguments.input.as_deref())?;
    let model = arguments.model.located(output)?;
    let trained = Trained::open(&model, Some(config::Task::SequenceClassification), &arguments.set, &device, output)?;
    let tokenizer = tokenizer(&model)?;
    let file = match arguments.text.is_empty() {
        true => arguments.input.clone().unwrap_or_else(|| PathBuf::from("-")),
        // For messages alone: the texts are the lines of it.
        false => PathBuf::from("the command line"),
    };
    if !arguments.text.is_empty() {
        check_words(&trained)?;
    }
    // Words on the command line are the text itself, whatever the column of files is called.
    let written = match arguments.text.is_empty() {
        true => trained.columns.written(),
        false => Written::default(),
    };
    let for_people = sink.is_terminal() && !output.json();
    let mut predictor =
        Predictor { trained: &trained, tokenizer: &tokenizer, file: &file, written, columns: None, truncated: 0 };
    let mut emit = |texts: &[String], predictions: &[Prediction<'_>]| -> Result<(), Failure> {
        for (text, prediction) in texts.iter().zip(predictions) {
            match for_people {
                true => sink.line(&prediction.describe(text))?,
                false => sink.json(prediction)?,
            }
        }
        Ok(())
    };
    if arguments.text.is_empty() {
        let mut chunk = Vec::with_capacity(CHUNK);
        for record in records(&file)? {
            chunk.push(record?);
            if chunk.len() == CHUNK {
                predictor.chunk(&std::mem::take(&mut chunk), &mut emit)?;
            }
        }
        predictor.chunk(&chunk, &mut emit)?;
    } else {
        for chunk in text_records("text", &arguments.text).chunks(CHUNK) {
            predictor.chunk(chunk, &mut emit)?;
        }
    }
    let truncated = predictor.truncated;
    sink.finish()?;
    if truncated > 0 {
        let texts = counted(truncated, "text was", "texts were");
        output.warn(&format!("{texts} truncated to {} tokens", trained.max_length));
    }
    Ok(ExitCode::SUCCESS)
}

/// Words on the command line are one text: not the columns of a template, and not a pair.
fn check_words(trained: &Trained) -> Result<(), Failure> {
    let made_of = match (&trained.columns.text_template, &trained.columns.text_pair) {
        (Some(template), _) => template.columns(),
        (None, Some(pair)) => vec![trained.columns.text.clone().unwrap_or_else(|| "text".to_string()), pair.clone()],
        (None, None) => return Ok(()),
    };
    let columns = made_of.join(", ");
    let help = "give a file with these columns with --input, or JSON lines on standard input";
    Err(Failure::usage(format!("the model reads several columns ({columns}), not one text"), help))
}

/// Writes the predictions of some texts.
type Emit<'a> = dyn FnMut(&[String], &[Prediction<'_>]) -> Result<(), Failure> + 'a;

struct Predictor<'a> {
    trained: &'a Trained,
    tokenizer: &'a Tokenizer,
    file: &'a Path,
    written: Written<'a>,
    /// Found in the first row.
    columns: Option<Columns>,
    truncated: usize,
}

impl Predictor<'_> {
    fn chunk(&mut self, records: &[Record], emit: &mut Emit<'_>) -> Result<(), Failure> {
        let Some(first) = records.first() else { return Ok(()) };
        let columns = match &self.columns {
            Some(columns) => columns,
            None => self.columns.insert(Columns::find(self.file, first, self.written, Labelled::No)?),
        };
        let mut examples = Vec::with_capacity(records.len());
        for record in records {
            examples.push(columns.example(self.file, record)?);
        }
        let max_length = self.trained.max_length;
        let encoded: Result<Vec<Encoded>, data::Error> = examples
            .par_iter()
            .map(|example| self.tokenizer.encode(&example.text, example.text_pair.as_deref(), max_length))
            .collect();
        let encoded = encoded?;
        check_vocabulary(encoded.iter(), &self.trained.pretrained)?;
        self.truncated += encoded.iter().filter(|encoded| encoded.full_length > encoded.ids.len()).count();
        let logits = rows(self.trained.model.logits(&MicroBatch::evaluation(Batch::from_encoded(&encoded))));
        if !logits.iter().flatten().all(|logit| logit.is_finite()) {
            return Err(not_finite(&self.trained.pretrained, "the logits"));
        }
        let labels = self.trained.task.label_names();
        let predictions: Vec<_> = logits.into_iter().map(|logits| Prediction::new(logits, labels)).collect();
        let texts: Vec<String> = examples.into_iter().map(|example| example.text).collect();
        emit(&texts, &predictions)
    }
}
