//! Safetensors files, taken apart and put together again: with other names and shapes, or wrong in every way.

use std::path::Path;

use burn::tensor::{Bytes, DType, TensorData};
use indexmap::IndexMap;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::{Value, json};

/// The tensors of a file, in the order of their names.
pub(crate) struct Tensors(IndexMap<String, Stored>);

#[derive(Clone)]
struct Stored {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Stored {
    fn view(&self) -> TensorView<'_> {
        TensorView::new(self.dtype, self.shape.clone(), &self.bytes).unwrap()
    }
}

impl Tensors {
    pub(crate) fn read(file: &Path) -> Self {
        let bytes = std::fs::read(file).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let mut names = tensors.names();
        names.sort_unstable();
        let stored = |name: &str| {
            let view = tensors.tensor(name).unwrap();
            let (dtype, shape, bytes) = (view.dtype(), view.shape().to_vec(), view.data().to_vec());
            (name.to_string(), Stored { dtype, shape, bytes })
        };
        Self(names.into_iter().map(stored).collect())
    }

    pub(crate) fn write(&self, file: &Path) {
        let views: Vec<(&String, TensorView<'_>)> = self.0.iter().map(|(name, stored)| (name, stored.view())).collect();
        std::fs::write(file, safetensors::serialize(views, None).unwrap()).unwrap();
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The tensors that have other values in `other`, or none.
    pub(crate) fn differing(&self, other: &Self) -> Vec<String> {
        let differs = |name: &&str| self.0[*name].bytes != other.0.get(*name).map_or(Vec::new(), |it| it.bytes.clone());
        self.names().filter(differs).map(str::to_string).collect()
    }

    /// Writes the header, with another shape for one tensor, before a hole of the file's length.
    pub(crate) fn write_sparse(&self, file: &Path, larger: &str, shape: &[usize]) {
        let (mut header, mut end) = (serde_json::Map::new(), 0);
        for (name, stored) in &self.0 {
            let shape = if name == larger { shape } else { &stored.shape };
            let start = end;
            end += stored.dtype.bitsize() / 8 * shape.iter().product::<usize>();
            let dtype = format!("{:?}", stored.dtype);
            header.insert(name.clone(), json!({ "dtype": dtype, "shape": shape, "data_offsets": [start, end] }));
        }
        let bytes = with_header(&Value::Object(header), 0);
        std::fs::write(file, &bytes).unwrap();
        let length = (bytes.len() + end) as u64;
        std::fs::File::options().write(true).open(file).unwrap().set_len(length).unwrap();
    }

    /// Adds or replaces a tensor: zeros of a shape.
    pub(crate) fn zeros(&mut self, name: &str, shape: &[usize]) {
        self.zeros_of(Dtype::F32, name, shape);
    }

    pub(crate) fn zeros_of(&mut self, dtype: Dtype, name: &str, shape: &[usize]) {
        let bytes = vec![0; dtype.bitsize() / 8 * shape.iter().product::<usize>()];
        self.0.insert(name.to_string(), Stored { dtype, shape: shape.to_vec(), bytes });
    }

    /// Sets every value of a tensor in f32.
    pub(crate) fn fill(&mut self, name: &str, value: f32) {
        self.0[name].bytes.as_chunks_mut().0.fill(value.to_le_bytes());
    }

    /// Multiplies every value of a tensor in f32.
    pub(crate) fn scale(&mut self, name: &str, factor: f32) {
        for bytes in self.0[name].bytes.as_chunks_mut::<4>().0 {
            *bytes = (f32::from_le_bytes(*bytes) * factor).to_le_bytes();
        }
    }

    /// Sets every value of one row of a matrix in f32.
    pub(crate) fn fill_row(&mut self, name: &str, row: usize, value: f32) {
        let stored = &mut self.0[name];
        let width = 4 * stored.shape[1];
        stored.bytes[row * width..][..width].as_chunks_mut().0.fill(value.to_le_bytes());
    }

    /// Replaces a text in a tensor of bytes that holds one.
    pub(crate) fn replace_text(&mut self, name: &str, from: &str, to: &str) {
        let stored = &mut self.0[name];
        let text = String::from_utf8(std::mem::take(&mut stored.bytes)).unwrap();
        assert!(text.contains(from), "{name}: {text}");
        stored.bytes = text.replace(from, to).into_bytes();
        stored.shape = vec![stored.bytes.len()];
    }

    /// Adds a tensor under a second name.
    pub(crate) fn copy(&mut self, name: &str, second: &str) {
        let stored = self.0[name].clone();
        self.0.insert(second.to_string(), stored);
    }

    /// Adds a tensor of another file.
    pub(crate) fn take_from(&mut self, other: &Self, name: &str, new: &str) {
        self.0.insert(new.to_string(), other.0[name].clone());
    }

    /// Adds rows to a matrix in f32, each of one value.
    pub(crate) fn add_rows(&mut self, name: &str, values: &[f32]) {
        let stored = &mut self.0[name];
        for value in values {
            stored.bytes.extend((0..stored.shape[1]).flat_map(|_| value.to_le_bytes()));
        }
        stored.shape[0] += values.len();
    }

    /// Joins tensors of one shape in a new one, one after the other.
    pub(crate) fn join(&mut self, names: &[String], new: &str, shape: &[usize]) {
        let parts: Vec<Stored> = names.iter().map(|name| self.0.shift_remove(name).unwrap()).collect();
        let bytes: Vec<u8> = parts.iter().flat_map(|part| part.bytes.iter().copied()).collect();
        assert_eq!(bytes.len(), 4 * shape.iter().product::<usize>());
        self.0.insert(new.to_string(), Stored { dtype: parts[0].dtype, shape: shape.to_vec(), bytes });
    }

    pub(crate) fn shape(&self, name: &str) -> &[usize] {
        &self.0[name].shape
    }

    /// The stored bytes of a tensor.
    pub(crate) fn bytes(&self, name: &str) -> &[u8] {
        &self.0[name].bytes
    }

    /// Adds a number to the first value of a tensor in f32.
    pub(crate) fn add_to_first(&mut self, name: &str, difference: f32) {
        let first = self.0[name].bytes.first_chunk_mut().unwrap();
        *first = (f32::from_le_bytes(*first) + difference).to_le_bytes();
    }

    /// Rounds every tensor, all of them in f32, to half precision.
    pub(crate) fn round(&mut self, dtype: DType) {
        for stored in self.0.values_mut() {
            let bytes = Bytes::from_bytes_vec(std::mem::take(&mut stored.bytes));
            let data = TensorData::from_bytes(bytes, stored.shape.clone(), DType::F32).convert_dtype(dtype);
            stored.bytes = data.as_bytes().to_vec();
            stored.dtype = if dtype == DType::F16 { Dtype::F16 } else { Dtype::BF16 };
        }
    }

    /// Removes the tensors of which `is_meant` is true.
    pub(crate) fn remove(&mut self, is_meant: impl Fn(&str) -> bool) {
        let before = self.0.len();
        self.0.retain(|name, _| !is_meant(name));
        assert!(self.0.len() < before, "nothing to remove");
    }

    pub(crate) fn rename(&mut self, new: impl Fn(&str) -> String) {
        self.0 = std::mem::take(&mut self.0).into_iter().map(|(name, tensor)| (new(&name), tensor)).collect();
    }

    /// The tensors of which `is_meant` is true, taken out into a file of their own.
    pub(crate) fn split_off(&mut self, is_meant: impl Fn(&str) -> bool) -> Self {
        let (out, kept) = std::mem::take(&mut self.0).into_iter().partition(|(name, _)| is_meant(name));
        self.0 = kept;
        Self(out)
    }
}

/// A file with this header before `data` zeros, whatever the header says.
pub(crate) fn with_header(header: &Value, data: usize) -> Vec<u8> {
    let header = header.to_string();
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(vec![0; data]);
    bytes
}

/// The header's entry of a tensor of four elements in these bytes of the data.
pub(crate) fn entry(dtype: &str, from: usize, to: usize) -> Value {
    json!({ "dtype": dtype, "shape": [4], "data_offsets": [from, to] })
}
