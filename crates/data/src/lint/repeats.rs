//! Rows that stand in the data more than once: within the training data they weigh double, in both splits they make the
//! score of validation too good, and with different labels they contradict each other.

use std::collections::HashMap;

use super::{Finding, FindingKind, Look, Rows};
use crate::columns::Example;

/// A row is its text and its second text, to the letter.
pub(super) type Row<'a> = (&'a str, Option<&'a str>);

pub(super) fn row(example: &Example) -> Row<'_> {
    (&example.text, example.text_pair.as_deref())
}

/// The index of the first example with each row.
pub(super) fn first_of_each(examples: &[Example]) -> HashMap<Row<'_>, usize> {
    let mut first = HashMap::with_capacity(examples.len());
    for (index, example) in examples.iter().enumerate() {
        first.entry(row(example)).or_insert(index);
    }
    first
}

pub(super) fn find(look: &Look<'_>, findings: &mut Vec<Finding>) {
    let train = look.train;
    let first = first_of_each(train.examples);
    let within: Vec<(usize, usize)> = numbered(train.examples, &first).filter(|(index, twin)| index != twin).collect();
    if !within.is_empty() {
        let places = within.iter().map(|(index, _)| train.place(*index));
        findings.push(Finding::new(FindingKind::Repeated, within.len(), &look.train_name()).at(places));
    }
    if let Some(valid) = look.valid {
        let across: Vec<(usize, usize)> = numbered(valid.examples, &first).collect();
        if !across.is_empty() {
            let places = across.iter().map(|(index, _)| valid.place(*index));
            let found = Finding::new(FindingKind::Leaked, across.len(), &look.valid_name());
            findings.push(found.at(places).against(look.train_name()));
        }
    }
    conflicts(look, findings);
}

/// Each example whose row is known, with where it is known from.
fn numbered<'a>(
    examples: &'a [Example],
    first: &'a HashMap<Row<'a>, usize>,
) -> impl Iterator<Item = (usize, usize)> + 'a {
    let known = |(index, example)| Some((index, *first.get(&row(example))?));
    examples.iter().enumerate().filter_map(known)
}

/// Counts every row of a text that has several labels: which of them is wrong, their order does not say.
fn conflicts(look: &Look<'_>, findings: &mut Vec<Finding>) {
    if look.labels.is_none() {
        return;
    }
    let splits = [Some(look.train), look.valid].into_iter().flatten();
    let all: Vec<(Rows<'_>, usize)> =
        splits.flat_map(|rows| (0..rows.examples.len()).map(move |index| (rows, index))).collect();
    let mut alike: HashMap<Row<'_>, Vec<usize>> = HashMap::with_capacity(all.len());
    for (number, (rows, index)) in all.iter().enumerate() {
        alike.entry(row(&rows.examples[*index])).or_default().push(number);
    }
    let mut pairs = Vec::new();
    for group in alike.into_values().filter(|group| group.len() > 1) {
        let class = |number: &usize| look.class(all[*number].0, &all[*number].0.examples[all[*number].1]);
        let classes: Vec<_> = group.iter().map(class).collect();
        let Some(other) = classes.iter().position(|class| *class != classes[0]) else { continue };
        let twins = classes.iter().map(|class| if *class == classes[0] { group[other] } else { group[0] });
        pairs.extend(group.iter().copied().zip(twins));
    }
    if pairs.is_empty() {
        return;
    }
    pairs.sort_unstable();
    let place = |number: usize| all[number].0.place(all[number].1);
    let found = Finding::new(FindingKind::Conflicting, pairs.len(), "");
    findings.push(found.pairs(pairs.iter().map(|(number, other)| (place(*number), place(*other)))));
}
