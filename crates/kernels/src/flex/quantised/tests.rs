//! Against the matrices in f32 that the codes stand for, and the composed form against ours.

use burn::backend::ops::{FloatTensorOps, IntTensorOps};
use burn::tensor::TensorData;

use super::*;
use crate::flex::tests::{numbers, within};
use crate::flex::{linear, lora_linear, row_norms};
use crate::{Compute, LowRank, Precision, Quantisation, Quantised, RowNorms, bounds};

/// Among them rows of whole blocks, of odd length, and ones that begin in the middle of a byte.
const SHAPES: [[usize; 2]; 6] = [[1, 1], [5, 64], [33, 129], [70, 200], [131, 192], [300, 97]];

fn quantised([rows, columns]: [usize; 2], how: Quantisation) -> FrozenPrimitive<Flex> {
    let weight = within(1.0, &[rows, columns], 3).into_data();
    primitive(&Quantised::of(&weight, how, &burn::tensor::Device::flex()).unwrap())
}

fn primitive(matrix: &Quantised) -> FrozenPrimitive<Flex> {
    matrix.on_flex()
}

/// The same with codes in words of 32 bits, as other devices have them.
fn in_words(matrix: FrozenPrimitive<Flex>) -> FrozenPrimitive<Flex> {
    let words = |codes: FlexTensor| {
        let mut bytes = codes.bytes().to_vec();
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        let words: Vec<i32> = bytes.as_chunks().0.iter().map(|bytes| i32::from_le_bytes(*bytes)).collect();
        let count = words.len();
        <Flex as IntTensorOps<Flex>>::int_from_data(TensorData::new(words, [count]), &Default::default())
    };
    match matrix {
        FrozenPrimitive::Float(matrix) => FrozenPrimitive::Float(matrix),
        FrozenPrimitive::Int8 { codes, scales, shape } => FrozenPrimitive::Int8 { codes: words(codes), scales, shape },
        FrozenPrimitive::Nf4 { codes, absmax, shape } => FrozenPrimitive::Nf4 { codes: words(codes), absmax, shape },
        FrozenPrimitive::NestedNf4 { codes, absmax, nested, offset, shape } => {
            FrozenPrimitive::NestedNf4 { codes: words(codes), absmax: words(absmax), nested, offset, shape }
        }
    }
}

/// nf4 with the scales of its blocks in f32.
fn without_nesting(matrix: FrozenPrimitive<Flex>) -> FrozenPrimitive<Flex> {
    let FrozenPrimitive::NestedNf4 { codes, absmax, nested, offset, shape } = matrix else { return matrix };
    let of_block = |(block, code): (usize, &u8)| {
        quantised::DYNAMIC_MAP[usize::from(*code)] * nested.storage::<f32>()[block / 256] + offset
    };
    let scales: Vec<f32> = absmax.bytes().iter().enumerate().map(of_block).collect();
    let count = scales.len();
    FrozenPrimitive::Nf4 { codes, absmax: tensor(scales, Shape::new([count])), shape }
}

fn all(shape: [usize; 2]) -> [FrozenPrimitive<Flex>; 3] {
    let nf4 = quantised(shape, Quantisation::Nf4);
    [quantised(shape, Quantisation::Int8), without_nesting(nf4.clone()), nf4]
}

fn abs(tensor: &FlexTensor) -> FlexTensor {
    <Flex as FloatTensorOps<Flex>>::float_abs(tensor.clone())
}

#[test]
fn codes_stand_for_values_near_those_they_were_made_of() {
    for shape in SHAPES {
        let weight = numbers(within(1.0, &shape, 3));
        // Half a step of int8; of nf4 half of the widest gap, and what the scale itself is off by.
        for (how, most) in [(Quantisation::Int8, 0.5 / 127.0 + 1e-3), (Quantisation::Nf4, 0.152 + 0.05)] {
            let found = numbers(widened(quantised(shape, how)));
            let apart = weight.iter().zip(&found).map(|(weight, found)| (weight - found).abs()).fold(0.0, f32::max);
            assert!(apart <= most, "{shape:?} {how:?}: {apart}");
        }
    }
}

#[test]
fn words_are_unpacked_to_the_values_of_bytes() {
    for shape in SHAPES {
        for matrix in all(shape) {
            let expected = numbers(widened(matrix.clone()));
            let words = in_words(matrix.clone());
            bounds::assert_close(&numbers(widened(words.clone())), &expected, 2);
            let indices: Vec<i64> = (0..7).map(|at| at * 5 % shape[0] as i64).collect();
            let at = |dtype: DType| {
                let data = TensorData::new(indices.clone(), [indices.len()]).convert_dtype(dtype);
                <Flex as IntTensorOps<Flex>>::int_from_data(data, &Default::default())
            };
            let picked: Vec<f32> = indices
                .iter()
                .flat_map(|row| expected[*row as usize * shape[1]..][..shape[1]].iter().copied())
                .collect();
            assert_eq!(numbers(rows(matrix.clone(), at(DType::I32))), picked);
            assert_eq!(numbers(rows(matrix, at(DType::I64))), picked);
            bounds::assert_close(&numbers(rows(words, at(DType::I32))), &picked, 2);
        }
    }
}

#[test]
fn linears_are_those_of_the_values_for_few_and_many_rows() {
    for [d_output, d_input] in SHAPES {
        for rows in [1, 3, 4, 9, 70] {
            let (x, upstream) = (within(1.0, &[rows, d_input], 1), within(1.0, &[rows, d_output], 2));
            let bias = within(1.0, &[d_output], 4);
            for matrix in all([d_output, d_input]) {
                let wide = widened(matrix.clone());
                let [wide, magnitude] = [wide.clone(), abs(&wide)].map(FrozenPrimitive::Float);
                let same = |ours, composed, magnitude, depth| {
                    bounds::assert_same_sums(&numbers(ours), &numbers(composed), depth, &numbers(magnitude));
                };
                let composed = crate::linear::composed::<Flex>;
                same(
                    linear::forward(x.clone(), matrix.clone(), Some(bias.clone()), Compute::default()),
                    composed(x.clone(), wide.clone(), Some(bias.clone())),
                    composed(abs(&x), magnitude.clone(), Some(abs(&bias))),
                    // A scale is a factor of its own.
                    d_input + 4,
                );
                let composed = crate::linear::composed_backward::<Flex>;
                same(
                    linear::backward(upstream.clone(), matrix, Precision::F32),
                    composed(upstream.clone(), wide),
                    composed(abs(&upstream), magnitude),
                    d_output,
                );
            }
        }
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    for rows in [1, 3, 40] {
        let x = within(1.0, &[rows, 192], 1);
        let [a, b] = [within(1.0, &[4, 192], 5), within(1.0, &[131, 4], 6)];
        for matrix in all([131, 192]) {
            let with = |threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let options = LowRank { scale: 0.5, mask: None, compute: Compute::default() };
                let [x, a, b] = [&x, &a, &b].map(FlexTensor::clone);
                numbers(pool.install(|| lora_linear::forward(x, matrix.clone(), None, a, b, options)).0)
            };
            let one = with(1);
            assert_eq!(one, with(2));
            assert_eq!(one, with(7));
        }
    }
}

#[test]
fn lengths_of_rows_are_those_of_the_values() {
    for [d_output, d_input] in SHAPES {
        let (a, b) = (within(1.0, &[4, d_input], 1), within(1.0, &[d_output, 4], 2));
        for matrix in all([d_output, d_input]) {
            let wide = FrozenPrimitive::Float(widened(matrix.clone()));
            let norms = |matrix| numbers(row_norms::row_norms(matrix, a.clone(), b.clone(), 0.5, RowNorms::default()));
            bounds::assert_close(&norms(matrix.clone()), &norms(wide.clone()), d_input);
            let composed = crate::row_norms::composed::<Flex>(in_words(matrix), a.clone(), b.clone(), 0.5);
            bounds::assert_close(&numbers(composed), &norms(wide), d_input);
        }
    }
}
