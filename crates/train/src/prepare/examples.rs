//! The examples of a run: read, split, their classes numbered, and checked against the model.

use std::path::Path;

use data::language::{Content, Encoder, Row};
use data::{
    Dataset, Encoded, Example, Finding, Labels, Reading, Template, Tokenizer, Truncation, Written, lint, records,
};
use model::Pretrained;
use sha2::{Digest, Sha256};

use super::Error;
use crate::adapter::Adapter;
use crate::config;
use crate::tasks::{Columns, Rows};

/// The rows of a file, by the columns of the configuration or those found in another file.
pub(super) fn read(file: &Path, config: &config::Config, as_in: Option<&Columns>) -> Result<(Columns, Rows), Error> {
    let mut records = records(file)?.peekable();
    let first = match records.peek() {
        Some(Ok(first)) => first.clone(),
        _ => match records.next() {
            Some(Err(error)) => return Err(error.into()),
            _ => return Err(data::Error::Empty { file: file.into() }.into()),
        },
    };
    let columns = match as_in {
        Some(columns) => {
            columns.check(file, &first)?;
            columns.clone()
        }
        None => find(file, config, &first)?,
    };
    let mut rows = columns.no_rows();
    for record in records {
        rows.push(&columns, file, &record?)?;
    }
    Ok((columns, rows))
}

fn find(file: &Path, config: &config::Config, first: &data::Record) -> Result<Columns, Error> {
    let data = &config.data;
    let template = |key: &str, source: &str| match source {
        "" => Ok(None),
        source => Template::new(key, source).map(Some),
    };
    let text = template("data.text_template", &data.text_template)?;
    let prompt = template("data.prompt_template", &data.prompt_template)?;
    let completion = template("data.completion_template", &data.completion_template)?;
    let written = Written {
        text: data.text.as_deref(),
        text_template: text.as_ref(),
        text_pair: data.text_pair.as_deref(),
        label: data.label.as_deref(),
        prompt: data.prompt.as_deref(),
        prompt_template: prompt.as_ref(),
        completion: data.completion.as_deref(),
        completion_template: completion.as_ref(),
        messages: data.messages.as_deref(),
    };
    Ok(Columns::find(config.model.task, file, first, written)?)
}

/// `model.labels`, else those of `init_from`, else those of a base with a trained head, else from the training data.
pub(super) fn labels(
    config: &config::Config,
    init_from: Option<&Adapter>,
    pretrained: &Pretrained,
    rows: &Rows,
) -> Result<Labels, Error> {
    if let Some(names) = &config.model.labels {
        return Ok(Labels::new(names.clone())?);
    }
    if let Some(sidecar) = init_from.and_then(|adapter| adapter.sidecar.as_ref()) {
        return Ok(Labels::new(sidecar.labels.clone())?);
    }
    match (pretrained.labels()?, rows) {
        (Some(names), _) => Ok(Labels::new(names)?),
        (None, Rows::Texts(examples)) => Ok(Labels::from_examples(&config.data.train, examples)?),
        (None, Rows::Language(_)) => unreachable!("classifiers read labelled texts"),
    }
}

/// An adapter to go on from brings a head for as many classes.
pub(super) fn check_classes(
    init_from: Option<&Adapter>,
    labels: &Labels,
    config: &config::Config,
) -> Result<(), Error> {
    let found = init_from.and_then(Adapter::classes);
    match (found, &config.adapter.init_from) {
        (Some(found), Some(path)) if found != labels.len() => {
            Err(Error::Classes { path: path.clone(), found, expected: labels.len() })
        }
        _ => Ok(()),
    }
}

/// What a look at the splits shows: each as texts, and as what was encoded of them.
pub(super) fn findings(
    (train, texts): (&Dataset, &[Example]),
    valid: Option<(&Dataset, &[Example])>,
    labels: Option<&Labels>,
    tokenizer: &Tokenizer,
    (max_length, positions): (usize, usize),
) -> Vec<Finding> {
    // The validation data is of the same kind, and what is said of one split need not be said of both.
    let reading = Reading::of(tokenizer, texts);
    let cut =
        |dataset: &Dataset| Truncation { is_most: max_length >= positions, ..Truncation::of(dataset, max_length) };
    let cut_valid = valid.map(|(valid, _)| cut(valid));
    let cut = cut(train);
    let valid = valid.map(|(encoded, examples)| data::Rows {
        file: encoded.file(),
        examples,
        truncation: cut_valid.as_ref(),
        reading: None,
    });
    let train = data::Rows { file: train.file(), examples: texts, truncation: Some(&cut), reading: Some(&reading) };
    lint(train, valid, labels)
}

/// A prompt, and the answer that is expected to it.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    pub(crate) prompt: String,
    pub(crate) ids: Vec<u32>,
    pub(crate) answer: String,
    pub(crate) answer_tokens: usize,
}

/// The first rows that have an answer: texts have none.
pub(super) fn questions(
    file: &Path,
    rows: &Rows,
    encoder: &Encoder<'_>,
    (tokenizer, pretrained): (&Tokenizer, &Pretrained),
    count: usize,
) -> Result<Vec<Question>, Error> {
    let Rows::Language(rows) = rows else { return Ok(Vec::new()) };
    let answered = rows.iter().filter_map(|row| {
        Some((
            row,
            match &row.content {
                Content::Text(_) => return None,
                Content::Completion { completion, .. } => completion.as_str(),
                Content::Conversation(conversation) => conversation.answer()?,
            },
        ))
    });
    let question = |(row, answer): (&Row, &str)| {
        let encoded = encoder.prompt(file, row)?;
        check_vocabulary([&encoded].into_iter(), pretrained)?;
        let ids = encoded.ids;
        let prompt = tokenizer.text(&ids);
        let answer_tokens = tokenizer.encode(answer, None, usize::MAX)?.ids.len();
        Ok(Question { prompt, ids, answer: answer.to_string(), answer_tokens })
    };
    answered.take(count).map(question).collect()
}

/// Every token has its row in the embedding.
pub(crate) fn check_vocabulary<'a>(
    encoded: impl Iterator<Item = &'a Encoded>,
    pretrained: &Pretrained,
) -> Result<(), Error> {
    let largest = encoded.flat_map(|encoded| &encoded.ids).max();
    match (largest, pretrained.vocabulary_size()) {
        (Some(id), Some(rows)) if *id as usize >= rows => Err(Error::Vocabulary { id: *id, rows }),
        _ => Ok(()),
    }
}

/// Every text has a token that can be guessed.
pub(crate) fn check_maskable(dataset: &Dataset, tokenizer: &Tokenizer) -> Result<(), Error> {
    let special = tokenizer.special_tokens();
    let is_blank =
        |example: &&data::EncodedExample| example.encoded.ids.iter().all(|id| special.binary_search(id).is_ok());
    match dataset.examples.iter().find(is_blank) {
        Some(example) => {
            let place = data::Place::new(dataset.file(), example.line).to_string();
            Err(Error::NothingToMask { place })
        }
        None => Ok(()),
    }
}

/// SHA-256 over ids and targets of all examples.
pub(super) fn fingerprint(train: &Dataset, valid: Option<&Dataset>) -> String {
    let mut hash = Sha256::new();
    for dataset in [Some(train), valid].into_iter().flatten() {
        hash.update((dataset.len() as u64).to_le_bytes());
        for example in &dataset.examples {
            hash.update((example.encoded.ids.len() as u64).to_le_bytes());
            example.encoded.ids.iter().for_each(|id| hash.update(id.to_le_bytes()));
            hash.update((example.target.unwrap_or(0) as u64).to_le_bytes());
            for span in &example.spans {
                hash.update((span.start as u64).to_le_bytes());
                hash.update((span.end as u64).to_le_bytes());
            }
        }
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
