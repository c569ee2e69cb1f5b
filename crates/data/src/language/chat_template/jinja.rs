//! Jinja2 as Transformers sets it up for chat templates, done by minijinja.

use std::error::Error as _;
use std::fmt;
use std::time::SystemTime;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Kwargs;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior};
use minijinja_contrib::pycompat::unknown_method_callback;

use super::{json, strftime};

/// Steps of a template for one conversation, each an instruction or 64 bytes of text: some gigabytes of messages, or a
/// loop that never ends.
const FUEL: u64 = 50_000_000;

/// `_compile_jinja_template` of Transformers: blocks take their line with them, undefined values are empty but have no
/// attributes, and strings, lists and objects have Python's methods.
pub(super) fn environment(now: SystemTime) -> Environment<'static> {
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    environment.set_syntax(syntax.expect("only delimiters can be wrong, and none was changed"));
    environment.set_undefined_behavior(UndefinedBehavior::Lenient);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_unknown_method_callback(unknown_method_callback);
    environment.set_fuel(Some(FUEL));
    environment.set_debug(true);
    environment.add_filter("tojson", json::tojson);
    environment.add_filter("indent", indent);
    environment.add_function("raise_exception", |message: String| -> Result<String, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, message.clone()).with_source(Raised(message)))
    });
    environment.add_function("strftime_now", move |format: String| strftime::strftime(now, &format));
    environment
}

/// Jinja2's, which keeps a line break at the end; minijinja's own drops it.
fn indent(
    text: String,
    width: Option<u8>,
    first: Option<bool>,
    blank: Option<bool>,
    options: Kwargs,
) -> Result<String, Error> {
    let width = width.or(options.get("width")?).unwrap_or(4);
    let first = first.or(options.get("first")?).unwrap_or(false);
    let blank = blank.or(options.get("blank")?).unwrap_or(false);
    options.assert_all_used()?;
    let lines = text.split('\n').enumerate().map(|(number, line)| {
        let is_indented = if number == 0 { first } else { blank || !line.is_empty() };
        if is_indented { " ".repeat(width.into()) + line } else { line.to_owned() }
    });
    Ok(lines.collect::<Vec<_>>().join("\n"))
}

/// What the template said with `raise_exception`.
pub(super) fn raised(error: &Error) -> Option<String> {
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

/// `{% generation %}` becomes a condition that always holds, of the same length, so that errors keep their column.
pub(super) fn without_generation_marks(source: &str) -> String {
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
