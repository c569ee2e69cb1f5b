//! `POST /tokenize` and `/detokenize`, as vLLM has them.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use serde_json::{Value, json};

use crate::answered::answered;
use crate::app::App;
use crate::choice::Use;
use crate::engine::Prompts;
use crate::fields::{text, tokens, wrong};
use crate::json::Json;
use crate::openai::{messages, tools};
use crate::problem::Problem;

pub(crate) async fn tokenize(State(app): State<Arc<App>>, request: Request) -> Result<Response, Problem> {
    let mut fields = app.fields(request).await?;
    let model = app.model(&mut fields, Use::Tokens)?;
    let special = fields.flag("add_special_tokens")?;
    let prompts = match (fields.take("prompt"), fields.take("messages")) {
        (Some(prompt), None) => Prompts::Texts(vec![text("prompt", prompt)?]),
        (None, Some(value)) if model.writes() => {
            let mut read = messages(value)?;
            if let Some(tools) = tools(&mut fields)? {
                read.conversation.set_tools(tools);
            }
            app.ignored("/tokenize", read.ignored);
            Prompts::Conversation(read.conversation)
        }
        (None, Some(_)) => {
            return Err(Problem::field("messages", "the model reads texts, not conversations: give `prompt`"));
        }
        (Some(_), Some(_)) => {
            return Err(Problem::field("messages", "`prompt` and `messages` are there: give one of them"));
        }
        (None, None) => return Err(Problem::field("prompt", "`prompt` is missing: expected a text, or `messages`")),
    };
    fields.expect(
        "add_generation_prompt",
        |value| *value == Value::Bool(true),
        "the model answers the last message",
    )?;
    fields.refuse("continue_final_message", "end with the message that it is to answer")?;
    fields.refuse("return_token_strs", "ask /detokenize for the texts of tokens")?;
    fields.finish(&[])?;
    let tokens = app.in_time(app.engine.tokenize(&model, prompts, special.unwrap_or(true))).await?;
    let answer =
        json!({ "count": tokens.len(), "max_model_len": model.max_length, "tokens": tokens, "token_strs": null });
    Ok(answered(&model, Json(answer)))
}

pub(crate) async fn detokenize(State(app): State<Arc<App>>, request: Request) -> Result<Response, Problem> {
    const NAME: &str = "tokens";
    let mut fields = app.fields(request).await?;
    let model = app.model(&mut fields, Use::Tokens)?;
    let ids = match fields.required(NAME, "a list of token ids")? {
        Value::Array(values) => tokens(NAME, &values)?,
        other => return Err(wrong(NAME, "a list of token ids", &other)),
    };
    fields.finish(&[])?;
    let prompt = app.in_time(app.engine.detokenize(&model, ids)).await?;
    Ok(answered(&model, Json(json!({ "prompt": prompt }))))
}
