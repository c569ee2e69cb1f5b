//! A conversation: messages with a role each, and the tools that may be called. Everything but a message's `content`, and
//! what says whether it is to be learned, goes to the chat template as the file has it.

mod message;

use serde_json::{Map, Value};

use crate::record::kind;
use crate::{Error, Place};
use message::{Learned, read_message};

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

/// Messages in their order, from the rows of a file or from a terminal.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Conversation {
    pub(super) messages: Vec<Message>,
    pub(super) tools: Option<Value>,
    /// The messages that are a prompt, at the start, where a row has prompt and completion apart.
    prompt: Option<usize>,
    /// The indices of messages that say that they are not to be learned.
    skipped: Vec<usize>,
}

impl Conversation {
    /// Adds a message, as a conversation in a terminal does.
    pub fn push(&mut self, role: &str, content: &str) {
        let text = |text: &str| Value::String(text.to_owned());
        self.push_message(
            [("role".to_owned(), text(role)), ("content".to_owned(), text(content))].into_iter().collect(),
        );
    }

    /// Adds a message with all its fields, as the chat template is to see it.
    pub fn push_message(&mut self, message: Map<String, Value>) {
        self.messages.push(message);
    }

    /// The tools that may be called, as Transformers' `apply_chat_template` takes them.
    pub fn set_tools(&mut self, tools: Vec<Value>) {
        self.tools = Some(Value::Array(tools));
    }

    /// The messages as the rows of a file have them.
    pub fn messages(&self) -> &[Map<String, Value>] {
        &self.messages
    }

    pub fn tools(&self) -> Option<&Value> {
        self.tools.as_ref()
    }

    /// The text of what the assistant says at the end, or after the prompt: what an answer is compared with.
    pub fn answer(&self) -> Option<&str> {
        let answer = self.messages.get(self.before_answer().len());
        answer.filter(|message| is_assistant(message)).and_then(|message| message.get("content")?.as_str())
    }

    /// Reads the columns of a row. A cell that is a JSON string, as CSV files have them, is read as JSON.
    pub(super) fn read(messages: &Value, tools: Option<&Value>, column: &str, place: &Place) -> Result<Self, Error> {
        let mut conversation = Self { tools: read_tools(tools, place)?, ..Self::default() };
        conversation.extend(messages, column, place)?;
        Ok(conversation)
    }

    /// As `read`, of a row that has the messages which the model reads and those which it is to say in columns of their
    /// own; the latter are `None` where only prompts are read.
    pub(super) fn read_apart(
        prompt: (&str, &Value),
        completion: Option<(&str, &Value)>,
        tools: Option<&Value>,
        place: &Place,
    ) -> Result<Self, Error> {
        let mut conversation = Self { tools: read_tools(tools, place)?, ..Self::default() };
        conversation.extend(prompt.1, prompt.0, place)?;
        conversation.prompt = Some(conversation.messages.len());
        if let Some((column, messages)) = completion {
            conversation.extend(messages, column, place)?;
        }
        Ok(conversation)
    }

    fn extend(&mut self, messages: &Value, column: &str, place: &Place) -> Result<(), Error> {
        let Value::Array(messages) = parsed(messages, column, place)? else {
            let problem = format!("should be a list of messages, found {}", kind(messages));
            return Err(wrong(place, column, problem, SHAPE));
        };
        if messages.is_empty() {
            return Err(wrong(
                place,
                column,
                "holds no messages".to_owned(),
                "give the row a conversation, or remove it",
            ));
        }
        for (message, number) in messages.into_iter().zip(1..) {
            let (message, learned) = read_message(number, message, column, place)?;
            if learned == Learned::No {
                self.skipped.push(self.messages.len());
            }
            self.messages.push(message);
        }
        Ok(())
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

    /// Whether the assistant's message `index` is to be learned: it is no part of a prompt, and does not say otherwise.
    pub(super) fn is_learned(&self, index: usize) -> bool {
        self.prompt.is_none_or(|prompt| index >= prompt) && !self.skipped.contains(&index)
    }

    /// The messages that an answer follows on: the prompt where there is one, else all but the answer that may be there
    /// already.
    pub(super) fn before_answer(&self) -> &[Message] {
        match (self.prompt, self.messages.split_last()) {
            (Some(prompt), _) => &self.messages[..prompt],
            (None, Some((last, before))) if is_assistant(last) => before,
            (None, _) => &self.messages,
        }
    }

    /// The messages up to the assistant's at `index`, with other words in the place of what it says.
    pub(super) fn with_other_turn(&self, index: usize) -> Vec<Message> {
        // Of a private character, with which no text in use begins.
        let turn = [("role", "assistant"), ("content", "\u{e000}")];
        let turn = turn.map(|(key, value)| (key.to_owned(), Value::String(value.to_owned())));
        self.messages[..index].iter().cloned().chain([turn.into_iter().collect()]).collect()
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
        Value::String(text) => json::parse(text.as_bytes())
            .map_err(|error| wrong(place, column, format!("is a text that is no JSON: {error}"), SHAPE)),
        other => Ok(other.clone()),
    }
}

fn read_tools(tools: Option<&Value>, place: &Place) -> Result<Option<Value>, Error> {
    let tools = match tools {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) if text.trim().is_empty() => return Ok(None),
        Some(tools) => parsed(tools, "tools", place)?,
    };
    if !tools.is_array() {
        let problem = format!("should be a list of tools, found {}", kind(&tools));
        let help = "a tool is described by a JSON schema, as Transformers takes it";
        return Err(wrong(place, "tools", problem, help));
    }
    Ok(Some(tools))
}

#[cfg(test)]
mod tests;
