//! What a model is asked: how rows become examples, what the loss is, how good the answers are, and what they are.
//!
//! A task is one file and one line in [`registry`]: a [`Definition`] says what is known of it before any data, a [`Task`]
//! does its work once its data and its model are known. Everything else, here and in the crates above, knows tasks through
//! these two. [`TrainableModel`] is a model with its task, as burn's learner takes it; [`metrics`] are the scores of an
//! evaluation. This crate knows no runs, optimisers, terminals or HTTP.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test fails by panicking"))]

mod answer;
mod causal_lm;
mod definition;
mod entity_report;
mod error;
mod evaluator;
mod finder;
mod fitted;
mod label_report;
mod language;
mod masked_lm;
pub mod metrics;
mod multi_label;
mod name;
mod output;
mod question;
pub mod registry;
mod regression;
mod rows;
mod sections;
mod sequence_classification;
mod task;
mod token_classification;
mod trainable_model;
mod value_report;
mod vocabulary;
mod words;

pub use answer::{Answer, number};
pub use causal_lm::CausalLm;
pub use data::Encoding;
pub use definition::{Classes, Definition, Opening, Setting, Use};
pub use error::Error;
pub use evaluator::{Evaluator, largest};
pub use finder::LabelFinder;
pub use fitted::{Fitted, Fitter};
pub use masked_lm::MaskedLm;
pub use multi_label::LabelsAnswer;
pub use name::TaskName;
pub use output::{HostOutput, StepOutput, host};
pub use question::{Question, Sequence};
pub use rows::{Columns, Rows};
pub use sections::{
    Cell, Classification, Guide, Histogram, KEPT, Line, Mark, Marked, Outputs, Part, Parts, Prediction, Sample,
    Scatter, Section, Sections, ShownRow, Table, Validation, beginning,
};
pub use sequence_classification::{ClassAnswer, SequenceClassification};
pub use task::{Expected, Judged, Task};
pub use token_classification::{EntityAnswer, TokenClassification};
pub use trainable_model::{MicroBatch, TrainableModel, tokens};
pub use vocabulary::{check_dataset, check_vocabulary};
pub use words::part;
