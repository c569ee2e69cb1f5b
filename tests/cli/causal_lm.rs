//! Causal language models: trained, scored, merged; and inputs that are wrong in one place.

use serde_json::{Value, json};

use crate::project::Project;
use crate::project::tensors::Tensors;

fn project(case: &str) -> Project {
    let config = "output_dir = \"run\"\n[model]\npath = \"base\"\ntask = \"causal-lm\"\n[data]\ntrain = \"rows.jsonl\"\n[train]\n\
                  max_steps = 3\nlearning_rate = 1e-2\n";
    Project::new()
        .copy(&format!("{case}/model"), "base")
        .copy(&format!("{case}/data.jsonl"), "rows.jsonl")
        .file("run.toml", config)
}

#[test]
fn an_adapter_is_trained_scored_by_its_answers_and_merged() {
    let project = project("qwen3-lm");
    let ran = project.train(&["--set", "data.valid=rows.jsonl", "--set", "train.eval_generate=4"]).done();
    let before = ran.stderr.lines().find(|line| line.starts_with("before training: loss ")).unwrap();
    assert!(before.contains(", exact match 0.0000, BLEU "), "{before}");
    let metrics = project.read("run/metrics.jsonl");
    let mut lines = metrics.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let evaluation = lines.rfind(|line| line["event"] == "eval").unwrap();
    for key in ["loss", "perplexity", "token_accuracy", "exact_match", "bleu", "rouge_l"] {
        assert!(evaluation[key].is_number(), "{key}: {evaluation}");
    }
    let of =
        |more: &[&str]| project.run(&[&["eval", "--json", "--data", "rows.jsonl"], more].concat()).done().document();
    let adapted = of(&["--model", "base", "--adapter", "run/adapter"]);
    assert_eq!(adapted["loss"], evaluation["loss"]);
    project.run(&["merge", "--model", "base", "--adapter", "run/adapter", "--output", "merged"]).done();
    let (merged, adapted) = (of(&["--model", "merged"])["loss"].as_f64(), adapted["loss"].as_f64());
    assert!((merged.unwrap() - adapted.unwrap()).abs() < 1e-5, "{merged:?} {adapted:?}");
    let sidecar: Value = serde_json::from_str(&project.read("run/adapter/kindling.json")).unwrap();
    assert_eq!((&sidecar["task"], &sidecar["columns"]["messages"]), (&json!("causal-lm"), &json!("messages")));
}

#[test]
fn a_decoder_trained_from_nothing_is_a_checkpoint_to_write_with() {
    let project = project("gpt2-lm")
        .replace("run.toml", "task = \"causal-lm\"\n", "task = \"causal-lm\"\nweights = \"random\"\n")
        .replace("run.toml", "[data]", "[adapter]\nmethod = \"full\"\n[data]")
        .without("base/model.safetensors");
    project.train(&[]).done();
    let lines = project.run(&["generate", "--model", "run/model", "--prompt", "the", "--max-new-tokens", "3"]).done();
    assert_eq!(lines.lines()[0]["token_ids"].as_array().unwrap().len(), 3);
}

#[test]
fn a_dry_run_marks_the_targets_of_an_example() {
    let project = project("qwen3-lm");
    let shown = project.train(&["--dry-run"]).done().stdout;
    let example = &shown[shown.find("\nexample ").unwrap()..];
    let (before, targets) = example.split_once("[[").unwrap();
    assert!(before.contains("<|im_start|>") && targets.contains("<|im_end|>\n             ]]"), "{example}");
}

/// The project with the first row replaced.
fn with_row(case: &str, row: &Value) -> Project {
    let project = project(case);
    let rest: Vec<String> = project.read("rows.jsonl").lines().skip(1).map(str::to_string).collect();
    project.file("rows.jsonl", format!("{row}\n{}\n", rest.join("\n")))
}

#[test]
fn rows_that_are_wrong_are_refused_with_their_line() {
    let turn = |role: &str, content: &str| json!({ "role": role, "content": content });
    for (case, row, expected) in [
        ("qwen3-lm", json!({ "messages": [turn("user", "a"), turn("asistant", "b")] }), "rows.jsonl, line 1"),
        ("qwen3-lm", json!({ "messages": [turn("user", "a")] }), "rows.jsonl, line 1"),
        ("gpt2-lm", json!({ "prompt": "a", "completion": " " }), "rows.jsonl, line 1: column `completion` is empty"),
        (
            "gpt2-lm",
            json!({ "prompt": "a", "completio": "b" }),
            "has no column `completion` (columns: prompt, completio)",
        ),
    ] {
        let ran = with_row(case, &row).train(&["--dry-run"]);
        assert_eq!(ran.status, Some(2), "{row}: {}", ran.stderr);
        assert!(ran.stderr.contains(expected) && ran.stderr.contains("help: "), "{row}: {}", ran.stderr);
    }
}

#[test]
fn conversations_need_a_chat_template() {
    let ran = project("qwen3-lm").without("base/chat_template.jinja").train(&["--dry-run"]);
    assert_eq!(ran.status, Some(2), "{}", ran.stderr);
    assert!(ran.stderr.contains("rows.jsonl, line 1") && ran.stderr.contains("chat_template.jinja"), "{}", ran.stderr);
}

#[test]
fn models_that_cannot_be_are_refused() {
    let refused = |project: Project, expected: &str| {
        let ran = project.train(&["--dry-run"]);
        assert_eq!(ran.status, Some(2), "{}", ran.stderr);
        assert!(ran.stderr.contains(expected) && ran.stderr.contains("help: "), "{}", ran.stderr);
    };
    let rope = |kind: &str| json!({ "rope_type": kind, "rope_theta": 10000.0 });
    refused(
        project("llama-lm").json("base/config.json", "rope_parameters", rope("ntk")),
        "`rope_parameters` has the type `ntk`, which this version does not support",
    );
    refused(
        project("llama-lm").json("base/config.json", "rope_parameters", rope("longrope")),
        "`rope_parameters` needs `short_factor`, a list of 4 numbers above 0",
    );
    refused(
        project("qwen3-lm").file("base/chat_template.jinja", "{% for m in messages %}\n{{ m.content"),
        "chat_template.jinja",
    );
    refused(project("llama-lm").json("base/config.json", "vocab_size", 300.into()), "300");
    refused(project("bert-cls"), "a model of type `bert` has no language-model head");
    refused(
        project("llama-lm").json("base/config.json", "num_key_value_heads", 3.into()),
        "3 heads of keys do not divide 4",
    );
}

#[test]
fn merging_an_adapter_on_one_end_of_tied_embeddings_unties_them() {
    for target in ["wte", "lm_head"] {
        let targets = format!("[adapter]\ntarget_modules = [\"{target}\"]\n[data]");
        let project = project("gpt2-lm").replace("run.toml", "[data]", &targets);
        project.train(&[]).done();
        let loss = |more: &[&str]| {
            let ran = project.run(&[&["eval", "--json", "--data", "rows.jsonl"], more].concat()).done();
            ran.document()["loss"].as_f64().unwrap()
        };
        project.run(&["merge", "--model", "base", "--adapter", "run/adapter", "--output", "merged"]).done();
        let (merged, adapted) = (loss(&["--model", "merged"]), loss(&["--model", "base", "--adapter", "run/adapter"]));
        assert!((merged - adapted).abs() < 1e-5, "{target}: {merged} {adapted}");
        let config: Value = serde_json::from_str(&project.read("merged/config.json")).unwrap();
        assert_eq!(config["tie_word_embeddings"], json!(false));
        let tensors = Tensors::read(&project.path("merged/model.safetensors"));
        assert_ne!(tensors.bytes("lm_head.weight"), tensors.bytes("transformer.wte.weight"));
    }
}

#[test]
fn embeddings_that_are_the_output_layer_too_are_not_trained_apart() {
    let project = project("gpt2-lm").replace("run.toml", "[data]", "[adapter]\nmodules_to_save = [\"wte\"]\n[data]");
    let ran = project.train(&["--dry-run"]);
    assert_eq!(ran.status, Some(2));
    assert!(ran.stderr.contains("`transformer.wte` is the output layer of this model as well"), "{}", ran.stderr);
}

#[test]
fn what_ends_a_text_goes_with_a_merged_checkpoint() {
    let project = project("llama-lm").file("base/generation_config.json", "{\"eos_token_id\": [1, 7]}");
    project.train(&[]).done();
    project.run(&["merge", "--model", "base", "--adapter", "run/adapter", "--output", "merged"]).done();
    assert_eq!(project.read("merged/generation_config.json"), "{\"eos_token_id\": [1, 7]}");
}

#[test]
fn settings_without_effect_are_refused() {
    let refused = |sets: &[&str], expected: &str| {
        let arguments: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
        let project = project("gpt2-lm");
        let first = format!("{}\n", project.read("rows.jsonl").lines().next().unwrap());
        let ran = project.file("rows.jsonl", first).train(&[&["--dry-run"], &arguments[..]].concat());
        assert_eq!(ran.status, Some(2), "{sets:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(expected), "{sets:?}: {}", ran.stderr);
    };
    refused(&["train.eval_generate=4"], "answers are written to validation data");
    refused(&["data.valid_fraction=0.5"], "leaves no validation example");
}

#[test]
fn an_adapter_on_the_output_layer_alone_is_trained() {
    let project =
        project("llama-lm").replace("run.toml", "[data]", "[adapter]\ntarget_modules = [\"lm_head\"]\n[data]");
    project.train(&[]).done();
    project.run(&["merge", "--model", "base", "--adapter", "run/adapter", "--output", "merged"]).done();
}
