//! Upper and lower case, and the exchange of single characters.

use minijinja::value::ValueKind;
use minijinja::{Error, Value};

use super::super::arguments::{given, integer, string};
use super::super::characters::{is_cased, to_title};
use super::super::invalid;
use super::super::limits::Text;

/// `str.title`: a letter behind one that has cases is lower, any other upper.
pub(in super::super) fn titled(text: &str, is_of_word: impl Fn(char) -> bool) -> String {
    let mut title = String::with_capacity(text.len());
    let mut in_word = false;
    for character in text.chars() {
        match in_word {
            true => title.extend(character.to_lowercase()),
            false => title += &to_title(character),
        }
        in_word = is_of_word(character);
    }
    title
}

pub(in super::super) fn capitalized(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map_or_else(String::new, to_title);
    // As a whole, since a sigma is another one at the end of a word.
    let rest = &text.to_lowercase();
    let skipped: usize = text.chars().next().map_or(0, |first| first.to_lowercase().map(char::len_utf8).sum());
    first + rest.get(skipped..).unwrap_or_default()
}

pub(super) fn swapped(text: &str) -> String {
    let mut swapped = String::with_capacity(text.len());
    for character in text.chars() {
        match (character.is_uppercase(), character.is_lowercase()) {
            (true, _) => swapped.extend(character.to_lowercase()),
            (_, true) => swapped.extend(character.to_uppercase()),
            _ => swapped.push(character),
        }
    }
    swapped
}

/// Each word begins with an upper letter and goes on with lower ones, and there is a word.
pub(super) fn is_title(text: &str) -> bool {
    let (mut in_word, mut found) = (false, false);
    for character in text.chars() {
        if character.is_uppercase() && in_word || character.is_lowercase() && !in_word {
            return false;
        }
        in_word = is_cased(character);
        found |= in_word;
    }
    found
}

/// By a map from the numbers of characters to others, to texts, or to nothing.
pub(super) fn translated(text: &str, table: &Value) -> Result<String, Error> {
    let mut translated = Text::default();
    for character in text.chars() {
        let other = table.get_item(&Value::from(u32::from(character)))?;
        match other.kind() {
            ValueKind::Undefined => translated.push(character)?,
            ValueKind::None => (),
            ValueKind::String => translated.push_str(string(&other)?)?,
            _ => {
                let code = u32::try_from(integer(&other)?).ok().and_then(char::from_u32);
                translated.push(code.ok_or_else(|| invalid("character mapping must be in range(0x110000)"))?)?;
            }
        }
    }
    Ok(translated.into_string())
}

/// `str.maketrans`
pub(super) fn table(from: Option<Value>, to: Option<Value>, without: Option<Value>) -> Result<Value, Error> {
    let (Some(from), Some(to)) = (from, to) else { return Err(invalid("maketrans takes two or three strings")) };
    let codes = |value: &Value| -> Result<Vec<u32>, Error> { Ok(string(value)?.chars().map(u32::from).collect()) };
    let (from, to) = (codes(&from)?, codes(&to)?);
    if from.len() != to.len() {
        return Err(invalid("the first two maketrans arguments must have equal length"));
    }
    let without = given(without).map_or(Ok(Vec::new()), |without| codes(&without))?;
    let entries = from.into_iter().zip(to).map(|(from, to)| (Value::from(from), Value::from(to)));
    let removed = without.into_iter().map(|code| (Value::from(code), Value::from(())));
    Ok(Value::from_pairs(entries.chain(removed)))
}
