//! Parts of tensors as matrices.

use std::ops::Range;

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::DType;
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use super::quantised::{Absmax, Nf4, widen_int8};
use crate::FrozenPrimitive;
use crate::wide::with_wide_vectors;

/// A matrix whose rows lie `stride` values apart, read-only.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    stride: usize,
}

impl<'a> Matrix<'a> {
    pub(super) fn new(values: &'a [f32], rows: usize, columns: usize, stride: usize) -> Self {
        assert!(columns <= stride && extent(rows, columns, stride) <= values.len(), "a matrix lies within its values");
        Self { values, rows, columns, stride }
    }

    /// A tensor of two dimensions in f32 whose rows are contiguous.
    pub(super) fn of(tensor: &'a FlexTensor) -> Option<Self> {
        let (rows, columns, stride) = with_rows(tensor)?;
        (tensor.dtype() == DType::F32)
            .then(|| Self::new(&tensor.storage::<f32>()[tensor.layout().start_offset()..], rows, columns, stride))
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn columns(&self) -> usize {
        self.columns
    }

    pub(super) fn stride(&self) -> usize {
        self.stride
    }

    pub(super) fn values(&self) -> &'a [f32] {
        self.values
    }

    pub(super) fn part(&self, rows: Range<usize>, columns: Range<usize>) -> Self {
        assert!(rows.end <= self.rows && columns.end <= self.columns, "a part lies within its matrix");
        let values = &self.values[rows.start * self.stride + columns.start..];
        Self::new(values, rows.len(), columns.len(), self.stride)
    }

    pub(super) fn row(&self, row: usize) -> &'a [f32] {
        &self.values[row * self.stride..][..self.columns]
    }
}

/// How many values it takes to hold a matrix.
pub(super) fn extent(rows: usize, columns: usize, stride: usize) -> usize {
    if rows == 0 { 0 } else { (rows - 1) * stride + columns }
}

/// Rows, columns and the distance of rows, where rows are contiguous. Of one row, or of one column, a stride says nothing.
fn with_rows(tensor: &FlexTensor) -> Option<(usize, usize, usize)> {
    let (shape, strides) = (tensor.layout().shape(), tensor.layout().strides());
    let (rows, columns) = (shape[0], shape[1]);
    let step = if rows == 1 { columns } else { usize::try_from(strides[0]).ok()? };
    (step >= columns && (columns == 1 || strides[1] == 1)).then_some((rows, columns, step))
}

#[derive(Clone, Copy)]
enum Values<'a> {
    F32(&'a [f32]),
    F16(&'a [f16]),
    Bf16(&'a [bf16]),
    /// With the scale of each row.
    Int8(&'a [i8], &'a [f32]),
    Nf4(Nf4<'a>),
}

impl<'a> Values<'a> {
    /// From where the tensor begins.
    fn of(tensor: &'a FlexTensor) -> Option<Self> {
        let start = tensor.layout().start_offset();
        Some(match tensor.dtype() {
            DType::F32 => Self::F32(&tensor.storage()[start..]),
            DType::F16 => Self::F16(&tensor.storage()[start..]),
            DType::BF16 => Self::Bf16(&tensor.storage()[start..]),
            _ => return None,
        })
    }
}

/// What values are multiplied by on the way.
#[derive(Clone, Copy)]
enum Factors<'a> {
    One,
    OfRows(&'a [f32]),
    OfColumns(&'a [f32]),
}

/// A matrix in the type it is stored in; one that is quantised, in half precision or multiplied by factors is widened part by part,
/// never as a whole.
#[derive(Clone, Copy)]
pub(super) struct Stored<'a> {
    values: Values<'a>,
    rows: usize,
    columns: usize,
    stride: usize,
    factors: Factors<'a>,
}

impl<'a> Stored<'a> {
    fn of(tensor: &'a FlexTensor) -> Option<Self> {
        let (rows, columns, stride) = with_rows(tensor)?;
        Some(Self { values: Values::of(tensor)?, rows, columns, stride, factors: Factors::One })
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn columns(&self) -> usize {
        self.columns
    }

    /// Some rows.
    pub(super) fn part(&self, rows: Range<usize>) -> Self {
        let range = rows.start * self.stride..rows.start * self.stride + extent(rows.len(), self.columns, self.stride);
        let values = match self.values {
            Values::F32(values) => Values::F32(&values[range]),
            Values::F16(values) => Values::F16(&values[range]),
            Values::Bf16(values) => Values::Bf16(&values[range]),
            Values::Int8(codes, scales) => Values::Int8(&codes[range], &scales[rows.clone()]),
            Values::Nf4(nf4) => Values::Nf4(nf4.skip(range.start)),
        };
        let factors = match self.factors {
            Factors::OfRows(factors) => Factors::OfRows(&factors[rows.clone()]),
            Factors::One | Factors::OfColumns(_) => self.factors,
        };
        Self { values, rows: rows.len(), factors, ..*self }
    }

    /// The values themselves, unless they are multiplied on the way.
    fn as_they_are(&self) -> Option<Values<'a>> {
        matches!(self.factors, Factors::One).then_some(self.values)
    }

    /// The matrix itself, if nothing has to be widened.
    pub(super) fn as_matrix(&self) -> Option<Matrix<'a>> {
        match self.as_they_are()? {
            Values::F32(values) => Some(Matrix { values, rows: self.rows, columns: self.columns, stride: self.stride }),
            Values::F16(_) | Values::Bf16(_) | Values::Int8(..) | Values::Nf4(_) => None,
        }
    }

    pub(super) fn is_quantised(&self) -> bool {
        matches!(self.values, Values::Int8(..) | Values::Nf4(_))
    }

    /// The codes of a row in int8, and what they are multiplied by.
    pub(super) fn int8_row(&self, row: usize) -> Option<(&'a [i8], f32)> {
        match self.as_they_are()? {
            Values::Int8(codes, scales) => Some((&codes[row * self.stride..][..self.columns], scales[row] / 127.0)),
            Values::F32(_) | Values::F16(_) | Values::Bf16(_) | Values::Nf4(_) => None,
        }
    }

    pub(super) fn nf4(&self) -> Option<Nf4<'a>> {
        match self.as_they_are()? {
            Values::Nf4(nf4) => Some(nf4),
            Values::F32(_) | Values::F16(_) | Values::Bf16(_) | Values::Int8(..) => None,
        }
    }

    /// A part of a row, if it is kept in bf16.
    pub(super) fn bf16_row(&self, row: usize, columns: Range<usize>) -> Option<&'a [bf16]> {
        match self.as_they_are()? {
            Values::Bf16(values) => Some(&values[row * self.stride + columns.start..row * self.stride + columns.end]),
            Values::F32(_) | Values::F16(_) | Values::Int8(..) | Values::Nf4(_) => None,
        }
    }

    /// A row with its values rounded to bf16, in f32.
    pub(super) fn rounded_row<'b>(&self, row: usize, wide: &'b mut [f32]) -> &'b [f32] {
        match self.as_they_are() {
            Some(Values::F32(values)) => wide.copy_from_slice(&values[row * self.stride..][..self.columns]),
            _ => {
                self.row(row, 0..self.columns, wide);
            }
        }
        wide.iter_mut().for_each(|value| *value = bf16::from_f32(*value).to_f32());
        wide
    }

    /// Writes a part of a row, in f32.
    pub(super) fn read(&self, row: usize, columns: Range<usize>, to: &mut [f32]) {
        let (start, end) = (row * self.stride + columns.start, row * self.stride + columns.end);
        match (self.values, self.factors) {
            (Values::F32(values), Factors::One) => copy(&values[start..end], to, 1.0),
            (Values::F32(values), Factors::OfRows(factors)) => {
                copy(&values[start..end], to, factors[row]);
            }
            _ => {
                self.row(row, columns, to);
            }
        }
    }

    /// A part of a row in f32, by way of `wide` where it has to be widened.
    pub(super) fn row<'b>(&self, row: usize, columns: Range<usize>, wide: &'b mut [f32]) -> &'b [f32]
    where
        'a: 'b,
    {
        let range = row * self.stride + columns.start..row * self.stride + columns.end;
        if let Some(Values::F32(values)) = self.as_they_are() {
            return &values[range];
        }
        let wide = &mut wide[..columns.len()];
        match self.values {
            Values::F32(values) => wide.copy_from_slice(&values[range]),
            Values::F16(values) => values[range].convert_to_f32_slice(wide),
            Values::Bf16(values) => widen_bf16(&values[range], wide),
            Values::Int8(codes, scales) => widen_int8(&codes[range], scales[row] / 127.0, wide),
            Values::Nf4(nf4) => nf4.unpack(range.start, wide),
        }
        match self.factors {
            Factors::One => {}
            Factors::OfRows(factors) => wide.iter_mut().for_each(|value| *value *= factors[row]),
            Factors::OfColumns(factors) => {
                wide.iter_mut().zip(&factors[columns]).for_each(|(value, factor)| *value *= factor);
            }
        }
        wide
    }
}

impl<'a> From<Matrix<'a>> for Stored<'a> {
    fn from(matrix: Matrix<'a>) -> Self {
        let Matrix { values, rows, columns, stride } = matrix;
        Self { values: Values::F32(values), rows, columns, stride, factors: Factors::One }
    }
}

/// Values times a factor: so few at a time that a call takes longer than to copy them.
#[inline(always)]
fn copy(from: &[f32], to: &mut [f32], factor: f32) {
    let ((from, rest), (to, of_rest)) = (from.as_chunks::<16>(), to.as_chunks_mut::<16>());
    to.iter_mut().zip(from).for_each(|(to, from)| *to = from.map(|value| value * factor));
    of_rest.iter_mut().zip(rest).for_each(|(to, from)| *to = from * factor);
}

with_wide_vectors! {
    fn widen_bf16(from: &[bf16], to: &mut [f32]) {
        for (to, from) in to.iter_mut().zip(from) {
            *to = f32::from_bits(u32::from(from.to_bits()) << 16);
        }
    }
}

/// A factor of a product, as it lies or transposed.
#[derive(Clone, Copy)]
pub(super) enum Factor<M> {
    Plain(M),
    Transposed(M),
}

impl<M> Factor<M> {
    pub(super) fn transposed(self) -> Self {
        match self {
            Self::Plain(matrix) => Self::Transposed(matrix),
            Self::Transposed(matrix) => Self::Plain(matrix),
        }
    }
}

impl<'a> Factor<Stored<'a>> {
    /// A tensor of two dimensions in any float type whose rows or columns are contiguous.
    pub(super) fn of(tensor: &'a FlexTensor) -> Option<Self> {
        if let Some(stored) = Stored::of(tensor) {
            return Some(Self::Plain(stored));
        }
        let (shape, strides) = (tensor.layout().shape(), tensor.layout().strides());
        let stride = usize::try_from(strides[1]).ok().filter(|stride| *stride >= shape[0] && strides[0] == 1)?;
        let (values, [columns, rows]) = (Values::of(tensor)?, [shape[0], shape[1]]);
        Some(Self::Transposed(Stored { values, rows, columns, stride, factors: Factors::One }))
    }

    /// A frozen matrix; `None` where its values or codes lie otherwise than the products read them.
    pub(super) fn of_frozen(matrix: &'a FrozenPrimitive<Flex>) -> Option<Self> {
        let (values, [rows, columns]) = match matrix {
            FrozenPrimitive::Float(matrix) => return Self::of(matrix),
            FrozenPrimitive::Int8 { codes, scales, shape } => (Values::Int8(signed(codes)?, floats(scales)?), *shape),
            FrozenPrimitive::Nf4 { codes, absmax, shape } => {
                (Values::Nf4(Nf4::new(bytes(codes)?, Absmax::Plain(floats(absmax)?))), *shape)
            }
            FrozenPrimitive::NestedNf4 { codes, absmax, nested, offset, shape } => {
                let absmax = Absmax::Nested { codes: bytes(absmax)?, scales: floats(nested)?, offset: *offset };
                (Values::Nf4(Nf4::new(bytes(codes)?, absmax)), *shape)
            }
        };
        Some(Self::Plain(Stored { values, rows, columns, stride: columns, factors: Factors::One }))
    }

    /// With each row of the factor multiplied on the way.
    pub(super) fn with_rows_times(self, factors: &'a [f32]) -> Self {
        assert_eq!(factors.len(), self.shape()[0], "each row has its factor");
        match self {
            Self::Plain(stored) => Self::Plain(Stored { factors: Factors::OfRows(factors), ..stored }),
            Self::Transposed(stored) => Self::Transposed(Stored { factors: Factors::OfColumns(factors), ..stored }),
        }
    }

    pub(super) fn is_quantised(&self) -> bool {
        match self {
            Self::Plain(stored) | Self::Transposed(stored) => stored.is_quantised(),
        }
    }

    /// Rows and columns of the factor.
    pub(super) fn shape(&self) -> [usize; 2] {
        match self {
            Self::Plain(stored) => [stored.rows, stored.columns],
            Self::Transposed(stored) => [stored.columns, stored.rows],
        }
    }
}

/// Codes of int8, unless they are in words of four.
fn signed(codes: &FlexTensor) -> Option<&[i8]> {
    (codes.dtype() == DType::I8).then(|| codes.as_slice()).flatten()
}

/// Bytes of codes, unless they are in words of four.
fn bytes(codes: &FlexTensor) -> Option<&[u8]> {
    (codes.dtype() == DType::U8).then(|| codes.as_slice()).flatten()
}

fn floats(scales: &FlexTensor) -> Option<&[f32]> {
    scales.as_slice()
}

impl<'a> Factor<Matrix<'a>> {
    pub(super) fn stored(self) -> Factor<Stored<'a>> {
        match self {
            Self::Plain(matrix) => Factor::Plain(matrix.into()),
            Self::Transposed(matrix) => Factor::Transposed(matrix.into()),
        }
    }

    pub(super) fn shape(&self) -> [usize; 2] {
        match self {
            Self::Plain(matrix) => [matrix.rows, matrix.columns],
            Self::Transposed(matrix) => [matrix.columns, matrix.rows],
        }
    }
}
