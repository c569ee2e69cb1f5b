//! Causal language models: what a step counts, however its examples are laid.

use serde_json::Value;

use super::{events, numbers};
use crate::project::Project;

/// A decoder and rows of prompts and completions.
fn project() -> Project {
    let config = "output_dir = \"run\"\n[model]\npath = \"gpt2\"\ntask = \"causal-lm\"\n[data]\ntrain = \"train.jsonl\"\n\
                  max_length = 128\n[train]\nepochs = 2\nbatch_size = 8\nlearning_rate = 1e-2\n";
    let project = Project::new().copy("gpt2-lm/model", "gpt2").copy("gpt2-lm/data.jsonl", "all.jsonl");
    // With eight a step the last window is smaller.
    let thirty: String = project.read("all.jsonl").lines().take(30).map(|line| format!("{line}\n")).collect();
    let config_json = project.read("gpt2/config.json").replace("pdrop\": 0.0", "pdrop\": 0.1");
    project.file("train.jsonl", thirty).file("gpt2/config.json", config_json).file("run.toml", config)
}

fn steps(project: &Project, run: &str, sets: &[&str]) -> Vec<Value> {
    let mut arguments = vec!["--set".to_string(), format!("output_dir={run}")];
    arguments.extend(sets.iter().flat_map(|set| ["--set".to_string(), set.to_string()]));
    project.train(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).done();
    events(project, run, "step")
}

fn assert_same(left: &[Value], right: &[Value]) {
    for key in ["loss", "grad_norm"] {
        for (step, (left, right)) in numbers(left, key).into_iter().zip(numbers(right, key)).enumerate() {
            // The same sums in another order, carried through some steps of AdamW.
            assert!((left - right).abs() < 2e-5 * left.abs().max(1.0), "{key} of step {}: {left} {right}", step + 1);
        }
    }
}

#[test]
fn four_accumulated_batches_of_two_train_as_one_of_eight_over_all_targets() {
    let project = project();
    let once = steps(&project, "once", &[]);
    let accumulated = steps(&project, "accumulated", &["train.batch_size=2", "train.grad_accumulation=4"]);
    assert_eq!(numbers(&once, "examples"), [8.0, 8.0, 8.0, 6.0].repeat(2));
    assert_eq!(numbers(&once, "tokens"), numbers(&accumulated, "tokens"));
    assert_same(&once, &accumulated);
}

#[test]
fn packed_examples_train_as_those_that_are_not() {
    let project = project();
    // All of them in one step, whatever shares a row.
    let apart = steps(&project, "apart", &["train.batch_size=30", "train.shuffle=false"]);
    let packed = steps(&project, "packed", &["train.batch_size=30", "train.shuffle=false", "data.pack=true"]);
    assert_eq!(numbers(&packed, "examples"), [30.0, 30.0]);
    assert_eq!(numbers(&apart, "tokens"), numbers(&packed, "tokens"));
    // Dropout goes by an example's number in the step, which packing changes: without it.
    let sets = ["train.batch_size=30", "train.shuffle=false", "adapter.dropout=0"];
    let project = project.replace("gpt2/config.json", "\"attn_pdrop\": 0.1", "\"attn_pdrop\": 0.0");
    let project = project.replace("gpt2/config.json", "\"embd_pdrop\": 0.1", "\"embd_pdrop\": 0.0");
    let project = project.replace("gpt2/config.json", "\"resid_pdrop\": 0.1", "\"resid_pdrop\": 0.0");
    let apart = steps(&project, "apart-exact", &sets);
    let packed = steps(&project, "packed-exact", &[&sets[..], &["data.pack=true"]].concat());
    assert_same(&apart, &packed);
}
