//! What the page of a run shows of its validation data, as data: the page itself is made elsewhere.

use data::{Dataset, Example, Tokenizer};
use serde::{Deserialize, Serialize};

/// What a task has to show; what it has not is empty or `None`.
#[derive(Debug, Clone, Default)]
pub struct Sections {
    pub classification: Option<Classification>,
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
