//! Whole numbers, each in as few bytes as the largest of them needs: a million short texts are some twenty million token
//! ids, most of which fit into two bytes.

use std::ops::Range;

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
        // What is cast has been compared with the largest number of its kind.
        match numbers.clone().max().unwrap_or(0) {
            0..=0xff => Self::U8(numbers.map(|it| it as u8).collect()),
            0x100..=0xffff => Self::U16(numbers.map(|it| it as u16).collect()),
            0x1_0000..=0xffff_ffff => Self::U32(numbers.map(|it| it as u32).collect()),
            _ => Self::U64(numbers.map(|it| it as u64).collect()),
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

    proptest! {
        #[test]
        fn numbers_come_back(numbers in prop::collection::vec(0..usize::MAX, 0..20), shift in 0..64_u32) {
            let numbers: Vec<usize> = numbers.into_iter().map(|it| it >> shift).collect();
            let packed = Packed::new(numbers.iter().copied());
            prop_assert_eq!(packed.iter(0..packed.len()).collect::<Vec<_>>(), numbers);
        }
    }
}
