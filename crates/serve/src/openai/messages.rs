//! The messages of a chat become a conversation. The chat template of the model decides which roles there are.

use std::collections::BTreeSet;

use data::language::Conversation;
use serde_json::{Map, Value};

use super::tools;
use crate::fields::{Fields, kind};
use crate::problem::Problem;

/// Fields of OpenAI's messages, and of their parts, that change nothing here.
const IGNORED: [&str; 4] = ["annotations", "name", "refusal", "tool_call_id"];
const IGNORED_IN_PARTS: [&str; 1] = ["prompt_cache_breakpoint"];

const TOOL_CALLS: &str = "tool_calls";
/// What a message of the role `tool` says of the call that it is the result of.
const OF_RESULTS: [&str; 2] = ["tool_call_id", "name"];

/// What a message says beside its text.
const REFUSED: [(&str, &str); 2] =
    [("function_call", "send it as `tool_calls`"), ("audio", "the models read texts alone")];

/// What `messages` are.
#[derive(Debug, Default)]
pub(crate) struct Messages {
    pub(crate) conversation: Conversation,
    /// Fields that have no effect, as the log calls them.
    pub(crate) ignored: BTreeSet<String>,
}

pub(crate) fn read(messages: Value) -> Result<Messages, Problem> {
    const EXPECTED: &str = "a list of {\"role\", \"content\"}";
    let Value::Array(messages) = messages else {
        return Err(Problem::field("messages", format!("`messages` should be {EXPECTED}, found {}", kind(&messages))));
    };
    let last = messages.last().and_then(|message| message["role"].as_str()).map(str::to_string);
    let mut read = Messages::default();
    for (number, message) in messages.into_iter().enumerate() {
        read.push(&format!("messages[{number}]"), message)?;
    }
    match last.as_deref() {
        None => Err(Problem::field("messages", "`messages` is empty: give the model a message to answer")),
        Some("assistant") => {
            let message = "the last of `messages` is the assistant's: end with the one that it is to answer";
            Err(Problem::field("messages", message))
        }
        Some(_) => Ok(read),
    }
}

impl Messages {
    /// Takes the message at this place.
    fn push(&mut self, place: &str, message: Value) -> Result<(), Problem> {
        let is_silent = message.get("content").is_some_and(Value::is_null);
        let mut fields = Fields::object(place, message)?;
        let role = role(place, fields.take("role"))?;
        // Before the content, which is null where an assistant has called tools.
        for (name, instead) in REFUSED {
            fields.refuse(name, instead)?;
        }
        let calls = calls(&mut fields, &role)?;
        let param = format!("{place}.content");
        let mut message = Map::from_iter([("role".to_string(), Value::from(role.as_str()))]);
        match fields.take("content") {
            // As Transformers has it: a template may ask whether there is a content.
            None if calls.is_some() && is_silent => _ = message.insert("content".to_string(), Value::Null),
            None if calls.is_some() => {}
            None if is_silent => return Err(Problem::field(&param, format!("`{param}` is null: expected a text"))),
            content => _ = message.insert("content".to_string(), self.content(&param, content)?.into()),
        }
        message.extend(calls.map(|calls| (TOOL_CALLS.to_string(), calls.into())));
        if role == "tool" {
            for name in OF_RESULTS {
                message.extend(fields.text(name)?.map(|text| (name.to_string(), text.into())));
            }
        }
        let ignored = fields.finish(&IGNORED)?;
        self.ignored.extend(ignored.into_iter().map(|name| format!("messages[].{name}")));
        self.conversation.push_message(message);
        Ok(())
    }

    /// A text, or a list of parts that are texts, which are joined without anything between them, as in training.
    fn content(&mut self, param: &str, content: Option<Value>) -> Result<String, Problem> {
        match content {
            Some(Value::String(text)) => Ok(text),
            Some(Value::Array(parts)) => {
                parts.into_iter().enumerate().map(|(number, part)| self.part(param, number, part)).collect()
            }
            None => Err(Problem::field(param, format!("`{param}` is missing: expected a text"))),
            Some(other) => Err(no_content(param, &other)),
        }
    }

    fn part(&mut self, param: &str, number: usize, part: Value) -> Result<String, Problem> {
        let is_text = part["type"] == "text" && part["text"].is_string();
        let part = match part {
            Value::Object(part) if is_text => part,
            part => {
                return Err(match part["type"].as_str() {
                    Some(other) if other != "text" => {
                        unsupported(format!("{param} of the type {other}"), "the models read texts alone")
                    }
                    _ => no_content(param, &part),
                });
            }
        };
        let mut fields = Fields::within(&format!("{param}[{number}]"), part);
        fields.take("type");
        let text = fields.text("text")?.unwrap_or_default();
        let ignored = fields.finish(&IGNORED_IN_PARTS)?;
        self.ignored.extend(ignored.into_iter().map(|name| format!("messages[].content[].{name}")));
        Ok(text)
    }
}

/// What an assistant has called; an empty list is nothing.
fn calls(fields: &mut Fields, role: &str) -> Result<Option<Vec<Value>>, Problem> {
    let Some(calls) = fields.take(TOOL_CALLS) else { return Ok(None) };
    let place = fields.place(TOOL_CALLS);
    let calls = tools::called(&place, calls)?;
    match calls.is_empty() {
        true => Ok(None),
        false if role != "assistant" => {
            let message = format!("`{place}` is for messages of the assistant: this one is of the role `{role}`");
            Err(Problem::field(&place, message))
        }
        false => Ok(Some(calls)),
    }
}

fn role(place: &str, role: Option<Value>) -> Result<String, Problem> {
    let param = format!("{place}.role");
    match role {
        Some(Value::String(role)) => Ok(role),
        Some(other) => {
            let found = kind(&other);
            Err(Problem::field(&param, format!("`{param}` should be a string, found {found}")))
        }
        None => Err(Problem::field(&param, format!("`{param}` is missing: expected system, user or assistant"))),
    }
}

fn no_content(param: &str, value: &Value) -> Problem {
    let found = kind(value);
    Problem::field(param, format!("`{param}` should be a text or a list of parts, found {found}"))
}

fn unsupported(what: String, instead: &str) -> Problem {
    Problem::field(&what, format!("`{what}` is not supported: {instead}")).code("unsupported")
}

/// What would make another answer of it: a client that asks for it must know that it is not there.
pub(super) fn refuse_what_is_not_built(fields: &mut Fields) -> Result<(), Problem> {
    tools::check_choice(fields)?;
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
        read(messages).unwrap_err().message
    }

    #[test]
    fn parts_of_a_message_are_joined() {
        let parts = json!([{ "type": "text", "text": "a " }, { "type": "text", "text": "b" }]);
        let read = read(json!([{ "role": "user", "content": parts }])).unwrap();
        assert_eq!(json!(read.conversation.messages()), json!([{ "role": "user", "content": "a b" }]));
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

    #[test]
    fn a_field_that_is_none_is_refused_and_those_of_openai_are_ignored() {
        let with = |key: &str, value: Value| {
            let mut message = json!({ "role": "assistant", "content": "hi" });
            message[key] = value;
            read(json!([message, { "role": "user", "content": "hi" }]))
        };
        let refused = |key: &str, value: Value| {
            let problem = with(key, value).unwrap_err();
            (problem.message, problem.param.unwrap())
        };
        let foo = |place: &str| format!("unknown field `{place}.foo`: known: ");
        let (said, param) = refused("foo", json!(1));
        assert_eq!(param, "messages[0].foo");
        assert!(said.starts_with(&foo("messages[0]")), "{said}");
        assert!(said.contains("`content`") || said.contains("content"), "{said}");
        let (said, param) = refused("content", json!([{ "type": "text", "text": "a", "foo": 1 }]));
        assert_eq!(param, "messages[0].content[0].foo");
        assert!(said.starts_with(&foo("messages[0].content[0]")), "{said}");
        let expected = "unknown field `messages[0].contents`: did you mean `content`?";
        assert_eq!(refused("contents", json!("a")).0, expected);

        let ignored = |key: &str, value: Value| Vec::from_iter(with(key, value).unwrap().ignored);
        assert_eq!(ignored("name", json!("Ann")), ["messages[].name"]);
        assert_eq!(ignored("annotations", json!([])), ["messages[].annotations"]);
        let part = json!([{ "type": "text", "text": "a", "prompt_cache_breakpoint": { "mode": "explicit" } }]);
        assert_eq!(ignored("content", part), ["messages[].content[].prompt_cache_breakpoint"]);
        for key in ["refusal", "audio", "tool_calls", "function_call"] {
            assert!(ignored(key, Value::Null).is_empty(), "an answer of OpenAI's has `{key}` as null");
        }
    }

    #[test]
    fn a_history_with_calls_of_tools_is_taken() {
        let call = |arguments: Value| json!([{ "id": "1", "type": "function", "function": { "name": "f", "arguments": arguments } }]);
        let assistant = json!({ "role": "assistant", "content": null, "tool_calls": call(json!("{\"a\": 1}")) });
        let result = json!({ "role": "tool", "tool_call_id": "1", "content": [{ "type": "text", "text": "2" }] });
        let without = json!({ "role": "assistant", "tool_calls": call(json!({})) });
        let named = json!({ "role": "tool", "name": "f", "content": "" });
        let read = read(json!([assistant, result, without, named])).unwrap();
        let expected = json!([
            { "role": "assistant", "content": null, "tool_calls": call(json!({ "a": 1 })) },
            { "role": "tool", "content": "2", "tool_call_id": "1" },
            { "role": "assistant", "tool_calls": call(json!({})) },
            { "role": "tool", "content": "", "name": "f" },
        ]);
        assert_eq!(json!(read.conversation.messages()), expected);
        assert!(read.ignored.is_empty());
    }

    #[test]
    fn calls_of_tools_are_the_assistants() {
        let calls = json!([{ "id": "1", "function": { "name": "f" } }]);
        let user = json!({ "role": "user", "content": "a", "tool_calls": calls });
        let expected = "`messages[0].tool_calls` is for messages of the assistant: this one is of the role `user`";
        assert_eq!(message(json!([user])), expected);
        for nothing in [json!([]), Value::Null] {
            let silent = json!({ "role": "assistant", "content": null, "tool_calls": nothing });
            assert_eq!(message(json!([silent])), "`messages[0].content` is null: expected a text");
        }
        let result = json!({ "role": "tool", "tool_call_id": 1, "content": "a" });
        assert_eq!(message(json!([result])), "`messages[0].tool_call_id` should be a string, found a number");
        let old = json!({ "role": "assistant", "content": null, "function_call": { "name": "f", "arguments": "{}" } });
        assert_eq!(message(json!([old])), "`messages[0].function_call` is not supported: send it as `tool_calls`");
    }
}
