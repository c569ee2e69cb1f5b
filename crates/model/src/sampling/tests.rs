//! Against Transformers, against distributions computed by hand, and for any row of logits.

use proptest::prelude::*;

use super::*;

const LOGITS: [f32; 12] = [2.0, -1.5, 0.25, 3.1, 0.0, -0.75, 1.9, 2.6, -4.0, 1.2, 0.6, -0.1];
/// Id 3 twice, and an id that the logits do not have.
const CONTEXT: [u32; 5] = [3, 5, 3, 7, 40];

fn sampling(temperature: f64, top_k: Option<usize>, top_p: Option<f64>, min_p: Option<f64>) -> Sampling {
    Sampling { temperature, top_k, top_p, min_p, seed: 7, ..Sampling::default() }
}

fn penalised(sampling: Sampling, repetition_penalty: f64) -> Sampling {
    Sampling { repetition_penalty, ..sampling }
}

fn probabilities(sampling: &Sampling, logits: &[f32], context: &[u32]) -> Vec<(u32, f64)> {
    let kept = sampling.kept(&sampling.penalised(logits, context, &[]));
    let total: f64 = kept.iter().map(|candidate| candidate.weight).sum();
    kept.into_iter().map(|candidate| (candidate.id, candidate.weight / total)).collect()
}

fn ids(sampling: &Sampling, logits: &[f32]) -> Vec<u32> {
    probabilities(sampling, logits, &[]).into_iter().map(|(id, _)| id).collect()
}

#[test]
fn kept_tokens_and_probabilities_are_those_of_transformers() {
    // Transformers 5.23.0 on torch 2.15.0: the five processors of `logits_process.py` in the order of
    // `_get_logits_processor`, then softmax; those with a probability of 0 are left out.
    let cases: [(Sampling, &[(u32, f64)]); 8] = [
        (
            sampling(0.7, Some(5), None, None),
            &[(0, 0.1068865), (3, 0.5145), (6, 0.0926575), (7, 0.2518692), (9, 0.0340868)],
        ),
        (sampling(1.0, None, Some(0.8), None), &[(0, 0.1485636), (3, 0.4463098), (6, 0.134426), (7, 0.2707006)]),
        (sampling(1.0, None, None, Some(0.2)), &[(0, 0.1485636), (3, 0.4463098), (6, 0.134426), (7, 0.2707006)]),
        (
            penalised(sampling(1.5, Some(8), Some(0.9), Some(0.1)), 1.3),
            &[(0, 0.1920242), (3, 0.2481496), (6, 0.17964), (7, 0.1920242), (9, 0.1126503), (10, 0.0755117)],
        ),
        (penalised(sampling(0.8, None, Some(0.6), None), 0.7), &[(3, 1.0)]),
        (
            penalised(sampling(1.3, Some(6), Some(0.95), Some(0.3)), 1.2),
            &[(0, 0.1934429), (3, 0.3029902), (6, 0.1791206), (7, 0.2199032), (9, 0.1045429)],
        ),
        (sampling(1.0, None, Some(0.05), None), &[(3, 1.0)]),
        (
            penalised(sampling(2.0, None, None, None), 1.2),
            &[
                (0, 0.1401246),
                (1, 0.02435),
                (2, 0.0584126),
                (3, 0.1875787),
                (4, 0.051549),
                (5, 0.0328691),
                (6, 0.1332906),
                (7, 0.152302),
                (8, 0.0069764),
                (9, 0.0939283),
                (10, 0.0695838),
                (11, 0.0490349),
            ],
        ),
    ];
    for (sampling, expected) in cases {
        let got = probabilities(&sampling, &LOGITS, &CONTEXT);
        let close = |(a, p): (&(u32, f64), &(u32, f64))| a.0 == p.0 && (a.1 - p.1).abs() < 1e-6;
        assert!(got.len() == expected.len() && got.iter().zip(expected).all(close), "{sampling:?}: {got:?}");
    }
}

#[test]
fn probabilities_are_those_computed_by_hand() {
    // Of 8, 4, 2, 1, 1 sixteenths: 14 of them are more than 0.8, 12 are less.
    let logits = [8.0, 4.0, 2.0, 1.0, 1.0_f32].map(f32::ln);
    let got = probabilities(&sampling(1.0, None, Some(0.8), None), &logits, &[]);
    for ((id, probability), (expected_id, expected)) in got.iter().zip([(0, 8.0), (1, 4.0), (2, 2.0)]) {
        assert_eq!(*id, expected_id);
        assert!((probability - expected / 14.0).abs() < 1e-7, "{got:?}");
    }
    assert_eq!(got.len(), 3);
    // Half the temperature squares the ratios: 16 to 4 to 1.
    let got = probabilities(&sampling(0.5, Some(3), None, None), &logits, &[]);
    assert!((got[0].1 - 16.0 / 21.0).abs() < 1e-7 && (got[2].1 - 1.0 / 21.0).abs() < 1e-7, "{got:?}");
}

#[test]
fn ties_at_the_bound_of_top_k_are_all_kept_and_of_top_p_by_the_lowest_ids() {
    let logits = [0.0, 1.0, 0.0, 0.0, -1.0];
    assert_eq!(ids(&sampling(1.0, Some(2), None, None), &logits), [0, 1, 2, 3]);
    // exp(1) of exp(1) + 3 + exp(-1) is 0.447, and each of the equal three adds 0.164.
    assert_eq!(ids(&sampling(1.0, None, Some(0.5), None), &logits), [0, 1]);
    assert_eq!(ids(&sampling(1.0, None, Some(0.7), None), &logits), [0, 1, 2]);
}

#[test]
fn min_p_of_one_keeps_the_most_probable_and_its_equals() {
    assert_eq!(ids(&sampling(0.7, None, None, Some(1.0)), &[0.5, 2.0, 1.9, 2.0]), [1, 3]);
}

#[test]
fn greedy_takes_the_first_of_the_largest_after_the_penalty() {
    let greedy = Sampling::default();
    assert_eq!(greedy.choose(&[0.0, 2.0, 2.0, 1.0], &[1], &[], 0), Ok(1));
    assert_eq!(penalised(greedy.clone(), 1.2).choose(&[0.0, 2.0, 2.0, 1.0], &[1], &[1], 0), Ok(2));
    // Negative logits are multiplied: -1 becomes -2.
    assert_eq!(penalised(greedy, 2.0).choose(&[-1.0, -1.5], &[], &[0], 0), Ok(1));
}

#[test]
fn logits_that_are_not_finite_are_never_chosen() {
    let broken = [f32::NAN, f32::INFINITY, -3.0, f32::NEG_INFINITY, -2.0, f32::NAN];
    assert_eq!(Sampling::default().choose(&broken, &[], &[], 0), Ok(4));
    assert_eq!(ids(&sampling(1.0, Some(5), Some(0.99), Some(0.01)), &broken), [2, 4]);
    let error = Err(SamplingError::NothingToChoose { row: 3, token: 9 });
    for all in [&[f32::NAN; 4][..], &[f32::NEG_INFINITY; 4], &[]] {
        assert_eq!(Sampling::default().choose(all, &[0], &[0; 9], 3), error);
        assert_eq!(penalised(sampling(1.0, Some(2), Some(0.5), Some(0.5)), 1.1).choose(all, &[0], &[0; 9], 3), error);
    }
}

#[test]
fn the_smallest_temperature_takes_the_most_probable() {
    assert_eq!(ids(&sampling(f64::MIN_POSITIVE, None, None, None), &LOGITS), [3]);
}

#[test]
fn twenty_thousand_draws_have_the_frequencies_of_the_probabilities() {
    let sampling = penalised(sampling(1.5, Some(8), Some(0.9), Some(0.1)), 1.3);
    let mut counts = [0_u32; LOGITS.len()];
    for draw in 0..20_000 {
        // As many texts as tokens in each, so that both numbers have to matter.
        let written = vec![CONTEXT[0]; (draw % 141) as usize];
        let id = sampling.choose(&LOGITS, &CONTEXT, &written, draw / 141).unwrap();
        counts[id as usize] += 1;
    }
    for (id, probability) in probabilities(&sampling, &LOGITS, &CONTEXT) {
        let expected = 20_000.0 * probability;
        let deviation = (expected * (1.0 - probability)).sqrt();
        let count = f64::from(std::mem::take(&mut counts[id as usize]));
        assert!((count - expected).abs() < 4.0 * deviation, "id {id}: {count}, expected {expected}");
    }
    assert_eq!(counts, [0; LOGITS.len()], "an id that is not kept was drawn");
}

#[test]
fn what_cannot_be_is_refused_and_says_what_can() {
    let greedy = Sampling::default;
    let wrong = [
        (Sampling { temperature: -0.1, ..greedy() }, "the temperature is -0.1, expected 0 or more"),
        (Sampling { temperature: f64::NAN, ..greedy() }, "the temperature is NaN, expected 0 or more"),
        (Sampling { temperature: f64::INFINITY, ..greedy() }, "the temperature is inf, expected 0 or more"),
        (Sampling { top_k: Some(0), ..greedy() }, "top-k is 0, expected 1 or more"),
        (Sampling { top_p: Some(0.0), ..greedy() }, "top-p is 0, expected a number above 0, at most 1"),
        (Sampling { top_p: Some(1.1), ..greedy() }, "top-p is 1.1, expected a number above 0, at most 1"),
        (Sampling { min_p: Some(-0.1), ..greedy() }, "min-p is -0.1, expected a number from 0 to 1"),
        (Sampling { min_p: Some(f64::NAN), ..greedy() }, "min-p is NaN, expected a number from 0 to 1"),
        (penalised(greedy(), 0.0), "the repetition penalty is 0, expected a number above 0"),
        (
            Sampling { frequency_penalty: 2.5, ..greedy() },
            "the frequency penalty is 2.5, expected a number from -2 to 2",
        ),
        (
            Sampling { presence_penalty: f64::NAN, ..greedy() },
            "the presence penalty is NaN, expected a number from -2 to 2",
        ),
        (
            Sampling { logit_bias: vec![(3, 0.5), (9, -101.0)], ..greedy() },
            "the bias of token 9 is -101, expected a number from -100 to 100",
        ),
    ];
    for (sampling, message) in wrong {
        let error = sampling.check().unwrap_err();
        assert_eq!(error.to_string(), message);
        assert!(miette::Diagnostic::help(&error).is_some());
    }
    let bounds = Sampling { temperature: 0.0, top_k: Some(1), top_p: Some(1.0), min_p: Some(1.0), ..greedy() };
    assert_eq!(bounds.check(), Ok(()));
}

/// Rows with ties, and long enough for [`keep_mass`] to need several blocks.
fn rows() -> impl Strategy<Value = Vec<f32>> {
    let tied = prop::collection::vec((-6..6_i8).prop_map(f32::from), 1..20);
    prop_oneof![tied, prop::collection::vec(-8.0..8.0_f32, 1..1500)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_chosen_id_is_a_kept_one_and_always_the_same(
        logits in rows(), temperature in 0.05..3.0, top_k in prop::option::of(1..40_usize),
        top_p in prop::option::of(0.01..=1.0), min_p in prop::option::of(0.0..=1.0), row: u64, token in 0..40_usize
    ) {
        let sampling = sampling(temperature, top_k, top_p, min_p);
        let chosen = sampling.choose(&logits, &[], &vec![0; token], row).unwrap();
        prop_assert!(ids(&sampling, &logits).contains(&chosen));
        prop_assert_eq!(sampling.choose(&logits, &[], &vec![0; token], row).unwrap(), chosen);
    }

    #[test]
    fn bounds_that_hold_for_all_tokens_change_nothing(logits in rows(), temperature in 0.05..3.0, row: u64) {
        let free = sampling(temperature, None, None, None);
        let bounded = sampling(temperature, Some(logits.len()), Some(1.0), Some(0.0));
        prop_assert_eq!(probabilities(&bounded, &logits, &[]), probabilities(&free, &logits, &[]));
        prop_assert_eq!(bounded.choose(&logits, &[], &[], row), free.choose(&logits, &[], &[], row));
    }

    #[test]
    fn top_p_keeps_the_smallest_set_that_a_full_ranking_gives(logits in rows(), top_p in 0.01..0.999) {
        let mut ranking = probabilities(&sampling(1.0, None, None, None), &logits, &[]);
        ranking.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let mut above = 0.0;
        let mut expected = Vec::new();
        for (id, probability) in ranking {
            if above < top_p {
                expected.push(id);
            }
            above += probability;
        }
        expected.sort_unstable();
        prop_assert_eq!(ids(&sampling(1.0, None, Some(top_p), None), &logits), expected);
    }
}
