//! Plain text: each line that is not blank is a row with the one column `text`.

use indexmap::IndexMap;
use serde_json::Value;

use super::lines::Lines;
use super::{Records, Source};
use crate::Error;
use crate::record::Record;

pub(super) fn records(source: Source) -> Result<Records, Error> {
    Ok(Box::new(Text { lines: Lines::open(source)? }))
}

struct Text {
    lines: Lines,
}

impl Iterator for Text {
    type Item = Result<Record, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.lines.advance() {
            Ok(true) => Some(self.record()),
            Ok(false) => None,
            Err(error) => Some(Err(error)),
        }
    }
}

impl Text {
    /// Blanks are text: only the line break is taken off.
    fn record(&self) -> Result<Record, Error> {
        let line = self.lines.text()?.trim_end_matches(['\n', '\r']);
        Ok(Record {
            line: self.lines.number,
            fields: IndexMap::from([("text".to_owned(), Value::String(line.to_owned()))]),
        })
    }
}
