//! Matrices that a checkpoint has quantised, as bitsandbytes saves them: codes under the weight's own name, and beside them what they
//! need. Read as they are, and on the CPU left where they lie.

use burn::tensor::{AllocationProperty, Bytes, Device};
use kernels::{Quantisation, Quantised};

use super::nf4::Nf4;
use super::{Checkpoint, Entry};

/// What the codes of a matrix need.
#[derive(Debug, Clone)]
pub(crate) enum Packed {
    Int8 { scales: Entry },
    Nf4(Nf4),
}

impl Checkpoint {
    /// How a tensor is quantised; `None` of one in floats.
    pub(crate) fn quantisation(&self, name: &str) -> Option<Quantisation> {
        Some(match self.packed.get(name)? {
            Packed::Int8 { .. } => Quantisation::Int8,
            Packed::Nf4(_) => Quantisation::Nf4,
        })
    }

    /// How the first of its matrices that is quantised is so.
    pub(crate) fn any_quantisation(&self) -> Option<Quantisation> {
        self.packed.keys().find_map(|name| self.quantisation(name))
    }

    /// A matrix that is quantised, whose rows are outputs; `None` of a tensor in floats.
    pub(crate) fn quantised(&self, name: &str, codes: &Entry, device: &Device) -> Option<Quantised> {
        let shape = [codes.shape[0], codes.shape[1]];
        Some(match self.packed.get(name)? {
            Packed::Int8 { scales } => {
                Quantised::from_int8(self.shared(codes), &floats(&self.bytes(scales)), shape, device)
            }
            Packed::Nf4(nf4) => Quantised::from_nf4(self.nf4_parts(nf4, codes), shape, device),
        })
    }

    /// The file's own memory.
    pub(super) fn shared(&self, entry: &Entry) -> Bytes {
        Bytes::from_shared(self.bytes(entry), AllocationProperty::File)
    }
}

pub(super) fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}
