//! Changes of protobuf messages, as SentencePiece's files are: fields lost, repeated and exchanged, their numbers, types,
//! lengths and values. <https://protobuf.dev/programming-guides/encoding>

use std::ops::Range;

use super::bytes;
use crate::random::Random;

/// A field of a message.
struct Field {
    key: u64,
    whole: Range<usize>,
    /// What follows on key and length.
    payload: Range<usize>,
}

pub(super) fn changed(input: Vec<u8>, random: &mut Random) -> Vec<u8> {
    let fields = fields(&input);
    if fields.is_empty() {
        return bytes::changed(input, b"", random);
    }
    // The settings stand after thousands of pieces.
    let field = match random.one_in(2) {
        true => &fields[fields.len() - 1 - random.below(fields.len().min(3))],
        false => random.of(&fields),
    };
    let is_message = field.key & 7 == 2;
    let part = |range: &Range<usize>| input[range.clone()].to_vec();
    let made = match random.below(7) {
        0 => Vec::new(),
        1 => part(&field.whole).repeat(1 + random.count(200)),
        2 => part(&random.of(&fields).whole),
        3 => [varint(*random.of(&[field.key ^ 1, field.key + 8, 0, 7, u64::MAX])), part(&field.payload)].concat(),
        4 if is_message => {
            let length = *random.of(&[0, 1, field.payload.len() as u64 + 1, 1 << 31, u64::MAX]);
            [varint(field.key), varint(length), part(&field.payload)].concat()
        }
        _ if is_message => {
            let inner = match self::fields(&part(&field.payload)).is_empty() || random.one_in(3) {
                true => bytes::changed(part(&field.payload), b"", random),
                false => changed(part(&field.payload), random),
            };
            [varint(field.key), varint(inner.len() as u64), inner].concat()
        }
        _ => {
            let number = *random.of(&[0, 1, 2, 3, 4, 5, 6, 1 << 31, u64::MAX, i64::MAX as u64]);
            [varint(field.key), varint(number)].concat()
        }
    };
    [&input[..field.whole.start], &made, &input[field.whole.end..]].concat()
}

/// Up to what is none.
fn fields(message: &[u8]) -> Vec<Field> {
    let mut fields = Vec::new();
    let mut at = 0;
    while let Some((field, end)) = field(message, at) {
        fields.push(field);
        at = end;
    }
    fields
}

fn field(message: &[u8], start: usize) -> Option<(Field, usize)> {
    let (key, at) = read(message, start)?;
    let (from, end) = match key & 7 {
        0 => (at, read(message, at)?.1),
        1 => (at, at + 8),
        2 => {
            let (length, from) = read(message, at)?;
            (from, from.checked_add(usize::try_from(length).ok()?)?)
        }
        5 => (at, at + 4),
        _ => return None,
    };
    (end <= message.len()).then_some((Field { key, whole: start..end, payload: from..end }, end))
}

fn read(message: &[u8], mut at: usize) -> Option<(u64, usize)> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = *message.get(at)?;
        at += 1;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((number, at));
        }
    }
    None
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}
