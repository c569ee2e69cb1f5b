//! Rows that say nearly the same: the sets of their pairs of neighbouring words overlap by 80 % or more (Jaccard), or
//! their words are the same. Letter case, punctuation, spacing and the values of numbers do not count; rows that differ
//! in the values of numbers alone are a finding of their own.
//!
//! Which rows to compare, MinHash says (Broder, "On the resemblance and containment of documents", 1997), with rows that
//! agree in a band of five minima as candidates; each candidate is then compared exactly, or, where texts are long, by
//! a sample of their pairs. One pair of 600 at just 80 % is missed, fewer above. Seeds are fixed: the same rows give the
//! same findings.

mod document;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;

use rayon::prelude::*;

use super::digest::{NONE, Number};
use super::repeats::ByText;
use super::{Finding, FindingKind, Look, Split};
use document::{BANDS, View};
pub(super) use document::{Document, Documents};

/// In a bucket each text is compared with so many that follow it. Buckets are small, except where thousands of texts
/// are made from one pattern; those are in one chain of near neighbours then.
const COMPARED: usize = 64;

pub(super) fn find(look: &Look<'_>, findings: &mut Vec<Finding>) {
    let (train, valid) = (look.train(), look.valid());
    let pairs = Pairs::of(&Texts::of(train, valid));
    let of_train = [
        (&pairs.within, FindingKind::NearlyRepeated),
        (&pairs.within_but_for_numbers, FindingKind::RepeatedButForNumbers),
    ];
    for (pairs, kind) in of_train.into_iter().filter(|(pairs, _)| !pairs.is_empty()) {
        let places = pairs.iter().map(|(row, twin)| (train.place(*row), train.place(*twin)));
        findings.push(Finding::new(kind, pairs.len(), &look.train_name()).pairs(places));
    }
    let Some(valid) = valid else { return };
    let of_valid =
        [(&pairs.across, FindingKind::NearlyLeaked), (&pairs.across_but_for_numbers, FindingKind::LeakedButForNumbers)];
    for (pairs, kind) in of_valid.into_iter().filter(|(pairs, _)| !pairs.is_empty()) {
        let places = pairs.iter().map(|(row, twin)| (valid.place(*row), train.place(*twin)));
        findings.push(Finding::new(kind, pairs.len(), &look.valid_name()).pairs(places).against(look.train_name()));
    }
}

/// A row that has words: of the training data without exact repetitions, of the validation data without those that stand
/// in the training data. Ordered by its text as normalised, training rows first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Member {
    key: u64,
    is_valid: bool,
    row: Number,
}

/// The distinct normalised texts, in the order of their first rows.
struct Texts<'a> {
    train: Split<'a>,
    valid: Option<Split<'a>>,
    members: Vec<Member>,
    /// Where the members of each text lie.
    texts: Vec<Range<Number>>,
}

impl<'a> Texts<'a> {
    fn of(train: Split<'a>, valid: Option<Split<'a>>) -> Self {
        let by_text = ByText::of(train);
        let mut members = Vec::with_capacity(train.len() + valid.map_or(0, Split::len));
        members.extend(by_text.firsts().filter_map(|row| Member::of(train, row, false)));
        if let Some(valid) = valid {
            let new = valid.rows().filter(|row| by_text.first(valid.digest.exact[*row as usize]).is_none());
            members.extend(new.filter_map(|row| Member::of(valid, row, true)));
        }
        drop(by_text);
        members.sort_unstable();
        let mut texts = Vec::with_capacity(members.len());
        let mut start = 0;
        for alike in members.chunk_by(|one, other| one.key == other.key) {
            texts.push(start..start + alike.len() as Number);
            start += alike.len() as Number;
        }
        texts.sort_unstable_by_key(|text| {
            let first = members[text.start as usize];
            (first.is_valid, first.row)
        });
        Self { train, valid, members, texts }
    }

    fn members(&self, text: Number) -> &[Member] {
        let Range { start, end } = self.texts[text as usize];
        &self.members[start as usize..end as usize]
    }

    /// The rows of a text in the training data and in the validation data, both in their order.
    fn rows(&self, text: Number) -> (&[Member], &[Member]) {
        let members = self.members(text);
        members.split_at(members.partition_point(|member| !member.is_valid))
    }

    /// The first training row of a text.
    fn train(&self, text: Number) -> Option<Number> {
        self.members(text).first().filter(|member| !member.is_valid).map(|member| member.row)
    }

    fn split(&self, member: &Member) -> Split<'a> {
        match self.valid {
            Some(valid) if member.is_valid => valid,
            _ => self.train,
        }
    }

    fn document(&self, text: Number) -> View<'a> {
        let first = &self.members(text)[0];
        self.split(first).digest.documents.get(first.row)
    }

    fn numbers(&self, member: &Member) -> u64 {
        self.split(member).digest.numbers[member.row as usize]
    }

    fn all(&self) -> Range<Number> {
        0..self.texts.len() as Number
    }

    /// Texts that have a band, by it: those that agree stand together, in an order that depends on what they say alone.
    fn by_band(&self, band: usize, keys: &mut Vec<(u64, Number)>) {
        let key = |text: Number| self.members(text)[0].key;
        let of_text = |text| self.document(text).band(band).map_or((u64::MAX, NONE), |band| (band, text));
        self.all().into_par_iter().map(of_text).collect_into_vec(keys);
        keys.retain(|(_, text)| *text != NONE);
        keys.par_sort_unstable_by(|one, other| {
            let by_text = || key(one.1).cmp(&key(other.1)).then(one.1.cmp(&other.1));
            one.0.cmp(&other.0).then_with(by_text)
        });
    }
}

impl Member {
    /// `None` for a row without a word.
    fn of(split: Split<'_>, row: Number, is_valid: bool) -> Option<Self> {
        let document = split.digest.documents.get(row);
        document.has_words().then(|| Self { key: document.key(), is_valid, row })
    }
}

/// Rows with one that is like them, each list in the order of the rows.
#[derive(Default)]
struct Pairs {
    within: Vec<(Number, Number)>,
    within_but_for_numbers: Vec<(Number, Number)>,
    /// A validation row, then a training row.
    across: Vec<(Number, Number)>,
    across_but_for_numbers: Vec<(Number, Number)>,
}

impl Pairs {
    fn of(texts: &Texts<'_>) -> Self {
        let mut pairs = Self::default();
        for text in texts.all() {
            pairs.same(texts, text);
        }
        let mut groups = Groups { parents: texts.all().collect(), leaked: vec![false; texts.texts.len()] };
        let mut keys = Vec::new();
        for band in 0..BANDS {
            texts.by_band(band, &mut keys);
            for bucket in keys.chunk_by(|one, other| one.0 == other.0) {
                for (n, (_, one)) in bucket.iter().enumerate() {
                    for (_, other) in bucket[n + 1..].iter().take(COMPARED) {
                        pairs.compare(texts, &mut groups, *one, *other);
                    }
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
    fn same(&mut self, texts: &Texts<'_>, text: Number) {
        let (train, valid) = texts.rows(text);
        let Some((first, others)) = train.split_first() else { return };
        if others.is_empty() && valid.is_empty() {
            return;
        }
        let mut known = HashMap::from([(texts.numbers(first), first.row)]);
        for member in others {
            match known.entry(texts.numbers(member)) {
                Entry::Occupied(twin) => self.within.push((member.row, *twin.get())),
                Entry::Vacant(place) => {
                    place.insert(member.row);
                    self.within_but_for_numbers.push((member.row, first.row));
                }
            }
        }
        for member in valid {
            match known.get(&texts.numbers(member)) {
                Some(twin) => self.across.push((member.row, *twin)),
                None => self.across_but_for_numbers.push((member.row, first.row)),
            }
        }
    }

    fn compare(&mut self, texts: &Texts<'_>, groups: &mut Groups, one: Number, other: Number) {
        let alike = || texts.document(one).is_like(&texts.document(other));
        match (texts.train(one), texts.train(other)) {
            (Some(a), Some(b)) => {
                let (one, other) = (groups.root(one), groups.root(other));
                if one != other && alike() {
                    groups.parents[one.max(other) as usize] = one.min(other);
                    self.within.push((a.max(b), a.min(b)));
                }
            }
            (Some(train), None) if !groups.leaked[other as usize] && alike() => {
                self.leaks(texts, groups, other, train);
            }
            (None, Some(train)) if !groups.leaked[one as usize] && alike() => self.leaks(texts, groups, one, train),
            (Some(_), None) | (None, Some(_)) | (None, None) => {}
        }
    }

    fn leaks(&mut self, texts: &Texts<'_>, groups: &mut Groups, text: Number, train: Number) {
        groups.leaked[text as usize] = true;
        self.across.extend(texts.rows(text).1.iter().map(|member| (member.row, train)));
    }
}

/// What is known already of each text.
struct Groups {
    /// Towards the first text of those that are alike, or like one that is.
    parents: Vec<Number>,
    /// Texts of the validation data alone that are like one of the training data.
    leaked: Vec<bool>,
}

impl Groups {
    fn root(&mut self, mut text: Number) -> Number {
        while self.parents[text as usize] != text {
            self.parents[text as usize] = self.parents[self.parents[text as usize] as usize];
            text = self.parents[text as usize];
        }
        text
    }
}

#[cfg(test)]
mod tests;
