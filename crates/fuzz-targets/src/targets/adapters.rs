//! Adapters: PEFT's and AdapterHub's two files, `kindling.json`, and the expressions that name modules.

use inference::{ModelFiles, Recorded, recorded_base};
use lora::{Kind, LoraConfig, Method, Names, Selector, Settings, TargetConfig};

use super::checkpoints::answer;
use super::files::{in_directory, link_model};
use super::{Form, Target};
use crate::{Archive, corpus};

pub(super) fn targets() -> [Target; 3] {
    [
        Target {
            name: "adapter",
            form: Form::Archive(&[
                ("adapter_config.json", Form::Json),
                ("adapter_model.safetensors", Form::Safetensors),
                ("adapter.safetensors", Form::Safetensors),
                ("model_head.safetensors", Form::Safetensors),
                ("head_config.json", Form::Json),
            ]),
            seeds: adapters,
            run,
        },
        Target { name: "kindling-json", form: Form::Archive(&[("kindling.json", Form::Json)]), seeds: sidecars, run },
        Target { name: "target-modules", form: Form::Text, seeds: expressions, run: select },
    ]
}

fn adapters() -> Vec<Vec<u8>> {
    corpus::adapters(&[
        "bert-cls",
        "bert-dora",
        "bert-rslora-pattern",
        "bert-layers",
        "gpt2-lm",
        "llama-lm",
        "bert-bias-lora-only",
        "llama-yarn-embeddings",
    ])
}

fn sidecars() -> Vec<Vec<u8>> {
    let with = |bytes: &Vec<u8>, files: &str| {
        let sidecar = format!(
            r#"{{"format_version": 1, "kindling": "0.1.0", "task": "sequence-classification", "labels": ["a", "b", "c"],
            "columns": {{"text": "text", "label": "label", "text_template": "{{{{ text }}}}"}}, "max_length": 24,
            "fitted": {{"temperature": 1.5}}, "files": {files},
            "base": {{"path": "model", "fingerprint": "0", "quantised": {{"dtype": "int8"}}}}}}"#
        );
        let mut archive = Archive::of(bytes);
        archive.0.push(("kindling.json".to_owned(), sidecar.into_bytes()));
        archive.bytes()
    };
    let adapters = corpus::adapters(&["bert-cls", "bert-dora"]);
    let within = adapters.iter().map(|bytes| with(bytes, r#"{"adapter_config.json": "0"}"#));
    let outside = [r#"{"/dev/zero": "0"}"#, r#"{"../model/config.json": "0"}"#];
    within.chain(adapters.iter().zip(outside).map(|(bytes, files)| with(bytes, files))).collect()
}

fn run(input: &[u8]) {
    in_directory(|directory| {
        let (model, adapter) = (directory.join("model"), directory.join("adapter"));
        let made = std::fs::create_dir(&model).and_then(|()| std::fs::create_dir(&adapter));
        made.expect("directories in one of our own");
        let archive = Archive::of(input);
        archive.lay(&adapter);
        link_model(archive.get("case").unwrap_or_default(), &model);
        let _ = recorded_base(&adapter).map(|base| base.as_ref().map(Recorded::to_string));
        answer(&ModelFiles { model, adapter: Some(adapter) });
    });
}

fn expressions() -> Vec<Vec<u8>> {
    let expressions = [r".*\.(query|value)$", r"bert\.encoder\.layer\.(0|1)\..*dense", "q_proj", r"^(?!.*mlp).*proj$"];
    expressions.map(|expression| expression.as_bytes().to_vec()).to_vec()
}

/// As `target_modules` and as the keys of `rank_pattern`, over paths as models have them.
fn select(input: &[u8]) {
    let expression = String::from_utf8_lossy(input).into_owned();
    let targets = TargetConfig { target_modules: Names::Pattern(expression.clone()).into(), ..TargetConfig::default() };
    let rank_pattern = [(expression, 2)].into_iter().collect();
    let method = Method::Lora(Box::new(LoraConfig { targets, rank_pattern, ..LoraConfig::default() }));
    let Ok(Some(mut selector)) = Selector::of(&method, Settings::New) else { return };
    for layer in 0..4 {
        for module in ["attention.self.query", "attention.output.dense", "mlp.gate_proj"] {
            let _ = selector.select(&format!("bert.encoder.layer.{layer}.{module}"), Kind::Linear);
        }
    }
    let _ = (selector.names_written(), selector.finish(), selector.idle());
}
