//! Values of nf4 from codes that lie two to a byte.

use std::ops::Range;

use crate::Simd;
use crate::quantised::{BLOCK, DYNAMIC_MAP, NESTED_BLOCK, VALUES};

/// A matrix in nf4 from one of its values on.
#[derive(Clone, Copy)]
pub(in crate::flex) struct Nf4<'a> {
    codes: &'a [u8],
    absmax: Absmax<'a>,
    first: usize,
}

/// The scales of blocks of 64 values.
#[derive(Clone, Copy)]
pub(in crate::flex) enum Absmax<'a> {
    Plain(&'a [f32]),
    Nested { codes: &'a [u8], scales: &'a [f32], offset: f32 },
}

impl Absmax<'_> {
    #[inline]
    fn of(&self, block: usize) -> f32 {
        match self {
            Self::Plain(scales) => scales[block],
            Self::Nested { codes, scales, offset } => {
                DYNAMIC_MAP[usize::from(codes[block])] * scales[block / NESTED_BLOCK] + offset
            }
        }
    }
}

/// The scales of blocks that follow one another.
#[derive(Clone)]
pub(in crate::flex) struct Scales<'a> {
    pub absmax: Absmax<'a>,
    pub blocks: Range<usize>,
}

impl Scales<'_> {
    /// Those of so many blocks, after as many others as `index` says.
    #[inline]
    pub(in crate::flex) fn of_row(&self, index: usize, count: usize) -> Self {
        let first = self.blocks.start + index * count;
        Self { absmax: self.absmax, blocks: first..first + count }
    }

    #[inline]
    pub(in crate::flex) fn get(&self, index: usize) -> Option<f32> {
        (index < self.blocks.len()).then(|| self.absmax.of(self.blocks.start + index))
    }
}

impl<'a> Nf4<'a> {
    pub(in crate::flex) fn new(codes: &'a [u8], absmax: Absmax<'a>) -> Self {
        Self { codes, absmax, first: 0 }
    }

    /// Without so many values.
    pub(in crate::flex) fn skip(&self, values: usize) -> Self {
        Self { first: self.first + values, ..*self }
    }

    /// The values from `start` on.
    pub(in crate::flex) fn unpack(&self, start: usize, mut to: &mut [f32]) {
        let mut at = self.first + start;
        while !to.is_empty() {
            let (part, rest) = to.split_at_mut((BLOCK - at % BLOCK).min(to.len()));
            self.part_of_block(at, part);
            at += part.len();
            to = rest;
        }
    }

    fn part_of_block(&self, at: usize, mut to: &mut [f32]) {
        let absmax = self.absmax.of(at / BLOCK);
        let mut codes = &self.codes[at / 2..];
        if at % 2 == 1 {
            to[0] = VALUES[usize::from(codes[0] & 0xf)] * absmax;
            (to, codes) = (&mut to[1..], &codes[1..]);
        }
        unpack(codes, absmax, to);
    }

    /// The codes of so many values from `start` on, and the scales of their blocks; `None` where no block begins there or ends with
    /// them.
    pub(in crate::flex) fn blocks(&self, start: usize, count: usize) -> Option<(&'a [u8], Scales<'a>)> {
        let first = self.first + start;
        if !first.is_multiple_of(BLOCK) || !count.is_multiple_of(BLOCK) {
            return None;
        }
        let scales = Scales { absmax: self.absmax, blocks: first / BLOCK..(first + count) / BLOCK };
        Some((&self.codes[first / 2..(first + count) / 2], scales))
    }
}

/// Values of codes that begin with a byte: at most two for each byte.
fn unpack(codes: &[u8], absmax: f32, mut to: &mut [f32]) {
    let mut codes = &codes[..to.len().div_ceil(2)];
    #[cfg(target_arch = "x86_64")]
    if Simd::current().has_avx2() {
        let done = super::avx2::unpack_nf4(codes, absmax, to);
        (codes, to) = (&codes[done / 2..], &mut to[done..]);
    }
    let values = VALUES.map(|value| value * absmax);
    for (to, code) in to.chunks_mut(2).zip(codes) {
        to[0] = values[usize::from(code >> 4)];
        if let Some(second) = to.get_mut(1) {
            *second = values[usize::from(code & 0xf)];
        }
    }
}
