//! A trained model opened from its files, and what it answers: classes, entities and values of texts, and texts that it
//! writes.
//!
//! [`ModelFiles`] says where a model and its adapter lie; [`Pipeline::open`] reads both with the tokenizer and
//! `kindling.json` ([`Sidecar`]), so that texts are read as they were in training. [`Pipeline::answer_texts`] answers texts,
//! [`Pipeline::text_generation`] continues them with a causal language model. The command line and servers answer through this crate, which knows no training, no options and no
//! terminals: its errors speak of files and of what is in them.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test fails by panicking"))]

mod adapter;
mod answers;
mod backbone;
mod base;
mod draft;
mod error;
mod files;
mod generation;
mod pipeline;
mod processor;
mod provenance;
mod scheduler;
mod text_generation;
mod written;

/// What else callers need, so that this crate is enough.
pub use burn::tensor::Device;
pub use data::language::Conversation;
pub use data::{ColumnNames, Record};
pub use model::{Frozen, LogProbabilities, Prompt, Request, Sampling};
pub use tasks::Answer;

pub use adapter::{
    Adapter, AdapterError, AdapterFiles, BaseRecord, QuantisedBase, Recorded, Sidecar, copy_beside, method_of,
    name_within, recorded_base, resolved, write_adapter,
};
pub use answers::not_finite;
pub use backbone::{Backbone, LoadedBackbone};
pub use base::{Base, ServedAdapter};
pub use error::Error;
pub use files::{DirectoryKind, ModelFiles};
pub use generation::{FinishReason, GenerationError, Writer, Written};
pub use pipeline::{Overrides, Pipeline, Saved, default_max_length};
pub use processor::Processor;
pub use provenance::{FileHash, Machine, Origins, Provenance};
pub use scheduler::{Event, Limits, Scheduler, Statistics, TextRequest, Usage};
pub use text_generation::{GenerationSettings, TextGeneration};
pub use written::{FileState, WrittenFiles};

/// The examples of the document are compiled.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/library.md")]
struct Documentation;
