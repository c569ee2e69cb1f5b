//! Which worker computes what.

/// Shares jobs of these sizes among workers, each of which takes `most` at most: the largest first, to whoever has least to do.
/// The worker of each job.
pub(crate) fn shared(sizes: &[usize], workers: usize, most: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    // Stable, so that every worker comes to the same.
    order.sort_by_key(|job| std::cmp::Reverse(sizes[*job]));
    let (mut load, mut count) = (vec![0_usize; workers], vec![0_usize; workers]);
    let mut taken = vec![0; sizes.len()];
    for job in order {
        let free = (0..workers).filter(|worker| count[*worker] < most);
        let worker = free.min_by_key(|worker| load[*worker]).expect("there are no more jobs than workers take");
        (taken[job], load[worker], count[worker]) = (worker, load[worker] + sizes[job], count[worker] + 1);
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_jobs_are_not_one_worker_s_alone() {
        assert_eq!(shared(&[10, 1, 10, 1], 2, 2), [0, 0, 1, 1]);
        assert_eq!(shared(&[9, 3, 3, 3], 2, 3), [0, 1, 1, 1]);
        assert_eq!(shared(&[9, 3, 3, 3], 2, 2), [0, 1, 1, 0]);
        assert_eq!(shared(&[5], 3, 1), [0]);
        assert_eq!(shared(&[], 3, 1), [0; 0]);
    }
}
