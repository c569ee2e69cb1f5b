//! Answers to rows: classes with probabilities, entities with their places, numbers.

use std::path::Path;

use data::Record;
use data::language::Purpose;
use indexmap::IndexMap;
use model::Pretrained;
use serde_json::Value;
use tasks::{Answer, Columns, Encoding, MicroBatch, Question, Rows, Sequence, check_vocabulary, host};

use crate::{Error, Pipeline};

/// Sequences that go through the model together; a long text may be many.
const BATCH: usize = 64;

impl Pipeline {
    /// The answers to texts, in their order.
    ///
    /// Errors: a model that reads several columns; a text that cannot be read, named by its number as a line.
    pub fn answer_texts(&self, texts: &[&str]) -> Result<Vec<Answer>, Error> {
        let records = texts.iter().enumerate().map(|(n, text)| self.record_of_text(n + 1, (*text).to_string()));
        self.answer_records(&records.collect::<Result<Vec<_>, _>>()?)
    }

    /// The answers to rows, in their order: of the columns that the first row has, those that the model reads. Messages call a
    /// row by its line.
    pub fn answer_records(&self, records: &[Record]) -> Result<Vec<Answer>, Error> {
        let Some(first) = records.first() else { return Ok(Vec::new()) };
        let file = Path::new("the input");
        let columns = self.columns_of(file, first)?;
        let question = |record: &Record| self.question(file, &self.row(&columns, file, record)?);
        let questions = records.iter().map(question).collect::<Result<Vec<_>, _>>()?;
        self.answer(&questions)
    }

    /// The columns to read of a file, by its first row.
    pub fn columns_of(&self, file: &Path, first: &Record) -> Result<Columns, data::Error> {
        (self.task.definition().columns)(file, first, &self.columns, Purpose::Prompts)
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

    /// A row alone, as [`Pipeline::question`] takes it.
    pub fn row(&self, columns: &Columns, file: &Path, record: &Record) -> Result<Rows, data::Error> {
        let mut row = columns.no_rows();
        row.push(columns, file, record)?;
        Ok(row)
    }

    /// What the model is asked about a row, which stands alone in `row`.
    pub fn question(&self, file: &Path, row: &Rows) -> Result<Question, data::Error> {
        let (tokenizer, max_length) = (&self.tokenizer, self.max_length);
        self.task.question(file, row, &Encoding { tokenizer, max_length, progress: &|_| {} })
    }

    /// The answers to questions, in their order.
    ///
    /// Errors: tokens that the model has no embeddings for; outputs that are no finite numbers; a task whose models do not
    /// answer rows, such as a language model's.
    pub fn answer(&self, questions: &[Question]) -> Result<Vec<Answer>, Error> {
        let sequences: Vec<&Sequence> = questions.iter().flat_map(|question| &question.sequences).collect();
        check_vocabulary(sequences.iter().map(|sequence| &sequence.encoded), &self.pretrained)?;
        let (mut outputs, mut width) = (Vec::new(), 0);
        for sequences in sequences.chunks(BATCH) {
            let batch = Sequence::batch(sequences.iter().copied());
            let found = self.model.logits(&MicroBatch::evaluation(batch));
            width = found.dims()[1];
            outputs.extend(host(found));
        }
        if !outputs.iter().all(|output| output.is_finite()) {
            return Err(not_finite(&self.pretrained, "the logits"));
        }
        let mut rest = outputs.as_slice();
        let answer = |question: &Question| {
            let (own, others) = rest.split_at(question.outputs() * width);
            rest = others;
            let task = self.task.definition().id();
            self.task.answer_to(question, own).ok_or(Error::NoAnswers { task })
        };
        questions.iter().map(answer).collect()
    }
}

/// Why `what` are no finite numbers: the weight that is to blame, which is looked for only then, or that they have become too
/// large on the way.
pub fn not_finite(pretrained: &Pretrained, what: &'static str) -> Error {
    match pretrained.not_finite() {
        Ok(Some(error)) | Err(error) => error.into(),
        Ok(None) => Error::NotFinite { what },
    }
}
