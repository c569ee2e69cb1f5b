//! Which kind of rows a file has, a text, a prompt with its completion or messages, and what stands in them. Prompt and
//! completion may be lists of messages each.

use std::path::Path;

use serde_json::Value;

use super::Conversation;
use crate::columns::{require, text};
use crate::record::Record;
use crate::{Advice, AdvicePart, ColumnNames, Error, Place, TextSource};

/// The column of the tools that a conversation may call.
const TOOLS: &str = "tools";

/// The columns of a file that are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Columns {
    Text(TextSource),
    /// Of texts, or of messages, then with a column `tools` as below.
    Completion {
        prompt: TextSource,
        /// `None` where only prompts are read.
        completion: Option<TextSource>,
    },
    /// A column of messages; one of the name `tools` is passed on to the chat template.
    Messages(String),
}

/// What rows are read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To train or to evaluate: what the model is to say must be there.
    Training,
    /// To be gone on from: a prompt needs no completion.
    Prompts,
}

/// A row with its meaning.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub line: usize,
    pub content: Content,
}

/// What a language model reads and says.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    Text(String),
    Completion { prompt: String, completion: String },
    Conversation(Conversation),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Completion,
    Messages,
}

impl Columns {
    /// The kind of the named columns; where none is named, the one kind whose columns the file has.
    ///
    /// Errors: columns of several kinds, named or in the file; of no kind; a column that is not there.
    pub fn find(file: &Path, first: &Record, names: &ColumnNames, purpose: Purpose) -> Result<Self, Error> {
        let kind = match named_kind(names)? {
            Some(kind) => kind,
            None => present_kind(file, first, purpose)?,
        };
        let source = |key: &str, column: &Option<String>, template: &Option<String>| {
            TextSource::new(key, column.as_deref(), template.as_deref())
        };
        let completion = || source("completion", &names.completion, &names.completion_template);
        let found = match kind {
            Kind::Text => Self::Text(source("text", &names.text, &names.text_template)?),
            Kind::Completion => Self::Completion {
                prompt: source("prompt", &names.prompt, &names.prompt_template)?,
                completion: (purpose == Purpose::Training).then(completion).transpose()?,
            },
            Kind::Messages => Self::Messages(names.messages.clone().unwrap_or_else(|| "messages".to_owned())),
        };
        found.check(file, first)?;
        Ok(found)
    }

    /// The names by which these columns are found.
    pub fn names(&self) -> ColumnNames {
        let none = ColumnNames::default();
        match self {
            Self::Text(text) => {
                let (text, text_template) = text.names();
                ColumnNames { text, text_template, ..none }
            }
            Self::Completion { prompt, completion } => {
                let (prompt, prompt_template) = prompt.names();
                let (completion, completion_template) = completion.as_ref().map(TextSource::names).unwrap_or_default();
                ColumnNames { prompt, prompt_template, completion, completion_template, ..none }
            }
            Self::Messages(messages) => ColumnNames { messages: Some(messages.clone()), ..none },
        }
    }

    /// Whether another file has these columns, by its first row.
    pub fn check(&self, file: &Path, first: &Record) -> Result<(), Error> {
        let check = |source: &TextSource, key: &'static str, other: Option<&TextSource>| match source {
            TextSource::Column(column) => {
                require(file, first, key, column, &[Some(column), other.and_then(TextSource::column)])
            }
            TextSource::Template(template) => template.check(file, first),
        };
        match self {
            Self::Text(TextSource::Template(template)) => template.check_text(file, first),
            Self::Text(source) => check(source, "text", None),
            Self::Completion { prompt, completion } => {
                check(prompt, "prompt", completion.as_ref())?;
                completion.as_ref().map_or(Ok(()), |completion| check(completion, "completion", Some(prompt)))
            }
            Self::Messages(column) => require(file, first, "messages", column, &[Some(column)]),
        }
    }

    /// Reads a row. A text and a completion must not be blank; a prompt may be, if the model has a token that begins a
    /// text, which [`Encoder`](super::Encoder) knows.
    pub fn row(&self, file: &Path, record: &Record) -> Result<Row, Error> {
        let content = match self {
            Self::Text(source) => Content::Text(filled(source, file, record, "text")?),
            Self::Completion { prompt, completion } => {
                let place = Place::new(file, record.line);
                match conversation(prompt, completion.as_ref(), record, &place)? {
                    Some(conversation) => Content::Conversation(conversation),
                    None => completed(prompt, completion.as_ref(), file, record)?,
                }
            }
            Self::Messages(column) => {
                let place = Place::new(file, record.line);
                let Some(messages) = record.fields.get(column) else {
                    let columns = suggest::list(record.columns());
                    return Err(Error::MissingField { place, column: column.clone(), columns });
                };
                Content::Conversation(Conversation::read(messages, record.fields.get(TOOLS), column, &place)?)
            }
        };
        Ok(Row { line: record.line, content })
    }
}

/// A prompt with its completion, both texts.
fn completed(
    prompt: &TextSource,
    completion: Option<&TextSource>,
    file: &Path,
    record: &Record,
) -> Result<Content, Error> {
    let prompt = possibly_empty(prompt, file, record)?;
    Ok(match completion {
        None => Content::Text(prompt),
        Some(completion) => Content::Completion { prompt, completion: filled(completion, file, record, "completion")? },
    })
}

/// A prompt and a completion that are lists of messages; `None` where neither is a list.
fn conversation(
    prompt: &TextSource,
    completion: Option<&TextSource>,
    record: &Record,
    place: &Place,
) -> Result<Option<Conversation>, Error> {
    let list = |source: &TextSource| -> Option<(String, Value)> {
        let column = source.column()?;
        Some((column.to_owned(), messages(record.fields.get(column)?)?))
    };
    let (asked, answered) = (list(prompt), completion.and_then(list));
    let mixed = |lists: &str, other: &TextSource| {
        let other = match other {
            TextSource::Column(column) => format!("`{column}`"),
            TextSource::Template(template) => format!("`{}`", template.key()),
        };
        Err(Error::Conversation {
            place: place.clone(),
            problem: format!("`{lists}` is a list of messages, and {other} is a text"),
            help: "give both as lists of messages, or both as texts".to_owned(),
        })
    };
    match (&asked, &answered, completion) {
        (None, None, _) => Ok(None),
        (None, Some((column, _)), _) => mixed(column, prompt),
        (Some((column, _)), None, Some(completion)) => mixed(column, completion),
        (Some((column, asked)), answered, _) => {
            let answered = answered.as_ref().map(|(column, messages)| (column.as_str(), messages));
            Conversation::read_apart((column, asked), answered, record.fields.get(TOOLS), place).map(Some)
        }
    }
}

/// A list, or a text that is one of messages and nothing else, as the cells of a CSV file hold it.
fn messages(value: &Value) -> Option<Value> {
    let is_message = |message: &Value| message["role"].is_string() && message.get("content").is_some();
    match value {
        Value::Array(_) => Some(value.clone()),
        Value::String(text) if text.trim_start().starts_with('[') => {
            let parsed: Value = json::parse(text.as_bytes()).ok()?;
            let is_conversation = |list: &Vec<Value>| !list.is_empty() && list.iter().all(is_message);
            parsed.as_array().is_some_and(is_conversation).then_some(parsed)
        }
        _ => None,
    }
}

fn filled(source: &TextSource, file: &Path, record: &Record, key: &'static str) -> Result<String, Error> {
    match source {
        TextSource::Column(column) => text(record, column, key, || Place::new(file, record.line)),
        TextSource::Template(template) => template.text(file, record),
    }
}

fn possibly_empty(prompt: &TextSource, file: &Path, record: &Record) -> Result<String, Error> {
    match prompt {
        TextSource::Column(column) => match record.fields.get(column) {
            Some(Value::String(prompt)) => Ok(prompt.clone()),
            _ => text(record, column, "prompt", || Place::new(file, record.line)),
        },
        TextSource::Template(template) => template.render(file, record),
    }
}

fn named_kind(names: &ColumnNames) -> Result<Option<Kind>, Error> {
    let keys = [
        ("text", names.text.is_some(), Kind::Text),
        ("text_template", names.text_template.is_some(), Kind::Text),
        ("prompt", names.prompt.is_some(), Kind::Completion),
        ("prompt_template", names.prompt_template.is_some(), Kind::Completion),
        ("completion", names.completion.is_some(), Kind::Completion),
        ("completion_template", names.completion_template.is_some(), Kind::Completion),
        ("messages", names.messages.is_some(), Kind::Messages),
    ];
    let mut set = keys.into_iter().filter(|(_, is_set, _)| *is_set);
    let Some((first, _, kind)) = set.next() else { return Ok(None) };
    match set.find(|(_, _, other)| *other != kind) {
        Some((second, _, _)) => Err(Error::ContradictoryColumns { first, second }),
        None => Ok(Some(kind)),
    }
}

/// A prompt alone is no row to train on, so that a file of texts may have a column `prompt` of another meaning.
fn present_kind(file: &Path, first: &Record, purpose: Purpose) -> Result<Kind, Error> {
    let has = |column: &str| first.fields.contains_key(column);
    let has_completion = has("prompt") && (has("completion") || purpose == Purpose::Prompts);
    let kinds = [
        ("text", has("text"), Kind::Text),
        ("prompt", has_completion, Kind::Completion),
        ("messages", has("messages"), Kind::Messages),
    ];
    let present: Vec<(&'static str, Kind)> =
        kinds.into_iter().filter(|(_, is_there, _)| *is_there).map(|(name, _, kind)| (name, kind)).collect();
    match present.as_slice() {
        [(_, kind)] => Ok(*kind),
        [] if has("prompt") || has("completion") => Ok(Kind::Completion),
        [] => Err(Error::NoKindOfRow {
            file: file.to_owned(),
            columns: suggest::list(first.columns()),
            advice: which_may_be_meant(first),
        }),
        several => Err(Error::SeveralKindsOfRow {
            file: file.to_owned(),
            columns: several.iter().map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(" and "),
            advice: either(several),
        }),
    }
}

/// One of the kinds of row, by the column of its key's name.
fn either(kinds: &[(&'static str, Kind)]) -> Advice {
    let start = Advice::from("say which is meant: ");
    kinds.iter().enumerate().fold(start, |advice, (n, (key, _))| {
        let advice = if n == 0 { advice } else { advice.and_text(" or ") };
        advice.and(AdvicePart::Value { key, value: (*key).to_owned() })
    })
}

/// The column that is nearest to a key, else every way to say what a row is.
fn which_may_be_meant(first: &Record) -> Advice {
    let near = ["text", "prompt", "completion", "messages"]
        .into_iter()
        .find_map(|key| suggest::nearest(key, first.columns()).map(|column| Advice::set(key, column)));
    near.unwrap_or_else(|| {
        let column = |key| AdvicePart::Column { key };
        Advice::column("name the columns with ", "text")
            .and_text(", with ")
            .and(column("prompt"))
            .and_text(" and ")
            .and(column("completion"))
            .and_text(" or with ")
            .and(column("messages"))
            .and_text(", or put texts together with `data.prompt_template` and `data.completion_template`")
    })
}

#[cfg(test)]
mod tests;
