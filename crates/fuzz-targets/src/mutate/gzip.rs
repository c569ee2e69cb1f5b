//! Changes of compressed files: of what is compressed, of the stream, and streams that grow.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

use super::{Form, bytes};
use crate::random::Random;

/// Unpacked.
const MOST: u64 = 1 << 20;

pub(super) fn changed(inner: Form, input: Vec<u8>, other: &[u8], random: &mut Random) -> Vec<u8> {
    let unpacked = |packed: &[u8]| {
        let mut text = Vec::new();
        MultiGzDecoder::new(packed).take(MOST).read_to_end(&mut text).ok().map(|_| text)
    };
    match random.below(8) {
        0 | 1 => bytes::changed(input, other, random),
        2 => [input, other.to_vec()].concat(),
        3 => {
            // As much of one character as a small file can hold.
            let run = vec![*random.of(&[0, b'a', b'\n', b'"', b'[']); 1 << (10 + random.below(14))];
            let text = [unpacked(&input).unwrap_or_default(), run].concat();
            packed(&text)
        }
        _ => match unpacked(&input) {
            Some(text) => packed(&super::changed(inner, text, &unpacked(other).unwrap_or_default(), random)),
            None => bytes::changed(input, other, random),
        },
    }
}

pub(crate) fn packed(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    // Into memory, which takes everything.
    let written = encoder.write_all(text).and_then(|()| encoder.finish());
    written.unwrap_or_default()
}
