//! Tests of the whole room.

use proptest::prelude::*;

use super::*;

fn sampler(lengths: Vec<usize>, batch_size: usize, grad_accumulation: usize) -> Sampler {
    Sampler::new(
        lengths,
        SamplerConfig { seed: 42, batch_size, grad_accumulation, shuffle: true, group_by_length: false },
    )
}

#[test]
fn random_numbers_are_those_of_splitmix64() {
    // The sequence of the reference implementation (Vigna, splitmix64.c) for the seed 1234567.
    let mut random = Random { state: 1_234_567 };
    let numbers: Vec<u64> = (0..3).map(|_| random.next()).collect();
    assert_eq!(numbers, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
}

#[test]
fn the_order_of_a_seed_never_changes_between_versions() {
    let sampler = sampler(vec![1; 10], 2, 1);
    // Computed by the same algorithm in Python.
    assert_eq!(sampler.epoch(0), [5, 1, 9, 6, 7, 2, 4, 0, 8, 3]);
    assert_eq!(sampler.epoch(1), [8, 9, 1, 7, 6, 4, 3, 2, 0, 5]);
}

#[test]
fn without_shuffling_examples_come_in_the_order_of_the_file() {
    let config = SamplerConfig { seed: 1, batch_size: 2, grad_accumulation: 2, shuffle: false, group_by_length: false };
    let sampler = Sampler::new(vec![1; 5], config);
    assert_eq!(sampler.steps_per_epoch(), 2);
    assert_eq!(sampler.step(1), Step { epoch: 0, micro_batches: vec![vec![0, 1], vec![2, 3]] });
    assert_eq!(sampler.step(2), Step { epoch: 0, micro_batches: vec![vec![4]] }, "the last window is smaller");
    assert_eq!(sampler.step(3), Step { epoch: 1, micro_batches: vec![vec![0, 1], vec![2, 3]] });
}

#[test]
fn epochs_and_seeds_have_orders_of_their_own() {
    let of_seed = |seed| {
        let config = SamplerConfig { seed, batch_size: 4, grad_accumulation: 1, shuffle: true, group_by_length: false };
        Sampler::new(vec![1; 50], config)
    };
    assert_ne!(of_seed(1).epoch(0), of_seed(1).epoch(1));
    assert_ne!(of_seed(1).epoch(0), of_seed(2).epoch(0));
    assert_ne!(of_seed(1).epoch(1), of_seed(2).epoch(0), "a seed is not another one's later epoch");
}

#[test]
fn every_place_is_reached_equally_often() {
    let mut random = Random::new(7, 0);
    let mut counts = [[0_u32; 4]; 4];
    for _ in 0..24_000 {
        let mut items = [0, 1, 2, 3];
        random.shuffle(&mut items);
        for (place, item) in items.into_iter().enumerate() {
            counts[item][place] += 1;
        }
    }
    // 6000 expected, standard deviation sqrt(24000 * 1/4 * 3/4) = 67: five of them.
    assert!(counts.iter().flatten().all(|count| count.abs_diff(6000) < 335), "{counts:?}");
}

#[test]
fn grouped_batches_hold_examples_of_similar_length_in_random_order() {
    // 400 examples in batches of 4 are two stretches of 200; their lengths are 0 to 399, each once.
    let config = SamplerConfig { seed: 3, batch_size: 4, grad_accumulation: 1, shuffle: true, group_by_length: true };
    let sampler = Sampler::new((0..400).collect(), config);
    let order = sampler.epoch(0);
    let spread = |batch: &[usize]| batch.iter().max().unwrap() - batch.iter().min().unwrap();
    let mean = order.chunks(4).map(spread).sum::<usize>() / 100;
    // Of a random half of 0..400, four neighbours span about six; four at random span about 240.
    assert!(mean < 12, "{mean}");
    let firsts: Vec<usize> = order.chunks(4).map(|batch| batch[0]).collect();
    let descents = firsts.windows(2).filter(|pair| pair[0] > pair[1]).count();
    assert!((30..70).contains(&descents), "batches in random order descend about half the time: {descents} of 99");
}

#[test]
fn grouping_without_shuffling_sorts_only() {
    let config = SamplerConfig { seed: 3, batch_size: 2, grad_accumulation: 1, shuffle: false, group_by_length: true };
    assert_eq!(Sampler::new(vec![3, 9, 3, 7, 1], config).epoch(5), [1, 3, 0, 2, 4]);
}

#[test]
fn steps_can_be_asked_for_in_any_order_and_from_any_thread() {
    let sampler = sampler(vec![1; 23], 3, 2);
    let forward: Vec<Step> = (1..=12).map(|step| sampler.step(step)).collect();
    let mut backward: Vec<Step> = (1..=12).rev().map(|step| sampler.step(step)).collect();
    backward.reverse();
    assert_eq!(forward, backward);
    let elsewhere = std::thread::scope(|scope| scope.spawn(|| sampler.step(7)).join().unwrap());
    assert_eq!(elsewhere, forward[6]);
}

proptest! {
    #[test]
    fn the_steps_of_an_epoch_hold_every_example_once(
        lengths in prop::collection::vec(1..50_usize, 1..300), epoch in 0..3_usize, seed: u64,
        batch_size in 1..9_usize, grad_accumulation in 1..5_usize, shuffle: bool, group_by_length: bool,
    ) {
        let count = lengths.len();
        let sampler =
            Sampler::new(lengths, SamplerConfig { seed, batch_size, grad_accumulation, shuffle, group_by_length });
        let steps = sampler.steps_per_epoch();
        let mut seen = vec![0; count];
        for step in epoch * steps + 1..=(epoch + 1) * steps {
            let Step { epoch: of_step, micro_batches } = sampler.step(step);
            prop_assert_eq!(of_step, epoch);
            prop_assert!((1..=grad_accumulation).contains(&micro_batches.len()));
            for micro_batch in &micro_batches {
                prop_assert!((1..=batch_size).contains(&micro_batch.len()));
                micro_batch.iter().for_each(|&index| seen[index] += 1);
            }
            let full = micro_batches.concat().len() == batch_size * grad_accumulation;
            prop_assert!(full || step == (epoch + 1) * steps, "only the last step of an epoch is smaller");
        }
        prop_assert_eq!(seen, vec![1; count]);
    }
}
