//! Texts made of several columns.

use crate::project::Project;

const TEMPLATE: &str = "data.text_template=\"{{ title }}: {{ body }}\"";

/// Titles and bodies that together are the texts of `train.jsonl`.
fn project() -> Project {
    let project = Project::with_adapter();
    let split = |line: &str| {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        let (title, body) = row["text"].as_str().unwrap().split_once(' ').unwrap();
        serde_json::json!({ "title": title, "body": body, "label": row["label"] }).to_string() + "\n"
    };
    let rows: String = project.read("train.jsonl").lines().map(split).collect();
    let joined = project.read("train.jsonl").lines().map(|line| line.replacen(' ', "\u{1}", 2)).collect::<Vec<_>>();
    let texts: String =
        joined.iter().map(|line| line.replacen('\u{1}', " ", 1).replacen('\u{1}', ": ", 1) + "\n").collect();
    project.file("rows.jsonl", rows).file("texts.jsonl", texts)
}

#[test]
fn a_template_is_used_in_training_evaluation_and_prediction() {
    let project = project();
    project.train(&["--set", "data.train=rows.jsonl", "--set", TEMPLATE]).done();
    let adapter = ["--model", "bert", "--adapter", "run/adapter"];
    let eval = |data: &str, more: &[&str]| {
        project.run(&[&["eval", "--json", "--data", data], &adapter[..], more].concat()).done().stdout
    };
    assert!(project.read("run/adapter/kindling.json").contains("{{ title }}: {{ body }}"));
    let by_template = eval("rows.jsonl", &[]);
    assert_eq!(by_template, eval("texts.jsonl", &["--set", "data.text=text"]));
    let predict = |arguments: &[&str]| project.run(&[&["predict"], &adapter[..], arguments].concat()).done().stdout;
    assert_eq!(predict(&["--input", "rows.jsonl"]).lines().count(), project.read("rows.jsonl").lines().count());
    let words = project.run(&[&["predict"], &adapter[..], &["a fine film"]].concat());
    let refusal = "error: the model reads several columns (body, title), not one text\n\
        help: give a file with these columns with --input, or JSON lines on standard input\n";
    assert!(words.stderr.ends_with(refusal), "{}", words.stderr);
    assert_eq!((words.status, words.stdout.as_str()), (Some(2), ""));
}

#[test]
fn a_template_that_does_not_parse_is_shown_where_it_fails() {
    let ran = project().train(&["--set", "data.train=rows.jsonl", "--set", "data.text_template=\"{{ title\""]);
    ran.refused(
        "error: `data.text_template`, line 1, column 4: unexpected end of input, expected end of variable block\n\
         help: a column is written {{ text }}, a condition {% if text %} ... {% endif %}",
    );
}

#[test]
fn a_template_that_names_no_column_is_refused() {
    let ran = project().train(&["--set", "data.train=rows.jsonl", "--set", "data.text_template=\"{{ titel }}\""]);
    ran.refused(
        "error: [DIR]/rows.jsonl has no column `titel` (columns: title, body, label)\n\
         help: `data.text_template` names it: did you mean `title`?",
    );
}

#[test]
fn a_text_and_a_template_exclude_each_other() {
    project()
        .train(&["--set", "data.text=title", "--set", TEMPLATE])
        .refused(&format!("error: `--set {TEMPLATE}`: `--set data.text=title` is set too\nhelp: keep one of the two"));
}

#[test]
fn broken_parquet_is_refused() {
    let project = project().file("rows.parquet", "PAR1 and then no table PAR1");
    let ran = project.train(&["--set", "data.train=rows.parquet"]);
    assert!(ran.stderr.starts_with("error: [DIR]/rows.parquet: broken Parquet data: "), "{}", ran.stderr);
    assert_eq!(ran.status, Some(2));
    let project = project.file("rows.parquet", "title,body\n");
    let ran = project.train(&["--set", "data.train=rows.parquet"]);
    assert!(ran.stderr.starts_with("error: [DIR]/rows.parquet is not a Parquet file"), "{}", ran.stderr);
    assert_eq!(ran.status, Some(2));
}
