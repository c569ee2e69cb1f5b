//! The messages of a chat become a conversation. The chat template of the model decides which roles there are.

use data::language::Conversation;
use serde_json::{Map, Value};

use crate::fields::{Fields, kind};
use crate::problem::Problem;

pub(crate) fn read(messages: &Value) -> Result<Conversation, Problem> {
    const EXPECTED: &str = "a list of {\"role\", \"content\"}";
    let Value::Array(messages) = messages else {
        return Err(Problem::field("messages", format!("`messages` should be {EXPECTED}, found {}", kind(messages))));
    };
    let mut conversation = Conversation::default();
    for (number, message) in messages.iter().enumerate() {
        let Value::Object(message) = message else {
            let found = kind(message);
            return Err(Problem::field("messages", format!("`messages[{number}]` should be an object, found {found}")));
        };
        let (role, content) = (role(message, number)?, content(message, number)?);
        if let Some(key) = message.keys().find(|key| ["tool_calls", "function_call", "audio"].contains(&key.as_str()))
            && !message[key].is_null()
        {
            return Err(unsupported(format!("messages[{number}].{key}"), "send messages of texts"));
        }
        conversation.push(role, &content);
    }
    match messages.last().and_then(|message| message["role"].as_str()) {
        None => Err(Problem::field("messages", "`messages` is empty: give the model a message to answer")),
        Some("assistant") => {
            let message = "the last of `messages` is the assistant's: end with the one that it is to answer";
            Err(Problem::field("messages", message))
        }
        Some(_) => Ok(conversation),
    }
}

fn role(message: &Map<String, Value>, number: usize) -> Result<&str, Problem> {
    let param = format!("messages[{number}].role");
    match message.get("role") {
        Some(Value::String(role)) => Ok(role),
        Some(other) => {
            let found = kind(other);
            Err(Problem::field(&param, format!("`{param}` should be a string, found {found}")))
        }
        None => Err(Problem::field(&param, format!("`{param}` is missing: expected system, user or assistant"))),
    }
}

/// A text, or a list of parts that are texts, which are joined without anything between them, as in training.
fn content(message: &Map<String, Value>, number: usize) -> Result<String, Problem> {
    let param = format!("messages[{number}].content");
    let wrong = |value: &Value| {
        let found = kind(value);
        Problem::field(&param, format!("`{param}` should be a text or a list of parts, found {found}"))
    };
    let parts = match message.get("content") {
        Some(Value::String(text)) => return Ok(text.clone()),
        Some(Value::Array(parts)) => parts,
        None | Some(Value::Null) => {
            return Err(Problem::field(&param, format!("`{param}` is missing: expected a text")));
        }
        Some(other) => return Err(wrong(other)),
    };
    let text = |part: &Value| match (part["type"].as_str(), part["text"].as_str()) {
        (Some("text"), Some(text)) => Ok(text.to_string()),
        (Some(other), _) if other != "text" => {
            Err(unsupported(format!("{param} of the type {other}"), "the models read texts alone"))
        }
        _ => Err(wrong(part)),
    };
    parts.iter().map(text).collect()
}

fn unsupported(what: String, instead: &str) -> Problem {
    Problem::field(&what, format!("`{what}` is not supported: {instead}")).code("unsupported")
}

/// What would make another answer of it: a client that asks for it must know that it is not there.
pub(super) fn refuse_what_is_not_built(fields: &mut Fields) -> Result<(), Problem> {
    const TOOLS: &str = "describe them in a message, and read the answer yourself";
    for name in ["tools", "functions"] {
        fields.refuse(name, TOOLS)?;
    }
    for name in ["tool_choice", "function_call"] {
        if let Some(choice) = fields.take(name).filter(|choice| !matches!(choice.as_str(), Some("none" | "auto"))) {
            return Err(unsupported(name.to_string(), &format!("{choice} asks for tools, which are not called")));
        }
    }
    fields.refuse("audio", "the models write texts alone")?;
    if let Some(modalities) = fields.take("modalities")
        && modalities.as_array().is_none_or(|list| list.iter().any(|kind| kind != "text"))
    {
        return Err(unsupported("modalities".to_string(), "the models write texts alone"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn message(messages: Value) -> String {
        read(&messages).unwrap_err().message
    }

    #[test]
    fn parts_of_a_message_are_joined() {
        let parts = json!([{ "type": "text", "text": "a " }, { "type": "text", "text": "b" }]);
        let conversation = read(&json!([{ "role": "user", "content": parts }])).unwrap();
        assert_eq!(json!(conversation.messages()), json!([{ "role": "user", "content": "a b" }]));
    }

    #[test]
    fn what_is_no_conversation_is_refused_with_its_place() {
        assert_eq!(message(json!([])), "`messages` is empty: give the model a message to answer");
        assert_eq!(message(json!("hi")), "`messages` should be a list of {\"role\", \"content\"}, found a string");
        assert_eq!(message(json!(["hi"])), "`messages[0]` should be an object, found a string");
        let user = json!({ "role": "user", "content": "hi" });
        assert_eq!(
            message(json!([user, { "content": "hi" }])),
            "`messages[1].role` is missing: expected system, user or assistant"
        );
        assert_eq!(
            message(json!([{ "role": 1, "content": "" }])),
            "`messages[0].role` should be a string, found a number"
        );
        assert_eq!(message(json!([{ "role": "user" }])), "`messages[0].content` is missing: expected a text");
        assert_eq!(
            message(json!([{ "role": "user", "content": [{ "type": "image_url", "image_url": {} }] }])),
            "`messages[0].content of the type image_url` is not supported: the models read texts alone"
        );
        assert_eq!(
            message(json!([user, { "role": "assistant", "content": "hello" }])),
            "the last of `messages` is the assistant's: end with the one that it is to answer"
        );
    }
}
