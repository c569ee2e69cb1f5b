//! JSON lines: an object a line. Blank lines are passed over.

use std::io::BufRead;

use serde_json::Value;

use super::{Reader, Records, Source};
use crate::record::{Record, kind};
use crate::{Error, Place};

pub(super) fn records(source: Source, reader: Reader) -> Records {
    Box::new(Lines { source, reader, line: 0, bytes: Vec::new() })
}

struct Lines {
    source: Source,
    reader: Reader,
    /// The number of the line that `bytes` holds.
    line: usize,
    bytes: Vec<u8>,
}

impl Iterator for Lines {
    type Item = Result<Record, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            self.bytes.clear();
            match self.reader.read_until(b'\n', &mut self.bytes) {
                Ok(0) => return None,
                Ok(_) => self.line += 1,
                Err(error) => return Some(Err(self.source.read_error(error))),
            }
            if !self.bytes.trim_ascii().is_empty() {
                return Some(self.record());
            }
        }
    }
}

impl Lines {
    fn record(&self) -> Result<Record, Error> {
        let text = str::from_utf8(&self.bytes)
            .map_err(|error| self.source.utf8_error(self.line, error.valid_up_to() + 1, &self.bytes))?;
        let value = serde_json::from_str(text.trim_end())
            .map_err(|error| self.source.json_error(self.line, &error, self.help()))?;
        match value {
            Value::Object(fields) => Ok(Record { line: self.line, fields: fields.into_iter().collect() }),
            other => Err(Error::NotAnObject { place: Place::line(&self.source.file, self.line), found: kind(&other) }),
        }
    }

    /// A file that was named .jsonl but is one array or one object over many lines fails in its first line.
    fn help(&self) -> &'static str {
        match self.bytes.trim_ascii() {
            b"[" | b"{" => "each line is a whole object; a file that is one array is named .json",
            _ => "each line is a whole object, for example {\"text\": \"...\", \"label\": 0}",
        }
    }
}
