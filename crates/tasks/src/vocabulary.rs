//! Whether a tokenizer's ids are a model's.

use data::{Dataset, Encoded};
use model::Pretrained;

use crate::Error;

/// Every token has its row in the embedding, and its segment.
pub fn check_vocabulary<'a>(
    encoded: impl Iterator<Item = &'a Encoded> + Clone,
    pretrained: &Pretrained,
) -> Result<(), Error> {
    check_ids(encoded.clone().flat_map(|encoded| encoded.ids.iter().copied()), pretrained)?;
    check_segments(encoded.flat_map(|encoded| encoded.type_ids.iter().copied()), pretrained)
}

/// As `check_vocabulary`, of all examples of a data set.
pub fn check_dataset(dataset: &Dataset, pretrained: &Pretrained) -> Result<(), Error> {
    check_ids(dataset.iter().flat_map(|example| example.ids()), pretrained)?;
    check_segments(dataset.iter().flat_map(|example| example.type_ids()), pretrained)
}

fn check_ids(ids: impl Iterator<Item = u32>, pretrained: &Pretrained) -> Result<(), Error> {
    match (ids.max(), pretrained.vocabulary_size()) {
        (Some(id), Some(rows)) if id as usize >= rows => Err(Error::Vocabulary { id, rows }),
        _ => Ok(()),
    }
}

fn check_segments(types: impl Iterator<Item = u32>, pretrained: &Pretrained) -> Result<(), Error> {
    match (types.max(), pretrained.segments()) {
        (Some(id), Some(segments)) if id as usize >= segments => Err(Error::Segments { id, segments }),
        _ => Ok(()),
    }
}
