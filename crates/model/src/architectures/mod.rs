//! The architectures, one file each. To add one: its file and a line in [`ARCHITECTURES`]; those built like Llama share the
//! backbone of `decoder/`, and a backbone of another kind is a line in `backbone.rs`.

mod activations;
mod backbone;
mod bert;
mod deberta_v2;
mod decoder;
mod distilbert;
mod electra;
mod eurobert;
mod exports;
mod gemma2;
mod gemma3;
mod gpt2;
mod granite;
mod like_llama;
mod llama;
mod mistral;
mod modernbert;
mod olmo2;
mod phi3;
mod post_norm;
mod qwen2;
mod qwen3;
mod qwen3_moe;
mod roberta;
mod smollm3;

use burn::tensor::{Int, Tensor};
use lora::ForwardContext;

use crate::Error;
use crate::config::{Config, ConfigError};
use crate::head::{Head, HeadConfig, Output, OutputNames};
use crate::loader::Loader;

pub use activations::ActivationShape;
pub(crate) use backbone::{AnyBackbone, Around, Backbone, through};
pub(crate) use exports::{Exports, GgufModel, Layout, transposed};

pub(crate) static ARCHITECTURES: &[&Architecture] = &[
    &bert::ARCHITECTURE,
    &roberta::ARCHITECTURE,
    &roberta::XLM_ROBERTA,
    &roberta::CAMEMBERT,
    &distilbert::ARCHITECTURE,
    &electra::ARCHITECTURE,
    &deberta_v2::ARCHITECTURE,
    &modernbert::ARCHITECTURE,
    &eurobert::ARCHITECTURE,
    &gpt2::ARCHITECTURE,
    &llama::ARCHITECTURE,
    &mistral::ARCHITECTURE,
    &qwen2::ARCHITECTURE,
    &qwen3::ARCHITECTURE,
    &qwen3_moe::ARCHITECTURE,
    &smollm3::ARCHITECTURE,
    &phi3::ARCHITECTURE,
    &granite::ARCHITECTURE,
    &olmo2::ARCHITECTURE,
    &gemma2::ARCHITECTURE,
    &gemma3::ARCHITECTURE,
];

/// What is to be known of an architecture before one of its models is loaded, and how its backbone is.
#[derive(Debug)]
pub(crate) struct Architecture {
    /// The values of `model_type` in `config.json`.
    pub(crate) model_types: &'static [&'static str],
    /// The backbone's name inside the model with a head, and a dot.
    pub(crate) prefix: &'static str,
    /// The modules at the top of the backbone, each with a dot after it: how names begin in the checkpoint of a bare backbone.
    pub(crate) backbone: &'static [&'static str],
    /// Below the backbone.
    pub(crate) word_embeddings: &'static str,
    /// Whether the output layer of a language model is tied to the word embeddings where `config.json` does not say.
    pub(crate) ties_by_default: bool,
    /// PEFT's targets for this `model_type`.
    pub(crate) default_targets: &'static [&'static str],
    /// Tensors of old checkpoints that are constants: endings after a dot.
    pub(crate) constants: &'static [&'static str],
    pub(crate) check: fn(&Config) -> Result<(), ConfigError>,
    pub(crate) max_positions: fn(&Config) -> Result<usize, ConfigError>,
    /// What the memory of a backward pass depends on.
    pub(crate) activations: fn(&Config) -> Result<ActivationShape, ConfigError>,
    /// Builds the backbone; the loader is at `prefix`.
    pub(crate) load: fn(&Loader<'_>, &Config) -> Result<AnyBackbone, Error>,
    /// The programs that it is exported for.
    pub(crate) exports: Exports,
    /// One for each [`Head`] that it has.
    pub(crate) variants: &'static [Variant],
}

/// An architecture with one of its heads.
#[derive(Debug)]
pub(crate) struct Variant {
    pub(crate) head: Head,
    /// The reference's class in Transformers.
    pub(crate) class: &'static str,
    /// What the head reads, its layers but for the last, and what becomes of its logits.
    pub(crate) describe: fn(&Config) -> Result<HeadConfig, ConfigError>,
    /// The last layer of the head.
    pub(crate) output: Output,
    /// The modules of the head, which a checkpoint of another head does not have.
    pub(crate) modules: &'static [&'static str],
    /// A module below the head that some pretraining checkpoints lack; empty where there is none.
    pub(crate) pooler: &'static str,
    /// Tensors that belong to another head: whole names, endings after a dot, or starts before a `*`.
    pub(crate) ignored_keys: &'static [&'static str],
}

impl Architecture {
    pub(crate) fn variant(&'static self, head: Head) -> Option<&'static Variant> {
        self.variants.iter().find(|variant| variant.head == head)
    }
}

impl Variant {
    /// The names of the output layer of a language model.
    pub(crate) fn vocabulary(&self) -> Option<OutputNames> {
        match self.output {
            Output::Values { .. } => None,
            Output::Vocabulary(names) => Some(names),
        }
    }
}

/// Whether a tensor of this name is the weight of the last layer of a classifier, of any architecture: it has a row for each value.
pub fn is_output_weight(name: &str) -> bool {
    let mut variants = ARCHITECTURES.iter().flat_map(|architecture| architecture.variants);
    name.strip_suffix(".weight").is_some_and(|of| {
        variants.any(|variant| matches!(variant.output, Output::Values { module, .. } if module == of))
    })
}

/// The modules of BERT and its like.
const ENCODER: &[&str] = &["embeddings.", "encoder.", "transformer.", "pooler."];

/// Some rows of `[tokens, hidden]`, and the context for what comes after: in the last layer, all that follows attention is
/// computed for the rows that a head reads, and for no others.
fn select(hidden: Tensor<2>, rows: &[usize], ctx: &ForwardContext) -> (Tensor<2>, ForwardContext) {
    let indices: Vec<i32> = rows.iter().map(|row| *row as i32).collect();
    let indices = Tensor::<1, Int>::from_data(indices.as_slice(), &hidden.device());
    (hidden.select(0, indices), ctx.select(rows))
}

/// Checks that attention heads divide the width.
fn check_heads(config: &Config, key: &str, width: usize, heads: usize) -> Result<(), ConfigError> {
    if heads == 0 || !width.is_multiple_of(heads) {
        let message = format!("{heads} attention heads do not divide a width of {width}");
        return Err(
            config.wrong(message, &format!("`{key}` must divide the width: copy the model's config.json again"))
        );
    }
    Ok(())
}

/// Which layers have a window, by their `layer_types`.
fn sliding_layers(config: &Config, types: &[String], layers: usize) -> Result<Vec<bool>, ConfigError> {
    if types.len() != layers {
        let message = format!("`layer_types` has {} entries for {layers} layers", types.len());
        return Err(config.wrong(message, "copy the model's config.json again"));
    }
    let slides = |kind: &String| match kind.as_str() {
        "full_attention" => Ok(false),
        "sliding_attention" => Ok(true),
        other => {
            let message = format!("`layer_types` has `{other}`, which this version does not support");
            Err(config.wrong(message, "supported: full_attention, sliding_attention"))
        }
    };
    types.iter().map(slides).collect()
}

/// The activation function that `key` names.
fn activation(config: &Config, key: &str, name: &str) -> Result<kernels::Activation, ConfigError> {
    name.parse().map_err(|kernels::UnknownActivation(name)| {
        let help = format!("supported: {}", kernels::Activation::NAMES.join(", "));
        config.wrong(format!("`{key}` is `{name}`, an unknown activation function"), &help)
    })
}

/// Dropout before the token classifier of a decoder, as `GenericForTokenClassification` and `GPT2ForTokenClassification` in
/// Transformers have it.
fn token_classifier_dropout(config: &Config) -> Result<f64, ConfigError> {
    let keys = ["classifier_dropout", "hidden_dropout"];
    config.check_ranges(&[], &keys)?;
    Ok(keys.into_iter().find_map(|key| config.number(key)).unwrap_or(0.1))
}

/// Attention heads of `width / heads` dimensions, with the usual scale.
fn attention_options(width: usize, heads: usize, mask: Option<kernels::DropoutMask>) -> kernels::Attention {
    let scale = 1.0 / ((width / heads) as f32).sqrt();
    kernels::Attention {
        heads,
        kv_heads: heads,
        scale,
        soft_cap: None,
        mask: kernels::AttentionMask::Bidirectional { window: None },
        dropout: mask,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_layers_of_classifiers_are_told_from_those_below_and_from_output_layers_over_the_vocabulary() {
        assert!(["classifier.weight", "classifier.out_proj.weight", "score.weight"].into_iter().all(is_output_weight));
        let others = ["classifier.bias", "classifier.dense.weight", "pre_classifier.weight", "lm_head.weight", "score"];
        assert!(!others.into_iter().any(is_output_weight));
    }
}
