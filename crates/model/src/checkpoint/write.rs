//! Writing a checkpoint in Hugging Face layout, one file or shards with an index. What stands in the headers is known before any
//! value is, so tensors are written one after the other as their values come, and none has to be whole in memory.

use std::collections::{BTreeMap, HashSet};
use std::io::Write;
use std::path::{Path, PathBuf};

use burn::tensor::DType;
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use indexmap::IndexMap;
use safetensors::tensor::TensorInfo;
use safetensors::{Dtype, SafeTensorError};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::CheckpointError;
use super::open::{INDEX, SINGLE};
use crate::files::{OutputFile, disk, write_json};

/// What the header of a file says of a tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorHeader {
    pub name: String,
    pub dtype: Dtype,
    pub shape: Vec<usize>,
}

impl TensorHeader {
    /// Of a tensor of floating-point numbers: F16, BF16, otherwise F32.
    pub fn new(name: &str, dtype: DType, shape: &[usize]) -> Self {
        let dtype = match dtype {
            DType::F16 => Dtype::F16,
            DType::BF16 => Dtype::BF16,
            _ => Dtype::F32,
        };
        Self { name: name.to_string(), dtype, shape: shape.to_vec() }
    }

    /// Values of the tensor.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Its size in the file, in bytes.
    pub fn size(&self) -> usize {
        (self.elements() * self.dtype.bitsize()).div_ceil(8)
    }
}

/// The files of a checkpoint, and which tensors are in which of them.
#[derive(Debug, Clone)]
pub struct ShardLayout {
    shards: Vec<ShardHeader>,
    /// `metadata` of the index, of a checkpoint that has one.
    index: Option<Map<String, Value>>,
}

/// A file of a checkpoint.
#[derive(Debug, Clone, Default)]
pub(crate) struct ShardHeader {
    /// Relative to the checkpoint's directory.
    pub(crate) file: String,
    /// `__metadata__` of the file.
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) tensors: Vec<TensorHeader>,
}

impl ShardLayout {
    /// `model.safetensors`, or shards of at most `max_shard_size` bytes with `model.safetensors.index.json`, as Transformers'
    /// `save_pretrained` names them. A tensor that is larger has a shard of its own.
    pub fn new(tensors: Vec<TensorHeader>, max_shard_size: usize) -> Self {
        let mut layout = Self::split(tensors, max_shard_size, BTreeMap::new(), Map::new());
        // As the safetensors library has them.
        for shard in &mut layout.shards {
            shard.tensors.sort_by(|left, right| right.dtype.cmp(&left.dtype).then(left.name.cmp(&right.name)));
        }
        layout
    }

    /// The same with this metadata in the files and in the index.
    pub(crate) fn split(
        tensors: Vec<TensorHeader>,
        max_shard_size: usize,
        metadata: BTreeMap<String, String>,
        of_index: Map<String, Value>,
    ) -> Self {
        let empty = ShardHeader { metadata, ..ShardHeader::default() };
        let mut shards = vec![empty.clone()];
        let mut size = 0;
        for tensor in tensors {
            if size > 0 && size + tensor.size() > max_shard_size {
                shards.push(empty.clone());
                size = 0;
            }
            size += tensor.size();
            shards.last_mut().expect("there is always a shard").tensors.push(tensor);
        }
        let count = shards.len();
        for (number, shard) in shards.iter_mut().enumerate() {
            shard.file = match count {
                1 => SINGLE.to_string(),
                _ => format!("model-{:05}-of-{count:05}.safetensors", number + 1),
            };
        }
        Self::of(shards, (count > 1).then_some(of_index))
    }

    /// These files, with an index if it has metadata. Within a file wide types come first, which keeps every tensor aligned. A
    /// file without metadata gets that without which Transformers refuses it.
    pub(crate) fn of(mut shards: Vec<ShardHeader>, index: Option<Map<String, Value>>) -> Self {
        for shard in &mut shards {
            if shard.metadata.is_empty() {
                shard.metadata.insert("format".to_string(), "pt".to_string());
            }
            shard.tensors.sort_by_key(|tensor| std::cmp::Reverse(tensor.dtype));
        }
        Self { shards, index }
    }

    /// The tensors in the order in which they are written.
    pub fn tensors(&self) -> impl Iterator<Item = &TensorHeader> {
        self.shards.iter().flat_map(|shard| &shard.tensors)
    }

    /// The size of all tensors, in bytes.
    pub fn size(&self) -> usize {
        self.tensors().map(TensorHeader::size).sum()
    }

    /// Writes the files into a directory. `fill` is called for one tensor after the other, in the order of
    /// [`tensors`](Self::tensors), and writes its values. A file takes its name when it is whole, the index is the last.
    ///
    /// # Errors
    /// What `fill` returns; a disk that is full; a tensor that was given more or fewer values than its header says.
    pub fn write<E: From<CheckpointError>>(
        &self,
        directory: &Path,
        mut fill: impl FnMut(&TensorHeader, &mut TensorWriter<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        for shard in &self.shards {
            let path = directory.join(&shard.file);
            let failed = |source| CheckpointError::Write { file: path.clone(), source };
            path.parent().map_or(Ok(()), disk::create_dir_all).map_err(failed)?;
            let mut output = OutputFile::create(&path).map_err(failed)?;
            output.write_all(&shard.header()?).map_err(failed)?;
            for tensor in &shard.tensors {
                let mut writer = TensorWriter { tensor, file: &path, output: &mut output, written: 0 };
                fill(tensor, &mut writer)?;
                writer.finish()?;
            }
            output.finish().map_err(failed)?;
        }
        Ok(self.write_index(directory)?)
    }

    fn write_index(&self, directory: &Path) -> Result<(), CheckpointError> {
        let Some(metadata) = &self.index else { return Ok(()) };
        let mut metadata = metadata.clone();
        if metadata.contains_key("total_parameters") {
            let elements: usize = self.tensors().map(TensorHeader::elements).sum();
            metadata.insert("total_parameters".to_string(), json!(elements));
        }
        metadata.insert("total_size".to_string(), json!(self.size()));
        let place = |shard: &ShardHeader, tensor: &TensorHeader| (tensor.name.clone(), json!(shard.file));
        let places = self.shards.iter().flat_map(|shard| shard.tensors.iter().map(move |tensor| place(shard, tensor)));
        let mut places: Vec<(String, Value)> = places.collect();
        places.sort_by(|left, right| left.0.cmp(&right.0));
        let weight_map: Map<String, Value> = places.into_iter().collect();
        let file = directory.join(INDEX);
        write_json(&file, &json!({ "metadata": metadata, "weight_map": weight_map }))
            .map_err(|source| CheckpointError::Write { file, source })
    }
}

/// An entry of a safetensors header.
#[derive(Serialize)]
#[serde(untagged)]
enum HeaderEntry<'a> {
    Metadata(&'a BTreeMap<String, String>),
    Tensor(TensorInfo),
}

impl ShardHeader {
    /// The beginning of the file: the length of the header, and the header, filled up with spaces to whole 8 bytes.
    fn header(&self) -> Result<Vec<u8>, CheckpointError> {
        let unfit = |tensor: &str, source| CheckpointError::Serialise { tensor: tensor.to_string(), source };
        let mut names = HashSet::new();
        let mut entries = IndexMap::new();
        entries.insert("__metadata__", HeaderEntry::Metadata(&self.metadata));
        let mut start = 0;
        for tensor in &self.tensors {
            if tensor.name == "__metadata__" || !names.insert(&tensor.name) {
                return Err(unfit(&tensor.name, SafeTensorError::InvalidOffset(tensor.name.clone())));
            }
            let data_offsets = (start, start + tensor.size());
            start = data_offsets.1;
            let info = TensorInfo { dtype: tensor.dtype, shape: tensor.shape.clone(), data_offsets };
            entries.insert(&tensor.name, HeaderEntry::Tensor(info));
        }
        let mut json = serde_json::to_vec(&entries).map_err(|error| unfit(&self.file, error.into()))?;
        json.resize(json.len().next_multiple_of(8), b' ');
        Ok([&(json.len() as u64).to_le_bytes()[..], &json].concat())
    }
}

/// Where the values of one tensor go, row by row.
#[derive(Debug)]
pub struct TensorWriter<'a> {
    tensor: &'a TensorHeader,
    file: &'a PathBuf,
    output: &'a mut OutputFile,
    written: usize,
}

impl TensorWriter<'_> {
    /// The next bytes of the tensor, as they are in the file: little-endian.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), CheckpointError> {
        self.written += bytes.len();
        let failed = |source| CheckpointError::Write { file: self.file.clone(), source };
        self.output.write_all(bytes).map_err(failed)
    }

    /// The next values of the tensor, rounded once to its type: F32, F16 or BF16, to the nearest, ties to even.
    pub fn values(&mut self, values: &[f32]) -> Result<(), CheckpointError> {
        match rounded(values, self.tensor.dtype) {
            Some(bytes) => self.bytes(&bytes),
            None => {
                let (file, tensor) = (self.file.clone(), self.tensor.name.clone());
                Err(CheckpointError::Dtype { file, tensor, dtype: format!("{:?}", self.tensor.dtype) })
            }
        }
    }

    fn finish(self) -> Result<(), CheckpointError> {
        if self.written == self.tensor.size() {
            return Ok(());
        }
        let TensorHeader { name, dtype, shape } = self.tensor.clone();
        Err(CheckpointError::Serialise {
            tensor: name,
            source: SafeTensorError::InvalidTensorView(dtype, shape, self.written),
        })
    }
}

fn rounded(values: &[f32], dtype: Dtype) -> Option<Vec<u8>> {
    Some(match dtype {
        Dtype::F32 => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        Dtype::F16 => {
            let mut halves = vec![f16::ZERO; values.len()];
            halves.convert_from_f32_slice(values);
            halves.iter().flat_map(|half| half.to_le_bytes()).collect()
        }
        Dtype::BF16 => {
            let mut halves = vec![bf16::ZERO; values.len()];
            halves.convert_from_f32_slice(values);
            halves.iter().flat_map(|half| half.to_le_bytes()).collect()
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use safetensors::SafeTensors;
    use safetensors::tensor::TensorView;

    use super::*;

    fn header(name: &str, dtype: Dtype, shape: &[usize]) -> TensorHeader {
        TensorHeader { name: name.to_string(), dtype, shape: shape.to_vec() }
    }

    /// Each value is the length of the tensor's name.
    fn fill(tensor: &TensorHeader, file: &mut TensorWriter<'_>) -> Result<(), CheckpointError> {
        // In two pieces, as they may come.
        let values = vec![tensor.name.len() as f32; tensor.elements()];
        let (first, rest) = values.split_at(values.len() / 2);
        file.values(first)?;
        file.values(rest)
    }

    fn tensors() -> Vec<TensorHeader> {
        vec![
            header("words", Dtype::BF16, &[3, 2]),
            header("norm", Dtype::F32, &[2]),
            header("empty", Dtype::F16, &[0, 4]),
            header("b", Dtype::F16, &[1, 3]),
        ]
    }

    #[test]
    fn one_file_has_the_bytes_that_the_safetensors_library_writes() {
        let directory = tempfile::tempdir().unwrap();
        ShardLayout::new(tensors(), usize::MAX).write(directory.path(), fill).unwrap();
        let contents: Vec<(TensorHeader, Vec<u8>)> = tensors()
            .into_iter()
            .map(|tensor| {
                let bytes = rounded(&vec![tensor.name.len() as f32; tensor.elements()], tensor.dtype).unwrap();
                (tensor, bytes)
            })
            .collect();
        let views = contents
            .iter()
            .map(|(it, bytes)| (it.name.clone(), TensorView::new(it.dtype, it.shape.clone(), bytes).unwrap()));
        let metadata = HashMap::from([("format".to_string(), "pt".to_string())]);
        let expected = safetensors::serialize(views, Some(metadata)).unwrap();
        assert_eq!(std::fs::read(directory.path().join(SINGLE)).unwrap(), expected);
        assert!(!directory.path().join(INDEX).exists());
    }

    #[test]
    fn shards_are_as_large_as_asked_and_the_index_says_where_each_tensor_is() {
        let directory = tempfile::tempdir().unwrap();
        ShardLayout::new(tensors(), 20).write(directory.path(), fill).unwrap();
        let index: Value =
            serde_json::from_str(&std::fs::read_to_string(directory.path().join(INDEX)).unwrap()).unwrap();
        let [first, second] = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
        let expected = json!({
            "metadata": { "total_size": 26 },
            "weight_map": { "b": second, "empty": first, "norm": first, "words": first },
        });
        assert_eq!(index, expected);
        let bytes = std::fs::read(directory.path().join(second)).unwrap();
        let shard = SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(shard.names(), ["b"]);
        assert_eq!(shard.tensor("b").unwrap().data(), [f16::ONE; 3].map(f16::to_le_bytes).concat());
    }

    #[test]
    fn a_tensor_with_too_few_or_too_many_values_is_an_error_and_leaves_no_file() {
        for given in [1, 3] {
            let directory = tempfile::tempdir().unwrap();
            let layout = ShardLayout::new(vec![header("norm", Dtype::F32, &[2])], usize::MAX);
            let written: Result<(), CheckpointError> =
                layout.write(directory.path(), |_, file| file.values(&vec![0.0; given]));
            assert!(matches!(written, Err(CheckpointError::Serialise { tensor, .. }) if tensor == "norm"));
            assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
        }
    }

    #[test]
    fn two_tensors_of_one_name_are_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let twice = vec![header("a", Dtype::F32, &[1]), header("a", Dtype::F32, &[1])];
        assert!(ShardLayout::new(twice, usize::MAX).write(directory.path(), fill).is_err());
    }
}
