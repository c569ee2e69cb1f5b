//! Texts as UTF-8, whatever Unicode form their files have: spreadsheets and Windows' shells write byte order marks and
//! UTF-16. Encodings that say nothing of themselves are not guessed, as a wrong guess is a wrong text.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, BufRead, BufReader, Cursor, Read};

use super::{Reader, Source};
use crate::Error;

/// The bytes as UTF-8 without a byte order mark.
pub(super) fn decoded(mut reader: Reader, source: &Source) -> Result<Reader, Error> {
    let mut start = Vec::with_capacity(4);
    reader.by_ref().take(4).read_to_end(&mut start).map_err(|error| source.read_error(error))?;
    let (mark, order) = match start[..] {
        [0xff, 0xfe, 0, 0] | [0, 0, 0xfe, 0xff] => return Err(Error::Utf32 { file: source.file.clone() }),
        [0xef, 0xbb, 0xbf, ..] => (3, None),
        [0xff, 0xfe, ..] => (2, Some(Order::Little)),
        [0xfe, 0xff, ..] => (2, Some(Order::Big)),
        // No text has a zero for every second byte; UTF-16 of a header without a mark does.
        [1..=255, 0, 1..=255, 0] => (0, Some(Order::Little)),
        [0, 1..=255, 0, 1..=255] => (0, Some(Order::Big)),
        _ => (0, None),
    };
    start.drain(..mark);
    let bytes = Cursor::new(start).chain(reader);
    Ok(match order {
        None => Box::new(bytes),
        Some(order) => {
            Box::new(BufReader::new(Utf16 { bytes, order, decoded: VecDeque::new(), line: 1, failed: None }))
        }
    })
}

#[derive(Debug, Clone, Copy)]
enum Order {
    Little,
    Big,
}

/// Reads UTF-16 as UTF-8.
struct Utf16<R> {
    bytes: R,
    order: Order,
    /// UTF-8 that did not fit into the reader's buffer.
    decoded: VecDeque<u8>,
    line: usize,
    /// What ended the reading, until all before it is handed on.
    failed: Option<io::Error>,
}

impl<R: BufRead> Utf16<R> {
    /// `None` at the end.
    fn unit(&mut self) -> io::Result<Option<u16>> {
        let mut unit = [0; 2];
        let mut length = 0;
        while length < 2 {
            match self.bytes.read(&mut unit[length..])? {
                0 if length == 0 => return Ok(None),
                0 => return Err(self.broken()),
                read => length += read,
            }
        }
        Ok(Some(match self.order {
            Order::Little => u16::from_le_bytes(unit),
            Order::Big => u16::from_be_bytes(unit),
        }))
    }

    fn character(&mut self) -> io::Result<Option<char>> {
        let Some(first) = self.unit()? else { return Ok(None) };
        let is_high = (0xd800..0xdc00).contains(&first);
        let second = if is_high { self.unit()? } else { None };
        let units = [Some(first), second].into_iter().flatten();
        match char::decode_utf16(units).next() {
            Some(Ok(character)) => Ok(Some(character)),
            _ => Err(self.broken()),
        }
    }

    fn broken(&self) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, BrokenUtf16 { line: self.line })
    }
}

impl<R: BufRead> Read for Utf16<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.decoded.len() < buffer.len() && self.failed.is_none() {
            match self.character() {
                Ok(Some(character)) => {
                    self.line += usize::from(character == '\n');
                    self.decoded.extend(character.encode_utf8(&mut [0; 4]).bytes());
                }
                Ok(None) => break,
                Err(error) => self.failed = Some(error),
            }
        }
        if self.decoded.is_empty()
            && let Some(error) = self.failed.take()
        {
            return Err(error);
        }
        self.decoded.read(buffer)
    }
}

/// Half a character, or half of one of its units.
#[derive(Debug)]
pub(super) struct BrokenUtf16 {
    pub(super) line: usize,
}

impl fmt::Display for BrokenUtf16 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not valid UTF-16 in line {}", self.line)
    }
}

impl std::error::Error for BrokenUtf16 {}
