//! Commands that do what they are for, compared with each other and with what Transformers and PEFT computed.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use kernels::Simd;
use serde_json::Value;

use crate::project::{Project, Ran};

const WITH_ADAPTER: [&str; 4] = ["--model", "bert", "--adapter", "adapter"];

fn predict(project: &Project, arguments: &[&str]) -> Ran {
    project.run(&[&["predict"], &WITH_ADAPTER[..], arguments].concat()).done()
}

fn eval(project: &Project, arguments: &[&str]) -> Ran {
    project.run(&[&["eval"], &WITH_ADAPTER[..], arguments].concat()).done()
}

/// The rows of `train.jsonl`: texts without quotes, commas or tabs, and labels.
fn rows(project: &Project) -> Vec<(String, String)> {
    let row = |line: &str| {
        let row: Value = serde_json::from_str(line).unwrap();
        (row["text"].as_str().unwrap().to_string(), row["label"].to_string())
    };
    project.read("train.jsonl").lines().map(row).collect()
}

fn table(project: &Project, separator: char) -> String {
    let row = |(text, label): (String, String)| format!("{text}{separator}{label}\n");
    let rows: String = rows(project).into_iter().map(row).collect();
    format!("text{separator}label\n{rows}")
}

/// Logits of lines, which are 1e-4 from PEFT's at most: the tolerance of the parity cases.
#[track_caller]
fn compare_with_peft(lines: &[Value]) {
    let expected = include_str!("../fixtures/parity/bert-cls/expected.json");
    let expected: Value = serde_json::from_str(expected).unwrap();
    let expected: Vec<Vec<f64>> = serde_json::from_value(expected["adapter"]["logits"].clone()).unwrap();
    for (line, expected) in lines.iter().zip(&expected) {
        let found: Vec<f64> = serde_json::from_value(line["logits"].clone()).unwrap();
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() <= 1e-4 + 1e-4 * expected.abs(), "{found} {expected}");
        }
    }
}

#[test]
fn predict_answers_as_peft_does() {
    let lines = predict(&Project::with_adapter(), &["--input", "train.jsonl"]).lines();
    assert_eq!(lines.len(), 32);
    compare_with_peft(&lines);
    for line in &lines {
        let logits: Vec<f64> = serde_json::from_value(line["logits"].clone()).unwrap();
        let probabilities: Vec<f64> = serde_json::from_value(line["probabilities"].clone()).unwrap();
        let sum: f64 = logits.iter().map(|logit| logit.exp()).sum();
        for (logit, probability) in logits.iter().zip(&probabilities) {
            // Logits and probabilities are printed as f32.
            assert!((logit.exp() / sum - probability).abs() < 1e-6);
        }
        let id = line["label_id"].as_u64().unwrap() as usize;
        assert!(probabilities.iter().all(|probability| *probability <= probabilities[id]));
        assert_eq!(line["label"], format!("LABEL_{id}"));
    }
}

#[test]
fn texts_from_everywhere_are_predicted_alike() {
    let project = Project::with_adapter();
    let expected = predict(&project, &["--input", "train.jsonl"]).stdout;
    let lines = project.read("train.jsonl");
    let piped = |arguments: &[&str]| {
        project.run_with_input(&[&["predict"], &WITH_ADAPTER[..], arguments].concat(), &lines).done().stdout
    };
    assert_eq!(piped(&[]), expected, "standard input");
    assert_eq!(piped(&["--input", "-"]), expected, "standard input by name");
    let texts: Vec<String> = rows(&project).into_iter().map(|(text, _)| text).collect();
    let arguments: Vec<&str> = texts.iter().map(String::as_str).collect();
    assert_eq!(predict(&project, &arguments).stdout, expected, "arguments");
    let csv = table(&project, ',').replacen("text", "sentence", 1);
    let project = project.file("texts.csv", csv);
    let set = ["--input", "texts.csv", "--set", "data.text=sentence"];
    assert_eq!(predict(&project, &set).stdout, expected, "a column of a CSV file");
}

#[test]
fn an_output_file_takes_the_lines() {
    let project = Project::with_adapter();
    let expected = predict(&project, &["--input", "train.jsonl"]).stdout;
    let ran = predict(&project, &["--input", "train.jsonl", "--output", "labels.jsonl", "--columns", ""]);
    assert_eq!((ran.stdout.as_str(), project.read("labels.jsonl")), ("", expected));
}

#[test]
fn a_failed_prediction_leaves_the_output_file_as_it_was() {
    let project = Project::with_adapter().file("labels.jsonl", "old\n").file("in.jsonl", "{\"text\": \"good\"}\n{\n");
    let arguments = [&["predict"], &WITH_ADAPTER[..], &["--input", "in.jsonl", "--output", "labels.jsonl"]].concat();
    assert!(project.run(&arguments).stderr.contains("error: in.jsonl, line 2"));
    assert_eq!(project.read("labels.jsonl"), "old\n");
}

#[test]
fn a_truncated_text_is_predicted_and_counted() {
    let ran = predict(&Project::with_adapter(), &["--set", "data.max_length=4", "good", "a film that never ends"]);
    assert_eq!(ran.lines().len(), 2);
    let last = ran.stderr.lines().last().unwrap();
    assert_eq!(last, "warning: 1 text was truncated to 4 tokens");
}

#[test]
fn eval_prints_its_scores_and_the_examples() {
    let project = Project::with_adapter();
    let arguments = ["--data", "train.jsonl", "--json", "--per-example", "examples.jsonl", "--logits"];
    let scores = eval(&project, &arguments).document();
    let keys: Vec<&String> = scores.as_object().unwrap().keys().collect();
    assert_eq!(
        keys,
        ["loss", "examples", "tokens", "accuracy", "f1_macro", "matthews", "labels", "confusion"],
        "keys of --json"
    );
    assert_eq!((&scores["examples"], &scores["tokens"]), (&Value::from(32), &Value::from(32)));

    let text = project.read("examples.jsonl");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 32);
    compare_with_peft(&lines);
    let mean = lines.iter().map(|line| line["loss"].as_f64().unwrap()).sum::<f64>() / 32.0;
    assert!((mean - scores["loss"].as_f64().unwrap()).abs() < 1e-6, "the loss is the mean of the examples'");
    let confusion: Vec<Vec<u64>> = serde_json::from_value(scores["confusion"].clone()).unwrap();
    let right: u64 = (0..3).map(|class| confusion[class][class]).sum();
    assert_eq!(scores["accuracy"].as_f64().unwrap(), right as f64 / 32.0);

    eval(&project, &["--data", "train.jsonl", "--per-example", "examples.jsonl"]);
    let first: Value = serde_json::from_str(project.read("examples.jsonl").lines().next().unwrap()).unwrap();
    assert!(first.get("logits").is_none(), "logits are asked for");
}

#[test]
fn every_format_of_a_file_gives_the_same_scores() {
    let project = Project::with_adapter();
    let expected = eval(&project, &["--data", "train.jsonl", "--json"]).stdout;
    let lines = project.read("train.jsonl");
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(lines.as_bytes()).unwrap();
    let array = format!("[{}]", lines.trim_end().replace('\n', ","));
    let (csv, tsv) = (table(&project, ','), table(&project, '\t'));
    let project = project
        .file("test.csv", csv)
        .file("test.tsv", tsv)
        .file("wrapped.json", format!("{{\"data\": {array}}}"))
        .file("test.json", array)
        .file("test.jsonl.gz", gzip.finish().unwrap());
    for file in ["test.csv", "test.tsv", "test.json", "wrapped.json", "test.jsonl.gz"] {
        assert_eq!(eval(&project, &["--data", file, "--json"]).stdout, expected, "{file}");
    }
    let piped = [&["eval"], &WITH_ADAPTER[..], &["--data", "-", "--json"]].concat();
    assert_eq!(project.run_with_input(&piped, lines).done().stdout, expected, "standard input");
}

#[test]
fn a_merged_model_answers_as_its_adapter_does() {
    let project = Project::with_adapter();
    let merged = project.run(&[&["merge"], &WITH_ADAPTER[..], &["--output", "merged", "--json"]].concat()).done();
    assert!(merged.document()["relative_difference"].as_f64().unwrap() < 1e-4);
    let expected = predict(&project, &["--input", "train.jsonl"]).lines();
    let found = project.run(&["predict", "--model", "merged", "--input", "train.jsonl"]).done().lines();
    compare_with_peft(&found);
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found["label"], expected["label"]);
    }
}

#[test]
fn a_checkpoint_in_half_precision_and_shards_answers_nearly_alike() {
    let project = Project::with_adapter();
    let exact = logits(&predict(&project, &["--input", "train.jsonl"]).lines());
    // Weights of 0.2 to 2 with 8 and 11 bits move logits of about 1 by so much at most.
    for (dtype, tolerance) in [("bf16", 0.03), ("f16", 0.003)] {
        let arguments = ["--output", dtype, "--dtype", dtype, "--max-shard-size", "60KB"];
        project.run(&[&["merge"], &WITH_ADAPTER[..], &arguments].concat()).done();
        assert!(project.names(dtype).contains(&"model.safetensors.index.json".to_string()));
        let rounded = logits(&project.run(&["predict", "--model", dtype, "--input", "train.jsonl"]).done().lines());
        let worst = exact.iter().zip(&rounded).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(worst < tolerance, "{dtype}: {worst}");
        assert!(worst > 0.0, "{dtype}: the weights were not rounded");
    }
}

#[test]
fn what_stands_in_no_line_is_called_a_row() {
    let project = Project::new();
    let array = format!("[{}]", project.read("train.jsonl").trim_end().replace('\n', ","));
    let project = project.file("rows.json", array).replace("run.toml", "\"train.jsonl\"", "\"rows.json\"");
    let plan = project.train(&["--dry-run"]).done().stdout;
    assert!(plan.contains("\nexample      row 1: "), "{plan}");
    project.train(&["--set", "data.valid_fraction=0.25"]).done();
    let report = project.read("run/report.html");
    assert!(report.contains("rows.json, row "));
    assert!(!report.contains("rows.json, line "));
}

fn logits(lines: &[Value]) -> Vec<f64> {
    let of_line = |line: &Value| serde_json::from_value::<Vec<f64>>(line["logits"].clone()).unwrap();
    lines.iter().flat_map(of_line).collect()
}

#[test]
fn inspect_knows_an_adapter() {
    let adapter = Project::with_adapter().run(&["inspect", "adapter", "--json"]).done().document();
    // Twelve matrices of 4 x 48, and the head of 3 x 48 with its bias.
    let parameters = 12 * 4 * 48 + 3 * 48 + 3;
    assert_eq!((&adapter["method"], &adapter["r"]), (&Value::from("lora"), &Value::from(4)));
    assert_eq!(adapter["trainable_parameters"], parameters);
    assert_eq!(adapter["tensors"].as_object().unwrap().len(), 14);
    assert_eq!(adapter["updates"].as_array().unwrap().len(), 6);
}

#[test]
fn inspect_takes_a_file_for_what_it_belongs_to() {
    let project = Project::with_adapter();
    let of = |path: &str| project.run(&["inspect", path, "--json"]).done().document();
    assert_eq!(of("adapter/adapter_model.safetensors"), of("adapter"));
    assert_eq!(of("adapter/adapter_config.json"), of("adapter"));
    assert_eq!(of("bert/model.safetensors"), of("bert"));
}

#[test]
fn inspect_knows_a_checkpoint() {
    let model = Project::new().run(&["inspect", "bert", "--json"]).done().document();
    assert_eq!(model["labels"], serde_json::json!(["LABEL_0", "LABEL_1", "LABEL_2"]));
    assert_eq!((&model["max_positions"], &model["vocabulary"]), (&Value::from(80), &Value::from(264)));
}

#[test]
fn devices_has_a_line_for_every_backend() {
    let project = Project::new();
    let text = project.run(&["devices"]).done().stdout;
    assert!(text.lines().any(|line| line.starts_with("flex        built in, found (the CPU, with ")), "{text}");
    let list = project.run(&["devices", "--json"]).done().document();
    let names: Vec<&Value> = list.as_array().unwrap().iter().map(|entry| &entry["backend"]).collect();
    assert_eq!(names.len(), text.lines().count());
    assert!(names.contains(&&Value::from("cuda")), "those that are not built in are listed too");
}

#[test]
fn the_vectors_of_the_cpu_are_those_that_the_environment_names() {
    let available: Vec<&str> = Simd::available().into_iter().map(Simd::name).collect();
    for name in &available {
        let project = Project::new().env(Simd::VARIABLE, name);
        let list = project.run(&["devices", "--json"]).done().document();
        let flex = list.as_array().unwrap().iter().find(|entry| entry["backend"] == "flex").unwrap();
        assert_eq!((&flex["simd"], &flex["simd_available"]), (&Value::from(*name), &Value::from(available.clone())));
        let text = project.run(&["devices"]).done().stdout;
        assert!(text.contains(&format!("(the CPU, with {name}")), "{text}");
    }
    let lacking = Simd::NAMES.into_iter().find(|name| !available.contains(name)).unwrap();
    let there_are = available.join(", ");
    Project::new().env(Simd::VARIABLE, lacking).run(&["devices"]).refused(&format!(
        "error: `KINDLING_SIMD={lacking}`: this processor has no {lacking}\n\
         help: this processor has: {there_are}; it takes the first of them where the variable is not set",
    ));
    Project::new().env(Simd::VARIABLE, "avx3").predict_with_adapter().refused(&format!(
        "error: `KINDLING_SIMD=avx3`: unknown vectors `avx3`\n\
         help: did you mean `avx2`? this processor has: {there_are}; it takes the first of them where the variable is not set",
    ));
}
