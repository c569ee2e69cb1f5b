//! Metrics: those that burn has are burn's; here is what it lacks, and the scores that are written to files.

pub mod calibration;
mod classes;
pub mod cross_entropy;
mod dashboard;
pub mod entities;
mod generation;
pub mod interval;
pub mod multi_label;
pub mod regression;
mod score;
mod scores;
mod tokens;

pub use classes::{ACCURACY, Confusion, F1_MACRO, MATTHEWS, OfClass};
pub use dashboard::{ConfusionMetric, ScoreMetric, Shown, Unit};
pub use generation::{BLEU, EXACT_MATCH, Generated, GenerationScores, ROUGE_L};
pub use multi_label::{F1_MICRO, F1_SAMPLES};
pub use regression::{MAE, PEARSON, RMSE, SPEARMAN};
pub use score::{Best, Better, LOSS, Score, Span, span};
pub use scores::Scores;
pub use tokens::{PERPLEXITY, TOKEN_ACCURACY, of_tokens};
