//! What the model answers to the validation examples: a probability for each class, and the class it would choose.

use super::{Classification, Prediction};

pub(super) struct Answer<'a> {
    pub(super) example: &'a Prediction<'a>,
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

pub(super) fn answers<'a>(classification: &'a Classification<'_>) -> Vec<Answer<'a>> {
    classification.predictions.iter().map(answer).collect()
}

fn answer<'a>(example: &'a Prediction<'_>) -> Answer<'a> {
    let probabilities = softmax(&example.logits);
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
    fn the_first_of_equally_probable_classes_is_chosen() {
        let example =
            Prediction { line: 1, text: "", text_pair: None, target: 0, logits: vec![0.0, 2.0, 2.0], loss: 0.0 };
        assert_eq!(answer(&example).predicted, 1);
    }
}
