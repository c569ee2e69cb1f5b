//! Standard input as people and programs write it.

use serde_json::{Value, json};

use crate::project::{Project, Ran};

const OF: [&str; 5] = ["predict", "--model", "bert", "--adapter", "adapter"];

fn piped(project: &Project, arguments: &[&str], input: &str) -> Ran {
    project.run_with_input(&[&OF[..], arguments].concat(), input)
}

fn texts(ran: Ran) -> Vec<Value> {
    ran.done().lines().iter().map(|line| line["text"].clone()).collect()
}

#[test]
fn a_line_that_is_an_object_is_a_row_and_any_other_is_a_text() {
    let project = Project::with_adapter();
    let input = "a fine film\n\n{\"text\": \"a row\"}\n  42\n\"quoted\"\n[1, 2]\r\n  \nthe last";
    let found = texts(piped(&project, &["--columns", "text"], input));
    assert_eq!(found, ["a fine film", "a row", "  42", "\"quoted\"", "[1, 2]", "the last"]);
    let expected = project.run(&[&OF[..], &["a fine film", "a row"]].concat()).done().stdout;
    assert_eq!(piped(&project, &[], "a fine film\na row\n").done().stdout, expected, "as typed behind the command");
}

#[test]
fn half_an_object_is_no_text() {
    let project = Project::with_adapter();
    for input in ["{\"text\": \"good\"\n", "{\"text\": \"good\"}\n{broken\n"] {
        let refused = piped(&project, &[], input);
        assert_eq!(refused.status, Some(2));
        assert!(refused.stderr.contains("error: standard input, line "), "{}", refused.stderr);
        let help =
            "help: each line is a whole object; where lines are texts, `--input-format text` takes them as they are\n";
        assert!(refused.stderr.ends_with(help), "{}", refused.stderr);
    }
    let input = "{\"text\": \"good\"\n{smile} good\n";
    let found = texts(piped(&project, &["--columns", "text", "--input-format", "text"], input));
    assert_eq!(found, ["{\"text\": \"good\"", "{smile} good"]);
    assert_eq!(texts(piped(&project, &["--columns", "text"], "{smile} good\n")), ["{smile} good"]);
}

#[test]
fn a_format_can_be_named_for_what_has_no_name() {
    let project = Project::with_adapter();
    let expected = ["good, and long", "bad"];
    for (format, input) in [
        ("csv", "id,text\n1,\"good, and long\"\n2,bad\n"),
        ("tsv", "id\ttext\n1\tgood, and long\n2\tbad\n"),
        ("json", "[{\"text\": \"good, and long\"},\n {\"text\": \"bad\"}]"),
        ("jsonl", "{\"text\": \"good, and long\"}\n{\"text\": \"bad\"}\n"),
        ("text", "good, and long\nbad\n"),
    ] {
        let ran = piped(&project, &["--input-format", format, "--columns", "text"], input);
        assert_eq!(texts(ran), expected, "{format}");
    }
    let project = project.file("texts.log", "good, and long\nbad\n");
    let named = ["--input", "texts.log", "--input-format", "text", "--columns", "text"];
    assert_eq!(texts(piped(&project, &named, "")), expected);
    piped(&project, &["--input", "texts.csv", "--output", "out.parquet"], "");
    project.run(&[&OF[..], &["--output", "out.parquet", "good, and long", "bad"]].concat()).done();
    let bytes = std::fs::read(project.path("out.parquet")).unwrap();
    let ran = project.run_with_input(&[&OF[..], &["--input-format", "parquet", "--columns", "text"]].concat(), bytes);
    assert_eq!(texts(ran), expected, "parquet");
}

#[test]
fn a_text_is_the_column_that_the_model_reads() {
    let project = Project::with_adapter();
    let named =
        piped(&project, &["--set", "data.text=sentence", "--columns", "sentence"], "good\n{\"sentence\": \"bad\"}\n");
    let lines = named.done().lines();
    assert_eq!(lines.iter().map(|line| line["sentence"].clone()).collect::<Vec<_>>(), ["good", "bad"]);
    let template = ["--set", "data.text_template=It was {{ what }}."];
    let templated = piped(&project, &template, "good\n").done().stdout;
    assert_eq!(templated, piped(&project, &["--set", "data.text=text", "It was good."], "").done().stdout);
    piped(&project, &["--quiet", "--set", "data.text_template={{ a }} {{ b }}"], "good\n").refused(
        "error: the model reads several columns (a, b), not one text\n\
         help: give a file with these columns with --input, or JSON lines on standard input",
    );
}

#[test]
fn prompts_are_read_from_standard_input_as_they_are() {
    let project = Project::new().copy("gpt2-lm/model", "base");
    let of = ["generate", "--model", "base", "--max-new-tokens", "5"];
    let alone = |prompt: &str| project.run(&[&of[..], &["--prompt", prompt]].concat()).done().lines().remove(0);
    let both = project.run_with_input(&of, "the film\n\n{\"prompt\": \"a story\"}\n").done().lines();
    assert_eq!(both, [alone("the film"), alone("a story")]);
    let beside = project.run_with_input(&[&of[..], &["--columns", "prompt"]].concat(), "the film\n").done().lines();
    assert_eq!(beside[0]["prompt"], json!("the film"));
}

#[test]
fn prompts_that_cannot_be_answered_are_named_after_all_others() {
    let project = Project::new().copy("llama-lm/model", "base");
    let long = "the ".repeat(200);
    let rows =
        format!("{{\"prompt\": \"the film\"}}\n{{\"prompt\": \"{long}\"}}\n{{\"prompt\": 3}}\n{{\"prompt\": \"a\"}}\n");
    let project = project.file("in.jsonl", rows);
    let of = ["generate", "--model", "base", "--max-new-tokens", "5", "--input", "in.jsonl"];
    let ran = project.run(&[&of[..], &["--keep-going", "--columns", "prompt"]].concat());
    assert_eq!(ran.status, Some(2));
    let prompts: Vec<Value> = ran.lines().iter().map(|line| line["prompt"].clone()).collect();
    assert_eq!(prompts, ["the film", "a"]);
    assert!(
        ran.stderr.contains("error: no prediction for 2 of 4 rows; the others were written:\n  in.jsonl, line 2 has "),
        "{}",
        ran.stderr
    );
    assert!(
        ran.stderr.contains("\n  in.jsonl, line 3: column `prompt` should be a string, found a number\n"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_conversation_knows_its_commands() {
    let project = Project::new().copy("qwen3-lm/model", "base");
    let chat = ["generate", "--model", "base", "--chat", "--max-new-tokens", "2"];
    let ran = project.run_with_input(&chat, "/help\n/rest\n/quit\nnever said\n").done();
    assert_eq!(ran.stdout, "", "what follows /quit is not said");
    assert!(
        ran.stderr.contains("  /save FILE  writes the conversation to a file, as a row to train on\n"),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.ends_with("warning: there is no `/rest`: did you mean `/reset`?\n"), "{}", ran.stderr);
    assert_eq!(project.run_with_input(&chat, "/exit\nnever said\n").done().stdout, "");
}
