//! Configurations and models small enough for a test, and what a `Selector` makes of them.

use miette::Diagnostic;

use super::{Kind, Selector, Settings, TargetError};
use crate::config::{Names, TargetConfig, Targets};
use crate::{LoraConfig, Method};

impl From<&TargetConfig> for Method {
    fn from(targets: &TargetConfig) -> Self {
        Self::from(&LoraConfig { targets: targets.clone(), ..LoraConfig::default() })
    }
}

impl From<&LoraConfig> for Method {
    fn from(config: &LoraConfig) -> Self {
        Self::Lora(Box::new(config.clone()))
    }
}

pub(crate) fn config(target_modules: Targets) -> TargetConfig {
    TargetConfig { target_modules, ..TargetConfig::default() }
}

pub(crate) fn selector(config: impl Into<Method>, settings: Settings) -> Selector {
    Selector::of(&config.into(), settings).expect("a possible configuration").expect("a method with targets")
}

pub(crate) fn names(list: &[&str]) -> Vec<String> {
    list.iter().map(|name| (*name).to_owned()).collect()
}

pub(crate) fn list(targets: &[&str]) -> TargetConfig {
    config(Targets::Names(Names::List(names(targets))))
}

pub(crate) fn pattern(expression: &str) -> TargetConfig {
    config(Targets::Names(Names::Pattern(expression.to_owned())))
}

/// A classifier on BERT of two layers.
pub(crate) fn bert() -> Vec<(String, Kind)> {
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
pub(crate) fn llama(layers: usize) -> Vec<(String, Kind)> {
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

pub(crate) fn few(modules: &[(&str, Kind)]) -> Vec<(String, Kind)> {
    modules.iter().map(|(path, kind)| ((*path).to_owned(), *kind)).collect()
}

pub(crate) fn run(config: impl Into<Method>, modules: &[(String, Kind)]) -> Selector {
    let mut selector = selector(config, Settings::New);
    for (path, kind) in modules {
        selector.select(path, *kind);
    }
    selector
}

/// The paths adapted, once everything configured was found.
pub(crate) fn adapted(config: impl Into<Method>, modules: &[(String, Kind)]) -> Vec<String> {
    let selector = run(config, modules);
    selector.finish().expect("everything configured is in the model");
    selector.matched().to_vec()
}

fn told(error: &TargetError) -> (String, String) {
    (with_key(error), error.help().map(|help| help.to_string()).unwrap_or_default())
}

/// The message after the setting that is wrong.
pub(crate) fn with_key(error: &TargetError) -> String {
    error.message_with(&|key| format!("`{key}`"))
}

/// Message and help of what `finish` refuses.
pub(crate) fn refusal(config: impl Into<Method>, modules: &[(String, Kind)]) -> (String, String) {
    told(&run(config, modules).finish().expect_err("a refusal"))
}

/// Message and help of what `new` refuses.
pub(crate) fn impossible(config: impl Into<Method>) -> (String, String) {
    told(&Selector::of(&config.into(), Settings::New).expect_err("a refusal"))
}
