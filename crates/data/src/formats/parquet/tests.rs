//! Files written by the crate that reads them: that other writers agree was checked by hand.

use super::*;

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use ::parquet::basic::{Encoding, GzipLevel, ZstdLevel};
use ::parquet::data_type::{
    ByteArray, ByteArrayType, DoubleType, FixedLenByteArray, FixedLenByteArrayType, Int32Type, Int64Type,
};
use ::parquet::file::metadata::KeyValue;
use ::parquet::file::properties::{WriterProperties, WriterVersion};
use ::parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use ::parquet::schema::parser::parse_message_type;
use miette::Diagnostic;
use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::formats::records;
use crate::{Error, Record};

type Column<'a> = &'a dyn Fn(&mut SerializedColumnWriter<'_>);

/// A file of these columns, each written once per row group.
fn written(schema: &str, properties: WriterProperties, groups: &[&[Column<'_>]]) -> Vec<u8> {
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties)).unwrap();
    for columns in groups {
        let mut group = writer.next_row_group().unwrap();
        for column in *columns {
            let mut chunk = group.next_column().unwrap().unwrap();
            column(&mut chunk);
            chunk.close().unwrap();
        }
        group.close().unwrap();
    }
    writer.into_inner().unwrap()
}

/// Writes values with their definition and repetition levels.
macro_rules! column {
    ($kind:ty, $values:expr) => {
        column!($kind, $values, None, None)
    };
    ($kind:ty, $values:expr, $definition:expr) => {
        column!($kind, $values, Some(&$definition), None)
    };
    ($kind:ty, $values:expr, $definition:expr, $repetition:expr) => {
        &|chunk: &mut SerializedColumnWriter<'_>| {
            chunk.typed::<$kind>().write_batch(&$values, $definition, $repetition).unwrap();
        }
    };
}

fn texts(texts: &[&str]) -> Vec<ByteArray> {
    texts.iter().map(|&text| text.into()).collect()
}

const REVIEWS: &str = "message m { required binary text (UTF8); optional int64 label; }";

/// Two row groups: good/1, bad/0 and none/null.
fn reviews(properties: WriterProperties) -> Vec<u8> {
    let first: [Column<'_>; 2] = [column!(ByteArrayType, texts(&["good", "bad"])), column!(Int64Type, [1, 0], [1, 1])];
    let second: [Column<'_>; 2] = [column!(ByteArrayType, texts(&["none"])), column!(Int64Type, [], [0])];
    written(REVIEWS, properties, &[&first, &second])
}

fn plain() -> WriterProperties {
    WriterProperties::builder().build()
}

fn file(name: &str, content: &[u8]) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    fs::write(&path, content).unwrap();
    (dir, path)
}

fn read(name: &str, content: &[u8]) -> Result<Vec<(usize, Value)>, Error> {
    let (_dir, path) = file(name, content);
    let row = |record: Record| (record.line, Value::Object(record.fields.into_iter().collect()));
    records(&path)?.map(|record| record.map(row)).collect()
}

/// Message and help, with the directory taken off.
fn fails(name: &str, content: &[u8]) -> (String, String) {
    let (dir, path) = file(name, content);
    let error = match records(&path) {
        Ok(rows) => rows.filter_map(Result::err).next().expect("an error"),
        Err(error) => error,
    };
    let short = |text: String| text.replace(&format!("{}/", dir.path().display()), "");
    (short(error.to_string()), error.help().map(|help| short(help.to_string())).unwrap_or_default())
}

fn zip(content: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn every_codec_gives_the_same_rows_across_row_groups() {
    let rows = vec![
        (1, json!({"text": "good", "label": 1})),
        (2, json!({"text": "bad", "label": 0})),
        (3, json!({"text": "none", "label": null})),
    ];
    let codecs = [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(GzipLevel::default()),
        Compression::BROTLI(Default::default()),
        Compression::ZSTD(ZstdLevel::default()),
        Compression::LZ4,
        Compression::LZ4_RAW,
    ];
    for codec in codecs {
        let content = reviews(WriterProperties::builder().set_compression(codec).build());
        assert_eq!(read("a.parquet", &content).unwrap(), rows, "{codec:?}");
        assert_eq!(read("a.parquet.gz", &zip(&content)).unwrap(), rows, "{codec:?} and .gz");
    }
    let without_dictionary = WriterProperties::builder().set_dictionary_enabled(false).set_encoding(Encoding::PLAIN);
    assert_eq!(read("A.PARQUET", &reviews(without_dictionary.build())).unwrap(), rows);
}

#[test]
fn messages_are_arrays_of_objects() {
    let schema = "message m { optional group messages (LIST) { repeated group list { optional group element {
        optional binary role (UTF8); optional binary content (UTF8); } } } }";
    // Two messages, the second without content; an empty list; null.
    let roles: Column<'_> =
        column!(ByteArrayType, texts(&["user", "assistant"]), Some(&[4, 4, 1, 0]), Some(&[0, 1, 0, 0]));
    let contents: Column<'_> = column!(ByteArrayType, texts(&["hi"]), Some(&[4, 3, 1, 0]), Some(&[0, 1, 0, 0]));
    let rows = read("a.parquet", &written(schema, plain(), &[&[roles, contents]])).unwrap();
    let found: Vec<Value> = rows.into_iter().map(|(_, row)| row["messages"].clone()).collect();
    let messages = json!([{"role": "user", "content": "hi"}, {"role": "assistant", "content": null}]);
    assert_eq!(found, [messages, json!([]), json!(null)]);
}

#[test]
fn a_text_of_the_type_json_is_the_value_it_spells_at_every_depth() {
    let schema = "message m { required binary meta (JSON); required binary plain (UTF8);
        required group calls (LIST) { repeated group list { required group element { optional binary arguments (JSON); } } }
        required group named (MAP) { repeated group key_value { required binary key (UTF8); optional binary value (JSON); } } }";
    let columns: [Column<'_>; 5] = [
        column!(ByteArrayType, texts(&[r#"{"b": [1, null], "a": null}"#])),
        column!(ByteArrayType, texts(&[r#"{"a": 1}"#])),
        column!(ByteArrayType, texts(&[r#"{"city": "Oslo", "day": null}"#, "3"]), Some(&[2, 2]), Some(&[0, 1])),
        column!(ByteArrayType, texts(&["k"]), Some(&[1]), Some(&[0])),
        column!(ByteArrayType, texts(&["[true]"]), Some(&[2]), Some(&[0])),
    ];
    let rows = read("a.parquet", &written(schema, plain(), &[&columns])).unwrap();
    let expected = json!({"meta": {"b": [1, null], "a": null}, "plain": r#"{"a": 1}"#,
        "calls": [{"arguments": {"city": "Oslo", "day": null}}, {"arguments": 3}], "named": {"k": [true]}});
    assert_eq!(rows, [(1, expected)]);
}

#[test]
fn a_text_of_the_type_json_that_is_none_is_an_error_with_its_row() {
    let column: Column<'_> = column!(ByteArrayType, texts(&["{}", "{city: Oslo}"]));
    let content = written("message m { required binary arguments (JSON); }", plain(), &[&[column]]);
    let expected = (
        "a.parquet, row 2: column `arguments` holds a text of the type JSON that is not JSON: key must be a string at \
         line 1 column 2"
            .to_owned(),
        "correct the text, or write the column as a plain string if it is not meant as JSON".to_owned(),
    );
    assert_eq!(fails("a.parquet", &content), expected);
}

#[test]
fn what_an_element_of_a_list_lacks_is_absent_and_what_a_column_lacks_is_null() {
    let schema = "message m { optional int64 label;
        required group meta { optional int64 id; }
        required group messages (LIST) { repeated group list { required group element {
            optional binary role (UTF8); optional binary content (UTF8); optional binary name (UTF8);
            optional group arguments { optional int64 x; optional int64 y; } } } } }";
    let columns: [Column<'_>; 7] = [
        column!(Int64Type, [], [0]),
        column!(Int64Type, [], [0]),
        column!(ByteArrayType, texts(&["user", "assistant"]), Some(&[2, 2]), Some(&[0, 1])),
        column!(ByteArrayType, texts(&["hi"]), Some(&[2, 1]), Some(&[0, 1])),
        column!(ByteArrayType, [], Some(&[1, 1]), Some(&[0, 1])),
        column!(Int64Type, [5], Some(&[1, 3]), Some(&[0, 1])),
        column!(Int64Type, [], Some(&[1, 2]), Some(&[0, 1])),
    ];
    let rows = read("a.parquet", &written(schema, plain(), &[&columns])).unwrap();
    let expected = json!({"label": null, "meta": {"id": null}, "messages": [
        {"role": "user", "content": "hi"}, {"role": "assistant", "content": null, "arguments": {"x": 5}}]});
    assert_eq!(rows, [(1, expected)]);
}

#[test]
fn values_that_json_has_no_type_for_are_text() {
    let schema = "message m { required int32 day (DATE); required int64 at (TIMESTAMP(NANOS, false));
        required int32 price (DECIMAL(9, 2)); required int64 count (DECIMAL(9, 0)); required int32 small (INTEGER(8, false));
        required double nan; required fixed_len_byte_array(16) id (UUID); required binary raw; }";
    let id: Vec<u8> = (0..16).collect();
    let columns: [Column<'_>; 8] = [
        column!(Int32Type, [19_782]),
        column!(Int64Type, [1_706_933_106_000_000_007]),
        column!(Int32Type, [-5]),
        column!(Int64Type, [100]),
        column!(Int32Type, [200]),
        column!(DoubleType, [f64::NAN]),
        column!(FixedLenByteArrayType, [FixedLenByteArray::from(id.clone())]),
        column!(ByteArrayType, texts(&["old text"])),
    ];
    let expected = json!({"day": "2024-02-29", "at": "2024-02-03 04:05:06.000000007", "price": "-0.05", "count": "100",
        "small": 200, "nan": null, "id": "00010203-0405-0607-0809-0a0b0c0d0e0f", "raw": "old text"});
    assert_eq!(read("a.parquet", &written(schema, plain(), &[&columns])).unwrap(), [(1, expected)]);
}

fn with_classes(names: &str, labels: &[i64]) -> Vec<u8> {
    let features = format!(r#"{{"info": {{"features": {{"label": {{"names": {names}, "_type": "ClassLabel"}}}}}}}}"#);
    let metadata = vec![KeyValue::new("huggingface".to_owned(), features)];
    let properties = WriterProperties::builder().set_key_value_metadata(Some(metadata)).build();
    written("message m { required int64 label; }", properties, &[&[column!(Int64Type, labels)]])
}

#[test]
fn classes_of_a_hugging_face_data_set_have_their_names() {
    let rows = read("a.parquet", &with_classes(r#"["neg", "pos"]"#, &[1, 0, -1])).unwrap();
    let labels: Vec<_> = rows.into_iter().map(|(_, row)| row["label"].clone()).collect();
    assert_eq!(labels, [json!("pos"), json!("neg"), json!(null)]);
    let unreadable = read("a.parquet", &with_classes(r#"[1"#, &[1])).unwrap();
    assert_eq!(unreadable[0].1["label"], json!(1), "metadata that does not parse names nothing");
    let (message, help) = fails("a.parquet", &with_classes(r#"["neg", "pos"]"#, &[1, 2]));
    assert_eq!(
        message,
        "a.parquet, row 2: column `label` has the class 2, which the file has no name for (names: neg, pos)"
    );
    assert!(help.starts_with("the names are in the file's metadata under `huggingface`"), "{help}");
}

#[test]
fn files_that_are_no_parquet_say_what_they_are() {
    let whole = reviews(plain());
    let help = |content: &[u8]| {
        let (message, help) = fails("a.parquet", content);
        assert_eq!(message, "a.parquet is not a Parquet file");
        help
    };
    let missing = "its end is missing: the copy or download is incomplete, fetch the file again";
    assert_eq!(help(&whole[..whole.len() - 1]), missing);
    assert_eq!(help(&zip(&whole)), "the file is compressed: give it a name that ends in .gz");
    let pointer = b"version https://git-lfs.github.com/spec/v1\n";
    assert_eq!(help(pointer), "it may be the pointer that Git LFS leaves for a file: `git lfs pull` fetches the file");
    let other = "its name says Parquet, its content does not: fetch it again, or name it after what it holds";
    assert_eq!((help(b""), help(b"PAR"), help(b"text,label\na,1\n")), (other.into(), other.into(), other.into()));
    assert_eq!(
        fails("a.parquet.gz", &zip(&whole[..50])),
        ("a.parquet.gz is not a Parquet file".into(), missing.into())
    );
    assert_eq!(fails("a.parquet.gz", &whole).0, "a.parquet.gz: broken gzip data");
    assert_eq!(fails("a.parquet", b"PAR1....PARE").0, "a.parquet is encrypted");
}

#[test]
fn broken_files_are_named_with_the_row() {
    let mut footer = reviews(plain());
    let length = footer.len();
    footer[length - 8..length - 4].copy_from_slice(&u32::MAX.to_le_bytes());
    let (message, help) = fails("a.parquet", &footer);
    assert!(message.starts_with("a.parquet: broken Parquet data: "), "{message}");
    assert!(help.starts_with("the copy or download may be incomplete: fetch the file again"), "{help}");

    let mut page = reviews(WriterProperties::builder().set_compression(Compression::SNAPPY).build());
    page[4..40].fill(0xff);
    let (message, _) = fails("a.parquet", &page);
    assert!(message.starts_with("a.parquet, row 1: broken Parquet data: "), "{message}");

    let latin: Column<'_> = column!(ByteArrayType, [ByteArray::from(b"caf\xe9".to_vec())]);
    let latin = written("message m { required binary text (UTF8); }", plain(), &[&[latin]]);
    assert_eq!(fails("a.parquet", &latin).0, "a.parquet, row 1: broken Parquet data: a text is not valid UTF-8");
}

#[test]
fn columns_that_cannot_be_read_are_named() {
    let interval: Column<'_> = column!(FixedLenByteArrayType, [FixedLenByteArray::from(vec![0; 12])]);
    let schema = "message m { required fixed_len_byte_array(12) wait (INTERVAL); }";
    assert_eq!(
        fails("a.parquet", &written(schema, plain(), &[&[interval]])).0,
        "a.parquet: column `wait` holds intervals, which is not supported"
    );
    let twice: [Column<'_>; 2] = [column!(Int64Type, [1]), column!(Int64Type, [2])];
    let schema = "message m { required int64 a; required int64 a; }";
    assert_eq!(fails("a.parquet", &written(schema, plain(), &[&twice])).0, "a.parquet: two columns are named `a`");
    let none = written("message m { required int64 a; }", plain(), &[]);
    assert_eq!(fails("a.parquet", &none).0, "a.parquet holds no rows");
}

static SMALL: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let codecs = [Compression::UNCOMPRESSED, Compression::SNAPPY, Compression::ZSTD(ZstdLevel::default())];
    codecs.map(|codec| reviews(WriterProperties::builder().set_compression(codec).build())).into()
});

/// Of both versions of pages: three million bytes behind a header that says one.
#[test]
fn a_page_in_brotli_that_unpacks_to_more_than_it_says_is_not_unpacked() {
    let value: Column<'_> = column!(ByteArrayType, texts(&["a".repeat(3_000_000).as_str()]));
    for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
        let properties = WriterProperties::builder()
            .set_writer_version(version)
            .set_dictionary_enabled(false)
            .set_encoding(Encoding::PLAIN);
        let properties = properties.set_compression(Compression::BROTLI(Default::default())).build();
        let mut content = written("message m { required binary text (UTF8); }", properties, &[&[value]]);
        assert_eq!(read("a.parquet", &content).unwrap().len(), 1, "{version:?}");
        // The length of the text and its bytes, in zigzag and in seven bits a byte.
        let seven = |number: u32, shift| (number >> shift) as u8 & 0x7f;
        let said = |bytes: u32| [0, 7, 14, 21].map(|shift| seven(2 * bytes, shift) | (u8::from(shift < 21) << 7));
        let found = content.windows(4).position(|window| window == said(3_000_004)).unwrap();
        content[found..found + 4].copy_from_slice(&said(1_100_000));
        assert_eq!(
            fails("a.parquet", &content).0,
            "a.parquet: a page unpacks to more than its header says",
            "{version:?}"
        );
    }
}

/// A page whose header announces two gigabytes.
#[test]
fn pages_that_unpack_to_far_more_than_the_file_are_refused_before_they_are_read() {
    let expected = (
        "a.parquet: its pages unpack to more than 1000 times the file".to_owned(),
        "if the file is not damaged, write it again without compression, or in smaller files; or fetch it again"
            .to_owned(),
    );
    // The first page begins after the magic number; its size follows on its type, as a zigzag varint.
    let mut content = reviews(plain());
    let size = 7;
    let length = content[size..].iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
    content.splice(size..size + length, [0xfe, 0xff, 0xff, 0xff, 0x0f]);
    assert_eq!(fails("a.parquet", &content), expected);
}

#[test]
fn columns_that_have_the_same_pages_are_refused() {
    let content = Bytes::from(SMALL[0].clone());
    let metadata = SerializedFileReader::new(content.clone()).unwrap().metadata().clone();
    let groups = metadata.row_groups().to_vec();
    let checked = |times: usize| {
        let repeated = groups.iter().cycle().take(groups.len() * times).cloned().collect();
        let metadata = metadata.clone().into_builder().set_row_groups(repeated).build();
        sizes::check_pages(Cursor::new(content.clone()), content.len() as u64, &metadata).unwrap()
    };
    assert_eq!(checked(1), Ok(()));
    assert_eq!(checked(1000), Err("its columns have the same pages".to_owned()));
}

/// 3,000 rows that begin with one prompt of 15 kB.
#[test]
fn pages_with_texts_that_begin_alike_are_read() {
    let prompt = "You answer questions about lamps. ".repeat(450);
    let rows: Vec<String> = (0..3000).map(|number| format!("{prompt}{number}")).collect();
    let zstd = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_dictionary_enabled(false)
        .build();
    let texts = texts(&rows.iter().map(String::as_str).collect::<Vec<_>>());
    let columns: [Column<'_>; 2] = [column!(ByteArrayType, texts), column!(Int64Type, vec![1; 3000], vec![1; 3000])];
    let content = written(REVIEWS, zstd, &[&columns]);
    assert!(content.len() < 400_000, "{}", content.len());
    assert_eq!(read("a.parquet", &content).unwrap().len(), 3000);
}

#[test]
fn texts_that_stand_once_for_very_many_rows_are_refused_when_they_are_too_much() {
    const ROWS: usize = 300;
    let long = "a".repeat(1 << 20);
    let rows: [Column<'_>; 2] =
        [column!(ByteArrayType, texts(&[long.as_str(); ROWS])), column!(Int64Type, [1; ROWS], [1; ROWS])];
    let zstd = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_dictionary_page_size_limit(4 << 20)
        .build();
    let content = written(REVIEWS, zstd, &[&rows]);
    let (message, _) = fails("a.parquet", &content);
    assert!(
        message.starts_with("a.parquet, row ") && message.ends_with("more than 1000 times what the file does"),
        "{message}"
    );
}

#[test]
fn a_deep_schema_is_refused_before_the_reader_goes_into_it() {
    let schema = format!("message m {{ {} optional int32 a; {} }}", "optional group g { ".repeat(70), "}".repeat(70));
    let content = written(&schema, plain(), &[&[column!(::parquet::data_type::Int32Type, [1], [71])]]);
    assert_eq!(fails("a.parquet", &content).0, "a.parquet: its schema is nested more than 64 deep");
}

proptest! {
    #[test]
    fn a_flipped_byte_or_a_lost_end_never_panics(which in 0..3_usize, at: prop::sample::Index, bits in 1..=255_u8, cut: bool) {
        let mut content = SMALL[which].clone();
        let at = at.index(content.len());
        if cut {
            content.drain(at..at + (content.len() - at) / 2);
        } else {
            content[at] ^= bits;
        }
        let (_dir, path) = file("a.parquet", &content);
        if let Ok(rows) = records(&path) {
            // A flipped bit can make a count of rows enormous; every row needs its values, so that reading ends.
            prop_assert!(rows.count() < 100_000);
        }
    }
}
