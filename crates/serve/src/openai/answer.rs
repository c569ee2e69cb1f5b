//! A request's events become OpenAI's objects.

use std::collections::BTreeMap;
use std::sync::Arc;

use inference::FinishReason;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep_until};

use super::log_probabilities::{self, Probable};
use crate::app::App;
use crate::engine::{Error, Event, Generate, Model, Token};
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
    model: Arc<Model>,
    form: Form,
    /// Whether log-probabilities were asked for.
    has_probabilities: bool,
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
    probabilities: Vec<Probable>,
    finish: Option<FinishReason>,
}

impl Answering {
    /// Waits until the prompts are ready: what is wrong with them is said with a status.
    pub(super) async fn begin(
        app: &Arc<App>,
        model: &Arc<Model>,
        form: Form,
        request: Generate,
        choices: usize,
    ) -> Result<Self, Problem> {
        let (deadline, progress) = (app.deadline(), app.metrics.progress(&model.name));
        let has_probabilities = request.log_probabilities.is_some();
        let (prompt_tokens, events) = app.in_time(app.engine.generate(model, request)).await?;
        progress.prompt(prompt_tokens);
        let head = json!({
            "id": id::named(form.prefix()),
            "object": form.object(false),
            "created": id::now(),
            "model": model.name,
            "system_fingerprint": model.fingerprint,
        });
        let Value::Object(head) = head else { unreachable!("it is written as an object") };
        let (app, model) = (app.clone(), model.clone());
        Ok(Self {
            app,
            model,
            form,
            has_probabilities,
            events,
            deadline,
            head,
            choices,
            ended: 0,
            prompt_tokens,
            new_tokens: 0,
            progress,
        })
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
            event = self.events.recv() => event.unwrap_or(Event::Failed(Error::Panicked)),
            () = sleep_until(self.deadline) => return Err(self.app.too_late()),
            () = reached(&mut stage, Stage::Ended) => return Err(Problem::stopping()),
        };
        match &event {
            Event::Token { choice, .. } => {
                self.new_tokens += 1;
                self.progress.token(*choice);
            }
            Event::Ended { usage, .. } => {
                self.ended += 1;
                self.progress.shared(usage.shared_tokens);
            }
            Event::Failed(_) => {}
        }
        match event {
            Event::Failed(error) => Err(error.into()),
            event => Ok(Some(event)),
        }
    }

    /// What is to be said of a token; nothing of one that ended its text.
    pub(super) fn probable(&self, token: &Token) -> Option<Probable> {
        let of_token = token.probabilities.as_ref().filter(|_| !token.is_end)?;
        Some(Probable::new(&self.app.engine, &self.model, token.id, of_token))
    }

    /// `logprobs` of tokens, before which a choice has `offset` characters.
    pub(super) fn log_probabilities(&self, tokens: &[Probable], offset: &mut usize) -> Value {
        match self.form {
            _ if !self.has_probabilities => Value::Null,
            Form::Chat => log_probabilities::of_chat(tokens),
            Form::Text => log_probabilities::of_text(tokens, offset),
        }
    }

    /// All choices in one object.
    pub(super) async fn whole(mut self) -> Result<Value, Problem> {
        let mut drafts: BTreeMap<usize, Draft> = BTreeMap::new();
        while let Some(event) = self.next().await? {
            match event {
                Event::Token { choice, text, token } => {
                    let draft = drafts.entry(choice).or_default();
                    draft.text.push_str(&text);
                    draft.probabilities.extend(self.probable(&token));
                }
                Event::Ended { choice, finish, .. } => drafts.entry(choice).or_default().finish = Some(finish),
                Event::Failed(_) => {}
            }
        }
        let choice = |(index, draft): (usize, Draft)| {
            let finish = draft.finish.map(finish_reason);
            let probabilities = self.log_probabilities(&draft.probabilities, &mut 0);
            match self.form {
                Form::Chat => {
                    let message = json!({ "role": "assistant", "content": draft.text, "refusal": null });
                    json!({ "index": index, "message": message, "logprobs": probabilities, "finish_reason": finish })
                }
                Form::Text => {
                    json!({ "index": index, "text": draft.text, "logprobs": probabilities, "finish_reason": finish })
                }
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
