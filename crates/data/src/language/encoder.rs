//! Rows become token ids with the positions that the model is to predict, or prompts that it is to go on from.
//!
//! Ids are those that Transformers gives the whole text. Special tokens are put before a text, a prompt among them, as the
//! tokenizer's template has it; a chat template writes its own.

use std::ops::Range;
use std::path::Path;

use super::bounds::Bounds;
use super::chat_template::ChatTemplate;
use super::columns::{Content, Row};
use super::conversation::Conversation;
use super::fit::Sequence;
use super::turns::{self, Script, Turn};
use crate::encode::EncodedExample;
use crate::targets::ExampleTarget;
use crate::{Encoded, Error, Place, Tokenizer};

/// Which tokens are targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LossOn {
    /// Completions and what the assistant says; of a text everything.
    Completion,
    /// Every token but the first of a sequence.
    All,
}

/// Encodes rows with a checkpoint's tokenizer and its chat template.
#[derive(Debug, Clone)]
pub struct Encoder<'a> {
    tokenizer: &'a Tokenizer,
    chat: Option<&'a ChatTemplate>,
    loss_on: LossOn,
    /// What a text begins with that is empty otherwise.
    first: Option<u32>,
    /// What completions and texts end in.
    end: Option<u32>,
    stops: Vec<u32>,
}

impl<'a> Encoder<'a> {
    /// `bounds` are those of the checkpoint.
    pub fn new(tokenizer: &'a Tokenizer, chat: Option<&'a ChatTemplate>, bounds: &Bounds, loss_on: LossOn) -> Self {
        let end_tokens = &bounds.ends;
        let end = tokenizer.end_token().or(end_tokens.first().copied());
        let first = tokenizer.beginning_token().or(bounds.first);
        let mut encoder = Self { tokenizer, chat, loss_on, first, end, stops: end_tokens.clone() };
        let end_of_turn = chat.and_then(|chat| encoder.end_of_turn(chat));
        encoder.stops.extend(end_of_turn.filter(|end| !end_tokens.contains(end)));
        encoder
    }

    /// The ids at which an answer ends: the checkpoint's end tokens and the one that its chat template writes behind a
    /// turn, which base models often do not count among them.
    pub fn stop_tokens(&self) -> &[u32] {
        &self.stops
    }

    /// The sequences of a row: one, or, where the chat template rewrites earlier turns, one for each of the assistant's.
    ///
    /// A text and a completion end in the tokenizer's end token. A sequence longer than `max_length` loses what follows
    /// on its last answer, then the left of what stands before that, then the end of the answer. What is far beyond
    /// `max_length` is not tokenised.
    pub fn examples(&self, file: &Path, row: &Row, max_length: usize) -> Result<Vec<EncodedExample>, Error> {
        let place = Place::new(file, row.line);
        let sequences = match &row.content {
            Content::Text(text) => vec![self.text(text, max_length)?],
            Content::Completion { prompt, completion } => {
                vec![self.completion(&[prompt.as_str(), completion].concat(), prompt.len(), max_length, &place)?]
            }
            Content::Conversation(conversation) => self.conversation(conversation, max_length, &place)?,
        };
        sequences.into_iter().map(|sequence| self.example(sequence, row.line, max_length, &place)).collect()
    }

    /// What the model is to go on from: a text or a prompt, or a conversation with the generation prompt, without the
    /// answer where one is there already. Never truncated; of what surely has `most` tokens or more at least how many, without
    /// the ids.
    pub fn prompt(&self, file: &Path, row: &Row, most: usize) -> Result<Encoded, Error> {
        let subject = Place::new(file, row.line).to_string();
        match &row.content {
            Content::Text(prompt) | Content::Completion { prompt, .. } => self.prompt_of_text(prompt, most, &subject),
            Content::Conversation(conversation) => self.prompt_of_conversation(conversation, most, &subject),
        }
    }

    /// As `prompt`, of a text that stands in no file; `subject` is what messages call it.
    pub fn prompt_of_text(&self, text: &str, most: usize, subject: &str) -> Result<Encoded, Error> {
        if let Some(tokens) = self.tokenizer.at_least(text, most)? {
            return Ok(Encoded::too_long(tokens));
        }
        Ok(self.begun(text, subject)?.0.into())
    }

    /// As `prompt`, of a conversation that stands in no file; `subject` is what messages call it.
    pub fn prompt_of_conversation(
        &self,
        conversation: &Conversation,
        most: usize,
        subject: &str,
    ) -> Result<Encoded, Error> {
        let chat = self.chat(subject)?;
        conversation.check_roles(|role| chat.names_role(role), subject)?;
        let text = chat.write(conversation.before_answer(), conversation, true, subject)?;
        if let Some(tokens) = self.tokenizer.at_least(&text, most)? {
            return Ok(Encoded::too_long(tokens));
        }
        let ids = self.tokenizer.bare(&text)?;
        match ids.is_empty() {
            true => Err(Error::NoTokens { subject: subject.to_owned() }),
            false => Ok(ids.into()),
        }
    }

    fn chat(&self, subject: &str) -> Result<&'a ChatTemplate, Error> {
        self.chat.ok_or_else(|| Error::NoChatTemplate { subject: subject.to_owned() })
    }

    fn text(&self, text: &str, max_length: usize) -> Result<Sequence, Error> {
        // Of a text far longer than that the rest is not looked at.
        let beginning = self.tokenizer.bare_beginning(text, max_length)?;
        let is_excerpt = beginning.is_some();
        let (mut ids, kept) = self.with_beginning(beginning.map_or_else(|| self.tokenizer.bare(text), Ok)?);
        let end = self.end()?;
        if ids.last() != Some(&end) {
            ids.push(end);
        }
        Ok(Sequence { answers: vec![0..ids.len()], ids, skipped: Vec::new(), kept, is_excerpt })
    }

    /// The ids of both are those of the joined text, as they are for a model that reads the prompt and goes on, wherever
    /// those of the prompt are a beginning of them.
    ///
    /// Elsewhere, as where the prompt ends in the space that belongs to the next word, the prompt keeps the ids that it has
    /// in generation, and the completion has those of a text that goes on from another.
    fn completion(&self, joined: &str, start: usize, max_length: usize, place: &Place) -> Result<Sequence, Error> {
        let excerpt = self.tokenizer.excerpt(joined, start, max_length)?;
        let (joined, start) = match &excerpt {
            Some(excerpt) => (excerpt.text.as_str(), excerpt.position(start)),
            None => (joined, start),
        };
        let (prompt, completion) = joined.split_at(start);
        let (mut ids, kept) = self.begun(prompt, &place.to_string())?;
        let start = ids.len();
        let (joined, _) = self.with_beginning(self.tokenizer.bare(joined)?);
        match joined.strip_prefix(ids.as_slice()) {
            Some(said) => ids.extend(said),
            None if prompt.is_empty() => ids.extend(self.tokenizer.bare(completion)?),
            None => ids.extend(self.tokenizer.continuation(completion)?),
        }
        let end = self.end()?;
        if ids.len() == start || ids.last() != Some(&end) {
            ids.push(end);
        }
        Ok(Sequence { answers: vec![start..ids.len()], ids, skipped: Vec::new(), kept, is_excerpt: excerpt.is_some() })
    }

    fn conversation(
        &self,
        conversation: &Conversation,
        max_length: usize,
        place: &Place,
    ) -> Result<Vec<Sequence>, Error> {
        let subject = place.to_string();
        let chat = self.chat(&subject)?;
        conversation.check_roles(|role| chat.names_role(role), &subject)?;
        if conversation.assistant_turns().is_empty() {
            return Err(Error::NoAssistantTurn { subject });
        }
        let mut scripts = turns::scripts(chat, conversation, &subject)?;
        if !scripts.iter().flat_map(|script| &script.turns).any(|turn| turn.is_learned) {
            return Err(Error::NoLearnedTurn { subject });
        }
        match self.loss_on {
            LossOn::Completion => scripts.retain(|script| script.turns.iter().any(|turn| turn.is_learned)),
            LossOn::All => scripts = vec![turns::last(scripts, chat, conversation, &subject)?],
        }
        scripts.into_iter().map(|script| self.script(script, max_length, &subject)).collect()
    }

    fn script(&self, script: Script, max_length: usize, subject: &str) -> Result<Sequence, Error> {
        let excerpt = self.excerpt(&script, max_length)?;
        let is_excerpt = excerpt.is_some();
        // An end that was left out has been looked for.
        let (script, unseen) = excerpt.unwrap_or((script, Vec::new()));
        let (ids, turns) = self.tokens_of_turns(&script)?;
        let (mut answers, mut skipped) = (Vec::new(), Vec::new());
        for (turn, tokens) in script.turns.iter().zip(turns) {
            let is_ended = || ids[tokens.clone()].iter().any(|id| self.stops.contains(id));
            if turn.is_learned && !unseen.contains(&turn.number) && !is_ended() {
                return Err(Error::NoEndOfTurn { subject: subject.to_owned(), number: turn.number });
            }
            if turn.is_learned { &mut answers } else { &mut skipped }.push(tokens);
        }
        let kept = self.beginning_of(&ids);
        Ok(Sequence { ids, answers, skipped, kept, is_excerpt })
    }

    /// Of a long script what `Sequence::fit` leaves of it, with the numbers of the turns to be learned that lack a part.
    /// `None` where the whole of it is to be read: it is short, offers no place to cut, or only its tokens can tell whether a
    /// turn has an end.
    fn excerpt(&self, script: &Script, max_length: usize) -> Result<Option<(Script, Vec<usize>)>, Error> {
        let last = script.turns.iter().rfind(|turn| turn.is_learned).map_or(0, |turn| turn.bytes.start);
        let Some(excerpt) = self.tokenizer.excerpt(&script.text, last, max_length)? else { return Ok(None) };
        let lacking = || script.turns.iter().filter(|turn| turn.is_learned && excerpt.lacks(&turn.bytes));
        let stops = self.stops_as_text();
        let has_end = |turn: &Turn| stops.iter().any(|stop| script.text[turn.bytes.clone()].contains(stop));
        if !lacking().all(has_end) {
            return Ok(None);
        }
        let lacking = lacking().map(|turn| turn.number).collect();
        let turns = script.turns.iter().map(|turn| {
            let bytes = excerpt.position(turn.bytes.start)..excerpt.position(turn.bytes.end);
            Turn { bytes, ..turn.clone() }
        });
        let turns = turns.filter(|turn| !turn.bytes.is_empty()).collect();
        Ok(Some((Script { turns, text: excerpt.text }, lacking)))
    }

    /// The stop tokens that are one wherever their text stands.
    fn stops_as_text(&self) -> Vec<String> {
        let special = self.tokenizer.special_tokens();
        let stops = self.stops.iter().filter(|stop| special.contains(stop));
        stops.filter_map(|stop| self.tokenizer.token(*stop)).collect()
    }

    /// The ids of the text and, for each turn, those of them that hold any of its characters.
    fn tokens_of_turns(&self, script: &Script) -> Result<(Vec<u32>, Vec<Range<usize>>), Error> {
        let (ids, spans) = self.tokenizer.bare_with_spans(&script.text)?;
        let tokens = |Turn { bytes, .. }: &Turn| {
            let start = spans.partition_point(|span| span.end <= bytes.start);
            start..spans.partition_point(|span| span.start < bytes.end).max(start)
        };
        let answers = script.turns.iter().map(tokens).collect();
        Ok((ids, answers))
    }

    fn example(&self, whole: Sequence, line: usize, max_length: usize, place: &Place) -> Result<EncodedExample, Error> {
        if max_length <= whole.context() {
            return Err(Error::NoRoomForTargets { max_length, context: whole.context() });
        }
        let full_length = whole.ids.len();
        let targets = self.targets(&whole);
        let (all, at_least) = (count(&targets), whole.is_excerpt);
        let (cut, spans) = match full_length <= max_length {
            true => (whole, targets),
            false => {
                let cut = whole.fit(max_length);
                let targets = self.targets(&cut);
                (cut, targets)
            }
        };
        let left = count(&spans);
        if left == 0 {
            return Err(Error::NoTargets { subject: place.to_string() });
        }
        let encoded = Encoded { full_length, at_least, ..cut.ids.into() };
        Ok(EncodedExample { line, encoded, target: ExampleTarget::None, spans, lost_targets: all - left })
    }

    /// The first token of a sequence is never one: nothing stands before it from which it could be predicted.
    fn targets(&self, sequence: &Sequence) -> Vec<Range<usize>> {
        let spans = match self.loss_on {
            LossOn::Completion => sequence.answers.clone(),
            LossOn::All => sequence.all_but_skipped(),
        };
        spans.into_iter().map(|span| span.start.max(1)..span.end).filter(|span| !span.is_empty()).collect()
    }

    /// A prompt with the special tokens before it, and the number of these. An empty one has the token that begins texts,
    /// even where the tokenizer does not put it there itself, as Transformers' `generate` begins without a prompt.
    fn begun(&self, prompt: &str, subject: &str) -> Result<(Vec<u32>, usize), Error> {
        let (ids, kept) = self.with_beginning(self.tokenizer.bare(prompt)?);
        match (ids.is_empty(), self.first) {
            (false, _) => Ok((ids, kept)),
            (true, Some(beginning)) => Ok((vec![beginning], 1)),
            (true, None) => Err(Error::EmptyPrompt { subject: subject.to_owned() }),
        }
    }

    /// Puts the special tokens of the tokenizer's template before a text, unless the text itself begins with them.
    fn with_beginning(&self, ids: Vec<u32>) -> (Vec<u32>, usize) {
        let beginning = self.tokenizer.beginning();
        match ids.starts_with(beginning) {
            true => (ids, beginning.len()),
            false => ([beginning, ids.as_slice()].concat(), beginning.len()),
        }
    }

    /// The number of tokens that begin a text which was written with them.
    fn beginning_of(&self, ids: &[u32]) -> usize {
        let beginning = self.tokenizer.beginning();
        match ids.first() {
            Some(_) if !beginning.is_empty() && ids.starts_with(beginning) => beginning.len(),
            Some(first) if self.tokenizer.beginning_token() == Some(*first) => 1,
            _ => 0,
        }
    }

    fn end(&self) -> Result<u32, Error> {
        self.end.ok_or(Error::NoEndToken)
    }

    /// The special token that the template writes behind what the assistant says, seen on a conversation of our own.
    fn end_of_turn(&self, chat: &ChatTemplate) -> Option<u32> {
        const ANSWER: &str = "kindling";
        let mut conversation = Conversation::default();
        conversation.push("user", "?");
        conversation.push("assistant", ANSWER);
        let script = turns::scripts(chat, &conversation, "a conversation").ok()?.pop()?;
        let turn = script.turns.first()?;
        let behind = turn.bytes.start + script.text.get(turn.bytes.clone())?.rfind(ANSWER)? + ANSWER.len();
        let (ids, spans) = self.tokenizer.bare_with_spans(&script.text).ok()?;
        let special = self.tokenizer.special_tokens();
        ids.iter().zip(spans).find(|(id, span)| span.start >= behind && special.contains(id)).map(|(id, _)| *id)
    }
}

fn count(spans: &[Range<usize>]) -> usize {
    spans.iter().map(Range::len).sum()
}

#[cfg(test)]
mod tests;
