//! Files become examples, examples become encoded sequences, sequences become the batches of each optimiser step.
//!
//! In the order of a run: [`records`] streams the rows of a file, [`Columns`] picks the text and the label out of each,
//! [`Labels`] numbers the classes, [`Tokenizer`] and [`Dataset`] turn text into token ids, [`stratified`] and
//! [`lint`] look at the splits, [`Sampler`] orders the examples and [`Batch`] lays them end to end.
//! [`train_vocabulary`] makes a tokenizer where there is none.
//! Batches are plain vectors: this crate knows no tensors, and prints nothing.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test fails by panicking"))]

mod batch;
mod columns;
mod encode;
mod error;
mod formats;
mod guess;
mod labels;
mod lint;
mod place;
mod record;
mod sampler;
mod split;
pub mod suggest;
mod template;
mod tokenizer;
mod vocabulary;

pub use batch::Batch;
pub use columns::{Columns, Example, Label, Labelled, TextSource, Written};
pub use encode::{Dataset, EncodedExample, Lengths};
pub use error::Error;
pub use formats::records;
pub use guess::{Column, ColumnKind, Given, Guess, Profile, Unfit, UnfitReason};
pub use labels::Labels;
pub use lint::{Finding, FindingKind, Rows, Severity, Truncation, lint};
pub use place::Place;
pub use record::{Record, text_records};
pub use sampler::{Sampler, SamplerConfig, Step};
pub use split::stratified;
pub use suggest::nearest;
pub use template::Template;
pub use tokenizer::{Encoded, Tokenizer};
pub use vocabulary::{Vocabulary, VocabularyKind, train_vocabulary};
