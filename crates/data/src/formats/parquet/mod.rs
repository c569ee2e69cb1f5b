//! Parquet: columns in row groups, read page by page. This file opens one and walks its rows; `values.rs` turns what
//! stands in them into JSON values, `classes.rs` knows the class names that Hugging Face data sets write beside them,
//! [`guard`] keeps the panics of the reader in. The pages of a column that nobody asks for are unpacked all the same.

mod classes;
mod sizes;
mod values;

use std::collections::HashSet;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::path::Path;

use ::parquet::basic::{Compression, ConvertedType};
use ::parquet::errors::ParquetError;
use ::parquet::file::metadata::ParquetMetaData;
use ::parquet::file::reader::{FileReader, SerializedFileReader};
use ::parquet::record::Field;
use ::parquet::record::reader::RowIter;
use ::parquet::schema::types::TypePtr;
use bytes::Bytes;
use serde_json::Value;

use super::{Records, Source};
use crate::guard;
use crate::limits;
use crate::record::Record;
use crate::{Error, Place};

use classes::Classes;
use values::Unreadable;

pub(super) fn records(source: Source) -> Result<Records, Error> {
    let Opened { reader, size } = open(&source)?;
    let metadata = reader.metadata();
    let columns = columns(&source.file, metadata)?;
    let file_metadata = metadata.file_metadata();
    let classes = classes::read(file_metadata.key_value_metadata().map_or(&[], Vec::as_slice), &columns);
    let rows = RowIter::from_file_into(reader);
    Ok(Box::new(Rows { source, columns, classes, rows, row: 0, left: limits::unpacked_of(size) }))
}

/// A Parquet file begins with these bytes, and ends with them or, where its footer is encrypted, with [`ENCRYPTED`].
const MAGIC: [u8; 4] = *b"PAR1";
const ENCRYPTED: [u8; 4] = *b"PARE";

/// The footer stands at the end and says where the rest is: a compressed file is unpacked into memory first, and
/// so is standard input.
fn open(source: &Source) -> Result<Opened, Error> {
    let file = &source.file;
    if source.gzip || file == Path::new("-") {
        let bytes = source.read()?;
        check_magic(file, bytes.first_chunk(), bytes.last_chunk())?;
        let bytes = Bytes::from(bytes);
        return whole(source, Cursor::new(bytes.clone()), || SerializedFileReader::new(bytes));
    }
    let mut packed = source.open_packed()?;
    let (mut first, mut last) = ([0; 4], [0; 4]);
    let mut ends = || -> std::io::Result<bool> {
        if packed.metadata()?.len() < 4 {
            return Ok(false);
        }
        packed.read_exact(&mut first)?;
        packed.seek(SeekFrom::End(-4))?;
        packed.read_exact(&mut last)?;
        Ok(true)
    };
    let long_enough = ends().map_err(|error| source.read_error(error))?;
    check_magic(file, long_enough.then_some(&first), long_enough.then_some(&last))?;
    let beside = packed.try_clone().map_err(|error| source.read_error(error))?;
    whole(source, beside, || SerializedFileReader::new(packed))
}

struct Opened {
    reader: Box<dyn FileReader>,
    /// Of the file, in bytes.
    size: u64,
}

/// The reader's own words for these files are about magic numbers.
fn check_magic(file: &Path, first: Option<&[u8; 4]>, last: Option<&[u8; 4]>) -> Result<(), Error> {
    let (first, last) = (first.copied().unwrap_or_default(), last.copied().unwrap_or_default());
    if last == ENCRYPTED || first == ENCRYPTED {
        return Err(Error::EncryptedParquet { file: file.to_owned() });
    }
    if first == MAGIC && last == MAGIC {
        return Ok(());
    }
    let help = match first {
        MAGIC => "its end is missing: the copy or download is incomplete, fetch the file again",
        [0x1f, 0x8b, ..] => "the file is compressed: give it a name that ends in .gz",
        _ if first == *b"vers" => {
            "it may be the pointer that Git LFS leaves for a file: `git lfs pull` fetches the file"
        }
        _ => "its name says Parquet, its content does not: fetch it again, or name it after what it holds",
    };
    Err(Error::NotParquet { file: file.to_owned(), help })
}

/// Opens the file once the sizes in it are known to be possible. `bytes` are those of the file.
fn whole<R: FileReader + 'static>(
    source: &Source,
    mut bytes: impl Read + Seek,
    open: impl FnOnce() -> Result<R, ParquetError>,
) -> Result<Opened, Error> {
    let file = &source.file;
    let checked = |checked: io::Result<sizes::Checked>| match checked {
        Ok(Ok(())) => Ok(()),
        Ok(Err(reason)) => Err(Error::ParquetSizes { file: file.clone(), reason }),
        Err(error) => Err(source.read_error(error)),
    };
    let size = bytes.seek(SeekFrom::End(0)).map_err(|error| source.read_error(error))?;
    checked(sizes::check_schema(&mut bytes))?;
    let reader = match guard::quietly(open) {
        Ok(Ok(reader)) => reader,
        Ok(Err(error)) => return Err(read_error(file, None, error)),
        Err(reason) => return Err(broken(file, None, &reason)),
    };
    checked(sizes::check_pages(&mut bytes, size, reader.metadata()))?;
    Ok(Opened { reader: Box::new(reader), size })
}

/// The top level of the schema, once everything in it is known to be readable.
fn columns(file: &Path, metadata: &ParquetMetaData) -> Result<Vec<TypePtr>, Error> {
    let schema = metadata.file_metadata().schema_descr();
    let columns = schema.root_schema().get_fields().to_vec();
    if columns.is_empty() {
        return Err(Error::Empty { file: file.to_owned() });
    }
    let mut seen = HashSet::new();
    if let Some(column) = columns.iter().find(|column| !seen.insert(column.name())) {
        return Err(Error::DuplicateColumn { file: file.to_owned(), column: column.name().to_owned() });
    }
    let unsupported = |column: String, what| Error::UnsupportedParquet { file: file.to_owned(), column, what };
    // An interval is months, days and milliseconds at once: the reader gives up on it.
    if let Some(column) = schema.columns().iter().find(|column| column.converted_type() == ConvertedType::INTERVAL) {
        return Err(unsupported(column.path().string(), "holds intervals"));
    }
    let mut chunks = metadata.row_groups().iter().flat_map(|group| group.columns());
    if let Some(chunk) = chunks.find(|chunk| chunk.compression() == Compression::LZO) {
        return Err(unsupported(chunk.column_path().string(), "is compressed with LZO"));
    }
    Ok(columns)
}

struct Rows {
    source: Source,
    columns: Vec<TypePtr>,
    /// Beside `columns`.
    classes: Vec<Option<Classes>>,
    rows: RowIter<'static>,
    /// The number of the last row read, from 1.
    row: usize,
    /// Bytes that further rows may hold.
    left: u64,
}

impl Iterator for Rows {
    type Item = Result<Record, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.row += 1;
        // Values are converted under the guard too: the reader's way of writing a decimal asserts.
        let next = guard::quietly(|| {
            self.rows.next().map(|row| Ok(row?.into_columns().into_iter().zip(&self.columns).map(cell).collect()))
        });
        match next {
            Ok(None) => None,
            Ok(Some(Ok(fields))) => Some(self.record(fields)),
            Ok(Some(Err(error))) => Some(Err(read_error(&self.source.file, Some(self.row), error))),
            Err(reason) => Some(Err(broken(&self.source.file, Some(self.row), &reason))),
        }
    }
}

type Cell = Result<(String, Value), (String, Unreadable)>;

fn cell(((name, field), column): ((String, Field), &TypePtr)) -> Cell {
    match values::value(field, column) {
        Ok(value) => Ok((name, value)),
        Err(unreadable) => Err((name, unreadable)),
    }
}

impl Rows {
    fn record(&mut self, cells: Vec<Cell>) -> Result<Record, Error> {
        let fields = cells.into_iter().collect::<Result<_, _>>().map_err(|(column, Unreadable(reason))| {
            Error::ParquetJson { place: Place::new(&self.source.file, self.row), column, reason }
        })?;
        let record = Record { line: self.row, fields };
        self.left = self
            .left
            .checked_sub(record.bytes() as u64)
            .ok_or_else(|| Error::ParquetRows { place: Place::new(&self.source.file, self.row) })?;
        self.named(record)
    }

    /// The record with names for the numbers of classes.
    fn named(&self, mut record: Record) -> Result<Record, Error> {
        for ((column, value), classes) in record.fields.iter_mut().zip(&self.classes) {
            if let Some(classes) = classes {
                classes.name(value).map_err(|number| Error::NoClassName {
                    place: Place::new(&self.source.file, self.row),
                    column: column.clone(),
                    number,
                    names: classes.list(),
                })?;
            }
        }
        Ok(record)
    }
}

/// An error of the operating system is passed on as such; anything else means that the file is not what it should be.
fn read_error(file: &Path, row: Option<usize>, error: ParquetError) -> Error {
    let text = match error {
        ParquetError::External(source) => match source.downcast::<std::io::Error>() {
            Ok(source) if source.raw_os_error().is_some() => {
                return Error::Read { file: file.to_owned(), source: *source };
            }
            Ok(source) => source.to_string(),
            Err(source) => source.to_string(),
        },
        ParquetError::General(text) | ParquetError::NYI(text) | ParquetError::EOF(text) => text,
        other => other.to_string(),
    };
    broken(file, row, &text)
}

fn broken(file: &Path, row: Option<usize>, reason: &str) -> Error {
    // This message of the reader holds all bytes of the text.
    let reason = match reason.starts_with("Error reading BYTE_ARRAY as String") {
        true => "a text is not valid UTF-8".to_owned(),
        false => first_line(reason),
    };
    let subject = row.map_or_else(|| crate::place::name(file), |row| Place::new(file, row).to_string());
    Error::BrokenParquet { subject, reason }
}

/// Some messages show a whole schema.
fn first_line(reason: &str) -> String {
    const SHOWN: usize = 120;
    let line = reason.trim().lines().next().unwrap_or_default();
    match line.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests;
