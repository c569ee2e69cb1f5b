//! Classes that are hard to learn: rare ones, ones never shown, ones that are spelt in several ways.

use std::collections::BTreeMap;

use super::{Finding, FindingKind, Look, Rows};
use crate::{Labels, labels};

/// From this ratio on, accuracy says little about the smallest class.
const IMBALANCE: usize = 5;

/// Classes with fewer rows are learnt by luck.
const FEW: usize = 5;

pub(super) fn find(look: &Look<'_>, labels: &Labels, findings: &mut Vec<Finding>) {
    let train = counts(look.train, labels);
    let valid = look.valid.map(|valid| counts(valid, labels)).unwrap_or_default();
    let (unseen, seen): (Vec<usize>, Vec<usize>) =
        (0..labels.len()).partition(|class| train[*class] == 0 && valid.get(*class).is_some_and(|rows| *rows > 0));
    let name = |class: &usize| labels.names()[*class].clone();
    if !unseen.is_empty() {
        let kind = FindingKind::Unseen { classes: unseen.iter().map(name).collect() };
        findings.push(Finding::new(kind, unseen.len(), &look.valid_name()).against(look.train_name()));
    }
    let small: Vec<usize> = seen.into_iter().filter(|class| train[*class] < FEW).collect();
    if !small.is_empty() {
        let classes = small.iter().map(|class| (name(class), train[*class])).collect();
        findings.push(Finding::new(FindingKind::Small { classes }, small.len(), &look.train_name()));
    }
    imbalance(look, &train, labels, findings);
    for (rows, data) in look.splits() {
        spelling(rows, &data, findings);
        text_is_label(rows, &data, look, findings);
    }
}

/// The rows of each class.
fn counts(rows: Rows<'_>, labels: &Labels) -> Vec<usize> {
    let mut counts = vec![0; labels.len()];
    for class in rows.examples.iter().filter_map(|example| labels.index(rows.file, example).ok()) {
        counts[class] += 1;
    }
    counts
}

/// Between the classes that have rows; of several equally large ones the first.
fn imbalance(look: &Look<'_>, counts: &[usize], labels: &Labels, findings: &mut Vec<Finding>) {
    let named = || counts.iter().copied().zip(labels.names()).filter(|(rows, _)| *rows > 0);
    let (Some(largest), Some(smallest)) = (named().rev().max_by_key(|it| it.0), named().min_by_key(|it| it.0)) else {
        return;
    };
    if largest.0 >= IMBALANCE * smallest.0 {
        let named = |(rows, name): (usize, &String)| (name.clone(), rows);
        let kind = FindingKind::Imbalanced { largest: named(largest), smallest: named(smallest) };
        findings.push(Finding::new(kind, with_rows(counts), &look.train_name()));
    }
}

fn with_rows(counts: &[usize]) -> usize {
    counts.iter().filter(|rows| **rows > 0).count()
}

/// Labels that differ in letter case or outer spaces alone: the most frequent spelling is taken for the right one.
fn spelling(rows: Rows<'_>, data: &str, findings: &mut Vec<Finding>) {
    let mut spellings: BTreeMap<String, usize> = BTreeMap::new();
    for label in rows.examples.iter().filter_map(|example| example.label.as_ref()) {
        *spellings.entry(labels::text(label)).or_default() += 1;
    }
    let mut usual: BTreeMap<String, (usize, &str)> = BTreeMap::new();
    for (label, count) in &spellings {
        let most = usual.entry(folded(label)).or_insert((*count, label));
        if *count > most.0 {
            *most = (*count, label);
        }
    }
    let usual_of = |label: &str| usual.get(&folded(label)).map(|(_, usual)| *usual).filter(|usual| *usual != label);
    let odd: Vec<(String, String)> =
        spellings.keys().filter_map(|label| Some((label.clone(), usual_of(label)?.to_owned()))).collect();
    if odd.is_empty() {
        return;
    }
    let is_odd = |index: &usize| {
        let label = rows.examples[*index].label.as_ref().map(labels::text);
        label.is_some_and(|label| odd.iter().any(|(odd, _)| *odd == label))
    };
    let found: Vec<usize> = (0..rows.examples.len()).filter(is_odd).collect();
    let finding = Finding::new(FindingKind::Spelling { labels: odd }, found.len(), data);
    findings.push(finding.at(found.iter().map(|index| rows.place(*index))));
}

fn text_is_label(rows: Rows<'_>, data: &str, look: &Look<'_>, findings: &mut Vec<Finding>) {
    let is_label = |index: &usize| {
        let example = &rows.examples[*index];
        look.class(rows, example).is_some_and(|class| folded(&class) == folded(&example.text))
    };
    let found: Vec<usize> = (0..rows.examples.len()).filter(is_label).collect();
    if !found.is_empty() {
        let finding = Finding::new(FindingKind::TextIsLabel, found.len(), data);
        findings.push(finding.at(found.iter().map(|index| rows.place(*index))));
    }
}

fn folded(text: &str) -> String {
    text.trim().to_lowercase()
}
