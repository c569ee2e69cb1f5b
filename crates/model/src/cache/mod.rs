//! Keys and values of the tokens that a decoder has read, so that each further token costs one row and not the whole
//! sequence again.

mod rows;

use std::ops::Range;

use burn::tensor::{Device, Int, Tensor, TensorData};
use kernels::{Layout, Offsets};

use rows::Rows;

/// Keys and values of several sequences, in one tensor of each kind per layer that is allocated once. A sequence has rows of
/// its own that follow one another, so that a token is written where it belongs and nothing is moved. On the CPU rows that
/// were never written take no memory.
#[derive(Debug)]
pub struct Cache {
    layers: Vec<Option<KeysAndValues>>,
    capacity: usize,
    rows: Rows,
}

#[derive(Debug, Clone)]
struct KeysAndValues {
    /// `[rows, kv_heads * d_head]`
    keys: Tensor<2>,
    values: Tensor<2>,
}

/// Further tokens of a sequence, to be read in one pass with those of others.
#[derive(Debug, Clone)]
pub struct Piece {
    /// The sequence's rows of the cache.
    pub rows: Range<usize>,
    /// How many of them are written.
    pub read: usize,
    pub tokens: usize,
}

impl Cache {
    /// Room for `rows` tokens of all sequences together. `layers` are the model's.
    pub(crate) fn new(layers: usize, rows: usize) -> Self {
        Self { layers: vec![None; layers], capacity: rows, rows: Rows::new(rows) }
    }

    /// Tokens of all sequences together that there is room for.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Rows that no sequence has.
    pub fn free(&self) -> usize {
        self.rows.free()
    }

    /// Rows for a sequence of so many tokens; `None` if nowhere so many follow one another.
    pub fn take(&mut self, tokens: usize) -> Option<Range<usize>> {
        self.rows.take(tokens)
    }

    /// Takes back rows that were taken.
    pub fn give_back(&mut self, rows: Range<usize>) {
        self.rows.give_back(rows);
    }

    /// Whether there were rows for a sequence of so many tokens if these, which are taken, were free.
    pub(crate) fn would_fit<'a>(&'a self, tokens: usize, taken: impl Iterator<Item = &'a Range<usize>>) -> bool {
        self.rows.would_fit(tokens, taken)
    }

    /// The layout of a pass that reads these pieces.
    ///
    /// # Panics
    /// Where a sequence has no rows for them: how long it may become was the caller's own promise.
    pub fn layout(&self, pieces: &[Piece]) -> Layout {
        let mut offsets = vec![0];
        let mut keys = Vec::with_capacity(pieces.len());
        for Piece { rows, read, tokens } in pieces {
            assert!(read + tokens <= rows.len(), "a cache has room for what its sequences may become");
            offsets.push(offsets[offsets.len() - 1] + tokens);
            keys.push(rows.start..rows.start + read + tokens);
        }
        Layout::cached(Offsets::new(&offsets), &keys)
    }

    /// Writes the keys and values of a pass into the rows of their sequences; returns those of all tokens so far, as its
    /// layout names them.
    pub(crate) fn extend(
        &mut self,
        layer: usize,
        keys: Tensor<2>,
        values: Tensor<2>,
        layout: &Layout,
    ) -> (Tensor<2>, Tensor<2>) {
        let [_, width] = keys.dims();
        let device = keys.device();
        // Taken out, so that the tensors have one owner and are written in place.
        let mut kept = self.layers[layer].take().unwrap_or_else(|| self.empty(width, &device));
        for (sequence, of_keys) in layout.keys().iter().enumerate() {
            let new = layout.queries().range(sequence);
            let place = of_keys.end - new.len()..of_keys.end;
            let part = |from: &Tensor<2>| from.clone().narrow(0, new.start, new.len());
            kept.keys = write(kept.keys, place.clone(), part(&keys));
            kept.values = write(kept.values, place, part(&values));
        }
        let all = (kept.keys.clone(), kept.values.clone());
        self.layers[layer] = Some(kept);
        all
    }

    /// Copies rows to where `to` begins, in all layers.
    pub(crate) fn copy(&mut self, from: Range<usize>, to: usize) {
        for kept in self.layers.iter_mut().flatten() {
            let place = to..to + from.len();
            let device = kept.keys.device();
            let indices: Vec<i32> = from.clone().map(|row| row as i32).collect();
            let indices = Tensor::<1, Int>::from_data(TensorData::new(indices, [from.len()]), &device);
            // Selected and not narrowed: a view would be a second owner, and the whole tensor be copied to write a part.
            let part = |of: &Tensor<2>| of.clone().select(0, indices.clone());
            let (keys, values) = (part(&kept.keys), part(&kept.values));
            kept.keys.inplace(|all| write(all, place.clone(), keys));
            kept.values.inplace(|all| write(all, place, values));
        }
    }

    fn empty(&self, width: usize, device: &Device) -> KeysAndValues {
        // `Tensor::zeros` of the CPU backend writes all of them; memory that the system has cleared is taken as it is used.
        let cleared = || vec![0.0_f32; self.capacity * width];
        let zeros = || Tensor::from_data(TensorData::new(cleared(), [self.capacity, width]), device);
        KeysAndValues { keys: zeros(), values: zeros() }
    }
}

fn write(all: Tensor<2>, place: Range<usize>, rows: Tensor<2>) -> Tensor<2> {
    let [_, width] = rows.dims();
    all.slice_assign([place, 0..width], rows)
}

#[cfg(test)]
impl Cache {
    /// Makes rows what weights that overflow make them.
    pub(crate) fn poison(&mut self, rows: Range<usize>) {
        for kept in self.layers.iter_mut().flatten() {
            let [_, width] = kept.values.dims();
            let nans = Tensor::full([rows.len(), width], f32::NAN, &kept.values.device());
            kept.values.inplace(|all| write(all, rows.clone(), nans));
        }
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;

    /// Bytes of the process that are in memory.
    fn resident() -> usize {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
    }

    #[test]
    fn rows_that_were_never_written_take_no_memory() {
        const ROWS: usize = 1 << 20;
        let device = Device::flex();
        let before = resident();
        let mut cache = Cache::new(1, ROWS);
        let rows = cache.take(ROWS).unwrap();
        for read in 0..3 {
            let layout = cache.layout(&[Piece { rows: rows.clone(), read, tokens: 1 }]);
            let token = || Tensor::full([1, 128], read as f32 + 1.0, &device);
            cache.extend(0, token(), token(), &layout);
        }
        cache.copy(0..2, ROWS / 2);
        let (keys, _) = cache.extend(
            0,
            Tensor::zeros([1, 128], &device),
            Tensor::zeros([1, 128], &device),
            &cache.layout(&[Piece { rows, read: 3, tokens: 1 }]),
        );
        // 1 GiB of keys and values, of which some pages were written.
        let grown = resident().saturating_sub(before);
        assert!(grown < 256 << 20, "{grown} bytes");
        let row = |row: usize| keys.clone().slice([row..row + 1, 5..6]).into_scalar::<f32>();
        assert_eq!([0, 2, 3, 4, ROWS / 2, ROWS / 2 + 1].map(row), [1.0, 3.0, 0.0, 0.0, 1.0, 2.0]);
    }
}
