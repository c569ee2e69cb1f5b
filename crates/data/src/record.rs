//! A row as its file has it: names and values, before any column has a meaning.

use indexmap::IndexMap;
use serde_json::Value;

/// One row of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Where the row begins: the line of the file, from 1; in a `.json` array or a Parquet file the row's number.
    pub line: usize,
    /// The columns in the file's order. Cells of CSV and TSV files are strings.
    pub fields: IndexMap<String, Value>,
}

impl Record {
    /// About as many as its texts have.
    pub fn bytes(&self) -> usize {
        self.fields.values().map(bytes).sum()
    }

    /// The column names, in the file's order.
    pub(crate) fn columns(&self) -> impl Iterator<Item = &str> + Clone {
        self.fields.keys().map(String::as_str)
    }
}

fn bytes(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
        Value::String(text) => text.len(),
        Value::Array(values) => values.iter().map(bytes).sum(),
        Value::Object(fields) => fields.iter().map(|(key, value)| key.len() + bytes(value)).sum(),
    }
}

/// What a value is, as messages call it.
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_f64() => "a fraction",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
