//! Python's `format % values`.

use minijinja::value::ValueKind;
use minijinja::{Error, Value};

use super::limits::{self, Text};
use super::numbers::{self, Number};
use super::{invalid, text};

/// A width or precision beyond this is no layout of a text.
const MOST: usize = 100_000;

/// What stands between `%` and the letter.
#[derive(Debug, Clone, Copy, Default)]
struct Flags {
    left: bool,
    plus: bool,
    space: bool,
    zero: bool,
    alternate: bool,
}

/// The values in the order in which they are asked for.
struct Values<'a> {
    whole: &'a Value,
    items: Vec<Value>,
    next: usize,
    by_name: bool,
    /// Bytes of the texts that precisions cut so far.
    cut: usize,
}

impl<'a> Values<'a> {
    fn of(whole: &'a Value) -> Result<Self, Error> {
        let items = match whole.kind() == ValueKind::Seq && whole.is_tuple() {
            true => whole.try_iter()?.collect(),
            false => vec![whole.clone()],
        };
        Ok(Self { whole, items, next: 0, by_name: false, cut: 0 })
    }

    fn next(&mut self) -> Result<Value, Error> {
        let value = self.items.get(self.next).cloned();
        self.next += 1;
        value.ok_or_else(|| invalid("not enough arguments for format string"))
    }

    fn named(&mut self, name: &str) -> Result<Value, Error> {
        self.by_name = true;
        if self.whole.kind() != ValueKind::Map {
            return Err(invalid("format requires a mapping"));
        }
        let value = self.whole.get_item(&Value::from(name))?;
        if value.is_undefined() { Err(invalid(format!("the mapping has no `{name}`"))) } else { Ok(value) }
    }

    /// What is left over of a tuple, or of a value that is neither a dict nor asked for, is an error.
    fn finish(self) -> Result<(), Error> {
        let may_be_idle = matches!(self.whole.kind(), ValueKind::Map | ValueKind::Seq) && !self.whole.is_tuple();
        match self.next < self.items.len() && !self.by_name && !may_be_idle {
            true => Err(invalid("not all arguments converted during string formatting")),
            false => Ok(()),
        }
    }
}

pub(super) fn format(format: &str, values: &Value) -> Result<String, Error> {
    let mut values = Values::of(values)?;
    let mut text = Text::default();
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        text.push_str(&rest[..at])?;
        rest = conversion(&rest[at + 1..], &mut values, &mut text)?;
    }
    text.push_str(rest)?;
    values.finish()?;
    Ok(text.into_string())
}

/// Writes one conversion; returned is what stands behind it.
fn conversion<'a>(mut rest: &'a str, values: &mut Values<'_>, text: &mut Text) -> Result<&'a str, Error> {
    let named = match rest.strip_prefix('(') {
        Some(name) => {
            let end = closing(name).ok_or_else(|| invalid("incomplete format key"))?;
            rest = &name[end + 1..];
            Some(values.named(&name[..end])?)
        }
        None => None,
    };
    let mut flags = Flags::default();
    loop {
        match rest.chars().next() {
            Some('-') => flags.left = true,
            Some('+') => flags.plus = true,
            Some(' ') => flags.space = true,
            Some('0') => flags.zero = true,
            Some('#') => flags.alternate = true,
            _ => break,
        }
        rest = &rest[1..];
    }
    let (width, behind) = length(rest, values)?;
    rest = behind;
    if width.is_some_and(|width| width < 0) {
        flags.left = true;
    }
    let precision = match rest.strip_prefix('.') {
        Some(behind) => {
            let (precision, behind) = length(behind, values)?;
            rest = behind;
            Some(usize::try_from(precision.unwrap_or(0)).unwrap_or(0))
        }
        None => None,
    };
    // Sizes as C has them mean nothing.
    rest = rest.strip_prefix(['h', 'l', 'L']).unwrap_or(rest);
    let kind = rest.chars().next().ok_or_else(|| invalid("incomplete format"))?;
    rest = &rest[kind.len_utf8()..];
    let width = width.map_or(0, |width| width.unsigned_abs() as usize);
    if width.max(precision.unwrap_or(0)) > MOST {
        return Err(invalid("a width or precision of the format is too large"));
    }
    if kind == '%' {
        text.push('%')?;
        return Ok(rest);
    }
    let value = named.map_or_else(|| values.next(), Ok)?;
    text.push_str(&converted(&value, kind, flags, width, precision, &mut values.cut)?)?;
    Ok(rest)
}

/// Where the bracket that was opened closes.
fn closing(name: &str) -> Option<usize> {
    let mut depth = 0;
    name.char_indices().find_map(|(at, character)| match character {
        '(' => {
            depth += 1;
            None
        }
        ')' if depth == 0 => Some(at),
        ')' => {
            depth -= 1;
            None
        }
        _ => None,
    })
}

fn length<'a>(rest: &'a str, values: &mut Values<'_>) -> Result<(Option<i64>, &'a str), Error> {
    if let Some(behind) = rest.strip_prefix('*') {
        return Ok((Some(super::arguments::integer(&values.next()?)?), behind));
    }
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    match digits {
        0 => Ok((None, rest)),
        _ => {
            let length = rest[..digits].parse().map_err(|_| invalid("a width of the format is too large"))?;
            Ok((Some(length), &rest[digits..]))
        }
    }
}

fn converted(
    value: &Value,
    kind: char,
    flags: Flags,
    width: usize,
    precision: Option<usize>,
    cut: &mut usize,
) -> Result<String, Error> {
    let body = match kind {
        's' | 'r' | 'a' => {
            let text = match kind {
                's' => text::str(value)?,
                'r' => text::repr(value)?,
                _ => text::ascii(value)?,
            };
            let text = match precision {
                Some(precision) => {
                    // It was made as a whole.
                    *cut += text.len();
                    limits::check_length(*cut)?;
                    text.chars().take(precision).collect()
                }
                None => text,
            };
            return Ok(padded("", &text, Flags { zero: false, ..flags }, width));
        }
        'c' => return Ok(padded("", &character(value)?, Flags { zero: false, ..flags }, width)),
        'd' | 'i' | 'u' => {
            let number = Number::of(value).and_then(Number::truncated);
            integer(number.ok_or_else(|| unfit(kind, "a real number", value))?, kind, flags, precision)
        }
        'x' | 'X' | 'o' => {
            let number = Number::of(value).and_then(Number::integer);
            integer(number.ok_or_else(|| unfit(kind, "an integer", value))?, kind, flags, precision)
        }
        'e' | 'E' | 'f' | 'F' | 'g' | 'G' => {
            let float = match value.as_str() {
                Some(_) => None,
                None => Number::of(value),
            };
            let float = float.ok_or_else(|| invalid(format!("must be real number, not {}", text::type_name(value))))?;
            float_digits(float.float(), kind, flags, precision)
        }
        other => return Err(invalid(format!("unsupported format character `{other}`"))),
    };
    let (digits, is_negative) = match body.strip_prefix('-') {
        Some(digits) => (digits, true),
        None => (body.as_str(), false),
    };
    let sign = match (is_negative, flags.plus, flags.space) {
        (true, ..) => "-",
        (false, true, _) => "+",
        (false, false, true) => " ",
        (false, false, false) => "",
    };
    let prefix = ["0x", "0X", "0o"].into_iter().find(|prefix| flags.alternate && digits.starts_with(prefix));
    let (prefix, digits) = prefix.map_or(("", digits), |prefix| digits.split_at(prefix.len()));
    Ok(padded(&format!("{sign}{prefix}"), digits, flags, width))
}

fn unfit(kind: char, wanted: &str, value: &Value) -> Error {
    invalid(format!("%{kind} format: {wanted} is required, not {}", text::type_name(value)))
}

/// A string of one character, or the number of one.
fn character(value: &Value) -> Result<String, Error> {
    if let Some(text) = value.as_str() {
        return match text.chars().count() {
            1 => Ok(text.to_owned()),
            _ => Err(invalid("%c requires an int or a unicode character")),
        };
    }
    let code = Number::of(value).and_then(Number::integer).and_then(|code| u32::try_from(code).ok());
    code.and_then(char::from_u32).map(String::from).ok_or_else(|| invalid("%c requires an int or a unicode character"))
}

fn integer(number: i128, kind: char, flags: Flags, precision: Option<usize>) -> String {
    let magnitude = number.unsigned_abs();
    let (prefix, digits) = match kind {
        'x' => ("0x", format!("{magnitude:x}")),
        'X' => ("0X", format!("{magnitude:X}")),
        'o' => ("0o", format!("{magnitude:o}")),
        _ => ("", magnitude.to_string()),
    };
    let prefix = if flags.alternate { prefix } else { "" };
    let sign = if number < 0 { "-" } else { "" };
    format!("{sign}{prefix}{digits:0>width$}", width = precision.unwrap_or(0))
}

/// The digits of a float in one of C's forms.
fn float_digits(float: f64, kind: char, flags: Flags, precision: Option<usize>) -> String {
    if !float.is_finite() {
        let text = numbers::not_finite(float).to_owned();
        return if kind.is_uppercase() { text.to_uppercase() } else { text };
    }
    let precision = precision.unwrap_or(6);
    let mut text = match kind.to_ascii_lowercase() {
        'e' => numbers::exponential(float, precision),
        'f' => numbers::fixed(float, precision),
        _ => numbers::general(float, precision, flags.alternate),
    };
    if flags.alternate && !text.contains('.') {
        text.insert(text.find('e').unwrap_or(text.len()), '.');
    }
    if kind.is_uppercase() { text.to_uppercase() } else { text }
}

fn padded(prefix: &str, body: &str, flags: Flags, width: usize) -> String {
    let missing = width.saturating_sub(prefix.chars().count() + body.chars().count());
    match (flags.left, flags.zero) {
        (true, _) => format!("{prefix}{body}{}", " ".repeat(missing)),
        (false, true) => format!("{prefix}{}{body}", "0".repeat(missing)),
        (false, false) => format!("{}{prefix}{body}", " ".repeat(missing)),
    }
}
