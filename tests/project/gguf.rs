//! GGUF files taken apart by a reader of its own, so that what `kindling` writes is not judged by what it reads.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

/// A file: its metadata, and its tensors by name.
pub(crate) struct Gguf {
    pub(crate) metadata: BTreeMap<String, Value>,
    tensors: BTreeMap<String, Stored>,
}

struct Stored {
    /// As PyTorch has it.
    shape: Vec<usize>,
    kind: u32,
    bytes: Vec<u8>,
}

/// Codes of ggml's types.
pub(crate) const F32: u32 = 0;
pub(crate) const F16: u32 = 1;
pub(crate) const Q8_0: u32 = 8;
pub(crate) const BF16: u32 = 30;

impl Gguf {
    pub(crate) fn read(file: &Path) -> Self {
        let all = std::fs::read(file).unwrap();
        let mut from = Bytes(&all, 0);
        assert_eq!((from.take(4), from.u32()), (&b"GGUF"[..], 3));
        let (tensors, pairs) = (from.u64(), from.u64());
        let pair = |_| {
            let key = from.text();
            let kind = from.u32();
            (key, from.value(kind))
        };
        let metadata = (0..pairs).map(pair).collect();
        let described: Vec<(String, Vec<usize>, u32, usize)> = (0..tensors)
            .map(|_| {
                let name = from.text();
                let mut shape: Vec<usize> = (0..from.u32()).map(|_| from.u64()).collect();
                shape.reverse();
                (name, shape, from.u32(), from.u64())
            })
            .collect();
        let data = from.1.next_multiple_of(32);
        let stored = |(name, shape, kind, offset): (String, Vec<usize>, u32, usize)| {
            assert_eq!(offset % 32, 0, "{name}");
            let count: usize = shape.iter().product();
            let size = match kind {
                F32 => 4 * count,
                F16 | BF16 => 2 * count,
                Q8_0 => count / 32 * 34,
                other => panic!("{name} has the type {other}"),
            };
            (name, Stored { shape, kind, bytes: all[data + offset..][..size].to_vec() })
        };
        Self { metadata, tensors: described.into_iter().map(stored).collect() }
    }

    pub(crate) fn names(&self) -> Vec<&str> {
        self.tensors.keys().map(String::as_str).collect()
    }

    pub(crate) fn kind(&self, name: &str) -> u32 {
        self.tensors[name].kind
    }

    pub(crate) fn shape(&self, name: &str) -> &[usize] {
        &self.tensors[name].shape
    }

    /// Of a tensor in f32.
    pub(crate) fn values(&self, name: &str) -> Vec<f32> {
        assert_eq!(self.kind(name), F32, "{name}");
        floats(&self.tensors[name].bytes)
    }
}

pub(crate) fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

struct Bytes<'a>(&'a [u8], usize);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> &'a [u8] {
        self.1 += count;
        &self.0[self.1 - count..self.1]
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take(4).try_into().unwrap())
    }

    fn u64(&mut self) -> usize {
        u64::from_le_bytes(self.take(8).try_into().unwrap()) as usize
    }

    fn text(&mut self) -> String {
        let length = self.u64();
        String::from_utf8(self.take(length).to_vec()).unwrap()
    }

    fn value(&mut self, kind: u32) -> Value {
        match kind {
            4 => json!(self.u32()),
            5 => json!(self.u32().cast_signed()),
            6 => json!(f32::from_bits(self.u32())),
            7 => json!(self.take(1) == [1]),
            8 => json!(self.text()),
            9 => {
                let (kind, count) = (self.u32(), self.u64());
                (0..count).map(|_| self.value(kind)).collect()
            }
            other => panic!("a value of the type {other}"),
        }
    }
}
