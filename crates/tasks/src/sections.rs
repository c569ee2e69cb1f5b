//! What the page of a run shows of its validation data, as data: the page itself is made elsewhere, and knows these kinds
//! instead of tasks.

use data::{Batch, Dataset, Tokenizer};
use serde::{Deserialize, Serialize};

use crate::metrics::Score;
use crate::metrics::interval::Interval;
use crate::{HostOutput, MicroBatch, Rows, TrainableModel};

/// What a task has to show, in the order of the page.
#[derive(Debug, Clone, Default)]
pub struct Sections {
    pub sections: Vec<Section>,
    /// The 95 % intervals of scores that cannot be computed from the sections.
    pub intervals: Vec<(&'static Score, Interval)>,
}

/// What there is to be shown.
pub struct Validation<'a> {
    pub dataset: &'a Dataset,
    /// The rows in their order, read again for whoever asks; texts of their tokens where the file has changed since.
    pub rows: &'a dyn Fn() -> Rows,
    pub tokenizer: &'a Tokenizer,
    /// Batches that are answered together.
    pub together: usize,
    pub outputs: &'a Outputs<'a>,
}

/// What a model answers to batches, in their order. `None`: it was stopped, and whatever sections are made by then are dropped.
pub type Outputs<'a> = dyn Fn(&TrainableModel, Vec<MicroBatch>) -> Option<Vec<HostOutput>> + 'a;

/// Examples that are answered together.
const BATCH: usize = 32;

impl Validation<'_> {
    /// What the model answers to all examples, batch by batch, each with the number of its examples.
    pub(crate) fn answers(&self, model: &TrainableModel) -> impl Iterator<Item = (usize, HostOutput)> {
        let (together, outputs) = (self.together.max(1), self.outputs);
        let batch = move |first: usize| {
            let indices: Vec<usize> = (first..self.dataset.len().min(first + BATCH)).collect();
            (indices.len(), model.task.evaluation(Batch::new(self.dataset, &indices, first)))
        };
        let some = (0..self.dataset.len()).step_by(BATCH * together).map_while(move |first| {
            let firsts = (first..self.dataset.len().min(first + BATCH * together)).step_by(BATCH);
            let (counts, batches): (Vec<usize>, Vec<MicroBatch>) = firsts.map(batch).unzip();
            outputs(model, batches).map(|outputs| counts.into_iter().zip(outputs))
        });
        some.flatten()
    }
}

/// A section of the page.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", content = "content", rename_all = "kebab-case")]
pub enum Section {
    /// One of several classes for each example: scores by class, confusion matrix, calibration and errors follow from it.
    Classification(Classification),
    /// Texts that a model wrote.
    Samples(Vec<Sample>),
    /// Anything else: parts below a title.
    Parts(Parts),
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

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Parts {
    pub title: String,
    /// A sentence or two below the title.
    pub text: String,
    pub parts: Vec<Part>,
}

/// A part of a section.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "content", rename_all = "kebab-case")]
pub enum Part {
    Table(Table),
    Scatter(Scatter),
    Histogram(Histogram),
    Rows(Vec<ShownRow>),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Table {
    pub caption: String,
    /// The first is that of the lines' names.
    pub columns: Vec<String>,
    pub lines: Vec<Line>,
    /// Sums and means of the lines above.
    #[serde(default)]
    pub footer: Vec<Line>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    pub name: String,
    pub cells: Vec<Cell>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cell {
    Count(usize),
    /// `None`: it has no denominator.
    Score(Option<f64>),
    /// A score of 0 to 1, with a bar of that length.
    Bar(Option<f64>),
    Interval(Option<Interval>),
    /// A part of the whole that its line is, shaded by its share: of what is right, or of what is wrong.
    Right {
        count: usize,
        whole: usize,
    },
    Wrong {
        count: usize,
        whole: usize,
    },
}

/// Points of two numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scatter {
    pub title: String,
    /// What goes to the right and what upwards.
    pub axes: [String; 2],
    pub points: Vec<(f64, f64)>,
    pub guide: Guide,
}

/// The line on which all points would lie that are as they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Guide {
    /// y = x
    Diagonal,
    /// y = 0
    Zero,
}

/// How often which numbers occur.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    pub title: String,
    /// What is counted: "row", "rows".
    pub counted: [String; 2],
    pub values: Vec<f64>,
}

/// A row with what is said of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShownRow {
    /// Where it stands in the file, from 1.
    pub line: usize,
    /// The beginning of the text.
    pub text: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text_pair: Option<String>,
    /// Names and values.
    #[serde(default)]
    pub facts: Vec<(String, String)>,
    /// The text again for each of these, with its marks, in place of the text.
    #[serde(default)]
    pub marked: Vec<Marked>,
}

/// What is marked in a text by the data, or by the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Marked {
    pub name: String,
    /// Ascending, apart from each other.
    pub marks: Vec<Mark>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mark {
    /// In Unicode code points of the text.
    pub start: usize,
    pub end: usize,
    pub label: String,
    pub right: bool,
}

/// Characters of a text that are kept: more than a page shows of it.
pub const KEPT: usize = 400;

/// The beginning of a text that is kept for a page.
pub fn beginning(text: &str) -> String {
    text.chars().take(KEPT).collect()
}
