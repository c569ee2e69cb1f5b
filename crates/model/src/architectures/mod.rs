//! The architectures, one file each. To add one: its file, a line in [`ARCHITECTURES`] and a variant of
//! [`SequenceClassifier`].

mod bert;
mod distilbert;
mod roberta;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use kernels::{Noise, Pass};

use crate::Error;
use crate::config::{Config, ConfigError};
use crate::loader::Loader;
use crate::tokens::Tokens;

/// What is to be known of an architecture before one of its models is loaded.
#[derive(Debug)]
pub(crate) struct Architecture {
    /// The values of `model_type` in `config.json`.
    pub(crate) model_types: &'static [&'static str],
    /// The reference's class in Transformers.
    pub(crate) class: &'static str,
    /// The backbone's name inside the model with a head, and a dot.
    pub(crate) prefix: &'static str,
    /// PEFT's targets for this `model_type`.
    pub(crate) default_targets: &'static [&'static str],
    /// The modules of the classification head, which a pretraining checkpoint does not have.
    pub(crate) head: &'static [&'static str],
    /// A module below the head that some pretraining checkpoints lack; empty where there is none.
    pub(crate) pooler: &'static str,
    /// Tensors that belong to another head or are constants: whole names, endings behind a dot, or starts before a `*`.
    pub(crate) passed_over: &'static [&'static str],
    pub(crate) check: fn(&Config) -> Result<(), ConfigError>,
    pub(crate) max_positions: fn(&Config) -> Result<usize, ConfigError>,
    pub(crate) load: fn(&Loader<'_>, &Config, usize) -> Result<SequenceClassifier, Error>,
}

pub(crate) static ARCHITECTURES: [&Architecture; 3] =
    [&bert::ARCHITECTURE, &roberta::ARCHITECTURE, &distilbert::ARCHITECTURE];

/// An encoder with a head that classifies whole sequences.
#[derive(Module, Debug)]
pub enum SequenceClassifier {
    Bert(bert::BertForSequenceClassification),
    Roberta(roberta::RobertaForSequenceClassification),
    DistilBert(distilbert::DistilBertForSequenceClassification),
}

impl SequenceClassifier {
    /// Logits of each sequence, `[sequences, labels]`. With `noise` dropout acts as in training.
    pub fn forward(&self, tokens: &Tokens, noise: Option<Noise>) -> Tensor<2> {
        let pass = Pass::new(tokens.layout().clone(), noise);
        match self {
            Self::Bert(model) => model.forward(tokens, &pass),
            Self::Roberta(model) => model.forward(tokens, &pass),
            Self::DistilBert(model) => model.forward(tokens, &pass),
        }
    }

    /// Where the model's tensors are.
    pub fn device(&self) -> Device {
        let word_embeddings = match self {
            Self::Bert(model) => model.word_embeddings(),
            Self::Roberta(model) => model.word_embeddings(),
            Self::DistilBert(model) => model.word_embeddings(),
        };
        word_embeddings.weight.value().device()
    }
}

/// Checks that attention heads divide the width.
pub(crate) fn check_heads(config: &Config, key: &str, width: usize, heads: usize) -> Result<(), ConfigError> {
    if heads == 0 || !width.is_multiple_of(heads) {
        let message = format!("{heads} attention heads do not divide a width of {width}");
        return Err(
            config.wrong(message, &format!("`{key}` must divide the width: copy the model's config.json again"))
        );
    }
    Ok(())
}

/// The activation function that `key` names.
pub(crate) fn activation(config: &Config, key: &str, name: &str) -> Result<kernels::Activation, ConfigError> {
    name.parse().map_err(|kernels::UnknownActivation(name)| {
        let help = format!("supported: {}", kernels::Activation::NAMES.join(", "));
        config.wrong(format!("`{key}` is `{name}`, an unknown activation function"), &help)
    })
}

/// Attention heads of `width / heads` dimensions, with the usual scale.
pub(crate) fn attention_options(width: usize, heads: usize, mask: Option<kernels::Mask>) -> kernels::Attention {
    kernels::Attention { heads, scale: 1.0 / ((width / heads) as f32).sqrt(), mask }
}
