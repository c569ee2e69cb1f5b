//! Texts continued token by token, several in ragged passes that they join and leave as they come and end. Nothing is merged
//! and nothing copied: an adapter works as it does in training.
//!
//! A pass reads prompts (prefill) or the last token of each text that is being written (decode), never both, and prompts that
//! begin alike share what prefill passes made of their beginning.

mod prefixes;
mod text;

use std::collections::VecDeque;
use std::sync::Arc;

use indexmap::IndexMap;
use kernels::Phase;
use lora::{AdapterSet, Routes};

use crate::cache::{Cache, Piece};
use crate::causal_lm::CausalLm;
use crate::sampling::{LogProbabilities, Sampling, SamplingError};
use crate::tokens::Tokens;
use prefixes::{Kept, Prefix, Prefixes, SHORTEST};
use text::{Stage, Text};

/// A prompt waits for one before it while that reads so many tokens that both begin with: what it costs to wait is one more
/// pass.
const WORTH_WAITING: usize = 64;

/// What is to be continued.
#[derive(Debug, Clone)]
pub struct Prompt {
    pub ids: Vec<u32>,
    /// What its random choices depend on beside the seed, whatever it is batched with.
    pub row: u64,
    pub max_new_tokens: usize,
}

/// A prompt, and how it is continued.
#[derive(Debug, Clone)]
pub struct Request {
    /// At least one token, and at least one new token.
    pub prompt: Prompt,
    pub sampling: Sampling,
    /// The tokens that end the text.
    pub stop_tokens: Arc<[u32]>,
    /// With each new token its log-probability, and those of so many most probable tokens.
    pub log_probabilities: Option<usize>,
    /// The adapters that it goes through beside those of the model. Texts share what they begin with where these are the same.
    pub adapters: Option<Arc<AdapterSet>>,
}

impl Request {
    /// Rows of a cache that it takes.
    pub fn rows(&self) -> usize {
        self.prompt.ids.len() + self.prompt.max_new_tokens
    }
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
#[derive(Debug, Clone, PartialEq)]
pub struct Chosen {
    /// The number that the text was admitted with.
    pub text: u64,
    pub token: u32,
    /// Whether the text ends with it.
    pub finish: Option<Finish>,
    pub log_probabilities: Option<LogProbabilities>,
}

/// What became of the texts in one step.
#[derive(Debug, Default)]
pub struct Step {
    pub chosen: Vec<Chosen>,
    /// Texts that ended because no token could be chosen.
    pub failed: Vec<(u64, SamplingError)>,
    /// Texts that were given the first part of their prompt from others, and how many tokens.
    pub shared: Vec<(u64, usize)>,
    /// Tokens of prompts that were read.
    pub prefilled: usize,
    /// Texts in the decode pass.
    pub decoded: usize,
}

/// Several texts that are being written.
#[derive(Debug)]
pub struct Generation {
    cache: Cache,
    prefixes: Prefixes,
    /// In the order in which they were admitted.
    texts: Vec<Text>,
    /// The groups whose prompts were read, those of the last passes last.
    turns: Vec<u64>,
}

impl Generation {
    /// With room for `rows` tokens of all texts together, prompts and what is written.
    pub fn new(model: CausalLm<'_>, rows: usize) -> Self {
        Self { cache: model.cache(rows), prefixes: Prefixes::default(), texts: Vec::new(), turns: Vec::new() }
    }

    /// Takes a text in, under a number that no other text has; `false` if there is no room for it at the moment. Prompts of
    /// different groups are read in turn.
    pub fn admit(&mut self, model: CausalLm<'_>, text: u64, group: u64, request: &Request) -> bool {
        // What it begins with is not to give way to it.
        let (ids, adapters) = (&request.prompt.ids, request.adapters.as_ref());
        let (common, row) = self.longest(ids, adapters, model.turns_as(ids.len()));
        if common >= SHORTEST {
            self.prefixes.used(row);
        }
        match self.prefixes.make_room(request.rows(), &mut self.cache) {
            Some(rows) => {
                self.texts.push(Text::new(model, text, group, request, rows));
                true
            }
            None => false,
        }
    }

    /// The next token of each text whose prompt was read, in one pass, and at most `budget` further tokens of prompts (of one
    /// that cannot be read in parts all), in another. A text whose prompt has been read to its end has its first token then.
    pub fn step(&mut self, model: CausalLm<'_>, budget: usize) -> Step {
        // On one of the threads that compute: handing each of hundreds of operations over to them takes longer.
        rayon::scope(|_| {
            let mut step = Step::default();
            self.texts.iter_mut().for_each(|text| text.grow(model));
            self.decode(model, &mut step);
            self.prefill(model, budget, &mut step);
            step
        })
    }

    /// Ends a text: the caller has seen enough of it.
    pub fn end(&mut self, text: u64) {
        self.leave(|other| other.id == text);
    }

    /// Forgets what was read through adapters that no further text goes through.
    pub fn forget(&mut self, adapters: &Arc<AdapterSet>) {
        self.prefixes.forget(adapters, &mut self.cache);
    }

    /// Texts that have not ended.
    pub fn texts(&self) -> usize {
        self.texts.len()
    }

    /// Texts whose prompts have not been read to their end.
    pub fn reading(&self) -> usize {
        self.texts.iter().filter(|text| text.stage != Stage::Writing).count()
    }

    /// Rows of the cache.
    pub fn rows(&self) -> usize {
        self.cache.capacity()
    }

    /// Rows of the cache that texts have.
    pub fn rows_of_texts(&self) -> usize {
        self.cache.capacity() - self.cache.free() - self.rows_of_prefixes()
    }

    /// Rows of the cache with prompts of texts that have ended.
    pub fn rows_of_prefixes(&self) -> usize {
        self.prefixes.rows()
    }

    fn decode(&mut self, model: CausalLm<'_>, step: &mut Step) {
        let is_writing = |index: &usize| self.texts[*index].stage == Stage::Writing;
        let parts: Vec<(usize, usize)> = (0..self.texts.len()).filter(is_writing).map(|index| (index, 1)).collect();
        step.decoded = parts.len();
        self.pass(model, Phase::Decode, parts, step);
    }

    fn prefill(&mut self, model: CausalLm<'_>, budget: usize, step: &mut Step) {
        let parts = self.next_parts(model, budget, step);
        step.prefilled = parts.iter().map(|(_, tokens)| tokens).sum();
        self.pass(model, Phase::Prefill, parts, step);
    }

    /// The texts of the next prefill pass, by their indices, and how many tokens of each.
    fn next_parts(&mut self, model: CausalLm<'_>, budget: usize, step: &mut Step) -> Vec<(usize, usize)> {
        let (mut parts, mut left) = (Vec::new(), budget.max(1));
        for index in self.in_turn() {
            if left == 0 {
                break;
            }
            match self.texts[index].stage {
                Stage::Writing => continue,
                Stage::Reading => {}
                Stage::Waiting => {
                    self.share(index, step);
                    if self.is_about_to_be_shared(index) {
                        continue;
                    }
                }
            }
            let text = &self.texts[index];
            let unread = text.unread();
            // A part has to be a sequence whose keys turn as those of the whole.
            let in_part = model.turns_as(text.read + unread.min(left)) == text.turns_as;
            let tokens = if in_part { unread.min(left) } else { unread };
            if tokens > left && !parts.is_empty() {
                break;
            }
            left = left.saturating_sub(tokens);
            parts.push((index, tokens));
        }
        for (index, _) in &parts {
            let text = &mut self.texts[*index];
            text.stage = Stage::Reading;
            self.turns.retain(|group| *group != text.group);
            self.turns.push(text.group);
        }
        let texts = &self.texts;
        self.turns.retain(|group| texts.iter().any(|text| text.group == *group));
        parts
    }

    /// The texts whose prompts are not read to their end, by their indices: one of each group after the other, those groups first
    /// that have waited longest; within a group those that came first.
    fn in_turn(&self) -> Vec<usize> {
        let mut groups: IndexMap<u64, VecDeque<usize>> = IndexMap::new();
        for (index, text) in self.texts.iter().enumerate().filter(|(_, text)| text.stage != Stage::Writing) {
            groups.entry(text.group).or_default().push_back(index);
        }
        // One that had no turn yet is before all others.
        groups.sort_by_cached_key(|group, _| self.turns.iter().position(|other| other == group).map_or(0, |at| at + 1));
        let mut order = Vec::new();
        while !groups.is_empty() {
            order.extend(groups.values_mut().filter_map(VecDeque::pop_front));
            groups.retain(|_, texts| !texts.is_empty());
        }
        order
    }

    /// How many of the first of these tokens were read in prefill passes, at most, and where their rows of the cache begin.
    fn longest(&self, ids: &[u32], adapters: Option<&Arc<AdapterSet>>, turns_as: usize) -> (usize, usize) {
        let of_texts = self.texts.iter().map(|text| Prefix {
            ids: &text.ids[..text.prefilled],
            row: text.rows.start,
            turns_as: text.turns_as,
            adapters: text.adapters.as_ref(),
        });
        let all = self.prefixes.iter().chain(of_texts);
        all.map(|prefix| (prefix.common(ids, adapters, turns_as), prefix.row))
            .max_by_key(|(common, _)| *common)
            .unwrap_or_default()
    }

    /// Copies to a text the first part of its prompt, as far as it was read for others.
    fn share(&mut self, index: usize, step: &mut Step) {
        let text = &self.texts[index];
        let (common, row) = self.longest(&text.ids, text.adapters.as_ref(), text.turns_as);
        let text = &mut self.texts[index];
        let more = common.saturating_sub(text.read);
        if more >= SHORTEST {
            self.cache.copy(row + text.read..row + common, text.rows.start + text.read);
            text.advance(more);
            step.shared.push((text.id, more));
            self.prefixes.used(row);
        }
    }

    /// Whether a text before this one is about to read what this one could have of it.
    fn is_about_to_be_shared(&self, index: usize) -> bool {
        let text = &self.texts[index];
        self.texts[..index].iter().filter(|other| other.stage != Stage::Writing).any(|other| {
            let whole = Prefix { ids: &other.ids, row: 0, turns_as: other.turns_as, adapters: other.adapters.as_ref() };
            let common = whole.common(&text.ids, text.adapters.as_ref(), text.turns_as);
            common >= text.read + WORTH_WAITING && other.read < common
        })
    }

    /// Reads so many further tokens of each of these texts, and chooses a token for those that were read to their end.
    fn pass(&mut self, model: CausalLm<'_>, phase: Phase, mut parts: Vec<(usize, usize)>, step: &mut Step) {
        if parts.is_empty() {
            return;
        }
        self.by_adapters(&mut parts);
        let pieces: Vec<Piece> = parts.iter().map(|(index, tokens)| self.texts[*index].piece(*tokens)).collect();
        let unread = parts.iter().flat_map(|(index, tokens)| {
            let text = &self.texts[*index];
            text.ids[text.read..text.read + tokens].iter().copied()
        });
        let ids: Vec<u32> = unread.collect();
        let is_end = |part: &usize| self.texts[parts[*part].0].unread() == parts[*part].1;
        let ends: Vec<usize> = (0..parts.len()).filter(is_end).collect();
        let layout = Arc::new(self.cache.layout(&pieces));
        let tokens = Tokens::new(&ids, &vec![0; ids.len()], layout, &model.device());
        let adapters = parts.iter().map(|(index, _)| self.texts[*index].adapters.as_ref());
        let routes = Routes::of_sequences(tokens.layout().queries(), adapters);
        let logits = model.next(&tokens, phase, routes, &mut self.cache, &ends);
        for (index, tokens) in &parts {
            self.texts[*index].advance(*tokens);
        }
        let Some(logits) = logits else { return };
        let width = logits.dims()[1];
        let logits = logits.into_data();
        let logits = logits.as_slice::<f32>().expect("logits are f32 on every device");
        let (chosen, failed) = (step.chosen.len(), step.failed.len());
        for (part, logits) in ends.iter().zip(logits.chunks_exact(width)) {
            let text = &mut self.texts[parts[*part].0];
            match text.choose(logits) {
                Ok(chosen) => step.chosen.push(chosen),
                Err(error) => step.failed.push((text.id, error)),
            }
        }
        self.drop_failed(&step.failed[failed..]);
        let ended = |text: &Text| step.chosen[chosen..].iter().any(|it| it.text == text.id && it.finish.is_some());
        self.leave(ended);
    }

    /// Those that go through the same adapters beside each other, in one range of rows.
    fn by_adapters(&self, parts: &mut [(usize, usize)]) {
        let mut seen = Vec::new();
        parts.sort_by_cached_key(|(index, _)| {
            let adapters = self.texts[*index].adapters.as_ref().map(Arc::as_ptr);
            seen.iter().position(|other| *other == adapters).unwrap_or_else(|| {
                seen.push(adapters);
                seen.len() - 1
            })
        });
    }

    /// What was read of a text without logits is worth nothing.
    fn drop_failed(&mut self, failed: &[(u64, SamplingError)]) {
        for text in self.texts.extract_if(.., |text| failed.iter().any(|(id, _)| *id == text.id)) {
            self.cache.give_back(text.rows);
        }
    }

    fn leave(&mut self, leaves: impl Fn(&Text) -> bool) {
        for text in self.texts.extract_if(.., |text| leaves(text)) {
            let (turns_as, adapters) = (text.turns_as, text.adapters);
            let rows = text.rows.start..text.rows.start + text.prefilled;
            self.cache.give_back(rows.end..text.rows.end);
            let mut ids = text.ids;
            ids.truncate(text.prefilled);
            self.prefixes.keep(Kept { ids, rows, turns_as, adapters }, &mut self.cache);
        }
    }
}

#[cfg(test)]
mod tests;
