//! The classes: their names, and the number of each. Where the names come from is the caller's business, except that
//! training data can give them.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use indexmap::IndexMap;

use crate::columns::{Example, Label};
use crate::{Error, Place};

/// The names of the classes; a class's number is its place in the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labels {
    names: Vec<String>,
    numbers: HashMap<String, usize>,
    has_integer_names: bool,
}

impl Labels {
    /// At least two names, none empty, none twice.
    pub fn new(names: Vec<String>) -> Result<Labels, Error> {
        let mut numbers = HashMap::with_capacity(names.len());
        for (n, name) in names.iter().enumerate() {
            if name.trim().is_empty() {
                return Err(Error::EmptyName { number: n + 1 });
            }
            if numbers.insert(name.clone(), n).is_some() {
                return Err(Error::DuplicateName { label: name.clone() });
            }
        }
        if names.len() < 2 {
            return Err(Error::TooFewNames { count: names.len() });
        }
        let has_integer_names = names.iter().any(|name| parse(name).is_some());
        Ok(Labels { names, numbers, has_integer_names })
    }

    /// The classes that training data shows: see [`Tally::labels`].
    pub fn from_examples(file: &Path, examples: &[Example]) -> Result<Labels, Error> {
        let mut tally = Tally::default();
        for example in examples {
            tally.add(file, example)?;
        }
        tally.labels(file)
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
        self.number(known_label(file, example)?, || Place::new(file, example.line))
    }

    /// As `index`, of a label that stands in a place.
    pub fn number(&self, label: &Label, place: impl Fn() -> Place) -> Result<usize, Error> {
        self.find(label).ok_or_else(|| {
            let name = text(label);
            Error::UnknownLabel { place: place(), suggestion: self.suggestion(label, &name), label: name }
        })
    }

    /// As `number`; `None` for a label that is no class.
    pub(crate) fn find(&self, label: &Label) -> Option<usize> {
        let name = text(label);
        self.named(&name).or_else(|| self.by_number(label)).or_else(|| self.by_truth(&name))
    }

    fn named(&self, name: &str) -> Option<usize> {
        self.numbers.get(name).copied()
    }

    fn by_number(&self, label: &Label) -> Option<usize> {
        let number = integer(label)?;
        if self.has_integer_names {
            // A 1.0 is the class `1`.
            return self.named(&number.to_string());
        }
        usize::try_from(number).ok().filter(|&index| index < self.names.len())
    }

    /// The class of a truth value: the one of its name, in whatever case it is written, else of two classes the first
    /// for false and the second for true, as Transformers makes 0 and 1 of them.
    fn by_truth(&self, name: &str) -> Option<usize> {
        let truth = truth(name)?;
        let alike: Vec<usize> =
            (0..self.names.len()).filter(|&index| self::truth(&self.names[index]) == Some(truth)).collect();
        match alike.as_slice() {
            [index] => Some(*index),
            [] if self.names.len() == 2 && !self.names.iter().any(|name| self::truth(name).is_some()) => {
                Some(usize::from(truth))
            }
            _ => None,
        }
    }

    fn suggestion(&self, label: &Label, name: &str) -> String {
        let names = self.names.iter().map(String::as_str);
        match integer(label) {
            Some(_) if self.has_integer_names => format!("known: {}", suggest::list(names)),
            Some(_) => format!("known: {}, or 0 to {}", suggest::list(names), self.names.len() - 1),
            None => suggest::suggestion(name, names),
        }
    }
}

fn known_label<'a>(file: &Path, example: &'a Example) -> Result<&'a Label, Error> {
    example.label.as_ref().ok_or_else(|| Error::NoLabel { place: Place::new(file, example.line) })
}

/// The different labels of training data, each with the place of its first row.
#[derive(Debug, Default)]
pub struct Tally {
    seen: IndexMap<Label, Place>,
}

impl Tally {
    /// Adds the label of a row, which must have one, and gives its number among the different ones.
    pub fn add(&mut self, file: &Path, example: &Example) -> Result<usize, Error> {
        Ok(self.add_label(known_label(file, example)?, || Place::new(file, example.line)))
    }

    /// As `add`, of a label that stands in a place.
    pub fn add_label(&mut self, label: &Label, place: impl Fn() -> Place) -> usize {
        if let Some(known) = self.seen.get_index_of(label) {
            return known;
        }
        self.seen.insert_full(label.clone(), place()).0
    }

    /// The different labels, in the order of their numbers.
    pub(crate) fn seen(&self) -> impl ExactSizeIterator<Item = &Label> {
        self.seen.keys()
    }

    /// The number that `add` gave a label.
    pub(crate) fn number(&self, label: &Label) -> Option<usize> {
        self.seen.get_index_of(label)
    }

    /// Where a label that was added stood first.
    ///
    /// # Panics
    /// If it was not.
    pub(crate) fn place(&self, label: &Label) -> Place {
        self.seen[label].clone()
    }

    /// The number of each class, in the order in which `add` numbered the labels.
    pub fn numbers(&self, labels: &Labels) -> Result<Vec<usize>, Error> {
        self.seen.iter().map(|(label, place)| labels.number(label, || place.clone())).collect()
    }

    /// The classes: if every label is an integer, `0` to the largest, and it is an error if one is negative or one between
    /// has no row; otherwise the distinct labels in the order of their code points, so that false comes before true, and it
    /// is an error if all are numbers with fractions among them, or if some are truth values and some integers. Messages
    /// about all rows name `file`.
    pub fn labels(&self, file: &Path) -> Result<Labels, Error> {
        self.check_kinds()?;
        let integers: Option<BTreeSet<i64>> = self.seen.keys().map(integer).collect();
        let names: Vec<String> = match integers {
            Some(integers) => {
                self.check_integers(file, &integers)?;
                integers.iter().map(i64::to_string).collect()
            }
            None => {
                self.check_fractions()?;
                self.seen.keys().map(text).collect::<BTreeSet<String>>().into_iter().collect()
            }
        };
        match names.as_slice() {
            [] => Err(Error::Empty { file: file.to_owned() }),
            [label] => Err(Error::OneClass { file: file.to_owned(), label: label.clone() }),
            _ => Labels::new(names),
        }
    }

    /// Whether `true` and `1` are one class, only who wrote them knows.
    fn check_kinds(&self) -> Result<(), Error> {
        let boolean = self.seen.iter().find_map(|(label, place)| match label {
            Label::Boolean(truth) => Some((*truth, place)),
            Label::Index(_) | Label::Text(_) => None,
        });
        let number = self.seen.iter().find_map(|(label, place)| Some((integer(label)?, place)));
        match (boolean, number) {
            (Some((boolean, at)), Some((number, place))) => {
                let at =
                    if at.is_in_file_of(place) { Place::numbers(std::slice::from_ref(at)) } else { at.to_string() };
                Err(Error::MixedLabels { place: place.clone(), number, at, boolean })
            }
            _ => Ok(()),
        }
    }

    fn check_integers(&self, file: &Path, integers: &BTreeSet<i64>) -> Result<(), Error> {
        if let Some(&smallest) = integers.first().filter(|label| **label < 0) {
            let is_negative = |(label, _): &(&Label, &Place)| integer(label).is_some_and(|label| label < 0);
            let Some((label, place)) = self.seen.iter().find(is_negative) else { return Ok(()) };
            return Err(Error::NegativeLabel { place: place.clone(), label: integer(label).unwrap_or(smallest) });
        }
        let gap = (0..).zip(integers).find(|(expected, label)| expected != *label);
        match (gap, integers.last()) {
            (Some((missing, _)), Some(&largest)) => Err(Error::LabelGap { file: file.to_owned(), largest, missing }),
            _ => Ok(()),
        }
    }

    fn check_fractions(&self) -> Result<(), Error> {
        if !self.seen.keys().all(|label| is_number(&text(label))) {
            return Ok(());
        }
        match self.seen.iter().find(|(label, _)| is_fraction(&text(label))) {
            Some((label, place)) => Err(Error::FractionalLabel { place: place.clone(), label: text(label) }),
            None => Ok(()),
        }
    }
}

/// The label as a name. CSV files have only text, so that an integer and its digits must mean the same.
pub(crate) fn text(label: &Label) -> String {
    match label {
        Label::Index(index) => index.to_string(),
        Label::Boolean(truth) => truth.to_string(),
        Label::Text(text) => text.clone(),
    }
}

fn integer(label: &Label) -> Option<i64> {
    match label {
        Label::Index(index) => Some(*index),
        Label::Boolean(_) => None,
        Label::Text(text) => parse(text).or_else(|| whole(text)),
    }
}

fn truth(name: &str) -> Option<bool> {
    let is = |word: &str| name.eq_ignore_ascii_case(word);
    if is("true") { Some(true) } else { is("false").then_some(false) }
}

/// As pandas prints an integer of a column that has a gap: `1.0`, or `1,0` where commas divide decimals.
pub(crate) fn whole(text: &str) -> Option<i64> {
    if let Some(digits) = text.strip_suffix(",0") {
        return parse(digits);
    }
    let (digits, zeros) = text.split_once('.')?;
    if !zeros.is_empty() && zeros.bytes().all(|zero| zero == b'0') { parse(digits) } else { None }
}

/// Only as integers are printed: `01` and `+1` are codes that someone chose, and stay names.
pub(crate) fn parse(text: &str) -> Option<i64> {
    text.parse().ok().filter(|integer: &i64| integer.to_string() == text)
}

/// A number that is no whole one: `01` and `+1` are codes.
pub(crate) fn is_fraction(text: &str) -> bool {
    is_number(text) && text.contains(['.', 'e', 'E']) && whole(text).is_none()
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
    fn whole_numbers_with_a_point_are_integers() {
        assert_eq!(names(&texts(&["1.0", "0.0", "1.0"])).unwrap(), ["0", "1"]);
        assert_eq!(
            names(&texts(&["1.0", "0", "2.0"])).unwrap(),
            ["0", "1", "2"],
            "as two writers of one table have it"
        );
        assert_eq!(names(&texts(&["3.0", "3.1", "none"])).unwrap(), ["3.0", "3.1", "none"], "among names a name");
        assert_eq!(names(&texts(&["1,0", "0,0"])).unwrap(), ["0", "1"], "with the comma of other countries");
        assert_eq!(names(&texts(&["1,000", "2,000"])).unwrap(), ["1,000", "2,000"], "thousands are names");
        let gap = names(&texts(&["2.0", "0.0"])).unwrap_err();
        assert_eq!(gap.to_string(), "train.csv: labels go up to 2, but no row has the label 1");
        let fraction = names(&texts(&["2.0", "0.5"])).unwrap_err();
        assert!(fraction.to_string().starts_with("train.csv, line 2: the label 0.5 is a fraction"), "{fraction}");
        assert_eq!(index(&["0", "1"], Label::Text("1.0".into())).unwrap(), 1);
        assert_eq!(index(&["no", "yes"], Label::Text("1.0".into())).unwrap(), 1);
        assert_eq!(index(&["1.0", "2.0"], Label::Text("2.0".into())).unwrap(), 1, "listed, they are names");
        assert!(index(&["1", "2"], Label::Text("0.0".into())).is_err());
    }

    #[test]
    fn of_truth_values_false_is_the_first_class() {
        let truths = |truths: &[bool]| examples(&truths.iter().map(|it| Label::Boolean(*it)).collect::<Vec<_>>());
        assert_eq!(names(&truths(&[true, false, true])).unwrap(), ["false", "true"]);
        assert_eq!(names(&truths(&[true])).unwrap_err().to_string(), "train.csv: every row has the label `true`");
        assert_eq!(names(&texts(&["True", "False"])).unwrap(), ["False", "True"], "in a table of text they are names");
        let mixed = names(&examples(&[Label::Boolean(true), Label::Index(0)])).unwrap_err();
        assert_eq!(mixed.to_string(), "train.csv, line 2: the label is the number 0, in line 1 it is the boolean true");
        for known in [["false", "true"], ["False", "True"], ["0", "1"], ["negative", "positive"]] {
            assert_eq!(index(&known, Label::Boolean(true)).unwrap(), 1, "{known:?}");
            assert_eq!(index(&known, Label::Boolean(false)).unwrap(), 0, "{known:?}");
        }
        assert_eq!(index(&["false", "true"], Label::Text("True".into())).unwrap(), 1, "a table beside JSON");
        assert!(index(&["a", "b", "c"], Label::Boolean(true)).is_err());
        assert!(index(&["true", "unsure"], Label::Boolean(false)).is_err());
    }

    #[test]
    fn fractions_among_numbers_are_refused_and_among_names_are_names() {
        let error = Labels::from_examples(Path::new("train.csv"), &texts(&["1", "3.75", "0.5"])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "train.csv, line 2: the label 3.75 is a fraction, and all labels are numbers, not classes"
        );
        assert!(names(&texts(&["01", "-1e-3"])).is_err() && names(&texts(&["01", "1.5"])).is_err());
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
