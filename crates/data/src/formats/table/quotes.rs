//! Whether the quotes of a table quote, where separators are such that a text hardly holds them. Programs that quote put
//! every cell that holds a quote into quotes from end to end; files of corpora quote nothing, and a cell may well begin
//! with a quote that never ends. The whole file is read once to tell: a guess from its beginning could lose the rows
//! between two such cells further down.

use std::io::BufRead;

use super::Shape;
use super::dialect::{self, Dialect, Quoting};
use crate::Error;
use crate::formats::Source;

pub(super) fn quoting(source: &Source, dialect: &Dialect) -> Result<Quoting, Error> {
    let mut reader = dialect::open(source, dialect.lines_before, dialect.line_end)?;
    let mut lines = Lines { counts: Counts::default(), dialect: *dialect };
    let mut quoted = Quoted::new(*dialect);
    // What cannot be read is an error where the rows are, with those before it.
    while let Ok(buffer) = reader.fill_buf()
        && !buffer.is_empty()
    {
        for &byte in buffer {
            lines.follow(byte);
            quoted.follow(byte);
        }
        let length = buffer.len();
        reader.consume(length);
    }
    lines.counts.end_row();
    quoted.end();
    Ok(decide(&lines.counts, &quoted))
}

fn decide(lines: &Counts, quoted: &Quoted) -> Quoting {
    if !quoted.any {
        return Quoting::Nothing;
    }
    let is_sound = !quoted.broken && !quoted.counts.ragged;
    let is_plain = match (is_sound, !lines.ragged) {
        (true, false) => false,
        (false, true) => true,
        // Both ways are possible: that a cell holds whole rows is less likely than that quotes stand for themselves, and
        // who quotes does not leave a cell with a quote in it bare.
        (true, true) => quoted.spans_lines || quoted.bare,
        (false, false) => quoted.broken || quoted.bare,
    };
    if is_plain { Quoting::Nothing } else { Quoting::Cells }
}

/// Counts the cells of rows and compares them with those of the first.
#[derive(Debug, Default)]
struct Counts {
    header: Option<Shape>,
    /// Of the row so far, without the one that is open.
    cells: usize,
    /// Up to the last that is not empty.
    filled: usize,
    is_cell_filled: bool,
    is_row_begun: bool,
    /// Some row does not fit the header.
    ragged: bool,
}

impl Counts {
    fn text(&mut self, byte: u8) {
        self.is_row_begun = true;
        self.is_cell_filled |= !byte.is_ascii_whitespace();
    }

    fn end_cell(&mut self) {
        self.is_row_begun = true;
        self.cells += 1;
        if self.is_cell_filled {
            self.filled = self.cells;
        }
        self.is_cell_filled = false;
    }

    fn end_row(&mut self) {
        if !self.is_row_begun {
            return;
        }
        self.end_cell();
        let (cells, filled) = (self.cells, self.filled);
        match self.header {
            None => self.header = Some(Shape { cells, named: filled }),
            // Rows of nothing are left behind at the end of a file.
            Some(_) if filled == 0 => {}
            Some(header) => self.ragged |= !header.fits(cells, filled),
        }
        (self.cells, self.filled, self.is_row_begun) = (0, 0, false);
    }
}

/// The rows if quotes quote nothing.
struct Lines {
    counts: Counts,
    dialect: Dialect,
}

impl Lines {
    fn follow(&mut self, byte: u8) {
        match byte {
            _ if byte == self.dialect.line_end => self.counts.end_row(),
            // Of a CRLF.
            b'\r' => {}
            _ if byte == self.dialect.separator => self.counts.end_cell(),
            _ => self.counts.text(byte),
        }
    }
}

/// The rows if quotes quote.
struct Quoted {
    counts: Counts,
    dialect: Dialect,
    at: At,
    /// There is a quote.
    any: bool,
    /// A quoted cell does not end where its quotes do, or the last one never ends.
    broken: bool,
    /// A quoted cell holds a line break.
    spans_lines: bool,
    /// A quote stands in a cell that is not quoted.
    bare: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Begin,
    Bare,
    Quoted,
    /// After a quote in a quoted cell: a second one makes it part of the text.
    QuoteSeen,
}

impl Quoted {
    fn new(dialect: Dialect) -> Self {
        Self {
            counts: Counts::default(),
            dialect,
            at: At::Begin,
            any: false,
            broken: false,
            spans_lines: false,
            bare: false,
        }
    }

    fn follow(&mut self, byte: u8) {
        if self.at == At::Quoted {
            match byte {
                b'"' => self.at = At::QuoteSeen,
                _ => {
                    self.spans_lines |= matches!(byte, b'\n' | b'\r');
                    self.counts.text(byte);
                }
            }
            return;
        }
        match byte {
            b'\n' | b'\r' => {
                self.counts.end_row();
                self.at = At::Begin;
            }
            _ if byte == self.dialect.separator => {
                self.counts.end_cell();
                self.at = At::Begin;
            }
            b'"' => {
                self.any = true;
                self.at = match self.at {
                    At::Begin => {
                        self.counts.is_row_begun = true;
                        At::Quoted
                    }
                    At::QuoteSeen => {
                        self.counts.text(byte);
                        At::Quoted
                    }
                    At::Bare | At::Quoted => {
                        self.bare = true;
                        At::Bare
                    }
                };
            }
            _ => {
                self.broken |= self.at == At::QuoteSeen;
                self.counts.text(byte);
                self.at = At::Bare;
            }
        }
    }

    fn end(&mut self) {
        self.broken |= self.at == At::Quoted;
        self.counts.end_row();
    }
}
