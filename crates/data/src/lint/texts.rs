//! Texts that came out of their source broken, and texts without a word.

mod mojibake;

use super::digest::Number;
use super::words::is_mark;
use super::{Finding, FindingKind, Look};
use crate::columns::Example;
use mojibake::mojibake;

/// The entities that are left in texts taken from web pages.
const ENTITIES: [&str; 7] = ["&amp;", "&lt;", "&gt;", "&quot;", "&apos;", "&nbsp;", "&hellip;"];

/// What is wrong with a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    Blank,
    Mojibake {
        seen: String,
        meant: String,
    },
    Replacement,
    /// Not of a text with `Mojibake`: misread bytes come out as such characters too.
    Control,
    Entities {
        seen: String,
    },
}

/// The flaws of a row's texts.
pub(super) fn flaws(example: &Example) -> Vec<Flaw> {
    let mut flaws = Vec::new();
    if all_texts(example).all(|text| text.chars().all(is_mark)) {
        flaws.push(Flaw::Blank);
    }
    let misread = all_texts(example).find_map(mojibake);
    if misread.is_none() && all_texts(example).any(has_control) {
        flaws.push(Flaw::Control);
    }
    flaws.extend(misread.map(|(seen, meant)| Flaw::Mojibake { seen, meant }));
    if all_texts(example).any(|text| text.contains('\u{fffd}')) {
        flaws.push(Flaw::Replacement);
    }
    flaws.extend(all_texts(example).find_map(entity).map(|seen| Flaw::Entities { seen }));
    flaws
}

/// The rows with each flaw, and of the first of them what it looks like.
#[derive(Debug, Default)]
pub(super) struct Flawed {
    blank: Vec<Number>,
    mojibake: Vec<Number>,
    replacement: Vec<Number>,
    control: Vec<Number>,
    entities: Vec<Number>,
    shown_mojibake: Vec<(Number, String, String)>,
    shown_entities: Vec<(Number, String)>,
}

/// Rows of which it is kept what their flaw looks like: the first of a split is most likely among them.
const SHOWN: usize = 200;

impl Flawed {
    pub(super) fn add(&mut self, row: Number, flaws: Vec<Flaw>) {
        for flaw in flaws {
            match flaw {
                Flaw::Blank => self.blank.push(row),
                Flaw::Replacement => self.replacement.push(row),
                Flaw::Control => self.control.push(row),
                Flaw::Mojibake { seen, meant } => {
                    self.mojibake.push(row);
                    if self.shown_mojibake.len() < SHOWN {
                        self.shown_mojibake.push((row, seen, meant));
                    }
                }
                Flaw::Entities { seen } => {
                    self.entities.push(row);
                    if self.shown_entities.len() < SHOWN {
                        self.shown_entities.push((row, seen));
                    }
                }
            }
        }
    }
}

pub(super) fn find(look: &Look<'_>, findings: &mut Vec<Finding>) {
    for (split, data) in look.splits() {
        let flawed = &split.digest.flawed;
        let mut found = |kind: Option<FindingKind>, rows: &[Number]| {
            let rows: Vec<Number> = rows.iter().copied().filter(|row| split.has(*row)).collect();
            if let (Some(kind), false) = (kind, rows.is_empty()) {
                findings.push(Finding::new(kind, rows.len(), &data).at(rows.iter().map(|row| split.place(*row))));
            }
        };
        found(Some(FindingKind::Blank), &flawed.blank);
        let shown = flawed.shown_mojibake.iter().find(|it| split.has(it.0)).or(flawed.shown_mojibake.first());
        let kind = shown.map(|(_, seen, meant)| FindingKind::Mojibake { seen: seen.clone(), meant: meant.clone() });
        found(kind, &flawed.mojibake);
        found(Some(FindingKind::Replacement), &flawed.replacement);
        found(Some(FindingKind::Control), &flawed.control);
        let shown = flawed.shown_entities.iter().find(|it| split.has(it.0)).or(flawed.shown_entities.first());
        found(shown.map(|(_, seen)| FindingKind::Entities { seen: seen.clone() }), &flawed.entities);
    }
}

fn all_texts(example: &Example) -> impl Iterator<Item = &str> {
    [Some(example.text.as_str()), example.text_pair.as_deref()].into_iter().flatten()
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
