//! Which columns hold the text and the label, and what stands in them. Classes get their numbers in `labels.rs`.

use std::path::Path;

use serde_json::Value;

use crate::column_names::template;
use crate::record::{Record, kind};
use crate::{Advice, ColumnNames, Error, Place, Template};

/// The columns of a file that are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns {
    pub text: TextSource,
    pub text_pair: Option<String>,
    /// `None` where labels are not looked at, as in language models.
    pub label: Option<String>,
}

/// Where the text of a row is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextSource {
    Column(String),
    Template(Template),
}

impl TextSource {
    /// What the template of the key makes, which takes the place of its column, by default the one of the key's name.
    ///
    /// Errors: a template that is none.
    pub(crate) fn new(key: &str, column: Option<&str>, source: Option<&str>) -> Result<Self, Error> {
        match source {
            Some(source) => template(&format!("{key}_template"), source).map(Self::Template),
            None => Ok(Self::Column(column.unwrap_or(key).to_owned())),
        }
    }

    /// The column and the template as [`ColumnNames`] has them, one of which there is.
    pub(crate) fn names(&self) -> (Option<String>, Option<String>) {
        match self {
            TextSource::Column(column) => (Some(column.clone()), None),
            TextSource::Template(template) => (None, Some(template.source().to_owned())),
        }
    }

    /// The column, where the text is one.
    pub fn column(&self) -> Option<&str> {
        match self {
            TextSource::Column(column) => Some(column),
            TextSource::Template(_) => None,
        }
    }

    pub fn template(&self) -> Option<&Template> {
        match self {
            TextSource::Column(_) => None,
            TextSource::Template(template) => Some(template),
        }
    }
}

/// Whether a file needs a column of labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Labelled {
    Yes,
    /// A column of labels may be there, and hold anything.
    No,
}

/// What a row says its class is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Label {
    /// A whole number of JSON or Parquet, also with a point: pandas makes 1.0 of a 1 in a column that has a gap.
    Index(i64),
    /// A truth value of JSON or Parquet. A table of text has names for them.
    Boolean(bool),
    /// A string; [`Labels`](crate::Labels) read one that is an integer as an integer where no class is named so.
    Text(String),
}

/// A row with its meaning. The label is `None` where the row has none: absent, null or empty, or not looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    pub line: usize,
    pub text: String,
    pub text_pair: Option<String>,
    pub label: Option<Label>,
}

impl Columns {
    /// Finds the named columns in the first row of a file.
    ///
    /// A named column must exist, and so must the text and, where the file is labelled, the label. The default
    /// `text_pair` is used where present, but not beside a template, which may have put it into the text.
    pub fn find(file: &Path, first: &Record, names: &ColumnNames, labelled: Labelled) -> Result<Columns, Error> {
        let pair_by_default = names.text_template.is_none() && first.fields.contains_key("text_pair");
        let label = || names.label.clone().unwrap_or_else(|| "label".to_owned());
        let found = Columns {
            text: TextSource::new("text", names.text.as_deref(), names.text_template.as_deref())?,
            text_pair: names.text_pair.clone().or_else(|| pair_by_default.then(|| "text_pair".to_owned())),
            label: (labelled == Labelled::Yes).then(label),
        };
        found.check(file, first)?;
        Ok(found)
    }

    /// The names by which these columns are found.
    pub fn names(&self) -> ColumnNames {
        let (text, text_template) = self.text.names();
        let (text_pair, label) = (self.text_pair.clone(), self.label.clone());
        ColumnNames { text, text_template, text_pair, label, ..ColumnNames::default() }
    }

    /// Whether another file has these columns, by its first row.
    pub fn check(&self, file: &Path, first: &Record) -> Result<(), Error> {
        match &self.text {
            TextSource::Column(column) => self.require(file, first, "text", column)?,
            TextSource::Template(template) => template.check_text(file, first)?,
        }
        if let Some(text_pair) = &self.text_pair {
            self.require(file, first, "text_pair", text_pair)?;
        }
        if let Some(label) = &self.label {
            self.require(file, first, "label", label)?;
        }
        Ok(())
    }

    fn require(&self, file: &Path, first: &Record, key: &'static str, column: &str) -> Result<(), Error> {
        require(file, first, key, column, &[self.text.column(), self.text_pair.as_deref(), self.label.as_deref()])
    }

    /// Reads a row. Texts must be strings that are not blank; a label must be an integer, a boolean or a string, or be
    /// missing, which [`Labels::index`](crate::Labels::index) refuses where labels matter.
    pub fn example(&self, file: &Path, record: &Record) -> Result<Example, Error> {
        let place = || Place::new(file, record.line);
        let text_pair = self.text_pair.as_ref().map(|column| text(record, column, "text_pair", place)).transpose()?;
        Ok(Example {
            line: record.line,
            text: match &self.text {
                TextSource::Column(column) => text(record, column, "text", place)?,
                TextSource::Template(template) => template.text(file, record)?,
            },
            text_pair,
            label: match &self.label {
                Some(column) => label(record, column, place)?,
                None => None,
            },
        })
    }
}

/// That the first row of a file has a column; `taken` are those that have a meaning already.
pub(crate) fn require(
    file: &Path,
    first: &Record,
    key: &'static str,
    column: &str,
    taken: &[Option<&str>],
) -> Result<(), Error> {
    if first.fields.contains_key(column) {
        return Ok(());
    }
    Err(Error::MissingColumn {
        file: file.to_owned(),
        column: column.to_owned(),
        columns: suggest::list(first.columns()),
        suggestion: match single_cell(file, first) {
            Some(advice) => advice.into(),
            None => replacement(first, key, column, taken),
        },
    })
}

/// What to do about a table whose header is one cell that looks like several: something divides its columns that nobody
/// looks for.
fn single_cell(file: &Path, first: &Record) -> Option<String> {
    let name = file.file_name()?.to_str()?.to_lowercase();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    let mut columns = first.columns();
    let (Some(header), None, true) = (columns.next(), columns.next(), name.ends_with(".csv") || name.ends_with(".tsv"))
    else {
        return None;
    };
    let separator = header.trim().chars().find(|c| !c.is_alphanumeric() && !matches!(c, '_' | '-' | '.' | ' '))?;
    Some(format!(
        "the header is a single cell: commas, semicolons, tabs and bars divide columns, another character where a first \
         line names it, as in `sep={separator}`"
    ))
}

/// The key that would help: with the column of nearest name, else the only one that can be
/// meant, else with a choice.
fn replacement(first: &Record, key: &'static str, column: &str, taken: &[Option<&str>]) -> Advice {
    let fits = |value: &Value| match key {
        "label" => value.is_string() || value.is_boolean() || whole(value).is_some(),
        "messages" => value.is_array(),
        "tokens" | "tags" | "entities" => value.is_array() || value.as_str().is_some_and(|text| text.starts_with('[')),
        "prompt" | "completion" => value.is_string() || value.is_array(),
        _ => value.is_string(),
    };
    let candidates: Vec<&str> = first
        .fields
        .iter()
        .filter(|(name, value)| !taken.contains(&Some(name.as_str())) && fits(value))
        .map(|(name, _)| name.as_str())
        .collect();
    let near = suggest::nearest(column, candidates.iter().copied());
    if let (None, "text", Some(advice)) = (near, key, answers(first)) {
        return advice.into();
    }
    match (near, candidates.as_slice()) {
        (Some(name), _) | (None, &[name]) => Advice::set(key, name),
        (None, []) if key == "prompt" => {
            Advice::column("no other column can be `data.prompt`; texts without a prompt are named with ", "text")
        }
        (None, []) => format!("no other column can be `data.{key}`").into(),
        (None, several) => Advice::set_one_of(key, suggest::list(several.iter().copied())),
    }
}

/// What to say of rows that a language model learns to answer, where texts to classify were asked for.
fn answers(first: &Record) -> Option<String> {
    let is_conversation = |value: &Value| {
        value.as_array().is_some_and(|turns| turns.first().is_some_and(|turn| turn.get("role").is_some()))
    };
    let conversations = first.fields.iter().find(|(_, value)| is_conversation(value)).map(|(name, _)| name);
    let found = match conversations {
        Some(name) => format!("`{name}` holds conversations"),
        None if ["prompt", "completion"].iter().all(|name| first.fields.contains_key(*name)) => {
            "`prompt` and `completion` are there".to_owned()
        }
        None => return None,
    };
    Some(format!("{found}, which a language model learns to answer with `model.task = \"causal-lm\"`"))
}

pub(crate) fn text(
    record: &Record,
    column: &str,
    key: &'static str,
    place: impl Fn() -> Place,
) -> Result<String, Error> {
    let column_name = || column.to_owned();
    match record.fields.get(column) {
        Some(Value::String(text)) if !text.trim().is_empty() => Ok(text.clone()),
        Some(Value::String(_)) => Err(Error::EmptyText { place: place(), column: column_name() }),
        Some(other) => {
            let advice = Advice::column("put the value in double quotes, or choose another column with ", key);
            Err(Error::NotText { place: place(), column: column_name(), found: kind(other), advice })
        }
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
        Some(Value::Bool(truth)) => Ok(Some(Label::Boolean(*truth))),
        Some(other) => match whole(other) {
            Some(index) => Ok(Some(Label::Index(index))),
            None => {
                let found = format!("{} ({other})", kind(other));
                Err(Error::NotALabel { place: place(), column: column.to_owned(), found, advice: classes() })
            }
        },
    }
}

/// What to do about a label that is no class.
pub(crate) fn classes() -> Advice {
    Advice::column("classes are names or the integers 0, 1, 2, ...; another column is chosen with ", "label")
}

/// The integer that a number is, whether or not it is written with a point.
pub(crate) fn whole(value: &Value) -> Option<i64> {
    /// Up to here every integer is a double.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let whole = |number: &f64| number.fract() == 0.0 && number.abs() <= EXACT;
    value.as_i64().or_else(|| value.as_f64().filter(whole).map(|number| number as i64))
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
        let [text, text_pair, label] = [text, text_pair, label].map(|name| name.map(str::to_owned));
        let names = ColumnNames { text, text_pair, label, ..ColumnNames::default() };
        Columns::find(Path::new("train.csv"), &record(first), &names, Labelled::Yes)
    }

    fn by_default() -> Columns {
        Columns { text: TextSource::Column("text".into()), text_pair: None, label: Some("label".into()) }
    }

    fn says(error: &Error) -> (String, String) {
        (error.to_string(), error.help().expect("every error of a column says what to do").to_string())
    }

    #[test]
    fn rows_that_are_answered_lead_to_the_task_that_does_so() {
        let turns = json!([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]);
        let help = |row: Value| says(&find(row, None, None, None).unwrap_err()).1;
        let task = "which a language model learns to answer with `model.task = \"causal-lm\"`";
        assert_eq!(help(json!({"messages": turns})), format!("`messages` holds conversations, {task}"));
        let pair = json!({"prompt": "a", "completion": "b"});
        assert_eq!(help(pair), format!("`prompt` and `completion` are there, {task}"));
        assert_eq!(help(json!({"texts": "a", "messages": turns})), "set `data.text = \"texts\"`");
    }

    #[test]
    fn the_default_pair_column_is_used_where_it_is_present() {
        let with = find(json!({"text": "a", "text_pair": "b", "label": 0}), None, None, None).unwrap();
        assert_eq!(with.text_pair.as_deref(), Some("text_pair"));
        let without = find(json!({"text": "a", "label": 0}), None, None, None).unwrap();
        assert_eq!(without, by_default());
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
    fn a_label_may_be_absent_and_of_any_kind_only_where_none_is_needed() {
        let (row, file) = (record(json!({"text": "a", "class": 1, "weight": 0.5})), Path::new("train.jsonl"));
        let error = Columns::find(file, &row, &ColumnNames::default(), Labelled::Yes).unwrap_err();
        assert_eq!(says(&error).1, "set `data.label = \"class\"`");
        let columns = Columns::find(file, &row, &ColumnNames::default(), Labelled::No).unwrap();
        let example = columns.example(file, &record(json!({"text": "a", "label": [1, 2]}))).unwrap();
        assert_eq!(example.label, None);
    }

    #[test]
    fn a_template_takes_the_place_of_the_text_column() {
        let file = Path::new("train.jsonl");
        let row = record(json!({"text": "t", "a": "x", "b": null, "text_pair": "p", "label": 1}));
        let names = ColumnNames { text_template: Some("{{ a }}-{{ b }}".to_owned()), ..ColumnNames::default() };
        let columns = Columns::find(file, &row, &names, Labelled::Yes).unwrap();
        assert_eq!(columns.names(), ColumnNames { label: Some("label".to_owned()), ..names.clone() });
        let example = columns.example(file, &row).unwrap();
        assert_eq!((example.text.as_str(), example.text_pair), ("x-", None));
        let names = ColumnNames { text_pair: Some("text_pair".to_owned()), ..names };
        let with_pair = Columns::find(file, &row, &names, Labelled::No).unwrap();
        assert_eq!(with_pair.example(file, &row).unwrap().text_pair.as_deref(), Some("p"));
        let other = record(json!({"a": "x", "text": "t", "label": 1}));
        assert_eq!(
            says(&columns.check(Path::new("valid.jsonl"), &other).unwrap_err()).0,
            "valid.jsonl has no column `b` (columns: a, text, label)"
        );
    }

    #[test]
    fn a_template_gives_a_text_that_is_not_blank_and_not_always_the_same() {
        let (file, row) = (Path::new("train.jsonl"), record(json!({"a": null})));
        let find = |source: &str| {
            let names = ColumnNames { text_template: Some(source.to_owned()), ..ColumnNames::default() };
            Columns::find(file, &row, &names, Labelled::No)
        };
        let error = find("{{ a }} ").unwrap().example(file, &row).unwrap_err();
        assert_eq!(error.to_string(), "train.jsonl, line 17: `data.text_template` gives an empty text");
        let error = find("a").unwrap_err();
        assert_eq!(error.to_string(), "`data.text_template` names no column: every row would have the same text");
    }

    fn example(value: Value) -> Result<Example, Error> {
        by_default().example(Path::new("train.jsonl"), &record(value))
    }

    #[test]
    fn labels_are_integers_booleans_strings_or_missing() {
        let label = |value: Value| example(json!({"text": "a", "label": value})).unwrap().label;
        assert_eq!(label(json!(-3)), Some(Label::Index(-3)));
        assert_eq!(label(json!(2.0)), Some(Label::Index(2)), "as pandas writes integers that once had a gap");
        assert_eq!(label(json!(false)), Some(Label::Boolean(false)));
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
