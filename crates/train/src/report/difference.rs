//! What differs between two texts, word by word: the longest sequence of words that stands in both is the same, all else
//! is not.

use serde::Serialize;

/// A piece of a text, and whether the other text has it in its place.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Piece {
    text: String,
    same: bool,
}

/// Words of a text beyond which it is not compared: the table of the two lengths would be large.
const MOST: usize = 1500;

/// Both texts in pieces; joined they are the texts again. White space belongs to the word before it.
pub(super) fn difference(left: &str, right: &str) -> (Vec<Piece>, Vec<Piece>) {
    let (a, b) = (words(left), words(right));
    if a.len() > MOST || b.len() > MOST {
        let whole = |text: &str| vec![Piece { text: text.to_string(), same: true }];
        return (whole(left), whole(right));
    }
    let (mut same_left, mut same_right) = (vec![false; a.len()], vec![false; b.len()]);
    for (i, j) in common(&a, &b) {
        (same_left[i], same_right[j]) = (true, true);
    }
    (pieces(&a, &same_left), pieces(&b, &same_right))
}

/// Each with the white space behind it, the first also with that before it.
fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut start = 0;
    let mut in_space = false;
    for (at, letter) in text.char_indices() {
        if in_space && !letter.is_whitespace() && !text[start..at].trim().is_empty() {
            words.push(&text[start..at]);
            start = at;
        }
        in_space = letter.is_whitespace();
    }
    if start < text.len() {
        words.push(&text[start..]);
    }
    words
}

/// The pairs of a longest common subsequence, by dynamic programming from the end.
fn common(a: &[&str], b: &[&str]) -> Vec<(usize, usize)> {
    let same = |i: usize, j: usize| a[i].trim() == b[j].trim();
    let width = b.len() + 1;
    let mut lengths = vec![0_u16; (a.len() + 1) * width];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            lengths[i * width + j] = match same(i, j) {
                true => lengths[(i + 1) * width + j + 1] + 1,
                false => lengths[(i + 1) * width + j].max(lengths[i * width + j + 1]),
            };
        }
    }
    let (mut i, mut j, mut pairs) = (0, 0, Vec::new());
    while i < a.len() && j < b.len() {
        if same(i, j) {
            pairs.push((i, j));
            (i, j) = (i + 1, j + 1);
        } else if lengths[(i + 1) * width + j] >= lengths[i * width + j + 1] {
            i += 1;
        } else {
            j += 1;
        }
    }
    pairs
}

fn pieces(words: &[&str], same: &[bool]) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    for (word, same) in words.iter().zip(same) {
        match pieces.last_mut() {
            Some(last) if last.same == *same => last.text.push_str(word),
            _ => pieces.push(Piece { text: word.to_string(), same: *same }),
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn marked(pieces: &[Piece]) -> String {
        let mark = |piece: &Piece| match piece.same {
            true => piece.text.clone(),
            false => format!("[{}]", piece.text),
        };
        pieces.iter().map(mark).collect()
    }

    #[test]
    fn words_that_are_missing_on_the_other_side_are_marked() {
        let (left, right) =
            difference("Oak House is a museum near the Post Office.", "Oak House is a pub near Post Office.");
        assert_eq!(marked(&left), "Oak House is a [museum ]near [the ]Post Office.");
        assert_eq!(marked(&right), "Oak House is a [pub ]near Post Office.");
        let (left, right) = difference("", "all new");
        assert_eq!((marked(&left), marked(&right)), (String::new(), "[all new]".to_string()));
    }

    #[test]
    fn white_space_alone_is_no_difference() {
        let (left, right) = difference(" a\nb  c", "a b c\n");
        assert!(left.iter().chain(&right).all(|piece| piece.same), "{left:?}, {right:?}");
    }

    proptest! {
        #[test]
        fn pieces_are_the_text_and_both_sides_share_the_same_words(left in "[ab \n]{0,40}", right in "[abc ]{0,40}") {
            let (a, b) = difference(&left, &right);
            let joined = |pieces: &[Piece]| pieces.iter().map(|piece| piece.text.as_str()).collect::<String>();
            prop_assert_eq!(joined(&a), left);
            prop_assert_eq!(joined(&b), right);
            let same = |pieces: &[Piece]| {
                let same: String = pieces.iter().filter(|piece| piece.same).map(|piece| format!("{} ", piece.text)).collect();
                same.split_whitespace().map(str::to_string).collect::<Vec<_>>()
            };
            prop_assert_eq!(same(&a), same(&b));
        }
    }
}
