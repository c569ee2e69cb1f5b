//! Regression: trained, scored, asked, merged; and what rows must have for it.

use serde_json::{Value, json};

use crate::project::Project;

/// A BERT without a classification head in `bert/`, and texts with numbers in `train.jsonl`: 1 and 3 by their words.
fn project() -> Project {
    let row = |n: usize| {
        let (text, label) = if n.is_multiple_of(2) { ("rises sings", 1.0) } else { ("large runs", 3.0) };
        json!({ "text": format!("{text} while"), "score": label }).to_string() + "\n"
    };
    Project::new()
        .copy("bert-mlm/model", "bert")
        .file("train.jsonl", (0..16).map(row).collect::<String>())
        .replace("run.toml", "path = \"bert\"\n", "path = \"bert\"\ntask = \"regression\"\n")
        .replace(
            "run.toml",
            "train = \"train.jsonl\"\n",
            "train = \"train.jsonl\"\nvalid = \"train.jsonl\"\nlabel = \"score\"\n",
        )
}

fn close(value: &Value, expected: &Value) {
    let (value, expected) = (value.as_f64().unwrap(), expected.as_f64().unwrap());
    assert!((value - expected).abs() < 1e-4, "{value}, {expected}");
}

#[test]
fn numbers_are_learned_scored_and_answered() {
    let project = project().config("learning_rate = 5e-3\nbest = \"loss\"").replace(
        "run.toml",
        "max_steps = 2\n",
        "max_steps = 160\nepochs = 40\n",
    );
    project.train(&[]).done();
    let evaluate = |arguments: &[&str]| {
        project.run(&[&["eval", "--json", "--data", "train.jsonl"], arguments].concat()).done().document()
    };
    let scores = evaluate(&["--run", "run", "--per-example", "each.jsonl"]);
    assert!(scores["pearson"].as_f64().unwrap() > 0.9 && scores["spearman"].as_f64().unwrap() > 0.9, "{scores}");
    // Always the mean is worth a loss of 1.
    assert!(scores["loss"].as_f64().unwrap() < 0.1, "{scores}");
    close(&scores["loss"], &json!(scores["rmse"].as_f64().unwrap().powi(2)));
    assert!(scores["mae"].as_f64().unwrap() <= scores["rmse"].as_f64().unwrap() + 1e-9);

    let first: Value = serde_json::from_str(project.read("each.jsonl").lines().next().unwrap()).unwrap();
    assert_eq!(first["label"], 1.0);
    let error = first["predicted"].as_f64().unwrap() - 1.0;
    close(&first["loss"], &json!(error * error));

    let answer = project.run(&["predict", "--run", "run", "--json", "rises sings while"]).done().document();
    close(&answer["value"], &first["predicted"]);
    project.run(&["predict", "--run", "run", "--input", "train.jsonl", "--output", "answers.csv"]).done();
    assert!(project.read("answers.csv").lines().next().unwrap().split(',').any(|name| name == "value"));

    project.run(&["merge", "--model", "bert", "--adapter", "run/adapter", "--output", "merged"]).done();
    let config: Value = serde_json::from_str(&project.read("merged/config.json")).unwrap();
    assert_eq!((&config["problem_type"], &config["id2label"]), (&json!("regression"), &json!({ "0": "LABEL_0" })));
    close(&evaluate(&["--model", "merged", "--set", "data.label=score"])["loss"], &scores["loss"]);
    assert!(project.read("run/adapter/README.md").contains("num_labels=1"));
}

#[test]
fn a_row_without_a_number_is_an_error_with_its_line() {
    let numbers = "regression learns numbers, such as 3, -0.5 or 1e-3; another column is chosen with `data.label`";
    for (row, problem, help) in [
        (
            r#"{"text": "large", "score": null}"#,
            "has no number (absent, null or empty)",
            "give the row a number, or remove it",
        ),
        (r#"{"text": "large", "score": "high"}"#, "is `high`, which is no number", numbers),
    ] {
        let project = project();
        let rows = project.read("train.jsonl") + row + "\n";
        project
            .file("train.jsonl", rows)
            .train(&[])
            .refused(&format!("error: [DIR]/train.jsonl, line 17: column `score` {problem}\nhelp: {help}"));
    }
}

#[test]
fn a_base_for_classes_is_refused() {
    let problem = json!("single_label_classification");
    project().json("bert/config.json", "problem_type", problem).train(&[]).refused(
        "error: [DIR]/bert/config.json: `problem_type` is `single_label_classification`\n\
         help: the task is regression: remove `problem_type` if the labels are numbers",
    );
}
