//! Filters for HTML and addresses, which few chat templates have.

use minijinja::value::ValueKind;
use minijinja::{Environment, Error, State, Value};

use super::super::arguments::{Args, bind, flag, values};
use super::super::containers::pairs;
use super::super::limits::{self, Text};
use super::super::{invalid, text};

pub(super) fn add_to(environment: &mut Environment<'static>) {
    for name in ["escape", "e"] {
        environment.add_filter(name, |value: &Value| match value.is_safe() {
            true => Ok(value.clone()),
            false => escaped(value),
        });
    }
    environment.add_filter("forceescape", escaped);
    environment
        .add_filter("striptags", |state: &mut State<'_, '_>, value: &Value| without_tags(state, &text::str(value)?));
    environment.add_filter("xmlattr", attributes);
    environment.add_filter("urlencode", url_encoded);
}

fn escaped(value: &Value) -> Result<Value, Error> {
    Ok(Value::from_safe_string(escape(&text::str(value)?)?))
}

pub(super) fn escape(text: &str) -> Result<String, Error> {
    let mut escaped = Text::default();
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&#34;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(character),
        }?;
    }
    Ok(escaped.into_string())
}

/// Without tags and comments, with single spaces, and with entities resolved.
fn without_tags(state: &State<'_, '_>, text: &str) -> Result<String, Error> {
    let mut uncommented = text.to_owned();
    while let Some(start) = uncommented.find("<!--") {
        let Some(length) = uncommented[start..].find("-->") else { break };
        // What follows is moved, and may be a comment with what came before.
        state.consume_fuel((uncommented.len() / 64) as u64)?;
        uncommented.replace_range(start..start + length + "-->".len(), "");
    }
    let mut plain = String::with_capacity(uncommented.len());
    let mut rest = uncommented.as_str();
    while let Some((before, tag)) = rest.split_once('<') {
        let Some((_, behind)) = tag.split_once('>') else { break };
        plain += before;
        rest = behind;
    }
    plain += rest;
    let words: Vec<&str> = limits::collected(plain.split_whitespace())?;
    Ok(unescape(&words.join(" ")))
}

/// The entities that texts have, and characters by their number.
fn unescape(text: &str) -> String {
    const NAMED: [(&str, char); 7] =
        [("amp", '&'), ("lt", '<'), ("gt", '>'), ("quot", '"'), ("apos", '\''), ("nbsp", '\u{a0}'), ("copy", '©')];
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        plain += &rest[..at];
        rest = &rest[at..];
        let end = rest.bytes().take(12).position(|byte| byte == b';');
        let character = end.and_then(|end| {
            let name = &rest[1..end];
            match name.strip_prefix('#') {
                Some(number) => {
                    let code = match number.strip_prefix(['x', 'X']) {
                        Some(digits) => u32::from_str_radix(digits, 16),
                        None => number.parse(),
                    };
                    code.ok().and_then(char::from_u32)
                }
                None => NAMED.iter().find(|(known, _)| *known == name).map(|(_, character)| *character),
            }
        });
        match (character, end) {
            (Some(character), Some(end)) => {
                plain.push(character);
                rest = &rest[end + 1..];
            }
            _ => {
                plain.push('&');
                rest = &rest[1..];
            }
        }
    }
    plain + rest
}

/// ` class="a" id="b"`, without what is none or undefined.
fn attributes(state: &State<'_, '_>, value: &Value, args: Args) -> Result<Value, Error> {
    let [autospace] = bind(&values(args), ["autospace"])?;
    let mut written = Text::default();
    let mut space = if flag(autospace, true) { " " } else { "" };
    let pairs = pairs(value)?;
    limits::pay_for_items(state, pairs.len())?;
    for (key, value) in pairs.into_iter().filter(|(_, value)| !value.is_none() && !value.is_undefined()) {
        let key = text::str(&key)?;
        if key.contains(|c: char| c.is_whitespace() || "/>=".contains(c)) {
            return Err(invalid(format!("invalid character in attribute name: `{key}`")));
        }
        written.push_str(&format!("{space}{}=\"{}\"", escape(&key)?, escape(&text::str(&value)?)?))?;
        space = " ";
    }
    Ok(Value::from(written.into_string()))
}

/// A text with `%20` for a space; the pairs of a dict or a list as a query, where it is a `+`.
fn url_encoded(value: &Value) -> Result<String, Error> {
    let pairs = match value.kind() {
        ValueKind::Map => pairs(value)?,
        ValueKind::Seq | ValueKind::Iterable => {
            let pair = |item: Value| match text::iterated(&item)?.as_slice() {
                [key, value] => Ok((key.clone(), value.clone())),
                _ => Err(invalid("a query is made of pairs")),
            };
            value.try_iter()?.map(pair).collect::<Result<_, Error>>()?
        }
        _ => return quoted(&text::str(value)?, true),
    };
    let part = |value: &Value| Ok::<String, Error>(quoted(&text::str(value)?, false)?.replace("%20", "+"));
    let mut query = Text::default();
    for (number, (key, value)) in pairs.iter().enumerate() {
        let and = if number == 0 { "" } else { "&" };
        query.push_str(&format!("{and}{}={}", part(key)?, part(value)?))?;
    }
    Ok(query.into_string())
}

fn quoted(text: &str, keep_slashes: bool) -> Result<String, Error> {
    let mut quoted = Text::default();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-' | b'~' => quoted.push(byte.into()),
            b'/' if keep_slashes => quoted.push('/'),
            _ => quoted.push_str(&format!("%{byte:02X}")),
        }?;
    }
    Ok(quoted.into_string())
}
