//! Texts continued token by token, several in one ragged batch. Nothing is merged and nothing copied: an adapter works
//! as it does in training.

use std::sync::Arc;

use crate::cache::Cache;
use crate::causal_lm::CausalLm;
use crate::sampling::{Sampling, SamplingError};
use crate::tokens::Tokens;

/// What is to be continued.
#[derive(Debug, Clone)]
pub struct Prompt {
    pub ids: Vec<u32>,
    /// What its random choices depend on beside the seed, whatever it is batched with.
    pub row: u64,
    pub max_new_tokens: usize,
}

/// Why a text ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// At an end token.
    Stop,
    /// At the number of tokens asked for.
    Length,
}

/// A token that was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chosen {
    /// The index of the prompt.
    pub prompt: usize,
    pub token: u32,
    /// Whether the text ends with it.
    pub finish: Option<Finish>,
}

/// Several texts that are being written.
#[derive(Debug)]
pub struct Generation<'a> {
    model: CausalLm<'a>,
    sampling: &'a Sampling,
    stops: &'a [u32],
    cache: Cache,
    texts: Vec<Text>,
}

/// A text that is still going on.
#[derive(Debug)]
struct Text {
    prompt: usize,
    row: u64,
    /// The prompt and what was written so far.
    ids: Vec<u32>,
    /// How many of these the model has read.
    read: usize,
    written: usize,
    max_new_tokens: usize,
}

impl<'a> Generation<'a> {
    /// `stops` are the tokens that end a text. Prompts have at least one token, and are to get at least one.
    pub fn new(model: CausalLm<'a>, prompts: &[Prompt], sampling: &'a Sampling, stops: &'a [u32]) -> Self {
        let capacities: Vec<usize> = prompts.iter().map(|prompt| prompt.ids.len() + prompt.max_new_tokens).collect();
        let text = |(index, prompt): (usize, &Prompt)| Text {
            prompt: index,
            row: prompt.row,
            ids: prompt.ids.clone(),
            read: 0,
            written: 0,
            max_new_tokens: prompt.max_new_tokens,
        };
        let texts = prompts.iter().enumerate().map(text).collect();
        Self { model, sampling, stops, cache: model.cache(&capacities), texts }
    }

    /// One more token of every text that is still going on; none when all have ended. The first call reads the prompts.
    pub fn step(&mut self) -> Result<Vec<Chosen>, SamplingError> {
        if self.texts.is_empty() {
            return Ok(Vec::new());
        }
        for (index, text) in self.texts.iter_mut().enumerate() {
            if self.model.reads_again(text.read, text.ids.len()) {
                self.cache.clear(index);
                text.read = 0;
            }
        }
        let unread: Vec<usize> = self.texts.iter().map(|text| text.ids.len() - text.read).collect();
        let ids: Vec<u32> = self.texts.iter().flat_map(|text| text.ids[text.read..].iter().copied()).collect();
        let layout = Arc::new(self.cache.layout(&unread));
        let tokens = Tokens::new(&ids, &vec![0; ids.len()], layout, &self.model.device());
        let logits = self.model.next(&tokens, &mut self.cache);
        let width = logits.dims()[1];
        let logits = logits.into_data();
        let logits = logits.as_slice::<f32>().expect("logits are f32 on every device");

        let mut chosen = Vec::with_capacity(self.texts.len());
        for (text, logits) in self.texts.iter_mut().zip(logits.chunks_exact(width)) {
            text.read = text.ids.len();
            if !logits.iter().all(|logit| logit.is_finite()) {
                return Err(SamplingError::NotFinite { row: text.row, token: text.written as u64 });
            }
            let (prompt, written) = text.ids.split_at(text.ids.len() - text.written);
            let token = self.sampling.choose(logits, prompt, written, text.row)?;
            text.ids.push(token);
            text.written += 1;
            let finish = match () {
                () if self.stops.contains(&token) => Some(Finish::Stop),
                () if text.written == text.max_new_tokens => Some(Finish::Length),
                () => None,
            };
            chosen.push(Chosen { prompt: text.prompt, token, finish });
        }
        let ended = |prompt: usize| chosen.iter().any(|chosen| chosen.prompt == prompt && chosen.finish.is_some());
        self.keep(|text| !ended(text.prompt));
        Ok(chosen)
    }

    /// Ends the text of a prompt: the caller has seen enough of it.
    pub fn end(&mut self, prompt: usize) {
        self.keep(|text| text.prompt != prompt);
    }

    fn keep(&mut self, goes_on: impl Fn(&Text) -> bool) {
        let kept: Vec<usize> = (0..self.texts.len()).filter(|index| goes_on(&self.texts[*index])).collect();
        if kept.len() < self.texts.len() {
            self.cache.keep(&kept);
            self.texts.retain(goes_on);
        }
    }
}
