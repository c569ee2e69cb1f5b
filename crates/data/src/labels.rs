//! The classes: their names, and the number of each. Where the names come from is the caller's business, except that
//! training data can give them.

use std::collections::BTreeSet;
use std::path::Path;

use crate::columns::{Example, Label};
use crate::{Error, Place, suggest};

/// The names of the classes; a class's number is its place in the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labels {
    names: Vec<String>,
}

impl Labels {
    /// At least two names, none empty, none twice.
    pub fn new(names: Vec<String>) -> Result<Labels, Error> {
        for (n, name) in names.iter().enumerate() {
            if name.trim().is_empty() {
                return Err(Error::EmptyName { number: n + 1 });
            }
            if names[..n].contains(name) {
                return Err(Error::DuplicateName { label: name.clone() });
            }
        }
        if names.len() < 2 {
            return Err(Error::TooFewNames { count: names.len() });
        }
        Ok(Labels { names })
    }

    /// The classes that training data shows: if every label is an integer, `0` to the largest, and it is an error if
    /// one is negative or one between has no row; otherwise the distinct labels in the order of their code points, and
    /// it is an error if all are numbers with fractions among them.
    pub fn from_examples(file: &Path, examples: &[Example]) -> Result<Labels, Error> {
        let mut integers = BTreeSet::new();
        let mut texts = BTreeSet::new();
        for example in examples {
            let label = known_label(file, example)?;
            match integer(label) {
                Some(integer) => _ = integers.insert(integer),
                None => _ = texts.insert(text(label)),
            }
        }
        let names = if texts.is_empty() {
            check_integers(file, examples, &integers)?;
            integers.iter().map(i64::to_string).collect()
        } else {
            check_fractions(file, examples)?;
            texts.extend(integers.iter().map(i64::to_string));
            Vec::from_iter(texts)
        };
        match names.as_slice() {
            [] => Err(Error::Empty { file: file.to_owned() }),
            [label] => Err(Error::OneClass { file: file.to_owned(), label: label.clone() }),
            _ => Ok(Labels { names }),
        }
    }

    /// In the order of their numbers.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    #[expect(clippy::len_without_is_empty, reason = "there are always two at least")]
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// The number of an example's class: that of the class named so, else the label itself if it is an integer within
    /// range.
    ///
    /// Where a class is named by an integer, integers are names only: with the classes `1` to `5`, a `0` would
    /// otherwise silently be the same as a `1`.
    pub fn index(&self, file: &Path, example: &Example) -> Result<usize, Error> {
        let label = known_label(file, example)?;
        let name = text(label);
        self.names.iter().position(|known| *known == name).or_else(|| self.by_number(label)).ok_or_else(|| {
            Error::UnknownLabel {
                place: Place::new(file, example.line),
                suggestion: self.suggestion(label, &name),
                label: name,
            }
        })
    }

    fn by_number(&self, label: &Label) -> Option<usize> {
        if self.has_integer_names() {
            return None;
        }
        usize::try_from(integer(label)?).ok().filter(|&index| index < self.names.len())
    }

    fn has_integer_names(&self) -> bool {
        self.names.iter().any(|name| parse(name).is_some())
    }

    fn suggestion(&self, label: &Label, name: &str) -> String {
        let names = self.names.iter().map(String::as_str);
        match integer(label) {
            Some(_) if self.has_integer_names() => format!("known: {}", suggest::list(names)),
            Some(_) => format!("known: {}, or 0 to {}", suggest::list(names), self.names.len() - 1),
            None => suggest::suggestion(name, names),
        }
    }
}

fn known_label<'a>(file: &Path, example: &'a Example) -> Result<&'a Label, Error> {
    example.label.as_ref().ok_or_else(|| Error::NoLabel { place: Place::new(file, example.line) })
}

fn check_integers(file: &Path, examples: &[Example], integers: &BTreeSet<i64>) -> Result<(), Error> {
    let is_negative = |example: &&Example| example.label.as_ref().and_then(integer).is_some_and(|label| label < 0);
    if let Some(label) = integers.first().copied().filter(|label| *label < 0) {
        let line = examples.iter().find(is_negative).map_or(0, |example| example.line);
        return Err(Error::NegativeLabel { place: Place::new(file, line), label });
    }
    let gap = (0..).zip(integers).find(|(expected, label)| expected != *label);
    match (gap, integers.last()) {
        (Some((missing, _)), Some(&largest)) => Err(Error::LabelGap { file: file.to_owned(), largest, missing }),
        _ => Ok(()),
    }
}

fn check_fractions(file: &Path, examples: &[Example]) -> Result<(), Error> {
    let mut first = None;
    for example in examples {
        let label = text(known_label(file, example)?);
        if !is_number(&label) {
            return Ok(());
        }
        if is_fraction(&label) {
            first.get_or_insert((example.line, label));
        }
    }
    match first {
        Some((line, label)) => Err(Error::FractionalLabel { place: Place::new(file, line), label }),
        None => Ok(()),
    }
}

/// The label as a name. CSV files have only text, so that an integer and its digits must mean the same.
pub(crate) fn text(label: &Label) -> String {
    match label {
        Label::Index(index) => index.to_string(),
        Label::Text(text) => text.clone(),
    }
}

fn integer(label: &Label) -> Option<i64> {
    match label {
        Label::Index(index) => Some(*index),
        Label::Text(text) => parse(text),
    }
}

/// Only as integers are printed: `01` and `+1` are codes that someone chose, and stay names.
pub(crate) fn parse(text: &str) -> Option<i64> {
    text.parse().ok().filter(|integer: &i64| integer.to_string() == text)
}

/// A number that is no whole one: `01` and `+1` are codes.
pub(crate) fn is_fraction(text: &str) -> bool {
    is_number(text) && text.contains(['.', 'e', 'E'])
}

/// `nan` and `infinity` are numbers to Rust, and words to everybody else.
fn is_number(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_digit()) && text.trim().parse::<f64>().is_ok()
}

#[cfg(test)]
mod tests {
    use miette::Diagnostic;

    use super::*;

    fn examples(labels: &[Label]) -> Vec<Example> {
        let example = |(n, label): (usize, &Label)| Example {
            line: n + 1,
            text: "a".into(),
            text_pair: None,
            label: Some(label.clone()),
        };
        labels.iter().enumerate().map(example).collect()
    }

    fn texts(labels: &[&str]) -> Vec<Example> {
        examples(&labels.iter().map(|label| Label::Text((*label).into())).collect::<Vec<_>>())
    }

    fn integers(labels: &[i64]) -> Vec<Example> {
        examples(&labels.iter().map(|label| Label::Index(*label)).collect::<Vec<_>>())
    }

    fn names(examples: &[Example]) -> Result<Vec<String>, Error> {
        Labels::from_examples(Path::new("train.csv"), examples).map(|labels| labels.names)
    }

    fn index(known: &[&str], label: Label) -> Result<usize, Error> {
        let labels = Labels::new(known.iter().map(|name| (*name).to_owned()).collect()).unwrap();
        labels.index(Path::new("train.csv"), &examples(&[label])[0])
    }

    #[test]
    fn strings_become_classes_in_code_point_order() {
        assert_eq!(names(&texts(&["b", "a", "Z", "b", "ä"])).unwrap(), ["Z", "a", "b", "ä"]);
    }

    #[test]
    fn integers_become_zero_to_the_largest_in_numeric_order() {
        assert_eq!(names(&integers(&[1, 0, 2, 1])).unwrap(), ["0", "1", "2"]);
        let eleven: Vec<String> = (0..=10).map(|n: i64| n.to_string()).collect();
        let as_text: Vec<&str> = eleven.iter().map(String::as_str).collect();
        assert_eq!(names(&texts(&as_text)).unwrap(), eleven, "10 stands after 9, also where a CSV file has them");
    }

    #[test]
    fn one_name_among_integers_makes_all_of_them_names() {
        assert_eq!(names(&texts(&["2", "10", "none"])).unwrap(), ["10", "2", "none"]);
        assert_eq!(names(&texts(&["01", "02"])).unwrap(), ["01", "02"]);
    }

    #[test]
    fn fractions_among_numbers_are_refused_and_among_names_are_names() {
        let error = Labels::from_examples(Path::new("train.csv"), &texts(&["1", "3.75", "0.5"])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "train.csv, line 2: the label 3.75 is a fraction, and all labels are numbers: regression is not supported"
        );
        assert!(names(&texts(&["01", "-1e-3"])).is_err() && names(&texts(&["01", "1.0"])).is_err());
        assert_eq!(names(&texts(&["3.11", "3.8", "none"])).unwrap(), ["3.11", "3.8", "none"]);
        assert_eq!(names(&texts(&["1.2.0", "1.3"])).unwrap(), ["1.2.0", "1.3"]);
        assert_eq!(index(&["0.5", "3.75"], Label::Text("3.75".into())).unwrap(), 1, "listed, they are names");
    }

    #[test]
    fn gaps_negatives_and_single_classes_are_refused() {
        let message = |examples: &[Example]| names(examples).unwrap_err().to_string();
        assert_eq!(message(&integers(&[0, 3, 1])), "train.csv: labels go up to 3, but no row has the label 2");
        assert_eq!(message(&integers(&[1, 2])), "train.csv: labels go up to 2, but no row has the label 0");
        assert_eq!(message(&integers(&[0, 1, -1])), "train.csv, line 3: the label -1 is negative");
        assert_eq!(message(&integers(&[0, 0])), "train.csv: every row has the label `0`");
        assert_eq!(message(&texts(&["yes"])), "train.csv: every row has the label `yes`");
    }

    #[test]
    fn a_row_without_a_label_is_refused_with_its_line() {
        let mut rows = texts(&["a", "b"]);
        rows[1].label = None;
        assert_eq!(
            names(&rows).unwrap_err().to_string(),
            "train.csv, line 2: the row has no label (absent, null or empty)"
        );
    }

    #[test]
    fn names_come_before_numbers() {
        assert_eq!(index(&["no", "yes"], Label::Text("yes".into())).unwrap(), 1);
        assert_eq!(index(&["no", "yes"], Label::Index(1)).unwrap(), 1);
        assert_eq!(index(&["no", "yes"], Label::Text("0".into())).unwrap(), 0);
        assert_eq!(index(&["1", "2", "3"], Label::Text("1".into())).unwrap(), 0);
        assert_eq!(index(&["1", "2", "3"], Label::Index(1)).unwrap(), 0, "text and integer mean the same class");
        assert!(index(&["1", "2", "3"], Label::Index(0)).is_err(), "0 must not silently be the class `1`");
    }

    #[test]
    fn an_unknown_label_names_the_nearest_or_all() {
        let says = |label: Label| {
            let error = index(&["negative", "positive"], label).unwrap_err();
            (error.to_string(), error.help().unwrap().to_string())
        };
        let (message, help) = says(Label::Text("postive".into()));
        assert_eq!(message, "train.csv, line 1: unknown label `postive`");
        assert_eq!(help, "did you mean `positive`?");
        assert_eq!(says(Label::Index(2)).1, "known: negative, positive, or 0 to 1");
        assert_eq!(says(Label::Text("spam".into())).1, "known: negative, positive");
    }

    #[test]
    fn given_names_are_checked() {
        let message = |names: &[&str]| {
            Labels::new(names.iter().map(|name| (*name).to_owned()).collect()).unwrap_err().to_string()
        };
        assert_eq!(message(&["a", "b", "a"]), "the class name `a` is given twice");
        assert_eq!(message(&["a", ""]), "class name number 2 is empty");
        assert_eq!(message(&["a"]), "1 class name given");
    }
}
