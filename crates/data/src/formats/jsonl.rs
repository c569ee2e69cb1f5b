//! JSON lines: an object a line. Blank lines are skipped.

use serde_json::Value;

use super::lines::Lines;
use super::{Records, Source};
use crate::record::{Record, kind};
use crate::{Error, Place};

pub(super) fn records(source: Source) -> Result<Records, Error> {
    Ok(Box::new(JsonLines { lines: Lines::open(source)? }))
}

struct JsonLines {
    lines: Lines,
}

impl Iterator for JsonLines {
    type Item = Result<Record, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.lines.advance() {
            Ok(true) => Some(self.record()),
            Ok(false) => None,
            Err(error) => Some(Err(error)),
        }
    }
}

impl JsonLines {
    fn record(&self) -> Result<Record, Error> {
        let (source, line) = (&self.lines.source, self.lines.number);
        let text = self.lines.text()?.trim_end();
        let value = json::parse(text.as_bytes()).map_err(|error| source.json_error(line, text, &error, self.help()))?;
        match value {
            Value::Object(fields) => Ok(Record { line, fields: fields.into_iter().collect() }),
            other => Err(Error::NotAnObject { place: Place::line(&source.file, line), found: kind(&other) }),
        }
    }

    /// A file that was named .jsonl but is one array or one object over many lines fails in its first line.
    fn help(&self) -> &'static str {
        match self.lines.bytes.trim_ascii() {
            b"[" | b"{" => "each line is a whole object; a file that is one array is named .json",
            _ => "each line is a whole object, for example {\"text\": \"...\", \"label\": 0}",
        }
    }
}
