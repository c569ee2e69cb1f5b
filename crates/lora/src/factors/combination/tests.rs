//! PEFT's `add_weighted_adapter` on the adapters of tests/fixtures/factors, which `make.py` there made with it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::*;
use crate::peft::{AdapterTensors, CONFIG_FILE, PeftConfig};
use crate::{FactoredAdapter, combined};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/factors")
}

fn read(name: &str) -> FactoredAdapter {
    let directory = fixtures().join(name);
    let file = directory.join(CONFIG_FILE);
    let config = PeftConfig::from_json(&file, &std::fs::read_to_string(&file).unwrap()).unwrap();
    FactoredAdapter::new(&config.method, &AdapterTensors::read(&directory, &config.method).unwrap()).unwrap()
}

fn combinations() -> Vec<Value> {
    let text = std::fs::read_to_string(fixtures().join("combinations.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn matrix(rows: &Value) -> TensorData {
    let rows: Vec<Vec<f32>> = serde_json::from_value(rows.clone()).unwrap();
    TensorData::new(rows.concat(), [rows.len(), rows[0].len()])
}

fn assert_close(found: &TensorData, expected: &TensorData, case: &Value) {
    assert_eq!(found.shape(), expected.shape(), "{}", case["method"]);
    for (found, expected) in found.iter::<f32>().zip(expected.iter::<f32>()) {
        assert!((found - expected).abs() <= 1e-5, "{}, {}: {found} {expected}", case["method"], case["weights"]);
    }
}

/// The product of A and B.
fn product(factors: &[TensorData; 2]) -> TensorData {
    let [a, b] = factors.clone().map(|data| burn::tensor::Tensor::<2>::from_data(data, &burn::tensor::Device::flex()));
    b.matmul(a).into_data()
}

fn sign(case: &Value) -> MajoritySign {
    if case["majority_sign_method"] == "frequency" { MajoritySign::Frequency } else { MajoritySign::Total }
}

#[test]
fn combinations_are_those_of_peft() {
    let mut seen = Vec::new();
    for case in combinations() {
        let density = case["density"].as_f64().map(|density| density as f32);
        let method = match case["method"].as_str().unwrap() {
            "linear" => Combination::Linear,
            "cat" => Combination::Cat,
            "svd" => Combination::Svd { rank: case["svd_rank"].as_u64().unwrap_or(4) as usize },
            "ties" => Combination::Ties { density: density.unwrap(), sign: sign(&case) },
            // By its masks, below.
            _ => continue,
        };
        seen.push(method);
        let names: Vec<String> = serde_json::from_value(case["of"].clone()).unwrap();
        let weights: Vec<f64> = serde_json::from_value(case["weights"].clone()).unwrap();
        let adapters: Vec<FactoredAdapter> = names.iter().map(|name| read(name)).collect();
        let new: HashMap<String, TensorData> =
            combined(&adapters, &weights, method).unwrap().tensors.into_iter().collect();
        let modules = case["modules"].as_object().unwrap();
        assert_eq!(new.len(), 2 * modules.len(), "what any of them adapts");
        for (module, expected) in modules {
            let found = ["A", "B"].map(|factor| new[&format!("{module}.lora_{factor}.weight")].clone());
            let expected = [matrix(&expected["a"]), matrix(&expected["b"])];
            match method {
                // Singular vectors have either sign.
                Combination::Svd { .. } => assert_eq!(found[0].shape(), expected[0].shape()),
                Combination::Cat => {
                    // PEFT leaves room for the largest rank of each adapter, which stays zero.
                    assert!(found[0].shape()[0] <= expected[0].shape()[0]);
                }
                _ => found.iter().zip(&expected).for_each(|(found, expected)| assert_close(found, expected, &case)),
            }
            assert_close(&product(&found), &product(&expected), &case);
        }
    }
    assert_eq!(seen.len(), 12);
}

#[test]
fn random_pruning_with_pefts_masks_comes_to_what_peft_makes() {
    let mut seen = 0;
    for case in combinations().into_iter().filter(|case| case["method"].as_str().unwrap().starts_with("dare")) {
        let density = case["density"].as_f64().unwrap() as f32;
        let names: Vec<String> = serde_json::from_value(case["of"].clone()).unwrap();
        let weights: Vec<f64> = serde_json::from_value(case["weights"].clone()).unwrap();
        for (module, expected) in case["modules"].as_object().unwrap() {
            let masks: Vec<String> = serde_json::from_value(expected["masks"].clone()).unwrap();
            for (factor, key) in ["a", "b"].into_iter().enumerate() {
                let (mut values, mut roots) = (Vec::new(), Vec::new());
                let adapters: Vec<FactoredAdapter> = names.iter().map(|name| read(name)).collect();
                let parts = adapters.iter().zip(&weights);
                let parts: Vec<Weighted<'_>> =
                    parts.filter_map(|(adapter, weight)| Some(adapter.module(module)?.weighted(*weight))).collect();
                for (n, part) in parts.iter().enumerate() {
                    let mut tensor: Vec<f32> = if factor == 0 { part.a } else { part.b }.iter().collect();
                    let mask = masks[factor * parts.len() + n].as_bytes();
                    assert_eq!(mask.len(), tensor.len());
                    prune_others(&mut tensor, density, |at| mask[at] == b'1');
                    values.push(tensor);
                    roots.push((part.weight * part.scale).sqrt() as f32);
                }
                let found = match case["method"].as_str().unwrap() {
                    "dare_linear" => weighted_sum(&values, &roots),
                    _ => elected(&values, &roots, sign(&case)),
                };
                let expected = matrix(&expected[key]);
                assert_close(&TensorData::new(found, expected.shape().clone()), &expected, &case);
                seen += 1;
            }
        }
    }
    assert_eq!(seen, 8 + 12);
}

#[test]
fn random_pruning_keeps_the_share_and_the_mean_and_follows_its_seed() {
    let adapter = read("first");
    let module = adapter.modules()[0].path.clone();
    let part = [adapter.modules()[0].weighted(1.0)];
    let of = |seed| Combination::DareLinear { density: 0.25, seed }.of(&module, &part).unwrap();
    let plain = Combination::Linear.of(&module, &part).unwrap();
    const SEEDS: u64 = 4000;
    let mut sums = vec![0.0_f64; plain[0].num_elements()];
    let mut kept = 0;
    for seed in 0..SEEDS {
        for (sum, value) in sums.iter_mut().zip(of(seed)[0].iter::<f32>()) {
            *sum += f64::from(value);
            kept += usize::from(value != 0.0);
        }
    }
    let share = kept as f64 / (SEEDS as usize * sums.len()) as f64;
    assert!((share - 0.25).abs() < 0.005, "{share}");
    for (sum, expected) in sums.iter().zip(plain[0].iter::<f32>()) {
        // The deviation of the mean is √((1 - d) / (d · seeds)) of the value: six of them.
        let allowed = 6.0 * (3.0 / SEEDS as f64).sqrt() * f64::from(expected.abs());
        assert!((sum / SEEDS as f64 - f64::from(expected)).abs() <= allowed, "{sum} {expected}");
    }
    assert_eq!(of(1), of(1));
    assert_ne!(of(1), of(2));
    let other = Combination::DareLinear { density: 0.25, seed: 1 }.of("another", &part).unwrap();
    assert_ne!(of(1), other);
}

#[test]
fn updates_of_other_ranks_or_sizes_are_not_combined() {
    let data = |shape: [usize; 2]| TensorData::zeros::<f32, _>(shape);
    let (a, b, higher_a, higher_b, wide) = (data([2, 3]), data([4, 2]), data([3, 3]), data([4, 3]), data([2, 5]));
    let part = |a, b| Weighted { a, b, scale: 1.0, weight: 1.0 };
    let ranks = [part(&a, &b), part(&higher_a, &higher_b)];
    let sizes = [part(&a, &b), part(&wide, &b)];
    let (ties, svd) = (Combination::Ties { density: 0.5, sign: MajoritySign::Total }, Combination::Svd { rank: 2 });
    for method in [Combination::Linear, ties, Combination::Cat, svd] {
        assert_eq!(method.of("q", &ranks).is_none(), method.needs_one_rank(), "{method:?}");
        assert!(method.of("q", &sizes).is_none(), "{method:?}");
    }
}
