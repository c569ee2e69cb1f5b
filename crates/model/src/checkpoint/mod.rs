//! A checkpoint on disk: safetensors, one file or shards with an index, mapped into memory. What stays frozen in the type of the
//! file is not copied.

mod experts;
mod fingerprint;
mod nf4;
mod open;
mod values;
mod write;

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use burn::tensor::{AllocationProperty, Bytes, DType, Device, Tensor, TensorData};
use indexmap::IndexMap;
use safetensors::{Dtype, SafeTensorError};

pub use write::{OutputTensor, write_checkpoint};

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum CheckpointError {
    #[error("{} has no safetensors checkpoint (looked for model.safetensors and model.safetensors.index.json)", directory.display())]
    NoCheckpoint {
        directory: PathBuf,
        #[help]
        help: String,
    },
    #[error("cannot read {}: {source}", file.display())]
    Read { file: PathBuf, source: std::io::Error },
    #[error("cannot write {}: {source}", file.display())]
    Write { file: PathBuf, source: std::io::Error },
    #[error("{} is not a valid safetensors file: {reason}", file.display())]
    #[diagnostic(help("the file is damaged or was cut short: download or copy it again"))]
    Damaged { file: PathBuf, reason: String },
    #[error("{}: {reason}", file.display())]
    #[diagnostic(help("the index and its shards do not belong together: download or copy the checkpoint again"))]
    Index { file: PathBuf, reason: String },
    #[error("{}: the shard `{shard}` is outside of the model's directory", file.display())]
    #[diagnostic(help(
        "an index names files beside it: download or copy the checkpoint again, from where you trust it"
    ))]
    Outside { file: PathBuf, shard: String },
    #[error("{}: `{tensor}` has a value that is not a finite number", file.display())]
    #[diagnostic(help("the weights are damaged, or training went wrong: download or copy the checkpoint again"))]
    NotFinite { file: PathBuf, tensor: String },
    #[error("{}: tensor `{tensor}` is {dtype}", file.display())]
    #[diagnostic(help("weights are read in F32, F16 and BF16"))]
    Dtype { file: PathBuf, tensor: String, dtype: String },
    #[error("{}: `{tensor}` is in bitsandbytes' nf4, but {reason}", file.display())]
    #[diagnostic(help(
        "take a checkpoint that bitsandbytes wrote with its own block sizes, or the unquantised one that it was made from"
    ))]
    Nf4 { file: PathBuf, tensor: String, reason: String },
    #[error("tensor `{tensor}` cannot be written: {source}")]
    Serialise { tensor: String, source: SafeTensorError },
}

#[derive(Debug, Clone)]
pub(crate) struct Entry {
    shard: usize,
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    range: Range<usize>,
}

/// The tensors of a checkpoint by the names they have in their files.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    shards: Vec<Shard>,
    entries: IndexMap<String, Entry>,
    /// Of those that are in nf4, what their codes need.
    nf4: IndexMap<String, nf4::Nf4>,
    /// What the index lists and no shard holds, with the shard in which it should be.
    absent: IndexMap<String, String>,
    /// The index, if there is one.
    index: Option<PathBuf>,
}

#[derive(Debug)]
struct Shard {
    file: PathBuf,
    opened: Mutex<File>,
    map: bytes::Bytes,
}

impl Checkpoint {
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    pub(crate) fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.get(name)
    }

    /// The complaint about a tensor that is needed and that the index lists, though no shard holds it. One that is not
    /// needed, as a tied output layer, need not be there.
    pub(crate) fn listed(&self, name: &str) -> Option<CheckpointError> {
        let (shard, file) = (self.absent.get(name)?, self.index.clone()?);
        Some(CheckpointError::Index { file, reason: format!("the tensor `{name}` is not in `{shard}`") })
    }

    pub(crate) fn file(&self, entry: &Entry) -> &Path {
        &self.shards[entry.shard].file
    }

    /// The bytes of a tensor as they lie in the file, little-endian and row by row.
    pub(crate) fn bytes(&self, entry: &Entry) -> bytes::Bytes {
        self.shards[entry.shard].map.slice(entry.range.clone())
    }

    /// The type of a tensor, if weights can be of it.
    pub(crate) fn dtype(&self, name: &str, entry: &Entry) -> Result<DType, CheckpointError> {
        match entry.dtype {
            Dtype::F32 => Ok(DType::F32),
            Dtype::F16 => Ok(DType::F16),
            Dtype::BF16 => Ok(DType::BF16),
            other => {
                let (file, dtype) = (self.file(entry).to_path_buf(), format!("{other:?}"));
                Err(CheckpointError::Dtype { file, tensor: name.to_string(), dtype })
            }
        }
    }

    /// A tensor in its stored type: on the CPU a view of the file, copied only if it is ever written to.
    ///
    /// # Panics
    /// If `D` is not the number of dimensions: the caller has compared shapes.
    pub(crate) fn tensor<const D: usize>(
        &self,
        name: &str,
        entry: &Entry,
        device: &Device,
    ) -> Result<Tensor<D>, CheckpointError> {
        let dtype = self.dtype(name, entry)?;
        let bytes = self.bytes(entry);
        // safetensors aligns its data, but a file need not come from there, and a misaligned view would be read wrongly.
        let bytes = match bytes.as_ptr().align_offset(dtype.size()) {
            0 => bytes,
            _ => bytes::Bytes::copy_from_slice(&bytes),
        };
        let bytes = Bytes::from_shared(bytes, AllocationProperty::File);
        Ok(Tensor::from_data(TensorData::from_bytes(bytes, entry.shape.clone(), dtype), (device, dtype)))
    }

    /// The same in memory of its own, for a tensor that is to be trained or converted: nothing would be left to read in the
    /// file's pages, and still they would count as memory of the process.
    ///
    /// # Panics
    /// If `D` is not the number of dimensions.
    pub(crate) fn copied<const D: usize>(
        &self,
        name: &str,
        entry: &Entry,
        device: &Device,
    ) -> Result<Tensor<D>, CheckpointError> {
        let dtype = self.dtype(name, entry)?;
        let Shard { file, opened, .. } = &self.shards[entry.shard];
        let mut bytes = vec![0; entry.range.len()];
        let mut reader = opened.lock().unwrap_or_else(PoisonError::into_inner);
        let read = reader.seek(SeekFrom::Start(entry.range.start as u64)).and_then(|_| reader.read_exact(&mut bytes));
        read.map_err(|source| CheckpointError::Read { file: file.clone(), source })?;
        let data = TensorData::from_bytes(Bytes::from_bytes_vec(bytes), entry.shape.clone(), dtype);
        Ok(Tensor::from_data(data, (device, dtype)))
    }
}
