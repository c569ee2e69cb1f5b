//! Tables as spreadsheets, corpora and programs write them. Right values are those of pandas and Python's csv.

use miette::Diagnostic;
use serde_json::{Value, json};

use crate::formats::records;
use crate::{Error, Record};

/// All rows as (line, object).
fn read(name: &str, content: impl AsRef<[u8]>) -> Result<Vec<(usize, Value)>, Error> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    std::fs::write(&path, content).unwrap();
    let row = |record: Record| (record.line, Value::Object(record.fields.into_iter().collect()));
    records(&path)?.map(|record| record.map(row)).collect()
}

fn texts(name: &str, content: impl AsRef<[u8]>) -> Vec<String> {
    let rows = read(name, content).unwrap();
    rows.into_iter().map(|(_, row)| row["text"].as_str().unwrap().to_owned()).collect()
}

/// Message without directories, and help.
fn fails(name: &str, content: impl AsRef<[u8]>) -> (String, String) {
    let error = read(name, content).unwrap_err();
    let message = error.to_string();
    let short = message.rsplit_once('/').map_or(message.as_str(), |(_, short)| short).to_owned();
    (short, error.help().map(|help| help.to_string()).unwrap_or_default())
}

#[test]
fn in_a_tsv_of_a_corpus_a_quote_is_a_character_and_every_line_a_row() {
    let corpus =
        "text\tlabel\n\"I will come back, she said.\t0\nno train\t1\n\"Never, said the other.\t0\n\"Yes.\"\t1\n";
    let expected = ["\"I will come back, she said.", "no train", "\"Never, said the other.", "\"Yes.\""];
    assert_eq!(texts("a.tsv", corpus), expected);
    assert_eq!(texts("a.csv", corpus), expected, "tabs under another name");
    assert_eq!(texts("a.tsv", corpus.replace('\n', "\r\n")), expected);
    assert_eq!(texts("a.tsv", corpus.replace('\n', "\r")), expected);
    let lines: Vec<usize> = read("a.tsv", corpus).unwrap().iter().map(|(line, _)| *line).collect();
    assert_eq!(lines, [2, 3, 4, 5]);
}

#[test]
fn rows_between_a_cell_that_begins_and_one_that_ends_with_a_quote_are_rows() {
    let corpus = "label\ttext\n0\t\"Hello\n1\tno train\n0\tsaid the other\"\n";
    assert_eq!(texts("a.tsv", corpus), ["\"Hello", "no train", "said the other\""]);
    let closed = "text\tlabel\n\"Hello\t0\nno train\t1\nsaid the other\"\t0\n";
    assert_eq!(texts("a.tsv", closed), ["\"Hello", "no train", "said the other\""]);
    let open = "text\tlabel\na\t0\n\"b\t1\nc\t0\n";
    assert_eq!(texts("a.tsv", open), ["a", "\"b", "c"]);
    let bars = "text|label\n\"Hello|0\nno train|1\nsaid the other\"|0\n";
    assert_eq!(texts("a.csv", bars).len(), 3);
}

#[test]
fn in_a_tsv_of_a_spreadsheet_a_cell_is_quoted_from_end_to_end() {
    let sheet = "text\tlabel\r\n\"two\nlines, \"\"quoted\"\"\"\t0\r\n\"a\ttab\"\t1\r\nplain\t0\r\n";
    assert_eq!(texts("a.tsv", sheet), ["two\nlines, \"quoted\"", "a\ttab", "plain"]);
    let last = "label\ttext\n0\t\"two\nlines\"\n1\tplain\n";
    assert_eq!(texts("a.tsv", last), ["two\nlines", "plain"]);
    let all = "\"text\"\t\"label\"\n\"good\"\t\"1\"\n\"say \"\"no\"\"\"\t\"0\"\n";
    assert_eq!(texts("a.tsv", all), ["good", "say \"no\""]);
}

#[test]
fn in_a_tsv_with_inch_marks_quotes_quote_nothing() {
    assert_eq!(texts("a.tsv", "label\ttext\n0\t5\" tall\n1\t\"b\"\n"), ["5\" tall", "\"b\""]);
    let sheet = "text\tlabel\n5\" tall\t0\n\"a\tb\"\t1\n";
    assert_eq!(texts("a.tsv", sheet), ["5\" tall", "a\tb"], "only so has each row two cells");
    let (message, help) = fails("a.tsv", "text\tlabel\n\"a\t0\nb\tc\t1\n");
    assert_eq!(message, "a.tsv, line 3: 3 cells where the header has 2");
    assert!(help.starts_with("quotes quote nothing in this file"), "{help}");
}

#[test]
fn in_a_csv_a_quote_that_closes_within_a_cell_of_another_line_is_an_error() {
    let (message, help) = fails("a.csv", "text,label\ngood,1\n\"I will come back.,0\nno train,1\n\"Never.,0\n");
    assert_eq!(message, "a.csv, line 3: the double quote that opens here closes in line 5 in the middle of a cell");
    assert!(help.starts_with("the rows between them would be one cell"), "{help}");
    assert_eq!(texts("a.csv", "text,label\n\"a\" b,1\nc,0\n"), ["a b", "c"], "in one line no row is lost");
}

#[test]
fn columns_without_a_name_and_empty_rows_at_the_end_are_left_out() {
    let expected =
        vec![(2, json!({"text": "good, really", "label": "pos"})), (3, json!({"text": "bad", "label": "neg"}))];
    let named_last = "text,label,,\r\n\"good, really\",pos,,\r\nbad,neg,,\r\n,,,\r\n , ,,\r\n\r\n,\r\n";
    assert_eq!(read("a.csv", named_last).unwrap(), expected);
    assert_eq!(read("a.csv", "text,label\n\"good, really\",pos,,\nbad,neg,,\n").unwrap(), expected, "cells behind it");
    assert_eq!(read("a.csv", "text,label,,\n\"good, really\",pos\nbad,neg,\n").unwrap(), expected, "cells left out");
    let index = ",text,label\n0,\"good, really\",pos\n1,bad,neg\n";
    assert_eq!(read("a.csv", index).unwrap(), expected, "the index that pandas writes");
    let commented = read("a.csv", "text,label,\ngood,pos,a comment\n").unwrap();
    assert_eq!(commented, [(2, json!({"text": "good", "label": "pos"}))]);
}

#[test]
fn an_empty_row_that_is_followed_by_others_is_a_row() {
    let rows = read("a.csv", "text,label\ngood,pos\n,\nbad,neg\n,\n").unwrap();
    assert_eq!(rows.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [2, 3, 4]);
    assert_eq!(rows[1].1, json!({"text": "", "label": ""}));
}

#[test]
fn another_separator_is_found() {
    let expected = vec![(2, json!({"text": "good", "label": "pos"})), (3, json!({"text": "a, b", "label": "neg"}))];
    for separator in [";", "\t", "|"] {
        let text = "text,label\ngood,pos\n\"a, b\",neg\n".replace("text,", &format!("text{separator}"));
        let text = text.replace("good,", &format!("good{separator}")).replace("\",", &format!("\"{separator}"));
        assert_eq!(read("a.csv", &text).unwrap(), expected, "{separator:?}");
        let bare = text.replace('"', "");
        assert_eq!(read("a.csv", &bare).unwrap(), expected, "{separator:?} and a comma in a bare cell");
        assert_eq!(read("a.csv", format!("\u{feff}{text}")).unwrap(), expected, "{separator:?} and a byte order mark");
    }
    assert_eq!(read("a.tsv", "text,label\ngood,pos\n\"a, b\",neg\n").unwrap(), expected, "commas in a .tsv");
    assert_eq!(texts("a.csv", "text\none\ntwo; three\n"), ["one", "two; three"], "a single column has none");
}

#[test]
fn a_first_line_names_the_separator() {
    let expected = vec![(3, json!({"text": "good", "label": "pos"}))];
    for first in ["sep=;", "\"sep=;\"", "SEP=;", "\u{feff}sep=;"] {
        assert_eq!(read("a.csv", format!("{first}\r\ntext;label\r\ngood;pos\r\n")).unwrap(), expected, "{first}");
    }
    assert_eq!(read("a.csv", "sep=:\ntext:label\ngood:pos\n").unwrap(), expected);
    assert_eq!(read("a.csv", "sep=,\ntext,label\ngood,pos\n").unwrap(), expected);
    assert_eq!(read("a.csv", "sep=\t\ntext\tlabel\ngood\tpos\n").unwrap(), expected);
    let (message, help) = fails("a.csv", "sep=;;\ntext;label\n");
    assert_eq!(
        (message.as_str(), help.as_str()),
        ("a.csv, line 1: `sep=;;` names no separator", "write a single character, as in `sep=;`, or remove the line",)
    );
}

#[test]
fn a_row_that_does_not_fit_says_what_divides_the_columns() {
    let (message, help) = fails("a.csv", "text;label\ngood;pos\nbad;neg\nso; so;neg\n");
    assert_eq!(message, "a.csv, line 4: 3 cells where the header has 2");
    assert_eq!(
        help,
        "semicolons divide the columns; a cell that holds the separator or a line break stands in double quotes, a double \
         quote in it is doubled"
    );
}

#[test]
fn a_pipe_is_read_as_a_file_is() {
    let tsv = "text\tlabel\n\"a\t0\nb\t1\n";
    #[cfg(unix)]
    {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipe.tsv");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        let writer = std::thread::spawn({
            let path = path.clone();
            move || std::fs::write(path, tsv).unwrap()
        });
        assert_eq!(records(&path).unwrap().count(), 2);
        writer.join().unwrap();
    }
}

#[test]
fn empty_rows_at_the_end_are_skipped_and_those_before_another_are_rows() {
    let rows = |content: &str| -> Vec<(usize, String)> {
        let rows = read("a.csv", content).unwrap();
        rows.into_iter().map(|(line, row)| (line, row["text"].as_str().unwrap().to_owned())).collect()
    };
    let row = |line, text: &str| (line, text.to_owned());
    let expected = [row(2, "a"), row(3, ""), row(4, " "), row(5, "b")];
    assert_eq!(rows("text,label\na,0\n,\n ,\nb,1\n"), expected);
    assert_eq!(rows("text,label\na,0\n,\n ,\nb,1\n,\n , \n,\n"), expected);
    assert_eq!(rows(&format!("text,label\na,0\n{}", ",\n".repeat(100_000))), [row(2, "a")]);
    assert_eq!(rows("text,label\na,0\n\"\",\n,\n"), [row(2, "a"), row(3, "")], "somebody wrote the quotes");
    let torn = "text,label\na,0\n,\n,\nb,1,2\n";
    assert_eq!(fails("a.csv", torn).0, "a.csv, line 5: 3 cells where the header has 2");
}

#[test]
fn a_line_of_nothing_but_separators_is_refused_before_it_becomes_cells() {
    for (name, separator) in [("a.csv", ","), ("a.tsv", "\t")] {
        let line = separator.repeat(300_000);
        for table in [format!("{line}\n"), format!("text{separator}label\na{separator}0\n{line}\n")] {
            assert_eq!(fails(name, table).0, format!("{name}: more than 100000 columns"));
        }
    }
}

#[test]
fn a_text_in_place_of_the_header_is_no_name() {
    let name = |length: usize| format!("{},label\na,0\n", "n".repeat(length));
    assert_eq!(read("a.csv", name(2000)).unwrap().len(), 1);
    let (message, help) = fails("a.csv", name(2001));
    assert_eq!(message, "a.csv: a column's name has 2001 bytes, more than 2000");
    assert!(help.contains("does the file lack it"), "{help}");
}
