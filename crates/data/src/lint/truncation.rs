//! What `data.max_length` cuts off.

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
    /// The lines of the rows that were cut.
    pub lines: Vec<usize>,
}

impl Truncation {
    /// Of a line, the tokens that were kept, and those there were, for each row.
    pub fn new(max_length: usize, rows: impl IntoIterator<Item = (usize, usize, usize)>) -> Self {
        let mut all = Self { max_length, ..Self::default() };
        for (line, kept, tokens) in rows {
            all.rows += 1;
            all.tokens += tokens;
            all.lost += tokens.saturating_sub(kept);
            if tokens > kept {
                all.lines.push(line);
            }
        }
        all
    }

    pub fn of(dataset: &Dataset, max_length: usize) -> Self {
        let encoded = dataset.examples.iter().map(|it| (it.line, it.encoded.ids.len(), it.encoded.full_length));
        Self::new(max_length, encoded)
    }
}

pub(super) fn find(look: &Look<'_>, findings: &mut Vec<Finding>) {
    for (rows, data) in look.splits() {
        let Some(truncation) = rows.truncation.filter(|truncation| !truncation.lines.is_empty()) else { continue };
        let Truncation { max_length, is_most, rows: all, tokens, lost, ref lines } = *truncation;
        let kind = FindingKind::Truncated { max_length, is_most, rows: all, lost, tokens };
        let found = Finding::new(kind, lines.len(), &data);
        findings.push(found.at(lines.iter().map(|line| Place::new(rows.file, *line))));
    }
}
