//! The words of an expression, each with the white space before it.

use std::ops::Range;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Name,
    /// Also a sign that no expression has.
    Sign,
    Number,
    String,
    Open,
    Close,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    /// From the end of the token before it.
    pub(super) range: Range<usize>,
    /// Where the white space before it ends.
    pub(super) word: usize,
}

/// Longest first.
const SIGNS: [&str; 6] = ["**", "//", "==", "!=", "<=", ">="];

pub(super) fn tokens(source: &str, block: Range<usize>) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut start = block.start;
    loop {
        let word = start + leading(&source[start..block.end], char::is_whitespace);
        let rest = &source[word..block.end];
        let Some(first) = rest.chars().next() else { return tokens };
        let (kind, length) = match first {
            '\'' | '"' => match string_end(source, word) {
                Some(end) if end <= block.end => (Kind::String, end - word),
                _ => (Kind::Sign, first.len_utf8()),
            },
            '(' | '[' | '{' => (Kind::Open, 1),
            ')' | ']' | '}' => (Kind::Close, 1),
            '0'..='9' => (Kind::Number, number_length(rest)),
            _ if first.is_alphanumeric() || first == '_' => (Kind::Name, leading(rest, is_of_name)),
            _ => {
                let sign = SIGNS.iter().find(|sign| rest.starts_with(*sign));
                (Kind::Sign, sign.map_or(first.len_utf8(), |sign| sign.len()))
            }
        };
        tokens.push(Token { kind, range: start..word + length, word });
        start = word + length;
    }
}

/// The tokens of an expression and of what is in its brackets; of items with commas between them only the longest one counts.
pub(super) fn longest_expression(source: &str, tokens: &[Token]) -> usize {
    // Of each bracket that is open the longest item, and the one that has begun.
    let mut open: Vec<(usize, usize)> = Vec::new();
    let (mut longest, mut item) = (0_usize, 0_usize);
    for token in tokens {
        match token.kind {
            Kind::Open => {
                open.push((longest, item + 1));
                (longest, item) = (0, 0);
            }
            Kind::Close => {
                let within = longest.max(item) + 1;
                let (before, begun) = open.pop().unwrap_or_default();
                (longest, item) = (before, begun + within);
            }
            Kind::Sign if &source[token.word..token.range.end] == "," => {
                longest = longest.max(item);
                item = 0;
            }
            Kind::Name | Kind::Sign | Kind::Number | Kind::String => item += 1,
        }
    }
    open.into_iter().rev().fold(longest.max(item), |within, (before, begun)| before.max(begun + within))
}

/// The most brackets that are open at once.
pub(super) fn depth(tokens: &[Token]) -> usize {
    let (mut open, mut most) = (0_usize, 0);
    for token in tokens {
        match token.kind {
            Kind::Open => open += 1,
            Kind::Close => open = open.saturating_sub(1),
            Kind::Name | Kind::Sign | Kind::Number | Kind::String => (),
        }
        most = most.max(open);
    }
    most
}

fn is_of_name(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

fn leading(text: &str, is_of_it: impl Fn(char) -> bool) -> usize {
    text.find(|c| !is_of_it(c)).unwrap_or(text.len())
}

/// `12`, `1_000`, `0x1f`, `1.5e-07`; the point of `a.0.b` is none of a number.
fn number_length(text: &str) -> usize {
    let whole = leading(text, is_of_name);
    let is_decimal = text[..whole].chars().all(|c| c.is_ascii_digit() || c == '_');
    let mut length = whole;
    if is_decimal && text[length..].starts_with('.') && text[length + 1..].starts_with(|c: char| c.is_ascii_digit()) {
        length += 1 + leading(&text[length + 1..], is_of_name);
    }
    // An exponent with a sign.
    let is_hexadecimal = text.starts_with("0x") || text.starts_with("0X");
    if !is_hexadecimal && text[..length].ends_with(['e', 'E']) && text[length..].starts_with(['+', '-']) {
        length += 1 + leading(&text[length + 1..], |c| c.is_ascii_digit() || c == '_');
    }
    length
}

/// Behind the quote that closes the string which begins at `start`.
pub(super) fn string_end(source: &str, start: usize) -> Option<usize> {
    let mut characters = source[start..].char_indices();
    let (_, quote) = characters.next()?;
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => _ = characters.next(),
            _ if character == quote => return Some(start + at + 1),
            _ => (),
        }
    }
    None
}
