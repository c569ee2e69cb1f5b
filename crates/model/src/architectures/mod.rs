//! The architectures, one file each. To add one: its file, a line in [`ARCHITECTURES`] and a variant for each of its heads
//! in [`SequenceClassifier`] or [`MaskedLm`].

mod bert;
mod distilbert;
mod roberta;

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};
use kernels::{Noise, Pass};

use crate::Error;
use crate::config::{Config, ConfigError};
use crate::layers::Embedding;
use crate::loader::Loader;
use crate::tokens::Tokens;

/// What a model answers with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// Which of several classes a sequence belongs to.
    SequenceClassification,
    /// Which token stood where one was masked.
    MaskedLm,
}

impl Head {
    pub(crate) fn noun(self) -> &'static str {
        match self {
            Self::SequenceClassification => "classification head",
            Self::MaskedLm => "masked-language-model head",
        }
    }

    /// What to do where a model lacks it.
    pub(crate) fn where_from(self) -> &'static str {
        match self {
            Self::SequenceClassification => {
                "give the adapter that was trained on it with --adapter, or fine-tune it first with `kindling train`"
            }
            Self::MaskedLm => {
                "start from a checkpoint that was saved with it, or train one in full with `adapter.method = \"full\"`"
            }
        }
    }
}

/// What is to be known of an architecture before one of its models is loaded.
#[derive(Debug)]
pub(crate) struct Architecture {
    /// The values of `model_type` in `config.json`.
    pub(crate) model_types: &'static [&'static str],
    /// The backbone's name inside the model with a head, and a dot.
    pub(crate) prefix: &'static str,
    /// PEFT's targets for this `model_type`.
    pub(crate) default_targets: &'static [&'static str],
    /// Tensors of old checkpoints that are constants: endings behind a dot.
    pub(crate) constants: &'static [&'static str],
    pub(crate) check: fn(&Config) -> Result<(), ConfigError>,
    pub(crate) max_positions: fn(&Config) -> Result<usize, ConfigError>,
    /// One for each [`Head`].
    pub(crate) variants: [Variant; 2],
}

/// An architecture with one of its heads.
#[derive(Debug)]
pub(crate) struct Variant {
    pub(crate) head: Head,
    /// The reference's class in Transformers.
    pub(crate) class: &'static str,
    /// The modules of the head, which a checkpoint of another head does not have.
    pub(crate) modules: &'static [&'static str],
    /// A module below the head that some pretraining checkpoints lack; empty where there is none.
    pub(crate) pooler: &'static str,
    /// Tensors that belong to another head: whole names, endings behind a dot, or starts before a `*`.
    pub(crate) passed_over: &'static [&'static str],
    pub(crate) load: fn(&Loader<'_>, &Config, usize) -> Result<Model, Error>,
}

impl Architecture {
    pub(crate) fn variant(&'static self, head: Head) -> &'static Variant {
        self.variants.iter().find(|variant| variant.head == head).expect("an architecture has a variant for each head")
    }
}

pub(crate) static ARCHITECTURES: [&Architecture; 3] =
    [&bert::ARCHITECTURE, &roberta::ARCHITECTURE, &distilbert::ARCHITECTURE];

/// An encoder with its head.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant, reason = "a process has one or two models, whose layers lie elsewhere anyway")]
pub enum Model {
    SequenceClassifier(SequenceClassifier),
    MaskedLm(MaskedLm),
}

/// An encoder with a head that classifies whole sequences.
#[derive(Module, Debug)]
pub enum SequenceClassifier {
    Bert(bert::BertForSequenceClassification),
    Roberta(roberta::RobertaForSequenceClassification),
    DistilBert(distilbert::DistilBertForSequenceClassification),
}

/// An encoder with a head that says which token stood in a place.
#[derive(Module, Debug)]
pub enum MaskedLm {
    Bert(bert::BertForMaskedLM),
    Roberta(roberta::RobertaForMaskedLM),
    DistilBert(distilbert::DistilBertForMaskedLM),
}

impl Model {
    /// Logits: a classifier's of each sequence, `[sequences, labels]`; a language model's of the tokens that `rows` names
    /// by their indices in `tokens`, `[rows, vocabulary]`. With `noise` dropout acts as in training.
    pub fn forward(&self, tokens: &Tokens, rows: &[usize], noise: Option<Noise>) -> Tensor<2> {
        let pass = Pass::new(tokens.layout().clone(), noise);
        match self {
            Self::SequenceClassifier(model) => match model {
                SequenceClassifier::Bert(model) => model.forward(tokens, &pass),
                SequenceClassifier::Roberta(model) => model.forward(tokens, &pass),
                SequenceClassifier::DistilBert(model) => model.forward(tokens, &pass),
            },
            Self::MaskedLm(model) => match model {
                MaskedLm::Bert(model) => model.forward(tokens, rows, &pass),
                MaskedLm::Roberta(model) => model.forward(tokens, rows, &pass),
                MaskedLm::DistilBert(model) => model.forward(tokens, rows, &pass),
            },
        }
    }

    /// Where the model's tensors are.
    pub fn device(&self) -> Device {
        self.word_embeddings().weight.value().device()
    }

    fn word_embeddings(&self) -> &Embedding {
        match self {
            Self::SequenceClassifier(model) => match model {
                SequenceClassifier::Bert(model) => model.word_embeddings(),
                SequenceClassifier::Roberta(model) => model.word_embeddings(),
                SequenceClassifier::DistilBert(model) => model.word_embeddings(),
            },
            Self::MaskedLm(model) => match model {
                MaskedLm::Bert(model) => model.word_embeddings(),
                MaskedLm::Roberta(model) => model.word_embeddings(),
                MaskedLm::DistilBert(model) => model.word_embeddings(),
            },
        }
    }
}

/// What a head reads of `[tokens, hidden]`, `[rows, hidden]`, and the pass for what comes behind. A head sees no token that
/// it is not asked about: a vocabulary is the widest layer there is.
pub(crate) fn select(hidden: Tensor<2>, rows: &[usize], pass: &Pass) -> (Tensor<2>, Pass) {
    let indices: Vec<i32> = rows.iter().map(|row| *row as i32).collect();
    let indices = Tensor::<1, Int>::from_data(indices.as_slice(), &hidden.device());
    (hidden.select(0, indices), pass.select(rows))
}

/// What a classifier reads: the first token of each sequence.
pub(crate) fn first_tokens(hidden: Tensor<2>, pass: &Pass) -> (Tensor<2>, Pass) {
    select(hidden, pass.layout().queries().starts(), pass)
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
    let scale = 1.0 / ((width / heads) as f32).sqrt();
    kernels::Attention { heads, kv_heads: heads, scale, reach: kernels::Reach::Everything, mask }
}
