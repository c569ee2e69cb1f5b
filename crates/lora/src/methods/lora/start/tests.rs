//! Starts that are a part of the weight: with what is left they are the weight; resumed and raw ones; what is refused.

use std::num::NonZeroU32;

use proptest::prelude::*;

use super::*;
use crate::interruption::Interruption;
use crate::{AdapterMethod, Settings};

const PISSA: Init = Init::Pissa { iterations: None };

fn random_pissa(iterations: u32) -> Init {
    Init::Pissa { iterations: NonZeroU32::new(iterations) }
}

/// Random values of a seed, as a weight of this type.
fn weight(shape: [usize; 2], seed: u64, dtype: DType) -> Weight<2> {
    let values = normal((shape[0] * shape[1]) as u64, 1.0, seed);
    let data = TensorData::new(values, shape);
    Weight::frozen(Tensor::<2>::from_data(data, &Device::flex()).cast(dtype))
}

fn values(weight: &Weight<2>) -> Vec<f32> {
    weight.value().into_data().iter::<f32>().collect()
}

/// The weight as it is left, A and B.
fn started(
    config: &LoraConfig,
    base: &Weight<2>,
    orientation: Orientation,
    tensors: &mut TrainedTensors,
) -> Result<(Weight<2>, Vec<f32>, Vec<f32>), Error> {
    let (mut base, device) = (base.clone(), Device::flex());
    let [rows, columns] = base.value().dims();
    let (d_output, d_input) = if orientation == Orientation::OutIn { (rows, columns) } else { (columns, rows) };
    let settings = Settings::New;
    let site = Site {
        path: "q",
        d_input,
        d_output,
        base: Some(&mut base),
        is_read: true,
        orientation,
        settings,
        device: &device,
    };
    config.linear(site, tensors)?;
    let start = |name: &str| tensors.start(name).expect("a start");
    let (a, b) = (start("q.lora_A.weight"), start("q.lora_B.weight"));
    Ok((base, a, b))
}

fn fresh() -> TrainedTensors {
    TrainedTensors::new(None, 7)
}

fn config(init: Init, r: usize, alpha: f64, use_rslora: bool) -> LoraConfig {
    LoraConfig { init, r, alpha, use_rslora, ..LoraConfig::default() }
}

/// The largest difference of `left + scale * B·A` and the weight before.
fn off(
    config: &LoraConfig,
    before: &Weight<2>,
    (left, a, b): (&Weight<2>, &[f32], &[f32]),
    orientation: Orientation,
) -> f32 {
    let columns = left.value().dims()[1];
    let scale = config.scaling(config.r, config.alpha);
    let mut sum = values(left);
    match orientation {
        Orientation::OutIn => kernels::subtract_product(&mut sum, columns, b, a, -scale),
        Orientation::InOut => {
            let (of_a, of_b) = (transposed(a, a.len() / config.r), transposed(b, config.r));
            kernels::subtract_product(&mut sum, columns, &of_a, &of_b, -scale);
        }
    }
    sum.iter().zip(values(before)).map(|(sum, before)| (sum - before).abs()).fold(0.0, f32::max)
}

fn frobenius(values: &[f32]) -> f64 {
    values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt()
}

#[test]
fn an_interruption_is_noticed_before_a_weight_is_decomposed() {
    let (config, base) = (config(PISSA, 2, 4.0, false), weight([6, 4], 3, DType::F32));
    for is_interrupted in [false, true] {
        let mut tensors = fresh();
        tensors.interruption = Interruption::new(move || is_interrupted);
        let found = started(&config, &base, Orientation::OutIn, &mut tensors);
        assert_eq!(matches!(found, Err(Error::Interrupted)), is_interrupted, "{:?}", found.err());
    }
    // What was taken out before takes no decomposition.
    let mut before = fresh();
    started(&config, &base, Orientation::OutIn, &mut before).expect("a decomposition");
    let mut tensors = fresh();
    tensors.starts = before.starts;
    tensors.interruption = Interruption::new(|| true);
    started(&config, &base, Orientation::OutIn, &mut tensors).expect("none is needed");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_is_left_and_the_update_come_to_the_base(
        rows in 1_usize..24, columns in 1_usize..24, rank in 1_usize..24, alpha in 0.5_f64..64.0,
        use_rslora: bool, lies_transposed: bool, which in 0_usize..3, seed: u64,
    ) {
        let init = [PISSA, random_pissa(4), Init::Olora][which];
        let config = config(init, rank.min(rows).min(columns), alpha, use_rslora);
        let orientation = if lies_transposed { Orientation::InOut } else { Orientation::OutIn };
        let before = weight([rows, columns], seed, DType::F32);
        let (left, a, b) = started(&config, &before, orientation, &mut fresh()).unwrap();
        prop_assert!(off(&config, &before, (&left, &a, &b), orientation) < 1e-5);
        // Of all triplets nothing is left.
        if init != Init::Olora && config.r == rows.min(columns) {
            prop_assert!(frobenius(&values(&left)) < 1e-4 * frobenius(&values(&before)).max(1.0));
        }
    }

    #[test]
    fn pissa_leaves_the_smaller_singular_values(rows in 2_usize..16, columns in 2_usize..16, seed: u64) {
        let rank = rows.min(columns).div_ceil(2);
        let before = weight([rows, columns], seed, DType::F32);
        let all = kernels::svd(&values(&before), [rows, columns], rows.min(columns)).unwrap().s;
        let smaller = |left: &Weight<2>| (frobenius(&values(left)), frobenius(&all[rank..]));
        for lies_transposed in [false, true] {
            let orientation = if lies_transposed { Orientation::InOut } else { Orientation::OutIn };
            let (left, ..) = started(&config(PISSA, rank, 16.0, false), &before, orientation, &mut fresh()).unwrap();
            let (found, expected) = smaller(&left);
            prop_assert!((found - expected).abs() < 1e-4 * frobenius(&all), "{} {}", found, expected);
        }
        // No other part of this rank leaves less (Eckart and Young).
        for init in [random_pissa(2), Init::Olora] {
            let (left, ..) = started(&config(init, rank, 16.0, false), &before, Orientation::OutIn, &mut fresh()).unwrap();
            let (found, least) = smaller(&left);
            prop_assert!(found > least - 1e-4 * frobenius(&all), "{} {}", found, least);
        }
    }
}

#[test]
fn factors_share_the_singular_values_and_the_scaling() {
    let before = weight([6, 5], 3, DType::F32);
    let config = config(PISSA, 2, 8.0, false);
    let (_, a, b) = started(&config, &before, Orientation::OutIn, &mut fresh()).unwrap();
    let s = kernels::svd(&values(&before), [6, 5], 2).unwrap().s;
    for (n, value) in s.iter().enumerate() {
        let row = frobenius(&a[n * 5..][..5]);
        let column = frobenius(&transposed(&b, 2)[n * 6..][..6]);
        let expected = f64::from(*value / 4.0).sqrt();
        assert!((row - expected).abs() < 1e-5 && (column - expected).abs() < 1e-5, "{row} {column} {expected}");
    }
}

#[test]
fn what_is_left_keeps_the_type_of_the_base() {
    for (dtype, precision) in [(DType::F16, 2e-3), (DType::BF16, 1.6e-2)] {
        let before = weight([8, 6], 5, dtype);
        let config = config(PISSA, 2, 2.0, false);
        let mut tensors = fresh();
        let (left, a, b) = started(&config, &before, Orientation::OutIn, &mut tensors).unwrap();
        assert_eq!(left.value().dtype(), dtype);
        assert!(tensors.rounds_base);
        assert!(off(&config, &before, (&left, &a, &b), Orientation::OutIn) < precision);
    }
}

#[test]
fn a_random_start_depends_on_the_seed_and_the_path_alone() {
    let before = weight([9, 7], 1, DType::F32);
    let with = |seed| {
        let config = config(random_pissa(1), 3, 2.0, false);
        started(&config, &before, Orientation::OutIn, &mut TrainedTensors::new(None, seed)).unwrap().1
    };
    assert_eq!(with(1), with(1));
    assert_ne!(with(1), with(2));
}

#[test]
fn what_was_taken_out_before_is_taken_out_again_as_it_was() {
    let before = weight([5, 4], 2, DType::F32);
    let config = config(PISSA, 1, 2.0, false);
    let mut tensors = fresh();
    let (mine_a, mine_b) = (vec![0.5_f32, -1.0, 2.0, 0.25], vec![1.0_f32, 2.0, 3.0, 4.0, 5.0]);
    tensors.keep_start("q.lora_A.weight".to_owned(), TensorData::new(mine_a.clone(), [1, 4]), false);
    tensors.keep_start("q.lora_B.weight".to_owned(), TensorData::new(mine_b.clone(), [5, 1]), false);
    let (left, a, b) = started(&config, &before, Orientation::OutIn, &mut tensors).unwrap();
    assert_eq!((&a, &b), (&mine_a, &mine_b));
    assert!(off(&config, &before, (&left, &a, &b), Orientation::OutIn) < 1e-5);
}

#[test]
fn a_rank_above_the_smaller_side_is_refused_by_the_key_that_gave_it() {
    let before = weight([9, 7], 1, DType::F32);
    let refused = |config: &LoraConfig| {
        let Err(Error::Target(error)) = started(config, &before, Orientation::OutIn, &mut fresh()) else {
            panic!("it was taken");
        };
        assert!(matches!(error, TargetError::RankAboveSide { .. }));
        let name = |key: &str| format!("`{key}`");
        (error.message_with(&name), error.help_with(&name).unwrap_or_default())
    };
    let mut config = config(PISSA, 8, 2.0, false);
    let message = "8 is above the smaller side of `q`, which is [9, 7], and `init = \"pissa\"` takes its parts from it";
    let help = "lower it to 7 or less, or give this module a rank of its own in `rank_pattern`";
    assert_eq!(refused(&config), (format!("`r`: {message}"), help.to_owned()));
    config.r = 2;
    config.rank_pattern = [("q".to_owned(), 8)].into_iter().collect();
    assert_eq!(refused(&config), (format!("`rank_pattern`: {message}"), help.to_owned()));
    config.init = Init::Olora;
    assert!(refused(&config).0.contains("`init = \"olora\"`"));
}

#[test]
fn values_that_are_no_numbers_or_too_large_are_refused_by_the_tensor() {
    let with = |value: f32| {
        let mut values = vec![1.0; 12];
        values[5] = value;
        let base = Weight::frozen(Tensor::from_data(TensorData::new(values, [3, 4]), &Device::flex()));
        let refused = started(&config(PISSA, 2, 2.0, false), &base, Orientation::OutIn, &mut fresh());
        refused.map(drop).expect_err("a refusal").to_string()
    };
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        assert_eq!(with(value), "`q.weight` of the base has a value that is not a finite number");
    }
    assert_eq!(with(3.4e38), "`q.weight` of the base has no decomposition in f32: its values are too large");
}

#[test]
fn a_plain_adapter_of_twice_the_rank_makes_the_difference_to_the_start() {
    let data = |values: Vec<f32>, shape: [usize; 2]| TensorData::new(values, shape);
    let tensors = vec![
        ("q.lora_A.weight".to_owned(), data(vec![1.0, 2.0], [1, 2])),
        ("q.lora_B.weight".to_owned(), data(vec![3.0, 4.0, 5.0], [3, 1])),
        ("e.lora_embedding_A".to_owned(), data(vec![1.0, 2.0], [1, 2])),
        ("e.lora_embedding_B".to_owned(), data(vec![6.0, 7.0], [2, 1])),
        ("classifier.weight".to_owned(), data(vec![8.0], [1, 1])),
    ];
    let starts = HashMap::from([
        ("q.lora_A.weight".to_owned(), data(vec![10.0, 20.0], [1, 2])),
        ("q.lora_B.weight".to_owned(), data(vec![30.0, 40.0, 50.0], [3, 1])),
    ]);
    let plain = plain(tensors.clone(), &starts);
    let expected = [
        data(vec![1.0, 2.0, 10.0, 20.0], [2, 2]),
        data(vec![3.0, -30.0, 4.0, -40.0, 5.0, -50.0], [3, 2]),
        data(vec![1.0, 2.0, 0.0, 0.0], [2, 2]),
        data(vec![6.0, 0.0, 7.0, 0.0], [2, 2]),
        data(vec![8.0], [1, 1]),
    ];
    for (((name, found), (before, _)), expected) in plain.iter().zip(&tensors).zip(&expected) {
        assert_eq!(name, before);
        assert_eq!(found.shape(), expected.shape());
        assert!(found.iter::<f32>().eq(expected.iter::<f32>()), "{name}: {found}");
    }
}

#[test]
fn the_plain_adapter_has_twice_the_rank_and_the_same_scaling() {
    let mut config = config(PISSA, 4, 16.0, false);
    config.rank_pattern = [("q".to_owned(), 2)].into_iter().collect();
    config.alpha_pattern = [("q".to_owned(), 6.0)].into_iter().collect();
    for use_rslora in [false, true] {
        config.use_rslora = use_rslora;
        let plain = config.clone().doubled();
        assert_eq!((plain.r, plain.init, plain.rank_pattern["q"]), (8, Init::Default, 4));
        let same = |left: f64, right: f64| assert!((left - right).abs() < 1e-12, "{left} {right}");
        same(plain.scaling(8, plain.alpha), config.scaling(4, 16.0));
        same(plain.scaling(4, plain.alpha_pattern["q"]), config.scaling(2, 6.0));
        same(plain.scaling(4, plain.alpha), config.scaling(2, 16.0));
    }
}
