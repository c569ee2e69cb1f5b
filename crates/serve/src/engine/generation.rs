//! Texts of all requests, written together.

use std::collections::HashMap;
use std::sync::Arc;

use inference::{FinishReason, GenerationError, LogProbabilities, Scheduler, TextRequest, Usage, not_finite};
use lora::AdapterSet;
use model::CausalLm;
use tokio::sync::mpsc::UnboundedSender;

use super::error::Fault;
use super::place::Place;
use super::prepare::Texts;
use super::statistics::Cache;
use super::{Base, Error, Limits, Model, Statistics};

/// What becomes of a request's choices, which are numbered prompt by prompt; each of them ends.
#[derive(Debug)]
pub(crate) enum Event {
    Token {
        choice: usize,
        /// What of the text is certain since, often nothing.
        text: String,
        token: Token,
    },
    Ended {
        choice: usize,
        finish: FinishReason,
        usage: Usage,
    },
    Failed(Error),
}

#[derive(Debug)]
pub(crate) struct Token {
    pub(crate) id: u32,
    /// Whether it ended the text and is no part of it.
    pub(crate) is_end: bool,
    /// Where they were asked for.
    pub(crate) probabilities: Option<LogProbabilities>,
}

/// A request that is ready to be written.
#[derive(Debug)]
pub(super) struct Generation {
    /// It is not given back before the request's end.
    _model: Arc<Model>,
    texts: Vec<TextRequest>,
    stop_tokens: Arc<[u32]>,
    events: UnboundedSender<Event>,
    place: Place,
    /// The numbers of its texts.
    ids: Vec<u64>,
}

impl Generation {
    pub(super) fn new(model: Arc<Model>, texts: Texts, events: UnboundedSender<Event>, place: Place) -> Self {
        let stop_tokens = texts.requests.first().map(|text| text.request.stop_tokens.clone()).unwrap_or_default();
        Self { _model: model, texts: texts.requests, stop_tokens, events, place, ids: Vec::new() }
    }
}

/// The texts that are written or wait for it.
#[derive(Debug)]
pub(super) struct Writing {
    scheduler: Scheduler,
    limits: inference::Limits,
    /// By numbers of their own, in the order in which they came.
    requests: HashMap<u64, Generation>,
    /// Of each text its request, and which of the choices it is.
    choices: HashMap<u64, (u64, usize)>,
    next: u64,
    statistics: Arc<Statistics>,
}

impl Writing {
    pub(super) fn new(model: CausalLm<'_>, limits: Limits, statistics: Arc<Statistics>) -> Self {
        let Limits { max_batch_tokens, cache_memory, .. } = limits;
        let limits = inference::Limits { max_batch_tokens, cache_memory };
        let scheduler = Scheduler::new(model, limits);
        let cache = Cache {
            rows: scheduler.statistics().cache_rows,
            bytes_per_row: model.cache_bytes_per_token(),
            ..Cache::default()
        };
        statistics.passed(|passes| passes.cache = cache);
        Self { scheduler, limits, requests: HashMap::new(), choices: HashMap::new(), next: 0, statistics }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.requests.is_empty()
    }

    pub(super) fn submit(&mut self, mut request: Generation, base: &Base) {
        let number = self.next;
        self.next += 1;
        for (choice, text) in std::mem::take(&mut request.texts).into_iter().enumerate() {
            match self.scheduler.submit(number, text) {
                Ok(id) => {
                    self.choices.insert(id, (number, choice));
                    request.ids.push(id);
                }
                Err(error) => {
                    self.requests.insert(number, request);
                    return self.end(number, Some(Fault::from(error).error(&base.places())));
                }
            }
        }
        self.requests.insert(number, request);
    }

    pub(super) fn forget(&mut self, adapters: &Arc<AdapterSet>) {
        self.scheduler.forget(adapters);
        self.publish_cache();
    }

    /// A token of each text, and some of the prompts. Returns what becomes of the texts, for [`hand_on`](Self::hand_on).
    pub(super) fn pass(&mut self, model: CausalLm<'_>) -> Vec<(u64, inference::Event)> {
        let closed = |(number, request): (&u64, &Generation)| request.events.is_closed().then_some(*number);
        for number in self.requests.iter().filter_map(closed).collect::<Vec<_>>() {
            self.end(number, None);
        }
        if self.scheduler.is_idle() {
            // What is left has no texts.
            self.requests.clear();
            return Vec::new();
        }
        let before = self.scheduler.statistics();
        let events = self.scheduler.tick(model);
        let after = self.scheduler.statistics();
        let is_last = |event: &inference::Event| !matches!(event, inference::Event::Token { .. });
        let ended = events.iter().filter(|(_, event)| is_last(event)).count();
        self.statistics.passed(|passes| {
            let tokens = (after.prefilled - before.prefilled) + (after.written - before.written);
            passes.writing.add(after.reading + after.writing + ended, tokens as usize);
        });
        self.publish_cache();
        for request in self.requests.values_mut().filter(|request| !request.place.has_begun()) {
            if request.ids.first().is_some_and(|first| !self.scheduler.is_waiting(*first)) {
                request.place.begin();
            }
        }
        events
    }

    /// Tells the requests of it.
    pub(super) fn hand_on(&mut self, events: Vec<(u64, inference::Event)>, base: &Base) {
        for (text, event) in events {
            self.hand_on_one(text, event, base);
        }
    }

    fn hand_on_one(&mut self, text: u64, event: inference::Event, base: &Base) {
        // Others of the request may have failed in this pass.
        let Some((number, choice)) = self.choices.get(&text).copied() else { return };
        let Some(request) = self.requests.get_mut(&number) else { return };
        let event = match event {
            inference::Event::Token { text, token, log_probabilities } => {
                let is_end = request.stop_tokens.contains(&token);
                Event::Token { choice, text, token: Token { id: token, is_end, probabilities: log_probabilities } }
            }
            inference::Event::Finished { reason, usage } => {
                request.ids.retain(|id| *id != text);
                self.choices.remove(&text);
                Event::Ended { choice, finish: reason, usage }
            }
            inference::Event::Failed(error) => {
                let pretrained = &base.model.pretrained;
                let error = match pretrained.not_finite() {
                    Ok(None) => inference::Error::from(GenerationError::from(error)),
                    Ok(Some(_)) | Err(_) => not_finite(pretrained, "the logits"),
                };
                return self.end(number, Some(Fault::from(error).error(&base.places())));
            }
        };
        // Whoever is gone is seen before the next pass.
        let _ = request.events.send(event);
        if request.ids.is_empty() {
            self.requests.remove(&number);
        }
    }

    /// Takes a request's texts out, and says why if there is a reason.
    fn end(&mut self, number: u64, error: Option<Error>) {
        let Some(request) = self.requests.remove(&number) else { return };
        for id in request.ids {
            self.scheduler.cancel(id);
            self.choices.remove(&id);
        }
        if let Some(error) = error {
            let _ = request.events.send(Event::Failed(error));
        }
        self.publish_cache();
    }

    /// All are told that a pass had no end; what it has left of the cache is of no use.
    pub(super) fn fail(&mut self, model: CausalLm<'_>, error: &Error) {
        for (_, request) in self.requests.drain() {
            let _ = request.events.send(Event::Failed(error.clone()));
        }
        self.choices.clear();
        self.scheduler = Scheduler::new(model, self.limits);
        self.publish_cache();
    }

    /// What the cache holds, for the metrics: after each pass, and after texts have left without one.
    fn publish_cache(&self) {
        let now = self.scheduler.statistics();
        self.statistics.passed(|passes| {
            passes.cache.of_texts = now.cache_rows_of_texts;
            passes.cache.of_prefixes = now.cache_rows_of_prefixes;
        });
    }
}
