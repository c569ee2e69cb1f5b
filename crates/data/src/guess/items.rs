//! What stands in the lists of a column.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::columns::whole;

/// Different strings that are remembered: more than any set of labels has.
const REMEMBERED: usize = 100;

/// The items of all lists, counted.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Items {
    pub(super) count: usize,
    strings: usize,
    integers: usize,
    /// Objects with the offsets and the label of an entity.
    entities: usize,
    /// Strings that read as the tag of a word: `O`, `B-PER`.
    tags: usize,
    /// The different strings; too many are as good as any number.
    different: BTreeSet<String>,
}

impl Items {
    pub(super) fn add(&mut self, values: &[Value]) {
        for value in values {
            self.count += 1;
            match value {
                Value::String(text) => {
                    self.strings += 1;
                    self.tags += usize::from(is_tag(text));
                    if self.different.len() <= REMEMBERED {
                        self.different.insert(text.clone());
                    }
                }
                Value::Object(fields) => {
                    self.entities += usize::from(["start", "end", "label"].iter().all(|key| fields.contains_key(*key)));
                }
                other => self.integers += usize::from(whole(other).is_some()),
            }
        }
    }

    pub(super) fn are_strings(&self) -> bool {
        self.count > 0 && self.strings == self.count
    }

    pub(super) fn are_integers(&self) -> bool {
        self.count > 0 && self.integers == self.count
    }

    pub(super) fn are_entities(&self) -> bool {
        self.count > 0 && self.entities == self.count
    }

    /// Tags with prefixes.
    pub(super) fn are_tags(&self) -> bool {
        self.are_strings() && self.tags == self.count
    }

    pub(super) fn different(&self) -> impl Iterator<Item = &str> {
        self.different.iter().map(String::as_str)
    }

    /// Few different ones, each of which occurs twice at least.
    pub(super) fn repeat(&self) -> bool {
        self.are_integers() || self.are_strings() && self.different.len() <= REMEMBERED.min(self.count / 2)
    }
}

fn is_tag(text: &str) -> bool {
    text == "O" || text.starts_with(['B', 'I', 'E', 'S', 'L', 'U']) && text.get(1..2) == Some("-")
}
