//! Lines, and tabs in them.

use minijinja::Error;

use super::super::characters::is_line_end;
use super::super::limits;

pub(super) fn lines(text: &str, keep_ends: bool) -> Result<Vec<String>, Error> {
    limits::check_items(text.matches(is_line_end).count())?;
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some(end) = rest.find(is_line_end) {
        let length = match rest[end..].starts_with("\r\n") {
            true => 2,
            false => rest[end..].chars().next().map_or(0, char::len_utf8),
        };
        lines.push(rest[..if keep_ends { end + length } else { end }].to_owned());
        rest = &rest[end + length..];
    }
    if !rest.is_empty() {
        lines.push(rest.to_owned());
    }
    Ok(lines)
}

/// Tabs become spaces up to the next multiple of `size`.
pub(super) fn expanded(text: &str, size: usize) -> Result<String, Error> {
    limits::check_length(text.matches('\t').count().saturating_mul(size).saturating_add(text.len()))?;
    let mut expanded = String::with_capacity(text.len());
    let mut column = 0;
    for character in text.chars() {
        match character {
            '\t' => {
                let spaces = if size == 0 { 0 } else { size - column % size };
                expanded.extend(std::iter::repeat_n(' ', spaces));
                column += spaces;
            }
            '\n' | '\r' => {
                expanded.push(character);
                column = 0;
            }
            _ => {
                expanded.push(character);
                column += 1;
            }
        }
    }
    Ok(expanded)
}
