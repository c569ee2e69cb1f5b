//! Answers on their way out: as JSON lines to standard output, or in a file as its name ends, with the input's columns
//! beside them. Lines go out as they come. A table's columns, and their types, are known when its last row is: until then
//! rows wait in a temporary file, however many they are.

mod beside;
mod csv;
mod kind;
mod parquet;

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Seek, Write};
use std::path::Path;

use indexmap::IndexMap;
use serde_json::{Map, Value};

use super::Failure;
use super::sink::Sink;
use crate::output::Output;

use beside::Beside;
pub(super) use beside::Columns;
use kind::Kind;

/// What the name of a file asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// An object a line.
    Lines,
    /// One array of these objects.
    Array,
    Csv,
    Tsv,
    Parquet,
}

const ENDINGS: [(&str, Format); 6] = [
    ("jsonl", Format::Lines),
    ("ndjson", Format::Lines),
    ("json", Format::Array),
    ("csv", Format::Csv),
    ("tsv", Format::Tsv),
    ("parquet", Format::Parquet),
];

impl Format {
    /// By the ending of a name. What has none, such as a device or a pipe, takes lines, as standard output does.
    pub(super) fn of(path: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = path else { return Ok(Self::Lines) };
        let Some(ending) = path.extension().map(|ending| ending.to_string_lossy().to_lowercase()) else {
            return Ok(Self::Lines);
        };
        let found = ENDINGS.iter().find(|(known, _)| *known == ending).map(|(_, format)| *format);
        found.ok_or_else(|| {
            let known: Vec<String> = ENDINGS.iter().map(|(ending, _)| format!(".{ending}")).collect();
            let message = format!("cannot write {}: unknown format `.{ending}`", path.display());
            Failure::usage(message, format!("the extension sets the format: {}", known.join(", ")))
        })
    }

    /// Whether an answer is cells of a row, and not an object.
    pub(super) fn is_table(self) -> bool {
        matches!(self, Self::Csv | Self::Tsv | Self::Parquet)
    }
}

/// Takes answers in the order of the input.
pub(super) struct Answers<'a> {
    sink: Sink,
    format: Format,
    beside: Beside<'a>,
    /// The rows of a table, until all are there.
    waiting: Option<Waiting>,
    written: usize,
    /// Unless a launcher stands between.
    for_people: bool,
}

impl<'a> Answers<'a> {
    /// `input` is what the answers are made from, `columns` those of it that stand beside them.
    pub(super) fn open(
        path: Option<&Path>,
        input: Option<&Path>,
        columns: Columns<'a>,
        output: &'a Output,
    ) -> Result<Self, Failure> {
        let format = Format::of(path)?;
        let sink = if output.is_mute() { Sink::Nowhere } else { Sink::open(path, input)? };
        let waiting = if format.is_table() && !output.is_mute() { Some(Waiting::new()?) } else { None };
        let beside = Beside::new(columns, output);
        Ok(Self { sink, format, beside, waiting, written: 0, for_people: !output.is_shared() })
    }

    /// Whether a person reads the answers, and no program.
    pub(super) fn is_terminal(&self) -> bool {
        self.for_people && self.sink.is_terminal()
    }

    pub(super) fn format(&self) -> Format {
        self.format
    }

    /// How many were written.
    pub(super) fn count(&self) -> usize {
        self.written
    }

    /// Looks for the columns that were asked for in the first row that is read, before anything is computed. `names` are
    /// those of the answers.
    pub(super) fn begin(
        &mut self,
        file: &Path,
        first: &IndexMap<String, Value>,
        names: impl IntoIterator<Item = String>,
    ) -> Result<(), Failure> {
        self.beside.begin(file, first, names)
    }

    /// An answer for people, who see standard output.
    pub(super) fn shown(&mut self, line: &str) -> io::Result<()> {
        self.written += 1;
        self.sink.line(line)
    }

    /// `answer` to the row with these fields.
    pub(super) fn push(&mut self, fields: &IndexMap<String, Value>, answer: Map<String, Value>) -> io::Result<()> {
        let mut row = self.beside.of(fields);
        match &mut self.waiting {
            Some(waiting) => waiting.push(row, answer)?,
            None => {
                row.extend(answer);
                let line = serde_json::to_string(&row)?;
                match (self.format, self.written) {
                    (Format::Array, 0) => write!(self.sink, "[\n{line}")?,
                    (Format::Array, _) => write!(self.sink, ",\n{line}")?,
                    _ => self.sink.line(&line)?,
                }
            }
        }
        self.written += 1;
        Ok(())
    }

    pub(super) fn finish(mut self) -> io::Result<()> {
        match (self.waiting.take(), self.format) {
            (Some(waiting), Format::Csv) => csv::write(waiting.finish()?, b',', &mut self.sink)?,
            (Some(waiting), Format::Tsv) => csv::write(waiting.finish()?, b'\t', &mut self.sink)?,
            (Some(waiting), _) => parquet::write(waiting.finish()?, &mut self.sink)?,
            (None, Format::Array) => self.sink.line(if self.written == 0 { "[]" } else { "\n]" })?,
            (None, _) => {}
        }
        self.sink.finish()
    }
}

/// Rows on the disk, and what is known of their columns.
struct Waiting {
    file: BufWriter<File>,
    /// The input's, then the answer's: each in the order in which they came.
    columns: [IndexMap<String, Kind>; 2],
}

impl Waiting {
    fn new() -> io::Result<Self> {
        Ok(Self { file: BufWriter::new(tempfile::tempfile()?), columns: Default::default() })
    }

    fn push(&mut self, beside: Map<String, Value>, answer: Map<String, Value>) -> io::Result<()> {
        for (columns, row) in self.columns.iter_mut().zip([&beside, &answer]) {
            for (name, value) in row {
                let of_value = Kind::of(value);
                match columns.get_mut(name) {
                    Some(kind) => *kind = kind.with(of_value),
                    None => drop(columns.insert(name.clone(), of_value)),
                }
            }
        }
        let row: Map<String, Value> = beside.into_iter().chain(answer).collect();
        serde_json::to_writer(&mut self.file, &row)?;
        self.file.write_all(b"\n")
    }

    fn finish(self) -> io::Result<Table> {
        let mut file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.rewind()?;
        let [beside, answer] = self.columns;
        Ok(Table { columns: beside.into_iter().chain(answer).collect(), rows: BufReader::new(file) })
    }
}

/// A table whose columns are known.
struct Table {
    columns: Vec<(String, Kind)>,
    rows: BufReader<File>,
}

impl Table {
    fn next(&mut self) -> io::Result<Option<Map<String, Value>>> {
        let mut line = String::new();
        match self.rows.read_line(&mut line)? {
            0 => Ok(None),
            _ => Ok(Some(serde_json::from_str(&line)?)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ending_says_how_a_file_is_written() {
        let of = |name: &str| Format::of(Some(Path::new(name))).ok();
        assert_eq!(of("a.CSV"), Some(Format::Csv));
        assert_eq!(of("runs.x/a.ndjson"), Some(Format::Lines));
        assert_eq!(of("/dev/stdout"), Some(Format::Lines));
        assert_eq!((of("a.xlsx"), of("a.csv.gz")), (None, None));
    }
}
