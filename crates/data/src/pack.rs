//! Which examples share a row of the batch. Attention is by sequence, so that an example reads nothing of its neighbours
//! and loses nothing by having some.

use std::collections::BTreeSet;

/// Puts the examples of these lengths into rows of at most `max_length` tokens; returns the indices of each row.
///
/// Best fit, longest first: an example goes into the fullest row that has room for it. So any two rows together hold
/// more than `max_length` tokens, which leaves them more than half full on average; with lengths of every kind they are
/// nearly full. The result depends on nothing but the arguments: indices are ascending in a row, and rows are in the order
/// of their first example. An example longer than `max_length` has a row of its own.
pub fn pack(lengths: &[usize], max_length: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&index| std::cmp::Reverse(lengths[index]));
    let mut rows: Vec<Vec<usize>> = Vec::new();
    // Room and number of each row that has any.
    let mut open = BTreeSet::new();
    for index in order {
        let length = lengths[index];
        let fullest = open.range((length, 0)..).next().copied();
        let (room, row) = match fullest {
            Some(found) => {
                open.remove(&found);
                found
            }
            None => {
                rows.push(Vec::new());
                (max_length.max(length), rows.len() - 1)
            }
        };
        rows[row].push(index);
        if room > length {
            open.insert((room - length, row));
        }
    }
    for row in &mut rows {
        row.sort_unstable();
    }
    rows.sort_unstable();
    rows
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_example_goes_where_it_fits_best() {
        assert_eq!(pack(&[5, 3, 6, 4, 2], 10), [vec![0, 1, 4], vec![2, 3]]);
        assert_eq!(pack(&[12, 1, 4, 4], 4), [vec![0], vec![1], vec![2], vec![3]]);
        assert_eq!(pack(&[], 4), Vec::<Vec<usize>>::new());
    }

    proptest! {
        #[test]
        fn rows_are_within_bounds_more_than_half_full_and_hold_each_example_once(
            lengths in prop::collection::vec(1..=64_usize, 0..200),
        ) {
            let rows = pack(&lengths, 64);
            let mut all = rows.concat();
            all.sort_unstable();
            prop_assert_eq!(all, (0..lengths.len()).collect::<Vec<_>>());
            let filled = |row: &Vec<usize>| row.iter().map(|index| lengths[*index]).sum::<usize>();
            prop_assert!(rows.iter().all(|row| filled(row) <= 64));
            if rows.len() > 1 {
                let total: usize = lengths.iter().sum();
                prop_assert!(2 * total > rows.len() * 64, "{total} tokens in {} rows", rows.len());
            }
            prop_assert_eq!(rows, pack(&lengths, 64));
        }
    }
}
