//! Texts that came out of their source broken, and texts without a word.

mod mojibake;

use super::words::is_mark;
use super::{Finding, FindingKind, Look, Rows};
use crate::columns::Example;
use mojibake::mojibake;

/// The entities that are left in texts taken from web pages.
const ENTITIES: [&str; 7] = ["&amp;", "&lt;", "&gt;", "&quot;", "&apos;", "&nbsp;", "&hellip;"];

pub(super) fn find(look: &Look<'_>, findings: &mut Vec<Finding>) {
    for (rows, data) in look.splits() {
        let mut found = |kind: FindingKind, lines: &[usize]| {
            if !lines.is_empty() {
                findings.push(Finding::new(kind, lines.len(), &data).at(lines.iter().map(|index| rows.place(*index))));
            }
        };
        found(FindingKind::Blank, &holding(rows, |it| all_texts(it).all(|text| text.chars().all(is_mark))));
        let misread = holding(rows, |it| all_texts(it).any(|text| mojibake(text).is_some()));
        if let Some((seen, meant)) = first(rows, &misread, mojibake) {
            found(FindingKind::Mojibake { seen, meant }, &misread);
        }
        found(FindingKind::Replacement, &holding(rows, |it| all_texts(it).any(|text| text.contains('\u{fffd}'))));
        let controls: Vec<usize> = holding(rows, |it| all_texts(it).any(has_control))
            .into_iter()
            // Misread bytes come out as such characters too.
            .filter(|index| misread.binary_search(index).is_err())
            .collect();
        found(FindingKind::Control, &controls);
        let escaped = holding(rows, |it| all_texts(it).any(|text| entity(text).is_some()));
        if let Some(seen) = first(rows, &escaped, entity) {
            found(FindingKind::Entities { seen }, &escaped);
        }
    }
}

fn all_texts(example: &Example) -> impl Iterator<Item = &str> {
    [Some(example.text.as_str()), example.text_pair.as_deref()].into_iter().flatten()
}

/// The rows for which this holds.
fn holding(rows: Rows<'_>, holds: impl Fn(&Example) -> bool) -> Vec<usize> {
    (0..rows.examples.len()).filter(|index| holds(&rows.examples[*index])).collect()
}

/// What the first of these rows shows.
fn first<T>(rows: Rows<'_>, indices: &[usize], shown: impl Fn(&str) -> Option<T>) -> Option<T> {
    all_texts(&rows.examples[*indices.first()?]).find_map(shown)
}

fn has_control(text: &str) -> bool {
    text.chars().any(|character| character.is_control() && !matches!(character, '\t' | '\n' | '\r'))
}

/// The first entity: a known name, or a number, also where the `&` is lost, as in the texts of AG News.
fn entity(text: &str) -> Option<String> {
    if !text.contains(';') {
        return None;
    }
    let named = ENTITIES.iter().filter_map(|name| Some((text.find(name)?, (*name).to_owned()))).min();
    let numbered = text.match_indices('#').find_map(|(at, _)| {
        let digits = &text[at + 1..];
        let end = digits.find(';').filter(|end| (2..=6).contains(end))?;
        let (hex, digits) = match digits[..end].strip_prefix(['x', 'X']) {
            Some(hex) => (true, hex),
            None => (false, &digits[..end]),
        };
        let is_number = !digits.is_empty()
            && digits.bytes().all(|it| if hex { it.is_ascii_hexdigit() } else { it.is_ascii_digit() });
        let start = if text[..at].ends_with('&') { at - 1 } else { at };
        is_number.then(|| (start, text[start..at + 1 + end + 1].to_owned()))
    });
    [named, numbered].into_iter().flatten().min().map(|(_, entity)| entity)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entities_are_names_and_numbers_that_end_in_a_semicolon() {
        assert_eq!(entity("Q &amp; A").as_deref(), Some("&amp;"));
        assert_eq!(entity("it&#39;s &lt;b&gt;").as_deref(), Some("&#39;"));
        assert_eq!(entity("it #39;s").as_deref(), Some("#39;"));
        assert_eq!(entity("&#x27;&quot;").as_deref(), Some("&#x27;"));
        assert_eq!(entity("Q & A; #1; &c; see #issue;"), None);
        assert_eq!(entity("AT&T #12 is late; #ü;"), None);
    }
}
