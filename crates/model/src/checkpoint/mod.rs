//! A checkpoint on disk: safetensors, one file or shards with an index, mapped into memory. What stays frozen in the type of the
//! file is not copied.

#[cfg(unix)]
mod bus_error;
mod experts;
mod fingerprint;
mod in_use;
mod int8;
mod nf4;
mod open;
mod quantised;
mod values;
mod write;

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use burn::tensor::{AllocationProperty, Bytes, DType, Device, Tensor, TensorData};
use indexmap::IndexMap;
use memmap2::Mmap;
use safetensors::{Dtype, SafeTensorError};
use serde_json::{Map, Value};

pub use in_use::{ChangeInUse, FilesInUse};
pub(crate) use values::{float, panels};
use write::ShardHeader;
pub use write::{ShardLayout, TensorHeader, TensorWriter};

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
    #[diagnostic(help("free space or make the place writable; nothing that existed was touched"))]
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
    #[error("{}: `{tensor}` is in bitsandbytes' {dtype}, but {reason}", file.display())]
    #[diagnostic(help(
        "take a checkpoint that bitsandbytes wrote with its own block sizes, or the unquantised one that it was made from"
    ))]
    Quantised { file: PathBuf, tensor: String, dtype: &'static str, reason: String },
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
    /// Of those that are quantised, what their codes need.
    packed: IndexMap<String, quantised::Packed>,
    /// What the index lists and no shard holds, with the shard in which it should be.
    absent: IndexMap<String, String>,
    /// The index, if there is one, and its `metadata`.
    index: Option<(PathBuf, Map<String, Value>)>,
}

#[derive(Debug)]
struct Shard {
    file: PathBuf,
    /// Its path in the checkpoint's directory, with `/`.
    name: String,
    /// `__metadata__` of the file.
    metadata: BTreeMap<String, String>,
    opened: Arc<Mutex<File>>,
    /// What the file was when it was opened.
    found: Metadata,
    map: bytes::Bytes,
    /// What the map is of.
    pages: Arc<Mmap>,
}

impl Checkpoint {
    pub(crate) fn files(&self) -> impl Iterator<Item = &Path> {
        self.shards.iter().map(|shard| shard.file.as_path())
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    pub(crate) fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.get(name)
    }

    /// The complaint about a tensor that is needed and that the index lists, though no shard holds it. One that is not
    /// needed, as a tied output layer, need not be there.
    pub(crate) fn listed(&self, name: &str) -> Option<CheckpointError> {
        let (shard, (file, _)) = (self.absent.get(name)?, self.index.clone()?);
        Some(CheckpointError::Index { file, reason: format!("the tensor `{name}` is not in `{shard}`") })
    }

    pub(crate) fn file(&self, entry: &Entry) -> &Path {
        &self.shards[entry.shard].file
    }

    /// The files of a checkpoint with these tensors that is made of this one: each tensor in the file and in the order of the
    /// one that `place` says for it, those without a place at the end; or in files of at most `max_shard_size` bytes. They have
    /// the metadata of this one's.
    pub(crate) fn layout<'a>(
        &'a self,
        mut tensors: Vec<TensorHeader>,
        max_shard_size: Option<usize>,
        place: impl Fn(&str) -> Option<&'a Entry>,
    ) -> ShardLayout {
        let last = self.shards.len().saturating_sub(1);
        let place = |tensor: &TensorHeader| {
            place(&tensor.name).map_or((last, usize::MAX), |entry| (entry.shard, entry.range.start))
        };
        tensors.sort_by_cached_key(|tensor| place(tensor));
        let of_index = self.index.as_ref().map(|(_, metadata)| metadata);
        if let Some(size) = max_shard_size {
            let of_shards = self.shards.iter().rev().flat_map(|shard| shard.metadata.clone());
            return ShardLayout::split(tensors, size, of_shards.collect(), of_index.cloned().unwrap_or_default());
        }
        let header = |shard: &Shard| ShardHeader {
            file: shard.name.clone(),
            metadata: shard.metadata.clone(),
            tensors: Vec::new(),
        };
        let mut shards: Vec<ShardHeader> = self.shards.iter().map(header).collect();
        for tensor in tensors {
            shards[place(&tensor).0].tensors.push(tensor);
        }
        ShardLayout::of(shards, of_index.cloned())
    }

    /// The bytes of a tensor as they lie in the file, little-endian and row by row.
    pub(crate) fn bytes(&self, entry: &Entry) -> bytes::Bytes {
        self.shards[entry.shard].map.slice(entry.range.clone())
    }

    /// The type of a tensor, if weights can be of it.
    pub(crate) fn dtype(&self, name: &str, entry: &Entry) -> Result<DType, CheckpointError> {
        float(entry.dtype).ok_or_else(|| {
            let (file, dtype) = (self.file(entry).to_path_buf(), format!("{:?}", entry.dtype));
            CheckpointError::Dtype { file, tensor: name.to_string(), dtype }
        })
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
        let data = self.view(name, entry)?;
        let dtype = data.dtype();
        Ok(Tensor::from_data(data, (device, dtype)))
    }

    /// The values of a tensor in its stored type, where they lie in the file.
    pub(crate) fn view(&self, name: &str, entry: &Entry) -> Result<TensorData, CheckpointError> {
        let dtype = self.dtype(name, entry)?;
        let bytes = self.bytes(entry);
        // safetensors aligns its data, but a file need not come from there, and a misaligned view would be read wrongly.
        let bytes = match bytes.as_ptr().align_offset(dtype.size()) {
            0 => bytes,
            _ => bytes::Bytes::copy_from_slice(&bytes),
        };
        let bytes = Bytes::from_shared(bytes, AllocationProperty::File);
        Ok(TensorData::from_bytes(bytes, entry.shape.clone(), dtype))
    }

    /// A tensor in memory of its own, for a tensor that is to be trained or converted: nothing would be left to read in the
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
