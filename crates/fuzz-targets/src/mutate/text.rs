//! Changes of texts, of what is written in lines, and of keys with values.

use super::bytes;
use crate::random::Random;

/// What means something to some reader of texts: marks, separators, keys, tags, and characters that are handled by themselves.
const PIECES: [&str; 44] = [
    "\n",
    "\r",
    "\r\n",
    "\t",
    ",",
    ";",
    "|",
    "\"",
    "\"\"",
    "'",
    "\0",
    " ",
    "\u{feff}",
    "\u{a0}",
    "\u{2028}",
    "\u{202e}",
    "\u{1b}[2J",
    "\u{7f}",
    "é",
    "e\u{301}",
    "\u{1f469}\u{200d}\u{1f52c}",
    "\u{10ffff}",
    "{",
    "}",
    "[",
    "]",
    "[[",
    "\\",
    "/../",
    "B-PER",
    "I-",
    "O",
    "-DOCSTART-",
    "sep=;",
    "#",
    "=",
    "true",
    "inf",
    "-1",
    "18446744073709551616",
    "0.1",
    "(a+)+$",
    "(?=.*)*",
    ".*.*.*=.*",
];

pub(super) fn changed(input: Vec<u8>, other: &[u8], random: &mut Random) -> Vec<u8> {
    match random.below(10) {
        0 | 1 => lines(&input, other, random),
        2 => bytes::changed(input, other, random),
        3 => repeated(input, random),
        4 if random.one_in(4) => utf16(&input, random),
        5 => value(input, random),
        _ => {
            let piece = random.of(&PIECES).repeat(if random.one_in(6) { random.count(3000) } else { 1 });
            with(input, piece.as_bytes(), random)
        }
    }
}

/// A piece put in, mostly where something begins or ends.
pub(super) fn with(mut input: Vec<u8>, piece: &[u8], random: &mut Random) -> Vec<u8> {
    let is_edge = |byte: &u8| !byte.is_ascii_alphanumeric();
    let edges: Vec<usize> = input.iter().enumerate().filter(|(_, byte)| is_edge(byte)).map(|(at, _)| at).collect();
    let at = match edges.is_empty() || random.one_in(4) {
        true => random.below(input.len() + 1),
        false => *random.of(&edges) + random.below(2),
    };
    drop(input.splice(at..at, piece.iter().copied()));
    input
}

/// Part of it again and again.
fn repeated(mut input: Vec<u8>, random: &mut Random) -> Vec<u8> {
    let range = random.range(input.len());
    let times = random.count(2000).min((1 << 19) / range.len().max(1));
    let part = input[range.clone()].repeat(times);
    drop(input.splice(range, part));
    input
}

fn lines(input: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let mut lines: Vec<&[u8]> = input.split(|byte| *byte == b'\n').collect();
    let at = random.below(lines.len());
    match random.below(4) {
        0 => drop(lines.remove(at)),
        1 => lines.insert(at, lines[random.below(lines.len())]),
        2 => {
            let swapped = random.below(lines.len());
            lines.swap(at, swapped);
        }
        _ => {
            let others: Vec<&[u8]> = other.split(|byte| *byte == b'\n').collect();
            lines.insert(at, others[random.below(others.len())]);
        }
    }
    lines.join(&b'\n')
}

/// What stands after a `=` in its line, as in TOML.
fn value(mut input: Vec<u8>, random: &mut Random) -> Vec<u8> {
    let places: Vec<usize> =
        input.iter().enumerate().filter(|(_, byte)| **byte == b'=').map(|(at, _)| at + 1).collect();
    if places.is_empty() {
        return bytes::changed(input, b"", random);
    }
    let at = *random.of(&places);
    let end = input[at..].iter().position(|byte| *byte == b'\n').map_or(input.len(), |length| at + length);
    let deep = ["[".repeat(random.count(2000)), "{a=".repeat(random.count(2000))];
    let values = [
        " 0",
        " -1",
        " 1e400",
        " nan",
        " \"\"",
        " \"\\u0000\"",
        " []",
        " {}",
        " true",
        " 9223372036854775807",
        " 99999999999999999999",
        " 1979-05-27",
        " '''",
        " [1, \"a\"]",
        &deep[0],
        &deep[1],
    ];
    let value = random.of(&values).as_bytes().to_vec();
    drop(input.splice(at..end, value));
    input
}

fn utf16(input: &[u8], random: &mut Random) -> Vec<u8> {
    let text = String::from_utf8_lossy(input);
    let is_little = random.one_in(2);
    let units = std::iter::once(0xfeff).filter(|_| is_little).chain(text.encode_utf16());
    units.flat_map(|unit| if is_little { unit.to_le_bytes() } else { unit.to_be_bytes() }).collect()
}
