//! BitFit by commands: trained, saved as PEFT reads it, inspected, merged exactly, continued, and what is refused.

use serde_json::{Value, json};

use crate::project::Project;
use crate::project::tensors::Tensors;

const BITFIT: [&str; 7] =
    ["--quiet", "--set", "adapter.method=bitfit", "--set", "train.learning_rate=0.02", "--set", "train.max_steps=6"];

#[test]
fn biases_and_head_are_saved_as_an_adapter_of_peft_without_targets() {
    let project = Project::new();
    project.train(&BITFIT).done();
    let config: Value = serde_json::from_str(&project.read("run/adapter/adapter_config.json")).unwrap();
    let keys = ["peft_type", "target_modules", "bias", "modules_to_save", "task_type", "layers_to_transform"];
    assert_eq!(
        keys.map(|key| config[key].clone()),
        [
            json!("LORA"),
            json!("dummy-target-modules"),
            json!("all"),
            json!(["classifier", "score"]),
            json!("SEQ_CLS"),
            Value::Null
        ]
    );
    let inspected = project.run(&["inspect", "run/adapter", "--json"]).done().document();
    assert_eq!(inspected["method"], "bitfit");
    // As torch and PEFT count them.
    assert_eq!(inspected["trainable_parameters"], 1539);
    let names: Vec<&String> = inspected["tensors"].as_object().unwrap().keys().collect();
    let is_bias_or_head = |name: &&&String| name.ends_with(".bias") || name.as_str() == "classifier.weight";
    assert_eq!(names.iter().filter(is_bias_or_head).count(), names.len(), "{names:?}");
    for name in ["bert.embeddings.LayerNorm.bias", "bert.encoder.layer.0.attention.self.query.bias", "classifier.bias"]
    {
        assert!(names.iter().any(|known| *known == name), "{name}");
    }
    let said = project.run(&["eval", "--run", "run", "--data", "train.jsonl"]).done().stderr;
    assert!(said.lines().any(|line| line == format!("adapter run/adapter: {} tensors", names.len())), "{said}");
    let size = |file: &str| std::fs::metadata(project.path(file)).unwrap().len();
    assert!(size("run/adapter/adapter_model.safetensors") < size("bert/model.safetensors") / 20);
    let checkpoints: Vec<_> = std::fs::read_dir(project.path("run/checkpoints/step-6")).unwrap().collect();
    let of_checkpoint: u64 = checkpoints.into_iter().map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
    assert!(of_checkpoint < size("bert/model.safetensors") / 4, "{of_checkpoint}: no frozen weights");
}

#[test]
fn merged_biases_are_the_trained_ones_to_the_byte() {
    for (project, bias) in [
        (Project::new(), "bert.encoder.layer.1.attention.self.value.bias"),
        (Project::decoder("gpt2-lm"), "transformer.h.0.attn.c_attn.bias"),
    ] {
        project.train(&BITFIT).done();
        project.run(&["merge", "--run", "run", "--output", "merged"]).done();
        assert_eq!(project.loss("train.jsonl", &["--run", "run"]), project.loss("train.jsonl", &["--model", "merged"]));
        let [base, merged] =
            ["bert", "merged"].map(|directory| Tensors::read(&project.path(&format!("{directory}/model.safetensors"))));
        let adapter = Tensors::read(&project.path("run/adapter/adapter_model.safetensors"));
        assert_eq!(merged.bytes(bias), adapter.bytes(&format!("base_model.model.{bias}")));
        let changed = base.differing(&merged);
        assert!(changed.len() > 10, "{changed:?}");
        assert!(changed.iter().all(|name| name.ends_with(".bias") || name == "classifier.weight"), "{changed:?}");
    }
}

#[test]
fn a_decoder_with_trained_biases_writes_and_answers() {
    let project = Project::decoder("gpt2-lm");
    project.train(&[&BITFIT[..], &["--set", "train.gradient_checkpointing=true"]].concat()).done();
    let base = project.loss("train.jsonl", &["--model", "bert"]);
    let trained = project.loss("train.jsonl", &["--run", "run"]);
    assert!(trained < base - 0.05, "{base} {trained}");
    let generate = ["generate", "--run", "run", "--prompt", "old", "--max-new-tokens", "4", "--temperature", "0"];
    assert_eq!(project.run(&generate).done().lines()[0]["token_ids"].as_array().unwrap().len(), 4);
}

#[test]
fn training_goes_on_from_trained_biases() {
    let project = Project::new();
    project.train(&[&BITFIT[..], &["--set", "adapter.modules_to_save=[\"pooler\"]"]].concat()).done();
    let further = ["--quiet", "--set", "adapter.init_from=run/adapter", "--set", "output_dir=on"];
    project.train(&further).done();
    let config = project.read("on/config.toml");
    assert!(config.contains("method = \"bitfit\"\nmodules_to_save = [\"pooler\"]\n"), "{config}");
    let bias = |run: &str| {
        let tensors = Tensors::read(&project.path(&format!("{run}/adapter/adapter_model.safetensors")));
        tensors.bytes("base_model.model.bert.encoder.layer.0.attention.self.value.bias").to_vec()
    };
    assert_ne!(bias("run"), bias("on"));
    project.train(&[&further[..], &["--overwrite", "--set", "adapter.method=lora"]].concat()).refused(
        "error: `--set adapter.method=lora` is \"lora\", the adapter that `adapter.init_from` names has \"bitfit\"\n\
         help: remove the key: the adapter's own settings are used",
    );
}

#[test]
fn accumulated_examples_move_biases_as_a_batch_does() {
    let losses = |sets: &[&str]| {
        let project = Project::new();
        project.train(&[&BITFIT[..], sets].concat()).done();
        let lines = project.read("run/metrics.jsonl");
        let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter_map(|line| line["grad_norm"].as_f64()).collect::<Vec<f64>>()
    };
    let (batch, accumulated) = (
        losses(&["--set", "train.batch_size=8"]),
        losses(&["--set", "train.batch_size=2", "--set", "train.grad_accumulation=4"]),
    );
    assert_eq!(batch.len(), 6);
    let close = |(one, other): (&f64, &f64)| (one - other).abs() < 1e-3 * one;
    assert!(batch.iter().zip(&accumulated).all(close), "{batch:?} {accumulated:?}");
}

#[test]
fn what_bitfit_cannot_mean_is_refused() {
    let refused = |set: &str, message: &str| {
        Project::new().config("[adapter]\nmethod = \"bitfit\"").train(&["--set", set]).refused(message);
    };
    refused(
        "adapter.r=4",
        "error: `--set adapter.r=4`: method `bitfit` has no key `r`\nhelp: remove it, or set `adapter.method = \"lora\"`",
    );
    refused(
        "adapter.modules_to_save=[\"poller\"]",
        "error: `--set adapter.modules_to_save=[\"poller\"]`: no module is named `poller`\n\
         help: did you mean `pooler`?",
    );
    refused(
        "adapter.method=bitft",
        "error: `--set adapter.method=bitft`: unknown method `bitft`\n\
         help: did you mean `bitfit`? (lora, ia3, bitfit, full, none)",
    );
    Project::decoder("mistral-lm").config("[adapter]\nmethod = \"bitfit\"").train(&[]).refused(
        "error: `adapter.method` in run.toml, line 14: BitFit trains biases, and this model (`mistral`) has none\n\
         help: set `adapter.method` to \"lora\", or to \"ia3\" for as few parameters",
    );
}
