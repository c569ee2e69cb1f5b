//! CSV and TSV: a header, then a row of as many cells, quoted as RFC 4180 has it. Blank lines are passed over.

use std::collections::VecDeque;
use std::io::{self, Read};

use ::csv::{ByteRecord, ErrorKind, ReaderBuilder};
use serde_json::Value;

use super::{Reader, Records, Source};
use crate::record::Record;
use crate::{Error, Place};

pub(super) fn records(source: Source, delimiter: u8) -> Result<Records, Error> {
    let quotes = Quotes::new(source.open()?, delimiter);
    // Flexible and headless: the lengths are compared here, where both are known to the message, and the header is
    // checked like a row.
    let reader = ReaderBuilder::new().delimiter(delimiter).flexible(true).has_headers(false).from_reader(quotes);
    let mut rows = Rows { source, reader, row: ByteRecord::new(), columns: Vec::new() };
    if let Some(header) = rows.read() {
        rows.columns = header?.1;
        rows.check_header()?;
    }
    Ok(Box::new(rows))
}

struct Rows {
    source: Source,
    reader: ::csv::Reader<Quotes>,
    row: ByteRecord,
    columns: Vec<String>,
}

impl Iterator for Rows {
    type Item = Result<Record, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let read = self.read()?;
        Some(read.and_then(|(line, cells)| self.record(line, cells)))
    }
}

impl Rows {
    /// The next row and the line it begins in.
    fn read(&mut self) -> Option<Result<(usize, Vec<String>), Error>> {
        match self.reader.read_byte_record(&mut self.row) {
            Ok(false) => return None,
            Ok(true) => {}
            Err(error) => return Some(Err(self.source.read_error(io_error(error)))),
        }
        // Without this check the rest of the file would silently become one cell.
        let quotes = self.reader.get_ref();
        if quotes.ended && quotes.at == At::Quoted {
            return Some(Err(Error::OpenQuote { place: Place::line(&self.source.file, quotes.opened) }));
        }
        let line = self.reader.get_mut().rows.pop_front().unwrap_or_default();
        Some(self.cells(line).map(|cells| (line, cells)))
    }

    fn cells(&self, line: usize) -> Result<Vec<String>, Error> {
        let cells = self.row.iter().map(|cell| {
            let text = str::from_utf8(cell);
            text.map(str::to_owned).map_err(|error| self.invalid_utf8(line, cell, error.valid_up_to()))
        });
        cells.collect()
    }

    /// The byte is counted in the row, without its quotes.
    fn invalid_utf8(&self, line: usize, cell: &[u8], valid: usize) -> Error {
        let before: usize = self.row.iter().take_while(|it| !std::ptr::eq(*it, cell)).map(|it| it.len() + 1).sum();
        self.source.utf8_error(line, before + valid + 1, self.row.get(0).unwrap_or_default())
    }

    fn check_header(&self) -> Result<(), Error> {
        for (n, column) in self.columns.iter().enumerate() {
            if self.columns[..n].contains(column) {
                return Err(Error::DuplicateColumn { file: self.source.file.clone(), column: column.clone() });
            }
        }
        Ok(())
    }

    fn record(&self, line: usize, cells: Vec<String>) -> Result<Record, Error> {
        if cells.len() != self.columns.len() {
            let place = Place::line(&self.source.file, line);
            return Err(Error::Ragged { place, expected: self.columns.len(), found: cells.len() });
        }
        let fields = self.columns.iter().cloned().zip(cells.into_iter().map(Value::String)).collect();
        Ok(Record { line, fields })
    }
}

/// Reading bytes in rows of any length can fail only where the underlying reader does.
fn io_error(error: ::csv::Error) -> io::Error {
    match error.into_kind() {
        ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}

/// Hands bytes on and follows rows and quotes in them, for what the csv crate does not tell: it takes the end of the
/// file for a closing quote, and its line of a row is that of the blank lines before it, or of a CRLF's second half.
struct Quotes {
    reader: Reader,
    delimiter: u8,
    at: At,
    line: usize,
    /// The line in which the last quote was opened.
    opened: usize,
    /// The lines in which the rows begin that were handed on and not taken yet: at most a buffer's worth.
    rows: VecDeque<usize>,
    ended: bool,
}

/// What the next byte belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// The first cell of a row, or a blank line.
    Row,
    /// The beginning of a cell, the only place where a quote opens.
    Cell,
    Bare,
    Quoted,
    /// After a quote in a quoted cell: a second one makes it part of the text, anything else ends the quoting.
    QuoteSeen,
}

impl Read for Quotes {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.reader.read(buffer)?;
        self.ended = length == 0 && !buffer.is_empty();
        for &byte in &buffer[..length] {
            self.follow(byte);
        }
        Ok(length)
    }
}

impl Quotes {
    fn new(reader: Reader, delimiter: u8) -> Self {
        Self { reader, delimiter, at: At::Row, line: 1, opened: 0, rows: VecDeque::new(), ended: false }
    }

    fn follow(&mut self, byte: u8) {
        if self.at == At::Row && !matches!(byte, b'\n' | b'\r') {
            self.rows.push_back(self.line);
        }
        self.at = match (self.at, byte) {
            (At::Quoted, b'"') => At::QuoteSeen,
            (At::Quoted, _) => At::Quoted,
            (At::QuoteSeen, b'"') => At::Quoted,
            (At::Row | At::Cell, b'"') => {
                self.opened = self.line;
                At::Quoted
            }
            (_, b'\n' | b'\r') => At::Row,
            (_, byte) if byte == self.delimiter => At::Cell,
            (_, _) => At::Bare,
        };
        self.line += usize::from(byte == b'\n');
    }
}
