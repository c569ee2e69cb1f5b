//! Tensors: how they are described, and how their values are stored.

use half::{bf16, f16};

use crate::Error;

/// How the values of a tensor are stored: four of ggml's types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TensorType {
    F32,
    F16,
    Bf16,
    /// Blocks of 32 values along a row: a scale in f16, then 32 signed bytes.
    Q8_0,
}

/// Values in a block of [`TensorType::Q8_0`].
const BLOCK: usize = 32;

impl TensorType {
    /// As llama.cpp writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::Q8_0 => "q8_0",
        }
    }

    /// `enum ggml_type`
    pub(crate) fn code(self) -> u32 {
        match self {
            Self::F32 => 0,
            Self::F16 => 1,
            Self::Q8_0 => 8,
            Self::Bf16 => 30,
        }
    }

    pub(crate) fn of_code(code: u32) -> Option<Self> {
        [Self::F32, Self::F16, Self::Q8_0, Self::Bf16].into_iter().find(|kind| kind.code() == code)
    }

    /// `enum llama_ftype` of a file whose matrices are mostly so: `general.file_type`.
    pub fn file_type(self) -> u32 {
        match self {
            Self::F32 => 0,
            Self::F16 => 1,
            Self::Q8_0 => 7,
            Self::Bf16 => 32,
        }
    }

    /// Whether rows of this many values can be stored so.
    pub fn takes_rows_of(self, columns: usize) -> bool {
        self != Self::Q8_0 || columns.is_multiple_of(BLOCK)
    }

    /// Bytes of so many values, all in whole blocks.
    pub(crate) fn size(self, values: usize) -> usize {
        match self {
            Self::F32 => values * 4,
            Self::F16 | Self::Bf16 => values * 2,
            Self::Q8_0 => values / BLOCK * (BLOCK + 2),
        }
    }

    /// The values as they are stored. Each is rounded to the nearest, in a half type to the even one of two; Q8_0 is ggml's
    /// `quantize_row_q8_0_ref`, whose bytes these are.
    pub(crate) fn encode(self, values: &[f32]) -> Vec<u8> {
        match self {
            Self::F32 => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Self::F16 => values.iter().flat_map(|value| f16::from_f32(*value).to_le_bytes()).collect(),
            Self::Bf16 => values.iter().flat_map(|value| bf16::from_f32(*value).to_le_bytes()).collect(),
            Self::Q8_0 => values.chunks(BLOCK).flat_map(block).collect(),
        }
    }

    pub(crate) fn decode(self, bytes: &[u8]) -> Vec<f32> {
        match self {
            Self::F32 => bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
            Self::F16 => bytes.as_chunks().0.iter().map(|bytes| f16::from_le_bytes(*bytes).to_f32()).collect(),
            Self::Bf16 => bytes.as_chunks().0.iter().map(|bytes| bf16::from_le_bytes(*bytes).to_f32()).collect(),
            Self::Q8_0 => {
                let (blocks, _) = bytes.as_chunks::<{ BLOCK + 2 }>();
                let values = |block: &[u8; BLOCK + 2]| {
                    let scale = f16::from_le_bytes([block[0], block[1]]).to_f32();
                    let values: [f32; BLOCK] = std::array::from_fn(|at| f32::from(block[2 + at].cast_signed()) * scale);
                    values
                };
                blocks.iter().flat_map(values).collect()
            }
        }
    }

    /// The largest error that storing this value so explains; `largest` is the greatest magnitude of its block of 32.
    pub fn rounding(self, value: f32, largest: f32) -> f32 {
        match self {
            Self::F32 => 0.0,
            Self::F16 => value.abs() * 2_f32.powi(-11) + 2_f32.powi(-25),
            Self::Bf16 => value.abs() * 2_f32.powi(-8) + 2_f32.powi(-133),
            // Half a step, and for 127 steps the rounding of the scale, which loses digits where it is tiny.
            Self::Q8_0 => largest / 127.0 * 0.501 + largest * 2_f32.powi(-11) + 127.0 * 2_f32.powi(-25),
        }
    }
}

fn block(values: &[f32]) -> [u8; BLOCK + 2] {
    let largest = values.iter().fold(0_f32, |largest, value| largest.max(value.abs()));
    let scale = largest / 127.0;
    let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
    let mut bytes = [0; BLOCK + 2];
    bytes[..2].copy_from_slice(&f16::from_f32(scale).to_le_bytes());
    for (byte, value) in bytes[2..].iter_mut().zip(values) {
        *byte = ((value * inverse).round() as i8).cast_unsigned();
    }
    bytes
}

/// A tensor before its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    pub name: String,
    /// As PyTorch has it, the rows' length last; the file has it the other way round.
    pub shape: Vec<usize>,
    pub kind: TensorType,
}

impl TensorInfo {
    pub(crate) fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Bytes of its data.
    pub fn size(&self) -> usize {
        self.kind.size(self.elements())
    }

    /// These values as they are stored in it.
    ///
    /// # Errors
    /// A value that is beyond the range of the type.
    pub fn encode(&self, values: &[f32]) -> Result<Vec<u8>, Error> {
        if values.len() != self.elements() {
            let reason = format!("it has {} values for a shape of {:?}", values.len(), self.shape);
            return Err(Error::Tensor { tensor: self.name.clone(), reason });
        }
        let largest = values.iter().fold(0_f32, |largest, value| largest.max(value.abs()));
        let fits = match self.kind {
            TensorType::F32 => true,
            TensorType::F16 => f16::from_f32(largest).is_finite(),
            TensorType::Bf16 => bf16::from_f32(largest).is_finite(),
            TensorType::Q8_0 => f16::from_f32(largest / 127.0).is_finite(),
        };
        match fits {
            true => Ok(self.kind.encode(values)),
            false => Err(Error::Range { tensor: self.name.clone(), kind: self.kind.name() }),
        }
    }
}
