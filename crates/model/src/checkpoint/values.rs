//! The values of a checkpoint looked at, a piece at a time: read from the file rather than by way of its map, whose pages
//! would stay and count as memory of the process.

use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;
use std::sync::PoisonError;

use burn::tensor::DType;
use half::{bf16, f16};
use safetensors::Dtype;

use super::{Checkpoint, CheckpointError, Entry, Shard};

/// Bytes read together, of which every type has a whole number of values.
const PIECE: usize = 1 << 20;

/// Values worked on together.
const PANEL: usize = 1 << 20;

impl Checkpoint {
    /// Whether two tensors have the same values, in whatever types.
    pub(crate) fn are_equal(&self, left: &Entry, right: &Entry) -> Result<bool, CheckpointError> {
        let is_whole = |entry: &Entry| entry.dtype.bitsize() >= 8;
        if left.shape != right.shape || !is_whole(left) || !is_whole(right) {
            return Ok(false);
        }
        // As many values of each, though not as many bytes.
        let values = PIECE / 8;
        let count: usize = left.shape.iter().product();
        let mut pieces = [Vec::new(), Vec::new()];
        for start in (0..count).step_by(values) {
            let piece = values.min(count - start);
            for (entry, bytes) in [left, right].into_iter().zip(&mut pieces) {
                let width = entry.dtype.bitsize() / 8;
                bytes.resize(piece * width, 0);
                self.read(entry, start * width, bytes)?;
            }
            let same = match (widened(left.dtype, &pieces[0]), widened(right.dtype, &pieces[1])) {
                _ if left.dtype == right.dtype && pieces[0] == pieces[1] => true,
                (Some(left), Some(right)) => left == right,
                _ => false,
            };
            if !same {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The first of these tensors with a value that is no finite number.
    pub(crate) fn not_finite<'a>(
        &self,
        names: impl Iterator<Item = &'a str>,
    ) -> Result<Option<(&Path, &'a str)>, CheckpointError> {
        let mut piece = Vec::new();
        for name in names {
            let Some(entry) = self.entries.get(name) else { continue };
            let length = entry.range.len();
            for start in (0..length).step_by(PIECE) {
                piece.resize(PIECE.min(length - start), 0);
                self.read(entry, start, &mut piece)?;
                let Some(values) = widened(entry.dtype, &piece) else { break };
                if !values.iter().all(|value| value.is_finite()) {
                    return Ok(Some((self.file(entry), name)));
                }
            }
        }
        Ok(None)
    }

    /// All values of a tensor in f32; `None` if it is not of a type that weights are of.
    pub(crate) fn wide(&self, entry: &Entry) -> Result<Option<Vec<f32>>, CheckpointError> {
        self.values(entry, 0..entry.shape.iter().product())
    }

    /// Some of the values, counted row by row, in f32; `None` if it is not of a type that weights are of.
    pub(crate) fn values(&self, entry: &Entry, values: Range<usize>) -> Result<Option<Vec<f32>>, CheckpointError> {
        if float(entry.dtype).is_none() {
            return Ok(None);
        }
        let width = entry.dtype.bitsize() / 8;
        let mut bytes = vec![0; values.len() * width];
        self.read(entry, values.start * width, &mut bytes)?;
        Ok(widened(entry.dtype, &bytes))
    }

    /// All bytes of a tensor, a piece at a time, handed to `each`.
    pub(crate) fn bytewise<E: From<CheckpointError>>(
        &self,
        entry: &Entry,
        mut each: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut piece = Vec::new();
        for start in (0..entry.range.len()).step_by(PIECE) {
            piece.resize(PIECE.min(entry.range.len() - start), 0);
            self.read(entry, start, &mut piece)?;
            each(&piece)?;
        }
        Ok(())
    }

    /// Whether a tensor of this checkpoint is to the byte one of another.
    pub(crate) fn has_bytes_of(&self, entry: &Entry, other: &Self, of_other: &Entry) -> Result<bool, CheckpointError> {
        if entry.range.len() != of_other.range.len() {
            return Ok(false);
        }
        let mut pieces = [Vec::new(), Vec::new()];
        for start in (0..entry.range.len()).step_by(PIECE) {
            let length = PIECE.min(entry.range.len() - start);
            for ((checkpoint, entry), bytes) in [(self, entry), (other, of_other)].into_iter().zip(&mut pieces) {
                bytes.resize(length, 0);
                checkpoint.read(entry, start, bytes)?;
            }
            if pieces[0] != pieces[1] {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn read(&self, entry: &Entry, start: usize, piece: &mut [u8]) -> Result<(), CheckpointError> {
        let Shard { file, opened, .. } = &self.shards[entry.shard];
        let mut reader = opened.lock().unwrap_or_else(PoisonError::into_inner);
        let from = SeekFrom::Start((entry.range.start + start) as u64);
        let read = reader.seek(from).and_then(|_| reader.read_exact(piece));
        read.map_err(|source| CheckpointError::Read { file: file.clone(), source })
    }
}

/// The values of a tensor of this shape in pieces of whole rows, by their indices: as many as are held at once of a large one.
pub(crate) fn panels(shape: &[usize]) -> impl Iterator<Item = Range<usize>> + use<> {
    let count: usize = shape.iter().product();
    let columns = shape.last().copied().unwrap_or(1).max(1);
    let panel = (PANEL / columns).max(1) * columns;
    (0..count).step_by(panel).map(move |start| start..count.min(start + panel))
}

/// The type of weights that a stored type is.
pub(crate) fn float(dtype: Dtype) -> Option<DType> {
    match dtype {
        Dtype::F32 => Some(DType::F32),
        Dtype::F16 => Some(DType::F16),
        Dtype::BF16 => Some(DType::BF16),
        _ => None,
    }
}

fn widened(dtype: Dtype, bytes: &[u8]) -> Option<Vec<f32>> {
    Some(match dtype {
        Dtype::F32 => bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
        Dtype::F16 => bytes.as_chunks().0.iter().map(|bytes| f16::from_le_bytes(*bytes).to_f32()).collect(),
        Dtype::BF16 => bytes.as_chunks().0.iter().map(|bytes| bf16::from_le_bytes(*bytes).to_f32()).collect(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use safetensors::tensor::TensorView;

    use super::*;

    fn checkpoint(tensors: &[(&str, Dtype, Vec<u8>)]) -> (tempfile::TempDir, Checkpoint) {
        let directory = tempfile::tempdir().unwrap();
        let views = tensors.iter().map(|(name, dtype, bytes)| {
            (*name, TensorView::new(*dtype, vec![bytes.len() * 8 / dtype.bitsize()], bytes).unwrap())
        });
        std::fs::write(directory.path().join("model.safetensors"), safetensors::serialize(views, None).unwrap())
            .unwrap();
        let checkpoint = Checkpoint::open(directory.path()).unwrap();
        (directory, checkpoint)
    }

    fn f32s(values: impl IntoIterator<Item = f32>) -> Vec<u8> {
        values.into_iter().flat_map(f32::to_le_bytes).collect()
    }

    /// More than one piece.
    const MANY: usize = PIECE / 4 + 3;

    #[test]
    fn tensors_are_equal_by_their_values_whatever_their_types() {
        let halves = |last: f32| -> Vec<u8> {
            let values = (0..MANY).map(|i| if i + 1 == MANY { last } else { (i % 7) as f32 });
            values.flat_map(|value| bf16::from_f32(value).to_le_bytes()).collect()
        };
        let wide = f32s((0..MANY).map(|i| if i + 1 == MANY { 9.0 } else { (i % 7) as f32 }));
        let (_directory, checkpoint) = checkpoint(&[
            ("wide", Dtype::F32, wide),
            ("half", Dtype::BF16, halves(9.0)),
            ("other", Dtype::BF16, halves(8.0)),
            ("short", Dtype::BF16, halves(9.0)[2..].to_vec()),
        ]);
        let equal = |left: &str, right: &str| {
            let entry = |name: &str| checkpoint.entry(name).unwrap();
            checkpoint.are_equal(entry(left), entry(right)).unwrap()
        };
        assert!(equal("wide", "half") && equal("half", "wide") && equal("other", "other"));
        assert!(!equal("wide", "other") && !equal("half", "other") && !equal("half", "short"));
    }

    #[test]
    fn a_value_that_is_no_number_is_found_wherever_it_is() {
        let numbers = |last: f32| f32s((0..MANY).map(|i| if i + 1 == MANY { last } else { 1.0 }));
        let first_bad = |tensors: &[(&str, Dtype, Vec<u8>)]| {
            let (_directory, checkpoint) = checkpoint(tensors);
            let names: Vec<&str> = checkpoint.names().collect();
            checkpoint.not_finite(names.into_iter()).unwrap().map(|(_, name)| name.to_string())
        };
        let ids = ("ids", Dtype::I64, vec![0xff; 16]);
        assert_eq!(first_bad(&[("a", Dtype::F32, numbers(2.0)), ids.clone()]), None);
        let infinite = ("b", Dtype::F16, f16::NEG_INFINITY.to_le_bytes().to_vec());
        assert_eq!(first_bad(&[("a", Dtype::F32, numbers(2.0)), infinite.clone(), ids]), Some("b".to_string()));
        assert_eq!(first_bad(&[("a", Dtype::F32, numbers(f32::NAN))]), Some("a".to_string()));
    }
}
