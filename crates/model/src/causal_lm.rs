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
    /// An empty cache for `rows` tokens of all sequences together.
    pub fn cache(&self, rows: usize) -> Cache {
        Cache::new(self.model.backbone.layers(), rows)
    }

    /// Bytes that a cache takes for each token.
    pub fn cache_bytes_per_token(&self) -> usize {
        let backbone = &*self.model.backbone;
        backbone.layers() * 2 * backbone.cached_width() * size_of::<f32>()
    }

    /// Reads `tokens`, which go on where the cache has their sequences end, and adds them to it. Logits of what comes after the
    /// last token of each of these sequences of the pass, `[sequences, vocabulary]`; `None` of none. They are the same bits
    /// whatever other sequences there are, and however a prompt was cut in pieces, as long as the phase is the same. `routes` are the
    /// rows of the tokens that go through adapters beside those of the model: in all passes of a sequence the same.
    pub fn next(
        &self,
        tokens: &Tokens,
        phase: Phase,
        routes: Routes,
        cache: &mut Cache,
        sequences: &[usize],
    ) -> Option<Tensor<2>> {
        let backbone = &*self.model.backbone;
        let around = Around::new(backbone, tokens, None, Precision::F32).in_phase(phase).with_routes(routes);
        let last = Pooling::Last.rows(&[], tokens.layout().queries());
        let rows: Vec<usize> = match sequences {
            // A layer has at least one row.
            [] => vec![last[0]],
            sequences => sequences.iter().map(|sequence| last[*sequence]).collect(),
        };
        let (hidden, ctx) = through(backbone, tokens, &rows, &around, Some(cache));
        (!sequences.is_empty()).then(|| self.model.head(Features { hidden, ctx }))
    }

    /// Whether a sequence of which `read` tokens are in a cache has to be read from its beginning now that it has `length`.
    pub(crate) fn reads_again(&self, read: usize, length: usize) -> bool {
        read > 0 && self.model.backbone.ropes().iter().any(|rope| rope.turns_otherwise(read, length))
    }

    /// The length of the shortest sequence in which keys turn as in one of `length` tokens: tokens that two sequences begin
    /// with have the same keys if this is the same of both.
    pub(crate) fn turns_as(&self, length: usize) -> usize {
        self.model.backbone.ropes().iter().map(|rope| rope.turns_as(length)).max().unwrap_or(1)
    }

    /// Where the model's tensors are.
    pub fn device(&self) -> Device {
        self.model.device()
    }
}
