//! What a file may ask for, whatever stands in it: the limits of those who read data and tokenizers, in one place. A file that
//! comes to one of them is an error. Those of templates are in `jinja/limits.rs`; JSON is 127 deep at most, which serde_json sees
//! to; and a regular expression that backtracks a million times gives up, which fancy-regex does
//! (`tokenizer/checks.rs` makes an error of it for those of tokenizers).

use std::fmt;
use std::io::{self, Read};

/// Bytes of a line, or of a row of a table whose cells hold line breaks.
pub(crate) const LONGEST_ROW: usize = 64 << 20;
/// Rows of a file: several times as many as anybody keeps in one, and some 12 GB of what is remembered of them.
pub(crate) const MOST_ROWS: u64 = 200_000_000;
/// Rows of a compressed file and of a Parquet file, whatever its size, and for each of its bytes. Files of texts have a row for ten
/// bytes or more, lists of words one for four; a few short rows that repeat come to hundreds for a byte.
pub(crate) const PACKED_ROWS: u64 = 1_000_000;
const ROWS_PER_BYTE: u64 = 1;
/// Lines of a compressed file, likewise: blank ones, those within cells and the words of CoNLL are no rows.
pub(crate) const PACKED_LINES: u64 = 10_000_000;
pub(crate) const LINES_PER_BYTE: u64 = 10;
/// Columns of a table, and fields of a schema.
pub(crate) const MOST_COLUMNS: usize = 100_000;
/// Bytes of the name of a table's column, which each row has. Questions of a survey have some hundreds.
pub(crate) const LONGEST_NAME: usize = 2000;
/// Words of a CoNLL sentence, times its columns. Documents without blank lines have thousands.
pub(crate) const MOST_CELLS: usize = 200_000;
/// Columns of CoNLL: shared tasks have up to some tens.
pub(crate) const MOST_CONLL_COLUMNS: usize = 1000;
/// Fields within fields of a schema.
pub(crate) const DEEPEST_SCHEMA: usize = 64;
/// The numbers of tokens: a list with a place for each is made, whether or not there is a token.
pub(crate) const MOST_TOKENS: usize = 1 << 23;
/// Bytes of a token of a Unigram vocabulary, a tree as deep as its longest token, and of an added token.
pub(crate) const LONGEST_TOKEN: usize = 2048;
/// Bytes of all added tokens, each as often as it is named: the automaton that finds them takes a hundred for one. Gemma's 6,000 have
/// 80,000.
pub(crate) const LONGEST_ADDED: usize = 512 << 10;
/// Bytes of all regular expressions of a tokenizer but those that list texts: DeepSeek's, the longest known, have some 2,000.
pub(crate) const LONGEST_EXPRESSIONS: usize = 10_000;
/// Groups in them that begin with `(?`: each look-around among them costs microseconds at every character.
pub(crate) const MOST_GROUPS: usize = 50;
/// Parts of a tokenizer's normalizer, pre-tokenizer, post-processor or decoder: each goes through the whole text.
pub(crate) const MOST_PARTS: usize = 256;
/// Parts of a pre-tokenizer that write a text anew, each in up to twice the bytes: bytes as characters, marks for spaces.
pub(crate) const MOST_REWRITING: usize = 2;
/// Special tokens that a post-processor puts around a text, and pieces of its templates.
pub(crate) const MOST_SPECIAL: usize = 1000;
/// The bytes that a decoder makes of one.
pub(crate) const DECODED_PER_BYTE: usize = 64;
/// The tokens that end a text.
pub(crate) const MOST_ENDS: usize = 1000;
/// The bytes that a normalizer may make of a text, however short, and of each of its bytes: compatibility forms (NFKC) have up to 11.
/// The library keeps 16 bytes for each, in several copies.
const NORMALIZED: usize = 512 << 10;
const NORMALIZED_PER_BYTE: usize = 16;

pub(crate) fn normalized_of(text: usize) -> usize {
    text.saturating_mul(NORMALIZED_PER_BYTE).saturating_add(NORMALIZED)
}

/// What a compressed file, the pages of a Parquet file and the texts of its rows may come to, whatever the size of the file, and for
/// each of its bytes. Rows that begin with one long prompt compress a hundred times and more; deflate at most 1,032 times.
const UNPACKED: u64 = 256 << 20;
pub(crate) const UNPACKED_PER_BYTE: u64 = 1000;

pub(crate) fn unpacked_of(packed: u64) -> u64 {
    packed.saturating_mul(UNPACKED_PER_BYTE).saturating_add(UNPACKED)
}

pub(crate) fn rows_of(packed: u64) -> u64 {
    packed.saturating_mul(ROWS_PER_BYTE).saturating_add(PACKED_ROWS).min(MOST_ROWS)
}

fn lines_of(packed: u64) -> u64 {
    packed.saturating_mul(LINES_PER_BYTE).saturating_add(PACKED_LINES)
}

/// Of errors that pass through what reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exceeded {
    /// With the line in which the row begins.
    Row {
        line: usize,
    },
    Unpacked,
    UnpackedLines,
}

impl Exceeded {
    pub(crate) fn of(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref::<Self>().copied()
    }
}

impl fmt::Display for Exceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Row { line } => write!(f, "the row in line {line} is too long"),
            Self::Unpacked => f.write_str("it unpacks to too much"),
            Self::UnpackedLines => f.write_str("it unpacks to too many lines"),
        }
    }
}

impl std::error::Error for Exceeded {}

impl From<Exceeded> for io::Error {
    fn from(exceeded: Exceeded) -> Self {
        Self::new(io::ErrorKind::InvalidData, exceeded)
    }
}

/// Counts the packed bytes that are read.
pub(crate) struct Packed<R> {
    reader: R,
    read: u64,
}

impl<R> Packed<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self { reader, read: 0 }
    }
}

impl<R: Read> Read for Packed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.read += read as u64;
        Ok(read)
    }
}

/// What a decoder unpacks, as long as that is not too much for what it has read.
pub(crate) struct Unpacked<D, F> {
    decoder: D,
    packed: F,
    read: u64,
    /// Line feeds, and carriage returns, which end the lines of some tables alone.
    ends: [u64; 2],
}

impl<D, R, F: Fn(&D) -> &Packed<R>> Unpacked<D, F> {
    /// `packed` finds what the decoder reads.
    pub(crate) fn new(decoder: D, packed: F) -> Self {
        Self { decoder, packed, read: 0, ends: [0; 2] }
    }
}

impl<D: Read, R, F: Fn(&D) -> &Packed<R>> Read for Unpacked<D, F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.decoder.read(buffer)?;
        self.read += read as u64;
        for (count, end) in self.ends.iter_mut().zip([b'\n', b'\r']) {
            *count += buffer[..read].iter().filter(|byte| **byte == end).count() as u64;
        }
        let packed = (self.packed)(&self.decoder).read;
        if self.read > unpacked_of(packed) {
            return Err(Exceeded::Unpacked.into());
        }
        match self.ends.iter().all(|count| *count <= lines_of(packed)) {
            true => Ok(read),
            false => Err(Exceeded::UnpackedLines.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A decoder that has read 1,000 bytes.
    struct Endless(io::Repeat, Packed<io::Empty>);

    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read(buffer)
        }
    }

    #[test]
    fn what_unpacks_to_far_more_than_was_read_is_refused() {
        let endless = Endless(io::repeat(b'a'), Packed { reader: io::empty(), read: 1000 });
        let mut unpacked = Unpacked::new(endless, |decoder: &Endless| &decoder.1);
        let most = unpacked_of(1000);
        let mut within = (&mut unpacked).take(most);
        assert_eq!(io::copy(&mut within, &mut io::sink()).unwrap(), most);
        let error = unpacked.read(&mut [0; 1]).unwrap_err();
        assert_eq!(Exceeded::of(&error), Some(Exceeded::Unpacked));
    }

    #[test]
    fn what_unpacks_to_far_more_lines_than_was_read_is_refused() {
        for end in [b'\n', b'\r'] {
            let endless = Endless(io::repeat(end), Packed { reader: io::empty(), read: 1000 });
            let mut unpacked = Unpacked::new(endless, |decoder: &Endless| &decoder.1);
            let most = lines_of(1000);
            assert_eq!(most, 10_010_000);
            assert_eq!(io::copy(&mut (&mut unpacked).take(most), &mut io::sink()).unwrap(), most);
            let error = unpacked.read(&mut [0; 1]).unwrap_err();
            assert_eq!(Exceeded::of(&error), Some(Exceeded::UnpackedLines));
        }
    }

    #[test]
    fn rows_are_a_million_and_one_for_each_byte_of_a_packed_file() {
        assert_eq!([0, 5873, 1 << 40].map(rows_of), [1_000_000, 1_005_873, MOST_ROWS]);
    }
}
