//! A conversation: messages with a role each, and the tools that may be called. Everything but a message's `content` goes
//! to the chat template as the file has it.

use serde_json::{Map, Value};

use crate::record::kind;
use crate::{Error, Place, suggest};

/// A message as the chat template sees it.
pub(super) type Message = Map<String, Value>;

/// The roles that chat templates in use know.
const ROLES: [&str; 10] = [
    "system",
    "developer",
    "user",
    "assistant",
    "tool",
    "function",
    "ipython",
    "observation",
    "environment",
    "document",
];

/// What a message without content may say instead.
const INSTEAD_OF_CONTENT: [&str; 3] = ["tool_calls", "function_call", "reasoning_content"];

/// Messages in their order, from the rows of a file or from a terminal.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Conversation {
    pub(super) messages: Vec<Message>,
    pub(super) tools: Option<Value>,
}

impl Conversation {
    /// Adds a message, as a conversation in a terminal does.
    pub fn push(&mut self, role: &str, content: &str) {
        let text = |text: &str| Value::String(text.to_owned());
        self.messages
            .push([("role".to_owned(), text(role)), ("content".to_owned(), text(content))].into_iter().collect());
    }

    /// The messages as the rows of a file have them.
    pub fn messages(&self) -> &[Map<String, Value>] {
        &self.messages
    }

    /// The text of the last message if it is the assistant's: what an answer is compared with.
    pub fn answer(&self) -> Option<&str> {
        self.messages
            .last()
            .filter(|message| is_assistant(message))
            .and_then(|message| message.get("content")?.as_str())
    }

    /// Reads the columns of a row. A cell that is a JSON string, as CSV files have them, is read as JSON.
    pub(super) fn read(messages: &Value, tools: Option<&Value>, column: &str, place: &Place) -> Result<Self, Error> {
        let Value::Array(messages) = parsed(messages, column, place)? else {
            let problem = format!("should be a list of messages, found {}", kind(messages));
            return Err(wrong(place, column, problem, SHAPE));
        };
        let read = |(index, message)| read_message(index + 1, message, column, place);
        let messages: Vec<Message> = messages.into_iter().enumerate().map(read).collect::<Result<_, _>>()?;
        if messages.is_empty() {
            return Err(wrong(
                place,
                column,
                "holds no messages".to_owned(),
                "give the row a conversation, or remove it",
            ));
        }
        let tools = match tools {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) if text.trim().is_empty() => None,
            Some(tools) => Some(parsed(tools, "tools", place)?),
        };
        match tools {
            Some(other) if !other.is_array() => {
                let problem = format!("should be a list of tools, found {}", kind(&other));
                Err(wrong(place, "tools", problem, "a tool is described by a JSON schema, as Transformers takes it"))
            }
            tools => Ok(Self { messages, tools }),
        }
    }

    /// Refuses a role that neither templates in general nor this one, by `is_named`, know.
    pub(super) fn check_roles(&self, is_named: impl Fn(&str) -> bool, subject: &str) -> Result<(), Error> {
        let unknown = self.messages.iter().zip(1..).find_map(|(message, number)| {
            let role = role(message);
            (!ROLES.contains(&role) && !is_named(role)).then(|| Error::UnknownRole {
                subject: subject.to_owned(),
                number,
                role: role.to_owned(),
                suggestion: suggest::suggestion(role, ROLES),
            })
        });
        unknown.map_or(Ok(()), Err)
    }

    /// The indices of the assistant's messages.
    pub(super) fn assistant_turns(&self) -> Vec<usize> {
        (0..self.messages.len()).filter(|&index| is_assistant(&self.messages[index])).collect()
    }

    /// The messages that an answer follows on: all but the answer that may be there already.
    pub(super) fn before_answer(&self) -> &[Message] {
        match self.messages.split_last() {
            Some((last, before)) if is_assistant(last) => before,
            _ => &self.messages,
        }
    }
}

const SHAPE: &str = "a conversation reads [{\"role\": \"user\", \"content\": \"...\"}, {\"role\": \"assistant\", ...}]";

fn role(message: &Message) -> &str {
    message.get("role").and_then(Value::as_str).unwrap_or_default()
}

fn is_assistant(message: &Message) -> bool {
    role(message) == "assistant"
}

fn wrong(place: &Place, column: &str, problem: String, help: impl Into<String>) -> Error {
    Error::Conversation { place: place.clone(), problem: format!("`{column}` {problem}"), help: help.into() }
}

fn wrong_message(place: &Place, column: &str, problem: String, help: &str) -> Error {
    Error::Conversation { place: place.clone(), problem: format!("`{column}`: {problem}"), help: help.to_owned() }
}

fn parsed(value: &Value, column: &str, place: &Place) -> Result<Value, Error> {
    match value {
        Value::String(text) => serde_json::from_str(text)
            .map_err(|error| wrong(place, column, format!("is a text that is no JSON: {error}"), SHAPE)),
        other => Ok(other.clone()),
    }
}

fn read_message(number: usize, message: Value, column: &str, place: &Place) -> Result<Message, Error> {
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
    Ok(message)
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use miette::Diagnostic;
    use serde_json::json;

    use super::*;

    fn read(messages: Value) -> Result<Conversation, Error> {
        Conversation::read(&messages, None, "messages", &Place::new(Path::new("a.jsonl"), 3))
    }

    fn fails(messages: Value) -> (String, String) {
        let error = read(messages).unwrap_err();
        (error.to_string(), error.help().expect("says what to do").to_string())
    }

    #[test]
    fn contents_are_texts_and_the_rest_is_passed_on() {
        let call = json!([{"type": "function", "function": {"name": "f", "arguments": {"b": 1, "a": null}}}]);
        let read = read(json!([
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "name": "n"},
            {"role": "assistant", "content": null, "tool_calls": call, "refusal": null},
        ]))
        .unwrap();
        let messages = Value::Array(read.messages.iter().cloned().map(Value::Object).collect());
        let expected = json!([
            {"role": "user", "content": "ab", "name": "n"},
            {"role": "assistant", "content": null, "tool_calls": call},
        ]);
        assert_eq!(messages.to_string(), expected.to_string(), "with the keys in their order");
        assert_eq!(read.assistant_turns(), [1]);
    }

    #[test]
    fn a_cell_of_a_table_is_json() {
        let place = Place::new(Path::new("a.csv"), 3);
        let (messages, tools) = (json!("[{\"role\": \"user\", \"content\": \"a\"}]"), json!("[{\"name\": \"f\"}]"));
        let read = Conversation::read(&messages, Some(&tools), "messages", &place).unwrap();
        assert_eq!((read.messages.len(), read.tools), (1, Some(json!([{"name": "f"}]))));
        let without = Conversation::read(&messages, Some(&json!("")), "messages", &place).unwrap();
        assert_eq!(without.tools, None);
        assert!(fails(json!("[{")).0.starts_with("a.jsonl, line 3: `messages` is a text that is no JSON: EOF"));
    }

    #[test]
    fn what_is_no_conversation_says_which_message() {
        assert_eq!(fails(json!({})).0, "a.jsonl, line 3: `messages` should be a list of messages, found an object");
        assert_eq!(fails(json!([])).0, "a.jsonl, line 3: `messages` holds no messages");
        assert_eq!(fails(json!(["a"])).0, "a.jsonl, line 3: `messages`: message 1 should be an object, found a string");
        let (message, help) = fails(json!([{"from": "human", "value": "a"}]));
        assert_eq!(message, "a.jsonl, line 3: `messages`: message 1 has no `role` (keys: from, value)");
        assert!(help.starts_with("rename `from` to `role`"), "{help}");
        assert_eq!(
            fails(json!([{"role": "user", "text": "a"}])).0,
            "a.jsonl, line 3: `messages`: message 1 has no `content` (keys: role, text)"
        );
        let (message, help) = fails(json!([{"role": "assistant", "content": null, "tool_calls": []}]));
        assert_eq!(message, "a.jsonl, line 3: `messages`: the content of message 1 is null");
        assert_eq!(help, "give the message a text or `tool_calls`, or remove the row");
        let (_, help) = fails(json!([{"role": "user", "content": null}]));
        assert_eq!(help, "give the message a text, or remove the row", "only the assistant calls tools");
        assert_eq!(
            fails(json!([{"role": "user", "content": "a"}, {"role": "assistant", "content": " "}])).0,
            "a.jsonl, line 3: `messages`: message 2, the assistant's, is empty"
        );
        assert_eq!(
            fails(json!([{"role": "user", "content": [{"type": "image", "url": "x"}]}])).0,
            "a.jsonl, line 3: `messages`: the content of message 1 should be a text, found a part of the type `image`"
        );
    }

    #[test]
    fn a_misspelt_role_finds_its_name_and_one_of_the_template_is_known() {
        let read = read(json!([{"role": "asistant", "content": "a"}])).unwrap();
        let error = read.check_roles(|_| false, "a.jsonl, line 3").unwrap_err();
        assert_eq!(error.to_string(), "a.jsonl, line 3: message 1 has the unknown role `asistant`");
        assert_eq!(error.help().unwrap().to_string(), "did you mean `assistant`?");
        assert!(read.check_roles(|role| role == "asistant", "").is_ok());
    }

    #[test]
    fn an_answer_is_the_assistants_last_message() {
        let mut conversation = Conversation::default();
        conversation.push("user", "a");
        assert_eq!((conversation.answer(), conversation.before_answer().len()), (None, 1));
        conversation.push("assistant", "b");
        assert_eq!((conversation.answer(), conversation.before_answer().len()), (Some("b"), 1));
    }
}
