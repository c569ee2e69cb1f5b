//! What the page of a run shows of its validation data, as data: the page itself is made elsewhere.

use data::{Dataset, Example, Tokenizer};
use serde::{Deserialize, Serialize};

use crate::metrics::interval::Interval;

/// What a task has to show; what it has not is empty or `None`.
#[derive(Debug, Clone, Default)]
pub struct Sections {
    pub classification: Option<Classification>,
    pub label_sets: Option<LabelSets>,
    pub samples: Vec<Sample>,
}

/// What there is to be shown.
pub struct Validation<'a> {
    pub dataset: &'a Dataset,
    /// The rows as texts, in their order, read again for whoever asks.
    pub texts: &'a dyn Fn() -> Vec<Example>,
    pub tokenizer: &'a Tokenizer,
}

/// The validation examples as the kept adapter answers them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Classification {
    pub labels: Vec<String>,
    pub predictions: Vec<Prediction>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Prediction {
    /// Where the example stands in the file, from 1.
    pub line: usize,
    /// The beginning of the text.
    pub text: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text_pair: Option<String>,
    pub target: usize,
    pub logits: Vec<f32>,
    pub loss: f64,
}

/// How well a model finds the labels of which a text may have several.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LabelSets {
    pub labels: Vec<OfLabel>,
    /// Of all labels together, with their fitted thresholds.
    pub f1_micro: f64,
    /// With a threshold of 0.5 for all, as the run's evaluations have it.
    pub f1_micro_at_half: f64,
    /// The 95 % interval of that.
    pub interval_at_half: Option<Interval>,
}

/// A label with its fitted threshold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OfLabel {
    pub name: String,
    pub threshold: f64,
    pub precision: f64,
    pub recall: f64,
    pub f1: f64,
    pub f1_at_half: f64,
    /// Texts that have it.
    pub support: usize,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    pub prompt: String,
    /// What the model wrote before it was trained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    pub written: String,
    /// What the data has in its place.
    pub expected: String,
}

/// Characters of a text that are kept: more than a page shows of it.
const KEPT: usize = 400;

/// The beginning of a text that is kept for a page.
pub fn beginning(text: &str) -> String {
    text.chars().take(KEPT).collect()
}
