//! Which rows of a cache are free. Each sequence has rows that follow one another, the first that are long enough.

use std::ops::Range;

/// The free rows: ascending, with rows in use between any two ranges.
#[derive(Debug, Clone)]
pub(super) struct Rows {
    free: Vec<Range<usize>>,
}

impl Rows {
    pub(super) fn new(count: usize) -> Self {
        Self { free: Some(0..count).filter(|rows| !rows.is_empty()).into_iter().collect() }
    }

    /// Takes the first `count` rows that follow one another; `None` if nowhere so many do.
    pub(super) fn take(&mut self, count: usize) -> Option<Range<usize>> {
        let index = self.free.iter().position(|range| range.len() >= count)?;
        let start = self.free[index].start;
        self.free[index].start += count;
        if self.free[index].is_empty() {
            self.free.remove(index);
        }
        Some(start..start + count)
    }

    /// Frees rows that were taken.
    pub(super) fn give_back(&mut self, rows: Range<usize>) {
        if rows.is_empty() {
            return;
        }
        let index = self.free.partition_point(|range| range.end <= rows.start);
        self.free.insert(index, rows);
        if self.free.get(index + 1).is_some_and(|next| next.start == self.free[index].end) {
            self.free[index].end = self.free.remove(index + 1).end;
        }
        if index > 0 && self.free[index - 1].end == self.free[index].start {
            self.free[index - 1].end = self.free.remove(index).end;
        }
    }

    pub(super) fn free(&self) -> usize {
        self.free.iter().map(Range::len).sum()
    }

    /// Whether `count` rows would follow one another if these, which are taken, were free as well.
    pub(super) fn would_fit<'a>(&'a self, count: usize, taken: impl Iterator<Item = &'a Range<usize>>) -> bool {
        let mut all: Vec<&Range<usize>> = self.free.iter().chain(taken).collect();
        all.sort_unstable_by_key(|range| range.start);
        let mut gap = 0..0;
        all.into_iter().any(|range| {
            gap = if range.start == gap.end { gap.start..range.end } else { range.clone() };
            gap.len() >= count
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_first_gap_that_is_long_enough_is_taken_and_neighbours_become_one() {
        let mut rows = Rows::new(10);
        let [a, b, c] = [3, 2, 4].map(|count| rows.take(count).unwrap());
        assert_eq!((a.clone(), b.clone(), c.clone()), (0..3, 3..5, 5..9));
        assert_eq!(rows.take(2), None);
        rows.give_back(b.clone());
        assert!(!rows.would_fit(6, [&a].into_iter()) && rows.would_fit(5, [&a].into_iter()));
        assert_eq!(rows.take(1), Some(3..4), "the first gap, not the best");
        rows.give_back(3..4);
        rows.give_back(c);
        assert_eq!((rows.free(), rows.take(7)), (7, Some(3..10)));
    }

    proptest! {
        #[test]
        fn no_row_is_taken_twice_and_none_is_lost(steps in prop::collection::vec((any::<bool>(), 1..20_usize), 1..80)) {
            let mut rows = Rows::new(64);
            let mut taken: Vec<Range<usize>> = Vec::new();
            for (takes, number) in steps {
                if takes {
                    let would_fit = rows.would_fit(number, [].into_iter());
                    let found = rows.take(number);
                    prop_assert_eq!(found.is_some(), would_fit);
                    taken.extend(found);
                } else if !taken.is_empty() {
                    rows.give_back(taken.swap_remove(number % taken.len()));
                }
                let mut owners = [0; 64];
                taken.iter().cloned().flatten().for_each(|row| owners[row] += 1);
                prop_assert!(owners.iter().all(|owners| *owners <= 1));
                prop_assert_eq!(rows.free(), owners.iter().filter(|owners| **owners == 0).count());
                prop_assert!(rows.free.windows(2).all(|pair| pair[0].end < pair[1].start));
            }
        }
    }
}
