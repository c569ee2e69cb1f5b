//! What stands between the cells of a table, and whether quotes quote. The ending says which separator is usual; where the
//! header has no such separator, or the rows do not fit, another one is looked for, as spreadsheets write semicolons where
//! the comma divides decimals.

use std::io::{BufRead, Read};

use ::csv::ReaderBuilder;

use super::{Shape, filled, quotes};
use crate::formats::Source;
use crate::{Error, Place};

/// Looked at to find the separator.
const SAMPLE: u64 = 256 << 10;

/// Separators that files have, the likelier first.
const SEPARATORS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// How a table is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dialect {
    pub(super) separator: u8,
    pub(super) quoting: Quoting,
    /// What ends a line: a line feed, with or without a carriage return before it, or a carriage return alone.
    pub(super) line_end: u8,
    /// Lines before the header: the one that names the separator.
    pub(super) lines_before: usize,
    /// Whether the separator is that of the file's format.
    is_usual: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quoting {
    /// A cell that begins with a double quote ends with one, and may hold separators and line breaks, as RFC 4180 has it.
    Cells,
    /// A double quote is a character as any other.
    Nothing,
}

impl Dialect {
    pub(super) fn find(source: &Source, usual: u8) -> Result<Self, Error> {
        let sample = Sample::read(source)?;
        let line_end = if sample.text.contains(&b'\n') || !sample.text.contains(&b'\r') { b'\n' } else { b'\r' };
        let (written, rest) = sample.named_separator(source, line_end)?;
        let separator = match written {
            Some(separator) => separator,
            None => separator(rest, usual, line_end),
        };
        let mut dialect = Self {
            separator,
            quoting: Quoting::Cells,
            line_end,
            lines_before: usize::from(written.is_some()),
            is_usual: separator == usual,
        };
        // Who writes commas or semicolons has to quote them; tabs and bars are chosen because texts do not hold them.
        if !matches!(separator, b',' | b';') {
            dialect.quoting = quotes::quoting(source, &dialect)?;
        }
        Ok(dialect)
    }

    /// What to do about a row that has not as many cells as the header.
    pub(super) fn help(&self) -> String {
        let separator = match self.separator {
            b',' => "commas",
            b';' => "semicolons",
            b'\t' => "tabs",
            b'|' => "bars",
            _ => "the separator of the first line",
        };
        let found = if self.is_usual { String::new() } else { format!("{separator} divide the columns; ") };
        let rule = match self.quoting {
            Quoting::Cells => {
                "a cell that holds the separator or a line break stands in double quotes, a double quote in it is doubled"
            }
            Quoting::Nothing => {
                "quotes quote nothing in this file, as some of them stand alone: a cell cannot hold the separator or a \
                 line break, unless all cells with quotes are quoted from end to end"
            }
        };
        found + rule
    }
}

/// The beginning of a file.
struct Sample {
    text: Vec<u8>,
}

impl Sample {
    /// Whole lines, unless a single one is longer.
    fn read(source: &Source) -> Result<Self, Error> {
        let mut text = Vec::new();
        let read = source.open()?.take(SAMPLE).read_to_end(&mut text);
        // What cannot be read is an error where the rows are read, with those before it; one without any is one here.
        if let Err(error) = read
            && text.is_empty()
        {
            return Err(source.read_error(error));
        }
        if text.len() as u64 == SAMPLE
            && let Some(end) = text.iter().rposition(|byte| matches!(byte, b'\n' | b'\r'))
        {
            text.truncate(end + 1);
        }
        Ok(Self { text })
    }

    /// The separator that a first line `sep=;` names, which Excel reads and some programs write, and what follows on it.
    fn named_separator(&self, source: &Source, line_end: u8) -> Result<(Option<u8>, &[u8]), Error> {
        let end = self.text.iter().position(|byte| *byte == line_end).unwrap_or(self.text.len());
        let line = self.text[..end].strip_suffix(b"\r").unwrap_or(&self.text[..end]);
        let line = line.strip_prefix(b"\"").and_then(|line| line.strip_suffix(b"\"")).unwrap_or(line);
        let is_named = line.len() >= 4 && line[..4].eq_ignore_ascii_case(b"sep=");
        if !is_named {
            return Ok((None, &self.text));
        }
        match &line[4..] {
            &[separator] if separator == b'\t' || separator.is_ascii_graphic() && separator != b'"' => {
                Ok((Some(separator), self.text.get(end + 1..).unwrap_or_default()))
            }
            other => Err(Error::Separator {
                place: Place::line(&source.file, 1),
                separator: String::from_utf8_lossy(other).into_owned(),
            }),
        }
    }
}

/// The usual one if the rows fit it, else another that they fit; else the one in which the header has several cells.
fn separator(sample: &[u8], usual: u8, line_end: u8) -> u8 {
    let others = SEPARATORS.into_iter().filter(|other| *other != usual);
    let tries: Vec<Try> =
        std::iter::once(usual).chain(others).map(|separator| Try::new(sample, separator, line_end)).collect();
    let divides = |it: &&Try| it.columns > 1;
    if let Some(fitting) = tries.iter().filter(divides).find(|it| it.fitting == it.rows) {
        return fitting.separator;
    }
    if tries[0].columns > 1 {
        return usual;
    }
    let mostly = tries.iter().filter(divides).filter(|it| it.fitting * 2 >= it.rows);
    mostly.max_by_key(|it| it.fitting).map_or(usual, |it| it.separator)
}

/// What a separator makes of the sample.
struct Try {
    separator: u8,
    /// Cells of the header.
    columns: usize,
    rows: usize,
    /// Rows that have as many cells as the header.
    fitting: usize,
}

impl Try {
    /// Read with quotes or, where more rows fit then, without.
    fn new(sample: &[u8], separator: u8, line_end: u8) -> Self {
        let reader = ReaderBuilder::new().delimiter(separator).flexible(true).has_headers(false).from_reader(sample);
        let quoted = reader.into_byte_records().filter_map(Result::ok);
        let quoted = quoted.map(|row| row.iter().map(|cell| String::from_utf8_lossy(cell).into_owned()).collect());
        let with = Self::of(separator, quoted);
        if matches!(separator, b',' | b';') {
            return with;
        }
        let lines = sample.split(|byte| *byte == line_end).filter(|line| !line.trim_ascii().is_empty());
        let cells = |line: &[u8]| -> Vec<String> {
            line.split(|byte| *byte == separator).map(|cell| String::from_utf8_lossy(cell).into_owned()).collect()
        };
        let without = Self::of(separator, lines.map(cells));
        // In shares: without quotes there are more rows.
        if without.fitting * with.rows > with.fitting * without.rows { without } else { with }
    }

    fn of(separator: u8, mut rows: impl Iterator<Item = Vec<String>>) -> Self {
        let Some(header) = rows.next() else { return Self { separator, columns: 0, rows: 0, fitting: 0 } };
        let shape = Shape::of(&header);
        let mut found = Self { separator, columns: header.len(), rows: 0, fitting: 0 };
        for row in rows {
            found.rows += 1;
            found.fitting += usize::from(shape.fits(row.len(), filled(&row)));
        }
        found
    }
}

/// The text of a table from its header on.
pub(super) fn open(source: &Source, lines_before: usize, line_end: u8) -> Result<crate::formats::Reader, Error> {
    let mut reader = source.open()?;
    for _ in 0..lines_before {
        reader.read_until(line_end, &mut Vec::new()).map_err(|error| source.read_error(error))?;
    }
    Ok(reader)
}
