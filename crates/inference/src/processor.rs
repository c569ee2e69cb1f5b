//! What a trained model is besides its weights: how rows become questions, and what outputs say.

use std::path::Path;
use std::sync::Arc;

use data::language::Purpose;
use data::{ColumnNames, Record, Tokenizer};
use indexmap::IndexMap;
use serde_json::Value;
use tasks::{Answer, Columns, Encoding, Fitted, Question, Rows, Task};

use crate::Error;

/// Tokenizer, task and columns of a trained model, as it was trained with them.
#[derive(Debug)]
pub struct Processor {
    /// With its labels, templates and settings.
    pub task: Arc<dyn Task>,
    pub tokenizer: Arc<Tokenizer>,
    /// In tokens: what is longer is truncated, or read in windows.
    pub max_length: usize,
    pub columns: ColumnNames,
    /// What was fitted to the validation data.
    pub fitted: Fitted,
}

impl Processor {
    /// What the model is asked about texts.
    ///
    /// Errors: a model that reads several columns; a text that cannot be read, named by its number as a line.
    pub fn questions_of_texts(&self, texts: &[&str]) -> Result<Vec<Question>, Error> {
        let records = texts.iter().enumerate().map(|(n, text)| self.record_of_text(n + 1, (*text).to_string()));
        self.questions(&records.collect::<Result<Vec<_>, _>>()?)
    }

    /// What the model is asked about rows: of the columns that the first row has, those that the model reads. Messages call a row
    /// by its line.
    pub fn questions(&self, records: &[Record]) -> Result<Vec<Question>, Error> {
        let Some(first) = records.first() else { return Ok(Vec::new()) };
        let file = Path::new("the input");
        let columns = self.columns_of(file, first)?;
        let question = |record: &Record| Ok(self.question(file, &self.row(&columns, file, record)?)?);
        records.iter().map(question).collect()
    }

    /// The columns to read of a file, by its first row.
    pub fn columns_of(&self, file: &Path, first: &Record) -> Result<Columns, data::Error> {
        (self.task.definition().columns)(file, first, &self.columns, Purpose::Prompts)
    }

    /// Whether it was trained on texts, and not on pairs of them. A model without a `kindling.json` says of no columns what they were.
    pub fn reads_single_texts(&self) -> bool {
        let is_recorded = self.columns.text.is_some() || self.columns.text_template.is_some();
        let is_of_pairs = self.task.definition().keys.contains(&"data.text_pair");
        self.columns.text_pair.is_none() && (is_recorded || !is_of_pairs)
    }

    /// A text as the row of a file that has the only column the model reads.
    pub fn record_of_text(&self, line: usize, text: String) -> Result<Record, Error> {
        let mut columns = self.columns.of_text()?;
        let column = match columns.as_slice() {
            [_] => columns.remove(0),
            _ => return Err(Error::SeveralColumns { columns }),
        };
        Ok(Record { line, fields: IndexMap::from([(column, Value::String(text))]) })
    }

    /// A row alone, as [`Self::question`] takes it.
    pub fn row(&self, columns: &Columns, file: &Path, record: &Record) -> Result<Rows, data::Error> {
        let mut row = columns.no_rows();
        row.push(columns, file, record)?;
        Ok(row)
    }

    /// What the model is asked about a row, which stands alone in `row`.
    pub fn question(&self, file: &Path, row: &Rows) -> Result<Question, data::Error> {
        self.task.question(file, row, &Encoding::new(&self.tokenizer, self.max_length))
    }

    /// What the head's outputs for a question say, `[Question::outputs, outputs]`.
    ///
    /// Errors: a task whose models do not answer rows, such as a language model's.
    pub fn answer_to(&self, question: &Question, outputs: &[f32]) -> Result<Answer, Error> {
        self.task.answer_to(question, outputs).ok_or(Error::NoAnswers { task: self.task.definition().id() })
    }
}
