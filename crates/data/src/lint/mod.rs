//! A look at the data before training: rows that stand in it twice, rows that cannot teach anything, classes that are
//! hard to learn. It never stops a run and changes nothing; what it finds are sentences with the rows they speak of.
//!
//! How many rows a finding has does not depend on their order, nor on the number of threads.

mod classes;
mod digest;
mod finding;
mod near;
mod reading;
mod repeats;
mod swallowed;
mod texts;
mod truncation;
mod words;

use std::path::PathBuf;
use std::sync::Arc;

pub use digest::Digest;
pub use finding::{Finding, FindingKind, Severity};
pub use truncation::Truncation;

use crate::place::{Place, name};
use crate::{Labels, Reading, labels};
use digest::{NONE, Number};

/// The rows of one split.
#[derive(Debug, Clone)]
pub struct Rows {
    pub digest: Arc<Digest>,
    /// Those of the digest that are of this split, ascending; `None`: all.
    pub part: Option<Vec<u32>>,
    /// What was cut off when they were encoded, where they were.
    pub truncation: Option<Truncation>,
    /// How well the tokenizer read them, where that was looked at.
    pub reading: Option<Reading>,
}

/// What there is to say about the data, warnings first. Without `labels`, as for language modelling, what stands in the
/// label column is not looked at.
pub fn lint(train: &Rows, valid: Option<&Rows>, labels: Option<&Labels>) -> Vec<Finding> {
    let look = Look::new(train, valid, labels);
    let mut findings = Vec::new();
    repeats::find(&look, &mut findings);
    near::find(&look, &mut findings);
    texts::find(&look, &mut findings);
    swallowed::find(&look, &mut findings);
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
    train: &'a Rows,
    valid: Option<&'a Rows>,
    labels: Option<&'a Labels>,
    /// What the labels of each split's digest mean, by their numbers there.
    train_classes: Vec<Class>,
    valid_classes: Vec<Class>,
}

/// A class by its number, or a label that is none by what it is: the splits may be files of different formats, and a CSV
/// file has `1` as text.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Class {
    Known(usize),
    Unknown(String),
}

/// The rows of a split with what their labels mean.
#[derive(Clone, Copy)]
struct Split<'a> {
    digest: &'a Digest,
    part: Option<&'a [Number]>,
    truncation: Option<&'a Truncation>,
    reading: Option<&'a Reading>,
    classes: &'a [Class],
}

impl<'a> Look<'a> {
    fn new(train: &'a Rows, valid: Option<&'a Rows>, labels: Option<&'a Labels>) -> Self {
        let classes = |rows: &Rows| match labels {
            Some(known) => rows.digest.tally().seen().map(|label| Class::of(label, known)).collect(),
            None => Vec::new(),
        };
        Self {
            train,
            valid,
            labels,
            train_classes: classes(train),
            valid_classes: valid.map_or_else(Vec::new, classes),
        }
    }

    fn train(&self) -> Split<'_> {
        Split::new(self.train, &self.train_classes)
    }

    fn valid(&self) -> Option<Split<'_>> {
        self.valid.map(|valid| Split::new(valid, &self.valid_classes))
    }

    /// Each split with what messages call it: its file, or its part of the file that both are taken from.
    fn splits(&self) -> Vec<(Split<'_>, String)> {
        let valid = self.valid().map(|valid| (valid, self.valid_name()));
        [Some((self.train(), self.train_name())), valid].into_iter().flatten().collect()
    }

    fn train_name(&self) -> String {
        let files = names(self.train.digest.files());
        if self.is_one_file() { format!("the training part of {files}") } else { files }
    }

    fn valid_name(&self) -> String {
        let files = self.valid.map(|valid| names(valid.digest.files())).unwrap_or_default();
        if self.is_one_file() { format!("the validation part of {files}") } else { files }
    }

    fn is_one_file(&self) -> bool {
        self.valid.is_some_and(|valid| valid.digest.files() == self.train.digest.files())
    }
}

impl Class {
    fn of(label: &crate::Label, known: &Labels) -> Self {
        known.find(label).map_or_else(|| Self::Unknown(labels::text(label)), Self::Known)
    }

    fn name<'a>(&'a self, known: &'a Labels) -> &'a str {
        match self {
            Self::Known(class) => &known.names()[*class],
            Self::Unknown(label) => label,
        }
    }
}

impl<'a> Split<'a> {
    fn new(rows: &'a Rows, classes: &'a [Class]) -> Self {
        Self {
            digest: &rows.digest,
            part: rows.part.as_deref(),
            truncation: rows.truncation.as_ref(),
            reading: rows.reading.as_ref(),
            classes,
        }
    }

    /// Ascending.
    fn rows(self) -> impl Iterator<Item = Number> + 'a {
        let (all, part) = match self.part {
            None => (self.digest.rows(), &[][..]),
            Some(part) => (0..0, part),
        };
        all.chain(part.iter().copied())
    }

    fn len(self) -> usize {
        self.part.map_or(self.digest.len(), <[Number]>::len)
    }

    fn has(self, row: Number) -> bool {
        self.part.is_none_or(|part| part.binary_search(&row).is_ok())
    }

    fn place(self, row: Number) -> Place {
        self.digest.place(row)
    }

    /// `None` where labels mean nothing, and for a row without one.
    fn class(self, row: Number) -> Option<&'a Class> {
        match self.digest.labels[row as usize] {
            NONE => None,
            label => self.classes.get(label as usize),
        }
    }
}

fn names(files: &[PathBuf]) -> String {
    let names: Vec<String> = files.iter().map(|file| name(file)).collect();
    suggest::list(names.iter().map(String::as_str))
}

#[cfg(test)]
mod tests;
