//! Where a text holds another, and what stands between.

use minijinja::value::ValueKind;
use minijinja::{Error, Value};

use super::super::arguments::{bind, required, string};
use super::super::characters::is_space;
use super::super::containers::bounds;
use super::super::{invalid, limits, text};

/// Methods that take a text and, after it, where to begin and to end.
pub(super) fn call(text: &str, method: &str, args: &[Value]) -> Result<Value, Error> {
    let [part, start, stop] = bind(args, ["", "", ""])?;
    let part = required(part, "sub")?;
    let length = text.chars().count();
    let begins_behind = match &start {
        Some(start) if !start.is_none() => super::super::arguments::integer(start)? > length as i64,
        _ => false,
    };
    let range = bounds(start, stop, length)?;
    let byte = |character: usize| text.char_indices().nth(character).map_or(text.len(), |(at, _)| at);
    // Even an empty text is not found behind the end.
    let is_nowhere = begins_behind || range.start > range.end;
    let (from, to) = (byte(range.start), byte(range.end.max(range.start)));
    let within = &text[from..to];
    if method == "startswith" || method == "endswith" {
        let parts = match part.kind() {
            ValueKind::Seq if part.is_tuple() => text::iterated(&part)?,
            _ => vec![part],
        };
        for part in parts {
            let part = string(&part)?;
            let fits = if method == "startswith" { within.starts_with(part) } else { within.ends_with(part) };
            if fits && !is_nowhere {
                return Ok(Value::from(true));
            }
        }
        return Ok(Value::from(false));
    }
    let part = string(&part)?;
    if method == "count" {
        let found = if part.is_empty() { within.chars().count() + 1 } else { within.matches(part).count() };
        return Ok(Value::from(if is_nowhere { 0 } else { found }));
    }
    let found = if method.starts_with('r') { within.rfind(part) } else { within.find(part) };
    match found.filter(|_| !is_nowhere) {
        Some(at) => Ok(Value::from(range.start + within[..at].chars().count())),
        None if method.ends_with("index") => Err(invalid("substring not found")),
        None => Ok(Value::from(-1)),
    }
}

/// What stands before the separator, it, and what stands behind it.
pub(super) fn parted(text: &str, separator: &str, is_last: bool) -> Result<[String; 3], Error> {
    if separator.is_empty() {
        return Err(invalid("empty separator"));
    }
    let found = if is_last { text.rsplit_once(separator) } else { text.split_once(separator) };
    let parts = match (found, is_last) {
        (Some((before, behind)), _) => [before, separator, behind],
        (None, false) => [text, "", ""],
        (None, true) => ["", "", text],
    };
    Ok(parts.map(str::to_owned))
}

/// `split` and `rsplit`: at a separator or at white space, at most so many times.
pub(super) fn pieces(
    text: &str,
    separator: Option<&str>,
    most: usize,
    is_from_end: bool,
) -> Result<Vec<String>, Error> {
    let most = most.min(text.len());
    let places = match separator {
        Some(separator) if !separator.is_empty() => text.matches(separator).count(),
        _ => text.matches(is_space).count(),
    };
    limits::check_items(places.min(most))?;
    let mut pieces: Vec<String> = match (separator, is_from_end) {
        (Some(""), _) => return Err(invalid("empty separator")),
        (Some(separator), false) => text.splitn(most + 1, separator).map(str::to_owned).collect(),
        (Some(separator), true) => text.rsplitn(most + 1, separator).map(str::to_owned).collect(),
        (None, false) => words(text, most),
        (None, true) => words_from_end(text, most),
    };
    if is_from_end {
        pieces.reverse();
    }
    Ok(pieces)
}

fn words(text: &str, most: usize) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = text.trim_start_matches(is_space);
    while !rest.is_empty() {
        let end = match words.len() < most {
            true => rest.find(is_space).unwrap_or(rest.len()),
            false => rest.len(),
        };
        words.push(rest[..end].to_owned());
        rest = rest[end..].trim_start_matches(is_space);
    }
    words
}

/// The last first.
fn words_from_end(text: &str, most: usize) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = text.trim_end_matches(is_space);
    while !rest.is_empty() {
        let last_space = rest.char_indices().rev().find(|(_, c)| is_space(*c)).map(|(at, c)| at + c.len_utf8());
        let start = if words.len() < most { last_space.unwrap_or(0) } else { 0 };
        words.push(rest[start..].to_owned());
        rest = rest[..start].trim_end_matches(is_space);
    }
    words
}

pub(in super::super) fn replaced(text: &str, old: &str, new: &str, most: usize) -> Result<String, Error> {
    // What is made may be a lot larger than what was given.
    let places = if old.is_empty() { text.chars().count() + 1 } else { text.matches(old).count() };
    let more = places.min(most).saturating_mul(new.len().saturating_sub(old.len()));
    limits::check_length(text.len().saturating_add(more))?;
    Ok(text.replacen(old, new, most))
}
