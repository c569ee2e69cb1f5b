//! Evaluation: the scores of a model over a file.

use std::fmt::Debug;

use crate::HostOutput;
use crate::metrics::{Confusion, OfClass, Scores};

/// What a task gathers over the batches of a file.
pub trait Evaluator: Debug + Send + Sync {
    /// One more batch.
    fn add(&mut self, output: &HostOutput);

    fn scores(&self) -> Scores;

    /// The number of targets in all.
    fn targets(&self) -> usize;

    /// The standard error of the loss over the texts; `None` where it follows from the answers that a run keeps.
    fn loss_error(&self) -> Option<f64> {
        None
    }

    /// How each class came out, by its number; empty for a task without.
    fn by_class(&self) -> Vec<OfClass> {
        Vec::new()
    }

    /// `None` where no class is taken for another.
    fn confusion(&self) -> Option<&Confusion> {
        None
    }
}

/// The index of the largest value, the first of equals.
pub fn largest(row: &[f32]) -> usize {
    row.iter().enumerate().fold(0, |best, (i, value)| if *value > row[best] { i } else { best })
}

/// The sum in f64 and one by one, so that it does not depend on how a file is cut into batches.
pub(crate) fn sum(losses: &[f32]) -> f64 {
    losses.iter().map(|loss| f64::from(*loss)).sum()
}
