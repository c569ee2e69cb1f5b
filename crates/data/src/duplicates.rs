//! Rows that stand in the data more than once: within the training data they weigh double, in both splits they make the
//! score of validation too good, and with different labels they contradict each other. Counted here, judged elsewhere.

use std::collections::HashMap;

use crate::columns::{Example, Label};
use crate::labels;

/// How many rows repeat another. A row is its text and its second text, to the letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Duplicates {
    /// Rows of the training data that repeat an earlier one.
    pub within: usize,
    /// Rows of the validation data that stand in the training data too.
    pub across: usize,
    /// Rows among these two whose label is not that of the first such row of the training data.
    pub conflicting: usize,
}

/// Counts the repeated rows.
pub fn duplicates(train: &[Example], valid: &[Example]) -> Duplicates {
    let mut first = HashMap::with_capacity(train.len());
    let mut found = Duplicates::default();
    for example in train {
        let earlier = *first.entry(row(example)).or_insert(example);
        if !std::ptr::eq(earlier, example) {
            found.within += 1;
            found.conflicting += usize::from(label(earlier) != label(example));
        }
    }
    for example in valid {
        if let Some(earlier) = first.get(&row(example)) {
            found.across += 1;
            found.conflicting += usize::from(label(earlier) != label(example));
        }
    }
    found
}

fn row(example: &Example) -> (&str, Option<&str>) {
    (&example.text, example.text_pair.as_deref())
}

/// As a name: the splits may be files of different formats, and a CSV file has `1` as text.
fn label(example: &Example) -> Option<String> {
    example.label.as_ref().map(|label: &Label| labels::text(label))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(text: &str, pair: Option<&str>, label: Label) -> Example {
        Example { line: 1, text: text.into(), text_pair: pair.map(str::to_owned), label: Some(label) }
    }

    #[test]
    fn repeated_rows_are_counted_by_where_they_stand() {
        let train = [
            row("a", None, Label::Index(0)),
            row("a", None, Label::Index(0)),
            row("a", None, Label::Index(1)),
            row("a", Some("b"), Label::Index(0)),
            row("b", None, Label::Index(0)),
        ];
        let valid = [
            row("a", None, Label::Text("0".into())),
            row("b", None, Label::Text("1".into())),
            row("a", Some("c"), Label::Index(0)),
            row("c", None, Label::Index(0)),
            row("c", None, Label::Index(0)),
        ];
        assert_eq!(duplicates(&train, &valid), Duplicates { within: 2, across: 2, conflicting: 2 });
        assert_eq!(duplicates(&train[3..], &[]), Duplicates::default());
    }
}
