//! Classes, entities and values of the texts of one request.

use std::path::Path;

use data::Record;
use indexmap::IndexMap;
use inference::{Answer, Pipeline};
use tasks::Question;

use super::Error;
use super::worker::Fault;

/// A text, or a pair of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Text {
    pub(crate) text: String,
    pub(crate) pair: Option<String>,
}

#[derive(Debug, Clone)]
pub(crate) struct Inputs {
    pub(crate) texts: Vec<Text>,
    /// Whether texts that are too long are answered by their beginning.
    pub(crate) truncate: bool,
}

/// An answer, and the tokens that it was read from.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) answer: Answer,
    pub(crate) tokens: usize,
}

pub(super) fn answer(pipeline: &Pipeline, inputs: &Inputs) -> Result<Vec<Answered>, Fault> {
    let questions: Vec<Question> = inputs
        .texts
        .iter()
        .zip(1..)
        .map(|(text, number)| question(pipeline, text, number))
        .collect::<Result<_, _>>()?;
    if !inputs.truncate {
        check_lengths(pipeline, &questions)?;
    }
    let tokens = |question: &Question| question.sequences.iter().map(|sequence| sequence.encoded.ids.len()).sum();
    let answers = pipeline.answer(&questions)?;
    Ok(answers.into_iter().zip(&questions).map(|(answer, of)| Answered { answer, tokens: tokens(of) }).collect())
}

/// What the model is asked about a text: a row of the columns that it was trained on.
fn question(pipeline: &Pipeline, text: &Text, number: usize) -> Result<Question, Fault> {
    let (columns, file) = (pipeline.columns.of_text()?, Path::new("the input"));
    let fields = match (columns.as_slice(), &text.pair) {
        ([first], None) => vec![(first.clone(), &text.text)],
        ([first], Some(pair)) => vec![(first.clone(), &text.text), ("text_pair".to_string(), pair)],
        ([first, second], Some(pair)) if pipeline.columns.text_template.is_none() => {
            vec![(first.clone(), &text.text), (second.clone(), pair)]
        }
        _ if pipeline.columns.text_template.is_none() => {
            return Err(Fault::Engine(Error::input("the model reads pairs of texts: give two for each answer")));
        }
        _ => {
            let columns = columns.join(", ");
            let message = format!(
                "the model reads a template of several columns ({columns}), not texts: `kindling predict` answers its rows"
            );
            return Err(Fault::Engine(Error::input(message)));
        }
    };
    let fields: IndexMap<_, _> = fields.into_iter().map(|(column, text)| (column, text.as_str().into())).collect();
    let record = Record { line: number, fields };
    let columns = pipeline.columns_of(file, &record)?;
    Ok(pipeline.question(file, &pipeline.row(&columns, file, &record)?)?)
}

fn check_lengths(pipeline: &Pipeline, questions: &[Question]) -> Result<(), Fault> {
    let Some((question, number)) = questions.iter().zip(1..).find(|(question, _)| question.is_truncated) else {
        return Ok(());
    };
    let (limit, encoded) = (pipeline.max_length, question.sequences.iter().map(|sequence| &sequence.encoded).next());
    let message = match encoded {
        Some(encoded) => {
            let (tokens, excess) = (encoded.full_length, encoded.full_length.saturating_sub(limit));
            let least = if encoded.at_least { "at least " } else { "" };
            format!(
                "text {number} has {least}{tokens} tokens, {excess} too many: the model reads {limit}; shorten it, or let it be truncated"
            )
        }
        None => format!("text {number} is too long: the model reads {limit} tokens"),
    };
    Err(Fault::Engine(Error::Truncated { message }))
}
