//! OpenAI's endpoints: chat and completions, whole or as a stream of events.

mod answer;
mod log_probabilities;
mod messages;
pub(crate) mod models;
mod settings;
mod stream;
mod tools;
mod vllm;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use crate::answered::answered;
use crate::app::App;
use crate::choice::Use;
use crate::engine::{Generate, Prompts};
use crate::fields::{Fields, kind, tokens};
use crate::json::Json;
use crate::problem::Problem;
use answer::{Answering, Form};
pub(crate) use messages::read as messages;
use settings::Asked;
pub(crate) use tools::described as tools;

pub(crate) async fn chat(State(app): State<Arc<App>>, request: Request) -> Result<Response, Problem> {
    const PATH: &str = "/v1/chat/completions";
    let mut fields = app.fields(request).await?;
    let model = app.model(&mut fields, Use::Write)?;
    let messages = fields.required("messages", "a list of messages")?;
    let mut messages = messages::read(messages)?;
    if let Some(tools) = tools::described(&mut fields)? {
        messages.conversation.set_tools(tools);
    }
    messages::refuse_what_is_not_built(&mut fields)?;
    vllm::of_chat(&mut fields)?;
    let asked = Asked::of_chat(&mut fields, &app.settings)?;
    app.ignored(PATH, fields.finish(&settings::IGNORED_IN_CHAT)?);
    app.ignored(PATH, messages.ignored);
    respond(&app, model, Form::Chat, Prompts::Conversation(messages.conversation), asked).await
}

pub(crate) async fn completions(State(app): State<Arc<App>>, request: Request) -> Result<Response, Problem> {
    const PATH: &str = "/v1/completions";
    let mut fields = app.fields(request).await?;
    let model = app.model(&mut fields, Use::Write)?;
    let prompts = prompts(&mut fields, app.settings.max_inputs)?;
    fields.refuse("echo", "put the prompt before the text yourself")?;
    fields.refuse("suffix", "a causal language model goes on from a prompt alone")?;
    vllm::of_completion(&mut fields)?;
    let asked = Asked::of_completion(&mut fields, &app.settings)?;
    app.ignored(PATH, fields.finish(&settings::IGNORED_IN_COMPLETIONS)?);
    respond(&app, model, Form::Text, prompts, asked).await
}

async fn respond(
    app: &Arc<App>,
    model: Arc<crate::Model>,
    form: Form,
    prompts: Prompts,
    asked: Asked,
) -> Result<Response, Problem> {
    let of_prompts = match &prompts {
        Prompts::Texts(texts) => texts.len(),
        Prompts::Tokens(tokens) => tokens.len(),
        Prompts::Conversation(_) => 1,
    };
    let choices = of_prompts * asked.samples as usize;
    let request = Generate {
        prompts,
        samples: u64::from(asked.samples),
        settings: asked.settings,
        max_tokens: app.settings.max_tokens as usize,
        log_probabilities: asked.log_probabilities,
    };
    let answering = Answering::begin(app, &model, form, request, choices).await?;
    let response = match asked.stream {
        None => Json(answering.whole().await?).into_response(),
        Some(stream) => stream::response(answering, stream),
    };
    Ok(answered(&model, response))
}

/// A text or several, or token ids of one or several.
fn prompts(fields: &mut Fields, max: usize) -> Result<Prompts, Problem> {
    const NAME: &str = "prompt";
    let expected = "a text, a list of texts, token ids, or a list of them";
    let wrong = |value: &Value| Problem::field(NAME, format!("`prompt` should be {expected}, found {}", kind(value)));
    let values = match fields.required(NAME, expected)? {
        Value::String(text) => return Ok(Prompts::Texts(vec![text])),
        Value::Array(values) => values,
        other => return Err(wrong(&other)),
    };
    if values.len() > max && !values[0].is_number() {
        let message = format!("`prompt` has {} prompts: at most {max} are answered at once", values.len());
        return Err(Problem::field(NAME, message));
    }
    match values.first() {
        None => Err(Problem::field(NAME, "`prompt` is empty: give a text, or token ids")),
        Some(Value::Number(_)) => Ok(Prompts::Tokens(vec![tokens(NAME, &values)?])),
        Some(Value::Array(_)) => {
            let ids = |value: &Value| tokens(NAME, value.as_array().ok_or_else(|| wrong_among(value))?);
            Ok(Prompts::Tokens(values.iter().map(ids).collect::<Result<_, _>>()?))
        }
        Some(Value::String(_)) => {
            let text = |value: Value| match value {
                Value::String(text) => Ok(text),
                other => Err(wrong_among(&other)),
            };
            Ok(Prompts::Texts(values.into_iter().map(text).collect::<Result<_, _>>()?))
        }
        Some(other) => Err(wrong_among(other)),
    }
}

fn wrong_among(value: &Value) -> Problem {
    Problem::field("prompt", format!("`prompt` should be all texts or all token ids, found {} among them", kind(value)))
}
