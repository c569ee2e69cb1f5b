//! The operators of an expression by Jinja2's precedence: `+` and `-` bind less than `~`, this less than `*`, `/`, `//` and
//! `%`, these less than `**`, a sign before a value, and all that stands behind one. Whatever it cannot make sense of it
//! leaves as it is: the engine says what is wrong.

use std::ops::Range;

use super::tokens::{Kind, Token};
use super::{ATTRIBUTE, COMPARED, CONCATENATE, CONTAINER, MODULO, Part, READ, VARIABLE};

/// Words that part expressions from each other.
const WORDS: [&str; 6] = ["and", "or", "not", "in", "if", "else"];
const CONSTANTS: [&str; 6] = ["true", "false", "none", "True", "False", "None"];
const COMPARISONS: [&str; 6] = ["==", "!=", "<", "<=", ">", ">="];

pub(super) struct Expression<'a> {
    source: &'a str,
    tokens: &'a [Token],
    next: usize,
}

impl<'a> Expression<'a> {
    pub(super) fn new(source: &'a str, tokens: &'a [Token]) -> Self {
        Self { source, tokens, next: 0 }
    }

    /// Of a statement the first word is its name.
    pub(super) fn rewritten(mut self, is_statement: bool) -> Vec<Part> {
        // A sign at the end is the block's.
        let is_sign = |last: &Token| matches!(&self.source[last.word..last.range.end], "-" | "+");
        match self.tokens.split_last() {
            Some((last, tokens)) if is_sign(last) => {
                self.tokens = tokens;
                let mut parts = self.without_sign(is_statement);
                parts.push(Part::Source(last.range.clone()));
                parts
            }
            _ => self.without_sign(is_statement),
        }
    }

    fn without_sign(mut self, is_statement: bool) -> Vec<Part> {
        let mut parts = Vec::new();
        if is_statement && self.is_a(Kind::Name) {
            let name = self.word();
            parts.push(self.take());
            match name {
                "set" => return self.assignment(parts),
                "for" => parts.extend(self.up_to(|it| it.is_word("in"))),
                // The arguments of the block.
                "call" if self.is_word("(") => parts.extend(self.up_to(|it| it.is_word(")"))),
                _ => (),
            }
        }
        self.rest(parts)
    }

    /// Of a block that is set there is no value.
    fn assignment(mut self, mut parts: Vec<Part>) -> Vec<Part> {
        let start = self.next;
        // A filter of a block has its arguments in brackets.
        let Some(equals) = self.first_outside_brackets(start..self.tokens.len(), "=") else {
            return self.rest(parts);
        };
        let targets: Vec<Part> = (start..=equals).map(|_| self.take()).collect();
        let is_attribute =
            self.tokens[start..self.next].iter().any(|token| &self.source[token.word..token.range.end] == ".");
        parts.extend(targets);
        if self.is_constant(self.next..self.tokens.len()) {
            return self.rest(parts);
        }
        let filter = if is_attribute { ATTRIBUTE } else { VARIABLE };
        let value = self.rest(Vec::new());
        parts.extend(filtered(value, filter, Vec::new()));
        parts
    }

    /// What stands before a word, as it is, and the word.
    fn up_to(&mut self, is_last: impl Fn(&Self) -> bool) -> Vec<Part> {
        let mut parts = Vec::new();
        while self.next < self.tokens.len() {
            let ends = is_last(self);
            parts.push(self.take());
            if ends {
                break;
            }
        }
        parts
    }

    fn rest(&mut self, mut parts: Vec<Part>) -> Vec<Part> {
        while self.next < self.tokens.len() {
            parts.extend(self.sequence());
            // A bracket too many.
            if self.next < self.tokens.len() {
                parts.push(self.take());
            }
        }
        parts
    }

    /// All up to a closing bracket: expressions, and what stands between them.
    fn sequence(&mut self) -> Vec<Part> {
        let mut parts = Vec::new();
        while self.next < self.tokens.len() && !self.is_a(Kind::Close) {
            if self.begins_value() {
                let start = self.next;
                let value = self.sum();
                let is_looked_for =
                    self.is_word("in") || self.is_word("not") && Self { next: self.next + 1, ..*self }.is_word("in");
                match is_looked_for && !self.is_constant(start..self.next) {
                    true => parts.extend(bracketed(filtered(value, READ, Vec::new()))),
                    false => parts.extend(value),
                }
                continue;
            }
            let compares = self.is_one_of(&COMPARISONS) || self.is_word("in");
            parts.push(self.take());
            if compares && self.begins_value() {
                let start = self.next;
                let compared = self.sum();
                match self.is_constant(start..self.next) {
                    true => parts.extend(compared),
                    false => parts.extend(bracketed(filtered(compared, COMPARED, Vec::new()))),
                }
            }
        }
        parts
    }

    fn sum(&mut self) -> Vec<Part> {
        let mut parts = self.concatenation();
        while self.is_one_of(&["+", "-"]) {
            parts.push(self.take());
            parts.extend(self.concatenation());
        }
        parts
    }

    fn concatenation(&mut self) -> Vec<Part> {
        let first = self.product();
        let mut others = Vec::new();
        while self.is_one_of(&["~"]) && self.value_follows() {
            self.next += 1;
            if !others.is_empty() {
                others.push(Part::Made(","));
            }
            others.extend(self.product());
        }
        match others.is_empty() {
            true => first,
            false => filtered(first, CONCATENATE, others),
        }
    }

    fn product(&mut self) -> Vec<Part> {
        let mut parts = self.power();
        while self.is_one_of(&["*", "/", "//", "%"]) {
            if self.is_one_of(&["%"]) && self.value_follows() {
                self.next += 1;
                parts = filtered(parts, MODULO, self.power());
            } else {
                parts.push(self.take());
                parts.extend(self.power());
            }
        }
        parts
    }

    fn power(&mut self) -> Vec<Part> {
        let mut parts = self.signed();
        while self.is_one_of(&["**"]) {
            parts.push(self.take());
            parts.extend(self.signed());
        }
        parts
    }

    fn signed(&mut self) -> Vec<Part> {
        let mut parts = Vec::new();
        while self.is_one_of(&["+", "-"]) {
            // The engine has no `+` before a value.
            match self.is_one_of(&["+"]) && self.value_follows() {
                true => self.next += 1,
                false => parts.push(self.take()),
            }
        }
        if self.begins_value() {
            parts.extend(self.value());
        }
        parts
    }

    /// A value with its attributes, subscripts, calls, filters and tests.
    fn value(&mut self) -> Vec<Part> {
        let mut parts = self.primary();
        loop {
            if self.is_word("(") {
                parts.extend(self.bracketed());
            } else if self.is_word("[") {
                if !self.is_literal_key() {
                    parts = bracketed(filtered(parts, READ, Vec::new()));
                }
                parts.extend(self.subscript());
            } else if self.is_one_of(&["."]) {
                parts.push(self.take());
                parts.extend((self.is_a(Kind::Name) || self.is_a(Kind::Number)).then(|| self.take()));
            } else if self.is_one_of(&["|"]) {
                parts.extend([Part::Made("|"), Part::Made(READ), self.take()]);
                parts.extend(self.dotted());
            } else if self.is_word("is") {
                parts.extend([Part::Made("|"), Part::Made(READ), self.take()]);
                parts.extend(self.is_word("not").then(|| self.take()));
                parts.extend(self.dotted());
                // A test's argument may stand without brackets.
                let is_argument = !self.is_word("is") && !self.is_a(Kind::Sign) && !self.is_word("(");
                if is_argument && self.begins_value() {
                    parts.extend(self.primary());
                    while self.is_word("(") || self.is_word("[") || self.is_one_of(&["."]) {
                        match self.is_one_of(&["."]) {
                            true => parts.push(self.take()),
                            false => parts.extend(self.bracketed()),
                        }
                        parts.extend(self.is_a(Kind::Name).then(|| self.take()));
                    }
                }
            } else {
                return parts;
            }
        }
    }

    fn primary(&mut self) -> Vec<Part> {
        if self.is_a(Kind::Open) {
            let (start, is_group) = (self.next, self.is_word("("));
            let parts = self.bracketed();
            let is_container = !is_group || self.first_outside_brackets(start + 1..self.next, ",").is_some();
            return match is_container && !self.is_constant(start..self.next) {
                true => bracketed(filtered(parts, CONTAINER, Vec::new())),
                false => parts,
            };
        }
        // Strings that stand side by side are one.
        let mut parts = vec![self.take()];
        if self.tokens[self.next - 1].kind == Kind::String {
            while self.is_a(Kind::String) {
                parts.push(self.take());
            }
        }
        parts
    }

    fn bracketed(&mut self) -> Vec<Part> {
        let mut parts = vec![self.take()];
        parts.extend(self.sequence());
        parts.extend((self.next < self.tokens.len()).then(|| self.take()));
        parts
    }

    /// Whether the subscript is a text that the template writes: to look that up costs nothing.
    fn is_literal_key(&self) -> bool {
        let kinds = [0, 1, 2].map(|ahead| self.tokens.get(self.next + ahead).map(|token| token.kind));
        kinds == [Kind::Open, Kind::String, Kind::Close].map(Some)
    }

    /// A key in its brackets, or a slice.
    fn subscript(&mut self) -> Vec<Part> {
        let mut parts = vec![self.take()];
        let start = self.next;
        let key = self.sequence();
        let is_slice = self.first_outside_brackets(start..self.next, ":").is_some();
        match key.is_empty() || is_slice || self.is_constant(start..self.next) {
            true => parts.extend(key),
            false => parts.extend(filtered(key, READ, Vec::new())),
        }
        parts.extend((self.next < self.tokens.len()).then(|| self.take()));
        parts
    }

    /// The name of a filter or a test; its arguments follow like those of any call.
    fn dotted(&mut self) -> Vec<Part> {
        let mut parts = Vec::new();
        if self.next < self.tokens.len() && !self.is_a(Kind::Open) && !self.is_a(Kind::Close) {
            parts.push(self.take());
        }
        parts
    }

    /// Whether a value, or its sign, comes next.
    fn begins_value(&self) -> bool {
        let Some(token) = self.tokens.get(self.next) else { return false };
        match token.kind {
            Kind::Name => !WORDS.contains(&self.word()) && self.word() != "is",
            Kind::Number | Kind::String | Kind::Open => true,
            Kind::Sign => self.is_one_of(&["+", "-"]),
            Kind::Close => false,
        }
    }

    fn value_follows(&self) -> bool {
        Self { next: self.next + 1, ..*self }.begins_value()
    }

    /// Whether nothing in it has a name: texts and numbers, or a list of them.
    fn is_constant(&self, range: Range<usize>) -> bool {
        let is_name =
            |token: &Token| token.kind == Kind::Name && !CONSTANTS.contains(&&self.source[token.word..token.range.end]);
        !self.tokens[range].iter().any(is_name)
    }

    /// Where the first of these words stands that is in no brackets.
    fn first_outside_brackets(&self, mut range: Range<usize>, word: &str) -> Option<usize> {
        let mut depth = 0_usize;
        range.find(|at| {
            let token = &self.tokens[*at];
            match token.kind {
                Kind::Open => depth += 1,
                Kind::Close => depth = depth.saturating_sub(1),
                Kind::Name | Kind::Sign | Kind::Number | Kind::String => (),
            }
            depth == 0 && &self.source[token.word..token.range.end] == word
        })
    }

    fn take(&mut self) -> Part {
        self.next += 1;
        Part::Source(self.tokens[self.next - 1].range.clone())
    }

    fn word(&self) -> &'a str {
        self.tokens.get(self.next).map_or("", |token| &self.source[token.word..token.range.end])
    }

    fn is_word(&self, word: &str) -> bool {
        self.word() == word
    }

    fn is_a(&self, kind: Kind) -> bool {
        self.tokens.get(self.next).is_some_and(|token| token.kind == kind)
    }

    fn is_one_of(&self, signs: &[&str]) -> bool {
        self.is_a(Kind::Sign) && signs.contains(&self.word())
    }
}

fn bracketed(parts: Vec<Part>) -> Vec<Part> {
    std::iter::once(Part::Made("(")).chain(parts).chain([Part::Made(")")]).collect()
}

fn filtered(value: Vec<Part>, filter: &'static str, arguments: Vec<Part>) -> Vec<Part> {
    let call = [Part::Made(")|"), Part::Made(filter), Part::Made("(")];
    std::iter::once(Part::Made("(")).chain(value).chain(call).chain(arguments).chain([Part::Made(")")]).collect()
}
