//! One JSON document: an array of objects, or an object that has the array under `data`. Read as a whole.

use std::path::Path;

use serde_json::{Map, Value};

use super::{Records, Source};
use crate::record::{Record, kind};
use crate::{Error, Place};

pub(super) fn records(source: Source) -> Result<Records, Error> {
    let bytes = source.read()?;
    let text = str::from_utf8(&bytes).map_err(|error| invalid_utf8(&source, &bytes, error.valid_up_to()))?;
    if text.trim_ascii().is_empty() {
        return Ok(Box::new(std::iter::empty()));
    }
    let document: Value = serde_json::from_str(text).map_err(|error| {
        let line = text.lines().nth(error.line().saturating_sub(1)).unwrap_or_default();
        source.json_error(error.line(), line, &error, help(text, &error))
    })?;
    let rows = rows(&source.file, document)?;
    Ok(Box::new(rows.into_iter().enumerate().map(move |(n, row)| match row {
        Value::Object(fields) => Ok(Record { line: n + 1, fields: fields.into_iter().collect() }),
        other => Err(Error::NotAnObject { place: Place::new(&source.file, n + 1), found: kind(&other) }),
    })))
}

fn rows(file: &Path, document: Value) -> Result<Vec<Value>, Error> {
    let found = match document {
        Value::Array(rows) => return Ok(rows),
        Value::Object(mut fields) => match fields.swap_remove("data") {
            Some(Value::Array(rows)) => return Ok(rows),
            Some(other) => format!("{} under `data`", kind(&other)),
            None => keys(&fields),
        },
        other => kind(&other).to_owned(),
    };
    Err(Error::NotAnArray { file: file.to_owned(), found })
}

fn keys(fields: &Map<String, Value>) -> String {
    format!("an object (keys: {})", suggest::list(fields.keys().map(String::as_str)))
}

fn invalid_utf8(source: &Source, bytes: &[u8], valid: usize) -> Error {
    let line_start = bytes[..valid].iter().rposition(|&byte| byte == b'\n').map_or(0, |newline| newline + 1);
    let line = bytes[..valid].iter().filter(|&&byte| byte == b'\n').count() + 1;
    source.utf8_error(line, valid - line_start + 1, &bytes[line_start..])
}

/// JSON lines under the name .json fail at the second object.
fn help(text: &str, error: &serde_json::Error) -> &'static str {
    if error.line() > 1 && error.column() == 1 && text.trim_start().starts_with('{') {
        "a file with an object a line is named .jsonl"
    } else {
        "the file is one array of objects, or an object with the array under `data`"
    }
}
