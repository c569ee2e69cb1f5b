//! Weights and updates drawn at random, for the tests of forms: folding by any number of rows at a time, and what is expected of it.

use std::collections::HashMap;

use burn::tensor::{Device, Tensor, TensorData};
use proptest::prelude::*;

use super::{Precision, Update};
use crate::Method;
use crate::peft::{AdapterTensors, TENSOR_FILE, to_bytes};

fn matrix(rows: usize, columns: usize, values: &[f32]) -> TensorData {
    TensorData::new(values[..rows * columns].to_vec(), [rows, columns])
}

pub(crate) fn transposed(matrix: &TensorData) -> TensorData {
    Tensor::<2>::from_data(matrix.clone(), &Device::flex()).transpose().into_data()
}

pub(crate) fn adapter(tensors: &[(&str, &TensorData)]) -> HashMap<String, TensorData> {
    tensors.iter().map(|(name, data)| ((*name).to_string(), (*data).clone())).collect()
}

/// The update folded in so many rows at a time.
pub(crate) fn folded(
    update: &Update,
    weight: &TensorData,
    adapter: &HashMap<String, TensorData>,
    rows: usize,
) -> TensorData {
    let shape = weight.shape().clone();
    let columns = shape[1];
    let mut values: Vec<f32> = weight.iter::<f32>().collect();
    let mut fold = update.form.fold(adapter).unwrap();
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
pub(crate) fn assert_near(left: &TensorData, right: &TensorData) -> Result<(), TestCaseError> {
    prop_assert_eq!(left.shape(), right.shape());
    let largest = left.iter::<f32>().chain(right.iter::<f32>()).fold(1.0_f32, |largest, it| largest.max(it.abs()));
    for (left, right) in left.iter::<f32>().zip(right.iter::<f32>()) {
        prop_assert!((left - right).abs() <= 1e-5 * largest, "{left} {right}");
    }
    Ok(())
}

/// A weight `[d_output, d_input]`, factors of a rank for it, and lengths of its rows.
#[derive(Debug)]
pub(crate) struct Drawn {
    pub(crate) weight: TensorData,
    pub(crate) factors: [(TensorData, TensorData); 2],
    pub(crate) lengths: TensorData,
    pub(crate) scale: f64,
    pub(crate) rows: usize,
}

pub(crate) fn drawn() -> impl Strategy<Value = Drawn> {
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

/// What is expected of the merged weight by the file alone is what was folded in, and no other value.
pub(crate) fn assert_expected(
    update: &Update,
    (weight, merged): (&TensorData, &TensorData),
    adapter: &HashMap<String, TensorData>,
    rows: usize,
) -> Result<(), TestCaseError> {
    let directory = tempfile::tempdir().unwrap();
    let tensors: Vec<(String, TensorData)> = adapter.clone().into_iter().collect();
    let method = Method::default();
    std::fs::write(directory.path().join(TENSOR_FILE), to_bytes(tensors.iter(), method.layout()).unwrap()).unwrap();
    let file = AdapterTensors::read(directory.path(), &method).unwrap();
    let panel = rows * weight.shape()[1];
    let values = |data: &TensorData| data.iter::<f32>().collect::<Vec<f32>>();
    let (base, mut found) = (values(weight), values(merged));
    let mut expected = update.form.expected(&file, weight.shape()).unwrap();
    if expected.looks_first() {
        base.chunks(panel).enumerate().for_each(|(index, base)| expected.look(index * panel, base));
    }
    // As of f32.
    let precision = Precision { relative: 2.0_f64.powi(-23), smallest: 2.0_f64.powi(-145) };
    let first = |found: &[f32]| {
        let mut panels = base.chunks(panel).zip(found.chunks(panel)).enumerate();
        panels.find_map(|(index, (base, found))| expected.first_beyond_rounding(index * panel, base, found, precision))
    };
    prop_assert_eq!(first(&found), None);
    let largest = base.iter().chain(&found).fold(1.0_f32, |largest, it| largest.max(it.abs()));
    for at in [0, found.len() / 2, found.len() - 1] {
        let before = found[at];
        found[at] += 0.01 * largest;
        prop_assert_eq!(first(&found), Some(at));
        found[at] = before;
    }
    Ok(())
}
