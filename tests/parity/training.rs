//! The same training curves as torch and PEFT, through the command line: two epochs of AdamW with warm-up and clipping from
//! PEFT's own initial adapter, and the answers of the adapter that comes out.

use std::path::Path;

use serde_json::Value;

use super::{case, shared};
use crate::project::Project;

pub(super) fn numbers(values: &[Value], key: &str) -> Vec<f64> {
    values.iter().map(|value| value[key].as_f64().unwrap()).collect()
}

pub(super) fn check(name: &str) {
    check_run(name, &document(name, "expected.json")["train"], &init_from(name));
}

/// A run of the case with these keys of `[adapter]`, beside what `of_torch` says of it.
fn check_run(name: &str, of_torch: &Value, adapter: &str) {
    let expected = document(name, "expected.json");
    let directory = shared(&case(name).canonicalize().unwrap(), &expected);
    train(&directory, expected["labels"].as_u64(), of_torch, adapter);
}

/// PEFT's own initial adapter, as a key of `[adapter]`.
fn init_from(name: &str) -> String {
    format!("init_from = {:?}\n", case(name).join("init").canonicalize().unwrap())
}

fn document(name: &str, file: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(case(name).join(file)).unwrap()).unwrap()
}

/// Trains on the case in `directory`, a classifier of so many labels or a language model, with these keys of `[adapter]`, and
/// compares the run and what came of it.
pub(super) fn train(directory: &Path, labels: Option<u64>, train: &Value, adapter: &str) -> Project {
    let labels: Vec<String> = (0..labels.unwrap_or(0)).map(|i| format!("LABEL_{i}")).collect();
    let is_classifier = !labels.is_empty();
    let task = match is_classifier {
        true => format!("labels = {labels:?}"),
        false => "task = \"causal-lm\"".to_string(),
    };
    let path = |name: &str| directory.join(name).display().to_string();
    let project = Project::new().file(
        "curve.toml",
        format!(
            "output_dir = \"run\"\n[model]\npath = {model:?}\n{task}\n[adapter]\n{adapter}\n\
             [data]\ntrain = {data:?}\nmax_length = {length}\n[train]\nepochs = {epochs}\nbatch_size = {batch}\n\
             learning_rate = {rate}\nwarmup_steps = {warmup}\nweight_decay = {decay}\nmax_grad_norm = {clip}\n\
             shuffle = false\n",
            model = path("model"),
            data = path("data.jsonl"),
            length = if is_classifier { 64 } else { 128 },
            epochs = train["epochs"],
            batch = train["batch_size"],
            rate = train["learning_rate"],
            warmup = train["warmup_steps"],
            decay = train["weight_decay"],
            clip = train["max_grad_norm"],
        ),
    );
    project.run(&["train", "curve.toml"]).done();

    let lines: Vec<Value> =
        project.read("run/metrics.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let steps: Vec<Value> = lines.into_iter().filter(|line| line["event"] == "step").collect();
    let theirs = train["steps"].as_array().unwrap();
    assert_eq!(steps.len(), theirs.len());
    // The tolerances of the README beside the cases; norms are gradients of losses that may differ by as much.
    for (key, their_key, tolerance) in
        [("loss", "loss", 1e-3), ("grad_norm", "grad_norm", 5e-3), ("learning_rate", "lr", 1e-12)]
    {
        let (ours, theirs) = (numbers(&steps, key), numbers(theirs, their_key));
        let worst = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        println!("{}: {key} {worst:.1e}", directory.display());
        assert!(worst <= tolerance, "{key}: {ours:?} {theirs:?}");
    }

    let project = project.file("probe.jsonl", project_lines(directory, 6));
    let base = path("model");
    let of = match project.path("run/adapter").exists() {
        true => vec!["--model", &base, "--adapter", "run/adapter"],
        false => vec!["--model", "run/model"],
    };
    // Eight steps of a learning rate of 1e-2 carry differences of rounding along.
    assert_answers(&project, &of, &train["after"]["logits"], 1e-3);
    project
}

/// Compares the answers to `probe.jsonl` of the model that the arguments `of` name.
pub(super) fn assert_answers(project: &Project, of: &[&str], expected: &Value, within: f64) {
    let expected: Vec<Vec<f64>> = serde_json::from_value(expected.clone()).unwrap();
    // Of a classifier there are no more logits than classes.
    let found: Vec<Value> = match expected[0].len() < 10 {
        true => project.run(&[&["predict", "--input", "probe.jsonl"], of].concat()).done().lines(),
        false => {
            let arguments = ["eval", "--data", "probe.jsonl", "--per-example", "each.jsonl", "--logits"];
            project.run(&[&arguments, of].concat()).done();
            project.read("each.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        }
    };
    assert_eq!(found.len(), expected.len());
    for (line, expected) in found.iter().zip(expected) {
        let logits: Vec<f64> = serde_json::from_value(line["logits"].clone()).unwrap();
        for (found, expected) in logits.iter().zip(expected) {
            assert!((found - expected).abs() < within, "{of:?}: {found} {expected}");
        }
    }
}

fn project_lines(directory: &Path, count: usize) -> String {
    let text = std::fs::read_to_string(directory.join("data.jsonl")).unwrap();
    text.lines().take(count).map(|line| format!("{line}\n")).collect()
}

#[test]
fn lora_plus_has_the_parameter_groups_of_peft() {
    let name = "bert-pair-bias-all";
    check_run(name, &document(name, "loraplus.json"), &(init_from(name) + "lora_plus_ratio = 16\n"));
}

#[test]
fn the_last_layer_trains_as_in_torch() {
    let adapter = "method = \"full\"\nlast_layers = 1\ntrain_embeddings = false\n";
    check_run("bert-cls", &document("bert-cls", "last-layers.json"), adapter);
}

#[test]
fn bitfit_trains_as_an_adapter_of_peft_without_targets_and_with_all_biases() {
    check_run("bert-cls", &document("bert-cls", "bitfit.json"), "method = \"bitfit\"\n");
}

#[test]
fn bert_trains_as_in_peft() {
    check("bert-cls");
}

#[test]
fn bert_and_gpt2_with_dora_train_as_in_peft() {
    check("bert-dora");
    check("gpt2-dora");
}

#[test]
fn bert_with_pairs_and_all_biases_trains_as_in_peft() {
    check("bert-pair-bias-all");
}

#[test]
fn bert_with_biases_of_adapted_layers_trains_as_in_peft() {
    check("bert-bias-lora-only");
}

#[test]
fn bert_with_rank_stabilised_lora_and_patterns_trains_as_in_peft() {
    check("bert-rslora-pattern");
}

#[test]
fn bert_with_some_layers_adapted_trains_as_in_peft() {
    check("bert-layers");
}

#[test]
fn roberta_trains_as_in_peft() {
    check("roberta-cls");
}

#[test]
fn distilbert_trains_as_in_peft() {
    check("distilbert-cls");
}

#[test]
fn electra_trains_as_in_peft() {
    check("electra-cls");
}

#[test]
fn xlm_roberta_trains_as_in_peft() {
    check("xlm-roberta-cls");
}

#[test]
fn deberta_v3_trains_as_in_peft() {
    check("deberta-v3-cls");
}

#[test]
fn deberta_v2_with_projections_of_positions_trains_as_in_peft() {
    check("deberta-v2-cls");
}

#[test]
fn modernbert_trains_as_in_peft() {
    check("modernbert-cls");
}

#[test]
fn modernbert_with_all_its_biases_trains_as_in_peft() {
    check("modernbert-biases");
}

#[test]
fn eurobert_trains_as_in_peft() {
    check("eurobert-late");
}

#[test]
fn gpt2_as_a_classifier_trains_as_in_peft() {
    check("gpt2-cls");
}

#[test]
fn gpt2_trains_as_in_peft() {
    check("gpt2-lm");
}

#[test]
fn llama_as_a_classifier_trains_as_in_peft() {
    check("llama-cls");
}

#[test]
fn llama_trains_as_in_peft() {
    check("llama-lm");
}

#[test]
fn llama_in_bf16_trains_as_in_peft() {
    check("llama3-rope-tied-bf16");
}

#[test]
fn llama_with_lora_on_its_embeddings_trains_as_in_peft() {
    check("llama-yarn-embeddings");
}

#[test]
fn mistral_trains_as_in_peft() {
    check("mistral-lm");
}

#[test]
fn qwen2_trains_on_conversations_as_in_peft() {
    check("qwen2-lm-sharded");
}

#[test]
fn qwen3_trains_on_conversations_as_in_peft() {
    check("qwen3-lm");
}

#[test]
fn smollm3_trains_as_in_peft() {
    check("smollm3-lm");
}

#[test]
fn phi3_trains_as_in_peft() {
    check("phi3-lm");
}

#[test]
fn qwen3_with_experts_trains_as_in_peft() {
    check("qwen3-moe-lm");
}

#[test]
fn phi4_trains_as_in_peft() {
    check("phi4-lm");
}

#[test]
fn phi4_beyond_the_length_of_pretraining_trains_as_in_peft() {
    check("phi4-long-lm");
}

#[test]
fn granite_trains_as_in_peft() {
    check("granite-lm");
}

#[test]
fn olmo2_trains_as_in_peft() {
    check("olmo2-lm");
}

#[test]
fn gemma2_trains_on_conversations_as_in_peft() {
    check("gemma2-lm");
}

#[test]
fn gemma3_trains_as_in_peft() {
    check("gemma3-lm");
}

#[test]
fn gemma3_as_a_classifier_trains_as_in_peft() {
    check("gemma3-cls");
}
