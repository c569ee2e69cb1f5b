//! The examples of a run: read, split, their classes numbered, and checked against the model.

use std::path::Path;

use data::{
    Columns, Dataset, Encoded, Example, Finding, Labelled, Labels, Rows, Template, Tokenizer, Truncation, Written,
    lint, records, stratified,
};
use model::Pretrained;
use sha2::{Digest, Sha256};

use super::Error;
use crate::adapter::Adapter;
use crate::config;

pub(super) struct Splits {
    pub(super) train: Vec<Example>,
    pub(super) valid: Option<Vec<Example>>,
}

impl Splits {
    /// Moves a share of each class from the training data to the validation data, here and in what was encoded.
    pub(super) fn split_off(&mut self, encoded: &mut Dataset, fraction: f64, seed: u64) -> Dataset {
        let targets: Vec<usize> = encoded.examples.iter().map(|example| example.target.unwrap_or(0)).collect();
        let chosen = stratified(&targets, fraction, seed);
        let is_chosen = |index: usize| chosen.binary_search(&index).is_ok();
        let numbered = std::mem::take(&mut self.train).into_iter().enumerate();
        let (valid, train): (Vec<_>, Vec<_>) = numbered.partition(|(index, _)| is_chosen(*index));
        let examples = |part: Vec<(usize, Example)>| part.into_iter().map(|(_, example)| example).collect();
        (self.train, self.valid) = (examples(train), Some(examples(valid)));
        encoded.split_off(&chosen)
    }
}

/// The examples of a file, by the columns of the configuration or those found in another file.
pub(super) fn read(
    file: &Path,
    data: &config::DataConfig,
    as_in: Option<&Columns>,
    labelled: Labelled,
) -> Result<(Columns, Vec<Example>), Error> {
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
        None => {
            let (text, text_pair, label) = (data.text.as_deref(), data.text_pair.as_deref(), data.label.as_deref());
            let template = match data.text_template.as_str() {
                "" => None,
                source => Some(Template::new("data.text_template", source)?),
            };
            let written = Written { text, text_template: template.as_ref(), text_pair, label, ..Written::default() };
            Columns::find(file, &first, written, labelled)?
        }
    };
    let mut examples = Vec::new();
    for record in records {
        examples.push(columns.example(file, &record?)?);
    }
    Ok((columns, examples))
}

/// `model.labels`, else those of `init_from`, else those of a base with a trained head, else from the training data.
pub(super) fn labels(
    config: &config::Config,
    init_from: Option<&Adapter>,
    pretrained: &Pretrained,
    examples: &[Example],
) -> Result<Labels, Error> {
    if let Some(names) = &config.model.labels {
        return Ok(Labels::new(names.clone())?);
    }
    if let Some(sidecar) = init_from.and_then(|adapter| adapter.sidecar.as_ref()) {
        return Ok(Labels::new(sidecar.labels.clone())?);
    }
    match pretrained.labels()? {
        Some(names) => Ok(Labels::new(names)?),
        None => Ok(Labels::from_examples(&config.data.train, examples)?),
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

/// What a look at the splits shows; `train` and `valid` are what was encoded of them.
pub(super) fn findings(
    splits: &Splits,
    train: &Dataset,
    valid: Option<&Dataset>,
    labels: Option<&Labels>,
    max_length: usize,
) -> Vec<Finding> {
    let cut = Truncation::of(train, max_length);
    let cut_valid = valid.map(|valid| Truncation::of(valid, max_length));
    let valid = valid.zip(splits.valid.as_deref()).map(|(encoded, examples)| Rows {
        file: encoded.file(),
        examples,
        truncation: cut_valid.as_ref(),
    });
    let train = Rows { file: train.file(), examples: &splits.train, truncation: Some(&cut) };
    lint(train, valid, labels)
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
        }
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
