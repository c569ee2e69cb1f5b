//! `report.json`: what a page shows and no other file of a run holds. It is written when a run begins, with what is known
//! by then, and again when it ends. With `metrics.jsonl` and `config.toml` it is enough to make the page at any time,
//! without the model and the data.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use tasks::metrics::Scores;
use tasks::metrics::interval::Interval;
use tasks::{Classification, Parts, Sample, Section, TaskName};

pub(super) const FORMAT_VERSION: u32 = 2;

/// What a run has not is empty or `None`; so is what an older kindling did not write.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Record {
    pub(crate) format_version: u32,
    pub(crate) task: Option<TaskName>,
    /// Task, base model, method, data, device, version: name and value, in the order shown.
    pub(crate) facts: Vec<(String, String)>,
    /// Optimiser steps that the run is to have.
    pub(crate) steps: usize,
    pub(crate) valid: Option<Split>,
    /// The model before it was trained.
    pub(crate) before: Option<Before>,
    /// Of a run that has ended.
    pub(crate) end: Option<End>,
    /// What the task shows of the validation data.
    pub(crate) sections: Vec<Section>,
    /// Of scores, by their keys.
    pub(crate) intervals: BTreeMap<String, Interval>,
    pub(crate) lengths: Option<Lengths>,
    pub(crate) findings: Vec<Finding>,
    pub(crate) updates: Vec<Update>,
}

impl Default for Record {
    fn default() -> Self {
        Self {
            format_version: FORMAT_VERSION,
            task: None,
            facts: Vec::new(),
            steps: 0,
            valid: None,
            before: None,
            end: None,
            sections: Vec::new(),
            intervals: BTreeMap::new(),
            lengths: None,
            findings: Vec::new(),
            updates: Vec::new(),
        }
    }
}

impl Record {
    pub(super) fn classification(&self) -> Option<&Classification> {
        self.sections.iter().find_map(|section| match section {
            Section::Classification(found) => Some(found),
            Section::Samples(_) | Section::Parts(_) => None,
        })
    }

    pub(super) fn samples(&self) -> &[Sample] {
        let samples = self.sections.iter().find_map(|section| match section {
            Section::Samples(samples) => Some(samples.as_slice()),
            Section::Classification(_) | Section::Parts(_) => None,
        });
        samples.unwrap_or_default()
    }

    pub(super) fn parts(&self) -> impl Iterator<Item = &Parts> {
        self.sections.iter().filter_map(|section| match section {
            Section::Parts(parts) => Some(parts),
            Section::Classification(_) | Section::Samples(_) => None,
        })
    }
}

/// A part of the data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Split {
    pub(crate) file: String,
    pub(crate) examples: usize,
    /// One of its texts, short enough to be typed.
    #[serde(default)]
    pub(crate) text: Option<String>,
}

/// Scores of the untrained model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Before {
    /// Examples of the validation data, evenly spaced; all of them where there are few.
    pub(crate) examples: usize,
    #[serde(flatten)]
    pub(crate) scores: Scores,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct End {
    pub(crate) seconds: f64,
    pub(crate) peak_memory_bytes: u64,
    /// Early stopping ended it.
    pub(crate) stopped_early: bool,
    /// Of the loss of the evaluation whose adapter was kept, a language model's.
    #[serde(default)]
    pub(crate) loss_error: Option<f64>,
}

/// Tokens of each example before it is cut to `max_length`: a length, and how many examples have it, ascending.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Lengths {
    pub(crate) train: Vec<(usize, usize)>,
    pub(crate) valid: Vec<(usize, usize)>,
    pub(crate) max_length: usize,
}

/// Something about the data that a person should look at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Finding {
    pub(crate) severity: Severity,
    pub(crate) message: String,
    pub(crate) advice: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    Warning,
    Note,
}

/// How far training moved a module.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Update {
    pub(crate) module: String,
    /// Frobenius norm of what the update changes of the weight.
    pub(crate) norm: f64,
    /// The same divided by the norm of the weight.
    pub(crate) relative: Option<f64>,
}
