//! Codes in words of 32 bits become floats by composed operations.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::{FloatDType, Scalar, Shape, Slice, TensorData};

use super::{BLOCK, DYNAMIC_MAP, FrozenPrimitive, NESTED_BLOCK, VALUES};
use crate::KernelBackend;

/// The matrix in f32.
pub(crate) fn widened<B: KernelBackend>(matrix: FrozenPrimitive<B>) -> FloatTensor<B> {
    let [rows, columns] = matrix.shape();
    match matrix {
        FrozenPrimitive::Float(matrix) => B::widen(matrix),
        FrozenPrimitive::Int8 { codes, scales, .. } => {
            let codes = first::<B>(bytes::<B>(codes), rows * columns);
            scaled_rows::<B>(signed::<B>(codes), scales, [rows, columns])
        }
        FrozenPrimitive::Nf4 { codes, absmax, .. } => {
            let values = scaled_blocks::<B>(nibbles::<B>(codes), absmax);
            B::float_reshape(first_floats::<B>(values, rows * columns), Shape::new([rows, columns]))
        }
        FrozenPrimitive::NestedNf4 { codes, absmax, nested, offset, shape } => {
            let absmax = scales::<B>(absmax, nested, offset, (rows * columns).div_ceil(BLOCK));
            widened::<B>(FrozenPrimitive::Nf4 { codes, absmax, shape })
        }
    }
}

/// Some rows in f32: `[n]` to `[n, columns]`. Where rows begin with a word, and in nf4 with a block, no others are unpacked.
pub(crate) fn rows<B: KernelBackend>(matrix: FrozenPrimitive<B>, indices: IntTensor<B>) -> FloatTensor<B> {
    let ([rows, columns], found) = (matrix.shape(), indices.shape()[0]);
    let of = |tensor, width| B::int_select(B::int_reshape(tensor, Shape::new([rows, width])), 0, indices.clone());
    match matrix {
        FrozenPrimitive::Int8 { codes, scales, .. } if columns % 4 == 0 => {
            let codes = signed::<B>(bytes::<B>(of(codes, columns / 4)));
            scaled_rows::<B>(codes, B::float_select(scales, 0, indices), [found, columns])
        }
        FrozenPrimitive::Nf4 { codes, absmax, .. } if columns % BLOCK == 0 => {
            let absmax = B::float_reshape(absmax, Shape::new([rows, columns / BLOCK]));
            let absmax = B::float_select(absmax, 0, indices.clone());
            let absmax = B::float_reshape(absmax, Shape::new([found * columns / BLOCK]));
            let values = scaled_blocks::<B>(nibbles::<B>(of(codes, columns / 8)), absmax);
            B::float_reshape(values, Shape::new([found, columns]))
        }
        FrozenPrimitive::NestedNf4 { codes, absmax, nested, offset, shape } => {
            let absmax = scales::<B>(absmax, nested, offset, (rows * columns).div_ceil(BLOCK));
            self::rows::<B>(FrozenPrimitive::Nf4 { codes, absmax, shape }, indices)
        }
        matrix => B::float_select(widened::<B>(matrix), 0, indices),
    }
}

/// Parts of words, from 0 up to `mask`, one after the other.
fn parts<B: Backend>(words: IntTensor<B>, shifts: &[i32], mask: i32) -> IntTensor<B> {
    let count = words.shape().num_elements();
    let words = B::int_reshape(words, Shape::new([count, 1]));
    let part = |shift: &i32| {
        let shifted = B::bitwise_right_shift_scalar(words.clone(), Scalar::from(*shift));
        B::bitwise_and_scalar(shifted, Scalar::from(mask))
    };
    B::int_reshape(B::int_cat(shifts.iter().map(part).collect(), 1), Shape::new([count * shifts.len()]))
}

fn bytes<B: Backend>(words: IntTensor<B>) -> IntTensor<B> {
    parts::<B>(words, &[0, 8, 16, 24], 0xff)
}

/// Of two codes in a byte the first is in its upper half.
fn nibbles<B: Backend>(words: IntTensor<B>) -> IntTensor<B> {
    parts::<B>(words, &[4, 0, 12, 8, 20, 16, 28, 24], 0xf)
}

/// Bytes as numbers from -128 to 127.
fn signed<B: Backend>(bytes: IntTensor<B>) -> FloatTensor<B> {
    let shifted = B::int_sub_scalar(B::bitwise_xor_scalar(bytes, Scalar::from(0x80)), Scalar::from(0x80));
    B::int_into_float(shifted, FloatDType::F32)
}

fn scaled_rows<B: Backend>(codes: FloatTensor<B>, scales: FloatTensor<B>, shape: [usize; 2]) -> FloatTensor<B> {
    let factors = B::float_div_scalar(scales, Scalar::from(127.0_f32));
    B::float_mul(B::float_reshape(codes, Shape::new(shape)), B::float_reshape(factors, Shape::new([shape[0], 1])))
}

/// Values of nf4 times the scales of their blocks. The codes of the last block need not be there to its end.
fn scaled_blocks<B: Backend>(codes: IntTensor<B>, absmax: FloatTensor<B>) -> FloatTensor<B> {
    let (blocks, count) = (absmax.shape()[0], codes.shape()[0]);
    let values = padded::<B>(looked_up::<B>(codes, &VALUES), blocks * BLOCK, count);
    let values = B::float_reshape(values, Shape::new([blocks, BLOCK]));
    let values = B::float_mul(values, B::float_reshape(absmax, Shape::new([blocks, 1])));
    B::float_reshape(values, Shape::new([blocks * BLOCK]))
}

/// The scales of blocks: `DYNAMIC_MAP[code] * nested + offset`.
fn scales<B: Backend>(codes: IntTensor<B>, nested: FloatTensor<B>, offset: f32, blocks: usize) -> FloatTensor<B> {
    let groups = nested.shape()[0];
    let codes = first::<B>(bytes::<B>(codes), blocks);
    let values = padded::<B>(looked_up::<B>(codes, &*DYNAMIC_MAP), groups * NESTED_BLOCK, blocks);
    let values = B::float_reshape(values, Shape::new([groups, NESTED_BLOCK]));
    let values = B::float_mul(values, B::float_reshape(nested, Shape::new([groups, 1])));
    let values = B::float_add_scalar(values, Scalar::from(offset));
    first_floats::<B>(B::float_reshape(values, Shape::new([groups * NESTED_BLOCK])), blocks)
}

fn looked_up<B: Backend>(codes: IntTensor<B>, values: &[f32]) -> FloatTensor<B> {
    let table = B::float_from_data(TensorData::from(values), &codes.device());
    B::float_select(table, 0, codes)
}

/// With zeros to the end, or without what is beyond it.
fn padded<B: Backend>(values: FloatTensor<B>, length: usize, count: usize) -> FloatTensor<B> {
    if count >= length {
        return first_floats::<B>(values, length);
    }
    let zeros = B::float_zeros(Shape::new([length - count]), &values.device(), FloatDType::F32);
    B::float_cat(vec![values, zeros], 0)
}

fn first<B: Backend>(values: IntTensor<B>, count: usize) -> IntTensor<B> {
    B::int_slice(values, &[Slice::from(0..count)])
}

fn first_floats<B: Backend>(values: FloatTensor<B>, count: usize) -> FloatTensor<B> {
    B::float_slice(values, &[Slice::from(0..count)])
}
