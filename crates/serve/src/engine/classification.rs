//! Classes, entities and values: sequences of many requests in one pass, as many tokens as a pass may have.

use std::sync::Arc;

use inference::{Processor, ServedAdapter, not_finite};
use tasks::{Question, Sequence};
use tokio::sync::oneshot;

use super::error::Fault;
use super::place::Place;
use super::{Answered, Base, Error, Model, Statistics};

/// A request: a question for each of its texts.
#[derive(Debug)]
pub(super) struct Classification {
    model: Arc<Model>,
    questions: Vec<Question>,
    answer: oneshot::Sender<Result<Vec<Answered>, Error>>,
    place: Place,
    /// Of the questions' sequences one after another, as far as they were read, the outputs.
    outputs: Vec<Vec<f32>>,
    /// Sequences in the pass that is running.
    in_pass: usize,
}

impl Classification {
    pub(super) fn new(
        model: Arc<Model>,
        questions: Vec<Question>,
        answer: oneshot::Sender<Result<Vec<Answered>, Error>>,
        place: Place,
    ) -> Self {
        Self { model, questions, answer, place, outputs: Vec::new(), in_pass: 0 }
    }

    fn sequences(&self) -> impl Iterator<Item = &Sequence> {
        self.questions.iter().flat_map(|question| &question.sequences)
    }

    /// The sequences that are read next, in their order.
    fn unread(&self) -> impl Iterator<Item = &Sequence> {
        self.sequences().skip(self.outputs.len())
    }

    fn is_read(&self) -> bool {
        self.unread().next().is_none()
    }

    fn adapter(&self) -> Option<&ServedAdapter> {
        self.model.adapter()
    }

    fn answer(self, base: &Base) {
        let answers = self.answers(base);
        // Nobody may be there any more.
        let _ = self.answer.send(answers.map_err(|fault| fault.error(&base.places())));
    }

    fn answers(&self, base: &Base) -> Result<Vec<Answered>, Fault> {
        if !self.outputs.iter().flatten().all(|output| output.is_finite()) {
            return Err(not_finite(&base.model.pretrained, "the logits").into());
        }
        let processor: &Processor = self.model.processor(&base.model)?;
        let mut rest = self.outputs.as_slice();
        let answer = |question: &Question| {
            let (own, others) = rest.split_at(question.sequences.len());
            rest = others;
            let tokens = question.sequences.iter().map(|sequence| sequence.encoded.ids.len()).sum();
            Ok(Answered { answer: processor.answer_to(question, &own.concat())?, tokens })
        };
        self.questions.iter().map(answer).collect()
    }
}

/// The requests that have no answer yet; the first begins the next pass.
#[derive(Debug)]
pub(super) struct Classifying {
    requests: Vec<Classification>,
    max_batch_tokens: usize,
    statistics: Arc<Statistics>,
}

impl Classifying {
    pub(super) fn new(max_batch_tokens: usize, statistics: Arc<Statistics>) -> Self {
        Self { requests: Vec::new(), max_batch_tokens, statistics }
    }

    pub(super) fn push(&mut self, request: Classification) {
        self.requests.push(request);
    }

    pub(super) fn is_idle(&self) -> bool {
        self.requests.is_empty()
    }

    /// Reads the next sequences of all requests in one pass.
    pub(super) fn pass(&mut self, base: &Base) {
        self.requests.retain(|request| !request.answer.is_closed());
        self.choose();
        let in_pass = |request| -> Vec<(Option<&ServedAdapter>, &Sequence)> {
            let request: &Classification = request;
            request.unread().take(request.in_pass).map(|sequence| (request.adapter(), sequence)).collect()
        };
        let sequences: Vec<_> = self.requests.iter().flat_map(in_pass).collect();
        if !sequences.is_empty() {
            let tokens = sequences.iter().map(|(_, sequence)| sequence.encoded.ids.len()).sum();
            self.statistics.passed(|passes| passes.classifying.add(sequences.len(), tokens));
            let mut outputs = base.model.outputs(&sequences).into_iter();
            for request in &mut self.requests {
                request.outputs.extend(outputs.by_ref().take(std::mem::take(&mut request.in_pass)));
            }
        }
    }

    /// Answers those that were read to their end.
    pub(super) fn answer(&mut self, base: &Base) {
        for request in self.requests.extract_if(.., |request| request.is_read()) {
            request.answer(base);
        }
        // Another one begins the next pass, so that each has its turn.
        if !self.requests.is_empty() {
            self.requests.rotate_left(1);
        }
    }

    /// The sequences of the next pass: one of each request in turn, as long as there is room for their tokens, and one at least.
    fn choose(&mut self) {
        let (mut left, mut is_empty) = (self.max_batch_tokens, true);
        loop {
            let mut has_more = false;
            for request in &mut self.requests {
                let next = request.unread().nth(request.in_pass).map(|sequence| sequence.encoded.ids.len());
                if let Some(tokens) = next.filter(|tokens| is_empty || *tokens <= left) {
                    left = left.saturating_sub(tokens);
                    request.in_pass += 1;
                    request.place.begin();
                    (is_empty, has_more) = (false, true);
                }
            }
            if !has_more {
                return;
            }
        }
    }

    /// All that wait or are in work have no answer.
    pub(super) fn refuse(&mut self, error: &Error) {
        for request in self.requests.drain(..) {
            let _ = request.answer.send(Err(error.clone()));
        }
    }

    /// Those of the last pass are told that it had no end.
    pub(super) fn fail(&mut self) {
        for request in self.requests.extract_if(.., |request| request.in_pass > 0) {
            let _ = request.answer.send(Err(Error::Panicked));
        }
    }
}
