//! Rows that say nearly the same: the sets of their pairs of neighbouring words overlap by 80 % or more (Jaccard), or
//! their words are the same. Letter case, punctuation, spacing and the values of numbers do not count.
//!
//! Which rows to compare, MinHash says (Broder, "On the resemblance and containment of documents", 1997), with rows that
//! agree in a band of five minima as candidates; each candidate is then compared exactly. One pair of 600 at just 80 %
//! is missed, fewer above. Seeds are fixed: the same rows give the same findings.

mod document;

use std::collections::HashMap;

use rayon::prelude::*;

use super::repeats::{first_of_each, row};
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
    let pairs = Pairs::of(&texts);
    if !pairs.within.is_empty() {
        let places = pairs.within.iter().map(|(row, twin)| (look.train.place(*row), look.train.place(*twin)));
        let found = Finding::new(FindingKind::NearlyRepeated, pairs.within.len(), &look.train_name());
        findings.push(found.pairs(places));
    }
    if let Some(valid) = look.valid
        && !pairs.across.is_empty()
    {
        let places = pairs.across.iter().map(|(row, twin)| (valid.place(*row), look.train.place(*twin)));
        let found = Finding::new(FindingKind::NearlyLeaked, pairs.across.len(), &look.valid_name());
        findings.push(found.pairs(places).against(look.train_name()));
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
struct Pairs {
    within: Vec<(usize, usize)>,
    /// A validation row, then a training row.
    across: Vec<(usize, usize)>,
}

impl Pairs {
    fn of(texts: &[Text]) -> Self {
        let mut pairs = Self { within: Vec::new(), across: Vec::new() };
        for text in texts {
            if let Some((&twin, others)) = text.train.split_first() {
                pairs.within.extend(others.iter().map(|row| (*row, twin)));
                pairs.across.extend(text.valid.iter().map(|row| (*row, twin)));
            }
        }
        let mut groups = Groups { parents: (0..texts.len()).collect(), leaked: vec![false; texts.len()] };
        for candidates in candidates(texts) {
            for (n, &one) in candidates.iter().enumerate() {
                for &other in candidates[n + 1..].iter().take(COMPARED) {
                    pairs.compare(texts, &mut groups, one, other);
                }
            }
        }
        pairs.within.sort_unstable();
        pairs.across.sort_unstable();
        pairs
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
