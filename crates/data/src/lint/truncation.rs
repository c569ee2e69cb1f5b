//! What `data.max_length` cuts off.

use super::finding::SHOWN;
use super::{Finding, FindingKind, Look};
use crate::Dataset;
use crate::place::Place;

/// How much of a split its model does not see.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Truncation {
    pub max_length: usize,
    /// The model takes no more.
    pub is_most: bool,
    /// Rows and tokens of the split before truncation.
    pub rows: usize,
    pub tokens: usize,
    /// Tokens cut off.
    pub lost: usize,
    /// There were more: the rest of very long texts was not tokenised.
    pub at_least: bool,
    /// How many rows were cut, and the first of them.
    pub cut: usize,
    pub first: Vec<Place>,
}

impl Truncation {
    /// Of each row the tokens that were kept, and those there were.
    pub fn of(dataset: &Dataset, max_length: usize) -> Self {
        let mut all = Self { max_length, ..Self::default() };
        for (index, example) in dataset.iter().enumerate() {
            all.rows += 1;
            all.tokens += example.full_length();
            all.lost += example.full_length() - example.len();
            all.at_least |= example.at_least();
            if example.is_cut() {
                all.cut += 1;
                if all.first.len() < SHOWN {
                    all.first.push(dataset.place(index));
                }
            }
        }
        all
    }
}

pub(super) fn find(look: &Look<'_>, findings: &mut Vec<Finding>) {
    for (split, data) in look.splits() {
        let Some(truncation) = split.truncation.filter(|truncation| truncation.cut > 0) else { continue };
        let Truncation { max_length, is_most, rows, tokens, lost, at_least, cut, ref first } = *truncation;
        let kind = FindingKind::Truncated { max_length, is_most, rows, lost, tokens, at_least };
        findings.push(Finding::new(kind, cut, &data).at(first.iter().cloned()));
    }
}
