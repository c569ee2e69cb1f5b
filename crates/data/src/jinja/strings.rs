//! The methods of Python's strings, and the two of its bytes that have a use in a text. Places and lengths are in
//! characters.

mod cases;
mod encodings;
mod lines;
mod search;

use std::collections::{HashMap, HashSet};

use minijinja::value::Tuple;
use minijinja::{Error, ErrorKind, State, Value};

use super::arguments::{bind, count, given, integer, required, split, string};
use super::characters::{
    is_alpha, is_alphanumeric, is_cased, is_decimal, is_digit, is_numeric, is_printable, is_space,
};
use super::limits::{self, Text};
use super::{format, invalid, text};

pub(super) use cases::{capitalized, titled};
pub(super) use encodings::call_bytes;
pub(super) use search::replaced;

pub(super) fn call(state: &State<'_, '_>, value: &Value, method: &str, args: &[Value]) -> Result<Value, Error> {
    let text = string(value)?;
    // Those that ask of every character what kind it is.
    if method.starts_with("is") || matches!(method, "title" | "swapcase" | "casefold") {
        limits::pay_for_characters(state, text)?;
    }
    let all = |is_of_it: fn(char) -> bool| !text.is_empty() && text.chars().all(is_of_it);
    let answer = match method {
        "isalpha" => all(is_alpha),
        "isalnum" => all(is_alphanumeric),
        "isdecimal" => all(is_decimal),
        "isdigit" => all(is_digit),
        "isnumeric" => all(is_numeric),
        "isspace" => all(is_space),
        "isascii" => text.is_ascii(),
        "isprintable" => text.chars().all(is_printable),
        "islower" => text.chars().any(is_cased) && !text.chars().any(char::is_uppercase),
        "isupper" => text.chars().any(char::is_uppercase) && !text.chars().any(char::is_lowercase),
        "istitle" => cases::is_title(text),
        "isidentifier" => is_identifier(text),
        _ => return made(state, text, method, args),
    };
    let [] = bind(args, [])?;
    Ok(Value::from(answer))
}

fn is_identifier(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_') && text.chars().all(|c| c.is_alphanumeric() || c == '_')
}

/// Methods that give another string, or several.
fn made(state: &State<'_, '_>, text: &str, method: &str, args: &[Value]) -> Result<Value, Error> {
    let made = match method {
        "upper" => text.to_uppercase(),
        "lower" => text.to_lowercase(),
        "casefold" => super::characters::folded(text),
        "swapcase" => cases::swapped(text),
        "title" => titled(text, |c| c.is_alphabetic()),
        "capitalize" => capitalized(text),
        _ => return with_arguments(state, text, method, args),
    };
    let [] = bind(args, [])?;
    Ok(Value::from(made))
}

fn with_arguments(state: &State<'_, '_>, text: &str, method: &str, args: &[Value]) -> Result<Value, Error> {
    Ok(match method {
        "strip" | "lstrip" | "rstrip" => {
            let [characters] = bind(args, [""])?;
            let characters = given(characters);
            Value::from(stripped(text, characters.as_ref().map(string).transpose()?, method))
        }
        "removeprefix" | "removesuffix" => {
            let [part] = bind(args, [""])?;
            let part = required(part, "prefix")?;
            let rest = match method {
                "removeprefix" => text.strip_prefix(string(&part)?),
                _ => text.strip_suffix(string(&part)?),
            };
            Value::from(rest.unwrap_or(text))
        }
        "ljust" | "rjust" | "center" => {
            let [width, fill] = bind(args, ["", ""])?;
            let width = usize::try_from(integer(&required(width, "width")?)?).unwrap_or(0);
            let fill = fill.as_ref().map_or(Ok(" "), string)?;
            let mut characters = fill.chars();
            let (Some(fill), None) = (characters.next(), characters.next()) else {
                return Err(invalid("the fill character must be exactly one character long"));
            };
            limits::check_length(width.saturating_mul(fill.len_utf8()))?;
            Value::from(justified(text, width, fill, method))
        }
        "zfill" => {
            let [width] = bind(args, [""])?;
            let width = usize::try_from(integer(&required(width, "width")?)?).unwrap_or(0);
            limits::check_length(width)?;
            let (sign, digits) = text.split_at(usize::from(text.starts_with(['+', '-'])));
            let missing = width.saturating_sub(text.chars().count());
            Value::from(format!("{sign}{}{digits}", "0".repeat(missing)))
        }
        "expandtabs" => {
            let [size] = bind(args, ["tabsize"])?;
            Value::from(lines::expanded(text, count(size, 8)?)?)
        }
        "splitlines" => {
            let [keep] = bind(args, ["keepends"])?;
            Value::from_iter(lines::lines(text, super::arguments::flag(keep, false))?)
        }
        "partition" | "rpartition" => {
            let [separator] = bind(args, [""])?;
            let separator = required(separator, "sep")?;
            let parts = search::parted(text, string(&separator)?, method == "rpartition")?;
            Value::from(Tuple::from(parts.map(Value::from).to_vec()))
        }
        "split" | "rsplit" => {
            let [separator, most] = bind(args, ["sep", "maxsplit"])?;
            let most = most.as_ref().map_or(Ok(-1), integer)?;
            let separator = given(separator);
            let parts = search::pieces(
                text,
                separator.as_ref().map(string).transpose()?,
                usize::try_from(most).unwrap_or(usize::MAX),
                method == "rsplit",
            )?;
            Value::from_iter(parts)
        }
        "replace" => {
            let [old, new, most] = bind(args, ["", "", ""])?;
            let (old, new) = (required(old, "old")?, required(new, "new")?);
            let most = most.as_ref().map_or(Ok(-1), integer)?;
            let most = usize::try_from(most).unwrap_or(usize::MAX);
            Value::from(replaced(text, string(&old)?, string(&new)?, most)?)
        }
        "find" | "rfind" | "index" | "rindex" | "count" | "startswith" | "endswith" => {
            return search::call(text, method, args);
        }
        "join" => {
            let [items] = bind(args, [""])?;
            Value::from(joined(state, text, &required(items, "iterable")?)?)
        }
        "format" => {
            let (positional, named) = split(args)?;
            Value::from(format::format(text, &mut format::Values::new(positional, named.into_iter().collect()))?)
        }
        "format_map" => {
            let [map] = bind(args, [""])?;
            let named = super::containers::pairs(&required(map, "mapping")?)?;
            limits::pay_for_items(state, named.len())?;
            let named: HashMap<String, Value> =
                named.into_iter().map(|(key, value)| (key.to_string(), value)).collect();
            Value::from(format::format(text, &mut format::Values::new(&[], named))?)
        }
        "encode" => {
            let [encoding, errors] = bind(args, ["encoding", "errors"])?;
            let name = |value: &Option<Value>, default: &str| -> Result<String, Error> {
                value.as_ref().map_or(Ok(default), string).map(str::to_owned)
            };
            Value::from_bytes(encodings::encoded(text, &name(&encoding, "utf-8")?, &name(&errors, "strict")?)?)
        }
        "translate" => {
            let [table] = bind(args, [""])?;
            Value::from(cases::translated(text, &required(table, "table")?)?)
        }
        "maketrans" => {
            let [from, to, without] = bind(args, ["", "", ""])?;
            return cases::table(from, to, without);
        }
        _ => return Err(Error::from(ErrorKind::UnknownMethod)),
    })
}

/// `str.splitlines`
pub(super) fn lines_of(text: &str) -> Result<Vec<String>, Error> {
    lines::lines(text, false)
}

pub(super) fn stripped<'a>(text: &'a str, characters: Option<&str>, method: &str) -> &'a str {
    let set: Option<HashSet<char>> = characters.map(|characters| characters.chars().collect());
    let is_off = |c: char| set.as_ref().map_or_else(|| is_space(c), |set| set.contains(&c));
    match method {
        "lstrip" => text.trim_start_matches(is_off),
        "rstrip" => text.trim_end_matches(is_off),
        _ => text.trim_matches(is_off),
    }
}

pub(super) fn justified(text: &str, width: usize, fill: char, method: &str) -> String {
    let missing = width.saturating_sub(text.chars().count());
    let before = match method {
        "ljust" => 0,
        "rjust" => missing,
        // Of an odd number Python puts the one more before a text of odd width.
        _ => missing / 2 + (missing & width & 1),
    };
    let fill = |count: usize| fill.to_string().repeat(count);
    format!("{}{text}{}", fill(before), fill(missing - before))
}

fn joined(state: &State<'_, '_>, separator: &str, items: &Value) -> Result<String, Error> {
    let items = text::iterated(items)?;
    limits::pay_for_items(state, items.len())?;
    let mut text = Text::default();
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            text.push_str(separator)?;
        }
        text.push_str(string(item)?)?;
    }
    Ok(text.into_string())
}
