//! Python's `pprint`: on one line what fits 80 characters, and otherwise an item a line, dicts by their keys. A text that
//! is longer than a line stays whole.

use minijinja::value::ValueKind;
use minijinja::{Error, State, Value};

use super::super::containers::pairs;
use super::super::limits::{self, Text};
use super::super::text;

const WIDTH: usize = 80;

pub(super) fn pprint(state: &State<'_, '_>, value: &Value) -> Result<String, Error> {
    limits::weigh(state, value)?;
    let mut text = Text::default();
    write(state, &sorted(value)?, 0, 0, &mut text)?;
    Ok(text.into_string())
}

/// With `indent` characters before it on its line, and `allowance` behind it.
fn write(state: &State<'_, '_>, value: &Value, indent: usize, allowance: usize, text: &mut Text) -> Result<(), Error> {
    let whole = text::repr(value)?;
    // A list in lists is written once for each of them, to see whether it fits.
    state.consume_fuel((whole.len() / 64) as u64)?;
    let fits = whole.chars().count() <= WIDTH.saturating_sub(indent + allowance);
    match value.kind() {
        ValueKind::Map if !fits => {
            text.push('{')?;
            let pairs = pairs(value)?;
            for (index, (key, value)) in pairs.iter().enumerate() {
                let key = text::repr(key)?;
                let is_last = index + 1 == pairs.len();
                text.push_str(&format!("{key}: "))?;
                write(state, value, indent + key.chars().count() + 3, if is_last { allowance + 1 } else { 1 }, text)?;
                separate(is_last, indent, text)?;
            }
            text.push('}')?;
        }
        ValueKind::Seq if !fits => {
            let (open, close) = if value.is_tuple() { ('(', ')') } else { ('[', ']') };
            let items = text::iterated(value)?;
            let only = if value.is_tuple() && items.len() == 1 { "," } else { "" };
            text.push(open)?;
            for (index, item) in items.iter().enumerate() {
                let is_last = index + 1 == items.len();
                write(state, item, indent + 1, if is_last { allowance + 1 + only.len() } else { 1 }, text)?;
                separate(is_last, indent, text)?;
            }
            text.push_str(only)?;
            text.push(close)?;
        }
        _ => text.push_str(&whole)?,
    }
    Ok(())
}

fn separate(is_last: bool, indent: usize, text: &mut Text) -> Result<(), Error> {
    match is_last {
        true => Ok(()),
        false => text.push_str(&format!(",\n{}", " ".repeat(indent + 1))),
    }
}

fn sorted(value: &Value) -> Result<Value, Error> {
    match value.kind() {
        ValueKind::Map => {
            let mut pairs = pairs(value)?;
            pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
            let pairs = pairs.into_iter().map(|(key, value)| Ok((key, sorted(&value)?)));
            Ok(Value::from_pairs(pairs.collect::<Result<Vec<_>, Error>>()?))
        }
        ValueKind::Seq if !value.is_tuple() => value.try_iter()?.map(|item| sorted(&item)).collect(),
        _ => Ok(value.clone()),
    }
}
