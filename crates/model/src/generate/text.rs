//! A text that is being written.

use std::ops::Range;
use std::sync::Arc;

use lora::AdapterSet;

use super::{Chosen, Finish, Request};
use crate::cache::Piece;
use crate::causal_lm::CausalLm;
use crate::sampling::{LogProbabilities, Sampling, SamplingError};

#[derive(Debug)]
pub(super) struct Text {
    pub(super) id: u64,
    /// Of the prompts of which one is read after the other.
    pub(super) group: u64,
    /// The prompt and what was written so far.
    pub(super) ids: Vec<u32>,
    prompt_tokens: usize,
    row: u64,
    max_new_tokens: usize,
    sampling: Sampling,
    stop_tokens: Arc<[u32]>,
    log_probabilities: Option<usize>,
    pub(super) adapters: Option<Arc<AdapterSet>>,
    /// Its rows of the cache.
    pub(super) rows: Range<usize>,
    /// How many of its tokens, from the first, the model has read.
    pub(super) read: usize,
    /// How many of these in prefill passes.
    pub(super) prefilled: usize,
    /// How their keys turn: [`CausalLm::turns_as`].
    pub(super) turns_as: usize,
    pub(super) stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// No pass has read any of it.
    Waiting,
    /// Passes have read a part of it.
    Reading,
    /// A pass reads the token that was chosen last, and another is chosen.
    Writing,
}

impl Text {
    pub(super) fn new(model: CausalLm<'_>, id: u64, group: u64, request: &Request, rows: Range<usize>) -> Self {
        Self {
            id,
            group,
            ids: request.prompt.ids.clone(),
            prompt_tokens: request.prompt.ids.len(),
            row: request.prompt.row,
            max_new_tokens: request.prompt.max_new_tokens,
            sampling: request.sampling.clone(),
            stop_tokens: request.stop_tokens.clone(),
            log_probabilities: request.log_probabilities,
            adapters: request.adapters.clone(),
            rows,
            read: 0,
            prefilled: 0,
            turns_as: model.turns_as(request.prompt.ids.len()),
            stage: Stage::Waiting,
        }
    }

    pub(super) fn unread(&self) -> usize {
        self.ids.len() - self.read
    }

    /// Its next tokens, as a part of a pass.
    pub(super) fn piece(&self, tokens: usize) -> Piece {
        Piece { rows: self.rows.clone(), read: self.read, tokens }
    }

    /// So many further tokens are in the cache: read in a pass, or copied from a text that has read them in prefill passes.
    pub(super) fn advance(&mut self, tokens: usize) {
        self.read += tokens;
        if self.stage != Stage::Writing {
            self.prefilled = self.read;
        }
    }

    /// Forgets what was read of it, if that has other keys now that it is longer.
    pub(super) fn grow(&mut self, model: CausalLm<'_>) {
        if self.stage == Stage::Writing && model.reads_again(self.read, self.ids.len()) {
            (self.read, self.prefilled, self.stage) = (0, 0, Stage::Waiting);
            self.turns_as = model.turns_as(self.ids.len());
        }
    }

    /// Chooses its next token by the logits after its last one.
    pub(super) fn choose(&mut self, logits: &[f32]) -> Result<Chosen, SamplingError> {
        let (prompt, written) = self.ids.split_at(self.prompt_tokens);
        if !logits.iter().all(|logit| logit.is_finite()) {
            return Err(SamplingError::NotFinite { row: self.row, token: written.len() as u64 });
        }
        let token = self.sampling.choose(logits, prompt, written, self.row)?;
        self.stage = Stage::Writing;
        let log_probabilities = self.log_probabilities.map(|count| LogProbabilities::new(logits, token, count));
        self.ids.push(token);
        let finish = match () {
            () if self.stop_tokens.contains(&token) => Some(Finish::Stop),
            () if self.ids.len() == self.prompt_tokens + self.max_new_tokens => Some(Finish::Length),
            () => None,
        };
        Ok(Chosen { text: self.id, token, finish, log_probabilities })
    }
}
