//! Metrics: those that burn has are burn's; here is what it lacks, and the scores that are written to files.

mod confusion;
mod generation;
pub mod interval;
mod score;
mod scores;

pub use confusion::ConfusionMetric;
pub use generation::{Generated, GenerationScores};
pub use score::ScoreMetric;
pub use scores::{Best, ClassificationScores, Confusion, LanguageScores, OfClass, Scores, Span, span};
