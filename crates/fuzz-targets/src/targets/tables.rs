//! Data files: every row is read, as training does, and looked at, as `init` does.

use data::{Column, Given, Guess, Profile, records};

use super::files::with_file;
use super::{Form, Target};
use crate::corpus;
use crate::mutate::packed;

pub(super) fn targets() -> [Target; 9] {
    [
        Target { name: "json-lines", form: Form::Text, seeds: json_lines, run: |input| read("rows.jsonl", input) },
        Target {
            name: "json-lines-values",
            form: Form::Json,
            seeds: json_rows,
            run: |input| read("rows.jsonl", input),
        },
        Target { name: "json", form: Form::Json, seeds: json, run: |input| read("rows.json", input) },
        Target { name: "csv", form: Form::Text, seeds: csv, run: |input| read("rows.csv", input) },
        Target { name: "tsv", form: Form::Text, seeds: csv, run: |input| read("rows.tsv", input) },
        Target { name: "conll", form: Form::Text, seeds: conll, run: |input| read("rows.conll", input) },
        Target {
            name: "parquet",
            form: Form::Parquet,
            seeds: corpus::parquet_files,
            run: |input| read("rows.parquet", input),
        },
        Target {
            name: "gzip-csv",
            form: Form::Gzip(&Form::Text),
            seeds: || gzip(csv()),
            run: |input| read("rows.csv.gz", input),
        },
        Target {
            name: "gzip-json-lines",
            form: Form::Gzip(&Form::Text),
            seeds: || gzip(json_lines()),
            run: |input| read("rows.jsonl.gz", input),
        },
    ]
}

fn json_lines() -> Vec<Vec<u8>> {
    let chats =
        br#"{"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello", "weight": 0}]}
{"prompt": "1 + 1", "completion": "2"}
"#;
    vec![
        corpus::beginning("tests/fixtures/parity/bert-cls/data.jsonl", 1000),
        corpus::beginning("datasets/house/test.jsonl", 1000),
        chats.to_vec(),
    ]
}

/// Single rows, whose values are changed.
fn json_rows() -> Vec<Vec<u8>> {
    json_lines()
        .iter()
        .flat_map(|file| file.split(|byte| *byte == b'\n').take(2).map(<[u8]>::to_vec).collect::<Vec<_>>())
        .collect()
}

fn json() -> Vec<Vec<u8>> {
    let rows = br#"[{"text": "a", "label": 1, "tags": ["B-PER", "O"]}, {"text": "b", "label": null, "tags": []}]"#;
    vec![rows.to_vec(), [br#"{"version": 1, "data": "#.as_slice(), rows, b"}"].concat()]
}

fn csv() -> Vec<Vec<u8>> {
    let tables = [
        "text,label\nthe screen cracked,negative\n\"quick, \"\"fine\"\"\",positive\n",
        "sep=;\ntext;score\na;1,5\nb;2\n",
        "id\tquestion\tanswer\n1\t\"what?\tno\n2\twhere\there\n",
        "a|b|\r\n1|2|\r\n\r\n3|4|\r\n",
    ];
    tables.map(|table| table.as_bytes().to_vec()).to_vec()
}

fn conll() -> Vec<Vec<u8>> {
    let files = [
        "-DOCSTART- -X- O O\n\nEU NNP B-NP B-ORG\nrejects VBZ B-VP O\n\nPeter NNP B-NP B-PER\n. . O O\n",
        "# text = a b\na\tB-X\nb\tI-X\n\nc\tO\n",
    ];
    files.map(|file| file.as_bytes().to_vec()).to_vec()
}

fn gzip(files: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    files.iter().map(|file| packed(file)).collect()
}

fn read(name: &str, input: &[u8]) {
    with_file(name, input, |path| {
        if let Ok(rows) = records(path) {
            rows.take_while(Result::is_ok).for_each(drop);
        }
        if let Ok(rows) = records(path)
            && let Ok(profile) = Profile::of(rows)
        {
            let _ = profile.column("text").map(Column::is_of_lists);
            let _ = Guess::of(&profile, Given::default());
        }
        if let Ok(lines) = data::lines(path, None) {
            lines.for_each(drop);
        }
    });
}
