//! How Python writes values: `str` and `repr`.

use minijinja::value::ValueKind;
use minijinja::{Error, Value};

use super::characters::is_printable;
use super::containers::{Range, View};
use super::filters::Group;
use super::limits::{self, Text};
use super::{invalid, numbers};

/// `str(value)`: a string as it is, anything else as `repr` has it. Undefined values are empty.
pub(super) fn str(value: &Value) -> Result<String, Error> {
    match value.kind() {
        ValueKind::String => {
            let text = value.as_str().unwrap_or_default();
            limits::check_length(text.len())?;
            Ok(text.to_owned())
        }
        ValueKind::Undefined => Ok(String::new()),
        _ => repr(value),
    }
}

pub(super) fn repr(value: &Value) -> Result<String, Error> {
    let mut text = Text::default();
    write_repr(value, 0, &mut text)?;
    Ok(text.into_string())
}

fn write_repr(value: &Value, depth: usize, text: &mut Text) -> Result<(), Error> {
    limits::check_depth(depth)?;
    match value.kind() {
        ValueKind::Undefined => text.push_str("Undefined"),
        ValueKind::None => text.push_str("None"),
        ValueKind::Bool => text.push_str(if value.is_true() { "True" } else { "False" }),
        ValueKind::Number => text.push_str(&numbers::repr(value)),
        ValueKind::String => quote(value.as_str().unwrap_or_default(), text),
        ValueKind::Bytes => quote_bytes(value.as_bytes().unwrap_or_default(), text),
        ValueKind::Seq if value.downcast_object_ref::<Range>().is_some() => text.push_str(&value.to_string()),
        ValueKind::Seq if value.is_tuple() || value.downcast_object_ref::<Group>().is_some() => {
            let items = items(value)?;
            let close = if items.len() == 1 { ",)" } else { ")" };
            write_list("(", close, &items, depth, text)
        }
        ValueKind::Seq => write_list("[", "]", &items(value)?, depth, text),
        ValueKind::Map => write_map(value, depth, text),
        ValueKind::Iterable => match value.downcast_object_ref::<View>() {
            Some(view) => {
                text.push_str(view.name())?;
                write_list("[", "])", &items(value)?, depth, text)
            }
            // Two lists that were joined, which the engine goes through without making a third.
            None => write_list("[", "]", &items(value)?, depth, text),
        },
        // Functions and the like, of which Python shows where in memory they are.
        _ => text.push_str(&value.to_string()),
    }
}

fn items(value: &Value) -> Result<Vec<Value>, Error> {
    limits::collected(value.try_iter()?)
}

fn write_list(open: &str, close: &str, items: &[Value], depth: usize, text: &mut Text) -> Result<(), Error> {
    text.push_str(open)?;
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            text.push_str(", ")?;
        }
        write_repr(item, depth + 1, text)?;
    }
    text.push_str(close)
}

fn write_map(value: &Value, depth: usize, text: &mut Text) -> Result<(), Error> {
    text.push('{')?;
    for (index, key) in value.try_iter()?.enumerate() {
        if index > 0 {
            text.push_str(", ")?;
        }
        write_repr(&key, depth + 1, text)?;
        text.push_str(": ")?;
        write_repr(&value.get_item(&key)?, depth + 1, text)?;
    }
    text.push('}')
}

/// In single quotes, unless it holds those and no double ones.
fn quote(string: &str, text: &mut Text) -> Result<(), Error> {
    let mark = if string.contains('\'') && !string.contains('"') { '"' } else { '\'' };
    text.push(mark)?;
    for character in string.chars() {
        match character {
            '\\' => text.push_str("\\\\")?,
            '\n' => text.push_str("\\n")?,
            '\r' => text.push_str("\\r")?,
            '\t' => text.push_str("\\t")?,
            _ if character == mark => text.push_str(if mark == '"' { "\\\"" } else { "\\'" })?,
            _ if is_printable(character) => text.push(character)?,
            _ => text.push_str(&escape(character))?,
        }
    }
    text.push(mark)
}

/// `\x7f`, `\u200b`, `\U000e0001`
pub(super) fn escape(character: char) -> String {
    match u32::from(character) {
        code @ ..0x100 => format!("\\x{code:02x}"),
        code @ ..0x10000 => format!("\\u{code:04x}"),
        code => format!("\\U{code:08x}"),
    }
}

/// `repr` with all that is not ASCII escaped.
pub(super) fn ascii(value: &Value) -> Result<String, Error> {
    let escaped = |c: char| if c.is_ascii() { c.to_string() } else { escape(c) };
    Ok(repr(value)?.chars().map(escaped).collect())
}

fn quote_bytes(bytes: &[u8], text: &mut Text) -> Result<(), Error> {
    let mark = if bytes.contains(&b'\'') && !bytes.contains(&b'"') { '"' } else { '\'' };
    text.push('b')?;
    text.push(mark)?;
    for byte in bytes {
        match char::from(*byte) {
            '\\' => text.push_str("\\\\")?,
            '\n' => text.push_str("\\n")?,
            '\r' => text.push_str("\\r")?,
            '\t' => text.push_str("\\t")?,
            character if character == mark => text.push_str(if mark == '"' { "\\\"" } else { "\\'" })?,
            character @ ' '..='~' => text.push(character)?,
            _ => text.push_str(&format!("\\x{byte:02x}"))?,
        }
    }
    text.push(mark)
}

/// The name of a value's type in Python, as messages call it.
pub(super) fn type_name(value: &Value) -> &'static str {
    match value.kind() {
        ValueKind::Undefined => "Undefined",
        ValueKind::None => "NoneType",
        ValueKind::Bool => "bool",
        ValueKind::Number if value.is_integer() => "int",
        ValueKind::Number => "float",
        ValueKind::String => "str",
        ValueKind::Bytes => "bytes",
        ValueKind::Seq if value.is_tuple() => "tuple",
        ValueKind::Seq => "list",
        ValueKind::Map => "dict",
        _ => "object",
    }
}

/// The items of what Python can go through: of a string its characters, of a dict its keys.
pub(super) fn iterated(value: &Value) -> Result<Vec<Value>, Error> {
    if let Some(text) = value.as_str() {
        return limits::collected(text.chars().map(|c| Value::from(c.to_string())));
    }
    match value.kind() {
        ValueKind::Undefined => Ok(Vec::new()),
        ValueKind::Seq | ValueKind::Map | ValueKind::Iterable => items(value),
        _ => Err(invalid(format!("`{}` is not iterable", type_name(value)))),
    }
}
