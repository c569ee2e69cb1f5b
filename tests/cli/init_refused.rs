//! `kindling init`: what it cannot make sense of is refused.

use serde_json::json;

use super::init::{trains, with_rows};
use crate::project::Project;

#[test]
fn data_without_texts_or_labels_is_refused_with_its_columns() {
    let project = Project::new().file("numbers.csv", "a,b\n1,0.5\n2,0.7\n").file("texts.csv", "text\na fine film\n");
    project.run(&["init", "numbers.csv", "--model", "bert"]).refused(
        "error: numbers.csv has no column that looks like text (columns: a (integers), b (fractions))\n\
         help: name it: `--set data.text=COLUMN`",
    );
    project.run(&["init", "texts.csv", "--model", "bert", "--task", "sequence-classification"]).refused(
        "error: texts.csv has no column that looks like a label (columns: text (strings))\n\
         help: name it: `--set data.label=COLUMN`; a task without labels is `--task masked-lm`",
    );
}

#[test]
fn a_label_that_cannot_be_one_is_refused() {
    let project = with_rows(Project::new(), "scores.jsonl", |n, text| json!({"text": text, "label": n as f64 / 7.0}));
    let project = with_rows(project, "codes.jsonl", |n, text| json!({"text": text, "label": format!("c{n}")}));
    let classes = ["--task", "sequence-classification"];
    let others = "`--set data.label=COLUMN` names another column, `--task masked-lm` trains on the texts alone";
    let refused = |data: &str, reason: &str, help: &str| {
        let error = format!("error: `label` of {data} cannot be a label: its 32 values are {reason}");
        let ran = project.run(&[&["init", data, "--model", "bert"], &classes[..]].concat());
        ran.refused(&format!("{error}\nhelp: {help}; {others}"));
    };
    let names = "`--task regression` learns the numbers; for classes write names or whole numbers";
    refused("scores.jsonl", "fractions", names);
    refused("codes.jsonl", "32 different ones", "a class needs several rows");
    let project = project.copy("gpt2-lm/model", "gpt2");
    let ran = project.run(&["init", "scores.jsonl", "--model", "gpt2", "--task", "sequence-classification"]);
    assert!(ran.stderr.ends_with("`--task causal-lm` trains on the texts alone\n"), "{}", ran.stderr);
    let named = ["init", "scores.jsonl", "--model", "bert", "--set", "data.label=label"];
    project.run(&[&named[..], &classes].concat()).refused(
        "error: scores.jsonl, column `label`: labels are fractions, not classes\n\
         help: `--task regression` learns the numbers; for classes write names or whole numbers",
    );
    let project = project.copy("bert-mlm/model", "mlm");
    project.run(&["init", "scores.jsonl", "--model", "mlm", "--task", "masked-lm"]).done();
}

#[test]
fn columns_can_be_named_and_misspelt() {
    let project = with_rows(
        Project::new(),
        "reviews.jsonl",
        |n, text| json!({"review": text, "longer": format!("{text} {text}"), "label": "all the same", "odd": n % 3}),
    );
    let named = ["init", "reviews.jsonl", "--model", "bert", "--set", "data.text=review", "--set"];
    let ran = project.run(&[&named[..], &["data.label=odd"]].concat()).done();
    assert!(ran.stderr.contains("\ntext         review: as named\nlabel        odd: 3 values (0, 1, 2), as named\n"));
    trains(&project, "reviews.toml");
    let project = project.without("reviews.toml");
    project.run(&[&named[..], &["data.label=add"]].concat()).refused(
        "error: reviews.jsonl has no column `add` (columns: review, longer, label, odd)\n\
         help: did you mean `odd`?",
    );
    project.run(&[&named[..], &["train.epochs=3"]].concat()).refused(
        "error: `--set train.epochs=3` cannot be used here\n\
         help: known: data.text, data.text_pair, data.label, data.prompt, data.completion, data.messages",
    );
    project.run(&[&named[..], &["data.label=odd", "--task", "masked-lm"]].concat()).refused(
        "error: the task masked-lm does not use `data.label`\n\
         help: leave it out, or ask for another task with `--task`",
    );
}

#[test]
fn rows_that_training_would_refuse_are_refused_at_once() {
    let project =
        Project::new().file("reviews.csv", "text,label\na fine film it is,0\n,1\na bad film it was,0\nso so it is,1\n");
    project.run(&["init", "reviews.csv", "--model", "bert", "--quiet"]).refused(
        "error: [DIR]/reviews.csv, line 3: column `text` is empty\n\
         help: give the row a text, or remove it",
    );
    assert!(!project.path("reviews.toml").exists());
}

#[test]
fn what_needs_a_file_is_refused_without_one() {
    let project = Project::new();
    project.run(&["init", "-", "--model", "bert"]).refused(
        "error: the data cannot come from standard input\n\
         help: save it, for example as train.jsonl: the configuration names the file that `kindling train` reads",
    );
    project.run(&["init", "train.jsonl", "--model", "bert", "-o", "-", "--json"]).refused(
        "error: `-o -` and `--json` both write to standard output\n\
         help: name a file with -o, or leave out --json",
    );
    project.run(&["init", "train.jsonl", "--model", "./nobert", "--quiet"]).refused(
        "error: there is no directory ./nobert\n\
         help: a model is a directory with config.json, model.safetensors and a tokenizer, or an id on the Hugging Face Hub: org/name or org/name@revision",
    );
}
