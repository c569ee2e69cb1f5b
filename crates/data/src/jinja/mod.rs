//! Jinja2 as Transformers sets it up for chat templates, done by minijinja: what templates write is what
//! `apply_chat_template` writes, character for character.
//!
//! minijinja brings the language and most of its filters and tests. What it writes or computes otherwise than Python is
//! here: how values are printed (`text`), operators (`rewrite`, `operators`), `'%s' % x` (`printf`) and `str.format`
//! (`format`), the methods of Python's types (`strings`, `containers`, `numbers`), and filters and tests.
//! `table.json` holds several hundred expressions with what Jinja2 makes of them.

mod arguments;
mod characters;
mod containers;
mod filters;
mod format;
mod json;
mod limits;
mod numbers;
mod operators;
mod printf;
mod rewrite;
mod strings;
#[cfg(test)]
mod table;
mod tests;
mod text;

use std::error::Error as _;
use std::fmt;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Rest, ValueKind};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Output, State, UndefinedBehavior, Value};

pub(crate) use rewrite::Rewritten;

/// `_compile_jinja_template` of Transformers: blocks take their line with them, and strings, lists and objects have
/// Python's methods. Templates are added with [`add`].
pub(crate) fn environment(undefined: UndefinedBehavior) -> Environment<'static> {
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    environment.set_syntax(syntax.expect("only delimiters can be wrong, and none was changed"));
    environment.set_undefined_behavior(undefined);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_unknown_method_callback(method);
    environment.set_formatter(write);
    environment.set_fuel(Some(limits::FUEL));
    // Errors then say which value was undefined, and in which column of the template.
    environment.set_debug(true);
    operators::add_to(&mut environment);
    limits::add_to(&mut environment);
    filters::add_to(&mut environment);
    tests::add_to(&mut environment);
    environment.add_global("dict", containers::dict_type());
    environment.add_function("range", containers::Range::of);
    environment.add_function("cycler", |items: Rest<Value>| minijinja_contrib::globals::cycler(items.0));
    environment.add_function("joiner", minijinja_contrib::globals::joiner);
    environment.add_function("raise_exception", |message: &Value| -> Result<String, Error> {
        let message = text::str(message)?;
        Err(Error::new(ErrorKind::InvalidOperation, message.clone()).with_source(Raised(message)))
    });
    environment
}

/// Lets `{{ x }}` write nothing where the value is none.
pub(crate) fn write_nothing_for_none(environment: &mut Environment<'static>) {
    environment.set_formatter(|output, state, value| match value.is_none() {
        true => Ok(()),
        false => write(output, state, value),
    });
}

fn write(output: &mut Output<'_>, _: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    output.write_str(&text::str(value)?).map_err(Error::from)
}

/// Adds a template; returned is what tells the places of its errors.
pub(crate) fn add(environment: &mut Environment<'static>, name: &str, source: &str) -> Result<Rewritten, Fault> {
    let rewritten = Rewritten::of(source).map_err(|error| Fault { position: (1, 1), reason: reason(&error) })?;
    let added = environment.add_template_owned(name.to_owned(), rewritten.text().to_owned());
    let Err(error) = added else { return Ok(rewritten) };
    // What is wrong is said of the template as it was written. One that is wrong in the engine's form alone would go without limits.
    let written = Rewritten::unchanged(source);
    let (error, position) = match environment.add_template_owned(name.to_owned(), source.to_owned()) {
        Ok(()) => {
            environment.remove_template(name);
            let position = rewritten.position(source, &error);
            (error, position)
        }
        Err(error) => {
            let position = written.position(source, &error);
            (error, position)
        }
    };
    Err(Fault { position, reason: reason(&error) })
}

/// What is wrong with a template.
pub(crate) struct Fault {
    /// Line and column, both from 1.
    pub(crate) position: (usize, usize),
    pub(crate) reason: String,
}

/// What minijinja found, without the position.
pub(crate) fn reason(error: &Error) -> String {
    match (error.kind(), error.detail()) {
        (ErrorKind::SyntaxError | ErrorKind::UndefinedError, Some(detail)) => detail.to_owned(),
        (kind, Some(detail)) => format!("{kind}: {detail}"),
        (kind, None) => kind.to_string(),
    }
}

fn method(state: &mut State<'_, '_>, value: &Value, method: &str, args: &[Value]) -> Result<Value, Error> {
    for text in std::iter::once(value).chain(args) {
        limits::pay_for_text(state, text)?;
    }
    match value.kind() {
        ValueKind::String => strings::call(state, value, method, args),
        ValueKind::Number | ValueKind::Bool => numbers::call(value, method, args),
        ValueKind::Bytes => strings::call_bytes(value, method, args),
        ValueKind::Map => containers::call_map(state, value, method, args),
        ValueKind::Seq => containers::call_list(state, value, method, args),
        _ => Err(Error::from(ErrorKind::UnknownMethod)),
    }
}

/// Where undefined values are errors, as in templates over the columns of a row, says which one is.
fn check_defined(state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    match value.is_undefined() && state.undefined_behavior() == UndefinedBehavior::Strict {
        true => state.format(value.clone()).map(|_| ()),
        false => Ok(()),
    }
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message.into())
}

/// What the template said with `raise_exception`.
pub(crate) fn raised(error: &Error) -> Option<String> {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(Raised(message)) = cause.downcast_ref() {
            return Some(message.clone());
        }
        source = cause.source();
    }
    None
}

#[derive(Debug)]
struct Raised(String);

impl fmt::Display for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Raised {}
