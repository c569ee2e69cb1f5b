//! Changes of Parquet files: their footer, which says what is where, its length, and the headers of pages.

use super::bytes;
use crate::random::Random;

pub(super) fn changed(mut input: Vec<u8>, other: &[u8], random: &mut Random) -> Vec<u8> {
    let size = input.len();
    let Some(end) = size.checked_sub(8).filter(|end| *end > 4) else { return bytes::changed(input, other, random) };
    let length = input[end..end + 4].iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    let start = end.checked_sub(length).unwrap_or(end);
    match random.below(10) {
        0 => bytes::number(&mut input, end, random),
        // Pages: their headers lie before each, and most of a small file is headers.
        1..=3 => {
            let at = 4 + random.below(start.saturating_sub(4));
            input[at.min(end)] ^= 1 << random.below(8);
        }
        4 => {
            let at = 4 + random.below(start.saturating_sub(4));
            bytes::number(&mut input, at.min(end - 1), random);
        }
        // Thrift's compact form: numbers are varints, so that a longer one moves what follows, and the footer's length.
        5 => {
            let at = start + random.below(end - start);
            let made = [vec![0xff; 1 + random.below(8)], vec![random.next() as u8 & 0x7f]].concat();
            let footer = (end - start + made.len()) as u32;
            drop(input.splice(at..at, made));
            let place = input.len() - 8;
            input[place..place + 4].copy_from_slice(&footer.to_le_bytes());
        }
        6 => {
            let at = start + random.below(end - start);
            input[at] = *random.of(&[0, 1, 2, 0x0c, 0x15, 0x16, 0x19, 0x1c, 0x7f, 0x80, 0xff]);
        }
        _ => {
            let at = start + random.below(end - start);
            input[at] ^= 1 << random.below(8);
        }
    }
    input
}
