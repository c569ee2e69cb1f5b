//! Answers in files that people open: CSV, TSV, Parquet and JSON, with the input's columns beside them.

use serde_json::{Value, json};

use crate::project::{Project, Ran};

const OF: [&str; 5] = ["predict", "--model", "bert", "--adapter", "adapter"];

/// Texts with all that a table has to quote.
fn rows() -> Vec<Value> {
    vec![
        json!({"id": 7, "text": "good, \"very\" good", "score": 0.5, "seen": true, "tags": ["a", "b"]}),
        json!({"id": 8, "text": "bad\nand long", "score": 2, "seen": false, "tags": {"x": 1}}),
        json!({"id": 9, "text": "tab\there  ", "score": null, "seen": null, "tags": null}),
        json!({"id": null, "text": "  Zürich 東京 🙂", "score": 1e-9, "seen": true, "tags": []}),
    ]
}

fn project() -> Project {
    let lines: String = rows().iter().map(|row| format!("{row}\n")).collect();
    Project::with_adapter().file("in.jsonl", lines)
}

fn run(project: &Project, more: &[&str]) -> Ran {
    project.run(&[&OF[..], &["--input", "in.jsonl"], more].concat())
}

/// The labels that JSON lines have.
fn labels(project: &Project) -> Vec<String> {
    let lines = run(project, &[]).done().lines();
    lines.iter().map(|line| line["label"].as_str().unwrap().to_string()).collect()
}

#[test]
fn a_csv_file_quotes_as_rfc_4180_has_it_and_keeps_every_row() {
    let project = project();
    run(&project, &["--columns", "id,text,tags", "--output", "out.csv"]).done();
    let labels = labels(&project);
    // As Python's csv.writer writes these cells (QUOTE_MINIMAL).
    let cells = [
        "7,\"good, \"\"very\"\" good\",\"[\"\"a\"\",\"\"b\"\"]\"",
        "8,\"bad\nand long\",\"{\"\"x\"\":1}\"",
        "9,tab\there  ,",
        ",  Zürich 東京 🙂,[]",
    ];
    let table = project.read("out.csv");
    assert!(table.starts_with("id,text,tags,label,probability,p_LABEL_0,p_LABEL_1,p_LABEL_2\n"), "{table}");
    for (cells, label) in cells.iter().zip(&labels) {
        assert!(table.contains(&format!("\n{cells},{label},0.")), "{cells} in {table}");
    }
    // And as kindling reads it.
    let again = project.run(&[&OF[..], &["--input", "out.csv", "--columns", "text"]].concat()).done().lines();
    let texts: Vec<&Value> = again.iter().map(|line| &line["text"]).collect();
    assert_eq!(texts, rows().iter().map(|row| &row["text"]).collect::<Vec<_>>());
}

#[test]
fn a_tsv_file_keeps_its_rows_whatever_they_hold() {
    let project = project();
    run(&project, &["--columns", "text", "--output", "out.tsv"]).done();
    let table = project.read("out.tsv");
    assert!(table.starts_with("text\tlabel\tprobability\tp_LABEL_0\t"), "{table}");
    assert!(table.contains("\n\"bad\nand long\"\t"), "{table}");
    assert!(table.contains("\n\"tab\there  \"\t"), "{table}");
}

#[test]
fn a_parquet_file_keeps_the_types_of_columns() {
    let project = project();
    run(&project, &["--output", "out.parquet"]).done();
    let again =
        project.run(&[&OF[..], &["--input", "out.parquet", "--columns", "id,text,score,seen,probability"]].concat());
    let again = again.done().lines();
    let first = run(&project, &[]).done().lines();
    for ((row, again), first) in rows().iter().zip(&again).zip(&first) {
        for column in ["id", "text", "seen"] {
            assert_eq!(again[column], row[column], "{column}");
        }
        assert_eq!(again["score"].as_f64(), row["score"].as_f64(), "an integer among fractions is one");
        let id = first["label_id"].as_u64().unwrap() as usize;
        assert_eq!(again["probability"], first["probabilities"][id]);
    }
    let bytes = std::fs::read(project.path("out.parquet")).unwrap();
    assert_eq!((&bytes[..4], &bytes[bytes.len() - 4..]), (&b"PAR1"[..], &b"PAR1"[..]));
}

#[test]
fn an_object_a_line_and_an_array_of_them_hold_the_same() {
    let project = project();
    run(&project, &["--output", "out.jsonl", "--named"]).done();
    run(&project, &["--output", "out.json", "--named"]).done();
    let lines: Vec<Value> = project.read("out.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(serde_json::from_str::<Vec<Value>>(&project.read("out.json")).unwrap(), lines);
    let plain = run(&project, &[]).done().lines();
    for ((line, row), plain) in lines.iter().zip(rows()).zip(plain) {
        let keys: Vec<&String> = line.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["id", "text", "score", "seen", "tags", "label", "label_id", "probabilities", "logits"]);
        row.as_object().unwrap().iter().for_each(|(key, value)| assert_eq!(&line[key], value));
        for class in 0..3 {
            assert_eq!(line["probabilities"][format!("LABEL_{class}")], plain["probabilities"][class]);
        }
        assert_eq!(line["logits"], plain["logits"]);
    }
}

#[test]
fn a_column_that_later_rows_have_is_a_column_of_the_table() {
    let rows = "{\"text\": \"good\"}\n{\"text\": \"bad\", \"source\": \"web\"}\n";
    let project = Project::with_adapter().file("in.jsonl", rows);
    run(&project, &["--output", "out.csv"]).done();
    let table = project.read("out.csv");
    assert!(table.starts_with("text,source,label,"), "{table}");
    assert!(table.contains("\ngood,,LABEL_") && table.contains("\nbad,web,LABEL_"), "{table}");
}

#[test]
fn a_column_of_the_input_that_is_named_like_an_answer_is_renamed_and_said() {
    let project = Project::with_adapter();
    let ran = project.run(&[&OF[..], &["--input", "train.jsonl", "--output", "out.csv"]].concat()).done();
    let said = "the input's column `label` is written as `input_label`: `label` is a column of the predictions\n";
    assert_eq!(ran.stderr.matches(said).count(), 1, "{}", ran.stderr);
    let table = project.read("out.csv");
    assert!(table.starts_with("text,input_label,label,probability,"), "{table}");
    let wanted: Value = serde_json::from_str(project.read("train.jsonl").lines().next().unwrap()).unwrap();
    let first = format!("\n{},{},LABEL_", wanted["text"].as_str().unwrap(), wanted["label"]);
    assert!(table.contains(&first), "{table}");
}

#[test]
fn what_cannot_be_written_is_refused_before_anything_is_computed() {
    let project = project();
    run(&project, &["--output", "out.xlsx"]).refused(
        "error: cannot write out.xlsx: unknown format `.xlsx`\n\
         help: the extension sets the format: .jsonl, .ndjson, .json, .csv, .tsv, .parquet",
    );
    let refused = run(&project, &["--columns", "id,txet", "--output", "out.csv"]);
    assert!(
        refused
            .stderr
            .ends_with("error: in.jsonl has no column `txet`, which `--columns` names\nhelp: did you mean `text`?\n"),
        "{}",
        refused.stderr
    );
    assert_eq!((refused.status, project.path("out.csv").exists()), (Some(2), false));
}

#[test]
fn rows_that_cannot_be_answered_are_named_after_all_others_are_written() {
    let rows = "{\"text\": \"good\"}\n{\"text\": \"\"}\n{\"text\": 5}\n{\"txt\": \"a\"}\n{\"text\": \"bad\n\n{\"text\": \"bad\"}\n";
    let project = Project::with_adapter().file("in.jsonl", rows);
    run(&project, &["--output", "out.csv"])
        .stderr
        .contains("error: in.jsonl, line 2: column `text` is empty\n")
        .then_some(())
        .unwrap();
    assert!(!project.path("out.csv").exists(), "nothing is written where nothing was said to go on");
    let ran = run(&project, &["--output", "out.csv", "--columns", "text", "--keep-going"]);
    let said = "error: no prediction for 4 of 6 rows; the others were written:\n\
                \x20\x20in.jsonl, line 2: column `text` is empty\n\
                \x20\x20in.jsonl, line 3: column `text` should be a string, found a number\n\
                \x20\x20in.jsonl, line 4: the row has no column `text` (columns: txt)\n\
                \x20\x20in.jsonl, line 5, column 13: malformed JSON: EOF while parsing a string\n\
                help: correct these rows, or leave them out\n";
    assert!(ran.stderr.ends_with(said), "{}", ran.stderr);
    assert_eq!(ran.status, Some(2));
    let table = project.read("out.csv");
    let texts: Vec<&str> = table.lines().skip(1).map(|line| line.split(',').next().unwrap()).collect();
    assert_eq!(texts, ["good", "bad"]);
}

#[test]
fn where_no_row_can_be_answered_an_earlier_file_is_kept() {
    let project =
        Project::with_adapter().file("in.jsonl", "{\"txt\": \"a\"}\n{\"text\": 1}\n").file("out.csv", "old\n");
    let ran = run(&project, &["--quiet", "--output", "out.csv", "--keep-going"]);
    ran.refused(
        "error: no prediction for any of 2 rows; nothing was written:\n\
         \x20\x20in.jsonl, line 1: in.jsonl has no column `text` (columns: txt)\n\
         \x20\x20in.jsonl, line 2: column `text` should be a string, found a number\n\
         help: correct these rows, or leave them out",
    );
    assert_eq!(project.read("out.csv"), "old\n");
}

#[test]
fn every_example_is_listed_with_what_was_expected_and_predicted() {
    let project = Project::with_adapter();
    let eval = |more: &[&str]| {
        project
            .run(&[&["eval", "--model", "bert", "--adapter", "adapter", "--data", "train.jsonl"], more].concat())
            .done()
    };
    eval(&["--per-example", "each.jsonl", "--logits"]);
    eval(&["--per-example", "each.csv", "--logits"]);
    let predicted = project.run(&[&OF[..], &["--input", "train.jsonl"]].concat()).done().lines();
    let text = project.read("each.jsonl");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let rows = project.read("train.jsonl");
    for (number, ((line, row), predicted)) in lines.iter().zip(rows.lines()).zip(&predicted).enumerate() {
        let row: Value = serde_json::from_str(row).unwrap();
        assert_eq!((&line["line"], &line["text"]), (&json!(number + 1), &row["text"]));
        assert_eq!(line["label"], json!(format!("LABEL_{}", row["label"])));
        assert_eq!((&line["predicted"], &line["logits"]), (&predicted["label"], &predicted["logits"]));
    }
    let table = project.read("each.csv");
    assert!(
        table.starts_with("line,text,label,predicted,loss,tokens,logit_LABEL_0,logit_LABEL_1,logit_LABEL_2\n"),
        "{table}"
    );
    assert_eq!(table.lines().count(), 33);
}

#[test]
fn generated_texts_stand_in_a_table_beside_their_prompts() {
    let project =
        Project::new().copy("gpt2-lm/model", "base").file("in.csv", "prompt,text,n\nthe,old,1\n\"a, b\",older,2\n");
    let of =
        ["generate", "--model", "base", "--input", "in.csv", "--max-new-tokens", "4", "--set", "data.prompt=prompt"];
    let ran = project.run(&[&of[..], &["--output", "out.csv"]].concat()).done();
    assert!(ran.stderr.contains("the input's column `text` is written as `input_text`"), "{}", ran.stderr);
    let lines = project.run(&of).done().lines();
    project.run(&[&of[..], &["--output", "out.jsonl", "--columns", "n"]].concat()).done();
    let table = project.read("out.csv");
    assert!(table.starts_with("prompt,input_text,n,text,finish_reason\nthe,old,1,"), "{table}");
    assert!(table.contains("\n\"a, b\",older,2,"), "{table}");
    let with_n: Vec<Value> =
        project.read("out.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (n, (with, without)) in with_n.iter().zip(&lines).enumerate() {
        assert_eq!((&with["n"], &with["text"]), (&json!((n + 1).to_string()), &without["text"]));
    }
}
