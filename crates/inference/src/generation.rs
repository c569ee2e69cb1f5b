//! A causal language model writes: prompts become texts, shown while they are made.

use std::sync::Arc;

use data::Tokenizer;
use indexmap::IndexMap;
use lora::AdapterSet;
use model::{CausalLm, Prompt, Request, Sampling, SamplingError};
use serde::Serialize;
use suggest::counted;

use crate::{Event, Limits, Scheduler, TextRequest};

/// New tokens of a text where nothing says how many.
const DEFAULT_NEW_TOKENS: usize = 256;

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum GenerationError {
    #[error(
        "{subject} has {}{tokens} tokens, {} too many: the model has {positions} positions",
        if *at_least { "at least " } else { "" },
        tokens + 1 - positions
    )]
    #[diagnostic(help("shorten it: at least one position must be left for what is to be written"))]
    Prompt { subject: String, tokens: usize, at_least: bool, positions: usize },
    #[error(
        "{subject} has {}; with {asked} new ones that is {excess} too many: the model has {positions} positions",
        counted(*tokens, "token", "tokens")
    )]
    #[diagnostic(help("shorten it, or ask for at most {} new ones", positions - tokens))]
    Room { subject: String, tokens: usize, asked: usize, excess: usize, positions: usize },
    #[error("a text of {tokens} tokens, with its prompt, does not fit into the cache, which has room for {room}")]
    #[diagnostic(help("ask for fewer new tokens, or give the cache more memory"))]
    Cache { tokens: usize, room: usize },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Sampling(#[from] SamplingError),
}

/// How texts are written.
#[derive(Debug)]
pub struct Writer<'a> {
    pub model: CausalLm<'a>,
    /// What the texts go through beside the model.
    pub adapters: Option<Arc<AdapterSet>>,
    pub tokenizer: Arc<Tokenizer>,
    pub sampling: Sampling,
    pub stop_tokens: Arc<[u32]>,
    pub stop_strings: Vec<String>,
    /// `None`: as many as there is room for, up to a few hundred.
    pub max_new_tokens: Option<usize>,
    pub positions: usize,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Written {
    pub text: String,
    /// The new tokens with the one that ended the text.
    pub token_ids: Vec<u32>,
    pub finish_reason: FinishReason,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FinishReason {
    Stop,
    Length,
}

impl Writer<'_> {
    /// A prompt of these tokens; `subject` is what messages call it, `row` what its random choices depend on.
    pub fn prompt(&self, ids: Vec<u32>, row: u64, subject: &str) -> Result<Prompt, GenerationError> {
        let (tokens, positions, subject) = (ids.len(), self.positions, subject.to_string());
        if tokens >= positions {
            return Err(GenerationError::Prompt { subject, tokens, at_least: false, positions });
        }
        let room = positions - tokens;
        let max_new_tokens = match self.max_new_tokens {
            Some(asked) if asked > room => {
                return Err(GenerationError::Room { subject, tokens, asked, excess: asked - room, positions });
            }
            Some(asked) => asked,
            None => room.min(DEFAULT_NEW_TOKENS),
        };
        Ok(Prompt { ids, row, max_new_tokens })
    }

    /// Goes on with all prompts at once. `shown` is told of each piece of text as it becomes certain, with the index of its
    /// prompt.
    pub fn write(
        &self,
        prompts: &[Prompt],
        shown: &mut dyn FnMut(usize, &str),
    ) -> Result<Vec<Written>, GenerationError> {
        let requests: Vec<TextRequest> = prompts.iter().map(|prompt| self.request(prompt.clone())).collect();
        let rows: usize = requests.iter().map(|request| request.request.rows()).sum();
        let cache_memory = rows * self.model.cache_bytes_per_token();
        let mut scheduler = Scheduler::new(self.model, Limits { max_batch_tokens: usize::MAX, cache_memory });
        let mut texts = IndexMap::new();
        for request in requests {
            let nothing = Written { text: String::new(), token_ids: Vec::new(), finish_reason: FinishReason::Length };
            texts.insert(scheduler.submit(0, request)?, nothing);
        }
        while !scheduler.is_idle() {
            for (id, event) in scheduler.tick(self.model) {
                let (index, _, written) = texts.get_full_mut(&id).expect("an event is of a text that was asked for");
                match event {
                    Event::Token { text, token, .. } => {
                        written.token_ids.push(token);
                        if !text.is_empty() {
                            written.text.push_str(&text);
                            shown(index, &text);
                        }
                    }
                    Event::Finished { reason, .. } => written.finish_reason = reason,
                    Event::Failed(error) => return Err(error.into()),
                }
            }
        }
        Ok(texts.into_values().collect())
    }

    /// What a [`Scheduler`] needs to continue a prompt.
    pub fn request(&self, prompt: Prompt) -> TextRequest {
        let request = Request {
            prompt,
            sampling: self.sampling.clone(),
            stop_tokens: self.stop_tokens.clone(),
            log_probabilities: None,
            adapters: self.adapters.clone(),
        };
        TextRequest { request, tokenizer: self.tokenizer.clone(), stop_strings: self.stop_strings.clone() }
    }
}
