//! The sizes that a Parquet file gives of itself, before the reader believes them: how deep and how wide its schema is, and what
//! its pages unpack to. The reader makes room for a page, and goes into a schema, as the file says.
//!
//! Metadata and the headers of pages are structs in Thrift's compact protocol
//! (<https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md>), of which only the fields that matter
//! here are read.

use std::io::{self, Read, Seek, SeekFrom};

use ::parquet::basic::Compression;
use ::parquet::file::metadata::ParquetMetaData;
use brotli::Decompressor;

use crate::guard::quietly;
use crate::limits::{DEEPEST_SCHEMA, MOST_COLUMNS, UNPACKED_PER_BYTE, unpacked_of};

/// Bytes of the header of a page, with the statistics in it.
const LONGEST_HEADER: usize = 1 << 20;
/// Of most of them.
const SHORT_HEADER: usize = 256;
/// Bytes where headers should be.
const MOST_OTHERS: usize = 16 << 20;
/// Structs in structs.
const DEEPEST: usize = 32;

/// What is wrong with the sizes.
pub(super) type Checked = Result<(), String>;

/// Of the whole file, whose last eight bytes say where its metadata begins. What cannot be made out is left to the reader.
pub(super) fn check_schema(mut file: impl Read + Seek) -> io::Result<Checked> {
    let size = file.seek(SeekFrom::End(0))?;
    let Some(end) = size.checked_sub(8) else { return Ok(Ok(())) };
    file.seek(SeekFrom::Start(end))?;
    let mut length = [0; 4];
    file.read_exact(&mut length)?;
    let length = u64::from(u32::from_le_bytes(length));
    let Some(start) = end.checked_sub(length) else { return Ok(Ok(())) };
    file.seek(SeekFrom::Start(start))?;
    let mut footer = Vec::new();
    file.take(length).read_to_end(&mut footer)?;
    let mut fields = Vec::new();
    let _ = Compact(&footer).structure(&mut |number, kind, rest| match (number, kind) {
        // FileMetaData.schema: elements in depth-first order, each with the number of its children.
        (2, LIST) => {
            let (count, _) = rest.list()?;
            for _ in 0..count {
                let mut children = 0;
                rest.structure(&mut |number, kind, rest| match (number, kind) {
                    (5, I32) => rest.number().map(|number| children = number),
                    (_, kind) => rest.skip(kind, 0),
                })?;
                fields.push(children);
            }
            // Nothing behind it is of interest.
            None
        }
        (_, kind) => rest.skip(kind, 0),
    });
    Ok(check_fields(&fields))
}

fn check_fields(children: &[i64]) -> Checked {
    if children.len() > MOST_COLUMNS {
        return Err(format!("its schema has more than {MOST_COLUMNS} fields"));
    }
    // The fields that are still to come at each level.
    let mut open: Vec<i64> = Vec::new();
    for count in children {
        open.iter_mut().rev().take(1).for_each(|left| *left -= 1);
        if *count > 0 {
            open.push(*count);
        }
        if open.len() > DEEPEST_SCHEMA {
            return Err(format!("its schema is nested more than {DEEPEST_SCHEMA} deep"));
        }
        while open.last() == Some(&0) {
            open.pop();
        }
    }
    Ok(())
}

/// Of all pages, of a file of `size` bytes.
pub(super) fn check_pages(mut file: impl Read + Seek, size: u64, metadata: &ParquetMetaData) -> io::Result<Checked> {
    let too_much = || Err(format!("its pages unpack to more than {UNPACKED_PER_BYTE} times the file"));
    let (most, mut sum) = (unpacked_of(size), 0_u64);
    // Bytes of headers, since columns may name the same ones and pages may be empty; and of what is none.
    let (mut headers, mut others) = (0_u64, 0);
    let chunks = metadata.row_groups().iter().flat_map(|group| group.columns());
    for chunk in chunks {
        // As the reader has it, which asserts that neither is negative.
        let Ok((mut at, length)) = quietly(|| chunk.byte_range()) else {
            return Ok(Err("a column has a negative place".to_owned()));
        };
        let end = at.saturating_add(length);
        while at < end && at < size {
            file.seek(SeekFrom::Start(at))?;
            let (header, length) = page_header(&mut file)?;
            let Some(header) = header else {
                // The reader says what is wrong with it.
                others += length;
                match others > MOST_OTHERS {
                    true => return Ok(Err("its columns have no pages".to_owned())),
                    false => break,
                }
            };
            headers = headers.saturating_add(length as u64);
            if headers > size {
                return Ok(Err("its columns have the same pages".to_owned()));
            }
            let (Ok(unpacked), Ok(packed)) = (u64::try_from(header.unpacked), u64::try_from(header.packed)) else {
                return Ok(Err("a page has a negative size".to_owned()));
            };
            // A place is made for each value of a dictionary, which has a byte at least.
            if header.dictionary_values > unpacked as i64 {
                return Ok(Err("a dictionary has more values than bytes".to_owned()));
            }
            sum = sum.saturating_add(unpacked);
            if sum > most {
                return Ok(too_much());
            }
            at = at.saturating_add(length as u64);
            if matches!(chunk.compression(), Compression::BROTLI(_)) && header.is_compressed {
                let levels = header.levels.min(packed);
                file.seek(SeekFrom::Start(at.saturating_add(levels)))?;
                let most = unpacked.saturating_sub(levels);
                if unpacks_to_more(file.by_ref().take(packed - levels), most) {
                    return Ok(Err("a page unpacks to more than its header says".to_owned()));
                }
            }
            at = at.saturating_add(packed);
        }
    }
    Ok(Ok(()))
}

/// Whether a page in Brotli does, piece by piece: the reader unpacks it as a whole before it looks. What is no Brotli it refuses.
fn unpacks_to_more(page: impl Read, most: u64) -> bool {
    let unpacked = io::copy(&mut Decompressor::new(page, 4096).take(most.saturating_add(1)), &mut io::sink());
    unpacked.is_ok_and(|unpacked| unpacked > most)
}

/// The header that begins here with its length, or how much was read of what is none.
fn page_header(file: &mut impl Read) -> io::Result<(Option<Page>, usize)> {
    let mut bytes = Vec::new();
    let mut most = SHORT_HEADER;
    loop {
        file.by_ref().take((most - bytes.len()) as u64).read_to_end(&mut bytes)?;
        if let Some((page, length)) = page(&bytes) {
            return Ok((Some(page), length));
        }
        if bytes.len() < most || most >= LONGEST_HEADER {
            return Ok((None, bytes.len()));
        }
        most *= 2;
    }
}

struct Page {
    unpacked: i64,
    packed: i64,
    dictionary_values: i64,
    /// Bytes of levels that are not compressed with the values, in pages of the second version, which says whether these are.
    levels: u64,
    is_compressed: bool,
}

/// With the length of its header.
fn page(bytes: &[u8]) -> Option<(Page, usize)> {
    let (mut unpacked, mut packed, mut dictionary_values) = (None, None, 0);
    let (mut levels, mut is_compressed) = (0_u64, true);
    let mut rest = Compact(bytes);
    rest.structure(&mut |number, kind, rest| match (number, kind) {
        (2, I32) => rest.number().map(|number| unpacked = Some(number)),
        (3, I32) => rest.number().map(|number| packed = Some(number)),
        (7, STRUCT) => rest.structure(&mut |number, kind, rest| match (number, kind) {
            (1, I32) => rest.number().map(|number| dictionary_values = number),
            (_, kind) => rest.skip(kind, 0),
        }),
        // DataPageHeaderV2
        (8, STRUCT) => rest.structure(&mut |number, kind, rest| match (number, kind) {
            (5 | 6, I32) => rest.number().map(|number| levels += u64::try_from(number).unwrap_or(0)),
            (7, FALSE) => {
                is_compressed = false;
                Some(())
            }
            (_, kind) => rest.skip(kind, 0),
        }),
        (_, kind) => rest.skip(kind, 0),
    })?;
    let page = Page { unpacked: unpacked?, packed: packed?, dictionary_values, levels, is_compressed };
    Some((page, bytes.len() - rest.0.len()))
}

/// Of a boolean in a struct the type is the value.
const FALSE: u8 = 2;
const I32: u8 = 5;
const LIST: u8 = 9;
const STRUCT: u8 = 12;

/// What is left of a struct.
struct Compact<'a>(&'a [u8]);

impl Compact<'_> {
    /// Calls `field` with the number and the type of each field, which it has to read or to skip.
    fn structure(&mut self, field: &mut dyn FnMut(i64, u8, &mut Self) -> Option<()>) -> Option<()> {
        let mut number = 0;
        loop {
            let head = self.byte()?;
            if head == 0 {
                return Some(());
            }
            number = match head >> 4 {
                0 => self.number()?,
                step => number + i64::from(step),
            };
            field(number, head & 0xf, self)?;
        }
    }

    fn skip(&mut self, kind: u8, depth: usize) -> Option<()> {
        if depth > DEEPEST {
            return None;
        }
        match kind {
            // Booleans are their type.
            1 | 2 => Some(()),
            3 => self.byte().map(drop),
            4..=6 => self.varint().map(drop),
            7 => self.bytes(8),
            8 => {
                let length = self.varint()?;
                self.bytes(usize::try_from(length).ok()?)
            }
            LIST | 10 => {
                let (count, kind) = self.list()?;
                // In a list booleans have a byte.
                let kind = if matches!(kind, 1 | 2) { 3 } else { kind };
                (0..count).try_for_each(|_| self.skip(kind, depth + 1))
            }
            STRUCT => self.structure(&mut |_, kind, rest| rest.skip(kind, depth + 1)),
            _ => None,
        }
    }

    /// The number and the type of its items, each of which has a byte at least.
    fn list(&mut self) -> Option<(usize, u8)> {
        let head = self.byte()?;
        let count = match head >> 4 {
            15 => usize::try_from(self.varint()?).ok()?,
            count => usize::from(count),
        };
        (count <= self.0.len()).then_some((count, head & 0xf))
    }

    /// Zigzag.
    fn number(&mut self) -> Option<i64> {
        let number = self.varint()?;
        Some((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    fn varint(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    fn bytes(&mut self, count: usize) -> Option<()> {
        self.0 = self.0.get(count..)?;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deep_schema_is_found_and_a_wide_one_is_none() {
        assert_eq!(check_fields(&[2, 0, 1, 0]), Ok(()));
        let chain = [vec![1; DEEPEST_SCHEMA], vec![0]].concat();
        assert_eq!(check_fields(&chain), Ok(()));
        let deeper = [vec![1; DEEPEST_SCHEMA + 1], vec![0]].concat();
        assert_eq!(check_fields(&deeper), Err("its schema is nested more than 64 deep".to_owned()));
        // Lists beside each other, each three deep.
        let lists = [vec![1000], [1, 1, 0].repeat(1000)].concat();
        assert_eq!(check_fields(&lists), Ok(()));
    }

    #[test]
    fn the_header_of_a_page_is_read_with_what_stands_beside_its_sizes() {
        // 1: i32 0; 2: i32 4000; 3: i32 -1; 5: a struct with a list of booleans; end.
        let header = [0x15, 0x00, 0x15, 0xc0, 0x3e, 0x15, 0x01, 0x2c, 0x19, 0x21, 0x01, 0x02, 0x00, 0x00, 0x77];
        let (page, length) = page(&header).unwrap();
        assert_eq!((length, page.unpacked, page.packed), (14, 4000, -1));
        assert!(super::page(&header[..10]).is_none());
    }

    #[test]
    fn a_long_header_is_read_and_what_is_none_counts() {
        // 1: i32 0; 2: i32 4000; 3: i32 5; 4: 100,000 bytes; end.
        let long =
            [&[0x15, 0x00, 0x15, 0xc0, 0x3e, 0x15, 0x0a, 0x18, 0xa0, 0x8d, 0x06][..], &[1; 100_000], &[0; 60_000]];
        let (page, length) = page_header(&mut long.concat().as_slice()).unwrap();
        assert_eq!((page.map(|page| page.packed), length), (Some(5), 100_012));
        for (size, read) in [(100, 100), (300_000, 300_000), (2 << 20, LONGEST_HEADER)] {
            let (page, length) = page_header(&mut vec![0x15; size].as_slice()).unwrap();
            assert!(page.is_none() && length == read, "{size}: {length}");
        }
    }
}
