//! Rows whose cells may be quoted, as RFC 4180 has it. Blank lines are skipped.

use std::collections::VecDeque;
use std::io::{self, Read};

use ::csv::{ByteRecord, ErrorKind, ReaderBuilder};

use super::Row;
use super::dialect::{self, Dialect};
use crate::formats::{Reader, Source};
use crate::limits::{Exceeded, LONGEST_ROW, MOST_COLUMNS};
use crate::{Error, Place};

pub(super) struct Rows {
    source: Source,
    reader: ::csv::Reader<Quotes>,
    row: ByteRecord,
}

impl Rows {
    pub(super) fn open(source: &Source, dialect: &Dialect) -> Result<Self, Error> {
        let text = dialect::open(source, dialect.lines_before, dialect.line_end)?;
        let quotes = Quotes::new(text, dialect.separator, dialect.lines_before + 1);
        // Flexible and headless: lengths are compared where both are known to the message.
        let reader =
            ReaderBuilder::new().delimiter(dialect.separator).flexible(true).has_headers(false).from_reader(quotes);
        Ok(Self { source: source.clone(), reader, row: ByteRecord::new() })
    }

    pub(super) fn next(&mut self) -> Option<Result<Row, Error>> {
        match self.reader.read_byte_record(&mut self.row) {
            Ok(false) => return None,
            Ok(true) => {}
            Err(error) => return Some(Err(self.source.read_error(io_error(error)))),
        }
        // Without these checks the rest of the file, or the rows up to the next quote, would silently become one cell.
        let quotes = self.reader.get_ref();
        if quotes.ended && quotes.at == At::Quoted {
            return Some(Err(Error::OpenQuote { place: Place::line(&self.source.file, quotes.opened) }));
        }
        let Begin { line, is_quoted, torn } = self.reader.get_mut().rows.pop_front().unwrap_or_default();
        if let Some((opened, closed)) = torn {
            return Some(Err(Error::TornQuote { place: Place::line(&self.source.file, opened), closed }));
        }
        Some(self.cells(line).and_then(|cells| Row::new(&self.source, line, cells, is_quoted)))
    }

    fn cells(&self, line: usize) -> Result<Vec<String>, Error> {
        let cells = self.row.iter().take(MOST_COLUMNS + 1).map(|cell| {
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
    /// Where the rows begin that were handed on and not taken yet: at most a buffer's worth.
    rows: VecDeque<Begin>,
    /// Bytes since the last of them began.
    length: usize,
    ended: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct Begin {
    line: usize,
    is_quoted: bool,
    /// The lines in which a quote opens and closes in this row, if it goes over lines and closes within a cell: most
    /// likely neither of the two quotes anything.
    torn: Option<(usize, usize)>,
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
        self.length += length;
        match self.rows.back() {
            Some(row) if self.length > LONGEST_ROW => Err(Exceeded::Row { line: row.line }.into()),
            _ => Ok(length),
        }
    }
}

impl Quotes {
    fn new(reader: Reader, delimiter: u8, line: usize) -> Self {
        Self { reader, delimiter, at: At::Row, line, opened: 0, rows: VecDeque::new(), length: 0, ended: false }
    }

    fn follow(&mut self, byte: u8) {
        if self.at == At::Row && !matches!(byte, b'\n' | b'\r') {
            self.rows.push_back(Begin { line: self.line, is_quoted: false, torn: None });
            self.length = 0;
        }
        let ends_cell = matches!(byte, b'\n' | b'\r' | b'"') || byte == self.delimiter;
        if self.at == At::QuoteSeen
            && !ends_cell
            && self.opened < self.line
            && let Some(row) = self.rows.back_mut()
        {
            row.torn.get_or_insert((self.opened, self.line));
        }
        self.at = match (self.at, byte) {
            (At::Quoted, b'"') => At::QuoteSeen,
            (At::Quoted, _) => At::Quoted,
            (At::QuoteSeen, b'"') => At::Quoted,
            (At::Row | At::Cell, b'"') => {
                self.opened = self.line;
                self.rows.back_mut().into_iter().for_each(|row| row.is_quoted = true);
                At::Quoted
            }
            (_, b'\n' | b'\r') => At::Row,
            (_, byte) if byte == self.delimiter => At::Cell,
            (_, _) => At::Bare,
        };
        self.line += usize::from(byte == b'\n');
    }
}
