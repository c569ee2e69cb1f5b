//! Real small files: those of the repository, and what is made here where it has none.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use crate::Archive;

/// The repository's root.
pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The directory of a case of `tests/fixtures/parity`.
pub(crate) fn case(name: &str) -> PathBuf {
    repository().join("tests/fixtures/parity").join(name)
}

/// The contents of a file of the repository.
///
/// # Panics
/// If there is none.
pub(crate) fn file(path: &str) -> Vec<u8> {
    let path = repository().join(path);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The first bytes of a file, up to the end of a line.
pub(crate) fn beginning(path: &str, bytes: usize) -> Vec<u8> {
    let mut file = file(path);
    let end = file.iter().take(bytes).rposition(|byte| *byte == b'\n').map_or(file.len(), |end| end + 1);
    file.truncate(end);
    file
}

/// Files of the directories of models, with the name of the case whose weights go with them under `case`.
pub(crate) fn models(cases: &[&str], names: &[&str]) -> Vec<Vec<u8>> {
    archives(cases, "model", names)
}

/// As `models`, of adapters, with the base's case.
pub(crate) fn adapters(cases: &[&str]) -> Vec<Vec<u8>> {
    archives(cases, "adapter", &["adapter_config.json", "adapter_model.safetensors"])
}

fn archives(cases: &[&str], part: &str, names: &[&str]) -> Vec<Vec<u8>> {
    let archive = |name: &&str| {
        let mut archive = Archive::read(&case(name).join(part), names);
        archive.0.insert(0, ("case".to_owned(), name.as_bytes().to_vec()));
        archive.bytes()
    };
    cases.iter().map(archive).collect()
}

/// Parquet files of the kinds of columns that data sets have, in several compressions.
///
/// # Panics
/// If the crate that writes them cannot.
pub(crate) fn parquet_files() -> Vec<Vec<u8>> {
    let kinds = [Compression::UNCOMPRESSED, Compression::SNAPPY, Compression::ZSTD(ZstdLevel::default())];
    kinds.into_iter().map(|compression| written(compression).expect("written into memory")).collect()
}

fn written(compression: Compression) -> parquet::errors::Result<Vec<u8>> {
    let schema = "message m { required binary text (UTF8); optional int64 label; required double score; \
                  optional group tags (LIST) { repeated group list { optional binary element (UTF8); } } }";
    let properties = WriterProperties::builder().set_compression(compression).build();
    let mut writer =
        SerializedFileWriter::new(Vec::new(), Arc::new(parse_message_type(schema)?), Arc::new(properties))?;
    let texts = |texts: &[&str]| texts.iter().map(|text| ByteArray::from(*text)).collect::<Vec<_>>();
    for _ in 0..2 {
        let mut group = writer.next_row_group()?;
        let mut number = 0;
        while let Some(mut column) = group.next_column()? {
            match number {
                0 => column.typed::<ByteArrayType>().write_batch(&texts(&["a fine film", "é", ""]), None, None)?,
                1 => column.typed::<Int64Type>().write_batch(&[0, 1], Some(&[1, 0, 1]), None)?,
                2 => column.typed::<DoubleType>().write_batch(&[0.5, f64::NAN, -1e300], None, None)?,
                _ => column.typed::<ByteArrayType>().write_batch(
                    &texts(&["B-PER", "O"]),
                    Some(&[3, 3, 0, 1]),
                    Some(&[0, 1, 0, 0]),
                )?,
            };
            column.close()?;
            number += 1;
        }
        group.close()?;
    }
    writer.into_inner()
}
