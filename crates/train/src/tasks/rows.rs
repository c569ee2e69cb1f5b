//! The rows of a file as a task reads them: labelled texts for classifiers and masked language models, and what causal
//! language models say, each with columns of its own kind.

use std::borrow::Cow;
use std::path::Path;

use data::language::{self, Content, Purpose, Row};
use data::{Dataset, Example, Labelled, Record, Tokenizer, Written};

use super::Task;
use crate::config;

/// The columns of a file that are read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Columns {
    Texts(data::Columns),
    Language(language::Columns),
}

impl Columns {
    pub(crate) fn find(
        task: config::Task,
        file: &Path,
        first: &Record,
        written: Written<'_>,
    ) -> Result<Self, data::Error> {
        Ok(match task {
            config::Task::SequenceClassification => {
                Self::Texts(data::Columns::find(file, first, written, Labelled::Yes)?)
            }
            config::Task::MaskedLm => Self::Texts(data::Columns::find(file, first, written, Labelled::No)?),
            config::Task::CausalLm => Self::Language(language::Columns::find(file, first, written, Purpose::Training)?),
        })
    }

    /// Whether another file has these columns, by its first row.
    pub(crate) fn check(&self, file: &Path, first: &Record) -> Result<(), data::Error> {
        match self {
            Self::Texts(columns) => columns.check(file, first),
            Self::Language(columns) => columns.check(file, first),
        }
    }

    /// Rows read by these columns, none yet.
    pub(crate) fn no_rows(&self) -> Rows {
        match self {
            Self::Texts(_) => Rows::Texts(Vec::new()),
            Self::Language(_) => Rows::Language(Vec::new()),
        }
    }
}

/// What was read.
#[derive(Debug)]
pub(crate) enum Rows {
    Texts(Vec<Example>),
    Language(Vec<Row>),
}

impl Rows {
    /// Reads one more row, by the columns that these were made by.
    pub(crate) fn push(&mut self, columns: &Columns, file: &Path, record: &Record) -> Result<(), data::Error> {
        match (self, columns) {
            (Self::Texts(rows), Columns::Texts(columns)) => rows.push(columns.example(file, record)?),
            (Self::Language(rows), Columns::Language(columns)) => rows.push(columns.row(file, record)?),
            _ => unreachable!("rows are pushed by the columns that they were made by"),
        }
        Ok(())
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Texts(rows) => rows.len(),
            Self::Language(rows) => rows.len(),
        }
    }

    pub(crate) fn clear(&mut self) {
        match self {
            Self::Texts(rows) => rows.clear(),
            Self::Language(rows) => rows.clear(),
        }
    }

    pub(crate) fn encode(
        &self,
        file: &Path,
        task: &Task,
        tokenizer: &Tokenizer,
        max_length: usize,
        progress: &(dyn Fn(usize) + Sync),
    ) -> Result<Dataset, data::Error> {
        match (self, task) {
            (Self::Language(rows), Task::CausalLm(causal)) => {
                Dataset::encode_rows(file, rows, &causal.encoder(tokenizer), max_length, progress)
            }
            (Self::Texts(rows), _) => Dataset::encode(file, rows, task.labels(), tokenizer, max_length, progress),
            (Self::Language(_), _) => unreachable!("rows are read for the task that encodes them"),
        }
    }

    /// The rows as texts, for a look at the data.
    pub(crate) fn texts(&self) -> Cow<'_, [Example]> {
        match self {
            Self::Texts(rows) => Cow::Borrowed(rows),
            Self::Language(rows) => rows
                .iter()
                .map(|row| Example { line: row.line, text: text(&row.content), text_pair: None, label: None })
                .collect(),
        }
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
