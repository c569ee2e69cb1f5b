//! The examples of a run: their columns, their classes, and whether they fit the model.

use std::path::Path;

use data::language::Purpose;
use data::{Dataset, ExampleTarget, Labels, Template, Written};
use model::Pretrained;
use sha2::{Digest, Sha256};

use super::Error;
use crate::config;
use inference::Adapter;
use tasks::{Columns, LabelFinder};

/// The columns of the configuration in a file, whose first row this is.
pub(super) fn find(file: &Path, config: &config::Config, first: &data::Record) -> Result<Columns, Error> {
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
        tokens: data.tokens.as_deref(),
        tags: data.tags.as_deref(),
        entities: data.entities.as_deref(),
    };
    Ok((config.model.task.columns)(file, first, written, Purpose::Training)?)
}

/// `model.labels`, else those of `init_from`, else those of a base with a trained head, else from the training data, whose
/// files messages call `name`.
pub(super) fn labels(
    config: &config::Config,
    init_from: Option<&Adapter>,
    pretrained: &Pretrained,
    (finder, name): (&dyn LabelFinder, &str),
) -> Result<Labels, Error> {
    if let Some(names) = &config.model.labels {
        return Ok(Labels::new(names.clone())?);
    }
    if let Some(sidecar) = init_from.and_then(|adapter| adapter.sidecar.as_ref()) {
        return Ok(Labels::new(sidecar.labels.clone())?);
    }
    match pretrained.labels()? {
        Some(names) => Ok(Labels::new(names)?),
        None => Ok(finder.labels(Path::new(name))?),
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

/// SHA-256 over ids and targets of all examples.
pub(super) fn fingerprint(train: &Dataset, valid: Option<&Dataset>) -> String {
    let mut hash = Sha256::new();
    for dataset in [Some(train), valid].into_iter().flatten() {
        hash.update((dataset.len() as u64).to_le_bytes());
        for example in dataset.iter() {
            hash.update((example.len() as u64).to_le_bytes());
            example.ids().for_each(|id| hash.update(id.to_le_bytes()));
            hash_target(&example.target(), &mut hash);
            for span in example.spans() {
                hash.update((span.start as u64).to_le_bytes());
                hash.update((span.end as u64).to_le_bytes());
            }
        }
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hash_target(target: &ExampleTarget, hash: &mut Sha256) {
    let mut number = |number: usize| hash.update((number as u64).to_le_bytes());
    match target {
        ExampleTarget::None => number(0),
        ExampleTarget::Class(class) => number(*class),
        ExampleTarget::Value(value) => hash.update(value.to_le_bytes()),
        ExampleTarget::Set(classes) => {
            number(classes.len());
            classes.iter().for_each(|class| number(*class));
        }
        ExampleTarget::TokenClasses(tokens) => {
            number(tokens.len());
            tokens.iter().for_each(|(token, class)| [*token, *class].into_iter().for_each(&mut number));
        }
    }
}
