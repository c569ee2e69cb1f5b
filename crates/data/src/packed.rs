//! Whole numbers, each in as few bytes as the largest of them needs: a million short texts are some twenty million token
//! ids, most of which fit into two bytes.

use std::ops::{Index, Range};

/// Numbers that are written once and read by their index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Packed {
    U8(Box<[u8]>),
    U16(Box<[u16]>),
    U32(Box<[u32]>),
    U64(Box<[u64]>),
}

impl Packed {
    /// The iterator is gone through twice.
    pub(crate) fn new(numbers: impl Iterator<Item = usize> + Clone) -> Self {
        let (count, largest) = numbers.clone().fold((0, 0), |(count, largest), it| (count + 1, it.max(largest)));
        // What is cast has been compared with the largest number of its kind.
        match largest {
            0..=0xff => Self::U8(exactly(count, numbers.map(|it| it as u8))),
            0x100..=0xffff => Self::U16(exactly(count, numbers.map(|it| it as u16))),
            0x1_0000..=0xffff_ffff => Self::U32(exactly(count, numbers.map(|it| it as u32))),
            _ => Self::U64(exactly(count, numbers.map(|it| it as u64))),
        }
    }

    /// # Panics
    /// Beyond the last number.
    pub(crate) fn get(&self, index: usize) -> usize {
        match self {
            Self::U8(it) => it[index].into(),
            Self::U16(it) => it[index].into(),
            Self::U32(it) => it[index] as usize,
            Self::U64(it) => it[index] as usize,
        }
    }

    pub(crate) fn iter(&self, range: Range<usize>) -> impl ExactSizeIterator<Item = usize> + Clone + '_ {
        range.map(|index| self.get(index))
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::U8(it) => it.len(),
            Self::U16(it) => it.len(),
            Self::U32(it) => it.len(),
            Self::U64(it) => it.len(),
        }
    }

    /// Of memory.
    pub(crate) fn bytes(&self) -> usize {
        let size = match self {
            Self::U8(_) => 1,
            Self::U16(_) => 2,
            Self::U32(_) => 4,
            Self::U64(_) => 8,
        };
        self.len() * size
    }
}

/// Collected without room to spare: a list that has grown and is shrunk may keep up to twice its size.
fn exactly<T>(count: usize, items: impl Iterator<Item = T>) -> Box<[T]> {
    let mut list = Vec::with_capacity(count);
    list.extend(items);
    list.into_boxed_slice()
}

/// Items in lists of one size, so that a list of many does not grow by being copied.
#[derive(Debug)]
pub(crate) struct Chunked<T> {
    chunks: Vec<Vec<T>>,
}

/// Items of a list.
const CHUNK: usize = 1 << 14;

impl<T> Default for Chunked<T> {
    fn default() -> Self {
        Self { chunks: Vec::new() }
    }
}

impl<T> Chunked<T> {
    pub(crate) fn push(&mut self, item: T) {
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        if let Some(chunk) = self.chunks.last_mut() {
            chunk.push(item);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.chunks.split_last().map_or(0, |(last, full)| full.len() * CHUNK + last.len())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.chunks.iter().flatten()
    }

    /// Of memory.
    pub(crate) fn bytes(&self) -> usize {
        self.chunks.len() * CHUNK * size_of::<T>()
    }
}

impl<T> Index<usize> for Chunked<T> {
    type Output = T;

    fn index(&self, index: usize) -> &T {
        &self.chunks[index / CHUNK][index % CHUNK]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_take_the_bytes_of_the_largest() {
        let bytes = |largest: usize| Packed::new([0, largest].into_iter()).bytes();
        assert_eq!([0, 255, 256, 65_535, 65_536, 1 << 32].map(bytes), [2, 2, 4, 4, 8, 16]);
        assert_eq!(Packed::new(std::iter::empty()).len(), 0);
    }

    #[test]
    fn items_of_many_lists_are_one_list() {
        let mut items = Chunked::default();
        (0..2 * CHUNK + 3).for_each(|item| items.push(item));
        assert_eq!(items.len(), 2 * CHUNK + 3);
        assert!(items.iter().copied().eq(0..items.len()));
        assert_eq!([0, CHUNK, 2 * CHUNK + 2].map(|index| items[index]), [0, CHUNK, 2 * CHUNK + 2]);
        assert_eq!(Chunked::<u8>::default().len(), 0);
    }

    proptest! {
        #[test]
        fn numbers_come_back(numbers in prop::collection::vec(0..usize::MAX, 0..20), shift in 0..64_u32) {
            let numbers: Vec<usize> = numbers.into_iter().map(|it| it >> shift).collect();
            let packed = Packed::new(numbers.iter().copied());
            prop_assert_eq!(packed.iter(0..packed.len()).collect::<Vec<_>>(), numbers);
        }
    }
}
