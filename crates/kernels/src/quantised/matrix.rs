//! Matrices of frozen layers, kept in floats or quantised.

use burn::module::Module;
use burn::tensor::{Bytes, DType, Device, Int, Tensor, TensorData};

use super::primitive::FrozenPrimitive;
use super::source::Source;
use super::{BLOCK, int8, nf4};

/// How a matrix is quantised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantisation {
    /// Eight bits and a scale for each row.
    Int8,
    /// Four bits and a scale, itself of eight bits, for each block of 64 values.
    Nf4,
}

impl Quantisation {
    /// As configurations write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Int8 => "int8",
            Self::Nf4 => "nf4",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        [Self::Int8, Self::Nf4].into_iter().find(|quantisation| quantisation.name() == name)
    }

    /// Bytes of the codes and scales of a matrix.
    pub fn bytes(self, [rows, columns]: [usize; 2]) -> usize {
        match self {
            Self::Int8 => rows * columns + 4 * rows,
            Self::Nf4 => {
                let blocks = (rows * columns).div_ceil(BLOCK);
                (rows * columns).div_ceil(2) + blocks + 4 * blocks.div_ceil(super::NESTED_BLOCK)
            }
        }
    }
}

/// A quantised matrix `[d_output, d_input]`. Constant: no gradient, no parameter.
#[derive(Module, Debug)]
pub struct Quantised {
    /// On the CPU bytes, of int8 `i8`; elsewhere in words of 32 bits, the first code in the lowest.
    codes: Tensor<1, Int>,
    /// Of int8 one for each row, of nf4 one for each block, or for each block of scales where those have codes themselves.
    scales: Tensor<1>,
    /// Of nf4, the codes of the scales of blocks.
    scale_codes: Option<Tensor<1, Int>>,
    #[module(skip)]
    quantisation: Quantisation,
    #[module(skip)]
    shape: [usize; 2],
    /// The mean of nf4's scales, where they have codes.
    #[module(skip)]
    offset: f32,
}

/// A matrix in nf4 as a checkpoint has it: bytes of codes, two to a byte with the first in its upper half.
#[derive(Debug)]
pub struct Nf4Parts {
    pub codes: Bytes,
    /// A code for each block of 64 values in bytes, with scales of 256 of them each and what is added; or `None` and a scale for each block.
    pub scale_codes: Option<Bytes>,
    pub scales: Vec<f32>,
    pub offset: f32,
}

impl Quantised {
    /// The matrix quantised, on a device. `None` where a value is no finite number.
    ///
    /// # Panics
    /// If `weight` is not of two dimensions in f32, f16 or bf16.
    pub fn of(weight: &TensorData, quantisation: Quantisation, device: &Device) -> Option<Self> {
        let &[rows, columns] = &weight.shape()[..] else { panic!("a matrix has two dimensions") };
        let source = Source::of(weight);
        match quantisation {
            Quantisation::Int8 => {
                let (codes, scales) = int8::quantise(source, columns)?;
                Some(Self::from_int8(Bytes::from_elems(codes), &scales, [rows, columns], device))
            }
            Quantisation::Nf4 => {
                let nf4::Nf4 { codes, absmax, nested, offset } = nf4::quantise(source)?;
                let (codes, scale_codes) = (Bytes::from_elems(codes), Some(Bytes::from_elems(absmax)));
                let parts = Nf4Parts { codes, scale_codes, scales: nested, offset };
                Some(Self::from_nf4(parts, [rows, columns], device))
            }
        }
    }

    /// A matrix that is in int8 already, of signed codes row by row and the largest magnitude of each row; on the CPU the bytes stay
    /// where they are.
    ///
    /// # Panics
    /// If the parts are not of this shape.
    pub fn from_int8(codes: Bytes, scales: &[f32], shape: [usize; 2], device: &Device) -> Self {
        assert!(
            codes.len() == shape.iter().product::<usize>() && scales.len() == shape[0],
            "the parts are of one matrix"
        );
        Self {
            codes: codes_on(device, codes, DType::I8),
            scales: Tensor::from_data(scales, (device, DType::F32)),
            scale_codes: None,
            quantisation: Quantisation::Int8,
            shape,
            offset: 0.0,
        }
    }

    /// A matrix that is in nf4 already; on the CPU the bytes stay where they are.
    ///
    /// # Panics
    /// If the parts are not of this shape.
    pub fn from_nf4(parts: Nf4Parts, shape: [usize; 2], device: &Device) -> Self {
        let Nf4Parts { codes, scale_codes, scales, offset } = parts;
        let count: usize = shape.iter().product();
        let blocks = count.div_ceil(BLOCK);
        let expected = if scale_codes.is_some() { blocks.div_ceil(super::NESTED_BLOCK) } else { blocks };
        assert!(codes.len() == count.div_ceil(2) && scales.len() == expected, "the parts are of one matrix");
        assert!(scale_codes.as_ref().is_none_or(|codes| codes.len() == blocks), "a block has a scale");
        Self {
            codes: codes_on(device, codes, DType::U8),
            scales: Tensor::from_data(scales.as_slice(), (device, DType::F32)),
            scale_codes: scale_codes.map(|codes| codes_on(device, codes, DType::U8)),
            quantisation: Quantisation::Nf4,
            shape,
            offset,
        }
    }

    pub fn quantisation(&self) -> Quantisation {
        self.quantisation
    }

    /// `[d_output, d_input]`
    pub fn shape(&self) -> [usize; 2] {
        self.shape
    }

    pub fn device(&self) -> Device {
        self.codes.device()
    }

    /// Rows by index, in f32: `[n]` to `[n, d_input]`.
    pub fn rows(&self, indices: Tensor<1, Int>) -> Tensor<2> {
        let matrix = FrozenMatrix::Quantised(self.clone()).into_primitive();
        Tensor::from_dispatch(super::primitive::rows(matrix, indices))
    }

    #[cfg(test)]
    pub(crate) fn on_flex(&self) -> FrozenPrimitive<burn::backend::Flex> {
        let flex = |tensor: burn::backend::DispatchTensor| match tensor.kind {
            burn::backend::DispatchTensorKind::Flex(tensor) => tensor,
            _ => panic!("a test of the CPU"),
        };
        match FrozenMatrix::Quantised(self.clone()).into_primitive() {
            FrozenPrimitive::Float(_) => panic!("it is quantised"),
            FrozenPrimitive::Int8 { codes, scales, shape } => {
                FrozenPrimitive::Int8 { codes: flex(codes).int(), scales: flex(scales).float(), shape }
            }
            FrozenPrimitive::Nf4 { codes, absmax, shape } => {
                FrozenPrimitive::Nf4 { codes: flex(codes).int(), absmax: flex(absmax).float(), shape }
            }
            FrozenPrimitive::NestedNf4 { codes, absmax, nested, offset, shape } => FrozenPrimitive::NestedNf4 {
                codes: flex(codes).int(),
                absmax: flex(absmax).int(),
                nested: flex(nested).float(),
                offset,
                shape,
            },
        }
    }

    /// The whole matrix in f32: what it stands for. Nothing that trains or answers has it so.
    pub fn widened(&self) -> Tensor<2> {
        let matrix = FrozenMatrix::Quantised(self.clone()).into_primitive();
        Tensor::from_dispatch(super::primitive::widened(matrix))
    }
}

/// Codes as the device has them: bytes on the CPU, words elsewhere.
fn codes_on(device: &Device, bytes: Bytes, dtype: DType) -> Tensor<1, Int> {
    if super::primitive::keeps_bytes(device) {
        let count = bytes.len();
        return Tensor::from_data(TensorData::from_bytes(bytes, [count], dtype), (device, dtype));
    }
    let words: Vec<i32> = bytes
        .chunks(4)
        .map(|bytes| {
            let mut word = [0; 4];
            word[..bytes.len()].copy_from_slice(bytes);
            i32::from_le_bytes(word)
        })
        .collect();
    Tensor::from_data(words.as_slice(), (device, DType::I32))
}

/// The matrix of a frozen layer, `[d_output, d_input]`.
#[expect(clippy::large_enum_variant, reason = "handles of tensors, a few for each layer")]
#[derive(Debug, Clone)]
pub enum FrozenMatrix {
    /// f32, f16 or bf16.
    Float(Tensor<2>),
    Quantised(Quantised),
}

impl From<Tensor<2>> for FrozenMatrix {
    fn from(matrix: Tensor<2>) -> Self {
        Self::Float(matrix)
    }
}

impl FrozenMatrix {
    /// `[d_output, d_input]`
    pub(crate) fn shape(&self) -> [usize; 2] {
        match self {
            Self::Float(matrix) => matrix.dims(),
            Self::Quantised(matrix) => matrix.shape,
        }
    }

    pub(crate) fn into_primitive(self) -> FrozenPrimitive<burn::backend::Dispatch> {
        let matrix = match self {
            Self::Float(matrix) => return FrozenPrimitive::Float(matrix.into_dispatch()),
            Self::Quantised(matrix) => matrix,
        };
        let Quantised { codes, scales, scale_codes, quantisation, shape, offset } = matrix;
        let (codes, scales) = (codes.into_dispatch(), scales.into_dispatch());
        match (quantisation, scale_codes) {
            (Quantisation::Int8, _) => FrozenPrimitive::Int8 { codes, scales, shape },
            (Quantisation::Nf4, None) => FrozenPrimitive::Nf4 { codes, absmax: scales, shape },
            (Quantisation::Nf4, Some(absmax)) => {
                FrozenPrimitive::NestedNf4 { codes, absmax: absmax.into_dispatch(), nested: scales, offset, shape }
            }
        }
    }
}
