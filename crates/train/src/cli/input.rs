//! What predict and generate answer: the rows of a file, or lines that people type and pipe. Also what becomes of a row that
//! cannot be answered.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use data::{Format, Line};

use super::Failure;
use crate::output::{Output, counted, thousands};

#[derive(Debug, Clone, Args)]
pub(super) struct InputArguments {
    /// File of rows: .jsonl .json .csv .tsv .parquet .conll .txt, each also with .gz, or - for standard input
    #[arg(long, value_name = "F")]
    pub(super) input: Option<PathBuf>,
    /// Format of the input, regardless of its extension. By default a line of standard input that is a JSON object is a
    /// row, and any other line is a text; blank lines are skipped
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(super) input_format: Option<InputFormat>,
    /// Process all valid rows before failing with the invalid ones
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
    /// Cells between commas, below a header
    Csv,
    /// Cells between tabs, below a header
    Tsv,
    /// Apache Parquet
    Parquet,
    /// A word and its tags a line, a blank line between sentences
    Conll,
    /// A text a line, braces or not
    #[value(alias = "txt")]
    Text,
}

impl InputArguments {
    /// The file, or `-`.
    pub(super) fn file(&self) -> PathBuf {
        self.input.clone().unwrap_or_else(|| PathBuf::from("-"))
    }

    /// Whether the rows come through standard input.
    pub(super) fn is_piped(&self) -> bool {
        self.file() == Path::new("-")
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
            InputFormat::Conll => Format::Conll,
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

/// What becomes of rows that cannot be answered.
pub(super) struct Unanswered<'a> {
    then: Then<'a>,
    count: usize,
    /// With their lines, of as many as are shown.
    messages: Vec<(usize, String)>,
}

enum Then<'a> {
    Fail,
    /// With `--keep-going`: when all others are answered.
    FailLast,
    /// A person who typed it types another.
    Warn(&'a Output),
}

/// Enough to see what is wrong; nobody corrects thousands of rows by hand.
const SHOWN: usize = 100;

impl<'a> Unanswered<'a> {
    pub(super) fn new(input: &InputArguments, is_typed: bool, output: &'a Output) -> Self {
        let then = match (is_typed, input.keep_going) {
            (true, _) => Then::Warn(output),
            (false, true) => Then::FailLast,
            (false, false) => Then::Fail,
        };
        Self { then, count: 0, messages: Vec::new() }
    }

    /// A line of the input; the error itself, unless the others are to be answered first.
    pub(super) fn or_note_line(&mut self, line: Result<Line, data::Error>) -> Result<Option<Line>, Failure> {
        let number = line.as_ref().err().and_then(data::Error::line);
        self.or_note(number.unwrap_or_default(), line)
    }

    /// What the row at this line came to.
    pub(super) fn or_note<T>(&mut self, line: usize, row: Result<T, impl Into<Failure>>) -> Result<Option<T>, Failure> {
        let failure = match row.map_err(Into::into) {
            Ok(value) => return Ok(Some(value)),
            Err(failure) if !failure.is_of_input() => return Err(failure),
            Err(failure) => failure,
        };
        match self.then {
            Then::Fail => return Err(failure),
            Then::FailLast => {
                self.count += 1;
                if self.messages.len() < SHOWN {
                    self.messages.push((line, failure.to_string()));
                }
            }
            Then::Warn(output) => output.warn(&failure.to_string()),
        }
        Ok(None)
    }

    /// The failure, after all `answered` others were; `file` is what the rows are of.
    pub(super) fn failure(mut self, answered: usize, file: &Path) -> Result<(), Failure> {
        if self.count == 0 {
            return Ok(());
        }
        // Rows are encoded some at a time, after all of these were read.
        self.messages.sort_by_key(|(line, _)| *line);
        let rows = counted(answered + self.count, "row", "rows");
        let mut message = match answered {
            0 => format!("no prediction for any of {rows}; nothing was written:"),
            _ => format!("no prediction for {} of {rows}; the others were written:", thousands(self.count)),
        };
        for (line, reason) in &self.messages {
            let place = data::Place::new(file, *line).to_string();
            // What is wrong with a file, such as a column that it lacks, may be so in one row alone.
            match reason.starts_with(&place) {
                true => message.push_str(&format!("\n  {reason}")),
                false => message.push_str(&format!("\n  {place}: {reason}")),
            }
        }
        if self.count > self.messages.len() {
            message.push_str(&format!("\n  ... and {} more", thousands(self.count - self.messages.len())));
        }
        Err(Failure::usage(message, "correct these rows, or leave them out"))
    }
}
