//! Tables as text: a header, then a row of as many cells. `dialect.rs` finds out what stands between the cells and whether
//! quotes quote, `quoted.rs` and `plain.rs` read rows in the one way and in the other; here they become records. What
//! spreadsheets leave behind is skipped: columns without a name, empty cells behind the last column and empty rows
//! at the end. Anything else that does not fit the header is an error with its line.

mod dialect;
mod plain;
mod quoted;
mod quotes;

use std::collections::HashSet;

use serde_json::Value;

use super::{Records, Source};
use crate::limits::{LONGEST_NAME, MOST_COLUMNS};
use crate::record::Record;
use crate::{Error, Place};
use dialect::{Dialect, Quoting};

/// `separator` is that of the format; a file may have another.
pub(super) fn records(source: Source, separator: u8) -> Result<Records, Error> {
    let source = source.rereadable()?;
    let dialect = Dialect::find(&source, separator)?;
    let mut reading = Reading::open(&source, &dialect)?;
    let Some(header) = reading.next() else { return Ok(Box::new(std::iter::empty())) };
    let header = Header::new(&source, header?.cells)?;
    Ok(Box::new(Rows { source, dialect, header, reading, last: None }))
}

/// A row and the line it begins in.
struct Row {
    line: usize,
    cells: Vec<String>,
    /// Some cell stands in quotes: somebody wrote it, even if it is empty.
    is_quoted: bool,
}

impl Row {
    /// Of cells that are not more than one above the limit.
    fn new(source: &Source, line: usize, cells: Vec<String>, is_quoted: bool) -> Result<Self, Error> {
        match cells.len() > MOST_COLUMNS {
            true => Err(Error::TooManyColumns { file: source.file.clone() }),
            false => Ok(Self { line, cells, is_quoted }),
        }
    }

    fn is_empty(&self) -> bool {
        !self.is_quoted && self.cells.iter().all(|cell| is_blank(cell))
    }
}

fn is_blank(cell: &str) -> bool {
    cell.trim().is_empty()
}

enum Reading {
    Quoted(quoted::Rows),
    Plain(plain::Rows),
}

impl Reading {
    fn open(source: &Source, dialect: &Dialect) -> Result<Self, Error> {
        Ok(match dialect.quoting {
            Quoting::Cells => Self::Quoted(quoted::Rows::open(source, dialect)?),
            Quoting::Nothing => Self::Plain(plain::Rows::open(source, dialect)?),
        })
    }

    fn next(&mut self) -> Option<Result<Row, Error>> {
        match self {
            Self::Quoted(rows) => rows.next(),
            Self::Plain(rows) => rows.next(),
        }
    }
}

/// The columns in their order, `None` for one without a name: nobody can ask for it.
struct Header(Vec<Option<String>>);

impl Header {
    fn new(source: &Source, cells: Vec<String>) -> Result<Self, Error> {
        let columns: Vec<Option<String>> = cells.into_iter().map(|cell| (!is_blank(&cell)).then_some(cell)).collect();
        if let Some(length) = columns.iter().flatten().map(String::len).find(|length| *length > LONGEST_NAME) {
            return Err(Error::LongColumnName { file: source.file.clone(), length });
        }
        let mut seen = HashSet::new();
        if let Some(name) = columns.iter().flatten().find(|name| !seen.insert(*name)) {
            return Err(Error::DuplicateColumn { file: source.file.clone(), column: name.clone() });
        }
        Ok(Self(columns))
    }

    fn shape(&self) -> Shape {
        let named = self.0.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
        Shape { cells: self.0.len(), named }
    }
}

/// How many cells a row may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shape {
    /// Of the header.
    cells: usize,
    /// Up to the last that has a name.
    named: usize,
}

impl Shape {
    fn of(cells: &[String]) -> Self {
        Self { cells: cells.len(), named: filled(cells) }
    }

    /// Whether a row of so many cells, of which those behind `filled` are empty, has a cell for each name and none besides.
    fn fits(self, cells: usize, filled: usize) -> bool {
        cells >= self.named && filled <= self.cells
    }
}

/// The number of cells up to the last that is not empty.
fn filled(cells: &[String]) -> usize {
    cells.iter().rposition(|cell| !is_blank(cell)).map_or(0, |last| last + 1)
}

struct Rows {
    source: Source,
    dialect: Dialect,
    header: Header,
    reading: Reading,
    /// The line of the last row that is not empty, found where an empty one comes.
    last: Option<usize>,
}

impl Iterator for Rows {
    type Item = Result<Record, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = match self.reading.next()? {
            Ok(row) => row,
            Err(error) => return Some(Err(error)),
        };
        if row.is_empty() {
            let last = match self.last {
                Some(last) => last,
                None => match self.last_filled() {
                    Ok(last) => *self.last.insert(last),
                    Err(error) => return Some(Err(error)),
                },
            };
            if row.line > last {
                return None;
            }
        }
        Some(self.record(row))
    }
}

impl Rows {
    /// Reads the file once more, since the empty rows of a spreadsheet may be many more than can be kept until another row comes.
    fn last_filled(&self) -> Result<usize, Error> {
        let (mut reading, mut last) = (Reading::open(&self.source, &self.dialect)?, 0);
        loop {
            match reading.next() {
                None => return Ok(last),
                Some(Ok(row)) if row.is_empty() => {}
                Some(Ok(row)) => last = row.line,
                // It is an error where rows are taken too.
                Some(Err(_)) => return Ok(usize::MAX),
            }
        }
    }

    fn record(&self, row: Row) -> Result<Record, Error> {
        let Row { line, cells, .. } = row;
        if !self.header.shape().fits(cells.len(), filled(&cells)) {
            return Err(Error::Ragged {
                place: Place::line(&self.source.file, line),
                expected: self.header.0.len(),
                found: cells.len(),
                help: self.dialect.help(),
            });
        }
        let named = self.header.0.iter().zip(cells);
        let fields = named.filter_map(|(column, cell)| Some((column.clone()?, Value::String(cell)))).collect();
        Ok(Record { line, fields })
    }
}

#[cfg(test)]
mod tests;
