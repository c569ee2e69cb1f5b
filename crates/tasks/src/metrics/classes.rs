//! The confusion matrix of a classification over a whole file, and what is counted from it.

use super::{Better, Score, Scores, Span};

/// scikit-learn's `accuracy_score`.
pub static ACCURACY: Score =
    Score { key: "accuracy", name: "accuracy", span: Span::Share, better: Better::Higher, hub: Some("accuracy") };
/// scikit-learn's `f1_score(average="macro")`.
pub static F1_MACRO: Score =
    Score { key: "f1_macro", name: "F1 macro", span: Span::Share, better: Better::Higher, hub: Some("f1") };
/// scikit-learn's `matthews_corrcoef`.
pub static MATTHEWS: Score = Score {
    key: "matthews",
    name: "Matthews",
    span: Span::Correlation,
    better: Better::Higher,
    hub: Some("matthews_correlation"),
};

/// Counts of (true class, predicted class).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confusion {
    classes: usize,
    counts: Vec<u64>,
}

/// How often a class was right, how often the data says it, and how often the model does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OfClass {
    pub correct: u64,
    pub examples: u64,
    pub predicted: u64,
}

impl Confusion {
    pub fn new(classes: usize) -> Self {
        Self { classes, counts: vec![0; classes * classes] }
    }

    pub fn add(&mut self, target: usize, predicted: usize) {
        self.counts[target * self.classes + predicted] += 1;
    }

    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[u64]> {
        self.counts.chunks(self.classes)
    }

    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The counts that the scores of a class are made of.
    pub fn class(&self, class: usize) -> OfClass {
        let count = |of: &dyn Fn(usize) -> usize| (0..self.classes).map(|other| self.counts[of(other)]).sum();
        OfClass {
            correct: self.counts[class * self.classes + class],
            examples: count(&|predicted| class * self.classes + predicted),
            predicted: count(&|truth| truth * self.classes + class),
        }
    }

    fn correct(&self, class: usize) -> f64 {
        self.counts[class * self.classes + class] as f64
    }

    fn of_class(&self, class: usize) -> f64 {
        self.counts[class * self.classes..][..self.classes].iter().sum::<u64>() as f64
    }

    fn predicted(&self, class: usize) -> f64 {
        self.counts.iter().skip(class).step_by(self.classes).sum::<u64>() as f64
    }

    pub fn accuracy(&self) -> f64 {
        let correct: f64 = (0..self.classes).map(|class| self.correct(class)).sum();
        ratio(correct, self.total() as f64)
    }

    /// The mean of the classes' F1. A class that neither occurs nor is predicted is left out, as in scikit-learn, which
    /// sees only the labels that occur.
    pub fn f1_macro(&self) -> f64 {
        let scores: Vec<f64> = (0..self.classes)
            .map(|class| (2.0 * self.correct(class), self.of_class(class) + self.predicted(class)))
            .filter(|(_, counted)| *counted > 0.0)
            .map(|(twice_correct, counted)| twice_correct / counted)
            .collect();
        ratio(scores.iter().sum(), scores.len() as f64)
    }

    /// Gorodkin 2004, the correlation of predictions and truth for any number of classes; 0 where it is undefined.
    pub fn matthews(&self) -> f64 {
        let total = self.total() as f64;
        let correct: f64 = (0..self.classes).map(|class| self.correct(class)).sum();
        let sum = |f: &dyn Fn(usize) -> f64| (0..self.classes).map(f).sum::<f64>();
        let covariance = correct * total - sum(&|k| self.of_class(k) * self.predicted(k));
        let of_truth = total * total - sum(&|k| self.of_class(k).powi(2));
        let of_predictions = total * total - sum(&|k| self.predicted(k).powi(2));
        ratio(covariance, (of_truth * of_predictions).sqrt())
    }

    /// The scores of a classification; [`ACCURACY`] comes first.
    pub fn scores(&self, loss: f64) -> Scores {
        let all = [(&ACCURACY, self.accuracy()), (&F1_MACRO, self.f1_macro()), (&MATTHEWS, self.matthews())];
        Scores::new(loss, all)
    }
}

fn ratio(part: f64, whole: f64) -> f64 {
    if whole == 0.0 { 0.0 } else { part / whole }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_those_of_scikit_learn() {
        let truth = [0, 1, 2, 2, 1, 0, 2, 1, 1, 0];
        let predicted = [0, 2, 2, 2, 1, 1, 2, 1, 0, 0];
        let mut confusion = Confusion::new(3);
        truth.iter().zip(predicted).for_each(|(t, p)| confusion.add(*t, p));
        // scikit-learn 1.9: accuracy_score, f1_score(average="macro"), matthews_corrcoef
        assert!((confusion.accuracy() - 0.7).abs() < 1e-12);
        assert!((confusion.f1_macro() - 0.698_412_698_412_698_4).abs() < 1e-12, "{}", confusion.f1_macro());
        assert!((confusion.matthews() - 0.560_606_060_606_060_6).abs() < 1e-12, "{}", confusion.matthews());
    }

    #[test]
    fn one_predicted_class_correlates_with_nothing_and_absent_classes_do_not_count() {
        let mut confusion = Confusion::new(4);
        confusion.add(0, 0);
        confusion.add(1, 0);
        assert_eq!(confusion.matthews(), 0.0);
        // F1 of class 0 is 2/3, of class 1 it is 0; classes 2 and 3 do not occur.
        assert!((confusion.f1_macro() - 1.0 / 3.0).abs() < 1e-12);
    }
}
