//! One pass over one base for sequences of several adapters, each with its own head.

use std::ops::Range;
use std::sync::Arc;

use burn::tensor::Tensor;
use kernels::{Offsets, Precision};
use lora::{AdapterSet, Routes};

use crate::architectures::{Around, through};
use crate::head::{Head, HeadLayers, Pooling};
use crate::model::Model;
use crate::tokens::Tokens;

/// A trained adapter outside of the model that it is for: what [`Pretrained::load_adapter`](crate::Pretrained::load_adapter) makes.
#[derive(Debug)]
pub struct RoutedAdapter {
    adapters: Arc<AdapterSet>,
    /// A classifier's; of a language model the head is the base's.
    own_head: Option<(HeadLayers, Pooling)>,
    kind: Head,
}

impl RoutedAdapter {
    pub(crate) fn new(adapters: AdapterSet, own_head: Option<(HeadLayers, Pooling)>, kind: Head) -> Self {
        Self { adapters: Arc::new(adapters), own_head, kind }
    }

    /// By which the [routes](Routes) of a pass name it.
    pub fn adapters(&self) -> &Arc<AdapterSet> {
        &self.adapters
    }

    /// What it answers with.
    pub fn head(&self) -> Head {
        self.kind
    }

    /// Whether a base with this head, or without one, can answer by way of it.
    pub fn fits(&self, model: &Model) -> bool {
        self.own_head.is_some() || (model.has_head() && model.kind() == self.kind)
    }
}

/// Consecutive sequences of a pass that go through one adapter, or through the model alone.
#[derive(Debug, Clone)]
pub struct Part<'a> {
    pub sequences: usize,
    pub adapter: Option<&'a RoutedAdapter>,
    /// The tokens that a head is asked about which answers for single ones, counted from the first of the part.
    pub rows: &'a [usize],
}

/// Where a part lies, and what its head reads.
struct Placed<'a> {
    head: &'a HeadLayers,
    pooling: Pooling,
    /// Of its sequences, from the first of the part.
    sequences: Offsets,
    /// Of the rows that the heads of all parts read.
    read: Range<usize>,
}

impl Model {
    /// The logits of each part, as [`Self::forward`] gives them for a model with that adapter: `[sequences, labels]` or
    /// `[rows, labels]`. All sequences of `tokens` belong to one of the parts, in their order.
    ///
    /// # Panics
    /// Where an adapter does not [fit](RoutedAdapter::fits), or a part without one is asked of a model without a head.
    pub fn forward_routed(&self, tokens: &Tokens, parts: &[Part<'_>]) -> Vec<Tensor<2>> {
        let sequences = tokens.layout().queries();
        let (mut rows, mut placed, mut first) = (Vec::new(), Vec::with_capacity(parts.len()), 0);
        for part in parts {
            let (head, pooling) = self.head_of(part.adapter);
            let start = sequences.range(first).start;
            let ends = (first..first + part.sequences).map(|sequence| sequences.range(sequence).end - start);
            let own = Offsets::new(&[0].into_iter().chain(ends).collect::<Vec<_>>());
            let read = rows.len();
            rows.extend(pooling.rows(part.rows, &own).into_iter().map(|row| start + row));
            placed.push(Placed { head, pooling, sequences: own, read: read..rows.len() });
            first += part.sequences;
        }
        assert_eq!(first, sequences.sequences(), "every sequence belongs to a part");
        let adapters =
            parts.iter().flat_map(|part| (0..part.sequences).map(|_| part.adapter.map(RoutedAdapter::adapters)));
        let routes = Routes::of_sequences(sequences, adapters);
        let around = Around::new(&*self.backbone, tokens, None, Precision::F32).with_routes(routes);
        // On one of the threads that compute, as in training.
        let (hidden, ctx) = rayon::scope(|_| through(&*self.backbone, tokens, &rows, &around, None));
        let words = self.backbone.word_embeddings().weight();
        let logits = placed.into_iter().zip(parts).map(|(placed, part)| {
            let Placed { head, pooling, sequences, read } = placed;
            let of_part = hidden.clone().narrow(0, read.start, read.len());
            let ctx = ctx.select(&read.collect::<Vec<_>>());
            // A head of its own has the adapter in it.
            let has_own_head = part.adapter.is_some_and(|adapter| adapter.own_head.is_some());
            let ctx = if has_own_head { ctx.with_routes(Routes::default()) } else { ctx };
            let (of_part, ctx) = pooling.pool(of_part, ctx, &sequences);
            head.forward(of_part, words, ctx)
        });
        logits.collect()
    }

    fn head_of<'a>(&'a self, adapter: Option<&'a RoutedAdapter>) -> (&'a HeadLayers, Pooling) {
        match adapter.map(|adapter| (adapter, &adapter.own_head)) {
            Some((_, Some((head, pooling)))) => (head, *pooling),
            Some((adapter, None)) => {
                assert!(adapter.fits(self), "the base has the head that its adapter answers by");
                (self.own_head(), self.pooling)
            }
            None => (self.own_head(), self.pooling),
        }
    }
}
