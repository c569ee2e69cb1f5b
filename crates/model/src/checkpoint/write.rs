//! Writing a checkpoint in Hugging Face layout: one file, or shards with an index.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;

use burn::tensor::{DType, TensorData};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::json;

use super::CheckpointError;
use crate::files::{write_atomically, write_json};

/// A tensor to be written, in the type it is written in.
#[derive(Debug)]
pub struct OutputTensor {
    pub name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: bytes::Bytes,
}

impl OutputTensor {
    pub(crate) fn stored(name: String, dtype: Dtype, shape: Vec<usize>, bytes: bytes::Bytes) -> Self {
        Self { name, dtype, shape, bytes }
    }

    /// `data` in f32, rounded once to `dtype`.
    pub fn rounded(name: String, data: TensorData, dtype: DType) -> Self {
        let shape = data.shape().to_vec();
        let (dtype, data) = match dtype {
            DType::F16 => (Dtype::F16, data.convert_dtype(DType::F16)),
            DType::BF16 => (Dtype::BF16, data.convert_dtype(DType::BF16)),
            _ => (Dtype::F32, data.convert_dtype(DType::F32)),
        };
        Self { name, dtype, shape, bytes: bytes::Bytes::copy_from_slice(data.as_bytes()) }
    }

    pub(crate) fn interim(&self) -> (Vec<f32>, Vec<usize>) {
        (super::values::widened(self.dtype, &self.bytes).unwrap_or_default(), self.shape.clone())
    }

    fn view(&self) -> Result<TensorView<'_>, CheckpointError> {
        TensorView::new(self.dtype, self.shape.clone(), &self.bytes)
            .map_err(|source| CheckpointError::Serialise { tensor: self.name.clone(), source })
    }
}

/// Writes `model.safetensors`, or shards of at most `max_shard_bytes` with `model.safetensors.index.json`.
pub fn write_checkpoint(
    directory: &Path,
    tensors: &[OutputTensor],
    max_shard_bytes: usize,
) -> Result<(), CheckpointError> {
    let mut shards: Vec<Vec<&OutputTensor>> = vec![Vec::new()];
    let mut size = 0;
    for tensor in tensors {
        if size > 0 && size + tensor.bytes.len() > max_shard_bytes {
            shards.push(Vec::new());
            size = 0;
        }
        size += tensor.bytes.len();
        shards.last_mut().expect("there is always a shard").push(tensor);
    }
    if let [shard] = shards.as_slice() {
        return write_shard(&directory.join("model.safetensors"), shard);
    }
    let mut weight_map = serde_json::Map::new();
    let count = shards.len();
    for (number, shard) in shards.iter().enumerate() {
        let name = format!("model-{:05}-of-{count:05}.safetensors", number + 1);
        write_shard(&directory.join(&name), shard)?;
        weight_map.extend(shard.iter().map(|tensor| (tensor.name.clone(), json!(name))));
    }
    let total: usize = tensors.iter().map(|tensor| tensor.bytes.len()).sum();
    let file = directory.join("model.safetensors.index.json");
    write_json(&file, &json!({ "metadata": { "total_size": total }, "weight_map": weight_map }))
        .map_err(|source| CheckpointError::Write { file, source })
}

fn write_shard(file: &Path, tensors: &[&OutputTensor]) -> Result<(), CheckpointError> {
    let mut views = Vec::with_capacity(tensors.len());
    for tensor in tensors {
        views.push((tensor.name.as_str(), tensor.view()?));
    }
    let metadata = HashMap::from([("format".to_string(), "pt".to_string())]);
    let bytes = safetensors::serialize(views, Some(metadata))
        .map_err(|source| CheckpointError::Serialise { tensor: file.display().to_string(), source })?;
    write_atomically(file, |output| output.write_all(&bytes))
        .map_err(|source| CheckpointError::Write { file: file.into(), source })
}
