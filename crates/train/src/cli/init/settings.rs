//! The numbers that depend on the size of the data and on the lengths of its texts.

use data::Dataset;

use super::Base;
use super::draft::Draft;
use tasks::Use;

/// Optimiser steps that a fine-tuning run should have at least, where epochs can bring them.
const ENOUGH_STEPS: usize = 1500;

/// A model that writes soon repeats what it has read more often.
const FEW_EPOCHS: usize = 3;

/// Epochs without improvement: one worse evaluation is chance, three in a row are none.
const PATIENCE: usize = 3;

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Settings {
    /// In tokens.
    pub(super) max_length: usize,
    pub(super) lengths: Percentiles,
    /// Texts longer than `max_length`.
    pub(super) truncated: usize,
    pub(super) batch_size: usize,
    pub(super) epochs: usize,
    pub(super) steps_per_epoch: usize,
    /// `None`: the default.
    pub(super) learning_rate: Option<f64>,
    /// Evaluations without improvement after which training ends; 0 where nothing is evaluated.
    pub(super) patience: usize,
}

/// Lengths in tokens, by nearest rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Percentiles {
    pub(super) median: usize,
    pub(super) p99: usize,
    pub(super) longest: usize,
}

impl Settings {
    pub(super) fn new(draft: &Draft, base: &Base) -> Self {
        let train = &draft.plan.train;
        let limit = draft.plan.config.data.max_length.unwrap_or(usize::MAX);
        let (of_train, of_valid) = (lengths(Some(train)), lengths(draft.plan.valid.as_deref()));
        // The validation data may be longer, and what is cut there is missing from the scores.
        let p99 = Percentiles::of(of_train.clone()).p99.max(Percentiles::of(of_valid.clone()).p99);
        let max_length = max_length(p99, limit);
        let lengths = [of_train, of_valid].concat();
        let batch_size = batch_size(train.len());
        let epochs = match draft.plan.config.model.task.usage {
            Use::Generate => epochs(train.len()).min(FEW_EPOCHS),
            Use::Predict | Use::Score => epochs(train.len()),
        };
        Self {
            max_length,
            truncated: lengths.iter().filter(|length| **length > max_length).count(),
            lengths: Percentiles::of(lengths),
            batch_size,
            epochs,
            steps_per_epoch: train.len().div_ceil(batch_size),
            // Its weights are a hundredth of a real model's and have to move further, as in the quickstart itself.
            learning_rate: base.embedded.then_some(3e-3),
            patience: if draft.plan.valid.is_some() { PATIENCE } else { 0 },
        }
    }

    pub(super) fn steps(&self) -> usize {
        self.epochs * self.steps_per_epoch
    }
}

impl Percentiles {
    fn of(mut lengths: Vec<usize>) -> Self {
        lengths.sort_unstable();
        let rank = |percent: usize| match (lengths.len() * percent).div_ceil(100) {
            0 => 0,
            rank => lengths[rank - 1],
        };
        Self { median: rank(50), p99: rank(99), longest: rank(100) }
    }
}

/// Before truncation.
fn lengths(dataset: Option<&Dataset>) -> Vec<usize> {
    dataset.map_or_else(Vec::new, |dataset| dataset.iter().map(|it| it.full_length()).collect())
}

/// Room for 99 of 100 texts, in steps of 8 that memory and kernels like.
fn max_length(p99: usize, limit: usize) -> usize {
    p99.next_multiple_of(8).max(8).min(limit)
}

/// Small data needs many updates more than it needs smooth ones.
fn batch_size(examples: usize) -> usize {
    match examples {
        0..1_000 => 8,
        1_000..20_000 => 16,
        _ => 32,
    }
}

/// Until there are enough steps, but never so many that a small data set is learnt by heart; and once over large data is
/// as good as three times over less.
fn epochs(examples: usize) -> usize {
    if examples >= 200_000 {
        return 1;
    }
    let per_epoch = examples.div_ceil(batch_size(examples)).max(1);
    ENOUGH_STEPS.div_ceil(per_epoch).clamp(3, 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_has_room_for_almost_all_texts_and_no_more_than_the_model_takes() {
        assert_eq!([3, 8, 9, 57, 300].map(|p99| max_length(p99, 80)), [8, 8, 16, 64, 80]);
        assert_eq!(max_length(900, 512), 512);
    }

    #[test]
    fn small_data_is_seen_more_often() {
        let sizes = [30, 500, 3_300, 8_000, 40_000, 500_000];
        assert_eq!(sizes.map(batch_size), [8, 8, 16, 16, 32, 32]);
        assert_eq!(sizes.map(epochs), [20, 20, 8, 3, 3, 1]);
    }
}
