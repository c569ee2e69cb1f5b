//! Calibration: a temperature fitted on the validation data, probabilities that it makes, and answers that are withheld.

use serde_json::{Value, json};

use crate::project::Project;

/// A run that learned its data half, and is validated by it: random texts have nothing to learn for others.
fn trained() -> Project {
    let project = Project::new().config("epochs = 20\nlearning_rate = 3e-3").replace(
        "run.toml",
        "max_steps = 2\n",
        "max_steps = 16\n",
    );
    project.train(&["--quiet", "--set", "data.valid=train.jsonl"]).done();
    project
}

fn temperature(project: &Project, file: &str) -> Option<f64> {
    let sidecar: Value = serde_json::from_str(&project.read(file)).unwrap();
    sidecar["fitted"]["temperature"].as_f64()
}

fn numbers(values: &Value) -> Vec<f64> {
    values.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
}

fn softmax(logits: &[f64], temperature: f64) -> Vec<f64> {
    let powers: Vec<f64> = logits.iter().map(|logit| (logit / temperature).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.iter().map(|power| power / sum).collect()
}

#[test]
fn the_temperature_beside_the_adapter_is_that_of_the_greatest_likelihood_on_the_validation_data() {
    let project = trained();
    let fitted = temperature(&project, "run/adapter/kindling.json").unwrap();
    project.run(&["eval", "--run", "run", "--per-example", "each.jsonl", "--logits"]).done();
    let rows: Vec<Value> = project.read("each.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let labels = project.run(&["inspect", "run", "--json"]).done().document();
    assert_eq!(labels["fitted"]["temperature"], json!(fitted));
    let names: Vec<&str> = labels["labels"].as_array().unwrap().iter().map(|label| label.as_str().unwrap()).collect();
    let nll = |temperature: f64| -> f64 {
        let of_row = |row: &Value| {
            let target = names.iter().position(|name| row["label"] == *name).unwrap();
            -softmax(&numbers(&row["logits"]), temperature)[target].ln()
        };
        rows.iter().map(of_row).sum()
    };
    assert!(nll(fitted) < nll(fitted * 1.01) && nll(fitted) < nll(fitted / 1.01) && nll(fitted) < nll(1.0), "{fitted}");
    assert!(project.read("run/report.html").contains("Divided by a temperature of"));
}

#[test]
fn calibrated_probabilities_are_those_of_logits_divided_by_the_temperature() {
    let project = trained();
    let fitted = temperature(&project, "run/adapter/kindling.json").unwrap();
    let predict = |arguments: &[&str]| {
        project.run(&[&["predict", "--run", "run", "--input", "train.jsonl"], arguments].concat()).done().lines()
    };
    for (plain, calibrated) in predict(&[]).iter().zip(predict(&["--calibrated"])) {
        assert_eq!((&plain["label"], &plain["logits"]), (&calibrated["label"], &calibrated["logits"]));
        let expected = softmax(&numbers(&plain["logits"]), fitted);
        for (found, expected) in numbers(&calibrated["probabilities"]).iter().zip(expected) {
            assert!((found - expected).abs() < 1e-5, "{found}, {expected}");
        }
    }
    // What was fitted is merged with the adapter.
    project.run(&["merge", "--run", "run", "--output", "merged"]).done();
    assert_eq!(temperature(&project, "merged/kindling.json"), Some(fitted));
}

#[test]
fn answers_below_the_least_confidence_have_no_label_in_any_format() {
    let project = trained();
    let all = project.run(&["predict", "--run", "run", "--input", "train.jsonl"]).done().lines();
    let confidence = |row: &Value| numbers(&row["probabilities"]).into_iter().fold(0.0, f64::max);
    let mut sorted: Vec<f64> = all.iter().map(confidence).collect();
    sorted.sort_by(f64::total_cmp);
    let least = ((sorted[15] + sorted[16]) / 2.0).to_string();
    let predict = |arguments: &[&str]| {
        let of = ["predict", "--run", "run", "--input", "train.jsonl", "--min-confidence", &least];
        project.run(&[&of, arguments].concat()).done()
    };
    let found = predict(&[]).lines();
    for (row, found) in all.iter().zip(&found) {
        match confidence(row) < least.parse().unwrap() {
            true => assert_eq!((&found["label"], &found["label_id"]), (&Value::Null, &Value::Null)),
            false => assert_eq!(found, row),
        }
        assert_eq!(found["probabilities"], row["probabilities"]);
    }
    assert_eq!(found.iter().filter(|row| row["label"].is_null()).count(), 16);
    predict(&["--columns", "", "--output", "answers.csv"]);
    let table = project.read("answers.csv");
    assert_eq!(table.lines().skip(1).filter(|row| row.starts_with(',')).count(), 16, "{table}");
    predict(&["--output", "answers.parquet"]);
    let again =
        ["predict", "--run", "run", "--input", "answers.parquet", "--columns", "label", "--min-confidence", "0"];
    let again = project.run(&again).done().lines();
    assert_eq!(again.iter().filter(|row| row["input_label"].is_null()).count(), 16);
}

#[test]
fn what_cannot_be_calibrated_is_refused_with_the_reason() {
    let project = Project::new();
    project.train(&["--quiet"]).done();
    assert_eq!(temperature(&project, "run/adapter/kindling.json"), None);
    project.run(&["predict", "--run", "run", "--quiet", "--calibrated", "fine"]).refused(
        "error: the model has no temperature to calibrate its probabilities with\n\
         help: a temperature is fitted in training, on validation data (`data.valid` or `data.valid_fraction`) of which \
         the model answers some wrongly, and more than a guess rightly; without one leave `--calibrated` out",
    );
    let of_masked = Project::new().copy("bert-mlm/model", "masked");
    let rows = "{\"text\": \"rises\", \"label\": 1}\n{\"text\": \"sings\", \"label\": 3}\n";
    let of_masked = of_masked.file("train.jsonl", rows.repeat(4)).replace(
        "run.toml",
        "path = \"bert\"\n",
        "path = \"masked\"\ntask = \"regression\"\n",
    );
    of_masked.train(&["--quiet"]).done();
    of_masked.run(&["predict", "--run", "run", "--quiet", "--min-confidence", "0.5", "fine"]).refused(
        "error: `--min-confidence` is for answers of one class with its probability, not for regression\n\
         help: leave it out; models for sequence-classification take it",
    );
}
