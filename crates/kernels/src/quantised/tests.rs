//! Codes and scales against bitsandbytes' own: `reference.py` writes them.

use burn::tensor::{DType, TensorData};

use super::source::Source;
use super::*;

/// The matrix of `reference.py`.
fn values([rows, columns]: [usize; 2], dtype: DType) -> TensorData {
    let value = |index: usize| {
        let uniform = (index as u64 * 2_654_435_761 % (1 << 32)) as f64 / 4_294_967_296.0 - 0.5;
        let factor = match index / columns {
            0 if rows > 2 => 0.0,
            1 if rows > 2 => 1000.0,
            _ => 1.0,
        };
        (uniform * uniform * uniform * factor) as f32
    };
    let values: Vec<f32> = (0..rows * columns).map(value).collect();
    TensorData::new(values, [rows, columns]).convert_dtype(dtype)
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn floats(hex: &str) -> Vec<f32> {
    bytes(hex).as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

/// The lines of the fixture that begin with `kind`, by shape and type, each with what follows.
fn fixtures(kind: &str) -> Vec<([usize; 2], DType, Vec<&'static str>)> {
    let lines = include_str!("reference.txt").lines().map(|line| line.split(' ').collect::<Vec<_>>());
    lines
        .filter(|fields| fields[0] == kind)
        .map(|fields| {
            let dtype = match fields[3] {
                "f32" => DType::F32,
                "f16" => DType::F16,
                _ => DType::BF16,
            };
            ([fields[1], fields[2]].map(|side| side.parse().unwrap()), dtype, fields[4..].to_vec())
        })
        .collect()
}

#[test]
fn the_dynamic_map_is_that_of_bitsandbytes() {
    let line = include_str!("reference.txt").lines().next().unwrap();
    assert_eq!(floats(line.strip_prefix("map ").unwrap()), *DYNAMIC_MAP);
}

#[test]
fn codes_and_scales_of_nf4_are_those_of_bitsandbytes() {
    for (shape, dtype, fields) in fixtures("nf4") {
        let found = nf4::quantise(Source::of(&values(shape, dtype))).unwrap();
        assert_eq!((found.codes, found.absmax), (bytes(fields[0]), bytes(fields[1])), "{shape:?} {dtype:?}");
        // torch adds the scales up in f32, in an order that depends on the processor; here they are added in f64.
        let offset = floats(fields[3])[0];
        let close = |found: f32, expected: f32| (found - expected).abs() <= 4.0 * f32::EPSILON * offset;
        assert!(close(found.offset, offset), "{} {offset}", found.offset);
        assert!(found.nested.iter().zip(floats(fields[2])).all(|(found, expected)| close(*found, expected)));
    }
}

#[test]
fn codes_and_scales_of_int8_are_those_of_bitsandbytes() {
    for (shape, dtype, fields) in fixtures("int8") {
        let (codes, scales) = int8::quantise(Source::of(&values(shape, dtype)), shape[1]).unwrap();
        let expected: Vec<i8> = bytes(fields[0]).into_iter().map(|byte| byte as i8).collect();
        assert_eq!((codes, scales), (expected, floats(fields[1])), "{shape:?} {dtype:?}");
    }
}

#[test]
fn a_value_that_is_no_finite_number_has_no_codes() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut values = vec![0.5; 300];
        values[290] = bad;
        let data = TensorData::new(values, [3, 100]);
        assert!(
            nf4::quantise(Source::of(&data)).is_none() && int8::quantise(Source::of(&data), 100).is_none(),
            "{bad}"
        );
    }
}

#[test]
fn a_row_with_values_beyond_f16_is_quantised_by_its_own() {
    let data = TensorData::new(vec![1e6_f32, -2.5e5, 0.0, 2.0, -1.0, 0.5], [2, 3]);
    let (codes, scales) = int8::quantise(Source::of(&data), 3).unwrap();
    assert_eq!((codes, scales), (vec![127, -32, 0, 127, -64, 32], vec![1e6, 2.0]));
}

/// Codes in words of 32 bits, and composed operations, as on GPUs.
#[cfg(any(feature = "ndarray", feature = "tch"))]
mod other_backends {
    use burn::tensor::{Bytes, Device, Int, Tensor, Tolerance};

    use super::*;
    use crate::{Compute, LogitsTransform, LowRank, Precision, RowNorms};

    #[cfg(feature = "ndarray")]
    #[test]
    #[expect(deprecated, reason = "burn 0.23 drops ndarray; until then it is served")]
    fn ndarray_computes_with_the_same_values() {
        same_as_on_flex(&Device::ndarray());
    }

    #[cfg(feature = "tch")]
    #[test]
    #[expect(deprecated, reason = "burn 0.23 drops tch; until then it is served")]
    fn tch_computes_with_the_same_values() {
        same_as_on_flex(&Device::libtorch());
    }

    #[track_caller]
    fn same_as_on_flex(device: &Device) {
        let [ours, others] = [&Device::flex(), device].map(|device| results(&device.clone().autodiff()));
        for (ours, others) in ours.into_iter().zip(others) {
            others.into_data().assert_approx_eq::<f32>(&ours.into_data(), Tolerance::rel_abs(1e-4, 1e-5));
        }
    }

    /// Values, outputs and gradients of the operations that take a quantised matrix.
    fn results(device: &Device) -> Vec<Tensor<2>> {
        let of = |shape: [usize; 2]| Tensor::<2>::from_data(values(shape, DType::F32), device);
        let indices = Tensor::<1, Int>::from_data([3, 0, 3, 1], device);
        let mut found = Vec::new();
        // Rows that begin in the middle of a word or a block, whole blocks, and more of them than one scale of scales is for.
        for shape in [[5, 13], [7, 64], [6, 96], [9, 320], [131, 192]] {
            for matrix in matrices(shape, device) {
                found.extend([matrix.widened(), matrix.rows(indices.clone())]);
                let (x, a, b) = (of([4, shape[1]]).require_grad(), of([2, shape[1]]), of([shape[0], 2]));
                let matrix = FrozenMatrix::Quantised(matrix);
                let options = LowRank { scale: 0.5, mask: None, compute: Compute::default() };
                let lora = crate::lora_linear(x.clone(), matrix.clone(), None, a.clone(), b.clone(), options);
                let transform = LogitsTransform::default();
                let (losses, _) = crate::linear_cross_entropy(
                    x.clone(),
                    matrix.clone(),
                    None,
                    &[1, 0, 2, 4],
                    transform,
                    Precision::F32,
                );
                let gradients = (lora.clone().sum() + losses.sum()).backward();
                found.extend([lora.inner(), Tensor::from_inner(x.grad(&gradients).unwrap())]);
                found.push(crate::row_norms(matrix, [a, b], 0.5, &RowNorms::default()).unsqueeze());
            }
        }
        found
    }

    /// In int8, in nf4, and in nf4 with the scales of blocks in f32.
    fn matrices(shape: [usize; 2], device: &Device) -> [Quantised; 3] {
        let weight = values(shape, DType::F32);
        let [int8, nested] =
            [Quantisation::Int8, Quantisation::Nf4].map(|how| Quantised::of(&weight, how, device).unwrap());
        let found = nf4::quantise(Source::of(&weight)).unwrap();
        let scale = |(block, code): (usize, &u8)| {
            DYNAMIC_MAP[usize::from(*code)] * found.nested[block / NESTED_BLOCK] + found.offset
        };
        let scales = found.absmax.iter().enumerate().map(scale).collect();
        let codes = Bytes::from_elems(found.codes);
        let parts = Nf4Parts { codes, scale_codes: None, scales, offset: 0.0 };
        [int8, nested, Quantised::from_nf4(parts, shape, device)]
    }
}
