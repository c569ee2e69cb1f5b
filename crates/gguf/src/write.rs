//! Writing: everything but the data is said before the first tensor, so that the data can follow a tensor at a time.

use std::collections::HashSet;
use std::io::Write;

use crate::value::write_text;
use crate::{ALIGNMENT, Error, MAGIC, TensorInfo, VERSION, Value};

/// A file that is being written.
pub struct Writer<W> {
    out: W,
    tensors: Vec<TensorInfo>,
    written: usize,
}

impl<W: Write> Writer<W> {
    /// Writes everything but the data of the tensors, which follow in the order given here.
    pub fn new(mut out: W, metadata: &[(String, Value)], tensors: Vec<TensorInfo>) -> Result<Self, Error> {
        let mut names = HashSet::new();
        for tensor in &tensors {
            let of_tensor = |reason: &str| Error::Tensor { tensor: tensor.name.clone(), reason: reason.to_owned() };
            if !names.insert(&tensor.name) {
                return Err(of_tensor("there are two of that name"));
            }
            // `GGML_MAX_NAME`, with the zero after it.
            if tensor.name.len() > 63 {
                return Err(of_tensor("llama.cpp reads names of at most 63 bytes"));
            }
            if !tensor.kind.takes_rows_of(tensor.shape.last().copied().unwrap_or(0)) {
                return Err(of_tensor("its rows are not made of whole blocks"));
            }
        }
        // What has no items has no type either: readers disagree about it.
        let metadata: Vec<_> =
            metadata.iter().filter(|(_, value)| !matches!(value, Value::Array(items) if items.is_empty())).collect();
        let mut head = Vec::new();
        head.extend_from_slice(MAGIC);
        head.extend_from_slice(&VERSION.to_le_bytes());
        head.extend_from_slice(&(tensors.len() as u64).to_le_bytes());
        head.extend_from_slice(&(metadata.len() as u64).to_le_bytes());
        describe(&mut head, &metadata, &tensors).map_err(Error::Write)?;
        pad(&mut head);
        out.write_all(&head).map_err(Error::Write)?;
        Ok(Self { out, tensors, written: 0 })
    }

    /// The tensor whose data is to be written next.
    pub fn next(&self) -> Option<&TensorInfo> {
        self.tensors.get(self.written)
    }

    /// Writes the data of the [next](Self::next) tensor.
    ///
    /// # Errors
    /// The disk is full; a value is beyond the range of the tensor's type; there is no such tensor, or not of this size.
    pub fn write(&mut self, values: &[f32]) -> Result<(), Error> {
        let Some(tensor) = self.next() else {
            let reason = "all that were announced are written".to_owned();
            return Err(Error::Tensor { tensor: "the next".to_owned(), reason });
        };
        let mut bytes = tensor.encode(values)?;
        pad(&mut bytes);
        self.out.write_all(&bytes).map_err(Error::Write)?;
        self.written += 1;
        Ok(())
    }

    /// Everything is written.
    pub fn finish(mut self) -> Result<W, Error> {
        match self.next() {
            Some(tensor) => {
                Err(Error::Tensor { tensor: tensor.name.clone(), reason: "its data is missing".to_owned() })
            }
            None => self.out.flush().map(|()| self.out).map_err(Error::Write),
        }
    }
}

fn describe(head: &mut Vec<u8>, metadata: &[&(String, Value)], tensors: &[TensorInfo]) -> std::io::Result<()> {
    for (key, value) in metadata {
        write_text(key, head)?;
        value.write(head)?;
    }
    let mut offset = 0_u64;
    for tensor in tensors {
        write_text(&tensor.name, head)?;
        head.extend_from_slice(&(tensor.shape.len() as u32).to_le_bytes());
        for side in tensor.shape.iter().rev() {
            head.extend_from_slice(&(*side as u64).to_le_bytes());
        }
        head.extend_from_slice(&tensor.kind.code().to_le_bytes());
        head.extend_from_slice(&offset.to_le_bytes());
        offset += (tensor.size() as u64).next_multiple_of(ALIGNMENT);
    }
    Ok(())
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(ALIGNMENT as usize), 0);
}
