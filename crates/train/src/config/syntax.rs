//! What to do about text that is no TOML. The parser says what it expected at a place; the line says what was meant: a path of
//! Windows in double quotes, a word without quotes, a key that is there already.

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
        // An error at the end of a line may point behind it.
        let at = text.floor_char_boundary(at.min(text.len()));
        Self { text, at, message }
    }

    pub(super) fn help(&self) -> String {
        let says = |beginning: &str| self.message.starts_with(beginning);
        if ['\u{201c}', '\u{201d}', '\u{2018}', '\u{2019}'].iter().any(|quote| self.value().starts_with(*quote)) {
            return "write straight quotes: `\"` or `'`".to_owned();
        }
        if says("duplicate key") {
            return self.of_duplicate();
        }
        if says("missing escaped value") || says("too few unicode value digits") || says("invalid value") {
            return self.of_escape();
        }
        if says("invalid basic string") || says("invalid literal string") || says("invalid multi-line") {
            return self.of_open_string();
        }
        if says("string values must be quoted") {
            return self.of_bare_word();
        }
        if self.is_other_comment() {
            return "a comment begins with `#`".to_owned();
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
        if says("unexpected") && self.has_separated_thousands() {
            return "write the number without commas".to_owned();
        }
        if says("unexpected") {
            return "write one key a line, and `#` before a comment".to_owned();
        }
        match self.key() {
            Some(key) => format!("write `{}`", key.example()),
            None => "write `key = value`, one a line, and a text in quotes".to_owned(),
        }
    }

    /// A backslash in double quotes that begins no escape.
    fn of_escape(&self) -> String {
        let quoted = self.quoted();
        let other = instead_of_escapes(quoted, self.is_path(quoted));
        format!("in double quotes a backslash begins an escape: write {other}")
    }

    /// A string that the line does not end.
    fn of_open_string(&self) -> String {
        let quoted = self.quoted().trim_end();
        if self.value().starts_with('"') && !self.value().starts_with("\"\"\"") && quoted.ends_with("\\\"") {
            // The closing quote was taken for an escaped one.
            let quoted = quoted.strip_suffix('"').unwrap_or(quoted);
            let other = instead_of_escapes(quoted, self.is_path(quoted));
            return format!(
                "in double quotes a backslash before the last quote makes it part of the text: write {other}"
            );
        }
        let quote = if self.value().starts_with('\'') { '\'' } else { '"' };
        format!("close the text with `{quote}` in the line where it begins")
    }

    fn of_bare_word(&self) -> String {
        let word = self.value();
        let word = word.split('#').next().unwrap_or(word).trim();
        if matches!(word.to_ascii_lowercase().as_str(), "none" | "null" | "nil") {
            return "leave the key out: then its default holds".to_owned();
        }
        if let Some(key) = self.key().filter(|key| !key.kind.takes_text()) {
            return format!("expected {}; {}", key.kind.expected(), key.example_help());
        }
        let name = self.line().split('=').next().unwrap_or_default().trim();
        match word.contains('\\') {
            true => format!("put it in single quotes: `{name} = '{word}'`"),
            false => format!("put it in quotes: `{name} = \"{word}\"`"),
        }
    }

    fn of_duplicate(&self) -> String {
        let line = self.line_number(self.at);
        if let Some(header) = header(self.line()) {
            let earlier = self.numbered().take(line - 1).find(|(_, text)| header_is(text, header));
            return match earlier {
                Some((number, _)) => format!("line {number} begins `[{header}]` already: put its keys there"),
                None => format!("`{header}` has a value already: keep one of the two"),
            };
        }
        let name = self.line().split('=').next().unwrap_or_default().trim();
        let of_key = |text: &str| text.split_once('=').is_some_and(|(key, _)| key.trim() == name);
        let start = self.numbered().take(line).filter(|(_, text)| header(text).is_some()).last();
        let start = start.map_or(0, |(number, _)| number);
        let earlier = self.numbered().take(line - 1).skip(start).find(|(_, text)| of_key(text));
        match earlier {
            Some((number, _)) => format!("line {number} has it already: keep one of the two"),
            None => "keep one of the two".to_owned(),
        }
    }

    fn line(&self) -> &'a str {
        let start = self.text[..self.at].rfind('\n').map_or(0, |newline| newline + 1);
        self.text[start..].lines().next().unwrap_or_default()
    }

    fn line_number(&self, at: usize) -> usize {
        1 + self.text[..at].matches('\n').count()
    }

    fn numbered(&self) -> impl Iterator<Item = (usize, &'a str)> {
        (1..).zip(self.text.lines())
    }

    /// What stands behind the `=` of the line.
    fn value(&self) -> &'a str {
        self.line().split_once('=').map_or("", |(_, value)| value.trim())
    }

    /// The text of the string around the slip, between its quotes; to the end of the line where it has no second one.
    fn quoted(&self) -> &'a str {
        let line = self.line();
        let start = line.as_ptr() as usize - self.text.as_ptr() as usize;
        let within = (self.at - start).min(line.len());
        let mut open = None;
        let mut escaped = false;
        for (at, character) in line.char_indices() {
            match (open, character) {
                _ if escaped => escaped = false,
                (Some(_), '\\') => escaped = true,
                (Some(_), '"') if at >= within && at > 0 => break,
                (Some(_), '"') => open = None,
                (None, '"') => open = Some(at + 1),
                _ => {}
            }
        }
        let rest = &line[open.unwrap_or(0)..];
        // Of a text that ends in a backslash the quote belongs to what was meant.
        rest.find('"').filter(|end| !rest[..*end].ends_with('\\')).map_or(rest, |end| &rest[..end])
    }

    /// The key of the line, if the configuration has it.
    fn key(&self) -> Option<&'static Key> {
        let name = self.line().split(['=', ':']).next()?.trim().trim_matches('"');
        let above = self.numbered().take(self.line_number(self.at));
        let table = above.filter_map(|(_, text)| header(text)).last().unwrap_or_default();
        Key::find(&dotted(table, name))
    }

    fn is_path(&self, quoted: &str) -> bool {
        let drive = quoted.as_bytes().get(..2).is_some_and(|two| two[0].is_ascii_alphabetic() && two[1] == b':');
        let keys = ["path", "train", "valid", "output_dir", "init_from"];
        drive || quoted.starts_with(['\\', '.']) || self.key().is_some_and(|key| keys.contains(&key.name))
    }

    fn is_other_comment(&self) -> bool {
        let line = self.line().trim_start();
        ["//", ";", "--", "/*", "%"].iter().any(|sign| line.starts_with(sign))
            || ["//", "/*"].iter().any(|sign| self.text[self.at..].trim_start().starts_with(sign))
    }

    /// `10,000`
    fn has_separated_thousands(&self) -> bool {
        let mut groups = self.value().split(',').map(str::trim);
        let is_number = |group: &str| !group.is_empty() && group.bytes().all(|byte| byte.is_ascii_digit());
        groups.next().is_some_and(is_number) && groups.next().is_some_and(|group| group.len() == 3 && is_number(group))
    }
}

/// The name of a table's header.
fn header(line: &str) -> Option<&str> {
    let name = line.trim_start().strip_prefix('[')?.split(']').next()?;
    Some(name.trim_matches(['[', ' ']))
}

fn header_is(line: &str, name: &str) -> bool {
    header(line) == Some(name)
}

/// The same text without escapes: in single quotes, or, of a path, with the slashes that Windows takes as well.
pub(super) fn instead_of_escapes(text: &str, is_path: bool) -> String {
    // What was doubled for the sake of TOML is one.
    let plain = text.replace("\\\\", "\\");
    let single = (!plain.contains('\'')).then(|| format!("`'{plain}'`"));
    let forward = is_path.then(|| format!("`\"{}\"`", plain.replace('\\', "/")));
    match (single, forward) {
        (Some(single), Some(forward)) => format!("{single} or {forward}"),
        (Some(other), None) | (None, Some(other)) => other,
        (None, None) => "each backslash twice".to_owned(),
    }
}
