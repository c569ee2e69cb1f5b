//! The architectures, one file each. To add one: its file, whose body is a `Backbone`, a line in [`ARCHITECTURES`] and a variant
//! for each of its heads in [`SequenceClassifier`], [`MaskedLm`] or [`CausalLm`]; those built like Llama share `decoder.rs` and
//! its variants.

mod backbone;
mod bert;
mod decoder;
mod distilbert;
mod gpt2;
mod like_llama;
mod llama;
mod mistral;
mod phi3;
mod qwen2;
mod qwen3;
mod roberta;
mod smollm3;

use std::ops::Range;

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};
use kernels::{ForwardContext, Noise, Precision};
use lora::{Embedding, Projection};

use crate::Error;
use crate::cache::Cache;
use crate::config::{Config, ConfigError};
use crate::loader::Loader;
use crate::tokens::Tokens;
use backbone::through;

pub use backbone::Layerwise;
pub(crate) use backbone::{Around, Backbone};

/// What a model answers with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// Which of several classes a sequence belongs to.
    SequenceClassification,
    /// Which token stood where one was masked.
    MaskedLm,
    /// Which token comes next.
    CausalLm,
}

impl Head {
    pub(crate) fn noun(self) -> &'static str {
        match self {
            Self::SequenceClassification => "classification head",
            Self::MaskedLm => "masked-language-model head",
            Self::CausalLm => "language-model head",
        }
    }

    /// What to do where a model lacks it.
    pub(crate) fn where_from(self) -> &'static str {
        match self {
            Self::SequenceClassification => {
                "give the adapter that was trained on it with --adapter, or fine-tune it first with `kindling train`"
            }
            Self::MaskedLm | Self::CausalLm => {
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
    /// The modules at the top of the backbone, each with a dot behind: how names begin in the checkpoint of a bare backbone.
    pub(crate) backbone: &'static [&'static str],
    /// Below the backbone.
    pub(crate) word_embeddings: &'static str,
    /// Whether the output layer of a language model is tied to the word embeddings where `config.json` does not say.
    pub(crate) ties_by_default: bool,
    /// PEFT's targets for this `model_type`.
    pub(crate) default_targets: &'static [&'static str],
    /// Tensors of old checkpoints that are constants: endings behind a dot.
    pub(crate) constants: &'static [&'static str],
    pub(crate) check: fn(&Config) -> Result<(), ConfigError>,
    pub(crate) max_positions: fn(&Config) -> Result<usize, ConfigError>,
    /// One for each [`Head`] that it has.
    pub(crate) variants: &'static [Variant],
}

/// An architecture with one of its heads.
#[derive(Debug)]
pub(crate) struct Variant {
    pub(crate) head: Head,
    /// The reference's class in Transformers.
    pub(crate) class: &'static str,
    /// The modules of the head, which a checkpoint of another head does not have.
    pub(crate) modules: &'static [&'static str],
    /// The output layer of a language model.
    pub(crate) output: Option<OutputNames>,
    /// A module below the head that some pretraining checkpoints lack; empty where there is none.
    pub(crate) pooler: &'static str,
    /// Tensors that belong to another head: whole names, endings behind a dot, or starts before a `*`.
    pub(crate) ignored_keys: &'static [&'static str],
    pub(crate) load: fn(&Loader<'_>, &Config, usize) -> Result<Model, Error>,
}

/// The names of an output layer, which may be the word embeddings once more.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OutputNames {
    /// `lm_head`
    pub(crate) module: &'static str,
    /// The module that owns its bias; `None`: it has no bias. Transformers ties the bias of `module` to that.
    pub(crate) bias_of: Option<&'static str>,
}

impl Architecture {
    pub(crate) fn variant(&'static self, head: Head) -> Option<&'static Variant> {
        self.variants.iter().find(|variant| variant.head == head)
    }
}

/// The modules of BERT and its like.
const ENCODER: &[&str] = &["embeddings.", "encoder.", "transformer.", "pooler."];

pub(crate) static ARCHITECTURES: [&Architecture; 10] = [
    &bert::ARCHITECTURE,
    &roberta::ARCHITECTURE,
    &distilbert::ARCHITECTURE,
    &gpt2::ARCHITECTURE,
    &llama::ARCHITECTURE,
    &mistral::ARCHITECTURE,
    &qwen2::ARCHITECTURE,
    &qwen3::ARCHITECTURE,
    &smollm3::ARCHITECTURE,
    &phi3::ARCHITECTURE,
];

/// A backbone with its head.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant, reason = "a process has one or two models, whose layers lie elsewhere anyway")]
pub enum Model {
    SequenceClassifier(SequenceClassifier),
    MaskedLm(MaskedLm),
    CausalLm(CausalLm),
}

/// A head that classifies whole sequences: by the first token of an encoder, by the last of a decoder.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant, reason = "a process has one or two models, whose layers lie elsewhere anyway")]
pub enum SequenceClassifier {
    Bert(bert::BertForSequenceClassification),
    Roberta(roberta::RobertaForSequenceClassification),
    DistilBert(distilbert::DistilBertForSequenceClassification),
    Gpt2(gpt2::Gpt2ForSequenceClassification),
    Decoder(decoder::DecoderForSequenceClassification),
}

/// An encoder with a head that says which token stood in a place.
#[derive(Module, Debug)]
pub enum MaskedLm {
    Bert(bert::BertForMaskedLM),
    Roberta(roberta::RobertaForMaskedLM),
    DistilBert(distilbert::DistilBertForMaskedLM),
}

/// A decoder with a head that says which token comes next.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant, reason = "a process has one or two models, whose layers lie elsewhere anyway")]
pub enum CausalLm {
    Gpt2(gpt2::Gpt2LmHeadModel),
    Decoder(decoder::DecoderForCausalLM),
}

/// What a head reads: `[rows, hidden]`, and the pass for what comes behind.
#[derive(Debug, Clone)]
pub struct Features {
    hidden: Tensor<2>,
    ctx: ForwardContext,
}

impl Features {
    /// `[rows, hidden]`
    pub fn hidden(&self) -> &Tensor<2> {
        &self.hidden
    }

    /// `[rows, hidden]`, without the pass.
    pub fn into_hidden(self) -> Tensor<2> {
        self.hidden
    }

    /// The same for some of the rows, whose values `hidden` holds.
    pub fn part(&self, hidden: Tensor<2>, rows: Range<usize>) -> Self {
        let selected: Vec<usize> = rows.collect();
        Self { hidden, ctx: self.ctx.select(&selected) }
    }
}

impl Model {
    /// Logits: a classifier's of each sequence, `[sequences, labels]`; a language model's of the tokens that `rows` names
    /// by their indices in `tokens`, `[rows, vocabulary]`. With `noise` dropout acts as in training.
    pub fn forward(&self, tokens: &Tokens, rows: &[usize], noise: Option<Noise>) -> Tensor<2> {
        self.head(self.features(tokens, rows, noise, Precision::F32))
    }

    /// All but the head. A head sees no token that it is not asked about: a vocabulary is the widest layer there is.
    pub fn features(&self, tokens: &Tokens, rows: &[usize], noise: Option<Noise>, precision: Precision) -> Features {
        let backbone = self.backbone();
        let around = Around::new(backbone, tokens, noise, precision);
        let (hidden, ctx) = through(backbone, tokens, &self.rows(rows, &around.ctx), &around, None);
        Features { hidden, ctx }
    }

    /// The same, to be taken layer by layer.
    pub fn layerwise<'a>(
        &'a self,
        tokens: &'a Tokens,
        rows: &[usize],
        noise: Option<Noise>,
        precision: Precision,
    ) -> Layerwise<'a> {
        Layerwise::new(self, tokens, rows, noise, precision)
    }

    /// The head.
    pub fn head(&self, features: Features) -> Tensor<2> {
        let Features { hidden, ctx } = features;
        match self {
            Self::SequenceClassifier(model) => match model {
                SequenceClassifier::Bert(model) => model.logits(hidden, &ctx),
                SequenceClassifier::Roberta(model) => model.logits(hidden, &ctx),
                SequenceClassifier::DistilBert(model) => model.logits(hidden, &ctx),
                SequenceClassifier::Gpt2(model) => model.logits(hidden, &ctx),
                SequenceClassifier::Decoder(model) => model.logits(hidden, &ctx),
            },
            Self::MaskedLm(model) => model.output().forward(model.before_output(hidden, &ctx), &ctx),
            Self::CausalLm(model) => model.output().forward(hidden, &ctx),
        }
    }

    /// The output layer of a language model: the last of its head, whose classes are its tokens.
    pub fn output(&self) -> Option<Projection<'_>> {
        match self {
            Self::SequenceClassifier(_) => None,
            Self::MaskedLm(model) => Some(model.output()),
            Self::CausalLm(model) => Some(model.output()),
        }
    }

    /// The head of a language model but for its output layer: `[rows, hidden]`, and the pass for that layer.
    pub fn before_output(&self, features: Features) -> (Tensor<2>, ForwardContext) {
        let Features { hidden, ctx } = features;
        match self {
            Self::MaskedLm(model) => (model.before_output(hidden, &ctx), ctx),
            Self::SequenceClassifier(_) | Self::CausalLm(_) => (hidden, ctx),
        }
    }

    /// Tokens that it has embeddings for.
    pub fn vocabulary(&self) -> usize {
        self.word_embeddings().weight().value().dims()[0]
    }

    /// Where the model's tensors are.
    pub fn device(&self) -> Device {
        self.word_embeddings().weight().value().device()
    }

    fn word_embeddings(&self) -> &Embedding {
        self.backbone().word_embeddings()
    }

    fn backbone(&self) -> &dyn Backbone {
        match self {
            Self::SequenceClassifier(model) => match model {
                SequenceClassifier::Bert(model) => model.backbone(),
                SequenceClassifier::Roberta(model) => model.backbone(),
                SequenceClassifier::DistilBert(model) => model.backbone(),
                SequenceClassifier::Gpt2(model) => model.backbone(),
                SequenceClassifier::Decoder(model) => model.backbone(),
            },
            Self::MaskedLm(model) => match model {
                MaskedLm::Bert(model) => model.backbone(),
                MaskedLm::Roberta(model) => model.backbone(),
                MaskedLm::DistilBert(model) => model.backbone(),
            },
            Self::CausalLm(model) => model.backbone(),
        }
    }

    /// The rows that the head reads: of an encoder's classifier the first token of each sequence, of a decoder's the last
    /// (there is no padding whose side could be wrong), of a language model those that it is asked about.
    fn rows(&self, asked: &[usize], ctx: &ForwardContext) -> Vec<usize> {
        match self {
            Self::SequenceClassifier(model) => match model {
                SequenceClassifier::Bert(_) | SequenceClassifier::Roberta(_) | SequenceClassifier::DistilBert(_) => {
                    ctx.layout().queries().starts().to_vec()
                }
                SequenceClassifier::Gpt2(_) | SequenceClassifier::Decoder(_) => last_tokens(ctx),
            },
            Self::MaskedLm(_) | Self::CausalLm(_) => asked.to_vec(),
        }
    }
}

impl MaskedLm {
    /// What the output layer reads, `[rows, hidden]`.
    fn before_output(&self, hidden: Tensor<2>, ctx: &ForwardContext) -> Tensor<2> {
        match self {
            Self::Bert(model) => model.before_output(hidden, ctx),
            Self::Roberta(model) => model.before_output(hidden, ctx),
            Self::DistilBert(model) => model.before_output(hidden, ctx),
        }
    }

    fn output(&self) -> Projection<'_> {
        match self {
            Self::Bert(model) => model.output(),
            Self::Roberta(model) => model.output(),
            Self::DistilBert(model) => model.output(),
        }
    }
}

impl CausalLm {
    fn output(&self) -> Projection<'_> {
        match self {
            Self::Gpt2(model) => model.output(),
            Self::Decoder(model) => model.output(),
        }
    }

    /// An empty cache for sequences that may come to so many tokens each.
    pub fn cache(&self, capacities: &[usize]) -> Cache {
        Cache::new(self.backbone().layers(), capacities)
    }

    /// Reads `tokens`, which go on where the cache ends, and adds them to it. Logits of what comes after the last of each
    /// sequence, `[sequences, vocabulary]`.
    pub fn next(&self, tokens: &Tokens, cache: &mut Cache) -> Tensor<2> {
        let around = Around::new(self.backbone(), tokens, None, Precision::F32);
        let (last, ctx) = through(self.backbone(), tokens, &last_tokens(&around.ctx), &around, Some(cache));
        self.output().forward(last, &ctx)
    }

    /// Where the model's tensors are.
    pub fn device(&self) -> Device {
        self.backbone().word_embeddings().weight().value().device()
    }

    fn backbone(&self) -> &dyn Backbone {
        match self {
            Self::Gpt2(model) => model.backbone(),
            Self::Decoder(model) => model.backbone(),
        }
    }
}

/// Some rows of `[tokens, hidden]`, and the pass for what comes behind: in the last layer, all that follows attention is
/// computed for the rows that a head reads, and for no others.
pub(crate) fn select(hidden: Tensor<2>, rows: &[usize], ctx: &ForwardContext) -> (Tensor<2>, ForwardContext) {
    let indices: Vec<i32> = rows.iter().map(|row| *row as i32).collect();
    let indices = Tensor::<1, Int>::from_data(indices.as_slice(), &hidden.device());
    (hidden.select(0, indices), ctx.select(rows))
}

fn last_tokens(ctx: &ForwardContext) -> Vec<usize> {
    let offsets = ctx.layout().queries();
    (0..offsets.sequences()).map(|sequence| offsets.range(sequence).end - 1).collect()
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
pub(crate) fn attention_options(width: usize, heads: usize, mask: Option<kernels::DropoutMask>) -> kernels::Attention {
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
