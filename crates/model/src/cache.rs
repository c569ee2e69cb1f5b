//! Keys and values of the tokens that a decoder has read, so that each further token costs one row and not the whole
//! sequence again.

use std::ops::Range;

use burn::tensor::{Device, Tensor};
use kernels::{Layout, Offsets};

/// What is kept of several sequences. Each has a slot of its own in a tensor per layer, so that a token is written where it
/// belongs and nothing is moved.
#[derive(Debug)]
pub struct Cache {
    layers: Vec<Option<KeysAndValues>>,
    slots: Vec<Slot>,
    rows: usize,
}

#[derive(Debug, Clone)]
struct KeysAndValues {
    /// `[rows, kv_heads * d_head]`
    keys: Tensor<2>,
    values: Tensor<2>,
}

#[derive(Debug, Clone)]
struct Slot {
    start: usize,
    length: usize,
    capacity: usize,
}

impl Cache {
    /// Room for as many tokens of each sequence as `capacities` says. `layers` are the model's.
    pub(crate) fn new(layers: usize, capacities: &[usize]) -> Self {
        let mut rows = 0;
        let mut slot = |capacity: &usize| {
            let start = rows;
            rows += capacity;
            Slot { start, length: 0, capacity: *capacity }
        };
        let slots = capacities.iter().map(&mut slot).collect();
        Self { layers: vec![None; layers], slots, rows }
    }

    /// The sequences that are still going on.
    pub fn sequences(&self) -> usize {
        self.slots.len()
    }

    /// The layout of a pass that reads so many further tokens of each sequence. One of which it reads none is left out.
    ///
    /// # Panics
    /// Where a slot has no room for them: its capacity was the caller's own promise.
    pub fn layout(&self, tokens: &[usize]) -> Layout {
        let mut offsets = vec![0];
        let mut keys = Vec::with_capacity(self.slots.len());
        for (slot, count) in self.slots.iter().zip(tokens).filter(|(_, count)| **count > 0) {
            assert!(slot.length + count <= slot.capacity, "a cache has room for what its sequences may become");
            offsets.push(offsets[offsets.len() - 1] + count);
            keys.push(slot.start..slot.start + slot.length + count);
        }
        Layout::cached(Offsets::new(&offsets), &keys)
    }

    /// Writes the keys and values of a pass into the slots; returns those of all tokens so far, as its layout names them.
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

    /// After a pass with this layout: its tokens count as read.
    pub(crate) fn advance(&mut self, layout: &Layout) {
        let mut slots = self.slots.iter_mut();
        for keys in layout.keys() {
            let slot =
                slots.find(|slot| slot.start == keys.start).expect("a layout has sequences in the order of the slots");
            slot.length = keys.len();
        }
    }

    /// Forgets what was read of a sequence.
    pub(crate) fn clear(&mut self, sequence: usize) {
        self.slots[sequence].length = 0;
    }

    /// Goes on with these sequences alone, in the order given.
    pub fn keep(&mut self, sequences: &[usize]) {
        self.slots = sequences.iter().map(|sequence| self.slots[*sequence].clone()).collect();
    }

    fn empty(&self, width: usize, device: &Device) -> KeysAndValues {
        let zeros = || Tensor::zeros([self.rows, width], device);
        KeysAndValues { keys: zeros(), values: zeros() }
    }
}

fn write(all: Tensor<2>, place: Range<usize>, rows: Tensor<2>) -> Tensor<2> {
    let [_, width] = rows.dims();
    all.slice_assign([place, 0..width], rows)
}
