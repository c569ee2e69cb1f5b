//! Python's `str.format`: fields, and the small language of their formats.

mod spec;

use std::collections::HashMap;

use minijinja::value::ValueKind;
use minijinja::{Error, Value};

use super::limits::{self, Text};
use super::{invalid, text};
pub(super) use spec::formatted;

/// Fields within the formats of fields.
const DEEPEST: usize = 2;

/// The values of the fields: by number, or by name.
pub(super) struct Values<'a> {
    pub(super) positional: &'a [Value],
    pub(super) named: HashMap<String, Value>,
    /// The next of the fields without a number; `None` after one with a number.
    next: Option<usize>,
    numbered: bool,
    /// Bytes of the texts that `!r` and the like made so far.
    converted: usize,
}

impl<'a> Values<'a> {
    pub(super) fn new(positional: &'a [Value], named: HashMap<String, Value>) -> Self {
        Self { positional, named, next: Some(0), numbered: false, converted: 0 }
    }

    fn get(&mut self, name: &str) -> Result<Value, Error> {
        if name.is_empty() {
            if self.numbered {
                return Err(invalid("cannot switch from manual field specification to automatic field numbering"));
            }
            let index = self.next.unwrap_or(0);
            self.next = Some(index + 1);
            return self.positional(index);
        }
        if name.chars().all(|c| c.is_ascii_digit()) {
            if self.next.is_some_and(|next| next > 0) {
                return Err(invalid("cannot switch from automatic field numbering to manual field specification"));
            }
            self.numbered = true;
            return self.positional(name.parse().map_err(|_| invalid("too many decimal digits in format string"))?);
        }
        let named = self.named.get(name).cloned();
        named.ok_or_else(|| invalid(format!("the format names `{name}`, which is not given")))
    }

    fn positional(&self, index: usize) -> Result<Value, Error> {
        let value = self.positional.get(index).cloned();
        value.ok_or_else(|| invalid(format!("replacement index {index} out of range for positional args tuple")))
    }
}

pub(super) fn format(format: &str, values: &mut Values<'_>) -> Result<String, Error> {
    filled(format, values, 0)
}

fn filled(format: &str, values: &mut Values<'_>, depth: usize) -> Result<String, Error> {
    if depth > DEEPEST {
        return Err(invalid("max string recursion exceeded"));
    }
    let mut text = Text::default();
    let mut rest = format;
    while let Some(at) = rest.find(['{', '}']) {
        text.push_str(&rest[..at])?;
        let (sign, behind) = rest[at..].split_at(1);
        if behind.starts_with(sign) {
            text.push_str(sign)?;
            rest = &behind[1..];
            continue;
        }
        if sign == "}" {
            return Err(invalid("single `}` encountered in format string"));
        }
        let end = field_end(behind).ok_or_else(|| invalid("expected `}` before end of string"))?;
        text.push_str(&field(&behind[..end], values, depth)?)?;
        rest = &behind[end + 1..];
    }
    text.push_str(rest)?;
    Ok(text.into_string())
}

/// The bracket that closes a field, past those of fields in its format.
fn field_end(text: &str) -> Option<usize> {
    let mut depth = 0;
    let mut in_subscript = false;
    for (at, character) in text.char_indices() {
        match character {
            '[' if depth == 0 => in_subscript = true,
            ']' => in_subscript = false,
            '{' if !in_subscript => depth += 1,
            '}' if !in_subscript && depth == 0 => return Some(at),
            '}' if !in_subscript => depth -= 1,
            _ => (),
        }
    }
    None
}

fn field(field: &str, values: &mut Values<'_>, depth: usize) -> Result<String, Error> {
    // The name may hold both signs between square brackets.
    let mut in_subscript = false;
    let name_end = field.find(|c: char| {
        match c {
            '[' => in_subscript = true,
            ']' => in_subscript = false,
            _ => (),
        }
        !in_subscript && (c == '!' || c == ':')
    });
    let (name, rest) = field.split_at(name_end.unwrap_or(field.len()));
    let value = looked_up(name, values)?;
    let (conversion, spec) = match rest.strip_prefix('!') {
        Some(rest) => {
            let (conversion, spec) = rest.split_once(':').unwrap_or((rest, ""));
            (Some(conversion), spec)
        }
        None => (None, rest.strip_prefix(':').unwrap_or("")),
    };
    let spec = filled(spec, values, depth + 1)?;
    let value = match conversion {
        None => value,
        Some("r") => Value::from(text::repr(&value)?),
        Some("s") => Value::from(text::str(&value)?),
        Some("a") => Value::from(text::ascii(&value)?),
        Some(other) => return Err(invalid(format!("unknown conversion specifier `{other}`"))),
    };
    if conversion.is_some() {
        // It is written as a whole even if its format cuts it.
        values.converted += value.as_str().map_or(0, str::len);
        limits::check_length(values.converted)?;
    }
    formatted(&value, &spec)
}

/// `a.b[0][key]`
fn looked_up(name: &str, values: &mut Values<'_>) -> Result<Value, Error> {
    let end = name.find(['.', '[']).unwrap_or(name.len());
    let mut value = values.get(&name[..end])?;
    let mut rest = &name[end..];
    while !rest.is_empty() {
        if let Some(subscript) = rest.strip_prefix('[') {
            let (key, behind) = subscript.split_once(']').ok_or_else(|| invalid("missing `]` in format string"))?;
            value = match key.parse::<usize>() {
                Ok(index) => value.get_item(&Value::from(index))?,
                Err(_) => value.get_item(&Value::from(key))?,
            };
            rest = behind;
        } else if let Some(attribute) = rest.strip_prefix('.') {
            let end = attribute.find(['.', '[']).unwrap_or(attribute.len());
            value = value.get_attr(&attribute[..end])?;
            rest = &attribute[end..];
        } else {
            return Err(invalid("only `.` or `[` may follow `]` in format field specifier"));
        }
        if value.kind() == ValueKind::Undefined {
            return Err(invalid(format!("`{name}` of the format is undefined")));
        }
    }
    Ok(value)
}
