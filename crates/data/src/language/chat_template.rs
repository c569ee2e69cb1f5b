//! A checkpoint's chat template: conversations become the text that the model was taught with, as `apply_chat_template` of
//! Transformers writes it.

mod strftime;
#[cfg(test)]
mod tests;
mod tools;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use minijinja::value::Serde;
use minijinja::{Environment, ErrorKind, UndefinedBehavior, Value, context};

use super::conversation::{Conversation, Message};
use crate::Error;
use crate::jinja::{self, Rewritten};
use crate::place::name;
use crate::tokenizer::{Config, read, special_texts};
pub use tools::OfTools;

/// The name of the template in [`Environment`], and of the one for conversations with tools.
const DEFAULT: &str = "default";
const TOOL_USE: &str = "tool_use";

/// The chat template of a checkpoint.
#[derive(Clone)]
pub struct ChatTemplate {
    /// The files of the templates and their sources, by name: `default`, and `tool_use` where there is one.
    sources: Vec<Source>,
    environment: Arc<Environment<'static>>,
    /// `bos_token`, `eos_token` and the others of the tokenizer.
    special: Value,
}

#[derive(Debug, Clone)]
struct Source {
    name: String,
    file: PathBuf,
    text: String,
    /// As the engine reads it.
    rewritten: Rewritten,
}

impl Source {
    fn new(name: &str, file: PathBuf, text: String) -> Self {
        Self { name: name.to_owned(), file, text, rewritten: Rewritten::default() }
    }

    fn names(&self, field: &str) -> bool {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let text = &self.text;
        text.match_indices(field)
            .any(|(at, _)| !text[..at].ends_with(is_word) && !text[at + field.len()..].starts_with(is_word))
    }
}

impl ChatTemplate {
    /// Reads `chat_template.jinja`, else `chat_template` of `tokenizer_config.json`; `None` without either.
    ///
    /// `now` is the date (UTC) that a template writes which asks for it, as Llama 3's do. It is the caller's so that a
    /// run that is resumed on another day reads the same texts.
    pub fn from_dir(dir: &Path, now: SystemTime) -> Result<Option<Self>, Error> {
        let config = Config::read(dir, dir)?;
        let mut sources = sources(dir, &config)?;
        if !sources.iter().any(|source| source.name == DEFAULT) {
            return Ok(None);
        }
        let mut environment = jinja::environment(UndefinedBehavior::Lenient);
        environment.add_function("strftime_now", move |format: String| strftime::strftime(now, &format));
        for source in &mut sources {
            // Transformers' `{% generation %}` marks text for training and writes nothing.
            let text = without_generation_marks(&source.text);
            source.rewritten = jinja::add(&mut environment, &source.name, &text).map_err(|fault| {
                let ((line, column), reason) = (fault.position, fault.reason);
                Error::ChatTemplateSyntax { file: source.file.clone(), line, column, reason }
            })?;
        }
        let special = Value::from(Serde(special_texts(&config)));
        Ok(Some(Self { sources, environment: Arc::new(environment), special }))
    }

    /// The text of a conversation; with `generation_prompt` it goes on to where the assistant begins to speak.
    pub fn render(&self, conversation: &Conversation, generation_prompt: bool) -> Result<String, Error> {
        self.write(&conversation.messages, conversation, generation_prompt, "the conversation")
    }

    /// As `render`, of some messages of the conversation; `subject` is what messages call it.
    pub(super) fn write(
        &self,
        messages: &[Message],
        conversation: &Conversation,
        generation_prompt: bool,
        subject: &str,
    ) -> Result<String, Error> {
        let source = self.source(conversation.tools.is_some());
        let values = context! {
            messages => Serde(messages),
            tools => Serde(&conversation.tools),
            documents => (),
            add_generation_prompt => generation_prompt,
            ..self.special.clone(),
        };
        let rendered = self.environment.get_template(&source.name).and_then(|template| template.render(values));
        rendered.map_err(|error| failure(source, &error, subject))
    }

    /// The template for conversations without tools, as it is written.
    pub fn text(&self) -> &str {
        &self.source(false).text
    }

    /// Whether the template speaks of this role.
    pub(super) fn names_role(&self, role: &str) -> bool {
        let quoted = [format!("'{role}'"), format!("\"{role}\"")];
        self.sources.iter().any(|source| quoted.iter().any(|quoted| source.text.contains(quoted)))
    }

    /// Whether the template holds this name, as a word of its own.
    pub(super) fn names(&self, field: &str) -> bool {
        self.sources.iter().any(|source| source.names(field))
    }

    fn source(&self, tools: bool) -> &Source {
        let of_name = |name: &str| self.sources.iter().find(|source| source.name == name);
        let found = of_name(TOOL_USE).filter(|_| tools).or_else(|| of_name(DEFAULT));
        found.expect("a template without a default is not made")
    }
}

/// As Transformers looks for them: files go before what the configuration holds.
fn sources(dir: &Path, config: &Config) -> Result<Vec<Source>, Error> {
    let file = dir.join("chat_template.jinja");
    if !file.is_file() {
        return Ok(configured(dir, config));
    }
    let more = dir.join("additional_chat_templates").join(format!("{TOOL_USE}.jinja"));
    let files = [(DEFAULT, file), (TOOL_USE, more)].into_iter().filter(|(_, file)| file.is_file());
    files.map(|(name, file)| Ok(Source::new(name, file.clone(), text(&file)?))).collect()
}

fn text(file: &Path) -> Result<String, Error> {
    String::from_utf8(read(file)?).map_err(|error| Error::Read {
        file: file.to_owned(),
        source: std::io::Error::new(std::io::ErrorKind::InvalidData, error),
    })
}

/// One template, or a list of them by name.
fn configured(dir: &Path, config: &Config) -> Vec<Source> {
    let file = dir.join("tokenizer_config.json");
    let source = |name: &str, text: &str| Source::new(name, file.clone(), text.to_owned());
    match &config.tokenizer["chat_template"] {
        serde_json::Value::String(text) => vec![source(DEFAULT, text)],
        serde_json::Value::Array(list) => {
            list.iter().filter_map(|it| Some(source(it["name"].as_str()?, it["template"].as_str()?))).collect()
        }
        _ => Vec::new(),
    }
}

fn failure(source: &Source, error: &minijinja::Error, subject: &str) -> Error {
    let subject = subject.to_owned();
    if let Some(reason) = jinja::raised(error) {
        return Error::ChatRefused { subject, reason };
    }
    let (line, column) = source.rewritten.position(&source.text, error);
    let at = format!("{}, line {line}, column {column}", name(&source.file));
    let help = match error.kind() {
        ErrorKind::OutOfFuel => "the template does too much for one conversation: is there a loop in a loop?",
        _ => "the template is the checkpoint's: correct it there, or give the messages what it asks for",
    };
    Error::ChatTemplateFailed { subject, at, reason: jinja::reason(error), help }
}

/// `{% generation %}` becomes a condition that always holds, of the same length, so that errors keep their column.
fn without_generation_marks(source: &str) -> String {
    let mut text = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(begin) = rest.find("{%") {
        let (before, block) = rest.split_at(begin);
        let end = block.find("%}").map_or(block.len(), |end| end + 2);
        let (block, after) = block.split_at(end);
        text.push_str(before);
        match block.trim_matches(|it: char| "{%-+}".contains(it) || it.is_whitespace()) {
            "generation" => text.push_str(&block.replacen("generation", "if true   ", 1)),
            "endgeneration" => text.push_str(&block.replacen("endgeneration", "endif        ", 1)),
            _ => text.push_str(block),
        }
        rest = after;
    }
    text + rest
}

impl std::fmt::Debug for ChatTemplate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChatTemplate").field("sources", &self.sources).finish_non_exhaustive()
    }
}
