//! What stands in each column of a file, counted. What the columns mean is guessed next door.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde_json::Value;

use super::Writing;
use super::items::Items;
use crate::columns::whole;
use crate::labels::{self, is_fraction, parse};
use crate::{Error, Record};

/// Different values of a column that are remembered: more classes than any data set of texts has, and few enough to keep.
const REMEMBERED: usize = 1000;

/// The columns of a file.
#[derive(Debug, Clone, Default)]
pub struct Profile {
    pub rows: usize,
    /// In the order in which the rows show them.
    pub columns: Vec<Column>,
}

/// What stands in a column. A value that is absent, null or blank counts as none.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    pub name: String,
    pub kind: ColumnKind,
    /// Rows that have a value.
    pub filled: usize,
    /// Of the values that are strings, on average.
    pub characters: f64,
    /// Between white space, on average.
    pub words: f64,
    /// The different strings, integers and booleans and how many rows have each; `None`: more than a thousand.
    pub values: Option<BTreeMap<String, usize>>,
    /// What its texts are written in, those inside of lists and objects too.
    pub writing: Writing,
    /// Values that begin with a letter or digit, and values that end in one or in the mark that ends a sentence: where both meet,
    /// they need a space between them.
    pub begins: usize,
    pub ends: usize,
    /// Most values are written without spaces because their script has none.
    pub(super) spaceless: bool,
    /// Most values are addresses.
    pub(super) links: bool,
    /// Most values are the text of a JSON array, as the cells of a CSV hold one.
    lists: bool,
    /// What stands in its lists, or in the JSON texts of such.
    pub(super) items: Items,
}

impl Column {
    /// Whether most of its texts run into most of those of `next` if both are joined: `ArmsCotto`.
    pub fn runs_into(&self, next: &Self) -> bool {
        !self.spaceless && !next.spaceless && 2 * self.ends > self.filled && 2 * next.begins > next.filled
    }

    /// Lists, or texts that are such, as the cells of a CSV file are.
    pub fn is_of_lists(&self) -> bool {
        self.kind == ColumnKind::Lists || self.kind == ColumnKind::Strings && self.lists
    }

    /// The different strings in its lists, as many as are remembered.
    pub fn listed(&self) -> impl Iterator<Item = &str> {
        self.items.different()
    }
}

/// What the values of a column are. Cells of CSV and TSV files are what they read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnKind {
    Empty,
    Strings,
    Integers,
    Fractions,
    Booleans,
    Lists,
    Objects,
    Mixed,
}

impl ColumnKind {
    /// As messages call the values.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Strings => "strings",
            Self::Integers => "integers",
            Self::Fractions => "fractions",
            Self::Booleans => "booleans",
            Self::Lists => "lists",
            Self::Objects => "objects",
            Self::Mixed => "values of several kinds",
        }
    }

    /// What they are, said of values.
    pub(super) fn predicate(self) -> &'static str {
        if self == Self::Mixed { "of several kinds" } else { self.name() }
    }
}

impl Profile {
    /// Reads all rows: a class that only the last row has is one too.
    pub fn of(records: impl Iterator<Item = Result<Record, Error>>) -> Result<Self, Error> {
        let mut rows = 0;
        let mut tallies: IndexMap<String, Tally> = IndexMap::new();
        for record in records {
            rows += 1;
            for (name, value) in record?.fields {
                tallies.entry(name).or_default().add(&value);
            }
        }
        let columns = tallies.into_iter().map(|(name, tally)| tally.column(name)).collect();
        Ok(Self { rows, columns })
    }

    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }
}

#[derive(Debug)]
struct Tally {
    /// By kind, in the order of `ColumnKind` without `Empty` and `Mixed`.
    kinds: [usize; 6],
    texts: usize,
    characters: usize,
    words: usize,
    begins: usize,
    ends: usize,
    spaceless: usize,
    links: usize,
    lists: usize,
    items: Items,
    writing: Writing,
    values: Option<BTreeMap<String, usize>>,
}

impl Default for Tally {
    fn default() -> Self {
        let values = Some(BTreeMap::new());
        let writing = Writing::default();
        let items = Items::default();
        Self {
            kinds: [0; 6],
            texts: 0,
            characters: 0,
            words: 0,
            begins: 0,
            ends: 0,
            spaceless: 0,
            links: 0,
            lists: 0,
            items,
            writing,
            values,
        }
    }
}

impl Tally {
    fn add(&mut self, value: &Value) {
        let kind = match value {
            Value::Null => return,
            Value::String(text) if text.trim().is_empty() => return,
            Value::String(text) => {
                self.add_text(text);
                kind_of(text)
            }
            Value::Number(number) => match whole(value) {
                Some(integer) => {
                    self.remember(&integer.to_string());
                    ColumnKind::Integers
                }
                None if number.is_f64() => ColumnKind::Fractions,
                None => {
                    self.remember(&number.to_string());
                    ColumnKind::Integers
                }
            },
            Value::Bool(truth) => {
                self.remember(&truth.to_string());
                ColumnKind::Booleans
            }
            Value::Array(values) => {
                self.items.add(values);
                self.add_writing(value);
                ColumnKind::Lists
            }
            Value::Object(_) => {
                self.add_writing(value);
                ColumnKind::Objects
            }
        };
        self.kinds[kind as usize - 1] += 1;
    }

    fn add_text(&mut self, text: &str) {
        let words = text.split_whitespace().count();
        self.texts += 1;
        self.characters += text.chars().count();
        self.words += words;
        self.begins += usize::from(text.starts_with(char::is_alphanumeric));
        self.ends += usize::from(text.ends_with(|c: char| c.is_alphanumeric() || ".?!:".contains(c)));
        self.spaceless += usize::from(words == 1 && text.chars().any(|c| c.is_alphabetic() && !c.is_ascii()));
        if text.trim_start().starts_with('[') {
            self.lists += 1;
            if let Ok(values) = json::parse::<Vec<Value>>(text.as_bytes()) {
                self.items.add(&values);
            }
        }
        self.writing.add(text);
        self.links += usize::from(text.starts_with("http://") || text.starts_with("https://"));
        self.remember(text);
    }

    /// What messages say, not who says it.
    fn add_writing(&mut self, value: &Value) {
        match value {
            Value::String(text) => self.writing.add(text),
            Value::Array(values) => values.iter().for_each(|value| self.add_writing(value)),
            Value::Object(fields) => fields
                .iter()
                .filter(|(name, _)| !["role", "from", "id", "type"].contains(&name.as_str()))
                .for_each(|(_, value)| self.add_writing(value)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn remember(&mut self, value: &str) {
        let Some(values) = &mut self.values else { return };
        if let Some(rows) = values.get_mut(value) {
            *rows += 1;
        } else if values.len() < REMEMBERED {
            values.insert(value.to_owned(), 1);
        } else {
            self.values = None;
        }
    }

    fn column(self, name: String) -> Column {
        let mean = |sum: usize| sum as f64 / self.texts.max(1) as f64;
        Column {
            name,
            kind: self.kind(),
            filled: self.kinds.iter().sum(),
            characters: mean(self.characters),
            words: mean(self.words),
            begins: self.begins,
            ends: self.ends,
            spaceless: self.spaceless * 2 > self.texts,
            links: self.links * 2 > self.texts,
            lists: self.lists * 2 > self.texts,
            items: self.items,
            writing: self.writing,
            values: self.values,
        }
    }

    /// A number among texts is a text of digits, and a whole one among fractions a fraction.
    fn kind(&self) -> ColumnKind {
        let [strings, integers, fractions, booleans, lists, objects] = self.kinds.map(|count| count > 0);
        match (strings, integers, fractions, booleans, lists, objects) {
            (false, false, false, false, false, false) => ColumnKind::Empty,
            (true, _, _, false, false, false) => ColumnKind::Strings,
            (false, true, false, false, false, false) => ColumnKind::Integers,
            (false, _, true, false, false, false) => ColumnKind::Fractions,
            (false, false, false, true, false, false) => ColumnKind::Booleans,
            (false, false, false, false, true, false) => ColumnKind::Lists,
            (false, false, false, false, false, true) => ColumnKind::Objects,
            _ => ColumnKind::Mixed,
        }
    }
}

fn kind_of(text: &str) -> ColumnKind {
    match (parse(text).or_else(|| labels::whole(text)), is_fraction(text)) {
        (Some(_), _) => ColumnKind::Integers,
        (None, true) => ColumnKind::Fractions,
        (None, false) => ColumnKind::Strings,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::profile;
    use super::*;

    fn kinds(rows: Value) -> Vec<(String, ColumnKind)> {
        profile(rows).columns.into_iter().map(|column| (column.name, column.kind)).collect()
    }

    #[test]
    fn columns_are_of_the_kind_of_their_values() {
        let rows = serde_json::json!([
            {"a": "one", "b": 1, "c": 0.5, "d": true, "e": [1], "f": {}, "g": null, "h": 1, "i": "7", "j": "1.5"},
            {"a": "2", "b": "-3", "c": 2, "d": false, "e": [], "f": {}, "g": " ", "h": true, "i": "8", "j": "nan"},
        ]);
        let expected = [
            ("a", ColumnKind::Strings),
            ("b", ColumnKind::Integers),
            ("c", ColumnKind::Fractions),
            ("d", ColumnKind::Booleans),
            ("e", ColumnKind::Lists),
            ("f", ColumnKind::Objects),
            ("g", ColumnKind::Empty),
            ("h", ColumnKind::Mixed),
            ("i", ColumnKind::Integers),
            ("j", ColumnKind::Strings),
        ];
        assert_eq!(kinds(rows), expected.map(|(name, kind)| (name.to_owned(), kind)));
    }

    #[test]
    fn values_are_counted_until_there_are_too_many() {
        let rows = |count: usize| -> Value { (0..count).map(|n| serde_json::json!({"n": n, "m": n % 2})).collect() };
        let values = |profile: &Profile, name: &str| profile.column(name).unwrap().values.as_ref().map(BTreeMap::len);
        let (few, many) = (profile(rows(1000)), profile(rows(1001)));
        assert_eq!((values(&few, "n"), values(&many, "n"), values(&many, "m")), (Some(1000), None, Some(2)));
        assert_eq!(few.column("m").unwrap().values.as_ref().unwrap()["1"], 500);
    }
}
