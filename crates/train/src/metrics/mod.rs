//! Metrics: those that burn has are burn's; here is what it lacks, and the scores that are written to files.

#[cfg_attr(not(test), expect(dead_code, reason = "the tasks that use it follow"))]
pub(crate) mod calibration;
mod confusion;
#[cfg_attr(not(test), expect(dead_code, reason = "the tasks that use it follow"))]
pub(crate) mod cross_entropy;
#[cfg_attr(not(test), expect(dead_code, reason = "the tasks that use it follow"))]
pub(crate) mod entities;
mod generation;
pub(crate) mod interval;
#[cfg_attr(not(test), expect(dead_code, reason = "the tasks that use it follow"))]
pub(crate) mod multi_label;
#[cfg_attr(not(test), expect(dead_code, reason = "the tasks that use it follow"))]
pub(crate) mod regression;
mod score;
mod scores;

pub(crate) use confusion::ConfusionMetric;
pub(crate) use generation::{Generated, GenerationScores};
pub(crate) use score::ScoreMetric;
#[cfg(test)]
pub(crate) use scores::ClassificationScores;
pub(crate) use scores::{Confusion, Scores, Span, span};
