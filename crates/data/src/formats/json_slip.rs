//! What other programs write for JSON that is none: Python's NaN and Infinity, and halves of characters beyond the basic
//! plane. The parser's own words for these do not say what to do.

use serde_json::Error;

pub(super) struct Slip {
    /// In bytes, from 1, as the parser counts.
    pub(super) column: usize,
    pub(super) reason: String,
    pub(super) help: String,
}

/// What is wrong with a line that the parser refused, if it is one of these.
pub(super) fn of(line: &str, error: &Error) -> Option<Slip> {
    if !error.is_syntax() {
        return None;
    }
    let words = error.to_string();
    if words.contains("hex escape") { lone_surrogate(line) } else { not_a_number(line, error.column()) }
}

/// The words that Python, JavaScript and pandas print for numbers that JSON does not have.
const WORDS: [&str; 6] = ["-Infinity", "Infinity", "-inf", "NaN", "nan", "inf"];

/// The parser stops at the first character of the word or behind its sign or its first letter.
fn not_a_number(line: &str, column: usize) -> Option<Slip> {
    let begins = (column.saturating_sub(3)..column).rev();
    let word = |at: usize| {
        let before = line.get(..at)?;
        let is_value = before.trim_end().ends_with([':', ',', '[']);
        let word = WORDS.into_iter().find(|word| line.get(at..).is_some_and(|rest| rest.starts_with(word)))?;
        is_value.then_some((at, word))
    };
    let (at, word) = begins.into_iter().find_map(word)?;
    let key = key_before(&line[..at]).map_or_else(String::new, |key| format!(", the value of `{key}`,"));
    Some(Slip {
        column: at + 1,
        reason: format!("{word}{key} is no number in JSON"),
        help:
            "write null or a number: Python's `json.dumps` writes it unless it is told `allow_nan=False`, `to_json` of \
               pandas writes null"
                .to_owned(),
    })
}

/// The key whose value follows.
fn key_before(before: &str) -> Option<&str> {
    let key = before.trim_end().strip_suffix(':')?.trim_end().strip_suffix('"')?;
    let begin = key.rfind('"')?;
    Some(&key[begin + 1..])
}

/// The first `\\ud83d` without the other half of the character.
fn lone_surrogate(line: &str) -> Option<Slip> {
    let bytes = line.as_bytes();
    let unit = |at: usize| -> Option<u16> {
        let digits = line.get(at..at + 6)?.strip_prefix("\\u")?;
        u16::from_str_radix(digits, 16).ok()
    };
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] != b'\\' {
            at += 1;
            continue;
        }
        let length = match unit(at) {
            None => 2,
            Some(0xd800..=0xdbff) => match unit(at + 6) {
                Some(0xdc00..=0xdfff) => 12,
                _ => return Some(half(line, at)),
            },
            Some(0xdc00..=0xdfff) => return Some(half(line, at)),
            Some(_) => 6,
        };
        at += length;
    }
    None
}

fn half(line: &str, at: usize) -> Slip {
    Slip {
        column: at + 1,
        reason: format!("{} is half of a character (a lone surrogate)", &line[at..at + 6]),
        help: "remove it, or write the text again from its source: it was cut within an emoji or another character of two \
               such halves"
            .to_owned(),
    }
}
