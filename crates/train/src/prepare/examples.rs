//! The examples of a run: their classes, and whether they fit the model.

use std::path::Path;

use data::{Dataset, ExampleTarget, Labels};
use model::Pretrained;
use sha2::{Digest, Sha256};

use super::Error;
use crate::config;
use inference::Adapter;
use tasks::LabelFinder;

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
