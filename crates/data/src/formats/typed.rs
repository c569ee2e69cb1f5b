//! What people type and pipe: a line that is a JSON object is a row, and any other line is a text. Blank lines are passed
//! over.

use serde_json::Value;

use super::Source;
use super::lines::Lines;
use crate::Error;
use crate::record::Record;

/// A line of standard input, or a row of a file.
#[derive(Debug, Clone, PartialEq)]
pub enum Line {
    Row(Record),
    /// A line that is no JSON, without its line break: which column it is depends on who reads it.
    Text {
        line: usize,
        text: String,
    },
}

impl Line {
    /// Where it stands, as [`Record::line`] says it.
    pub fn number(&self) -> usize {
        match self {
            Self::Row(record) => record.line,
            Self::Text { line, .. } => *line,
        }
    }
}

pub(super) struct TypedLines {
    lines: Lines,
    /// An earlier line was an object: one that only looks like it is a row gone wrong.
    rows: bool,
}

impl TypedLines {
    pub(super) fn open(source: Source) -> Result<Self, Error> {
        Ok(Self { lines: Lines::open(source)?, rows: false })
    }

    fn line(&mut self) -> Result<Line, Error> {
        let (line, text) = (self.lines.number, self.lines.text()?.trim_end_matches(['\n', '\r']));
        let Some(inside) = text.trim_start().strip_prefix('{') else {
            return Ok(Line::Text { line, text: text.to_owned() });
        };
        match json::parse(text.as_bytes()) {
            Ok(Value::Object(fields)) => {
                self.rows = true;
                Ok(Line::Row(Record { line, fields: fields.into_iter().collect() }))
            }
            // Half an object would be answered as a text without anybody noticing.
            Err(error) if self.rows || inside.trim_start().starts_with(['"', '}']) => {
                let help =
                    "each line is a whole object; where lines are texts, `--input-format text` takes them as they are";
                Err(self.lines.source.json_error(line, text, &error, help))
            }
            _ => Ok(Line::Text { line, text: text.to_owned() }),
        }
    }
}

impl Iterator for TypedLines {
    type Item = Result<Line, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.lines.advance() {
            Ok(true) => Some(self.line()),
            Ok(false) => None,
            Err(error) => Some(Err(error)),
        }
    }
}
