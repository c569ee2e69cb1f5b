//! The lines of a file with their numbers: what JSON lines, CoNLL and plain text have in common.

use std::io::{BufRead, Read};

use super::{Reader, Source};
use crate::limits::LONGEST_ROW;
use crate::{Error, Place};

pub(super) struct Lines {
    pub(super) source: Source,
    reader: Reader,
    /// The number of the line that `bytes` holds, from 1.
    pub(super) number: usize,
    /// With its line break.
    pub(super) bytes: Vec<u8>,
}

impl Lines {
    pub(super) fn open(source: Source) -> Result<Self, Error> {
        let reader = source.open()?;
        Ok(Self { source, reader, number: 0, bytes: Vec::new() })
    }

    /// Goes to the next line that is not blank; false at the end of the file.
    pub(super) fn advance(&mut self) -> Result<bool, Error> {
        while self.next_line()? {
            if !self.bytes.trim_ascii().is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Goes to the next line, blank or not; false at the end of the file.
    pub(super) fn next_line(&mut self) -> Result<bool, Error> {
        self.bytes.clear();
        match (&mut self.reader).take(LONGEST_ROW as u64 + 1).read_until(b'\n', &mut self.bytes) {
            Ok(0) => Ok(false),
            Ok(read) if read > LONGEST_ROW => {
                Err(Error::LongRow { place: Place::line(&self.source.file, self.number + 1) })
            }
            Ok(_) => {
                self.number += 1;
                Ok(true)
            }
            Err(error) => Err(self.source.read_error(error)),
        }
    }

    pub(super) fn text(&self) -> Result<&str, Error> {
        str::from_utf8(&self.bytes)
            .map_err(|error| self.source.utf8_error(self.number, error.valid_up_to() + 1, &self.bytes))
    }
}
