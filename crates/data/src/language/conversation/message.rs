//! One message of a row: what kindling reads of it, and what it asks of it.

use serde_json::Value;

use super::{Message, SHAPE, is_assistant, wrong_message};
use crate::record::kind;
use crate::{Error, Place};

/// What a message without content may say instead.
const INSTEAD_OF_CONTENT: [&str; 3] = ["tool_calls", "function_call", "reasoning_content"];

/// Whether a message is to be learned: 0 or 1, as OpenAI, Together and mistral-finetune have it.
const WEIGHT: &str = "weight";

/// The same as true or false: what axolotl calls it is for its configuration to say, and is one of these in use.
const FLAGS: [&str; 2] = ["train", "training"];

/// What a message says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Learned {
    Yes,
    No,
}

/// The message as the chat template is to see it. What says whether it is to be learned is no part of that.
pub(super) fn read_message(
    number: usize,
    message: Value,
    column: &str,
    place: &Place,
) -> Result<(Message, Learned), Error> {
    let Value::Object(mut message) = message else {
        let problem = format!("message {number} should be an object, found {}", kind(&message));
        return Err(wrong_message(place, column, problem, SHAPE));
    };
    match message.get("role") {
        Some(Value::String(_)) => (),
        Some(other) => {
            let problem = format!("the role of message {number} should be a string, found {}", kind(other));
            return Err(wrong_message(place, column, problem, SHAPE));
        }
        None => {
            let keys = suggest::list(message.keys().map(String::as_str));
            let problem = format!("message {number} has no `role` (keys: {keys})");
            return Err(wrong_message(place, column, problem, renaming(&message)));
        }
    }
    // A null is left out, or templates that ask whether a message has `tool_calls` would take it for one that calls.
    // Deeper down a null was written by somebody, as the argument of a call may be: those that are Parquet's own, which
    // gives each struct the fields of all, its reader has left out.
    message.retain(|key, value| key == "content" || !value.is_null());
    let learned = take_learned(&mut message, number, column, place)?;
    let content = text_of(message.get("content"), number, column, place)?;
    let says_otherwise = INSTEAD_OF_CONTENT.iter().any(|key| message.get(*key).is_some_and(has_something));
    let help = match is_assistant(&message) {
        true => "give the message a text or `tool_calls`, or remove the row",
        false => "give the message a text, or remove the row",
    };
    match content {
        None if !says_otherwise => {
            let problem = match message.contains_key("content") {
                true => format!("the content of message {number} is null"),
                false => {
                    let keys = suggest::list(message.keys().map(String::as_str));
                    format!("message {number} has no `content` (keys: {keys})")
                }
            };
            return Err(wrong_message(place, column, problem, help));
        }
        Some(content) if content.trim().is_empty() && is_assistant(&message) && !says_otherwise => {
            let problem = format!("message {number}, the assistant's, is empty");
            return Err(wrong_message(place, column, problem, help));
        }
        Some(content) => _ = message.insert("content".to_owned(), Value::String(content)),
        None => (),
    }
    Ok((message, learned))
}

/// Takes the keys that say whether the message is to be learned out of it.
fn take_learned(message: &mut Message, number: usize, column: &str, place: &Place) -> Result<Learned, Error> {
    let mut learned = Learned::Yes;
    for key in [WEIGHT].into_iter().chain(FLAGS) {
        let Some(value) = message.shift_remove(key) else { continue };
        let says = match (key == WEIGHT, &value, value.as_f64()) {
            (true, _, Some(0.0)) | (false, Value::Bool(false), _) => Learned::No,
            (true, _, Some(1.0)) | (false, Value::Bool(true), _) => Learned::Yes,
            _ => {
                let (expected, say) = match key == WEIGHT {
                    true => ("0 or 1", "0 for a message that is not to be learned, 1 for others"),
                    false => ("true or false", "false for a message that is not to be learned, true for others"),
                };
                let problem = format!("`{key}` of message {number} is {value}, expected {expected}");
                return Err(wrong_message(place, column, problem, &format!("write {say}, or leave the key out")));
            }
        };
        if says == Learned::Yes && !is_assistant(message) {
            let problem = format!("`{key}` of message {number} is {value}, and the message is not the assistant's");
            let help = "only what the assistant says can be learned: leave the key out of the other messages";
            return Err(wrong_message(place, column, problem, help));
        }
        if says == Learned::No {
            learned = Learned::No;
        }
    }
    Ok(learned)
}

/// The conversations of ShareGPT have other names for the same.
fn renaming(message: &Message) -> &'static str {
    match message.contains_key("from") && message.contains_key("value") {
        true => "rename `from` to `role` (human: user, gpt: assistant) and `value` to `content`",
        false => SHAPE,
    }
}

fn has_something(value: &Value) -> bool {
    !matches!(value, Value::Null) && value.as_array().is_none_or(|list| !list.is_empty()) && value.as_str() != Some("")
}

/// A text, null, or a list of parts. Parts are joined without anything between them, as templates that take parts write
/// them: templates that do not would otherwise write the list itself.
fn text_of(content: Option<&Value>, number: usize, column: &str, place: &Place) -> Result<Option<String>, Error> {
    let unfit = |found: String| {
        let problem = format!("the content of message {number} should be a text, found {found}");
        wrong_message(place, column, problem, "contents are texts, or lists of {\"type\": \"text\", \"text\": \"...\"}")
    };
    match content {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(Value::Array(parts)) => {
            let text = |part: &Value| match (part["type"].as_str(), part.as_str().or(part["text"].as_str())) {
                (Some("text") | None, Some(text)) => Ok(text.to_owned()),
                (Some(other), _) if other != "text" => Err(unfit(format!("a part of the type `{other}`"))),
                _ => Err(unfit(format!("{} without a text among its parts", kind(part)))),
            };
            parts.iter().map(text).collect::<Result<String, _>>().map(Some)
        }
        Some(other) => Err(unfit(kind(other).to_owned())),
    }
}
