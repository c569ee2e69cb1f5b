//! Texts for many who ask, written together: they wait in groups that take turns, join when there is room for them, and leave
//! when they end. It knows no threads, no clocks and no protocols: whoever drives it calls
//! [`Scheduler::tick`] and hands on what came of it.

mod waiting;

use std::sync::Arc;

use data::Tokenizer;
use indexmap::IndexMap;
use lora::AdapterSet;
use model::{CausalLm, Chosen, Generation, LogProbabilities, Request, SamplingError};

use crate::draft::Draft;
use crate::{FinishReason, GenerationError};
use waiting::Waiting;

/// What the texts that are written together may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Tokens of a pass: a prompt of more is read in several, with those of others beside them, so that it does not stall the
    /// texts that are being written.
    pub max_batch_tokens: usize,
    /// Bytes of keys and values of all texts. On the CPU they are used only as they are written.
    pub cache_memory: usize,
}

/// A text that is asked for.
#[derive(Debug, Clone)]
pub struct TextRequest {
    pub request: Request,
    pub tokenizer: Arc<Tokenizer>,
    /// Strings before which the text ends.
    pub stop_strings: Vec<String>,
}

/// What became of a text.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A token was chosen.
    Token {
        /// What of the text is certain since: whole characters, often none, and nothing that may be part of a stop string.
        text: String,
        token: u32,
        log_probabilities: Option<LogProbabilities>,
    },
    /// It has ended: this is its last event.
    Finished { reason: FinishReason, usage: Usage },
    /// No token can be chosen: this is its last event.
    Failed(SamplingError),
}

/// Tokens of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    pub prompt_tokens: usize,
    /// Of these, the ones whose keys and values were there already, from a prompt that begins alike.
    pub shared_tokens: usize,
    /// With the one that ended the text.
    pub new_tokens: usize,
}

/// What a scheduler has done and has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statistics {
    /// Tokens of prompts that were read, since the beginning.
    pub prefilled: u64,
    /// Tokens of prompts that did not have to be read, since the beginning.
    pub shared: u64,
    /// Tokens that were chosen, since the beginning.
    pub written: u64,
    /// Requests that have not been begun.
    pub waiting: usize,
    /// Texts whose prompts are being read.
    pub reading: usize,
    /// Texts that are being written.
    pub writing: usize,
    /// Tokens that the cache has room for.
    pub cache_rows: usize,
    /// Rows of the cache that texts have.
    pub cache_rows_of_texts: usize,
    /// Rows of the cache with prompts that others may begin with.
    pub cache_rows_of_prefixes: usize,
}

/// A text that has joined.
#[derive(Debug)]
struct Joined {
    draft: Draft,
    usage: Usage,
}

/// Requests, and the texts that come of them.
#[derive(Debug)]
pub struct Scheduler {
    limits: Limits,
    generation: Generation,
    waiting: Waiting,
    joined: IndexMap<u64, Joined>,
    next: u64,
    prefilled: u64,
    shared: u64,
    written: u64,
}

impl Scheduler {
    /// `model` is the one that each [`Scheduler::tick`] is given, though adapters may come and go in between. The cache takes
    /// no memory before the first request.
    pub fn new(model: CausalLm<'_>, limits: Limits) -> Self {
        let rows = limits.cache_memory / model.cache_bytes_per_token();
        Self {
            limits,
            generation: Generation::new(model, rows),
            waiting: Waiting::default(),
            joined: IndexMap::new(),
            next: 0,
            prefilled: 0,
            shared: 0,
            written: 0,
        }
    }

    /// Takes a text and gives it a number. Groups take turns, so that one with many texts does not hold up the others.
    ///
    /// Errors: a text that has no room in the whole cache.
    pub fn submit(&mut self, group: u64, request: TextRequest) -> Result<u64, GenerationError> {
        let (tokens, room) = (request.request.rows(), self.generation.rows());
        if tokens > room {
            return Err(GenerationError::Cache { tokens, room });
        }
        let id = self.next;
        self.next += 1;
        self.waiting.push(group, id, request);
        Ok(id)
    }

    /// Nobody wants this text any more: no event comes of it.
    pub fn cancel(&mut self, id: u64) {
        self.waiting.remove(id);
        if self.joined.shift_remove(&id).is_some() {
            self.generation.end(id);
        }
    }

    /// Whether this text has not joined the others yet.
    pub fn is_waiting(&self, id: u64) -> bool {
        self.waiting.has(id)
    }

    /// Whether there is nothing to do.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.joined.is_empty()
    }

    /// Forgets prompts that were read through an adapter that no further text goes through, and so the adapter.
    pub fn forget(&mut self, adapters: &Arc<AdapterSet>) {
        self.generation.forget(adapters);
    }

    /// Lets requests join that there is room for, and goes one step: a token of each text that is being written, and some of
    /// the prompts, of each group in turn. Returns what became of which text.
    pub fn tick(&mut self, model: CausalLm<'_>) -> Vec<(u64, Event)> {
        self.join(model);
        let step = self.generation.step(model, self.limits.max_batch_tokens);
        self.prefilled += step.prefilled as u64;
        for (id, tokens) in step.shared {
            self.shared += tokens as u64;
            // A text that is read again has been counted.
            if let Some(joined) = self.joined.get_mut(&id).filter(|joined| joined.usage.new_tokens == 0) {
                joined.usage.shared_tokens += tokens;
            }
        }
        let mut events = Vec::new();
        for chosen in step.chosen {
            self.written += 1;
            self.push(chosen, &mut events);
        }
        for (id, error) in step.failed {
            self.joined.shift_remove(&id);
            events.push((id, Event::Failed(error)));
        }
        events
    }

    pub fn statistics(&self) -> Statistics {
        let reading = self.generation.reading();
        Statistics {
            prefilled: self.prefilled,
            shared: self.shared,
            written: self.written,
            waiting: self.waiting.len(),
            reading,
            writing: self.generation.texts() - reading,
            cache_rows: self.generation.rows(),
            cache_rows_of_texts: self.generation.rows_of_texts(),
            cache_rows_of_prefixes: self.generation.rows_of_prefixes(),
        }
    }

    /// In their turn: none overtakes one that waits for room.
    fn join(&mut self, model: CausalLm<'_>) {
        // As many as have a token in a decode pass.
        while self.joined.len() < self.limits.max_batch_tokens.max(1) {
            let Some((group, id, waiting)) = self.waiting.first() else { return };
            if !self.generation.admit(model, id, group, &waiting.request) {
                return;
            }
            let Some(TextRequest { request, tokenizer, stop_strings }) = self.waiting.take() else { return };
            let usage = Usage { prompt_tokens: request.prompt.ids.len(), shared_tokens: 0, new_tokens: 0 };
            self.joined.insert(id, Joined { draft: Draft::new(tokenizer, stop_strings), usage });
        }
    }

    fn push(&mut self, chosen: Chosen, events: &mut Vec<(u64, Event)>) {
        let id = chosen.text;
        let joined = self.joined.get_mut(&id).expect("a token is of a text that has joined");
        joined.usage.new_tokens += 1;
        let (usage, (text, reason)) = (joined.usage, joined.draft.push(&chosen));
        let Chosen { token, finish, log_probabilities, .. } = chosen;
        events.push((id, Event::Token { text, token, log_probabilities }));
        if let Some(reason) = reason {
            events.push((id, Event::Finished { reason, usage }));
            self.joined.shift_remove(&id);
            // At a stop string.
            if finish.is_none() {
                self.generation.end(id);
            }
        }
    }
}

#[cfg(test)]
mod tests;
