//! Labels that are probably wrong, by confident learning (Northcutt, Jiang and Chuang 2021, "Confident Learning:
//! Estimating Uncertainty in Dataset Labels"): an example counts for a class if the class's probability reaches the mean
//! probability of that class among the examples that have its label. One that counts for another class than its own,
//! and for none with a higher probability, is a suspect. The examples must not have been trained on.
//!
//! Confident learning takes the model for good and the labels for doubtful. Where a model is not good, its errors would be
//! called wrong labels. So a class accuses only if the answers that count for it are nearly always right: at most one
//! of ten of them can then be a suspect, whatever the model is.

use super::answers::Answer;

/// Of the answers that count for a class, the share that has its label.
const TRUSTED: f64 = 0.9;
/// Examples with its label that a class needs.
const ENOUGH: usize = 5;

/// One for each answer.
pub(super) fn suspects(answers: &[Answer<'_>]) -> Vec<bool> {
    let thresholds = thresholds(answers);
    let counted: Vec<Option<usize>> = answers.iter().map(|answer| counts_for(answer, &thresholds)).collect();
    let trusted = trusted(answers, &counted, thresholds.len());
    let is_suspect = |(answer, class): (&Answer<'_>, &Option<usize>)| {
        class.is_some_and(|class| class != answer.example.target && trusted[class])
    };
    answers.iter().zip(&counted).map(is_suspect).collect()
}

/// The mean probability of each class among the examples with its label; `None` for a class with too few of them.
fn thresholds(answers: &[Answer<'_>]) -> Vec<Option<f64>> {
    let classes = answers.first().map_or(0, |answer| answer.probabilities.len());
    let mut sums = vec![(0.0, 0_usize); classes];
    for answer in answers {
        let (sum, examples) = &mut sums[answer.example.target];
        *sum += answer.probabilities[answer.example.target];
        *examples += 1;
    }
    sums.into_iter().map(|(sum, examples)| (examples >= ENOUGH).then(|| sum / examples as f64)).collect()
}

fn counts_for(answer: &Answer<'_>, thresholds: &[Option<f64>]) -> Option<usize> {
    let reached = |class: &usize| thresholds[*class].is_some_and(|least| answer.probabilities[*class] >= least);
    let by_probability = |a: &usize, b: &usize| answer.probabilities[*a].total_cmp(&answer.probabilities[*b]);
    (0..answer.probabilities.len()).filter(reached).max_by(by_probability)
}

fn trusted(answers: &[Answer<'_>], counted: &[Option<usize>], classes: usize) -> Vec<bool> {
    let mut found = vec![(0_usize, 0_usize); classes];
    for (answer, class) in answers.iter().zip(counted) {
        if let Some(class) = class {
            found[*class].0 += usize::from(answer.example.target == *class);
            found[*class].1 += 1;
        }
    }
    found.into_iter().map(|(right, all)| right as f64 >= TRUSTED * all as f64).collect()
}

#[cfg(test)]
mod tests {
    use super::super::answers::answers;
    use super::*;
    use tasks::{Classification, Prediction};

    fn suspects_of(examples: impl IntoIterator<Item = (usize, Vec<f32>)>) -> Vec<bool> {
        let prediction = |(target, probabilities): (usize, Vec<f32>)| Prediction {
            line: 1,
            text: String::new(),
            text_pair: None,
            target,
            logits: probabilities.into_iter().map(f32::ln).collect(),
            loss: 0.0,
        };
        let predictions = examples.into_iter().map(prediction).collect();
        suspects(&answers(&Classification { labels: Vec::new(), predictions }))
    }

    #[test]
    fn a_confident_contradiction_is_suspect_and_a_hesitant_one_is_not() {
        // A third class is never given.
        let certain = |class: usize| (class, if class == 0 { vec![0.9, 0.1, 1e-9] } else { vec![0.1, 0.9, 1e-9] });
        let mut examples: Vec<(usize, Vec<f32>)> = (0..20).map(|n| certain(n % 2)).collect();
        // "b" has a mean of (10 x 0.9 + 0.02 + 0.4) / 12 = 0.785, "a" of 0.9.
        examples.push((1, vec![0.98, 0.02, 1e-9]));
        examples.push((1, vec![0.6, 0.4, 1e-9]));
        let found = suspects_of(examples);
        assert_eq!(found.iter().filter(|suspect| **suspect).count(), 1);
        assert!(found[20]);
    }

    #[test]
    fn a_model_that_is_often_wrong_accuses_no_label() {
        // Of the answers that count for a class, two of ten have the other label.
        let example = |n: usize| {
            let (target, chosen) = (n % 2, if n % 10 < 2 { (n + 1) % 2 } else { n % 2 });
            (target, if chosen == 0 { vec![0.95, 0.05] } else { vec![0.05, 0.95] })
        };
        assert!(!suspects_of((0..200).map(example)).contains(&true));
    }

    #[test]
    fn whatever_the_model_no_more_than_a_tenth_is_suspect() {
        for wrong in 0..50 {
            let example = |n: usize| {
                let (target, chosen) = (n % 2, if n < wrong * 4 { (n + 1) % 2 } else { n % 2 });
                (target, if chosen == 0 { vec![0.95, 0.05] } else { vec![0.05, 0.95] })
            };
            let found = suspects_of((0..200).map(example));
            assert!(found.iter().filter(|suspect| **suspect).count() <= 20, "{wrong} of 50 wrong");
        }
    }

    #[test]
    fn a_class_with_few_examples_accuses_nobody() {
        let mut examples = vec![(0, vec![0.9_f32, 0.1]); 10];
        examples.extend(vec![(1, vec![0.2, 0.8]); 4]);
        examples.push((0, vec![0.01, 0.99]));
        assert!(!suspects_of(examples).contains(&true));
    }
}
