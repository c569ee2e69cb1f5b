//! A look at the data before training: rows that stand in it twice, rows that cannot teach anything, classes that are
//! hard to learn. It never stops a run and changes nothing; what it finds are sentences with the rows they speak of.
//!
//! How many rows a finding has does not depend on their order, nor on the number of threads.

mod classes;
mod finding;
mod near;
mod reading;
mod repeats;
mod texts;
mod truncation;
mod words;

use std::path::Path;

pub use finding::{Finding, FindingKind, Severity};
pub use truncation::Truncation;

use crate::columns::Example;
use crate::place::{Place, name};
use crate::{Labels, Reading, labels};

/// The rows of one split.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    pub file: &'a Path,
    pub examples: &'a [Example],
    /// What was cut off when they were encoded, where they were.
    pub truncation: Option<&'a Truncation>,
    /// How well the tokenizer read them, where that was looked at.
    pub reading: Option<&'a Reading>,
}

/// What there is to say about the data, warnings first. Without `labels`, as for language modelling, what stands in the
/// label column is not looked at.
pub fn lint(train: Rows<'_>, valid: Option<Rows<'_>>, labels: Option<&Labels>) -> Vec<Finding> {
    let look = Look { train, valid, labels };
    let mut findings = Vec::new();
    repeats::find(&look, &mut findings);
    near::find(&look, &mut findings);
    texts::find(&look, &mut findings);
    truncation::find(&look, &mut findings);
    reading::find(&look, &mut findings);
    if let Some(labels) = labels {
        classes::find(&look, labels, &mut findings);
    }
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity()));
    findings
}

/// What all concerns look at.
struct Look<'a> {
    train: Rows<'a>,
    valid: Option<Rows<'a>>,
    labels: Option<&'a Labels>,
}

impl<'a> Look<'a> {
    fn valid_examples(&self) -> &'a [Example] {
        self.valid.map_or(&[], |valid| valid.examples)
    }

    /// Each split with what messages call it: its file, or its part of the file that both are taken from.
    fn splits(&self) -> Vec<(Rows<'a>, String)> {
        let train = (self.train, self.train_name());
        let valid = self.valid.map(|valid| (valid, self.valid_name()));
        [Some(train), valid].into_iter().flatten().collect()
    }

    fn train_name(&self) -> String {
        let file = name(self.train.file);
        if self.is_one_file() { format!("the training part of {file}") } else { file }
    }

    fn valid_name(&self) -> String {
        let file = self.valid.map(|valid| name(valid.file)).unwrap_or_default();
        if self.is_one_file() { format!("the validation part of {file}") } else { file }
    }

    fn is_one_file(&self) -> bool {
        self.valid.is_some_and(|valid| valid.file == self.train.file)
    }

    /// The class, by name where it has one: the splits may be files of different formats, and a CSV file has `1` as
    /// text. `None` where labels mean nothing.
    fn class(&self, rows: Rows<'_>, example: &Example) -> Option<String> {
        let known = self.labels?;
        match known.index(rows.file, example) {
            Ok(index) => known.names().get(index).cloned(),
            Err(_) => example.label.as_ref().map(labels::text),
        }
    }
}

impl Rows<'_> {
    fn place(&self, index: usize) -> Place {
        Place::new(self.file, self.examples[index].line)
    }
}

#[cfg(test)]
mod tests;
