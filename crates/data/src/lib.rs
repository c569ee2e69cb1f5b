//! Files become examples, examples become encoded sequences, sequences become the batches of each optimiser step.
//!
//! In the order of a run: [`records`] streams the rows of a file, [`Columns`] (named by [`ColumnNames`]) picks the text and the label out of each,
//! [`Labels`] numbers the classes, [`Tokenizer`] and [`Dataset`] turn text into token ids, [`stratified`] and
//! [`lint`] look at the splits, [`Sampler`] orders the examples and [`Batch`] lays them end to end.
//! Instead of one class a row may have [several](LabelSetTally) or a [number](value), and its words [tags](tagging).
//! Rows of texts, prompts and conversations for [language models](language) have columns and an encoder of their own, and
//! [`pack`] puts several of them into one row of a batch.
//! [`train_vocabulary`] makes a tokenizer where there is none.
//! Batches are plain vectors: this crate knows no tensors, and prints nothing.

#![allow(clippy::single_range_in_vec_init, reason = "the targets of a sequence are a list of ranges, often of one")]
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test fails by panicking"))]

mod advice;
mod batch;
mod column_names;
mod columns;
mod dataset;
mod encode;
mod encoded_bytes;
mod error;
mod formats;
mod guard;
mod guess;
mod jinja;
mod label_sets;
mod labels;
pub mod language;
mod limits;
mod lint;
mod pack;
mod packed;
mod packed_targets;
mod place;
mod reading;
mod record;
mod sampler;
mod split;
pub mod tagging;
mod targets;
mod template;
mod tokenizer;
mod values;
mod vocabulary;

pub use advice::{Advice, AdvicePart};
pub use batch::Batch;
pub use column_names::{ColumnKey, ColumnNames, ColumnRole};
pub use columns::{Columns, Example, Label, Labelled, TextSource};
pub use dataset::{Dataset, ExampleRef, Lengths};
pub use encode::{EncodedExample, Encoding, Share};
pub use error::Error;
pub use formats::{Format, Line, is_data, lines, records, records_as};
pub use guess::{
    Column, ColumnKind, Dialogue, Given, Guess, Language, Profile, Target, Unfit, UnfitReason, Writing, is_conll,
};
pub use label_sets::{LabelCell, LabelSetTally};
pub use labels::{Labels, Tally};
pub use lint::{Digest, Finding, FindingKind, Rows, Severity, Truncation, lint};
pub use pack::pack;
pub use place::Place;
pub use reading::{Reader, Reading};
pub use record::Record;
pub use sampler::{Sampler, SamplerConfig, Step};
pub use split::stratified;
pub use targets::{ExampleTarget, Targets};
pub use template::Template;
pub use tokenizer::{Encoded, Tokenizer};
pub use values::value;
pub use vocabulary::{Vocabulary, VocabularyKind, train_vocabulary};
