//! `kindling predict`: the classes or entities of texts, in the order in which they come, as they come.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use data::{Line, Record};
use rayon::prelude::*;
use serde_json::{Map, Value};

use super::agree;
use super::input::{InputArguments, Unanswered};
use super::open::{MAX_LENGTH, check_unwritten, keys_of_input, open};
use super::table::{Answers, Columns, Format};
use super::workers::WorkerArguments;
use super::{DeviceArgument, Failure, ModelArguments};
use crate::output::{Output, counted};
use crate::terminal;
use crate::workers::Workers;
use inference::Pipeline;
use tasks::{Answer, Classes, Definition, Question, Rows, TaskName, Use};

/// Texts read, encoded and answered together.
const CHUNK: usize = 64;

/// Classify texts
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kindling predict --run runs/sst2 \"a fine film\"
  kindling predict --run runs/sst2 --input reviews.csv --output answers.csv
  kindling predict --run runs/sst2 --input reviews.csv --output sure.csv --calibrated --min-confidence 0.9
  kindling predict --run runs/sst2 --input reviews.parquet --columns id --output answers.parquet
  cat reviews.txt | kindling predict --run runs/sst2 --named
  kindling predict --model bert-base-uncased --adapter someone/sst2-lora \"a fine film\"")]
pub(super) struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    #[command(flatten)]
    input: InputArguments,
    /// File to write, as its ending says: .csv .tsv .parquet .json, or .jsonl for an object a line
    #[arg(long, value_name = "F")]
    output: Option<PathBuf>,
    /// Columns of the input to write with each prediction (generate: each text): a,b (repeatable); by default all of them in a file and none on standard
    /// output, and with '' none
    #[arg(long, value_name = "NAMES")]
    columns: Vec<String>,
    /// Write the probabilities of an answer as an object, by the names of the classes
    #[arg(long)]
    named: bool,
    /// Divide logits by the temperature that was fitted on the validation data, so that probabilities mean what they say
    #[arg(long)]
    calibrated: bool,
    /// Give no class where the most probable one has less than this probability, from 0 to 1
    #[arg(long, value_name = "P", value_parser = probability, allow_negative_numbers = true)]
    min_confidence: Option<f64>,
    /// Texts; without them and without --input they are read from standard input, one a line, or as JSON lines
    #[arg(conflicts_with_all = ["input", "input_format"])]
    text: Vec<String>,
    /// Override data.text, data.text_template, data.text_pair, data.tokens or data.max_length (repeatable)
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    #[command(flatten)]
    pub(super) device: DeviceArgument,
    #[command(flatten)]
    pub(super) workers: WorkerArguments,
}

fn probability(typed: &str) -> Result<f64, String> {
    let probability = typed.parse().ok().filter(|probability| (0.0..=1.0).contains(probability));
    probability.ok_or_else(|| "expected a number from 0 to 1".to_string())
}

/// What is made of an answer before it is written.
#[derive(Debug, Clone, Copy)]
struct Confidence {
    temperature: Option<f64>,
    least: Option<f64>,
}

impl Confidence {
    /// Errors: the model's answers are no classes with a probability each, or no temperature was fitted.
    fn of(arguments: &Arguments, pipeline: &Pipeline) -> Result<Self, Failure> {
        let task = pipeline.task.definition();
        let option = match (arguments.calibrated, arguments.min_confidence) {
            (true, _) => "--calibrated",
            (false, Some(_)) => "--min-confidence",
            (false, None) => return Ok(Self { temperature: None, least: None }),
        };
        let has_one_class = |task: &Definition| task.classes == Classes::One;
        if !has_one_class(task) {
            let tasks: Vec<&str> = TaskName::all().filter(|task| has_one_class(task)).map(|task| task.name).collect();
            let message = format!("`{option}` is for answers of one class with its probability, not for {}", task.name);
            return Err(Failure::usage(message, format!("leave it out; models for {} take it", tasks.join(", "))));
        }
        let temperature = pipeline.fitted.temperature.filter(|_| arguments.calibrated);
        if arguments.calibrated && temperature.is_none() {
            let help = "a temperature is fitted in training, on validation data (`data.valid` or `data.valid_fraction`) \
                        of which the model answers some wrongly, and more than a guess rightly; without one leave `--calibrated` out";
            return Err(Failure::usage("the model has no temperature to calibrate its probabilities with", help));
        }
        Ok(Self { temperature, least: arguments.min_confidence })
    }

    fn applied(self, answer: Answer) -> Answer {
        let answer = match self.temperature {
            Some(temperature) => answer.calibrated(temperature),
            None => answer,
        };
        match self.least {
            Some(least) => answer.abstaining_below(least),
            None => answer,
        }
    }
}

/// For people: the answer, and to what.
pub(super) fn describe(answer: &Answer, text: &str) -> String {
    const SHOWN: usize = 100;
    let mut shown: String = text.chars().take(SHOWN).collect();
    if text.chars().count() > SHOWN {
        shown.push('…');
    }
    format!("{}  {}", terminal::on_one_line(&answer.describe()), terminal::on_one_line(&shown))
}

pub(super) fn run(arguments: &Arguments, workers: &Workers, output: &Output) -> Result<ExitCode, Failure> {
    let device = agree::device(&arguments.device.device, workers)?.open()?;
    let columns = match Columns::of(&arguments.columns, arguments.output.as_deref()) {
        // Words on the command line are no column of an input; a table without them would say nothing.
        Columns::All if !arguments.text.is_empty() && !Format::of(arguments.output.as_deref())?.is_table() => {
            Columns::None
        }
        columns => columns,
    };
    let answers = Answers::open(arguments.output.as_deref(), arguments.input.input.as_deref(), columns, output)?;
    if arguments.text.is_empty() && arguments.input.is_piped() {
        super::workers::refuse_piped_input(workers)?;
    }
    let model = arguments.model.located(output)?;
    let mut keys = keys_of_input(Use::Predict);
    keys.push(MAX_LENGTH);
    let pipeline = open(&model, Some(Use::Predict), (&arguments.set, &keys), &device, output)?;
    agree::on_files(&pipeline, &model, arguments.input.input.as_deref(), workers)?;
    let is_typed = arguments.text.is_empty() && arguments.input.is_typed();
    let mut predictor = Predictor {
        for_people: answers.is_terminal() && !output.json() && arguments.columns.is_empty() && !arguments.named,
        answers,
        confidence: Confidence::of(arguments, &pipeline)?,
        pipeline: &pipeline,
        file: match arguments.text.is_empty() {
            true => arguments.input.file(),
            // For messages alone: the texts are the lines of it.
            false => PathBuf::from("the command line"),
        },
        named: arguments.named,
        columns: None,
        unanswered: Unanswered::new(&arguments.input, is_typed, output),
        truncated: 0,
        workers,
        output,
    };
    let together = CHUNK * workers.size();
    match arguments.text.is_empty() {
        true => predictor.lines(arguments.input.lines("text", output)?, if is_typed { 1 } else { together })?,
        false => {
            let texts = arguments.text.iter().enumerate();
            predictor.lines(texts.map(|(n, text)| Ok(Line::Text { line: n + 1, text: text.clone() })), together)?;
        }
    }
    let Predictor { answers, unanswered, truncated, file, .. } = predictor;
    let answered = answers.count();
    let failure = unanswered.failure(answered, &file);
    check_unwritten(&pipeline.pretrained)?;
    // No file is finished whose answers another one finds wrong.
    workers.gather("the end of the input", &())?;
    // What was there before is worth more than no answers.
    if answered > 0 {
        answers.finish()?;
    }
    if truncated > 0 {
        let texts = counted(truncated, "text was", "texts were");
        output.warn(&format!("{texts} truncated to {} tokens", pipeline.max_length));
    }
    failure?;
    Ok(ExitCode::SUCCESS)
}

struct Predictor<'a> {
    pipeline: &'a Pipeline,
    file: PathBuf,
    answers: Answers<'a>,
    confidence: Confidence,
    /// A terminal is told the class of each text in words.
    for_people: bool,
    named: bool,
    /// Found in the first row.
    columns: Option<tasks::Columns>,
    unanswered: Unanswered<'a>,
    truncated: usize,
    /// Each answers some of the texts.
    workers: &'a Workers,
    output: &'a Output,
}

impl Predictor<'_> {
    /// Answers the lines, so many at a time.
    fn lines(
        &mut self,
        lines: impl Iterator<Item = Result<Line, data::Error>>,
        together: usize,
    ) -> Result<(), Failure> {
        let mut chunk = Vec::with_capacity(together);
        for line in lines {
            let Some(line) = self.unanswered.or_note_line(line)? else { continue };
            let record = self.record(line)?;
            if let Some(row) = self.row(&record)? {
                chunk.push((record, row));
            }
            if chunk.len() == together {
                self.chunk(std::mem::take(&mut chunk))?;
            }
        }
        self.chunk(chunk)
    }

    fn record(&self, line: Line) -> Result<Record, Failure> {
        match line {
            Line::Row(record) => Ok(record),
            Line::Text { line, text } => Ok(self.pipeline.record_of_text(line, text)?),
        }
    }

    /// What is read of a row; none if it cannot be and the others are to be answered.
    fn row(&mut self, record: &Record) -> Result<Option<Rows>, Failure> {
        if self.columns.is_none() {
            let found = self.pipeline.columns_of(&self.file, record);
            let Some(found) = self.unanswered.or_note(record.line, found)? else { return Ok(None) };
            if let Some(pair) = found.names().text_pair.filter(|_| self.pipeline.reads_single_texts()) {
                let file = self.file.display();
                self.output.warn(&format!(
                    "the model was trained on single texts, and {file} has a column `{pair}`, which is read as the second text of pairs"
                ));
            }
            self.columns = Some(found);
            self.begin(record)?;
        }
        let columns = self.columns.as_ref().expect("they were found in this row or before it");
        self.unanswered.or_note(record.line, self.pipeline.row(columns, &self.file, record))
    }

    fn begin(&mut self, first: &Record) -> Result<(), Failure> {
        let names = self.pipeline.task.answer_names(self.answers.format().is_table());
        self.answers.begin(&self.file, &first.fields, names)
    }

    fn chunk(&mut self, read: Vec<(Record, Rows)>) -> Result<(), Failure> {
        let question = |(_, row): &(Record, Rows)| self.pipeline.question(&self.file, row);
        let encoded: Vec<Result<Question, data::Error>> = read.par_iter().map(question).collect();
        let (mut records, mut questions) = (Vec::new(), Vec::new());
        for ((record, _), question) in read.into_iter().zip(encoded) {
            if let Some(question) = self.unanswered.or_note(record.line, question)? {
                self.truncated += usize::from(question.is_truncated);
                records.push(record);
                questions.push(question);
            }
        }
        if self.for_people {
            for (question, answer) in questions.iter().zip(self.pipeline.answer(&questions)?) {
                self.answers.shown(&describe(&self.confidence.applied(answer), &question.text))?;
            }
            return Ok(());
        }
        let parts: Vec<&[Question]> = questions.chunks(CHUNK).collect();
        let rows = self.workers.in_turn("answers", &parts, |part| {
            let answers = self.pipeline.answer(part)?.into_iter();
            Ok::<_, Failure>(answers.map(|answer| self.row_of(answer)).collect::<Vec<_>>())
        })?;
        for (record, row) in records.iter().zip(rows.into_iter().flatten()) {
            self.answers.push(&record.fields, row)?;
        }
        Ok(())
    }

    /// An answer as it is written.
    fn row_of(&self, answer: Answer) -> Map<String, Value> {
        let answer = self.confidence.applied(answer);
        if self.answers.format().is_table() { answer.cells() } else { answer.object(self.named) }
    }
}
