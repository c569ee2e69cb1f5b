//! The values of a matrix that is to be quantised, in the type that they are stored in.

use std::ops::Range;

use burn::tensor::{DType, TensorData};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

#[derive(Clone, Copy)]
pub(super) enum Source<'a> {
    F32(&'a [f32]),
    F16(&'a [f16]),
    Bf16(&'a [bf16]),
}

impl<'a> Source<'a> {
    /// # Panics
    /// If the values are not f32, f16 or bf16.
    pub(super) fn of(data: &'a TensorData) -> Self {
        let expected = "weights are f32, f16 or bf16";
        match data.dtype() {
            DType::F16 => Self::F16(data.as_slice().expect(expected)),
            DType::BF16 => Self::Bf16(data.as_slice().expect(expected)),
            _ => Self::F32(data.as_slice().expect(expected)),
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::F16(values) => values.len(),
            Self::Bf16(values) => values.len(),
        }
    }

    /// Some of the values in f32, by way of `wide` where they have to be widened.
    pub(super) fn part<'b>(&self, range: Range<usize>, wide: &'b mut Vec<f32>) -> &'b [f32]
    where
        'a: 'b,
    {
        wide.resize(range.len(), 0.0);
        match self {
            Self::F32(values) => return &values[range],
            Self::F16(values) => values[range].convert_to_f32_slice(wide),
            Self::Bf16(values) => values[range].convert_to_f32_slice(wide),
        }
        wide
    }
}
