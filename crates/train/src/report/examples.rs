//! The validation examples with the highest loss, where wrong labels gather, and what a language model wrote.

use std::path::Path;

use data::Place;
use serde::Serialize;

use super::answers::{Answer, are_telling};
use super::number::{counted, fixed, percent};
use super::suspects::suspects;
use super::{Classification, Sample};

/// Examples shown.
const SHOWN: usize = 20;
/// Characters of a text that are shown.
const TEXT: usize = 320;
const WRITTEN: usize = 1200;

#[derive(Debug, Serialize)]
pub(super) struct Examples<'a> {
    hardest: Vec<Hard<'a>>,
    /// Whether the answers say something about the labels.
    judged: bool,
    /// Of all examples, `3 of 200 labels`; `None` where none is.
    suspects: Option<String>,
}

#[derive(Debug, Serialize)]
struct Hard<'a> {
    place: String,
    loss: String,
    text: String,
    text_pair: Option<String>,
    given: &'a str,
    given_probability: String,
    predicted: &'a str,
    predicted_probability: String,
    wrong: bool,
    suspect: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct Written {
    prompt: String,
    written: String,
    expected: Option<String>,
}

pub(super) fn hardest<'a>(classification: &'a Classification<'_>, answers: &[Answer<'_>]) -> Examples<'a> {
    let judged = are_telling(answers);
    let suspects = if judged { suspects(answers) } else { vec![false; answers.len()] };
    let mut order: Vec<usize> = (0..answers.len()).collect();
    order.sort_by(|a, b| answers[*b].example.loss.total_cmp(&answers[*a].example.loss));
    let hard = |i: usize| {
        let Answer { example, probabilities, predicted } = &answers[i];
        Hard {
            place: Place::new(Path::new(classification.file), example.line).to_string(),
            loss: fixed(example.loss, 2),
            text: cut(example.text, TEXT),
            text_pair: example.text_pair.map(|text| cut(text, TEXT)),
            given: &classification.labels[example.target],
            given_probability: percent(probabilities[example.target]),
            predicted: &classification.labels[*predicted],
            predicted_probability: percent(probabilities[*predicted]),
            wrong: *predicted != example.target,
            suspect: suspects[i],
        }
    };
    let number = suspects.iter().filter(|suspect| **suspect).count();
    Examples {
        hardest: order.into_iter().take(SHOWN).map(hard).collect(),
        judged,
        suspects: (number > 0).then(|| format!("{number} of {}", counted(answers.len(), "label", "labels"))),
    }
}

pub(super) fn written(sample: &Sample<'_>) -> Written {
    Written {
        prompt: cut(sample.prompt, WRITTEN),
        written: cut(sample.written, WRITTEN),
        expected: sample.expected.map(|text| cut(text, WRITTEN)),
    }
}

fn cut(text: &str, characters: usize) -> String {
    let text = text.trim();
    match text.char_indices().nth(characters) {
        Some((end, _)) => format!("{} …", text[..end].trim_end()),
        None => text.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Prediction;
    use super::super::answers::answers;
    use super::*;

    #[test]
    fn the_highest_loss_stands_first() {
        let labels = ["a".to_string(), "b".to_string()];
        let prediction = |line: usize, loss: f64| Prediction {
            line,
            text: "some text",
            text_pair: None,
            target: 0,
            logits: vec![0.0, loss as f32],
            loss,
        };
        let predictions = (1..=30).map(|line| prediction(line, f64::from((line as u32 * 7) % 31))).collect();
        let found = Classification { labels: &labels, file: "valid.csv", predictions };
        let shown = hardest(&found, &answers(&found)).hardest;
        assert_eq!(shown.len(), SHOWN);
        assert_eq!(shown[0].place, "valid.csv, line 22");
        assert_eq!((shown[0].loss.as_str(), shown[1].loss.as_str()), ("30.00", "29.00"));
        assert!(shown[0].wrong && shown[0].predicted == "b");
    }

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(cut("  größer als Ä \n", 20), "größer als Ä");
        assert_eq!(cut("größer als Ä", 8), "größer a …");
        assert_eq!(cut("größer als Ä", 7), "größer …");
    }
}
