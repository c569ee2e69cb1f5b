//! An answer as server-sent events, `data: {...}` each, and `data: [DONE]` at the end. What goes wrong on the way is an event,
//! too: the status was sent long before.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::time::Duration;

use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use serde_json::{Value, json};

use super::answer::{Answering, Form, finish_reason};
use super::log_probabilities::Probable;
use crate::engine::Event;
use crate::fields::Fields;
use crate::problem::Problem;

/// After which a comment is sent, so that no proxy between takes the stream for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StreamOptions {
    /// Whether a last chunk, without choices, says how many tokens there were.
    include_usage: bool,
}

impl StreamOptions {
    /// `None`: no stream is asked for.
    pub(super) fn read(fields: &mut Fields) -> Result<Option<Self>, Problem> {
        const NAME: &str = "stream_options";
        let stream = fields.flag("stream")?.unwrap_or(false);
        let include_usage = match (fields.take(NAME), stream) {
            (None, _) => false,
            (Some(_), false) => {
                return Err(Problem::field(
                    NAME,
                    "`stream_options` is for streams: add `\"stream\": true`, or leave it out",
                ));
            }
            (Some(options), true) => of_options(Fields::object(NAME, options)?)?,
        };
        Ok(stream.then_some(Self { include_usage }))
    }
}

fn of_options(mut fields: Fields) -> Result<bool, Problem> {
    let include_usage = fields.flag("include_usage")?.unwrap_or(false);
    fields.finish(&["include_obfuscation"])?;
    Ok(include_usage)
}

/// A stream that is being sent.
struct Sending {
    answering: Answering,
    options: StreamOptions,
    /// What is to be sent before the next event is waited for.
    ready: VecDeque<String>,
    held: BTreeMap<usize, Held>,
    is_done: bool,
}

/// Of a choice what is said of tokens, until their text is certain.
#[derive(Default)]
struct Held {
    tokens: Vec<Probable>,
    /// Characters of the tokens before these.
    offset: usize,
}

pub(super) fn response(answering: Answering, options: StreamOptions) -> Response {
    let mut sending = Sending { answering, options, ready: VecDeque::new(), held: BTreeMap::new(), is_done: false };
    if sending.answering.form() == Form::Chat {
        for index in 0..sending.answering.choices() {
            let delta = json!({ "role": "assistant", "content": "", "refusal": null });
            sending.push(json!({ "index": index, "delta": delta, "logprobs": null, "finish_reason": null }));
        }
    }
    let events = unfold(sending, |mut sending| async move {
        let data = sending.next().await?;
        Some((Ok::<_, Infallible>(sse::Event::default().data(data)), sending))
    });
    Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}

impl Sending {
    async fn next(&mut self) -> Option<String> {
        while self.ready.is_empty() && !self.is_done {
            match self.answering.next().await {
                Ok(Some(event)) => self.event(event),
                Ok(None) => self.end(),
                Err(problem) => {
                    self.ready.push_back(problem.body().to_string());
                    self.done();
                }
            }
        }
        self.ready.pop_front()
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Token { choice, text, token } => {
                let probable = self.answering.probable(&token);
                self.held.entry(choice).or_default().tokens.extend(probable);
                // Text that is not certain yet comes with a later token.
                if !text.is_empty() {
                    self.choice(choice, Some(text), None);
                }
            }
            Event::Ended { choice, finish, .. } => self.choice(choice, None, Some(finish_reason(finish))),
            Event::Failed(_) => {}
        }
    }

    fn choice(&mut self, index: usize, text: Option<String>, finish: Option<&str>) {
        let held = self.held.entry(index).or_default();
        let tokens = std::mem::take(&mut held.tokens);
        let probabilities = match tokens.is_empty() {
            true => Value::Null,
            false => self.answering.log_probabilities(&tokens, &mut held.offset),
        };
        self.push(match (self.answering.form(), text) {
            (Form::Chat, text) => {
                let delta = text.map_or(json!({}), |text| json!({ "content": text }));
                json!({ "index": index, "delta": delta, "logprobs": probabilities, "finish_reason": finish })
            }
            (Form::Text, text) => {
                let text = text.unwrap_or_default();
                json!({ "index": index, "text": text, "logprobs": probabilities, "finish_reason": finish })
            }
        });
    }

    fn push(&mut self, choice: Value) {
        let mut chunk = self.answering.chunk(json!([choice]));
        if self.options.include_usage {
            chunk.insert("usage".to_string(), Value::Null);
        }
        self.ready.push_back(Value::Object(chunk).to_string());
    }

    fn end(&mut self) {
        if self.options.include_usage {
            let mut chunk = self.answering.chunk(json!([]));
            chunk.insert("usage".to_string(), self.answering.usage());
            self.ready.push_back(Value::Object(chunk).to_string());
        }
        self.done();
    }

    fn done(&mut self) {
        self.ready.push_back("[DONE]".to_string());
        self.is_done = true;
    }
}
