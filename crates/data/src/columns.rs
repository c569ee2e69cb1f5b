//! Which columns hold the text and the label, and what stands in them. Classes get their numbers in `labels.rs`.

use std::path::Path;

use serde_json::Value;

use crate::record::{Record, kind};
use crate::{Error, Place, suggest};

/// The columns of a file that are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns {
    pub text: String,
    pub text_pair: Option<String>,
    pub label: String,
}

/// What a row says its class is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Label {
    /// A JSON integer.
    Index(i64),
    /// A string; [`Labels`](crate::Labels) read one that is an integer as an integer where no class is named so.
    Text(String),
}

/// A row with its meaning. The label is `None` where the row has none: absent, null or empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    pub line: usize,
    pub text: String,
    pub text_pair: Option<String>,
    pub label: Option<Label>,
}

impl Columns {
    /// Finds the columns in the first row of a file.
    ///
    /// `text`, `text_pair` and `label` are names that the user wrote, or `None` for the columns of these names. A
    /// written column must exist; the default `text_pair` is used where present, and `label` may be absent unless
    /// `label_needed`.
    pub fn find(
        file: &Path,
        first: &Record,
        text: Option<&str>,
        text_pair: Option<&str>,
        label: Option<&str>,
        label_needed: bool,
    ) -> Result<Columns, Error> {
        let found = Columns {
            text: text.unwrap_or("text").to_owned(),
            text_pair: match text_pair {
                Some(written) => Some(written.to_owned()),
                None => first.fields.contains_key("text_pair").then(|| "text_pair".to_owned()),
            },
            label: label.unwrap_or("label").to_owned(),
        };
        found.require(file, first, "text", &found.text)?;
        if let Some(text_pair) = &found.text_pair {
            found.require(file, first, "text_pair", text_pair)?;
        }
        if label_needed {
            found.require(file, first, "label", &found.label)?;
        }
        Ok(found)
    }

    fn require(&self, file: &Path, first: &Record, key: &'static str, column: &str) -> Result<(), Error> {
        if first.fields.contains_key(column) {
            return Ok(());
        }
        Err(Error::MissingColumn {
            file: file.to_owned(),
            column: column.to_owned(),
            columns: suggest::list(first.columns()),
            suggestion: self.replacement(first, key, column),
        })
    }

    /// The line of the configuration that would help: with the column of nearest name, else the only one that can be
    /// meant, else with a choice.
    fn replacement(&self, first: &Record, key: &str, column: &str) -> String {
        let taken = |name: &str| Some(name) == self.text_pair.as_deref() || name == self.text || name == self.label;
        let fits = |value: &Value| value.is_string() || key == "label" && value.is_i64();
        let candidates: Vec<&str> = first
            .fields
            .iter()
            .filter(|(name, value)| !taken(name) && fits(value))
            .map(|(name, _)| name.as_str())
            .collect();
        match (suggest::nearest(column, candidates.iter().copied()), candidates.as_slice()) {
            (Some(name), _) | (None, &[name]) => format!("set `data.{key} = {name:?}`"),
            (None, []) => format!("no other column can be `data.{key}`"),
            (None, several) => {
                format!("set `data.{key}` to one of these columns: {}", suggest::list(several.iter().copied()))
            }
        }
    }

    /// Reads a row. Texts must be strings that are not blank; a label must be an integer or a string, or be missing,
    /// which [`Labels::index`](crate::Labels::index) refuses where labels matter.
    pub fn example(&self, file: &Path, record: &Record) -> Result<Example, Error> {
        let place = || Place::new(file, record.line);
        let text_pair = self.text_pair.as_ref().map(|column| text(record, column, "text_pair", place)).transpose()?;
        Ok(Example {
            line: record.line,
            text: text(record, &self.text, "text", place)?,
            text_pair,
            label: label(record, &self.label, place)?,
        })
    }
}

fn text(record: &Record, column: &str, key: &'static str, place: impl Fn() -> Place) -> Result<String, Error> {
    let column_name = || column.to_owned();
    match record.fields.get(column) {
        Some(Value::String(text)) if !text.trim().is_empty() => Ok(text.clone()),
        Some(Value::String(_)) => Err(Error::EmptyText { place: place(), column: column_name() }),
        Some(other) => Err(Error::NotText { place: place(), column: column_name(), key, found: kind(other) }),
        None => {
            let columns = suggest::list(record.columns());
            Err(Error::MissingField { place: place(), column: column_name(), columns })
        }
    }
}

fn label(record: &Record, column: &str, place: impl Fn() -> Place) -> Result<Option<Label>, Error> {
    match record.fields.get(column) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.trim().is_empty() => Ok(None),
        Some(Value::String(text)) => Ok(Some(Label::Text(text.clone()))),
        Some(other) => match other.as_i64() {
            Some(index) => Ok(Some(Label::Index(index))),
            None => {
                let found = format!("{} ({other})", kind(other));
                Err(Error::NotALabel { place: place(), column: column.to_owned(), found })
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use miette::Diagnostic;
    use serde_json::json;

    use super::*;

    fn record(value: Value) -> Record {
        let Value::Object(fields) = value else { panic!("a row is an object") };
        Record { line: 17, fields: fields.into_iter().collect() }
    }

    fn find(first: Value, text: Option<&str>, text_pair: Option<&str>, label: Option<&str>) -> Result<Columns, Error> {
        Columns::find(Path::new("train.csv"), &record(first), text, text_pair, label, true)
    }

    fn says(error: &Error) -> (String, String) {
        (error.to_string(), error.help().expect("every error of a column says what to do").to_string())
    }

    #[test]
    fn the_default_pair_column_is_used_where_it_is_present() {
        let with = find(json!({"text": "a", "text_pair": "b", "label": 0}), None, None, None).unwrap();
        assert_eq!(with.text_pair.as_deref(), Some("text_pair"));
        let without = find(json!({"text": "a", "label": 0}), None, None, None).unwrap();
        assert_eq!(without, Columns { text: "text".into(), text_pair: None, label: "label".into() });
    }

    #[test]
    fn a_missing_text_column_names_the_only_one_it_can_be() {
        let error = find(json!({"sentence": "a", "label": "1"}), None, None, None).unwrap_err();
        let (message, help) = says(&error);
        assert_eq!(message, "train.csv has no column `text` (columns: sentence, label)");
        assert_eq!(help, "set `data.text = \"sentence\"`");
    }

    #[test]
    fn a_misspelt_column_names_the_nearest_and_an_unlike_one_the_choice() {
        let row = json!({"sentence1": "a", "sentence2": "b", "label": 1});
        let near = find(row.clone(), Some("sentense1"), None, None).unwrap_err();
        assert_eq!(says(&near).1, "set `data.text = \"sentence1\"`");
        let unlike = find(row, None, None, None).unwrap_err();
        assert_eq!(says(&unlike).1, "set `data.text` to one of these columns: sentence1, sentence2");
    }

    #[test]
    fn a_written_pair_column_must_exist() {
        let error = find(json!({"text": "a", "label": 1, "other": "b"}), None, Some("pair"), None).unwrap_err();
        assert_eq!(says(&error).0, "train.csv has no column `pair` (columns: text, label, other)");
    }

    #[test]
    fn a_label_may_be_absent_only_where_none_is_needed() {
        let row = record(json!({"text": "a", "class": 1, "weight": 0.5}));
        let file = Path::new("train.jsonl");
        assert!(Columns::find(file, &row, None, None, None, false).is_ok());
        let error = Columns::find(file, &row, None, None, None, true).unwrap_err();
        assert_eq!(says(&error).1, "set `data.label = \"class\"`");
    }

    fn example(value: Value) -> Result<Example, Error> {
        let columns = Columns { text: "text".into(), text_pair: None, label: "label".into() };
        columns.example(Path::new("train.jsonl"), &record(value))
    }

    #[test]
    fn labels_are_integers_strings_or_missing() {
        let label = |value: Value| example(json!({"text": "a", "label": value})).unwrap().label;
        assert_eq!(label(json!(-3)), Some(Label::Index(-3)));
        assert_eq!(label(json!("3")), Some(Label::Text("3".into())));
        assert_eq!(label(json!(null)), None);
        assert_eq!(label(json!("")), None);
        assert_eq!(example(json!({"text": "a"})).unwrap().label, None);
    }

    #[test]
    fn what_a_row_has_wrong_is_said_with_its_line() {
        let message = |value: Value| example(value).unwrap_err().to_string();
        assert_eq!(message(json!({"text": " \t"})), "train.jsonl, line 17: column `text` is empty");
        assert_eq!(
            message(json!({"text": 5})),
            "train.jsonl, line 17: column `text` should be a string, found a number"
        );
        assert_eq!(message(json!({"txt": "a"})), "train.jsonl, line 17: the row has no column `text` (columns: txt)");
        assert_eq!(
            message(json!({"text": "a", "label": 0.5})),
            "train.jsonl, line 17: column `label` should be an integer or a string, found a fraction (0.5)"
        );
    }
}
