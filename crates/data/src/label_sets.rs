//! Rows of several labels, or none: lists, or cells in which a separator divides them. What divides them is found by
//! looking at all cells of a file.

use std::path::Path;

use indexmap::IndexMap;
use serde_json::Value;

use crate::columns::{classes, whole};
use crate::record::{Record, kind};
use crate::{Error, Label, Labels, Place, Tally};

/// What can divide the labels of a cell.
const SEPARATORS: [char; 3] = [',', ';', '|'];

/// What a row says of its labels.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LabelCell {
    /// A list, perhaps empty.
    List(Vec<Label>),
    /// A text, of one label or of several.
    Text(String),
}

impl LabelCell {
    /// Reads a row: a list of strings, integers or truth values, or its JSON text; a text; a single integer or truth value.
    /// Nothing (absent, null, blank) is an empty list.
    pub fn of(file: &Path, record: &Record, column: &str) -> Result<Self, Error> {
        let no_label = |value: &Value| Error::NotALabel {
            place: Place::new(file, record.line),
            column: column.to_owned(),
            found: format!("{} ({value})", kind(value)),
            advice: classes(),
        };
        let of_list = |values: &[Value]| {
            let labels: Option<Vec<Option<Label>>> = values.iter().map(label).collect();
            labels.map(|labels| Self::List(labels.into_iter().flatten().collect()))
        };
        match record.fields.get(column) {
            None | Some(Value::Null) => Ok(Self::List(Vec::new())),
            Some(Value::Array(values)) => of_list(values)
                .ok_or_else(|| no_label(values.iter().find(|value| label(value).is_none()).unwrap_or(&Value::Null))),
            Some(Value::String(text)) => match text.trim() {
                "" => Ok(Self::List(Vec::new())),
                text => match json::parse::<Vec<Value>>(text.as_bytes()).ok().and_then(|values| of_list(&values)) {
                    Some(list) => Ok(list),
                    None => Ok(Self::Text(text.to_owned())),
                },
            },
            Some(value) => match label(value) {
                Some(label) => Ok(Self::List(label.into_iter().collect())),
                None => Err(no_label(value)),
            },
        }
    }

    /// Its labels, each once, a cell's without the white space around them.
    fn labels(&self, separator: Option<char>) -> Vec<Label> {
        let all: Vec<Label> = match self {
            Self::List(labels) => labels.clone(),
            Self::Text(text) => parts(text, separator).map(|part| Label::Text(part.to_owned())).collect(),
        };
        let is_first = |(n, label): &(usize, &Label)| !all[..*n].contains(label);
        all.iter().enumerate().filter(is_first).map(|(_, label)| label.clone()).collect()
    }
}

/// `Some(None)` for a blank string, `None` for what is no label.
fn label(value: &Value) -> Option<Option<Label>> {
    match value {
        Value::String(text) if text.trim().is_empty() => Some(None),
        Value::String(text) => Some(Some(Label::Text(text.trim().to_owned()))),
        Value::Bool(truth) => Some(Some(Label::Boolean(*truth))),
        other => whole(other).map(|index| Some(Label::Index(index))),
    }
}

fn parts(text: &str, separator: Option<char>) -> impl Iterator<Item = &str> {
    text.split(move |c| Some(c) == separator).map(str::trim).filter(|part| !part.is_empty())
}

/// The different cells of a file, each with the place of its first row.
#[derive(Debug, Default)]
pub struct LabelSetTally {
    seen: IndexMap<LabelCell, Place>,
}

impl LabelSetTally {
    /// Adds the cell of a row and gives its number among the different ones.
    pub fn add(&mut self, file: &Path, line: usize, cell: LabelCell) -> usize {
        let place = || Place::new(file, line);
        let entry = self.seen.entry(cell);
        let number = entry.index();
        entry.or_insert_with(place);
        number
    }

    /// What divides the labels of the file's cells: the one of `,`, `;` and `|` that occurs in them. Where the classes are
    /// known, the first that divides all cells into classes, and none where each cell is a class as it stands.
    ///
    /// Errors: several occur, or the one that does is part of a known class's name.
    pub fn separator(&self, known: Option<&Labels>) -> Result<Option<char>, Error> {
        let present: Vec<char> = SEPARATORS.into_iter().filter(|it| self.with(*it).next().is_some()).collect();
        if let Some(known) = known {
            let fits = |separator: &Option<char>| {
                let is_class = |part: &str| known.find(&Label::Text(part.to_owned())).is_some();
                self.texts().all(|(text, _)| parts(text, *separator).all(is_class))
            };
            let candidates = || std::iter::once(None).chain(present.iter().copied().map(Some));
            if let Some(separator) = candidates().find(fits) {
                return Ok(separator);
            }
            self.check_names(known, &present)?;
        }
        self.only(&present)
    }

    /// That no class has a name which a cell would be divided in.
    fn check_names(&self, known: &Labels, present: &[char]) -> Result<(), Error> {
        for &separator in present {
            for name in known.names().iter().filter(|name| name.contains(separator)) {
                if let Some((_, place)) = self.with(separator).find(|(text, _)| text.contains(name.as_str())) {
                    return Err(Error::SeparatorInLabel { place: place.clone(), label: name.clone(), separator });
                }
            }
        }
        Ok(())
    }

    fn only(&self, present: &[char]) -> Result<Option<char>, Error> {
        // The one of most cells; of equals the last, which is least likely to be part of a name.
        let Some(separator) = present.iter().copied().max_by_key(|it| self.with(*it).count()) else { return Ok(None) };
        for &inside in present.iter().filter(|it| **it != separator) {
            let mut labels =
                self.texts().flat_map(|(text, place)| parts(text, Some(separator)).map(move |it| (it, place)));
            if let (Some((label, place)), Some((_, at))) =
                (labels.find(|(label, _)| label.contains(inside)), self.with(separator).next())
            {
                let label = label.to_owned();
                let at = Place::numbers(std::slice::from_ref(at));
                return Err(Error::MixedSeparators { place: place.clone(), label, inside, separator, at });
            }
        }
        Ok(Some(separator))
    }

    fn texts(&self) -> impl Iterator<Item = (&str, &Place)> {
        self.seen.iter().filter_map(|(cell, place)| match cell {
            LabelCell::Text(text) => Some((text.as_str(), place)),
            LabelCell::List(_) => None,
        })
    }

    fn with(&self, separator: char) -> impl Iterator<Item = (&str, &Place)> {
        self.texts().filter(move |(text, _)| text.contains(separator))
    }

    /// Adds all labels to those of which a model's classes are made: see [`Tally::labels`].
    pub fn count(&self, separator: Option<char>, labels: &mut Tally) {
        for (cell, place) in &self.seen {
            for label in cell.labels(separator) {
                labels.add_label(&label, || place.clone());
            }
        }
    }

    /// The classes of each cell, ascending, in the order in which `add` numbered the cells.
    ///
    /// Errors: a label that is no class.
    pub fn sets(&self, separator: Option<char>, labels: &Labels) -> Result<Vec<Vec<usize>>, Error> {
        let set = |(cell, place): (&LabelCell, &Place)| {
            let number = |label| labels.number(&label, || place.clone());
            let mut classes: Vec<usize> =
                cell.labels(separator).into_iter().map(number).collect::<Result<_, Error>>()?;
            classes.sort_unstable();
            classes.dedup();
            Ok(classes)
        };
        self.seen.iter().map(set).collect()
    }
}

#[cfg(test)]
mod tests {
    use miette::Diagnostic;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn cell(value: Value) -> Result<LabelCell, Error> {
        let fields = [("label".to_owned(), value)].into_iter().collect();
        LabelCell::of(Path::new("a.csv"), &Record { line: 9, fields }, "label")
    }

    fn tally(cells: &[Value]) -> LabelSetTally {
        let mut tally = LabelSetTally::default();
        for (n, value) in cells.iter().enumerate() {
            tally.add(Path::new("a.csv"), n + 2, cell(value.clone()).unwrap());
        }
        tally
    }

    fn known(names: &[&str]) -> Labels {
        Labels::new(names.iter().map(|name| (*name).to_owned()).collect()).unwrap()
    }

    /// Classes, and the set of each cell.
    fn read(cells: &[Value]) -> Result<(Vec<String>, Vec<Vec<usize>>), Error> {
        let (tally, mut labels) = (tally(cells), Tally::default());
        let separator = tally.separator(None)?;
        tally.count(separator, &mut labels);
        let labels = labels.labels(Path::new("a.csv"))?;
        Ok((labels.names().to_vec(), tally.sets(separator, &labels)?))
    }

    #[test]
    fn lists_cells_and_nothing_are_sets_of_classes_in_code_point_order() {
        let expected = (["a", "b", "c"].map(str::to_owned).to_vec(), vec![vec![1, 2], vec![], vec![0], vec![0, 1]]);
        assert_eq!(read(&[json!(["c", "b"]), json!([]), json!(["a"]), json!(["b", "a", "b"])]).unwrap(), expected);
        for separator in [",", ";", "|", ", ", " | "] {
            let cells = ["c,b", " ", "a", "b,a,b,"].map(|cell| json!(cell.replace(',', separator)));
            assert_eq!(read(&cells).unwrap(), expected, "{separator}");
        }
        assert_eq!(
            read(&[json!("[\"c\", \"b\"]"), json!(null), json!("a"), json!("[\"a\", \"b\"]")]).unwrap(),
            expected
        );
        let numbers = read(&[json!([2, 0]), json!([1])]).unwrap();
        assert_eq!(numbers, (["0", "1", "2"].map(str::to_owned).to_vec(), vec![vec![0, 2], vec![1]]));
    }

    #[test]
    fn two_separators_in_a_file_are_an_error_that_names_the_label() {
        let error = read(&[json!("a|b"), json!("b|c"), json!("Politics, World|a")]).unwrap_err();
        let message = "a.csv, line 4: the label `Politics, World` contains `,`, and labels are divided by `|` (line 2)";
        assert_eq!(error.to_string(), message);
        let help = "divide all labels by one of them, or write lists in JSON: [\"first label\", \"second label\"]";
        assert_eq!(error.help().unwrap().to_string(), help);
        let error = read(&[json!("a;b"), json!("b,c"), json!("a,c")]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "a.csv, line 2: the label `a;b` contains `;`, and labels are divided by `,` (line 3)"
        );
    }

    #[test]
    fn known_classes_tell_what_divides_them() {
        let names = known(&["Politics, World", "a", "b"]);
        let separator = |cells: &[Value]| tally(cells).separator(Some(&names));
        assert_eq!(separator(&[json!("a|Politics, World"), json!("b")]).unwrap(), Some('|'));
        assert_eq!(separator(&[json!("Politics, World"), json!("b")]).unwrap(), None);
        let error = separator(&[json!("a"), json!("a, Politics, World")]).unwrap_err();
        let message = "a.csv, line 3: the label `Politics, World` contains `,`, which divides the labels of a cell";
        assert_eq!(error.to_string(), message);
        let unknown = tally(&[json!("a;c")]);
        let found = unknown.separator(Some(&names)).unwrap();
        assert_eq!(unknown.sets(found, &names).unwrap_err().to_string(), "a.csv, line 2: unknown label `c`");
    }

    #[test]
    fn what_is_no_label_is_an_error() {
        let says = |value| cell(value).unwrap_err().to_string();
        assert_eq!(
            says(json!(["a", 0.5])),
            "a.csv, line 9: column `label` should be an integer or a string, found a fraction (0.5)"
        );
        assert_eq!(
            says(json!({"a": 1})),
            "a.csv, line 9: column `label` should be an integer or a string, found an object ({\"a\":1})"
        );
    }

    proptest! {
        #[test]
        fn joined_labels_come_apart_again(
            sets in prop::collection::vec(prop::collection::btree_set("[a-c]{1,2}", 0..4), 1..8), which in 0..3_usize,
        ) {
            let separator = SEPARATORS[which].to_string();
            let joined = |set: &std::collections::BTreeSet<String>| {
                json!(set.iter().map(String::as_str).collect::<Vec<_>>().join(&separator))
            };
            let tally = tally(&sets.iter().map(joined).collect::<Vec<_>>());
            let found = tally.separator(None).unwrap();
            prop_assert_eq!(found, sets.iter().any(|set| set.len() > 1).then_some(SEPARATORS[which]));
            let texts = |set: &std::collections::BTreeSet<String>| set.iter().cloned().map(Label::Text).collect::<Vec<_>>();
            for (n, set) in sets.iter().enumerate() {
                let cell = cell(joined(set)).unwrap();
                prop_assert_eq!(cell.labels(found), texts(set), "{}", n);
            }
        }
    }
}
