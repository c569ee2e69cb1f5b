//! What may reach a terminal. Texts, labels, vocabularies, settings and the Hub's answers are written by others, and a
//! terminal obeys what it is sent: OSC 52 writes the clipboard, others move the cursor or turn text round. Such characters
//! are shown instead, as `\u001b`, which in JSON is the same string still. Our own colours are marks within a text, which
//! become control sequences here, after everything else was made harmless.

use std::borrow::Cow;
use std::fmt::Write;

/// How a part of a text is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    Bold,
    /// To be seen within a text also where there is no colour, between brackets.
    Marked,
    Error,
    Warning,
    Help,
}

/// What begins each style, and what ends one: noncharacters, which Unicode keeps for a program's own use. A text from
/// elsewhere that holds them can do no more with them than they do: bold, and four colours.
const BEGINS: [(char, Style); 5] = [
    ('\u{fdd0}', Style::Bold),
    ('\u{fdd1}', Style::Marked),
    ('\u{fdd2}', Style::Error),
    ('\u{fdd3}', Style::Warning),
    ('\u{fdd4}', Style::Help),
];
const ENDS: char = '\u{fdd5}';
const ENDS_MARKED: char = '\u{fdd6}';

impl Style {
    /// The text with marks around it.
    pub(crate) fn of(self, text: &str) -> String {
        let begins = BEGINS.iter().find(|(_, style)| *style == self).map_or(ENDS, |(mark, _)| *mark);
        let ends = if self == Self::Marked { ENDS_MARKED } else { ENDS };
        format!("{begins}{text}{ends}")
    }

    fn code(self) -> &'static str {
        match self {
            Self::Bold => "\x1b[1m",
            Self::Marked => "\x1b[32m",
            Self::Error => "\x1b[31m",
            Self::Warning => "\x1b[33m",
            Self::Help => "\x1b[36m",
        }
    }
}

const RESET: &str = "\x1b[0m";

/// The text with its marks as colours, or without them, and with nothing else that a terminal would obey but line breaks
/// and tabs.
pub(crate) fn rendered(text: &str, colour: bool) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut is_open = false;
    for c in text.chars() {
        let begins = BEGINS.iter().find(|(mark, _)| *mark == c);
        match (begins, c) {
            (Some((_, style)), _) if colour => {
                shown.push_str(style.code());
                is_open = true;
            }
            (Some((_, Style::Marked)), _) => shown.push_str("[["),
            (Some(_), _) => {}
            (None, ENDS | ENDS_MARKED) if colour => {
                shown.push_str(RESET);
                is_open = false;
            }
            (None, ENDS_MARKED) => shown.push_str("]]"),
            (None, ENDS) => {}
            (None, c) => push(&mut shown, c),
        }
    }
    if is_open {
        shown.push_str(RESET);
    }
    shown
}

/// A text from elsewhere with nothing in it that a terminal would obey but line breaks and tabs.
pub(crate) fn escaped(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_obeyed) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    text.chars().for_each(|c| push(&mut shown, c));
    Cow::Owned(shown)
}

/// As `escaped`, and on one line.
pub(crate) fn on_one_line(text: &str) -> Cow<'_, str> {
    match text.contains(['\n', '\t', '\r']) {
        true => Cow::Owned(escaped(&text.replace("\r\n", " ").replace(['\n', '\t', '\r'], " ")).into_owned()),
        false => escaped(text),
    }
}

fn push(shown: &mut String, c: char) {
    match is_obeyed(c) {
        true => write!(shown, "\\u{:04x}", u32::from(c)).expect("a string can be written to"),
        false => shown.push(c),
    }
}

/// Control characters, among them the one-byte forms of terminal sequences (U+0080 to U+009F), and those that turn the
/// direction of the text around them.
fn is_obeyed(c: char) -> bool {
    match c {
        '\n' | '\t' => false,
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        c => c.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_of_others_are_shown_and_not_sent() {
        let clipboard = "\u{1b}]52;c;cm0gLXJm\u{7} hi";
        assert_eq!(escaped(clipboard), "\\u001b]52;c;cm0gLXJm\\u0007 hi");
        assert_eq!(escaped("a\rb\u{8}\u{7f}\u{9b}2J\u{202e}c"), "a\\u000db\\u0008\\u007f\\u009b2J\\u202ec");
        assert_eq!(escaped("Zürich\t東京\n🙂 \u{200f}ש"), "Zürich\t東京\n🙂 \u{200f}ש", "text stays as it is");
        assert_eq!(on_one_line("a\r\nb\tc\u{1b}"), "a b c\\u001b");
    }

    #[test]
    fn an_escaped_json_document_says_the_same() {
        let value = serde_json::json!({ "text": "\u{1b}]0;x\u{7}\u{9b}\u{7f}\u{202e}" });
        let shown = escaped(&value.to_string()).into_owned();
        assert!(shown.is_ascii(), "{shown}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
    }

    #[test]
    fn our_own_styles_are_colours_around_what_was_made_harmless() {
        let text = format!("in {} of {}", Style::Bold.of("\u{1b}[31mrun"), Style::Marked.of("it"));
        assert_eq!(rendered(&text, true), "in \u{1b}[1m\\u001b[31mrun\u{1b}[0m of \u{1b}[32mit\u{1b}[0m");
        assert_eq!(rendered(&text, false), "in \\u001b[31mrun of [[it]]");
        assert_eq!(rendered("\u{fdd2}x", true), "\u{1b}[31mx\u{1b}[0m", "a style never goes on into the next line");
    }
}
