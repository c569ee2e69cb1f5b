//! The rows of a file as tasks read them: texts, alone or in pairs and with labels, what language models say, and words with
//! tags, each with columns of its own kind.

use std::borrow::Cow;
use std::path::Path;

use data::language::{self, Content, Row};
use data::{ColumnNames, Example, LabelCell, Record, tagging};

/// The columns of a file that are read.
#[derive(Debug, Clone, PartialEq)]
pub enum Columns {
    Texts(data::Columns),
    /// Texts, and the column of the number that a model learns for each; `None` where it is not looked at.
    Values(data::Columns, Option<String>),
    /// Texts, and the column of the labels that each has; `None` where it is not looked at.
    Sets(data::Columns, Option<String>),
    Language(language::Columns),
    Tagged(tagging::Columns),
}

impl Columns {
    /// Whether another file has these columns, by its first row.
    pub fn check(&self, file: &Path, first: &Record) -> Result<(), data::Error> {
        match self {
            Self::Texts(columns) => columns.check(file, first),
            Self::Values(columns, target) | Self::Sets(columns, target) => {
                data::Columns { label: target.clone(), ..columns.clone() }.check(file, first)
            }
            Self::Language(columns) => columns.check(file, first),
            Self::Tagged(columns) => columns.check(file, first),
        }
    }

    /// The names by which these columns are found.
    pub fn names(&self) -> ColumnNames {
        match self {
            Self::Texts(columns) => columns.names(),
            Self::Values(columns, target) | Self::Sets(columns, target) => {
                ColumnNames { label: target.clone(), ..columns.names() }
            }
            Self::Language(columns) => columns.names(),
            Self::Tagged(columns) => columns.names(),
        }
    }

    /// Rows read by these columns, none yet.
    pub fn no_rows(&self) -> Rows {
        match self {
            Self::Texts(_) => Rows::Texts(Vec::new()),
            Self::Values(..) => Rows::Values(Vec::new(), Vec::new()),
            Self::Sets(..) => Rows::Sets(Vec::new(), Vec::new()),
            Self::Language(_) => Rows::Language(Vec::new()),
            Self::Tagged(_) => Rows::Tagged(Vec::new()),
        }
    }
}

/// What was read.
#[derive(Debug)]
pub enum Rows {
    Texts(Vec<Example>),
    /// As many numbers as texts; `None` where they are not looked at.
    Values(Vec<Example>, Vec<Option<f32>>),
    /// As many cells of labels as texts; `None` where they are not looked at.
    Sets(Vec<Example>, Vec<Option<LabelCell>>),
    Language(Vec<Row>),
    Tagged(Vec<tagging::Row>),
}

impl Rows {
    /// Reads one more row, by the columns that these were made by.
    pub fn push(&mut self, columns: &Columns, file: &Path, record: &Record) -> Result<(), data::Error> {
        match (self, columns) {
            (Self::Texts(rows), Columns::Texts(columns)) => rows.push(columns.example(file, record)?),
            (Self::Values(rows, values), Columns::Values(columns, column)) => {
                let value = column.as_ref().map(|column| data::value(file, record, column, true)).transpose()?;
                rows.push(columns.example(file, record)?);
                values.push(value.flatten());
            }
            (Self::Sets(rows, cells), Columns::Sets(columns, column)) => {
                let cell = column.as_ref().map(|column| LabelCell::of(file, record, column)).transpose()?;
                rows.push(columns.example(file, record)?);
                cells.push(cell);
            }
            (Self::Language(rows), Columns::Language(columns)) => rows.push(columns.row(file, record)?),
            (Self::Tagged(rows), Columns::Tagged(columns)) => rows.push(columns.row(file, record)?),
            _ => unreachable!("rows are pushed by the columns that they were made by"),
        }
        Ok(())
    }

    #[expect(clippy::len_without_is_empty, reason = "no rows are asked about for being none")]
    pub fn len(&self) -> usize {
        match self {
            Self::Texts(rows) | Self::Values(rows, _) | Self::Sets(rows, _) => rows.len(),
            Self::Language(rows) => rows.len(),
            Self::Tagged(rows) => rows.len(),
        }
    }

    pub fn clear(&mut self) {
        match self {
            Self::Texts(rows) => rows.clear(),
            Self::Values(rows, values) => {
                rows.clear();
                values.clear();
            }
            Self::Sets(rows, cells) => {
                rows.clear();
                cells.clear();
            }
            Self::Language(rows) => rows.clear(),
            Self::Tagged(rows) => rows.clear(),
        }
    }

    /// The rows as texts, for a look at the data.
    pub fn texts(&self) -> Cow<'_, [Example]> {
        match self {
            Self::Texts(rows) | Self::Values(rows, _) | Self::Sets(rows, _) => Cow::Borrowed(rows),
            Self::Language(rows) => rows.iter().map(|row| example(row.line, text(&row.content))).collect(),
            Self::Tagged(rows) => rows.iter().map(|row| example(row.line, words(&row.content))).collect(),
        }
    }
}

fn example(line: usize, text: String) -> Example {
    Example { line, text, text_pair: None, label: None }
}

/// Words as one text, as [`tagging::Words::text`] joins them.
fn words(content: &tagging::Content) -> String {
    match content {
        tagging::Content::Words { words, .. } => words.join(" "),
        tagging::Content::Text { text, .. } => text.clone(),
    }
}

/// A row as one text.
fn text(content: &Content) -> String {
    match content {
        Content::Text(text) => text.clone(),
        Content::Completion { prompt, completion } => format!("{prompt}\n{completion}"),
        Content::Conversation(conversation) => {
            let said = conversation.messages().iter().filter_map(|message| message.get("content")?.as_str());
            said.collect::<Vec<_>>().join("\n")
        }
    }
}
