//! A text cut into pieces at what is marked in it.

use serde::Serialize;
use tasks::{KEPT, Mark};

#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Piece {
    text: String,
    /// Of a marked piece.
    label: Option<String>,
    right: bool,
}

/// Marks that do not lie in the text, which may have been cut, are left out; so is one that begins within another.
pub(super) fn pieces(text: &str, marks: &[Mark]) -> Vec<Piece> {
    let characters: Vec<char> = text.chars().collect();
    let piece = |start: usize, end: usize, mark: Option<&Mark>| Piece {
        text: characters[start..end].iter().collect(),
        label: mark.map(|mark| mark.label.clone()),
        right: mark.is_some_and(|mark| mark.right),
    };
    let (mut pieces, mut at) = (Vec::new(), 0);
    for mark in marks {
        if mark.start < at || mark.end <= mark.start || mark.end > characters.len() {
            continue;
        }
        if at < mark.start {
            pieces.push(piece(at, mark.start, None));
        }
        pieces.push(piece(mark.start, mark.end, Some(mark)));
        at = mark.end;
    }
    if at < characters.len() {
        pieces.push(piece(at, characters.len(), None));
    }
    if characters.len() == KEPT {
        pieces.push(Piece { text: " …".to_string(), label: None, right: false });
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_counted_in_characters_and_those_beyond_the_text_are_left_out() {
        let mark = |start, end, label: &str| Mark { start, end, label: label.to_string(), right: start == 0 };
        let marks = [mark(0, 4, "a"), mark(2, 6, "within"), mark(5, 9, "b"), mark(10, 99, "beyond")];
        let found = pieces("Köln über ß", &marks);
        let found: Vec<_> =
            found.iter().map(|piece| (piece.text.as_str(), piece.label.as_deref(), piece.right)).collect();
        assert_eq!(
            found,
            [("Köln", Some("a"), true), (" ", None, false), ("über", Some("b"), false), (" ß", None, false)]
        );
    }
}
