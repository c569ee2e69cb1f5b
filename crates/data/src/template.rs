//! Texts put together from the columns of a row by a template in Jinja's language, as `data.text_template` holds it. It
//! is set up as Transformers sets up the templates of chats; anything a row lacks is an error, never an empty text.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use minijinja::value::Serde;
use minijinja::{Environment, ErrorKind, UndefinedBehavior, Value, context};

use crate::jinja::{self, Rewritten};
use crate::record::Record;
use crate::{Error, Place};

/// The whole record, for columns whose names are no words: `{{ row["my column"] }}`. A column of this name goes first.
const ROW: &str = "row";

/// A template that was read, with the configuration key it stands under.
#[derive(Clone)]
pub struct Template {
    key: Arc<str>,
    source: Arc<str>,
    rewritten: Rewritten,
    /// Holds the one template, by the name `key`.
    environment: Arc<Environment<'static>>,
}

impl Template {
    /// Reads a template. `key` is what messages call it, for example `data.text_template`.
    pub fn new(key: &str, source: &str) -> Result<Self, Error> {
        let mut environment = environment();
        let rewritten = jinja::add(&mut environment, key, source).map_err(|fault| {
            let ((line, column), reason) = (fault.position, fault.reason);
            Error::TemplateSyntax { key: key.to_owned(), line, column, reason }
        })?;
        Ok(Self { key: key.into(), source: source.into(), rewritten, environment: Arc::new(environment) })
    }

    /// What messages call it.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// The template as it was written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The columns that it names, sorted. Those that it takes out of `row` are not among them.
    pub fn columns(&self) -> Vec<String> {
        let functions: Vec<&str> = self.environment.globals().map(|(name, _)| name).collect();
        let names = self.variables().into_iter();
        names.filter(|name| name != ROW && !functions.contains(&name.as_str())).collect()
    }

    fn variables(&self) -> Vec<String> {
        let template = self.environment.get_template(&self.key);
        let mut names: Vec<String> =
            template.map(|it| it.undeclared_variables(false).into_iter().collect()).unwrap_or_default();
        names.sort();
        names
    }

    /// Every column that the template names must be in the first row of the file.
    pub fn check(&self, file: &Path, first: &Record) -> Result<(), Error> {
        let Some(column) = self.columns().into_iter().find(|column| !first.fields.contains_key(column)) else {
            return Ok(());
        };
        let suggestion = match suggest::nearest(&column, first.columns()) {
            Some(name) => format!("`{}` names it: did you mean `{name}`?", self.key),
            None => format!("`{}` names it; {{{{ ... }}}} holds the name of a column", self.key),
        };
        let columns = suggest::list(first.columns());
        Err(Error::MissingColumn { file: file.to_owned(), column, columns, suggestion: suggestion.into() })
    }

    /// As `check`, for a text that is all a row has: a template without a column, most likely a name that lacks its
    /// braces, would make all rows the same.
    pub(crate) fn check_text(&self, file: &Path, first: &Record) -> Result<(), Error> {
        if self.variables().is_empty() {
            return Err(Error::ConstantTemplate { key: self.key.to_string() });
        }
        self.check(file, first)
    }

    /// The text of a row. Null becomes an empty text.
    pub fn render(&self, file: &Path, record: &Record) -> Result<String, Error> {
        let row = Value::from(Serde(&record.fields));
        let values = context! { ..row.clone(), ..context! { row } };
        let rendered = self.environment.get_template(&self.key).and_then(|template| template.render(values));
        rendered.map_err(|error| self.row_error(file, record, &error))
    }

    /// The text of a row where an empty one is of no use.
    pub(crate) fn text(&self, file: &Path, record: &Record) -> Result<String, Error> {
        let text = self.render(file, record)?;
        if text.trim().is_empty() {
            return Err(Error::EmptyRendered { place: Place::new(file, record.line), key: self.key.to_string() });
        }
        Ok(text)
    }

    fn row_error(&self, file: &Path, record: &Record, error: &minijinja::Error) -> Error {
        let lacking = self.columns().into_iter().find(|column| !record.fields.contains_key(column));
        let help = match (error.kind(), lacking) {
            (ErrorKind::UndefinedError, Some(column)) => {
                format!("the row has no column `{column}`: give it one, or write {{{{ {column} | default(\"\") }}}}")
            }
            (ErrorKind::UndefinedError, None) => {
                format!("the row has no such value (columns: {})", suggest::list(record.columns()))
            }
            (ErrorKind::OutOfFuel, _) => {
                "the template does too much for one row: is there a loop in a loop?".to_owned()
            }
            _ => format!("correct `{}`, or the row", self.key),
        };
        let (line, column) = self.rewritten.position(&self.source, error);
        let at = format!("`{}`, line {line}, column {column}", self.key);
        Error::TemplateRow { place: Place::new(file, record.line), at, reason: jinja::reason(error), help }
    }
}

/// As for chat templates, but for values that are undefined, which are empty there, and for null, which is nothing to say.
fn environment() -> Environment<'static> {
    let mut environment = jinja::environment(UndefinedBehavior::Strict);
    jinja::write_nothing_for_none(&mut environment);
    environment
}

impl PartialEq for Template {
    fn eq(&self, other: &Self) -> bool {
        (&self.key, &self.source) == (&other.key, &other.source)
    }
}

impl Eq for Template {}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Template").field("key", &self.key).field("source", &self.source).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
