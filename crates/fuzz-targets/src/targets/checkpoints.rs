//! Models: `config.json`, safetensors files, index files. What opens has to answer.

use inference::{Device, DirectoryKind, GenerationSettings, ModelFiles, Pipeline};

use super::files::{in_directory, link_model};
use super::{Form, Target};
use crate::{Archive, corpus};

/// One of each kind of architecture.
const CASES: [&str; 14] = [
    "bert-cls",
    "distilbert-cls",
    "roberta-cls",
    "electra-cls",
    "deberta-v3-cls",
    "modernbert-cls",
    "eurobert-mean",
    "llama-lm",
    "gpt2-lm",
    "qwen3-moe-lm",
    "gemma3-lm",
    "olmo2-lm",
    "phi4-long-lm",
    "granite-lm",
];

pub(super) fn targets() -> [Target; 3] {
    let of = |name, form, seeds| Target { name, form, seeds, run };
    [
        of("config", Form::Archive(&[("config.json", Form::Json), ("generation_config.json", Form::Json)]), || {
            corpus::models(&CASES, &["config.json", "generation_config.json"])
        }),
        of("safetensors", Form::Archive(&[("model.safetensors", Form::Safetensors)]), || {
            corpus::models(&["bert-dora", "llama-lm", "gpt2-cls", "llama3-rope-tied-bf16"], &["model.safetensors"])
        }),
        of("index", Form::Archive(&[("model.safetensors.index.json", Form::Json)]), || {
            corpus::models(&["qwen2-lm-sharded"], &["model.safetensors.index.json"])
        }),
    ]
}

pub(super) fn run(input: &[u8]) {
    in_directory(|directory| {
        let archive = Archive::of(input);
        archive.lay(directory);
        link_model(archive.get("case").unwrap_or_default(), directory);
        let _ = DirectoryKind::of(directory);
        answer(&ModelFiles { model: directory.to_path_buf(), adapter: None });
    });
}

/// Opens and asks.
pub(super) fn answer(files: &ModelFiles) {
    let Ok(pipeline) = Pipeline::open(files, &Device::flex()) else { return };
    let _ = pipeline.answer_texts(&["a fine film", "and"]);
    let settings = GenerationSettings { max_new_tokens: Some(2), ..GenerationSettings::default() };
    if let Ok(generation) = pipeline.text_generation(settings) {
        let _ = generation.generate(&["a fine"]);
    }
}
