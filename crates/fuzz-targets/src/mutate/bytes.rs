//! Changes of bytes: bits, numbers at the ends of their ranges, parts lost, repeated and exchanged.

use crate::random::Random;

const NUMBERS: [u64; 20] = [
    0,
    1,
    2,
    0x7f,
    0x80,
    0xff,
    0x100,
    0x7fff,
    0x8000,
    0xffff,
    0x1_0000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    1 << 40,
    i64::MAX as u64,
    1 << 63,
    u64::MAX - 7,
    u64::MAX,
];

pub(super) fn changed(mut input: Vec<u8>, other: &[u8], random: &mut Random) -> Vec<u8> {
    if input.is_empty() {
        return random.next().to_le_bytes()[..random.below(9)].to_vec();
    }
    let at = random.below(input.len());
    match random.below(9) {
        0 => input[at] ^= 1 << random.below(8),
        1 => input[at] = *random.of(&[0, 1, 0x0a, 0x22, 0x5b, 0x7b, 0x7f, 0x80, 0xc0, 0xff]),
        2 => number(&mut input, at, random),
        3 => input.truncate(at),
        4 => drop(input.drain(random.range(input.len()))),
        5 => {
            let part = input[random.range(input.len())].to_vec();
            drop(input.splice(at..at, part));
        }
        6 => {
            let part = other[random.range(other.len())].to_vec();
            let end = (at + random.below(2) * part.len()).min(input.len());
            drop(input.splice(at..end, part));
        }
        7 => {
            let part = [*random.of(&[0, b' ', b'[', b'a', 0xff])].repeat(random.count(1 << 14));
            drop(input.splice(at..at, part));
        }
        _ => {
            let other = random.below(input.len());
            input.swap(at, other);
        }
    }
    input
}

/// A number of some width in either order of bytes, at the end of its range, or a little off.
pub(super) fn number(input: &mut [u8], at: usize, random: &mut Random) {
    let width = (*random.of(&[1, 2, 4, 8])).min(input.len() - at);
    let place = &mut input[at..at + width];
    let mut bytes = [0; 8];
    bytes[..width].copy_from_slice(place);
    let there = u64::from_le_bytes(bytes);
    let number = match random.below(4) {
        0 => there.wrapping_add(1),
        1 => there.wrapping_sub(1),
        _ => *random.of(&NUMBERS),
    };
    place.copy_from_slice(&number.to_le_bytes()[..width]);
    if random.one_in(4) {
        place.reverse();
    }
}
