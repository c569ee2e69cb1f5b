//! Tests of the whole room.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use miette::Diagnostic;
use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;

fn zip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn file(name: &str, content: &[u8]) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    fs::write(&path, content).unwrap();
    (dir, path)
}

/// All rows as (line, object).
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

const CSV: &[u8] = b"text,label\nbon,1\n\"a, \"\"b\"\"\nc\",0\n\nlast,1";

#[test]
fn every_format_gives_the_same_rows() {
    let rows = vec![(1, json!({"text": "a", "label": "1"})), (2, json!({"text": "b", "label": "0"}))];
    let lines = b"{\"text\":\"a\",\"label\":\"1\"}\n{\"text\":\"b\",\"label\":\"0\"}\n";
    let array = b"[{\"text\":\"a\",\"label\":\"1\"},\n\n{\"text\":\"b\",\"label\":\"0\"}]";
    let under_data = [b"{\"version\": 1, \"data\":", &array[..], b"}"].concat();
    let shifted: Vec<_> = rows.iter().map(|(line, row)| (line + 1, row.clone())).collect();
    let cases = [
        ("a.jsonl", &lines[..], &rows),
        ("a.ndjson", &lines[..], &rows),
        ("a.json", array, &rows),
        ("A.JSON", &under_data, &rows),
        ("a.csv", b"text,label\na,1\nb,0\n", &shifted),
        ("a.tsv", b"text\tlabel\r\na\t1\r\nb\t0\r\n", &shifted),
    ];
    for (name, content, expected) in cases {
        assert_eq!(&read(name, content).unwrap(), expected, "{name}");
        assert_eq!(&read(&format!("{name}.gz"), &zip(content)).unwrap(), expected, "{name}.gz");
        let marked = [b"\xef\xbb\xbf", content].concat();
        assert_eq!(&read(name, &marked).unwrap(), expected, "{name} with a byte order mark");
        for (order, mark) in
            [(u16::to_le_bytes as fn(u16) -> [u8; 2], true), (u16::to_be_bytes, true), (u16::to_le_bytes, false)]
        {
            let text = str::from_utf8(content).unwrap();
            let units = mark.then_some(0xfeff).into_iter().chain(text.encode_utf16());
            let utf16: Vec<u8> = units.flat_map(order).collect();
            assert_eq!(&read(name, &utf16).unwrap(), expected, "{name} as UTF-16");
            assert_eq!(&read(&format!("{name}.gz"), &zip(&utf16)).unwrap(), expected, "{name}.gz as UTF-16");
        }
    }
}

#[test]
fn broken_utf16_is_placed_and_utf32_refused() {
    let utf16 =
        |text: &str| -> Vec<u8> { format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect() };
    assert_eq!(read("a.csv", &utf16("text\n😀 é\n")).unwrap(), [(2, json!({"text": "😀 é"}))]);
    let half = [utf16("text\na\n"), vec![b'b']].concat();
    assert_eq!(fails("a.csv", &half).0, "a.csv, line 3: not valid UTF-16");
    let lone = [utf16("text\n"), vec![0x3d, 0xd8, b'b', 0]].concat();
    assert_eq!(fails("a.csv.gz", &zip(&lone)).0, "a.csv.gz, line 2: not valid UTF-16");
    let (message, help) = fails("a.csv", b"\xff\xfe\0\0t\0\0\0");
    assert_eq!(message, "a.csv is UTF-32");
    assert_eq!(help, "save it as UTF-8, for example with `iconv -f utf-32 -t utf-8`");
}

#[test]
fn numbers_and_characters_that_json_does_not_have_are_named() {
    let line = |text: &str| fails("a.jsonl", format!("{{}}\n{text}\n").as_bytes());
    let (message, help) = line(r#"{"text": "a", "score": NaN}"#);
    assert_eq!(message, "a.jsonl, line 2, column 24: malformed JSON: NaN, the value of `score`, is no number in JSON");
    assert!(help.starts_with("write null or a number: Python's `json.dumps`"), "{help}");
    for (text, word, column) in [
        (r#"{"a": Infinity}"#, "Infinity", 7),
        (r#"{"a": -Infinity}"#, "-Infinity", 7),
        (r#"{"a": nan}"#, "nan", 7),
        (r#"{"a":-inf}"#, "-inf", 6),
    ] {
        let expected =
            format!("a.jsonl, line 2, column {column}: malformed JSON: {word}, the value of `a`, is no number in JSON");
        assert_eq!(line(text).0, expected);
    }
    assert_eq!(line("[1, NaN]").0, "a.jsonl, line 2, column 5: malformed JSON: NaN is no number in JSON");
    assert_eq!(
        fails("a.json", b"[{},\n {\"a\": NaN}]").0,
        "a.json, line 2, column 8: malformed JSON: NaN, the value of `a`, is no number in JSON"
    );
    for (text, half, column) in [
        (r#"{"text": "ok \ud83d\ude00 \ud83d"}"#, r"\ud83d", 27),
        (r#"{"text": "\ude00 x"}"#, r"\ude00", 11),
        (r#"{"text": "\\ud83d \ud83d\n"}"#, r"\ud83d", 19),
    ] {
        let (message, help) = line(text);
        assert_eq!(
            message,
            format!(
                "a.jsonl, line 2, column {column}: malformed JSON: {half} is half of a character (a lone surrogate)"
            )
        );
        assert!(help.starts_with("remove it, or write the text again"), "{help}");
    }
}

#[test]
fn columns_keep_the_order_of_the_file() {
    let (_dir, path) = file("a.jsonl", b"{\"z\": 1, \"a\": 2, \"m\": 3}");
    let first = records(&path).unwrap().next().unwrap().unwrap();
    assert_eq!(first.columns().collect::<Vec<_>>(), ["z", "a", "m"]);
}

#[test]
fn csv_lines_count_quoted_line_breaks_and_blank_lines() {
    let rows = read("a.csv", CSV).unwrap();
    let found: Vec<(usize, &str)> = rows.iter().map(|(line, row)| (*line, row["text"].as_str().unwrap())).collect();
    assert_eq!(found, [(2, "bon"), (3, "a, \"b\"\nc"), (6, "last")]);
}

#[test]
fn blank_json_lines_are_skipped_and_counted() {
    let rows = read("a.jsonl", b"\n{\"text\": \"a\"}\r\n  \n{\"text\": \"b\"}").unwrap();
    assert_eq!(rows.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [2, 4]);
}

#[test]
fn each_line_of_a_text_that_is_not_blank_is_a_row() {
    let content = b"\xef\xbb\xbffirst \r\n\n \t\n\"b\", {c}\n  last";
    let rows = vec![(1, json!({"text": "first "})), (4, json!({"text": "\"b\", {c}"})), (5, json!({"text": "  last"}))];
    assert_eq!(read("a.txt", content).unwrap(), rows);
    assert_eq!(read("a.TXT.gz", &zip(content)).unwrap(), rows);
    assert_eq!(fails("a.txt", b"a\n\ncaf\xe9\n").0, "a.txt, line 3: not valid UTF-8 (byte 4 of the line)");
}

#[test]
fn several_gzip_streams_in_a_row_are_one_file() {
    let rows = read("a.jsonl.gz", &[zip(b"{\"a\":1}\n"), zip(b"{\"a\":2}\n")].concat()).unwrap();
    assert_eq!(rows.len(), 2);
}

#[test]
fn a_large_compressed_file_breaks_only_where_it_is_broken() {
    let lines: String = (0..20_000).map(|n| format!("{{\"text\": \"row {n} {}\"}}\n", n * 7919 % 10007)).collect();
    let zipped = zip(lines.as_bytes());
    let (_dir, path) = file("a.jsonl.gz", &zipped[..zipped.len() / 2]);
    let rows: Vec<_> = records(&path).unwrap().collect();
    assert!(rows.len() > 1000 && rows[..rows.len() - 1].iter().all(Result::is_ok), "{}", rows.len());
    let error = rows.into_iter().next_back().unwrap().unwrap_err();
    assert_eq!(error.to_string(), format!("{}: broken gzip data", path.display()));
}

#[test]
fn broken_and_false_gzip_files_are_named() {
    let expected = (
        "a.csv.gz: broken gzip data".to_owned(),
        "the copy or download may be incomplete: `gzip -t a.csv.gz` checks it".to_owned(),
    );
    let zipped = zip(CSV);
    assert_eq!(fails("a.csv.gz", CSV), expected, "not compressed");
    assert_eq!(fails("a.csv.gz", &zipped[..zipped.len() - 9]), expected, "cut off");
    assert_eq!(fails("a.csv.gz", &zipped[..5]), expected, "cut off in its header");
    let (message, help) = fails("a.csv", &zipped);
    assert!(message.starts_with("a.csv, line 1: not valid UTF-8"), "{message}");
    assert_eq!(help, "the file is compressed: give it a name that ends in .gz");
}

#[test]
fn files_that_cannot_be_read_say_what_to_do() {
    let (dir, _) = file("train.jsonl", b"{}");
    let says = |path: PathBuf| {
        let error = records(&path).err().unwrap();
        let help = error.help().unwrap().to_string();
        (error.to_string().replace(&format!("{}/", dir.path().display()), ""), help)
    };
    let (message, help) = says(dir.path().join("tran.jsonl"));
    assert_eq!(message, "tran.jsonl does not exist");
    assert_eq!(help, format!("did you mean `{}`?", dir.path().join("train.jsonl").display()));
    let (_, help) = says(dir.path().join("none/train.jsonl"));
    assert_eq!(help, format!("the directory {} does not exist either", dir.path().join("none").display()));
    assert!(matches!(records(dir.path()), Err(Error::Directory { .. })));

    let supported = "supported: .jsonl (or .ndjson), .json, .csv, .tsv, .parquet, .conll (or .bio, .iob), .txt, each of them also with .gz, and - for JSON lines on standard input";
    assert_eq!(fails("a.xml", b""), ("a.xml: unknown file type `.xml`".into(), supported.into()));
    let sheet = ("a.xlsx.gz: unknown file type `.xlsx`".to_owned(), "save the sheet as CSV UTF-8 (.csv)".to_owned());
    assert_eq!(fails("a.xlsx.gz", b""), sheet);
    assert_eq!(fails("data", b"").0, "data: unknown file type");
}

#[test]
fn files_without_rows_are_refused() {
    let empty: [(&str, &[u8]); 9] = [
        ("a.jsonl", b""),
        ("a.jsonl", b"\n \n"),
        ("a.json", b" "),
        ("a.json", b"[]"),
        ("a.csv", b""),
        ("a.csv", b"text,label\n"),
        ("a.tsv", b"\xef\xbb\xbf"),
        ("a.csv.gz", &zip(b"")),
        ("a.txt", b"\n \n"),
    ];
    for (name, content) in empty {
        assert_eq!(fails(name, content).0, format!("{name} holds no rows"), "{content:?}");
    }
}

#[test]
fn rows_of_far_more_values_than_bytes_for_them_are_refused_by_place() {
    let zeros = "0,".repeat(1_000_000);
    let row = format!("{{\"a\": [{zeros}0]}}");
    let (message, help) = fails("a.jsonl", format!("{{}}\n{row}\n").as_bytes());
    assert_eq!(message, "a.jsonl, line 2: too many values for its size");
    assert!(help.contains("72 bytes"), "{help}");
    assert_eq!(fails("a.json", format!("[{{}},\n{row}]").as_bytes()).0, "a.json, row 2: too many values for its size");
    // Of many rows each is small.
    let rows =
        read("a.json", format!("{{\"v\": 1, \"data\": [{}{{}}], \"z\": 2}}", "{\"a\":0},".repeat(400_000)).as_bytes());
    assert_eq!(rows.unwrap().len(), 400_001);
    let file = zip(format!("[{}{{}}]", "{},".repeat(1_100_000)).as_bytes());
    let most = 1_000_000 + file.len();
    assert_eq!(fails("a.json.gz", &file).0, format!("a.json.gz, row {}: more than {most} rows", most + 1));
}

#[test]
fn of_a_document_in_json_the_array_under_data_counts() {
    let rows = vec![(1, json!({"a": 1})), (2, json!({}))];
    let documents = [
        r#"[{"a": 1}, {}]"#,
        r#" {"data" : [ {"a":1} , {} ] } "#,
        r#"{"version": [1, {"data": []}], "data": [{"a": 1},{}], "more": "]"}"#,
        r#"{"data": [{}], "d\u0061ta": [{"a": 1},{}]}"#,
        r#"{"data": 5, "data": [{"a": 1},{}]}"#,
    ];
    for document in documents {
        assert_eq!(read("a.json", document.as_bytes()).unwrap(), rows, "{document}");
    }
    let found = |document: &str| fails("a.json", document.as_bytes()).0.rsplit_once("found ").unwrap().1.to_owned();
    assert_eq!(found(r#"{"data": [{}], "data": {"a": 1}}"#), "an object under `data`");
    assert_eq!(found(r#"{"data": null}"#), "null under `data`");
    assert_eq!(found(r#"{"rows": [], "x": {}}"#), "an object (keys: rows, x)");
    assert_eq!(found("{}"), "an object (keys: )");
    assert_eq!(found(" 1.5 "), "a fraction");
    assert_eq!(found("\"a\""), "a string");
}

#[test]
fn malformed_json_is_placed() {
    let lines = |second: &str| fails("a.jsonl", format!("{{}}\n{second}\n{{}}").as_bytes());
    assert_eq!(lines("{\"a\": }").0, "a.jsonl, line 2, column 7: malformed JSON: expected value");
    assert_eq!(lines("[1]").0, "a.jsonl, line 2: expected a JSON object, found an array");
    assert_eq!(lines("{} {}").0, "a.jsonl, line 2, column 4: malformed JSON: trailing characters");
    assert_eq!(fails("a.jsonl", b"[\n{}\n]").1, "each line is a whole object; a file that is one array is named .json");

    assert_eq!(fails("a.json", b"[{},\n {]").0, "a.json, line 2, column 3: malformed JSON: key must be a string");
    assert_eq!(fails("a.json", b"[{}, 5]").0, "a.json, row 2: expected a JSON object, found a number");
    let (message, help) = fails("a.json", b"{\"a\": 1}\n{\"a\": 2}\n");
    assert_eq!(message, "a.json, line 2, column 1: malformed JSON: trailing characters");
    assert_eq!(help, "a file with an object a line is named .jsonl");
    assert_eq!(
        fails("a.json", b"{\"rows\": []}").0,
        "a.json: expected an array of objects or an object with one under `data`, found an object (keys: rows)"
    );
}

#[test]
fn invalid_utf8_is_placed() {
    assert_eq!(
        fails("a.jsonl", b"{}\n{\"a\": \"caf\xe9\"}").0,
        "a.jsonl, line 2: not valid UTF-8 (byte 11 of the line)"
    );
    assert_eq!(fails("a.json", b"[{},\n{\"a\": \"\xe9\"}]").0, "a.json, line 2: not valid UTF-8 (byte 8 of the line)");
    let (message, help) = fails("a.csv", b"text,label\nok,0\nab,\xe9\n");
    assert_eq!(message, "a.csv, line 3: not valid UTF-8 (byte 4 of the line)");
    let expected = "the file is most likely in Windows-1252 or Latin-1: save it as UTF-8 (in Excel as `CSV UTF-8`), or \
                    convert it with `iconv -f windows-1252 -t utf-8 a.csv > utf8.csv`";
    assert_eq!(help, expected);
}

#[test]
fn ragged_rows_and_double_headers_are_placed() {
    assert_eq!(
        fails("a.csv", b"text,label\r\n\r\na,0\r\n\r\nb,c,1\r\n").0,
        "a.csv, line 5: 3 cells where the header has 2"
    );
    assert_eq!(fails("a.tsv", b"text\tlabel\na\n").0, "a.tsv, line 2: 1 cell where the header has 2");
    assert_eq!(fails("a.csv", b"text,label,text\na,0,b\n").0, "a.csv: two columns are named `text`");
}

#[test]
fn a_quote_left_open_does_not_swallow_the_rest() {
    assert_eq!(
        fails("a.csv", b"label,text\n0,a\n1,\"b\n0,c\n1,d\n").0,
        "a.csv, line 3: the double quote that opens here is never closed"
    );
    let inches = read("a.csv", b"label,text\n0,5\" tall\n1,\"b\"\n").unwrap();
    assert_eq!(inches[0].1["text"], "5\" tall", "within a cell it is only a character");
}

#[test]
fn after_an_error_the_stream_ends() {
    let (_dir, path) = file("a.jsonl", b"{}\n5\n{}\n6\n");
    let rows: Vec<bool> = records(&path).unwrap().map(|row| row.is_ok()).collect();
    assert_eq!(rows, [true, false]);
}

/// As RFC 4180 has it, every cell quoted.
fn quoted(cells: &[String]) -> String {
    let cells: Vec<String> = cells.iter().map(|cell| format!("\"{}\"", cell.replace('"', "\"\""))).collect();
    cells.join(",")
}

proptest! {
    #[test]
    fn quoted_cells_come_back_as_they_were(rows in prop::collection::vec(["[a\",\n é]{0,8}", "[a\",\n é]{0,8}"], 1..20)) {
        let lines: Vec<String> = rows.iter().map(|row| quoted(row)).collect();
        let read = read("a.csv", format!("x,y\n{}", lines.join("\n")).as_bytes()).unwrap();
        let cells: Vec<[String; 2]> =
            read.iter().map(|(_, row)| ["x", "y"].map(|column| row[column].as_str().unwrap().to_owned())).collect();
        prop_assert_eq!(cells, rows);
    }

    #[test]
    fn no_bytes_make_a_reader_panic(content: Vec<u8>, name in prop::sample::select(vec!["a.jsonl", "a.json", "a.csv", "a.tsv", "a.txt", "a.parquet", "a.csv.gz", "a.parquet.gz"])) {
        let (_dir, path) = file(name, &content);
        if let Ok(rows) = records(&path) {
            rows.for_each(drop);
        }
    }
}

#[test]
fn rows_that_are_alike_are_no_bomb() {
    // 3,000 rows that begin with one prompt of 15 kB, and end each with a text of its own.
    let words: Vec<String> =
        (0..1500_u64).map(|number| format!("w{:08x}", number * 2_654_435_761 % 0xffff_ffff)).collect();
    let prompt = words.join(" ");
    let row = |number: usize| format!("{{\"text\": \"{prompt} and number {number}\"}}\n");
    let alike: String = (0..3000).map(row).collect();
    let packed = zip(alike.as_bytes());
    assert!(alike.len() > 40_000_000 && alike.len() / packed.len() > 50, "{} {}", alike.len(), packed.len());
    assert_eq!(read("a.jsonl.gz", &packed).unwrap().len(), 3000);
    let short = [b"text\n".to_vec(), b"the same row again\n".repeat(500_000)].concat();
    let packed = zip(&short);
    assert!(short.len() / packed.len() > 150, "{} {}", short.len(), packed.len());
    assert_eq!(read("a.csv.gz", &packed).unwrap().len(), 500_000);
}

/// Of a small compressed file: millions of rows would take minutes.
#[test]
fn rows_are_limited_by_the_size_of_a_compressed_file() {
    let packed = zip(&[b"text,label\n".to_vec(), b"a,b\na,c\n".repeat(600_000)].concat());
    let most = 1_000_000 + packed.len();
    assert!(packed.len() < 100_000, "{}", packed.len());
    let (_dir, path) = file("a.csv.gz", &packed);
    let shown = path.display();
    let message = format!("{shown}, line {}: more than {most} rows", most + 2);
    let help = format!(
        "a compressed file has 1000000 rows and one for each of its bytes at most: if these many are meant, unpack it first \
         (`gunzip {shown}`)"
    );
    let mut last = records(&path).unwrap().skip(most - 1);
    assert!(last.next().unwrap().is_ok());
    let error = last.next().unwrap().unwrap_err();
    assert_eq!((error.to_string(), error.help().unwrap().to_string()), (message, help));
    assert!(last.next().is_none());
    let found: Vec<_> = super::lines(&path, None).unwrap().skip(most - 1).map(|row| row.is_ok()).collect();
    assert_eq!(found, [true, false], "nothing comes behind the error where rows are answered one by one");
}

#[test]
fn what_to_do_about_too_many_rows_depends_on_the_file() {
    let says = |name: &str, format, most, packed| {
        let limit = RowLimit { file: name.into(), format, most, packed };
        let row = || Record { line: 7, fields: indexmap::IndexMap::new() };
        assert!(limit.check(most, row()).is_ok());
        let error = limit.check(most + 1, row()).unwrap_err();
        (error.to_string(), error.help().unwrap().to_string())
    };
    let split = "split it into several files: `data.train` takes a list of them";
    let of_text = says("a.jsonl", Format::JsonLines, limits::MOST_ROWS, None);
    assert_eq!(of_text, ("a.jsonl, line 7: more than 200000000 rows".to_owned(), split.to_owned()));
    assert_eq!(says("a.csv.gz", Format::Csv, limits::MOST_ROWS, Some(1 << 40)).1, split);
    let parquet = says("a.parquet", Format::Parquet, 1_000_900, Some(900));
    let help = "a Parquet file has 1000000 rows and one for each of its bytes at most: if these many are meant, write them \
                as JSON lines (.jsonl)";
    assert_eq!(parquet, ("a.parquet, row 7: more than 1000900 rows".to_owned(), help.to_owned()));
}

#[test]
fn blank_lines_of_a_compressed_file_are_limited() {
    let packed = zip(&[b"{}\n".to_vec(), vec![b'\n'; 11_000_000]].concat());
    assert!(packed.len() < 20_000, "{}", packed.len());
    for name in ["a.jsonl.gz", "a.csv.gz", "a.tsv.gz", "a.txt.gz", "a.conll.gz"] {
        let message = format!("{name}: it unpacks to more than 10000000 lines and 10 for each of its bytes");
        let help =
            format!("text does not compress this well: if you know what it is, unpack it first (`gunzip {name}`)");
        assert_eq!(fails(name, &packed), (message, help));
    }
}

/// Of a small compressed file: 65 MB of one character in 65 kB.
#[test]
fn a_row_that_is_too_long_is_refused_in_a_compressed_file() {
    let run = vec![b'a'; crate::limits::LONGEST_ROW + 1];
    let content = zip(&[b"text,label\n\"".as_slice(), &run].concat());
    assert!(content.len() < 100_000, "{}", content.len());
    assert_eq!(fails("a.csv.gz", &content).0, "a.csv.gz, line 2: the row is longer than 64 MB");
}

#[test]
fn a_row_that_never_ends_is_refused_with_its_line() {
    let rest = vec![b'a'; crate::limits::LONGEST_ROW + 1];
    let help =
        "a row is a line, or ends where its quotes do: is a quote never closed? Split a long plain text into lines";
    let starts: [(&str, &[u8], usize); 5] = [
        ("a.csv", b"text,label\nfine,1\n\"two\nlines", 3),
        ("a.tsv", b"text\tlabel\nfine\t1\n", 3),
        ("a.jsonl", b"{\"text\": \"fine\"}\n{\"text\": \"", 2),
        ("a.txt", b"fine\n", 2),
        ("a.conll", b"fine O\n\n", 3),
    ];
    for (name, start, line) in starts {
        let message = format!("{name}, line {line}: the row is longer than 64 MB");
        assert_eq!(fails(name, &[start, &rest].concat()), (message, help.to_owned()), "{name}");
    }
}

#[test]
fn a_header_is_looked_through_once_however_wide_it_is() {
    let header = |columns: usize| (0..columns).map(|number| format!("c{number}")).collect::<Vec<_>>().join(",");
    let wide = |columns| [header(columns), "1,".repeat(columns - 1) + "1"].join("\n");
    let rows = read("a.csv", wide(100_000).as_bytes()).unwrap();
    assert_eq!(rows[0].1.as_object().unwrap().len(), 100_000);
    let error = fails("a.csv", wide(100_001).as_bytes());
    assert_eq!(error, ("a.csv: more than 100000 columns".to_owned(), "keep the columns that are needed".to_owned()));
}
