//! Rows that say nearly the same: the sets of their pairs of neighbouring words overlap by 80 % or more (Jaccard), or
//! their words are the same. Letter case, punctuation, spacing and the values of numbers do not count; rows that differ
//! in the values of numbers alone are a finding of their own.
//!
//! Which rows to compare, MinHash says (Broder, "On the resemblance and containment of documents", 1997), with rows that
//! agree in a band of five minima as candidates; each candidate is then compared exactly. One pair of 600 at just 80 %
//! is missed, fewer above. Seeds are fixed: the same rows give the same findings.

mod document;

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use rayon::prelude::*;

use super::repeats::{first_of_each, row};
use super::words::numbers;
use super::{Finding, FindingKind, Look};
use crate::columns::Example;
use document::{BANDS, Document};

/// In a bucket each text is compared with so many that follow it. Buckets are small, except where thousands of texts
/// are made from one pattern; those are in one chain of near neighbours then.
const COMPARED: usize = 64;

/// A text as normalised, and the rows that have it.
struct Text {
    document: Document,
    /// Of the training data, without exact repetitions.
    train: Vec<usize>,
    /// Of the validation data, without those that stand in the training data.
    valid: Vec<usize>,
}

pub(super) fn find(look: &Look<'_>, findings: &mut Vec<Finding>) {
    let texts = texts(look.train.examples, look.valid_examples());
    let pairs = Pairs::of(&texts, look.train.examples, look.valid_examples());
    let of_train = [
        (&pairs.within, FindingKind::NearlyRepeated),
        (&pairs.within_but_for_numbers, FindingKind::RepeatedButForNumbers),
    ];
    for (pairs, kind) in of_train.into_iter().filter(|(pairs, _)| !pairs.is_empty()) {
        let places = pairs.iter().map(|(row, twin)| (look.train.place(*row), look.train.place(*twin)));
        findings.push(Finding::new(kind, pairs.len(), &look.train_name()).pairs(places));
    }
    let Some(valid) = look.valid else { return };
    let of_valid =
        [(&pairs.across, FindingKind::NearlyLeaked), (&pairs.across_but_for_numbers, FindingKind::LeakedButForNumbers)];
    for (pairs, kind) in of_valid.into_iter().filter(|(pairs, _)| !pairs.is_empty()) {
        let places = pairs.iter().map(|(row, twin)| (valid.place(*row), look.train.place(*twin)));
        findings.push(Finding::new(kind, pairs.len(), &look.valid_name()).pairs(places).against(look.train_name()));
    }
}

/// The distinct normalised texts that have words.
fn texts(train: &[Example], valid: &[Example]) -> Vec<Text> {
    let first = first_of_each(train);
    let mut train_rows: Vec<usize> = first.values().copied().collect();
    train_rows.sort_unstable();
    let valid_rows: Vec<usize> = (0..valid.len()).filter(|index| !first.contains_key(&row(&valid[*index]))).collect();

    let documents = |examples: &[Example], rows: &[usize]| -> Vec<Document> {
        rows.par_iter().map(|index| Document::new(&examples[*index])).collect()
    };
    let of_train = documents(train, &train_rows).into_iter().zip(train_rows).map(|(it, row)| (it, row, true));
    let of_valid = documents(valid, &valid_rows).into_iter().zip(valid_rows).map(|(it, row)| (it, row, false));
    let mut texts: Vec<Text> = Vec::new();
    let mut numbers = HashMap::new();
    for (document, row, is_train) in of_train.chain(of_valid).filter(|(document, ..)| document.has_words()) {
        let number = *numbers.entry(document.key()).or_insert(texts.len());
        if number == texts.len() {
            texts.push(Text { document, train: Vec::new(), valid: Vec::new() });
        }
        if is_train { texts[number].train.push(row) } else { texts[number].valid.push(row) }
    }
    texts
}

/// Rows with one that is like them, each list in the order of the rows.
#[derive(Default)]
struct Pairs {
    within: Vec<(usize, usize)>,
    within_but_for_numbers: Vec<(usize, usize)>,
    /// A validation row, then a training row.
    across: Vec<(usize, usize)>,
    across_but_for_numbers: Vec<(usize, usize)>,
}

impl Pairs {
    fn of(texts: &[Text], train: &[Example], valid: &[Example]) -> Self {
        let mut pairs = Self::default();
        for text in texts {
            pairs.same(text, train, valid);
        }
        let mut groups = Groups { parents: (0..texts.len()).collect(), leaked: vec![false; texts.len()] };
        for candidates in candidates(texts) {
            for (n, &one) in candidates.iter().enumerate() {
                for &other in candidates[n + 1..].iter().take(COMPARED) {
                    pairs.compare(texts, &mut groups, one, other);
                }
            }
        }
        let Self { within, within_but_for_numbers, across, across_but_for_numbers } = &mut pairs;
        for pairs in [within, within_but_for_numbers, across, across_but_for_numbers] {
            pairs.sort_unstable();
        }
        pairs
    }

    /// Rows of one text: those with the numbers of a training row are like it, others like the first but for numbers.
    fn same(&mut self, text: &Text, train: &[Example], valid: &[Example]) {
        let Some((&first, others)) = text.train.split_first() else { return };
        let mut known = HashMap::from([(numbers(&train[first]), first)]);
        for &row in others {
            match known.entry(numbers(&train[row])) {
                Entry::Occupied(twin) => self.within.push((row, *twin.get())),
                Entry::Vacant(place) => {
                    place.insert(row);
                    self.within_but_for_numbers.push((row, first));
                }
            }
        }
        for &row in &text.valid {
            match known.get(&numbers(&valid[row])) {
                Some(twin) => self.across.push((row, *twin)),
                None => self.across_but_for_numbers.push((row, first)),
            }
        }
    }

    fn compare(&mut self, texts: &[Text], groups: &mut Groups, one: usize, other: usize) {
        let alike = || texts[one].document.is_like(&texts[other].document);
        match (texts[one].train.first(), texts[other].train.first()) {
            (Some(a), Some(b)) => {
                let (one, other) = (groups.root(one), groups.root(other));
                if one != other && alike() {
                    groups.parents[one.max(other)] = one.min(other);
                    self.within.push((*a.max(b), *a.min(b)));
                }
            }
            (Some(train), None) if !groups.leaked[other] && alike() => self.leaks(texts, groups, other, *train),
            (None, Some(train)) if !groups.leaked[one] && alike() => self.leaks(texts, groups, one, *train),
            (Some(_), None) | (None, Some(_)) | (None, None) => {}
        }
    }

    fn leaks(&mut self, texts: &[Text], groups: &mut Groups, text: usize, train: usize) {
        groups.leaked[text] = true;
        self.across.extend(texts[text].valid.iter().map(|row| (*row, train)));
    }
}

/// What is known already of each text.
struct Groups {
    /// Towards the first text of those that are alike, or like one that is.
    parents: Vec<usize>,
    /// Texts of the validation data alone that are like one of the training data.
    leaked: Vec<bool>,
}

impl Groups {
    fn root(&mut self, mut text: usize) -> usize {
        while self.parents[text] != text {
            self.parents[text] = self.parents[self.parents[text]];
            text = self.parents[text];
        }
        text
    }
}

/// Texts that agree in a band, at least two together, in an order that depends on what they say alone.
fn candidates(texts: &[Text]) -> Vec<Vec<usize>> {
    let bands: Vec<(usize, [u64; BANDS])> =
        texts.par_iter().enumerate().filter_map(|(number, text)| Some((number, text.document.bands()?))).collect();
    let buckets = |band: usize| -> Vec<Vec<usize>> {
        let mut keys: Vec<(u64, u64, usize)> =
            bands.iter().map(|(number, keys)| (keys[band], texts[*number].document.key(), *number)).collect();
        keys.sort_unstable();
        let alike = keys.chunk_by(|one, other| one.0 == other.0).filter(|bucket| bucket.len() > 1);
        alike.map(|bucket| bucket.iter().map(|(.., number)| *number).collect()).collect()
    };
    (0..BANDS).into_par_iter().flat_map_iter(buckets).collect()
}

#[cfg(test)]
mod tests;
