//! A text reduced to what it says: its words without letter case, punctuation, spacing and the values of numbers.

use crate::columns::Example;

/// The words, each followed by a space. A number is `0`, whatever its value; characters of scripts without spaces, and
/// symbols such as emoji, are words of their own. Empty for a text of spaces and punctuation.
pub(super) fn normalised(text: &str) -> String {
    let mut words = String::with_capacity(text.len() + 1);
    for character in text.chars() {
        let is_inside = match character {
            '\'' | '\u{2019}' => true,
            '.' | ',' => words.ends_with('0'),
            _ => false,
        };
        if is_inside {
            continue;
        }
        if is_mark(character) {
            close(&mut words);
        } else if is_without_spaces(character) || !character.is_alphanumeric() {
            close(&mut words);
            words.push(character);
            close(&mut words);
        } else if !character.is_numeric() {
            words.extend(character.to_lowercase());
        } else if !words.ends_with('0') {
            words.push('0');
        }
    }
    close(&mut words);
    words
}

/// The numbers of both texts in their order, which `normalised` does not tell apart.
pub(super) fn numbers(example: &Example) -> Vec<&str> {
    let texts = [Some(&example.text), example.text_pair.as_ref()].into_iter().flatten();
    let runs = texts.flat_map(|text| text.split(|character: char| !character.is_numeric()));
    runs.filter(|digits| !digits.is_empty()).collect()
}

fn close(words: &mut String) {
    if !words.is_empty() && !words.ends_with(' ') {
        words.push(' ');
    }
}

/// Spaces, punctuation and what is not seen. Not symbols: a face may be all that a text has to say.
pub(super) fn is_mark(character: char) -> bool {
    character.is_whitespace()
        || character.is_control()
        || character.is_ascii_punctuation()
        || matches!(character,
            '\u{a1}' | '\u{a7}' | '\u{ab}' | '\u{ad}' | '\u{b6}' | '\u{b7}' | '\u{bb}' | '\u{bf}'
            | '\u{2000}'..='\u{206f}' | '\u{2e00}'..='\u{2e7f}' | '\u{3000}'..='\u{303f}' | '\u{fe0e}'..='\u{fe0f}'
            | '\u{feff}' | '\u{ff01}'..='\u{ff0f}' | '\u{ff1a}'..='\u{ff20}' | '\u{ff3b}'..='\u{ff40}'
            | '\u{ff5b}'..='\u{ff65}')
}

/// Chinese and Japanese are written without spaces.
fn is_without_spaces(character: char) -> bool {
    matches!(character, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}'
        | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_punctuation_spaces_and_numbers_do_not_count() {
        assert_eq!(normalised("  Hello,\tWORLD!  "), "hello world ");
        assert_eq!(normalised("It's 1,250.50 EUR (approx.)"), "its 0 eur approx ");
        assert_eq!(normalised("route 66b"), "route 0b ");
        assert_eq!(normalised("well-known"), "well known ");
        assert_eq!(normalised("one - two"), "one two ");
        assert_eq!(normalised("?! \u{2026}\u{200b}"), "");
    }

    #[test]
    fn symbols_and_characters_without_spaces_are_words() {
        assert_eq!(normalised("good🙂🙁"), "good 🙂 🙁 ");
        assert_eq!(normalised("酒店很好。"), "酒 店 很 好 ");
        assert_eq!(normalised("ÄRGER"), "ärger ");
    }
}
