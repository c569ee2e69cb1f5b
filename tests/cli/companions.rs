//! What goes with a checkpoint wherever it goes: tokenizers, templates and licences, byte for byte, and tokens that stay the same.

use std::fs::read;

use serde_json::{Value, json};

use crate::project::Project;

const TOKENIZER: [&str; 5] = [
    "tokenizer.model",
    "tekken.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "additional_chat_templates/tool.jinja",
];
const LEGAL: [&str; 3] = ["LICENSE", "NOTICE.txt", "USE_POLICY.md"];
const OTHERS: [&str; 6] =
    ["pytorch_model.bin", "model.onnx", "modeling_tiny.py", "original/tokenizer.model", "optimizer.pt", "README.md"];

/// The model of a project with all that may lie beside it.
fn surrounded(project: Project) -> Project {
    let files = TOKENIZER.iter().chain(&LEGAL).chain(&OTHERS);
    let project =
        files.fold(project, |project, name| project.file(&format!("bert/{name}"), format!("{name} \u{e4}\r\n")));
    project.file("bert/special_tokens_map.json", "{\"unk_token\": \"[UNK]\"}\r\n")
}

fn has(project: &Project, directory: &str, names: &[&str]) {
    for name in names {
        let [base, copy] = ["bert", directory].map(|directory| project.path(directory).join(name));
        assert_eq!(read(copy).ok(), read(base).ok(), "{directory}/{name}");
    }
}

fn lacks(project: &Project, directory: &str, names: &[&str]) {
    for name in names {
        assert!(!project.path(directory).join(name).exists(), "{directory}/{name}");
    }
}

#[test]
fn a_merged_checkpoint_has_what_other_programs_need_of_its_base() {
    let project = surrounded(Project::with_adapter());
    project.run(&["merge", "--model", "bert", "--adapter", "adapter", "--output", "merged"]).done();
    has(&project, "merged", &TOKENIZER);
    has(&project, "merged", &LEGAL);
    has(&project, "merged", &["tokenizer.json", "tokenizer_config.json"]);
    lacks(&project, "merged", &OTHERS);
}

#[test]
fn beside_the_tokenizer_of_an_adapter_a_merge_keeps_the_vocabularies_of_the_base() {
    let project = surrounded(Project::with_adapter())
        .copy("bert-cls/model/tokenizer.json", "adapter/tokenizer.json")
        .file("adapter/tokenizer_config.json", "{\"tokenizer_class\": \"TokenizersBackend\"}");
    project.run(&["merge", "--model", "bert", "--adapter", "adapter", "--output", "merged"]).done();
    has(&project, "merged", &["tokenizer.model", "tekken.json"]);
    has(&project, "merged", &LEGAL);
    assert_eq!(project.read("merged/tokenizer_config.json"), project.read("adapter/tokenizer_config.json"));
    // What the adapter's tokenizer does not have would change how it is read.
    lacks(&project, "merged", &["special_tokens_map.json", "chat_template.jinja"]);
}

#[test]
fn an_adapter_and_a_whole_model_have_the_tokenizer_of_their_base() {
    let project = surrounded(Project::new());
    project.train(&[]).done();
    has(&project, "run/adapter", &TOKENIZER);
    // It has a model card of its own.
    lacks(&project, "run/adapter", &OTHERS[..5]);
    project.train(&["--set", "adapter.method=full", "--set", "output_dir=full"]).done();
    has(&project, "full/model", &TOKENIZER);
    has(&project, "full/model", &LEGAL);
    lacks(&project, "full/model", &OTHERS);
}

fn logits(project: &Project, arguments: &[&str]) -> Value {
    let text = ["Sings HONEST but Caf\u{e9} na\u{ef}ve"];
    project.run(&[&["predict"], arguments, &text[..]].concat()).done().lines()[0]["logits"].clone()
}

#[test]
fn options_of_the_tokenizers_class_count_beside_an_adapter_and_in_a_merge_too() {
    let project = Project::with_adapter();
    let as_saved = logits(&project, &["--model", "bert"]);
    // The class is that of the model's type: nothing beside an adapter says which.
    let project = project.json("bert/tokenizer_config.json", "tokenizer_class", Value::Null).json(
        "bert/tokenizer_config.json",
        "do_lower_case",
        false.into(),
    );
    project.train(&[]).done();
    let cased = logits(&project, &["--model", "bert"]);
    assert_ne!(cased, as_saved, "the options count");
    let beside = logits(&project, &["--model", "bert", "--adapter", "run/adapter"]);
    let base = ["tokenizer.json", "tokenizer_config.json"];
    has(&project, "run/adapter", &base);
    project.run(&["merge", "--model", "bert", "--adapter", "run/adapter", "--output", "merged"]).done();
    let merged = logits(&project, &["--model", "merged"]);
    let project = project.without("run/adapter/tokenizer.json");
    assert_eq!(logits(&project, &["--model", "bert", "--adapter", "run/adapter"]), beside, "the base's own tokenizer");
    let numbers = |logits: &Value| serde_json::from_value::<Vec<f64>>(logits.clone()).unwrap();
    for (merged, beside) in numbers(&merged).iter().zip(numbers(&beside)) {
        // Other tokens move these by a tenth and more.
        assert!((merged - beside).abs() < 1e-3, "{merged} {beside}");
    }
}

#[test]
fn a_limit_of_half_a_token_is_none_and_no_merge_breaks_on_it() {
    for limit in [json!(0.5), json!(0), json!(1e30), Value::Null] {
        let project = Project::with_adapter();
        let mut config: Value = serde_json::from_str(&project.read("bert/tokenizer_config.json")).unwrap();
        config["model_max_length"] = limit;
        let project = project.file("bert/tokenizer_config.json", config.to_string());
        project.run(&["merge", "--model", "bert", "--adapter", "adapter", "--output", "merged"]).done();
        project.predict_with_adapter().done();
    }
}
