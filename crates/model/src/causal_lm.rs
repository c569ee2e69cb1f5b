//! A model that says which token comes next, reading some tokens at a time.

use burn::tensor::{Device, Tensor};
use kernels::{Phase, Precision};
use lora::Routes;

use crate::architectures::{Around, through};
use crate::cache::Cache;
use crate::head::Pooling;
use crate::model::{Features, Model};
use crate::tokens::Tokens;

/// A [`Model`] with a causal language model's head, made by [`Model::causal_lm`].
#[derive(Debug, Clone, Copy)]
pub struct CausalLm<'a> {
    pub(crate) model: &'a Model,
}

impl CausalLm<'_> {
    /// An empty cache for sequences that may come to so many tokens each.
    pub fn cache(&self, capacities: &[usize]) -> Cache {
        Cache::new(self.model.backbone.layers(), capacities)
    }

    /// Reads `tokens`, which go on where the cache ends, and adds them to it. Logits of what comes after the last of each
    /// sequence, `[sequences, vocabulary]`: the same bits whatever other sequences there are, and however a prompt was cut in pieces, as
    /// long as the phase is the same. `routes` are the rows of the tokens that go through adapters beside those of the model: in all passes of
    /// a sequence the same.
    pub fn next(&self, tokens: &Tokens, routes: Routes, cache: &mut Cache, phase: Phase) -> Tensor<2> {
        let backbone = &*self.model.backbone;
        let around = Around::new(backbone, tokens, None, Precision::F32).in_phase(phase).with_routes(routes);
        let last = Pooling::Last.rows(&[], tokens.layout().queries());
        let (hidden, ctx) = through(backbone, tokens, &last, &around, Some(cache));
        self.model.head(Features { hidden, ctx })
    }

    /// Whether a sequence of which `read` tokens are in a cache has to be read from its beginning now that it has `length`.
    pub(crate) fn reads_again(&self, read: usize, length: usize) -> bool {
        read > 0 && self.model.backbone.ropes().iter().any(|rope| rope.turns_otherwise(read, length))
    }

    /// Where the model's tensors are.
    pub fn device(&self) -> Device {
        self.model.device()
    }
}
