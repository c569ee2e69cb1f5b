//! Masks of dropout are hashed on the host, so that a run drops the same entries on every device: its losses are those of
//! the CPU.

use serde_json::Value;

use super::training::numbers;
use crate::project::Project;

fn steps(project: &Project, run: &str) -> Vec<Value> {
    let lines = project.read(&format!("{run}/metrics.jsonl"));
    let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["event"] == "step").collect()
}

#[test]
fn training_with_dropout_has_the_losses_of_the_cpu() {
    let sets = ["train.max_steps=6", "train.learning_rate=1e-2", "adapter.dropout=0.2"];
    let arguments: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
    let mut project = Project::new();
    project.train(&[&arguments[..], &["--set", "output_dir=none", "--device", "cpu"]].concat()).done();
    for key in ["hidden_dropout_prob", "attention_probs_dropout_prob"] {
        project = project.json("bert/config.json", key, 0.1.into());
    }
    project.train(&[&arguments[..], &["--set", "output_dir=cpu", "--device", "cpu"]].concat()).done();
    project.train(&[&arguments[..], &["--set", "output_dir=device"]].concat()).done();

    let (cpu, device) = (steps(&project, "cpu"), steps(&project, "device"));
    assert_eq!(cpu.len(), 6);
    for key in ["loss", "grad_norm"] {
        let (cpu, device) = (numbers(&cpu, key), numbers(&device, key));
        let worst = cpu.iter().zip(&device).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        println!("dropout: {key} {worst:.1e}");
        // What the training curves without dropout are held to.
        assert!(worst <= 1e-3, "{key}: {cpu:?} {device:?}");
    }
    let undropped = numbers(&steps(&project, "none"), "loss")[0];
    let first = numbers(&cpu, "loss")[0];
    assert!((undropped - first).abs() > 1e-3, "dropout must change the loss, or this test says nothing");
}
