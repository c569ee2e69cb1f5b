//! What to do about text that is no TOML. The parser says what it expected at a place; the line says what was meant: a path of
//! Windows in double quotes, a word without quotes, a key that is there already.

use std::ops::Range;

use super::keys::{Key, dotted};

/// Where the text of a configuration stops being TOML.
pub(super) struct Slip<'a> {
    text: &'a str,
    /// The byte.
    at: usize,
    /// What the parser says.
    message: &'a str,
}

impl<'a> Slip<'a> {
    pub(super) fn new(text: &'a str, at: usize, message: &'a str) -> Self {
        Self { text, at: text.floor_char_boundary(at.min(text.len())), message }
    }

    pub(super) fn help(&self) -> String {
        let says = |beginning: &str| self.message.starts_with(beginning);
        if self.value().starts_with(['\u{201c}', '\u{201d}', '\u{2018}', '\u{2019}']) {
            return "write straight quotes: `\"` or `'`".to_owned();
        }
        if says("duplicate key") {
            return self.of_duplicate();
        }
        if says("missing escaped value") || says("too few unicode value digits") || says("invalid value") {
            return self.of_escape();
        }
        if self.message.contains("visible characters") {
            return "remove the control character".to_owned();
        }
        if says("invalid basic string") || says("invalid literal string") || says("invalid multi-line") {
            return self.of_open_string();
        }
        if self.is_other_comment() {
            return "a comment begins with `#`".to_owned();
        }
        if self.value().ends_with(';') {
            return "leave out the `;`".to_owned();
        }
        if let Some(help) = self.of_word_of_python() {
            return help;
        }
        if says("string values must be quoted") || says("missing opening quote") {
            return self.of_bare_word();
        }
        if says("unclosed") {
            let open = if says("unclosed inline table") { "`{` with `}`" } else { "`[` with `]`" };
            return format!("close {open}");
        }
        if says("missing comma") {
            return "put a comma between two values".to_owned();
        }
        if says("unexpected leading zero") {
            return "write the number without the zeros in front, or in quotes if it is a name".to_owned();
        }
        if says("unexpected") {
            return self.of_more_in_the_line();
        }
        self.of_no_pair()
    }

    /// A backslash in double quotes that begins no escape.
    fn of_escape(&self) -> String {
        let quoted = self.quoted();
        // A backslash in front of the closing quote made that a part of the text.
        let quoted = if quoted.ends_with("\\\"") { &quoted[..quoted.len() - 1] } else { quoted };
        let other = instead_of_escapes(quoted, self.is_path(quoted));
        format!("in double quotes a backslash begins an escape: write {other}")
    }

    /// A string that the line does not end.
    fn of_open_string(&self) -> String {
        if self.message.starts_with("invalid multi-line") {
            return "close the text with the three quotes that it begins with".to_owned();
        }
        if self.quoted().ends_with("\\\"") {
            return self.of_escape();
        }
        let quote = if self.value().starts_with('\'') { '\'' } else { '"' };
        format!("close the text with `{quote}` in the line where it begins")
    }

    /// `True`, `None`
    fn of_word_of_python(&self) -> Option<String> {
        let word = self.value().split([' ', '#']).next().unwrap_or_default();
        match word.to_ascii_lowercase().as_str() {
            lower @ ("true" | "false") if lower != word => Some(format!("write `{} = {lower}`", self.name())),
            "none" | "null" | "nil" => Some("leave the key out: then its default holds".to_owned()),
            _ => None,
        }
    }

    fn of_bare_word(&self) -> String {
        let word = self.value().split('#').next().unwrap_or_default().trim().trim_matches(['"', '\'']);
        let name = self.name();
        if let Some(key) = self.key().filter(|key| word.is_empty() || !key.kind.takes_text()) {
            return format!("expected {}; {}", key.kind.expected(), key.example_help());
        }
        if let Some(words) = word.strip_prefix('[') {
            let words = words.trim_end_matches(']').split(',').map(|word| word.trim().trim_matches(['"', '\'']));
            let words: Vec<String> = words.filter(|word| !word.is_empty()).map(|word| format!("\"{word}\"")).collect();
            return format!("put each text in quotes: `{name} = [{}]`", words.join(", "));
        }
        match word.contains('\\') {
            true => format!("put it in single quotes: `{name} = '{word}'`"),
            false => format!("put it in quotes: `{name} = \"{word}\"`"),
        }
    }

    /// Something behind a value.
    fn of_more_in_the_line(&self) -> String {
        let value = self.value();
        if self.has_separated_thousands() {
            return "write the number without commas".to_owned();
        }
        match value.chars().next() {
            Some('\'') if value.matches('\'').count() > 2 => "a `'` ends the text: put it in double quotes".to_owned(),
            Some('"') if value.matches('"').count() > 2 => {
                "a `\"` ends the text: write `\\\"` within it, or put it in single quotes".to_owned()
            }
            _ => "write one key a line, and `#` before a comment".to_owned(),
        }
    }

    /// A line that is no key with its value.
    fn of_no_pair(&self) -> String {
        let line = self.line().trim();
        if line.starts_with('{') || line.ends_with(':') {
            return "this file is TOML: write `[train]`, and below it `epochs = 3`".to_owned();
        }
        if line.contains('"') && !line.contains('=') {
            return "a text in quotes ends in its line; put `\"\"\"` around one of several lines".to_owned();
        }
        let words: Vec<&str> = self.name().split_whitespace().collect();
        if words.len() > 1
            && let Some(key) = Key::find(&dotted(self.table(), &words.join("_")))
        {
            return format!("did you mean `{}`?", key.name);
        }
        match self.key() {
            Some(key) => format!("write `{}`", key.example()),
            None => {
                "write `key = value`, one a line: a key of letters, digits, `_` and `-`, a text in quotes".to_owned()
            }
        }
    }

    fn of_duplicate(&self) -> String {
        let line = self.line_number();
        if let Some(name) = header(self.line()) {
            let earlier = self.numbered().take(line - 1).find(|(_, text)| header(text) == Some(name));
            return match earlier {
                Some((number, _)) => format!("line {number} begins `[{name}]` already: put its keys there"),
                None => format!("`{name}` has a value already: keep one of the two"),
            };
        }
        let of_key = |text: &str| text.split_once('=').is_some_and(|(key, _)| key.trim() == self.name());
        let start = self.numbered().take(line).filter(|(_, text)| header(text).is_some()).last();
        let start = start.map_or(0, |(number, _)| number);
        match self.numbered().take(line - 1).skip(start).find(|(_, text)| of_key(text)) {
            Some((number, _)) => format!("line {number} has it already: keep one of the two"),
            None => "keep one of the two".to_owned(),
        }
    }

    /// The line in the text, without its end.
    fn span(&self) -> Range<usize> {
        let start = self.text[..self.at].rfind('\n').map_or(0, |newline| newline + 1);
        let end = self.text[start..].find(['\r', '\n']).map_or(self.text.len(), |length| start + length);
        start..end
    }

    fn line(&self) -> &'a str {
        &self.text[self.span()]
    }

    fn line_number(&self) -> usize {
        1 + self.text[..self.at].matches('\n').count()
    }

    fn numbered(&self) -> impl Iterator<Item = (usize, &'a str)> {
        (1..).zip(self.text.lines())
    }

    /// What stands in front of the `=` of the line.
    fn name(&self) -> &'a str {
        self.line().split(['=', ':']).next().unwrap_or_default().trim()
    }

    /// What stands behind it.
    fn value(&self) -> &'a str {
        self.line().split_once('=').map_or("", |(_, value)| value.trim())
    }

    /// The text of the string around the slip, without its quotes; an escaped quote at the end of the line belongs to it.
    fn quoted(&self) -> &'a str {
        let (line, within) = (self.line(), self.at - self.span().start);
        let (mut open, mut escaped) = (None, false);
        for (at, character) in line.char_indices() {
            match (open, character) {
                _ if escaped => escaped = false,
                (Some(_), '\\') => escaped = true,
                (Some(start), '"') if at >= within => return &line[start..at],
                (Some(_), '"') => open = None,
                (None, '"') => open = Some(at + 1),
                _ => {}
            }
        }
        line[open.unwrap_or(0)..].trim_end()
    }

    /// The table that the line belongs to.
    fn table(&self) -> &'a str {
        self.numbered().take(self.line_number()).filter_map(|(_, text)| header(text)).last().unwrap_or_default()
    }

    /// The key of the line, if the configuration has it.
    fn key(&self) -> Option<&'static Key> {
        Key::find(&dotted(self.table(), self.name().trim_matches('"')))
    }

    fn is_path(&self, quoted: &str) -> bool {
        let drive = quoted.as_bytes().get(..2).is_some_and(|two| two[0].is_ascii_alphabetic() && two[1] == b':');
        let keys = ["path", "train", "valid", "output_dir", "init_from"];
        drive || quoted.starts_with(['\\', '.']) || self.key().is_some_and(|key| keys.contains(&key.name))
    }

    fn is_other_comment(&self) -> bool {
        let line = self.line().trim_start();
        let behind = |sign: &&str| !self.value().starts_with(['"', '\'']) && line.contains(*sign);
        ["//", ";", "--", "/*", "%"].iter().any(|sign| line.starts_with(sign))
            || [" //", " /*", " --"].iter().any(behind)
    }

    /// `10,000`
    fn has_separated_thousands(&self) -> bool {
        let mut groups = self.value().split(',').map(str::trim);
        let is_number = |group: &str| !group.is_empty() && group.bytes().all(|byte| byte.is_ascii_digit());
        groups.next().is_some_and(is_number) && groups.next().is_some_and(|group| group.len() == 3 && is_number(group))
    }
}

/// The name of the table that a line begins.
fn header(line: &str) -> Option<&str> {
    let name = line.trim_start().strip_prefix('[')?.split(']').next()?;
    Some(name.trim_matches(['[', ' ']))
}

/// The same text without escapes: in single quotes, or, of a path, with the slashes that Windows takes as well.
pub(super) fn instead_of_escapes(text: &str, is_path: bool) -> String {
    // What was doubled for the sake of TOML is one, but for the two that a path of the network begins with.
    let network = text.starts_with(r"\\") && !text.starts_with(r"\\\\");
    let (start, rest) = text.split_at(if network { 2 } else { 0 });
    let plain = format!("{start}{}", rest.replace(r"\\", r"\"));
    let single = (!plain.contains('\'')).then(|| format!("`'{plain}'`"));
    let forward = is_path.then(|| format!("`\"{}\"`", plain.replace('\\', "/")));
    match (single, forward) {
        (Some(single), Some(forward)) => format!("{single} or {forward}"),
        (Some(other), None) | (None, Some(other)) => other,
        (None, None) => "each backslash twice".to_owned(),
    }
}
