//! Metrics: those that burn has are burn's; here is what it lacks, and the scores that are written to files.

mod confusion;
mod generation;
pub(crate) mod interval;
mod score;
mod scores;

pub(crate) use confusion::ConfusionMetric;
pub(crate) use generation::{Generated, GenerationScores};
pub(crate) use score::ScoreMetric;
#[cfg(test)]
pub(crate) use scores::ClassificationScores;
pub(crate) use scores::{Confusion, Scores, Span, span};
