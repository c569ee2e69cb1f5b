//! Files of examples with a mistake in each.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::project::{Project, Ran};

const EVAL: [&str; 5] = ["eval", "--model", "bert", "--data", "test.csv"];

/// Trains on `contents` as the file `name`.
fn train_on(name: &str, contents: impl AsRef<[u8]>) -> Ran {
    let config = format!("\"{name}\"");
    Project::new().file(name, contents).replace("run.toml", "\"train.jsonl\"", &config).train(&[])
}

/// Trains on `contents` a BERT without a head, whose classes are those of the data.
fn train_anew_on(name: &str, contents: impl AsRef<[u8]>) -> Ran {
    let config = format!("\"{name}\"");
    Project::new()
        .tensors("bert/model.safetensors", |tensors| tensors.remove(|name| name.starts_with("classifier.")))
        .file(name, contents)
        .replace("run.toml", "\"train.jsonl\"", &config)
        .train(&[])
}

fn compressed(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn an_empty_file_is_refused() {
    train_on("empty.jsonl", "").refused(
        "error: [DIR]/empty.jsonl holds no rows\n\
         help: expected at least one row of data",
    );
}

#[test]
fn a_header_alone_is_no_data() {
    train_on("header.csv", "text,label\n").refused(
        "error: [DIR]/header.csv holds no rows\n\
         help: expected at least one row of data",
    );
}

#[test]
fn a_missing_column_is_named_with_those_there_are() {
    train_on("sst2.csv", "sentence,label\na fine film,1\n").refused(
        "error: [DIR]/sst2.csv has no column `text` (columns: sentence, label)\n\
         help: set `data.text = \"sentence\"`",
    );
}

#[test]
fn a_column_that_only_some_rows_have_is_missed_in_the_row() {
    train_on("some.jsonl", "{\"text\": \"good\", \"label\": 1}\n{\"txt\": \"bad\", \"label\": 0}\n").refused(
        "error: [DIR]/some.jsonl, line 2: the row has no column `text` (columns: txt, label)\n\
         help: give the row the columns of the file's first row, or remove it",
    );
}

#[test]
fn a_written_column_must_be_there() {
    Project::new().replace("run.toml", "[train]", "text_pair = \"premise\"\n[train]").train(&[]).refused(
        "error: [DIR]/train.jsonl has no column `premise` (columns: text, label)\n\
         help: no other column can be `data.text_pair`",
    );
}

#[test]
fn a_null_label_is_refused_with_its_line() {
    train_on("null.jsonl", "{\"text\": \"good\", \"label\": 1}\n{\"text\": \"bad\", \"label\": null}\n").refused(
        "error: [DIR]/null.jsonl, line 2: the row has no label (absent, null or empty)\n\
         help: give the row a label, or remove it",
    );
}

#[test]
fn an_unknown_label_is_refused_with_those_there_are() {
    train_on("label.jsonl", "{\"text\": \"good\", \"label\": 1}\n{\"text\": \"bad\", \"label\": 3}\n").refused(
        "error: [DIR]/label.jsonl, line 2: unknown label `3`\n\
         help: known: LABEL_0, LABEL_1, LABEL_2, or 0 to 2",
    );
}

#[test]
fn a_misspelt_label_is_refused_with_its_neighbour() {
    let project = Project::new()
        .file("train.csv", "text,label\nbad,negative\ngood,positive\nso so,nuetral\n")
        .replace("run.toml", "\"train.jsonl\"", "\"train.csv\"")
        .replace("run.toml", "[data]", "labels = [\"negative\", \"neutral\", \"positive\"]\n[data]");
    project.train(&[]).refused(
        "error: [DIR]/train.csv, line 4: unknown label `nuetral`\n\
         help: did you mean `neutral`?",
    );
}

#[test]
fn a_label_that_is_a_fraction_is_refused() {
    train_on("score.jsonl", "{\"text\": \"good\", \"label\": 0.75}\n").refused(
        "error: [DIR]/score.jsonl, line 1: column `label` should be an integer or a string, found a fraction (0.75)\n\
         help: classes are names or the integers 0, 1, 2, ...; another column is chosen with `data.label`",
    );
}

#[test]
fn fractions_in_a_table_are_refused_unless_they_are_listed_as_classes() {
    let scores = "text,label\ngood,4\nfine,3.75\nbad,0.5\n";
    train_anew_on("scores.csv", scores).refused(
        "error: [DIR]/scores.csv, line 3: the label 3.75 is a fraction, and all labels are numbers, not classes\n\
         help: `model.task = \"regression\"` learns the numbers; for classes write names or whole numbers, or list classes \
         that are named by fractions in `model.labels`",
    );
    Project::new()
        .file("scores.csv", scores)
        .replace("run.toml", "\"train.jsonl\"", "\"scores.csv\"")
        .replace("run.toml", "[data]", "labels = [\"0.5\", \"3.75\", \"4\"]\n[data]")
        .train(&["--dry-run"])
        .done();
}

#[test]
fn a_negative_label_is_refused() {
    train_anew_on("labels.csv", "text,label\ngood,1\nbad,-1\n").refused(
        "error: [DIR]/labels.csv, line 3: the label -1 is negative\n\
         help: number the classes 0, 1, 2, ..., or name them",
    );
}

#[test]
fn labels_with_a_gap_are_refused() {
    train_anew_on("labels.csv", "text,label\ngood,2\nbad,0\n").refused(
        "error: [DIR]/labels.csv: labels go up to 2, but no row has the label 1\n\
         help: number the classes 0, 1, 2, ... without a gap, or list their names in `model.labels`",
    );
}

#[test]
fn data_of_one_class_are_refused() {
    train_anew_on("labels.csv", "text,label\nfine,good\ngreat,good\n").refused("error: [DIR]/labels.csv: every row has the label `good`\n\
         help: classification needs at least two classes; the column is chosen with `data.label`, classes without rows are listed in `model.labels`");
}

#[test]
fn a_malformed_json_line_is_refused_with_line_and_column() {
    train_on("train.jsonl", "{\"text\": \"good\", \"label\": 1}\n{\"text\": \"bad\" \"label\": 0}\n").refused(
        "error: [DIR]/train.jsonl, line 2, column 16: malformed JSON: expected `,` or `}`\n\
         help: each line is a whole object, for example {\"text\": \"...\", \"label\": 0}",
    );
}

#[test]
fn a_line_that_is_no_object_is_refused() {
    train_on("train.jsonl", "[\"good\", 1]\n").refused(
        "error: [DIR]/train.jsonl, line 1: expected a JSON object, found an array\n\
         help: a row reads {\"text\": \"...\", \"label\": ...}",
    );
}

#[test]
fn an_array_under_the_name_of_json_lines_is_refused() {
    train_on("train.jsonl", "[\n{\"text\": \"good\", \"label\": 1}\n]\n").refused(
        "error: [DIR]/train.jsonl, line 1, column 1: malformed JSON: EOF while parsing a list\n\
         help: each line is a whole object; a file that is one array is named .json",
    );
}

#[test]
fn json_lines_under_the_name_of_an_array_are_refused() {
    train_on("train.json", "{\"text\": \"good\", \"label\": 1}\n{\"text\": \"bad\", \"label\": 0}\n").refused(
        "error: [DIR]/train.json, line 2, column 1: malformed JSON: trailing characters\n\
         help: a file with an object a line is named .jsonl",
    );
}

#[test]
fn invalid_utf_8_is_refused_with_line_and_byte() {
    train_on("latin1.csv", b"text,label\ngood,1\ncaf\xe9,0\n").refused(
        "error: [DIR]/latin1.csv, line 3: not valid UTF-8 (byte 4 of the line)\n\
         help: the file is most likely in Windows-1252 or Latin-1: save it as UTF-8 (in Excel as `CSV UTF-8`), or convert \
         it with `iconv -f windows-1252 -t utf-8 [DIR]/latin1.csv > utf8.csv`",
    );
}

#[test]
fn broken_utf_16_is_refused_with_its_line() {
    train_on("utf16.csv", b"\xff\xfet\0\n\0x").refused(
        "error: [DIR]/utf16.csv, line 2: not valid UTF-16\n\
         help: the copy or download may be incomplete: fetch the file again, or save it as UTF-8",
    );
}

#[test]
fn a_separator_that_no_program_writes_is_not_taken_for_a_column() {
    train_on("colons.csv", "text:label\ngood:1\nbad:0\n").refused(
        "error: [DIR]/colons.csv has no column `text` (columns: text:label)\n\
         help: the header is a single cell: commas, semicolons, tabs and bars divide columns, another character where a \
         first line names it, as in `sep=:`",
    );
}

#[test]
fn a_quote_that_closes_within_another_row_is_refused() {
    train_on("quotes.csv", "text,label\n\"I will come.,1\nno,0\n\"Never.,1\n").refused(
        "error: [DIR]/quotes.csv, line 2: the double quote that opens here closes in line 4 in the middle of a cell\n\
         help: the rows between them would be one cell: a cell that begins with a double quote stands in double quotes as a \
         whole, with each double quote in it doubled",
    );
}

#[test]
fn not_a_number_in_json_lines_is_refused_with_its_key() {
    train_on("nan.jsonl", "{\"text\": \"good\", \"score\": NaN, \"label\": 1}\n").refused(
        "error: [DIR]/nan.jsonl, line 1, column 27: malformed JSON: NaN, the value of `score`, is no number in JSON\n\
         help: write null or a number: Python's `json.dumps` writes it unless it is told `allow_nan=False`, `to_json` of \
         pandas writes null",
    );
}

#[test]
fn half_a_character_in_json_lines_is_refused_with_its_place() {
    train_on("half.jsonl", r#"{"text": "good \ud83d", "label": 1}"#).refused(
        "error: [DIR]/half.jsonl, line 1, column 16: malformed JSON: \\ud83d is half of a character (a lone surrogate)\n\
         help: remove it, or write the text again from its source: it was cut within an emoji or another character of two \
         such halves",
    );
}

#[test]
fn labels_that_are_booleans_and_numbers_are_refused() {
    train_anew_on("mixed.jsonl", "{\"text\": \"good\", \"label\": true}\n{\"text\": \"bad\", \"label\": 0}\n").refused(
        "error: [DIR]/mixed.jsonl, line 2: the label is the number 0, in line 1 it is the boolean true\n\
         help: write all labels one way: true and false, the numbers 0 and 1, or names",
    );
}

#[test]
fn a_row_with_too_many_cells_is_refused_with_its_line() {
    train_on("ragged.csv", "text,label\na fine film,1\nno, not good,0\n").refused("error: [DIR]/ragged.csv, line 3: 3 cells where the header has 2\n\
         help: a cell that holds the separator or a line break stands in double quotes, a double quote in it is doubled");
}

#[test]
fn a_quote_that_is_never_closed_is_refused_where_it_opens() {
    train_on("quote.csv", "text,label\n\"fine,1\nbad,0\n").refused(
        "error: [DIR]/quote.csv, line 2: the double quote that opens here is never closed\n\
         help: close it, or double each double quote of the cell and put the cell in double quotes",
    );
}

#[test]
fn two_columns_of_one_name_are_refused() {
    train_on("columns.csv", "text,text,label\na,b,0\n").refused(
        "error: [DIR]/columns.csv: two columns are named `text`\n\
         help: rename one of them in the header",
    );
}

#[test]
fn a_gzip_file_that_was_cut_short_is_refused() {
    let text: String = (0..400).map(|i| format!("{{\"text\": \"good {i}\", \"label\": {}}}\n", i % 3)).collect();
    let bytes = compressed(&text);
    train_on("train.jsonl.gz", &bytes[..bytes.len() / 2]).refused(
        "error: [DIR]/train.jsonl.gz: broken gzip data: incomplete deflate stream\n\
         help: the copy or download may be incomplete: `gzip -t [DIR]/train.jsonl.gz` checks it",
    );
}

#[test]
fn a_gzip_file_that_is_none_is_refused() {
    train_on("train.csv.gz", "text,label\ngood,1\n").refused(
        "error: [DIR]/train.csv.gz: broken gzip data: invalid gzip header\n\
         help: the copy or download may be incomplete: `gzip -t [DIR]/train.csv.gz` checks it",
    );
}

#[test]
fn a_compressed_file_without_its_ending_is_named_as_such() {
    train_on("train.csv", compressed("text,label\ngood,1\n")).refused(
        "error: [DIR]/train.csv, line 1: not valid UTF-8 (byte 2 of the line)\n\
         help: the file is compressed: give it a name that ends in .gz",
    );
}

#[test]
fn an_unknown_type_of_file_is_refused() {
    train_on("train.xlsx", "PK").refused(
        "error: [DIR]/train.xlsx: unknown file type `.xlsx`\n\
         help: save the sheet as CSV UTF-8 (.csv)",
    );
    train_on("train.xml", "<").refused("error: [DIR]/train.xml: unknown file type `.xml`\n\
         help: supported: .jsonl (or .ndjson), .json, .csv, .tsv, .parquet, .conll (or .bio, .iob), .txt, each of them also with .gz, and - for JSON lines on standard input");
}

#[test]
fn a_text_that_is_no_string_is_refused() {
    train_on("train.jsonl", "{\"text\": 12, \"label\": 0}\n").refused(
        "error: [DIR]/train.jsonl, line 1: column `text` should be a string, found a number\n\
         help: put the value in double quotes, or choose another column with `data.text`",
    );
}

#[test]
fn an_empty_text_is_refused() {
    train_on("train.csv", "text,label\ngood,1\n\"\",0\n").refused(
        "error: [DIR]/train.csv, line 3: column `text` is empty\n\
         help: give the row a text, or remove it",
    );
}

#[test]
fn validation_data_have_the_columns_of_the_training_data() {
    let project = Project::new().file("valid.csv", "sentence,label\ngood,1\n");
    project.replace("run.toml", "[train]", "valid = \"valid.csv\"\n[train]").train(&[]).refused(
        "error: [DIR]/valid.csv has no column `text` (columns: sentence, label)\n\
         help: set `data.text = \"sentence\"`",
    );
}

#[test]
fn eval_needs_labels() {
    Project::new().file("test.csv", "text,stars\ngood,five\n").run(&EVAL).refused(
        "error: test.csv has no column `label` (columns: text, stars)\n\
         help: add `--set data.label=stars`",
    );
}

#[test]
fn eval_of_a_missing_file_looks_among_its_neighbours() {
    Project::new().file("tests.csv", "text,label\ngood,1\n").run(&EVAL).refused(
        "error: test.csv does not exist\n\
         help: did you mean `tests.csv`?",
    );
}

#[test]
fn eval_of_an_empty_file_is_refused() {
    Project::new().file("test.csv", "").run(&EVAL).refused(
        "error: test.csv holds no rows\n\
         help: expected at least one row of data",
    );
}

#[test]
fn eval_refuses_a_label_that_the_model_does_not_have() {
    Project::new().file("test.csv", "text,label\ngood,LABEL_7\n").run(&EVAL).refused(
        "error: test.csv, line 2: unknown label `LABEL_7`\n\
         help: did you mean `LABEL_0`?",
    );
}

#[test]
fn predict_needs_the_text_column() {
    let project = Project::new().file("in.jsonl", "{\"sentence\": \"good\"}\n");
    project.run(&["predict", "--model", "bert", "--input", "in.jsonl"]).refused(
        "error: in.jsonl has no column `text` (columns: sentence)\n\
         help: add `--set data.text=sentence`",
    );
}

#[test]
fn a_malformed_line_of_standard_input_is_refused_with_its_number() {
    Project::new().run_with_input(&["predict", "--model", "bert"], "{\"text\": \"good\"\n").refused(
        "error: standard input, line 1, column 15: malformed JSON: EOF while parsing an object\n\
         help: each line is a whole object; where lines are texts, `--input-format text` takes them as they are",
    );
}

#[test]
fn an_input_that_is_a_directory_is_refused() {
    Project::new().run(&["predict", "--model", "bert", "--input", "bert"]).refused(
        "error: bert is a directory, not a file\n\
         help: name a file in it",
    );
}

#[test]
fn a_tokenizer_with_more_tokens_than_the_model_is_refused() {
    let text = "{\"text\": \"a fine film\", \"label\": 0}\n";
    let project = Project::new().copy("roberta-cls/model/tokenizer.json", "bert/tokenizer.json");
    let project = project.file("train.jsonl", text);
    let expected = "error: the tokenizer gives the id 399, the model has embeddings for 264\n\
         help: tokenizer and checkpoint do not belong together: copy both from one place";
    project.train(&[]).refused(expected);
    project.run(&["eval", "--model", "bert", "--data", "train.jsonl"]).refused(expected);
    project.run(&["predict", "--model", "bert", "a fine film"]).refused(expected);
}
