//! Rows that stand in the data more than once: within the training data they weigh double, in both splits they make the
//! score of validation too good, and with different labels they contradict each other.

use super::digest::Number;
use super::{Finding, FindingKind, Look, Split};

/// The rows of a split by the hash of their texts, and within it in their order. A row is its text and its second text, to
/// the letter; two of a million differing ones share a hash once in some ten million cases.
pub(super) struct ByText(Vec<(u64, Number)>);

impl ByText {
    pub(super) fn of(split: Split<'_>) -> Self {
        let mut rows = Vec::with_capacity(split.len());
        rows.extend(split.rows().map(|row| (split.digest.exact[row as usize], row)));
        rows.sort_unstable();
        Self(rows)
    }

    /// The first row with this text.
    pub(super) fn first(&self, text: u64) -> Option<Number> {
        let at = self.0.partition_point(|(known, _)| *known < text);
        self.0.get(at).filter(|(known, _)| *known == text).map(|(_, row)| *row)
    }

    /// The first row of each text, in no order.
    pub(super) fn firsts(&self) -> impl Iterator<Item = Number> + '_ {
        self.0.chunk_by(|one, other| one.0 == other.0).map(|alike| alike[0].1)
    }
}

pub(super) fn find(look: &Look<'_>, findings: &mut Vec<Finding>) {
    let train = look.train();
    let by_text = ByText::of(train);
    let is_first = |split: Split<'_>, row: Number| by_text.first(split.digest.exact[row as usize]);
    let within: Vec<Number> = train.rows().filter(|row| is_first(train, *row) != Some(*row)).collect();
    if !within.is_empty() {
        let places = within.iter().map(|row| train.place(*row));
        findings.push(Finding::new(FindingKind::Repeated, within.len(), &look.train_name()).at(places));
    }
    if let Some(valid) = look.valid() {
        let across: Vec<Number> = valid.rows().filter(|row| is_first(valid, *row).is_some()).collect();
        if !across.is_empty() {
            let places = across.iter().map(|row| valid.place(*row));
            let found = Finding::new(FindingKind::Leaked, across.len(), &look.valid_name());
            findings.push(found.at(places).against(look.train_name()));
        }
    }
    drop(by_text);
    conflicts(look, findings);
}

/// Counts every row of a text that has several labels: which of them is wrong, their order does not say.
fn conflicts(look: &Look<'_>, findings: &mut Vec<Finding>) {
    if look.labels.is_none() {
        return;
    }
    let splits: Vec<Split<'_>> = [Some(look.train()), look.valid()].into_iter().flatten().collect();
    let mut all: Vec<(u64, u8, Number)> = Vec::with_capacity(splits.iter().map(|split| split.len()).sum());
    for (number, split) in splits.iter().enumerate() {
        all.extend(split.rows().map(|row| (split.digest.exact[row as usize], number as u8, row)));
    }
    all.sort_unstable();
    let mut pairs = Vec::new();
    for group in all.chunk_by(|one, other| one.0 == other.0).filter(|group| group.len() > 1) {
        let classes: Vec<_> = group.iter().map(|(_, split, row)| splits[usize::from(*split)].class(*row)).collect();
        let Some(other) = classes.iter().position(|class| *class != classes[0]) else { continue };
        for ((_, split, row), class) in group.iter().zip(&classes) {
            let (_, of, twin) = if *class == classes[0] { group[other] } else { group[0] };
            pairs.push(((*split, *row), (of, twin)));
        }
    }
    if pairs.is_empty() {
        return;
    }
    pairs.sort_unstable();
    let place = |(split, row): (u8, Number)| splits[usize::from(split)].place(row);
    let found = Finding::new(FindingKind::Conflicting, pairs.len(), "");
    findings.push(found.pairs(pairs.iter().map(|(row, twin)| (place(*row), place(*twin)))));
}
