//! The algebra of folding: by any number of rows at a time, in either orientation, one adapter after the other.

use burn::tensor::Device;
use proptest::prelude::*;

use super::*;
use crate::update::fixtures::*;

fn low_rank(scale: f64, transposed: bool, lengths: Option<&str>) -> Update {
    let sum = Sum { a: "a".to_string(), b: "b".to_string(), scale, transposed };
    match lengths {
        None => Update::new("m", sum),
        Some(lengths) => Update::new("m", Lengths { sum, lengths: lengths.to_string() }),
    }
}

proptest! {
    #[test]
    fn an_update_is_the_same_folded_in_by_any_number_of_rows(it in drawn()) {
        let [(a, b), _] = &it.factors;
        let file = adapter(&[("a", a), ("b", b), ("length", &it.lengths)]);
        for magnitude in [None, Some("length")] {
            let update = low_rank(it.scale, false, magnitude);
            let whole = update.merged(it.weight.clone(), &file).unwrap();
            assert_near(&folded(&update, &it.weight, &file, it.rows), &whole)?;
        }
    }

    #[test]
    fn a_weight_that_lies_by_its_inputs_gets_the_transpose(it in drawn()) {
        let [(a, b), _] = &it.factors;
        let file = adapter(&[("a", a), ("b", b), ("length", &it.lengths)]);
        for magnitude in [None, Some("length")] {
            let expected = low_rank(it.scale, false, magnitude).merged(it.weight.clone(), &file).unwrap();
            let found = folded(&low_rank(it.scale, true, magnitude), &transposed(&it.weight), &file, it.rows);
            assert_near(&transposed(&found), &expected)?;
        }
    }

    #[test]
    fn two_adapters_in_order_are_one_of_both_ranks_and_their_order_does_not_matter(it in drawn()) {
        let [first, second] = &it.factors;
        let device = Device::flex();
        let update = low_rank(it.scale, false, None);
        let of = |(a, b): &(TensorData, TensorData)| adapter(&[("a", a), ("b", b)]);
        let then = |weight: TensorData, factors: &_| update.merged(weight, &of(factors)).unwrap();
        let tensor = |data: &TensorData| Tensor::<2>::from_data(data.clone(), &device);
        let a = Tensor::cat(vec![tensor(&first.0), tensor(&second.0)], 0).into_data();
        let b = Tensor::cat(vec![tensor(&first.1), tensor(&second.1)], 1).into_data();
        let both = (a, b);
        let joined = then(it.weight.clone(), &both);
        assert_near(&then(then(it.weight.clone(), first), second), &joined)?;
        assert_near(&then(then(it.weight.clone(), second), first), &joined)?;
    }

    #[test]
    fn an_update_and_its_opposite_leave_the_weight_as_it_was(it in drawn()) {
        let [(a, b), _] = &it.factors;
        let file = adapter(&[("a", a), ("b", b)]);
        let there = low_rank(it.scale, false, None).merged(it.weight.clone(), &file).unwrap();
        assert_near(&low_rank(-it.scale, false, None).merged(there, &file).unwrap(), &it.weight)?;
    }

    #[test]
    fn rows_of_a_dora_merge_have_the_lengths_of_the_magnitude(it in drawn()) {
        let [(a, b), _] = &it.factors;
        let file = adapter(&[("a", a), ("b", b), ("length", &it.lengths)]);
        let merged = folded(&low_rank(it.scale, false, Some("length")), &it.weight, &file, it.rows);
        let values: Vec<f32> = merged.iter::<f32>().collect();
        let lengths = values.chunks(merged.shape()[1]).map(|row| row.iter().map(|it| it * it).sum::<f32>().sqrt());
        for (found, expected) in lengths.zip(it.lengths.iter::<f32>()) {
            prop_assert!((found - expected).abs() <= 1e-4 * expected, "{found} {expected}");
        }
    }
}

proptest! {
    // Each case writes files.
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn what_is_expected_by_the_file_alone_is_what_is_folded_in(it in drawn()) {
        let [(a, b), _] = &it.factors;
        let file = adapter(&[("a", a), ("b", b), ("length", &it.lengths)]);
        for lengths in [None, Some("length")] {
            for (lies_so, weight) in [(false, it.weight.clone()), (true, transposed(&it.weight))] {
                let update = low_rank(it.scale, lies_so, lengths);
                let merged = folded(&update, &weight, &file, it.rows);
                assert_expected(&update, (&weight, &merged), &file, it.rows)?;
            }
        }
    }
}

#[test]
fn an_update_without_one_of_its_tensors_is_none() {
    let matrix = TensorData::zeros::<f32, _>([2, 2]);
    for present in ["a", "b"] {
        assert!(low_rank(1.0, false, None).form.fold(&adapter(&[(present, &matrix)])).is_none());
    }
    let file = adapter(&[("a", &matrix), ("b", &matrix)]);
    assert!(low_rank(1.0, false, Some("length")).form.fold(&file).is_none());
}
