//! What the model answers to the validation examples: a probability for each class, and the class it would choose.

use std::collections::BTreeMap;

use tasks::{Classification, Prediction};

pub(super) struct Answer<'a> {
    pub(super) example: &'a Prediction,
    pub(super) probabilities: Vec<f64>,
    /// The most probable class, the first of equals.
    pub(super) predicted: usize,
}

impl Answer<'_> {
    pub(super) fn confidence(&self) -> f64 {
        self.probabilities[self.predicted]
    }

    pub(super) fn is_correct(&self) -> bool {
        self.predicted == self.example.target
    }
}

pub(super) fn answers<'a>(classification: &'a Classification) -> Vec<Answer<'a>> {
    classification.predictions.iter().map(answer).collect()
}

/// Fewer say nothing about a model.
const ENOUGH: usize = 50;

/// Whether probabilities can be judged by these answers, and labels by those: there are enough of them, and more are
/// right than the largest class alone would give, by twice the standard error of that share.
pub(super) fn are_telling(answers: &[Answer<'_>]) -> bool {
    let mut sizes: BTreeMap<usize, usize> = BTreeMap::new();
    for answer in answers {
        *sizes.entry(answer.example.target).or_default() += 1;
    }
    let share = |part: usize| part as f64 / answers.len() as f64;
    let largest = share(sizes.into_values().max().unwrap_or_default());
    let accuracy = share(answers.iter().filter(|answer| answer.is_correct()).count());
    let error = (largest * (1.0 - largest) / answers.len() as f64).sqrt();
    answers.len() >= ENOUGH && accuracy > largest + 2.0 * error
}

fn answer<'a>(example: &'a Prediction) -> Answer<'a> {
    let probabilities = softmax(&example.logits);
    // A model that answers with NaN has no most probable class; the first stands for it.
    let larger = |best: usize, i: usize| if probabilities[i] > probabilities[best] { i } else { best };
    let predicted = (0..probabilities.len()).fold(0, larger);
    Answer { example, probabilities, predicted }
}

fn softmax(logits: &[f32]) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f64> = logits.iter().map(|logit| f64::from(logit - largest).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_are_the_softmax_and_large_logits_do_not_overflow() {
        let found = softmax(&[1000.0, 1000.0 + std::f32::consts::LN_2, 900.0]);
        // exp(0) : exp(ln 2) is 1 : 2; ln 2 beside 1000 keeps four digits in f32.
        assert!((found[0] - 1.0 / 3.0).abs() < 1e-4 && (found[1] - 2.0 / 3.0).abs() < 1e-4, "{found:?}");
        assert!(found[2] < 1e-40);
    }

    #[test]
    fn few_answers_and_those_of_a_guess_tell_nothing() {
        // Of class "b" is every third; so many answers are wrong.
        let telling = |number: usize, wrong: usize| {
            let prediction = |n: usize| {
                let target = usize::from(n.is_multiple_of(3));
                let right = if target == 1 { vec![0.0, 1.0] } else { vec![1.0, 0.0] };
                let logits = if n < wrong { right.into_iter().rev().collect() } else { right };
                Prediction { line: n, text: String::new(), text_pair: None, target, logits, loss: 0.0 }
            };
            let predictions = (0..number).map(prediction).collect();
            are_telling(&answers(&Classification { labels: Vec::new(), predictions }))
        };
        assert!(!telling(0, 0) && !telling(49, 0) && telling(50, 0));
        // 2/3 and twice 0.047 are 76 of 100.
        assert!(!telling(100, 33) && !telling(100, 25) && telling(100, 20));
    }

    #[test]
    fn the_first_of_equally_probable_classes_is_chosen() {
        let (logits, text) = (vec![0.0, 2.0, 2.0], String::new());
        let example = Prediction { line: 1, text, text_pair: None, target: 0, logits, loss: 0.0 };
        assert_eq!(answer(&example).predicted, 1);
    }
}
