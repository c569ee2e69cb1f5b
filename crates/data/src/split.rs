//! Which examples are put aside for validation.

use crate::sampler::Random;

/// The indices of the examples that go to validation, ascending: a pure function of its arguments.
///
/// Stratified: each class gives `fraction` of its examples, rounded, at least one where it has two or more; it always
/// keeps one for training. A fraction of 0 gives none.
pub fn stratified(targets: &[usize], fraction: f64, seed: u64) -> Vec<usize> {
    if fraction <= 0.0 {
        return Vec::new();
    }
    let classes = targets.iter().max().map_or(0, |largest| largest + 1);
    let mut members = vec![Vec::new(); classes];
    for (index, &target) in targets.iter().enumerate() {
        members[target].push(index);
    }
    let mut chosen = Vec::new();
    for (class, mut indices) in members.into_iter().enumerate() {
        let share = (fraction * indices.len() as f64).round() as usize;
        let share = share.max(1).min(indices.len().saturating_sub(1));
        // A stream for each class: another class's size must not change which of this one's examples are chosen.
        Random::new(seed, class as u64).shuffle(&mut indices);
        chosen.extend_from_slice(&indices[..share]);
    }
    chosen.sort_unstable();
    chosen
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of_class(chosen: &[usize], targets: &[usize], class: usize) -> usize {
        chosen.iter().filter(|index| targets[**index] == class).count()
    }

    #[test]
    fn each_class_gives_its_share() {
        // 50 of class 0, 10 of class 1, 3 of class 2, 1 of class 3.
        let targets: Vec<usize> = [vec![0; 50], vec![1; 10], vec![2; 3], vec![3; 1]].concat();
        let chosen = stratified(&targets, 0.1, 42);
        let shares: Vec<usize> = (0..4).map(|class| of_class(&chosen, &targets, class)).collect();
        assert_eq!(shares, [5, 1, 1, 0], "a class of three gives one, a class of one keeps it");
    }

    #[test]
    fn every_class_keeps_an_example_for_training() {
        assert_eq!(stratified(&[0, 0, 1, 1, 1], 0.99, 1).len(), 3);
    }

    #[test]
    fn the_seed_decides_and_nothing_else() {
        let targets: Vec<usize> = (0..200).map(|n| n % 3).collect();
        assert_eq!(stratified(&targets, 0.2, 7), stratified(&targets, 0.2, 7));
        assert_ne!(stratified(&targets, 0.2, 7), stratified(&targets, 0.2, 8));
        assert_eq!(stratified(&targets, 0.0, 7), Vec::<usize>::new());
        assert_eq!(stratified(&[], 0.5, 7), Vec::<usize>::new());
    }

    proptest! {
        #[test]
        fn a_split_is_a_partition_with_each_class_on_both_sides(
            targets in prop::collection::vec(0..5_usize, 0..120), fraction in 0.01..0.99_f64, seed: u64,
        ) {
            let chosen = stratified(&targets, fraction, seed);
            prop_assert!(chosen.is_sorted_by(|a, b| a < b), "ascending, none twice");
            prop_assert!(chosen.iter().all(|index| *index < targets.len()));
            for class in 0..5 {
                let count = targets.iter().filter(|target| **target == class).count();
                let share = of_class(&chosen, &targets, class);
                if count >= 2 {
                    prop_assert!(share >= 1 && share < count, "{share} of {count}");
                    prop_assert!((share as f64 - fraction * count as f64).abs() <= 1.0);
                } else {
                    prop_assert_eq!(share, 0);
                }
            }
        }
    }
}
