//! What was read of earlier prompts, for those that begin alike. It stays in the rows of the cache where it was read until
//! their room is needed.

use std::ops::Range;
use std::sync::Arc;

use lora::AdapterSet;

use crate::cache::Cache;

/// Tokens that a prompt has in common with another, at least, for their keys and values to be copied.
pub(super) const SHORTEST: usize = 16;

/// The first tokens of a sequence, read in prefill passes: the keys and values of decode passes may differ in their last bits.
#[derive(Debug)]
pub(super) struct Prefix<'a> {
    pub(super) ids: &'a [u32],
    /// Its first row of the cache.
    pub(super) row: usize,
    /// How its keys turn: `CausalLm::turns_as`.
    pub(super) turns_as: usize,
    pub(super) adapters: Option<&'a Arc<AdapterSet>>,
}

impl Prefix<'_> {
    /// How many of the first of `ids` have their keys and values here. All but the last at most: a sequence whose tokens have
    /// all been read says nothing of the next.
    pub(super) fn common(&self, ids: &[u32], adapters: Option<&Arc<AdapterSet>>, turns_as: usize) -> usize {
        if self.turns_as != turns_as || !are_same(self.adapters, adapters) {
            return 0;
        }
        self.ids.iter().zip(&ids[..ids.len() - 1]).take_while(|(a, b)| a == b).count()
    }
}

fn are_same(adapters: Option<&Arc<AdapterSet>>, others: Option<&Arc<AdapterSet>>) -> bool {
    adapters.map(Arc::as_ptr) == others.map(Arc::as_ptr)
}

/// The prefix of a text that has ended.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) ids: Vec<u32>,
    /// As many rows as ids.
    pub(super) rows: Range<usize>,
    pub(super) turns_as: usize,
    pub(super) adapters: Option<Arc<AdapterSet>>,
}

/// The prefixes of texts that have ended, in the order in which they were used last.
///
/// They are looked through one by one, which needs no hashes and finds the longest beginning token for token: together they
/// have at most as many tokens as the cache has rows.
#[derive(Debug, Default)]
pub(super) struct Prefixes {
    kept: Vec<Kept>,
}

impl Prefixes {
    pub(super) fn iter(&self) -> impl Iterator<Item = Prefix<'_>> {
        self.kept.iter().map(|kept| Prefix {
            ids: &kept.ids,
            row: kept.rows.start,
            turns_as: kept.turns_as,
            adapters: kept.adapters.as_ref(),
        })
    }

    /// Rows of the cache that they have.
    pub(super) fn rows(&self) -> usize {
        self.kept.iter().map(|kept| kept.rows.len()).sum()
    }

    /// Keeps a prefix, unless it is short or the beginning of another. Those that are its own beginnings are dropped.
    pub(super) fn keep(&mut self, prefix: Kept, cache: &mut Cache) {
        let same = |other: &Kept| {
            other.turns_as == prefix.turns_as && are_same(other.adapters.as_ref(), prefix.adapters.as_ref())
        };
        let begins = |short: &Kept, long: &Kept| long.ids.starts_with(&short.ids);
        let longer = self.kept.iter().position(|other| same(other) && begins(&prefix, other));
        if prefix.ids.len() < SHORTEST || longer.is_some() {
            cache.give_back(prefix.rows);
            longer.into_iter().for_each(|index| self.use_now(index));
            return;
        }
        self.drop_where(cache, |other| same(other) && begins(other, &prefix));
        self.kept.push(prefix);
    }

    /// The prefix that begins at this row, if it is one of these, is used.
    pub(super) fn used(&mut self, row: usize) {
        if let Some(index) = self.kept.iter().position(|kept| kept.rows.start == row) {
            self.use_now(index);
        }
    }

    /// Rows for a sequence of so many tokens, for which those that were used longest ago are dropped; `None`, and nothing is
    /// dropped, if that would not be enough.
    pub(super) fn make_room(&mut self, tokens: usize, cache: &mut Cache) -> Option<Range<usize>> {
        if !cache.would_fit(tokens, self.kept.iter().map(|kept| &kept.rows)) {
            return None;
        }
        loop {
            if let Some(rows) = cache.take(tokens) {
                return Some(rows);
            }
            cache.give_back(self.kept.remove(0).rows);
        }
    }

    /// Drops those that were read through these adapters.
    pub(super) fn forget(&mut self, adapters: &Arc<AdapterSet>, cache: &mut Cache) {
        self.drop_where(cache, |kept| are_same(kept.adapters.as_ref(), Some(adapters)));
    }

    fn use_now(&mut self, index: usize) {
        let kept = self.kept.remove(index);
        self.kept.push(kept);
    }

    fn drop_where(&mut self, cache: &mut Cache, is_dropped: impl Fn(&Kept) -> bool) {
        for kept in self.kept.extract_if(.., |kept| is_dropped(kept)) {
            cache.give_back(kept.rows);
        }
    }
}
