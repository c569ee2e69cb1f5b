//! What predict and generate answer: the rows of a file, or lines that people type and pipe. Also what becomes of a row that
//! cannot be answered.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use data::{Format, Line};

use super::Failure;
use crate::output::{Output, counted};

#[derive(Debug, Clone, Args)]
pub(super) struct InputArguments {
    /// File of rows: .jsonl .json .csv .tsv .parquet .txt, each also with .gz, or - for standard input
    #[arg(long, value_name = "F")]
    pub(super) input: Option<PathBuf>,
    /// How the input is written, whatever its name ends in. By default a line of standard input that is a JSON object is a
    /// row, and any other line is a text; blank lines are passed over
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(super) input_format: Option<InputFormat>,
    /// Answer all rows that can be answered before failing with those that cannot
    #[arg(long)]
    pub(super) keep_going: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum InputFormat {
    /// An object a line
    #[value(alias = "ndjson")]
    Jsonl,
    /// An array of objects
    Json,
    Csv,
    Tsv,
    Parquet,
    /// A text a line, braces or not
    #[value(alias = "txt")]
    Text,
}

impl InputArguments {
    /// The file, or `-`.
    pub(super) fn file(&self) -> PathBuf {
        self.input.clone().unwrap_or_else(|| PathBuf::from("-"))
    }

    /// Whether a person types the lines, and waits for an answer to each.
    pub(super) fn is_typed(&self) -> bool {
        self.file() == Path::new("-") && io::stdin().is_terminal()
    }

    /// The rows, the first of which is read at once. Whoever sits before a terminal is told that it is
    /// their turn, and what to type.
    pub(super) fn lines(
        &self,
        what: &str,
        output: &Output,
    ) -> Result<impl Iterator<Item = Result<Line, data::Error>>, Failure> {
        let format = self.input_format.map(|format| match format {
            InputFormat::Jsonl => Format::JsonLines,
            InputFormat::Json => Format::Json,
            InputFormat::Csv => Format::Csv,
            InputFormat::Tsv => Format::Tsv,
            InputFormat::Parquet => Format::Parquet,
            InputFormat::Text => Format::Text,
        });
        if self.is_typed() {
            let end = if cfg!(windows) { "Ctrl-Z and Enter end" } else { "Ctrl-D ends" };
            output.say(&format!("type a {what} a line; {end}"));
        }
        let text_lines = format == Some(Format::Text);
        Ok(data::lines(&self.file(), format)?
            .map(move |line| line.map(|line| if text_lines { as_text(line) } else { line })))
    }
}

/// Lines that are said to be texts are texts whatever a model calls its column; a file that is named .txt has the column
/// `text`.
fn as_text(line: Line) -> Line {
    match line {
        Line::Row(record) => match record.fields.get("text").and_then(|text| text.as_str()) {
            Some(text) => Line::Text { line: record.line, text: text.to_owned() },
            None => Line::Row(record),
        },
        text => text,
    }
}

/// The rows that could not be answered.
pub(super) struct Unanswered {
    keep_going: bool,
    messages: Vec<String>,
}

impl Unanswered {
    pub(super) fn new(keep_going: bool) -> Self {
        Self { keep_going, messages: Vec::new() }
    }

    /// What a row came to; the error itself, unless the others are to be answered first.
    pub(super) fn or_note<T>(&mut self, result: Result<T, impl Into<Failure>>) -> Result<Option<T>, Failure> {
        match result.map_err(Into::into) {
            Ok(value) => Ok(Some(value)),
            Err(failure) if !self.keep_going || !failure.is_of_input() => Err(failure),
            Err(failure) => {
                self.messages.push(failure.to_string());
                Ok(None)
            }
        }
    }

    /// After all others were written; `answered` is how many that were.
    pub(super) fn finish(self, answered: usize) -> Result<(), Failure> {
        /// Enough to see what is wrong; nobody corrects thousands of rows by hand.
        const SHOWN: usize = 100;
        if self.messages.is_empty() {
            return Ok(());
        }
        let failed = self.messages.len();
        let rows = counted(answered + failed, "row", "rows");
        let mut message = format!("{failed} of {rows} could not be answered; the others are written:");
        for line in self.messages.iter().take(SHOWN) {
            message.push_str(&format!("\n  {line}"));
        }
        if failed > SHOWN {
            message.push_str(&format!("\n  ... and {} more", failed - SHOWN));
        }
        Err(Failure::usage(message, "correct these rows, or leave them out"))
    }
}
