//! The validation examples that the model answers wrongly, the surest of its errors first: there wrong labels gather.

use std::collections::BTreeMap;
use std::path::Path;

use data::Place;
use serde::Serialize;

use super::answers::{Answer, are_telling};
use super::number::{count, counted, fixed, percent};
use super::suspects::suspects;

/// Errors shown before a class is chosen.
const SHOWN: usize = 20;
/// Errors that can be shown of each class, given or predicted, and of all.
const OF_CLASS: usize = 5;
const MOST: usize = 200;
/// Characters of a text that are shown.
const TEXT: usize = 320;

#[derive(Debug, Serialize)]
pub(super) struct Examples<'a> {
    /// How many errors there are.
    errors: String,
    hardest: Vec<Hard<'a>>,
    /// Those beyond are seen when their class is chosen.
    shown: usize,
    given: Vec<Choice<'a>>,
    predicted: Vec<Choice<'a>>,
    /// Whether the answers say something about the labels.
    judged: bool,
    /// Of all examples, `3 of 200 labels`; `None` where none is.
    suspects: Option<String>,
}

/// A class that errors can be filtered by.
#[derive(Debug, PartialEq, Serialize)]
struct Choice<'a> {
    class: usize,
    label: &'a str,
    errors: String,
}

#[derive(Debug, Serialize)]
struct Hard<'a> {
    place: String,
    loss: String,
    text: String,
    text_pair: Option<String>,
    given: &'a str,
    given_class: usize,
    given_probability: String,
    predicted: &'a str,
    predicted_class: usize,
    predicted_probability: String,
    suspect: bool,
}

pub(super) fn hardest<'a>(labels: &'a [String], file: &str, answers: &[Answer<'_>]) -> Examples<'a> {
    let judged = are_telling(answers);
    // The settings have the whole path.
    let file = Path::new(file).file_name().map_or(Path::new(file), Path::new);
    let suspects = if judged { suspects(answers) } else { vec![false; answers.len()] };
    let mut errors: Vec<usize> = (0..answers.len()).filter(|i| !answers[*i].is_correct()).collect();
    errors.sort_by(|a, b| answers[*b].example.loss.total_cmp(&answers[*a].example.loss));
    let hard = |i: usize| {
        let Answer { example, probabilities, predicted } = &answers[i];
        Hard {
            place: Place::new(file, example.line).to_string(),
            loss: fixed(example.loss, 2),
            text: cut(&example.text, TEXT),
            text_pair: example.text_pair.as_deref().map(|text| cut(text, TEXT)),
            given: &labels[example.target],
            given_class: example.target,
            given_probability: percent(probabilities[example.target]),
            predicted: &labels[*predicted],
            predicted_class: *predicted,
            predicted_probability: percent(probabilities[*predicted]),
            suspect: suspects[i],
        }
    };
    let number = suspects.iter().filter(|suspect| **suspect).count();
    let choices = |class: fn(&Answer<'_>) -> usize| {
        let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
        errors.iter().for_each(|i| *counts.entry(class(&answers[*i])).or_default() += 1);
        let choice = |(class, errors): (usize, usize)| Choice { class, label: &labels[class], errors: count(errors) };
        counts.into_iter().map(choice).collect()
    };
    Examples {
        errors: format!("{} of {}", count(errors.len()), counted(answers.len(), "validation text", "validation texts")),
        given: choices(|answer| answer.example.target),
        predicted: choices(|answer| answer.predicted),
        shown: SHOWN.min(errors.len()),
        hardest: listed(&errors, answers).into_iter().map(hard).collect(),
        judged,
        suspects: (number > 0).then(|| format!("{number} of {}", counted(answers.len(), "label", "labels"))),
    }
}

/// The hardest of all, then the hardest of each class that are not among them.
fn listed(errors: &[usize], answers: &[Answer<'_>]) -> Vec<usize> {
    let mut of_class: BTreeMap<(bool, usize), usize> = BTreeMap::new();
    let mut listed = Vec::new();
    for (rank, i) in errors.iter().enumerate() {
        let mut is_wanted = rank < SHOWN;
        for class in [(true, answers[*i].example.target), (false, answers[*i].predicted)] {
            let seen = of_class.entry(class).or_default();
            *seen += 1;
            is_wanted |= *seen <= OF_CLASS;
        }
        if is_wanted && listed.len() < MOST {
            listed.push(*i);
        }
    }
    listed
}

pub(super) fn cut(text: &str, characters: usize) -> String {
    let text = text.trim();
    match text.char_indices().nth(characters) {
        Some((end, _)) => format!("{} …", text[..end].trim_end()),
        None => text.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::answers::answers;
    use super::*;
    use tasks::{Classification, Prediction};

    fn labels() -> Vec<String> {
        vec!["a".to_string(), "b".to_string()]
    }

    fn found(number: usize, is_wrong: impl Fn(usize) -> bool) -> Classification {
        let prediction = |line: usize| {
            let loss = (line * 7 % 31) as f64;
            let logits = if is_wrong(line) { vec![0.0, 1.0 + loss as f32] } else { vec![1.0 + loss as f32, 0.0] };
            Prediction { line, text: "some text".to_string(), text_pair: None, target: 0, logits, loss }
        };
        Classification { labels: labels(), predictions: (1..=number).map(prediction).collect() }
    }

    #[test]
    fn the_highest_loss_stands_first() {
        let (labels, found) = (labels(), found(30, |_| true));
        let shown = hardest(&labels, "valid.csv", &answers(&found));
        assert_eq!(shown.hardest[0].place, "valid.csv, line 22");
        assert_eq!((shown.hardest[0].loss.as_str(), shown.hardest[1].loss.as_str()), ("30.00", "29.00"));
        assert_eq!((shown.shown, shown.errors.as_str()), (20, "30 of 30 validation texts"));
        assert_eq!(shown.given, [Choice { class: 0, label: "a", errors: "30".to_string() }]);
    }

    #[test]
    fn an_answer_that_is_right_is_not_shown_whatever_its_loss() {
        let (labels, found) = (labels(), found(30, |line| line == 5));
        let shown = hardest(&labels, "valid.csv", &answers(&found));
        assert_eq!(shown.hardest.iter().map(|hard| hard.place.as_str()).collect::<Vec<_>>(), ["valid.csv, line 5"]);
        let none = self::found(3, |_| false);
        assert!(hardest(&labels, "valid.csv", &answers(&none)).hardest.is_empty());
    }

    #[test]
    fn each_class_has_its_own_errors_behind_the_hardest() {
        let names: Vec<String> = (0..40).map(|class| class.to_string()).collect();
        // Class 39 has the errors with the smallest loss.
        let prediction = |line: usize| {
            let target = if line > 30 { 39 } else { 0 };
            let logits = (0..40).map(|class| if class == 5 { 3.0 } else { 0.0 }).collect();
            let loss = 100.0 - line as f64;
            Prediction { line, text: String::new(), text_pair: None, target, logits, loss }
        };
        let found = Classification { labels: names.clone(), predictions: (1..=40).map(prediction).collect() };
        let shown = hardest(&names, "valid.csv", &answers(&found));
        assert_eq!(shown.hardest.len(), SHOWN + OF_CLASS);
        assert!(shown.hardest[SHOWN..].iter().all(|hard| hard.given == "39"));
    }

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(cut("  größer als Ä \n", 20), "größer als Ä");
        assert_eq!(cut("größer als Ä", 8), "größer a …");
        assert_eq!(cut("größer als Ä", 7), "größer …");
    }
}
