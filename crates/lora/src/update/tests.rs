//! The algebra of folding: by any number of rows at a time, in either orientation, one adapter after the other.

use proptest::prelude::*;

use super::*;

fn matrix(rows: usize, columns: usize, values: &[f32]) -> TensorData {
    TensorData::new(values[..rows * columns].to_vec(), [rows, columns])
}

fn transposed(matrix: &TensorData) -> TensorData {
    Tensor::<2>::from_data(matrix.clone(), &Device::flex()).transpose().into_data()
}

fn low_rank(scale: f64, transposed: bool, magnitude: Option<&str>) -> Update {
    let (a, b, magnitude) = ("a".to_string(), "b".to_string(), magnitude.map(str::to_string));
    Update { module: "m".to_string(), form: Form::LowRank { a, b, scale, transposed, magnitude } }
}

fn scaling(of: Side, transposed: bool) -> Update {
    Update { module: "m".to_string(), form: Form::Scaling { vector: "v".to_string(), of, transposed } }
}

fn adapter(tensors: &[(&str, &TensorData)]) -> HashMap<String, TensorData> {
    tensors.iter().map(|(name, data)| ((*name).to_string(), (*data).clone())).collect()
}

/// The update folded in so many rows at a time.
fn folded(update: &Update, weight: &TensorData, adapter: &HashMap<String, TensorData>, rows: usize) -> TensorData {
    let shape = weight.shape().clone();
    let columns = shape[1];
    let mut values: Vec<f32> = weight.iter::<f32>().collect();
    let mut fold = update.fold(adapter).unwrap();
    if fold.looks_first() {
        for (index, panel) in values.chunks(rows * columns).enumerate() {
            fold.look(index * rows, columns, panel);
        }
    }
    for (index, panel) in values.chunks_mut(rows * columns).enumerate() {
        fold.apply(index * rows, columns, panel);
    }
    TensorData::new(values, shape)
}

/// Within this share of the largest value, some roundings of f32.
fn assert_near(left: &TensorData, right: &TensorData) -> Result<(), TestCaseError> {
    prop_assert_eq!(left.shape(), right.shape());
    let largest = left.iter::<f32>().chain(right.iter::<f32>()).fold(1.0_f32, |largest, it| largest.max(it.abs()));
    for (left, right) in left.iter::<f32>().zip(right.iter::<f32>()) {
        prop_assert!((left - right).abs() <= 1e-5 * largest, "{left} {right}");
    }
    Ok(())
}

/// A weight `[d_output, d_input]`, factors of a rank for it, and lengths of its rows.
#[derive(Debug)]
struct Drawn {
    weight: TensorData,
    factors: [(TensorData, TensorData); 2],
    lengths: TensorData,
    scale: f64,
    rows: usize,
}

fn drawn() -> impl Strategy<Value = Drawn> {
    let sizes = (1..7_usize, 1..9_usize, 1..4_usize, 1..5_usize);
    let values = prop::collection::vec(-2.0..2.0_f32, 64);
    let sets = [(); 6].map(|()| values.clone());
    (sizes, sets, 0.1..4.0_f64).prop_map(|((d_output, d_input, rank, rows), sets, scale)| Drawn {
        weight: matrix(d_output, d_input, &sets[0]),
        factors: [
            (matrix(rank, d_input, &sets[1]), matrix(d_output, rank, &sets[2])),
            (matrix(rank, d_input, &sets[3]), matrix(d_output, rank, &sets[4])),
        ],
        lengths: TensorData::new(sets[5][..d_output].iter().map(|it| it.abs() + 0.1).collect(), [d_output]),
        scale,
        rows,
    })
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

    #[test]
    fn scaling_multiplies_what_belongs_to_each_input_or_output(it in drawn()) {
        let (d_output, d_input) = (it.weight.shape()[0], it.weight.shape()[1]);
        for (of, count) in [(Side::Inputs, d_input), (Side::Outputs, d_output)] {
            let factors: Vec<f32> = (0..count).map(|at| 0.5 + at as f32).collect();
            let file = adapter(&[("v", &TensorData::new(factors.clone(), [count, 1]))]);
            let found = folded(&scaling(of, false), &it.weight, &file, it.rows);
            for (at, (found, base)) in found.iter::<f32>().zip(it.weight.iter::<f32>()).enumerate() {
                let factor = factors[if of == Side::Outputs { at / d_input } else { at % d_input }];
                prop_assert_eq!(found, base * factor);
            }
            let lying = folded(&scaling(of, true), &transposed(&it.weight), &file, it.rows);
            assert_near(&transposed(&lying), &found)?;
        }
    }
}

#[test]
fn an_update_without_one_of_its_tensors_is_none() {
    let matrix = TensorData::zeros::<f32, _>([2, 2]);
    for present in ["a", "b"] {
        assert!(low_rank(1.0, false, None).fold(&adapter(&[(present, &matrix)])).is_none());
    }
    let file = adapter(&[("a", &matrix), ("b", &matrix)]);
    assert!(low_rank(1.0, false, Some("length")).fold(&file).is_none());
    assert!(scaling(Side::Outputs, false).fold(&file).is_none());
}
