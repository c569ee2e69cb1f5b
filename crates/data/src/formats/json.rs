//! One JSON document: an array of objects, or an object that has the array under `data`. It is read and checked as a whole, then
//! parsed a row at a time: short rows take many times the memory of their text.

use ::json::Cursor;
use serde_json::{Map, Value};

use super::{Records, Source};
use crate::record::{Record, kind};
use crate::{Error, Place};

pub(super) fn records(source: Source) -> Result<Records, Error> {
    let text = String::from_utf8(source.read()?)
        .map_err(|error| invalid_utf8(&source, error.as_bytes(), error.utf8_error().valid_up_to()))?;
    if text.trim_ascii().is_empty() {
        return Ok(Box::new(std::iter::empty()));
    }
    ::json::validate(text.as_bytes()).map_err(|error| refused(&source, &text, &error))?;
    let begin = rows(&text).map_err(|error| refused(&source, &text, &error))?;
    let at = begin.map_err(|found| Error::NotAnArray { file: source.file.clone(), found })?;
    Ok(Box::new(Rows { source, text, at, number: 0 }))
}

fn refused(source: &Source, text: &str, error: &serde_json::Error) -> Error {
    let line = text.lines().nth(error.line().saturating_sub(1)).unwrap_or_default();
    source.json_error(error.line(), line, error, help(text, error))
}

/// Where in a valid document the first row is, behind the bracket; or what is found instead of rows.
fn rows(document: &str) -> serde_json::Result<Result<usize, String>> {
    let mut cursor = Cursor::new(document, 0);
    if cursor.take(b'[') {
        return Ok(Ok(cursor.at()));
    }
    if !cursor.take(b'{') {
        return Ok(Err(found(&mut cursor)?.to_owned()));
    }
    let (mut keys, mut data) = (Vec::new(), None);
    while let Some(key) = cursor.peek().filter(|byte| *byte == b'"').and_then(|_| cursor.value::<String>()) {
        let key = key?;
        cursor.take(b':');
        if key == "data" {
            let mut value = cursor;
            // Of a key that is there twice the last counts, as for all who read JSON.
            data = Some(match value.take(b'[') {
                true => Ok(value.at()),
                false => Err(format!("{} under `data`", found(&mut value)?)),
            });
        }
        cursor.text().transpose()?;
        cursor.take(b',');
        keys.push(key);
    }
    Ok(data.unwrap_or_else(|| Err(format!("an object (keys: {})", suggest::list(keys.iter().map(String::as_str))))))
}

/// What kind of value comes next. An object is not read for it.
fn found(cursor: &mut Cursor<'_>) -> serde_json::Result<&'static str> {
    Ok(match cursor.peek() {
        Some(b'{') => kind(&Value::Object(Map::new())),
        _ => kind(&cursor.value().transpose()?.unwrap_or_default()),
    })
}

struct Rows {
    source: Source,
    text: String,
    /// Behind the row that was read last, or behind the bracket.
    at: usize,
    number: usize,
}

impl Iterator for Rows {
    type Item = Result<Record, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut cursor = Cursor::new(&self.text, self.at);
        cursor.take(b',');
        if cursor.peek()? == b']' {
            return None;
        }
        let row = cursor.text()?;
        self.at = cursor.at();
        self.number += 1;
        let place = || Place::new(&self.source.file, self.number);
        // In a valid document that is all that can be wrong with a row.
        let row =
            row.and_then(|row| ::json::parse(row.as_bytes())).map_err(|_| Error::TooManyValues { place: place() });
        Some(row.and_then(|row| match row {
            Value::Object(fields) => Ok(Record { line: self.number, fields: fields.into_iter().collect() }),
            other => Err(Error::NotAnObject { place: place(), found: kind(&other) }),
        }))
    }
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
