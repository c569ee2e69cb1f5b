//! Configurations and models small enough for a test, and what a `Selector` makes of them.

use indexmap::IndexMap;
use miette::Diagnostic;

use super::{Kind, Selector, Settings, TargetError};
use crate::config::{BiasMode, Init, LoraConfig, Names, Targets};

pub(super) fn config(target_modules: Targets) -> LoraConfig {
    LoraConfig {
        r: 4,
        alpha: 16.0,
        dropout: 0.0,
        bias: BiasMode::None,
        target_modules,
        exclude_modules: None,
        layers: None,
        layers_pattern: vec![],
        modules_to_save: vec![],
        rank_pattern: IndexMap::new(),
        alpha_pattern: IndexMap::new(),
        use_rslora: false,
        init: Init::Default,
    }
}

pub(super) fn names(list: &[&str]) -> Vec<String> {
    list.iter().map(|name| (*name).to_owned()).collect()
}

pub(super) fn list(targets: &[&str]) -> LoraConfig {
    config(Targets::Names(Names::List(names(targets))))
}

pub(super) fn pattern(expression: &str) -> LoraConfig {
    config(Targets::Names(Names::Pattern(expression.to_owned())))
}

/// A classifier on BERT of two layers.
pub(super) fn bert() -> Vec<(String, Kind)> {
    let mut modules = vec![("bert.embeddings.word_embeddings".to_owned(), Kind::Embedding)];
    for layer in 0..2 {
        for (name, kind) in [
            ("attention.self.query", Kind::Linear),
            ("attention.self.key", Kind::Linear),
            ("attention.self.value", Kind::Linear),
            ("attention.output.dense", Kind::Linear),
            ("attention.output.LayerNorm", Kind::Other),
            ("intermediate.dense", Kind::Linear),
            ("output.dense", Kind::Linear),
        ] {
            modules.push((format!("bert.encoder.layer.{layer}.{name}"), kind));
        }
    }
    modules.push(("bert.pooler.dense".to_owned(), Kind::Linear));
    modules.push(("classifier".to_owned(), Kind::OutputLinear));
    modules
}

/// A Llama with its output layer; `layers` times the seven projections.
pub(super) fn llama(layers: usize) -> Vec<(String, Kind)> {
    let mut modules = vec![("model.embed_tokens".to_owned(), Kind::Embedding)];
    for layer in 0..layers {
        for name in ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"] {
            modules.push((format!("model.layers.{layer}.{name}"), Kind::Linear));
        }
        for name in ["mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"] {
            modules.push((format!("model.layers.{layer}.{name}"), Kind::Linear));
        }
        modules.push((format!("model.layers.{layer}.input_layernorm"), Kind::Other));
    }
    modules.push(("lm_head".to_owned(), Kind::OutputLinear));
    modules
}

pub(super) fn few(modules: &[(&str, Kind)]) -> Vec<(String, Kind)> {
    modules.iter().map(|(path, kind)| ((*path).to_owned(), *kind)).collect()
}

pub(super) fn run(config: &LoraConfig, modules: &[(String, Kind)]) -> Selector {
    let mut selector = Selector::new(config, Settings::New).expect("a possible configuration");
    for (path, kind) in modules {
        selector.select(path, *kind);
    }
    selector
}

/// The paths adapted, once everything configured was found.
pub(super) fn adapted(config: &LoraConfig, modules: &[(String, Kind)]) -> Vec<String> {
    let selector = run(config, modules);
    selector.finish().expect("everything configured is in the model");
    selector.matched().iter().map(|(path, _)| path.clone()).collect()
}

fn told(error: &TargetError) -> (String, String) {
    (error.to_string(), error.help().map(|help| help.to_string()).unwrap_or_default())
}

/// Message and help of what `finish` refuses.
pub(super) fn refusal(config: &LoraConfig, modules: &[(String, Kind)]) -> (String, String) {
    told(&run(config, modules).finish().expect_err("a refusal"))
}

/// Message and help of what `new` refuses.
pub(super) fn impossible(config: &LoraConfig) -> (String, String) {
    told(&Selector::new(config, Settings::New).expect_err("a refusal"))
}
