//! A line is a row, and quotes are characters as any other: how GLUE's files and those of many corpora are written.

use std::io::{BufRead, Read};

use super::Row;
use super::dialect::{self, Dialect};
use crate::formats::{Reader, Source};
use crate::limits::{LONGEST_ROW, MOST_COLUMNS};
use crate::{Error, Place};

pub(super) struct Rows {
    source: Source,
    reader: Reader,
    separator: char,
    line_end: u8,
    /// The number of the last line read, from 1.
    line: usize,
    bytes: Vec<u8>,
}

impl Rows {
    pub(super) fn open(source: &Source, dialect: &Dialect) -> Result<Self, Error> {
        Ok(Self {
            reader: dialect::open(source, dialect.lines_before, dialect.line_end)?,
            source: source.clone(),
            separator: dialect.separator.into(),
            line_end: dialect.line_end,
            line: dialect.lines_before,
            bytes: Vec::new(),
        })
    }

    /// The next line that has anything in it.
    pub(super) fn next(&mut self) -> Option<Result<Row, Error>> {
        loop {
            self.bytes.clear();
            match (&mut self.reader).take(LONGEST_ROW as u64 + 1).read_until(self.line_end, &mut self.bytes) {
                Ok(0) => return None,
                Ok(read) if read > LONGEST_ROW => {
                    return Some(Err(Error::LongRow { place: Place::line(&self.source.file, self.line + 1) }));
                }
                Ok(_) => self.line += 1,
                Err(error) => return Some(Err(self.source.read_error(error))),
            }
            let line = self.bytes.strip_suffix(&[self.line_end]).unwrap_or(&self.bytes);
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.is_empty() {
                continue;
            }
            let cells = |line: &str| line.split(self.separator).take(MOST_COLUMNS + 1).map(str::to_owned).collect();
            return Some(match str::from_utf8(line).map(cells) {
                Ok(cells) => Row::new(&self.source, self.line, cells, false),
                Err(error) => Err(self.source.utf8_error(self.line, error.valid_up_to() + 1, line)),
            });
        }
    }
}
