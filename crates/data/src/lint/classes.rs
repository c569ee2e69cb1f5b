//! Classes that are hard to learn: rare ones, ones never shown, ones that are spelt in several ways.

use std::collections::BTreeMap;

use super::digest::{NONE, Number, folded, hash};
use super::{Class, Finding, FindingKind, Look, Split};
use crate::{Labels, labels};

/// From this ratio on, accuracy says little about the smallest class.
const IMBALANCE: usize = 5;

/// Classes with fewer rows are learnt by luck.
const FEW: usize = 5;

pub(super) fn find(look: &Look<'_>, labels: &Labels, findings: &mut Vec<Finding>) {
    let train = counts(look.train(), labels);
    let valid = look.valid().map(|valid| counts(valid, labels)).unwrap_or_default();
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
    for (split, data) in look.splits() {
        spelling(split, &data, findings);
        text_is_label(split, &data, labels, findings);
    }
}

/// The rows of each class.
fn counts(split: Split<'_>, labels: &Labels) -> Vec<usize> {
    let mut counts = vec![0; labels.len()];
    for row in split.rows() {
        if let Some(Class::Known(class)) = split.class(row) {
            counts[*class] += 1;
        }
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
fn spelling(split: Split<'_>, data: &str, findings: &mut Vec<Finding>) {
    let seen: Vec<String> = split.digest.tally().seen().map(labels::text).collect();
    let of = |row: Number| match split.digest.labels[row as usize] {
        NONE => None,
        label => Some(label as usize),
    };
    let mut counts = vec![0; seen.len()];
    for label in split.rows().filter_map(of) {
        counts[label] += 1;
    }
    let spellings: BTreeMap<&str, usize> = seen
        .iter()
        .zip(&counts)
        .filter(|(_, count)| **count > 0)
        .map(|(label, count)| (label.as_str(), *count))
        .collect();
    let mut usual: BTreeMap<String, (usize, &str)> = BTreeMap::new();
    for (label, count) in &spellings {
        let most = usual.entry(folded(label)).or_insert((*count, label));
        if *count > most.0 {
            *most = (*count, label);
        }
    }
    let usual_of = |label: &str| usual.get(&folded(label)).map(|(_, usual)| *usual).filter(|usual| *usual != label);
    let odd: Vec<(String, String)> =
        spellings.keys().filter_map(|label| Some(((*label).to_owned(), usual_of(label)?.to_owned()))).collect();
    if odd.is_empty() {
        return;
    }
    let is_odd: Vec<bool> = seen.iter().map(|label| odd.iter().any(|(odd, _)| odd == label)).collect();
    let found: Vec<Number> = split.rows().filter(|row| of(*row).is_some_and(|label| is_odd[label])).collect();
    let finding = Finding::new(FindingKind::Spelling { labels: odd }, found.len(), data);
    findings.push(finding.at(found.iter().map(|row| split.place(*row))));
}

fn text_is_label(split: Split<'_>, data: &str, labels: &Labels, findings: &mut Vec<Finding>) {
    let names: Vec<u64> = split.classes.iter().map(|class| hash(&folded(class.name(labels)))).collect();
    let is_label = |(row, text): &&(Number, u64)| match split.digest.labels[*row as usize] {
        NONE => false,
        label => split.has(*row) && names[label as usize] == *text,
    };
    let found: Vec<Number> = split.digest.names.iter().filter(is_label).map(|(row, _)| *row).collect();
    if !found.is_empty() {
        let finding = Finding::new(FindingKind::TextIsLabel, found.len(), data);
        findings.push(finding.at(found.iter().map(|row| split.place(*row))));
    }
}
