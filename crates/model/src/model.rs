//! A model: a backbone, the hidden states that are pooled from it, and a head.

use std::ops::Range;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use kernels::{Noise, Precision};
use lora::ForwardContext;

use crate::architectures::{AnyBackbone, Around, through};
use crate::causal_lm::CausalLm;
use crate::head::{Head, HeadLayers, Pooling, VocabularyOutput};
use crate::layerwise::Layerwise;
use crate::tokens::Tokens;

#[derive(Module, Debug)]
pub struct Model {
    pub(crate) backbone: AnyBackbone,
    /// `None` of a base that answers by the heads of its adapters alone.
    pub(crate) head: Option<HeadLayers>,
    #[module(skip)]
    pub(crate) pooling: Pooling,
    #[module(skip)]
    kind: Head,
}

/// What a head reads: `[rows, hidden]`, and the context for it.
#[derive(Debug, Clone)]
pub struct Features {
    pub(crate) hidden: Tensor<2>,
    pub(crate) ctx: ForwardContext,
}

impl Features {
    /// `[rows, hidden]`
    pub fn hidden(&self) -> &Tensor<2> {
        &self.hidden
    }

    /// `[rows, hidden]`, without the context.
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
    pub(crate) fn new(backbone: AnyBackbone, head: Option<HeadLayers>, pooling: Pooling, kind: Head) -> Self {
        Self { backbone, head, pooling, kind }
    }

    /// Logits: of each sequence, `[sequences, labels]`; of a head that answers for single tokens those that `rows` names by their
    /// indices in `tokens`, `[rows, labels]` or `[rows, vocabulary]`. With `noise` dropout acts as in training.
    pub fn forward(&self, tokens: &Tokens, rows: &[usize], noise: Option<Noise>) -> Tensor<2> {
        self.head(self.features(tokens, rows, noise, Precision::F32))
    }

    /// All but the head. A head sees no token that it is not asked about: a vocabulary is the widest layer there is.
    pub fn features(&self, tokens: &Tokens, rows: &[usize], noise: Option<Noise>, precision: Precision) -> Features {
        let around = Around::new(&*self.backbone, tokens, noise, precision);
        let sequences = tokens.layout().queries();
        let rows = self.pooling.rows(rows, sequences);
        let (hidden, ctx) = through(&*self.backbone, tokens, &rows, &around, None);
        let (hidden, ctx) = self.pooling.pool(hidden, ctx, sequences);
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

    /// Whether it has a head of its own, without which it is asked nothing but by way of [adapters that have
    /// one](Self::forward_routed).
    pub fn has_head(&self) -> bool {
        self.head.is_some()
    }

    pub(crate) fn own_head(&self) -> &HeadLayers {
        self.head.as_ref().expect("a model without a head is asked by way of its adapters")
    }

    /// The head.
    ///
    /// # Panics
    /// Of a model [without one](Self::has_head), here and in [`Self::before_output`].
    pub fn head(&self, features: Features) -> Tensor<2> {
        self.own_head().forward(features.hidden, self.backbone.word_embeddings().weight(), features.ctx)
    }

    /// The output layer of a language model: the last of its head, whose classes are its tokens.
    pub fn output(&self) -> Option<VocabularyOutput<'_>> {
        self.head.as_ref()?.vocabulary(self.backbone.word_embeddings().weight())
    }

    /// The head but for its output layer: `[rows, d]`, and the context for that layer.
    pub fn before_output(&self, features: Features) -> (Tensor<2>, ForwardContext) {
        self.own_head().before_output(features.hidden, features.ctx)
    }

    /// What it answers with, where it has a head.
    pub(crate) fn kind(&self) -> Head {
        self.kind
    }

    /// The model as one that writes; `None` if its head is another.
    pub fn causal_lm(&self) -> Option<CausalLm<'_>> {
        (self.kind == Head::CausalLm && self.has_head()).then_some(CausalLm { model: self })
    }

    /// Tokens that it has embeddings for.
    pub fn vocabulary(&self) -> usize {
        self.backbone.word_embeddings().weight().dims()[0]
    }

    /// Where the model's tensors are.
    pub fn device(&self) -> Device {
        self.backbone.word_embeddings().weight().device()
    }
}
