//! What the look at the data remembers of each row, so that texts need not be held: hashes, sets of hashed words, and the
//! rows of which there is something to say. Made while a file is read; all of it is dropped before training.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::near::{Document, Documents};
use super::swallowed::{self, Swallowed};
use super::texts::{self, Flaw, Flawed};
use super::words::numbers;
use crate::columns::Example;
use crate::labels::Tally;
use crate::packed::Chunked;
use crate::{Error, Place};

/// The number of a row, and of a label: a data set of more has to be read in parts.
pub(super) type Number = u32;

/// No label.
pub(super) const NONE: Number = Number::MAX;

/// The rows of one split, or of the file that both splits are taken from.
#[derive(Debug, Default)]
pub struct Digest {
    files: Vec<PathBuf>,
    /// The first row of each file.
    starts: Vec<usize>,
    lines: Chunked<u32>,
    /// Of the texts of each row, to the letter.
    pub(super) exact: Chunked<u64>,
    /// Of the values of numbers in them.
    pub(super) numbers: Chunked<u64>,
    pub(super) documents: Documents,
    /// The label of each row in `tally`, or `NONE`.
    pub(super) labels: Chunked<Number>,
    tally: Tally,
    pub(super) flawed: Flawed,
    pub(super) swallowed: Vec<Swallowed>,
    /// Texts that are short enough to be the name of a class, without letter case and outer spaces, hashed.
    pub(super) names: Chunked<(Number, u64)>,
}

/// What is made of a row on any thread.
struct Glance {
    exact: u64,
    numbers: u64,
    document: Document,
    flaws: Vec<Flaw>,
    swallowed: Option<Swallowed>,
    name: Option<u64>,
}

impl Digest {
    /// Adds rows of a file behind those that are there, and returns the number of each row's label among the different
    /// ones; with `labelled` each must have one.
    pub fn add(&mut self, file: &Path, examples: &[Example], labelled: bool) -> Result<Vec<Option<usize>>, Error> {
        if self.files.last().is_none_or(|last| last != file) {
            self.files.push(file.to_owned());
            self.starts.push(self.lines.len());
        }
        let label = |example: &Example| match (&example.label, labelled) {
            (None, false) => Ok(None),
            _ => self.tally.add(file, example).map(Some),
        };
        let labels: Vec<Option<usize>> = examples.iter().map(label).collect::<Result<_, _>>()?;
        let may_swallow = swallowed::may_hold(file);
        let glances: Vec<Glance> = examples.par_iter().map(|example| Glance::at(example, may_swallow)).collect();
        self.documents.add(glances.iter().map(|glance| &glance.document));
        for ((example, label), glance) in examples.iter().zip(&labels).zip(glances) {
            let row = self.lines.len() as Number;
            self.lines.push(example.line as u32);
            self.exact.push(glance.exact);
            self.numbers.push(glance.numbers);
            self.labels.push(label.map_or(NONE, |label| label as Number));
            self.flawed.add(row, glance.flaws);
            self.swallowed.extend(glance.swallowed.map(|found| found.of_row(row)));
            if let Some(name) = glance.name {
                self.names.push((row, name));
            }
        }
        Ok(labels)
    }

    pub fn len(&self) -> usize {
        self.lines.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The different labels of the rows.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    pub(super) fn files(&self) -> &[PathBuf] {
        &self.files
    }

    pub(super) fn place(&self, row: Number) -> Place {
        let row = row as usize;
        let file = self.starts.partition_point(|start| *start <= row) - 1;
        Place::new(&self.files[file], self.lines[row] as usize)
    }

    /// All rows.
    pub(super) fn rows(&self) -> Range<Number> {
        0..self.lines.len() as Number
    }

    /// The memory that it takes, and that a look at it takes besides.
    pub fn bytes(&self) -> usize {
        // In the look an entry for each row, its text, its group, a band with its number, and its twin if it is found to have one.
        const LOOK: usize = 16 + 8 + 5 + 16 + 8;
        let lists = self.lines.bytes() + self.exact.bytes() + self.numbers.bytes() + self.labels.bytes();
        self.len() * LOOK + lists + self.names.bytes() + self.documents.bytes()
    }
}

impl Glance {
    fn at(example: &Example, may_swallow: bool) -> Self {
        /// No class has a longer name.
        const NAME: usize = 40;
        Self {
            exact: hash(&(&example.text, &example.text_pair)),
            numbers: hash(&numbers(example)),
            document: Document::new(example),
            flaws: texts::flaws(example),
            swallowed: if may_swallow { swallowed::look(example) } else { None },
            name: (example.text.len() <= NAME).then(|| hash(&folded(&example.text))),
        }
    }
}

/// The same in every process: its keys are fixed.
pub(super) fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

pub(super) fn folded(text: &str) -> String {
    text.trim().to_lowercase()
}
