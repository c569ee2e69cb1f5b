//! Labels that are probably wrong, by confident learning (Northcutt, Jiang and Chuang 2021, "Confident Learning:
//! Estimating Uncertainty in Dataset Labels"): an example counts for a class if the class's probability reaches the mean
//! probability of that class among the examples that have its label. One that counts for another class than its own,
//! and for none with a higher probability, is a suspect. The examples must not have been trained on.

use super::answers::Answer;

/// One for each answer.
pub(super) fn suspects(answers: &[Answer<'_>]) -> Vec<bool> {
    let thresholds = thresholds(answers);
    answers.iter().map(|answer| counts_for(answer, &thresholds).is_some_and(|c| c != answer.example.target)).collect()
}

/// The mean probability of each class among the examples with its label; `None` for a class without examples.
fn thresholds(answers: &[Answer<'_>]) -> Vec<Option<f64>> {
    let classes = answers.first().map_or(0, |answer| answer.probabilities.len());
    let mut sums = vec![(0.0, 0_usize); classes];
    for answer in answers {
        let (sum, examples) = &mut sums[answer.example.target];
        *sum += answer.probabilities[answer.example.target];
        *examples += 1;
    }
    sums.into_iter().map(|(sum, examples)| (examples > 0).then(|| sum / examples as f64)).collect()
}

fn counts_for(answer: &Answer<'_>, thresholds: &[Option<f64>]) -> Option<usize> {
    let reached = |class: &usize| thresholds[*class].is_some_and(|least| answer.probabilities[*class] >= least);
    let by_probability = |a: &usize, b: &usize| answer.probabilities[*a].total_cmp(&answer.probabilities[*b]);
    (0..answer.probabilities.len()).filter(reached).max_by(by_probability)
}

#[cfg(test)]
mod tests {
    use super::super::answers::answers;
    use super::super::{Classification, Prediction};
    use super::*;

    #[test]
    fn a_confident_contradiction_is_suspect_and_a_hesitant_one_is_not() {
        let labels = ["a".to_string(), "b".to_string(), "never given".to_string()];
        let prediction = |target: usize, probabilities: [f32; 3]| Prediction {
            line: 1,
            text: "",
            text_pair: None,
            target,
            logits: probabilities.map(f32::ln).to_vec(),
            loss: 0.0,
        };
        let predictions = vec![
            prediction(0, [0.9, 0.1, 1e-9]),
            prediction(0, [0.8, 0.2, 1e-9]),
            prediction(1, [0.1, 0.9, 1e-9]),
            // "b" has a mean of (0.9 + 0.02 + 0.4) / 3 = 0.44, "a" of 0.85.
            prediction(1, [0.98, 0.02, 1e-9]),
            prediction(1, [0.6, 0.4, 1e-9]),
        ];
        let found = Classification { labels: &labels, file: "valid.csv", predictions };
        assert_eq!(suspects(&answers(&found)), [false, false, false, true, false]);
    }
}
