//! A request's events become OpenAI's objects.

use std::collections::BTreeMap;
use std::sync::Arc;

use inference::FinishReason;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep_until};

use crate::app::App;
use crate::engine::{Error, Event, Generate, Model};
use crate::id;
use crate::metrics::Progress;
use crate::problem::Problem;
use crate::stage::{Stage, reached};

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Chat,
    Text,
}

impl Form {
    fn prefix(self) -> &'static str {
        match self {
            Self::Chat => "chatcmpl",
            Self::Text => "cmpl",
        }
    }

    fn object(self, is_chunk: bool) -> &'static str {
        match (self, is_chunk) {
            (Self::Chat, true) => "chat.completion.chunk",
            (Self::Chat, false) => "chat.completion",
            (Self::Text, _) => "text_completion",
        }
    }
}

/// A request that is being answered. Dropped it ends at the model's next token.
#[derive(Debug)]
pub(super) struct Answering {
    app: Arc<App>,
    form: Form,
    events: UnboundedReceiver<Event>,
    deadline: Instant,
    /// What every object begins with.
    head: Map<String, Value>,
    choices: usize,
    ended: usize,
    prompt_tokens: usize,
    new_tokens: usize,
    progress: Progress,
}

/// What was written of a text.
#[derive(Debug, Default)]
struct Draft {
    text: String,
    finish: Option<FinishReason>,
}

impl Answering {
    /// Waits until the prompts were read: what is wrong with them is said with a status.
    pub(super) async fn begin(
        app: &Arc<App>,
        model: &Arc<Model>,
        form: Form,
        request: Generate,
        choices: usize,
    ) -> Result<Self, Problem> {
        let (deadline, progress) = (app.deadline(), app.metrics.progress(&model.name));
        let events = app.engine.generate(model, request)?;
        let head = json!({
            "id": id::named(form.prefix()),
            "object": form.object(false),
            "created": id::now(),
            "model": model.name,
            "system_fingerprint": model.fingerprint,
        });
        let Value::Object(head) = head else { unreachable!("it is written as an object") };
        let (app, ended, prompt_tokens, new_tokens) = (app.clone(), 0, 0, 0);
        let mut answering =
            Self { app, form, events, deadline, head, choices, ended, prompt_tokens, new_tokens, progress };
        match answering.next().await? {
            Some(Event::Started { prompt_tokens }) => {
                answering.prompt_tokens = prompt_tokens;
                answering.progress.prompt(prompt_tokens);
                Ok(answering)
            }
            _ => Err(Error::Panicked.into()),
        }
    }

    pub(super) fn form(&self) -> Form {
        self.form
    }

    pub(super) fn choices(&self) -> usize {
        self.choices
    }

    /// The next event; `None` after the last.
    pub(super) async fn next(&mut self) -> Result<Option<Event>, Problem> {
        if self.ended == self.choices {
            return Ok(None);
        }
        let mut stage = self.app.stage.clone();
        let event = tokio::select! {
            event = self.events.recv() => event.unwrap_or(Event::Failed(Error::Stopped)),
            () = sleep_until(self.deadline) => return Err(self.app.too_late()),
            () = reached(&mut stage, Stage::Ended) => return Err(Problem::stopping()),
        };
        match &event {
            Event::Token { .. } => {
                self.new_tokens += 1;
                self.progress.token();
            }
            Event::Ended { .. } => self.ended += 1,
            Event::Started { .. } | Event::Failed(_) => {}
        }
        match event {
            Event::Failed(error) => Err(error.into()),
            event => Ok(Some(event)),
        }
    }

    /// All choices in one object.
    pub(super) async fn whole(mut self) -> Result<Value, Problem> {
        let mut drafts: BTreeMap<usize, Draft> = BTreeMap::new();
        while let Some(event) = self.next().await? {
            match event {
                Event::Token { choice, text } => drafts.entry(choice).or_default().text.push_str(&text),
                Event::Ended { choice, finish } => drafts.entry(choice).or_default().finish = Some(finish),
                Event::Started { .. } | Event::Failed(_) => {}
            }
        }
        let choice = |(index, draft): (usize, Draft)| {
            let finish = draft.finish.map(finish_reason);
            match self.form {
                Form::Chat => {
                    let message = json!({ "role": "assistant", "content": draft.text, "refusal": null });
                    json!({ "index": index, "message": message, "logprobs": null, "finish_reason": finish })
                }
                Form::Text => json!({ "index": index, "text": draft.text, "logprobs": null, "finish_reason": finish }),
            }
        };
        let choices: Vec<Value> = drafts.into_iter().map(choice).collect();
        let mut object = self.head.clone();
        object.insert("choices".to_string(), choices.into());
        object.insert("usage".to_string(), self.usage());
        Ok(object.into())
    }

    /// What a chunk of a stream adds to a choice.
    pub(super) fn chunk(&self, choices: Value) -> Map<String, Value> {
        let mut object = self.head.clone();
        object.insert("object".to_string(), self.form.object(true).into());
        object.insert("choices".to_string(), choices);
        object
    }

    pub(super) fn usage(&self) -> Value {
        let (prompt, new) = (self.prompt_tokens, self.new_tokens);
        json!({ "prompt_tokens": prompt, "completion_tokens": new, "total_tokens": prompt + new })
    }
}

pub(super) fn finish_reason(finish: FinishReason) -> &'static str {
    match finish {
        FinishReason::Stop => "stop",
        FinishReason::Length => "length",
    }
}
