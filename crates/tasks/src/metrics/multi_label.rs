//! Scores of several labels a row, as scikit-learn defines them, and the threshold of each label.

use super::interval::{Interval, bootstrap};
use super::{ACCURACY, Better, F1_MACRO, Score, Scores, Span};

/// scikit-learn's `f1_score(average="micro")`.
pub static F1_MICRO: Score =
    Score { key: "f1_micro", name: "F1 micro", span: Span::Share, better: Better::Higher, hub: Some("f1") };
/// scikit-learn's `f1_score(average="samples")`.
pub static F1_SAMPLES: Score =
    Score { key: "f1_samples", name: "F1 samples", span: Span::Share, better: Better::Higher, hub: Some("f1") };

/// The threshold of a label that validation data says nothing of.
pub const THRESHOLD: f64 = 0.5;

/// How often a label was right, how often the model gives it, and how often the data has it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LabelCounts {
    pub correct: usize,
    pub predicted: usize,
    pub support: usize,
}

impl LabelCounts {
    fn of(pairs: impl Iterator<Item = (bool, bool)>) -> Self {
        let mut counts = Self::default();
        pairs.for_each(|(truth, predicted)| counts.add(truth, predicted));
        counts
    }

    fn add(&mut self, truth: bool, predicted: bool) {
        self.correct += usize::from(truth && predicted);
        self.predicted += usize::from(predicted);
        self.support += usize::from(truth);
    }

    pub fn precision(&self) -> f64 {
        ratio(self.correct, self.predicted)
    }

    pub fn recall(&self) -> f64 {
        ratio(self.correct, self.support)
    }

    pub fn f1(&self) -> f64 {
        ratio(2 * self.correct, self.predicted + self.support)
    }
}

/// What the scores of a file are counted from, row by row.
#[derive(Debug, Clone)]
pub struct LabelSetCounts {
    labels: Vec<LabelCounts>,
    rows: usize,
    equal: usize,
    /// The sum over the rows.
    f1_of_rows: f64,
}

impl LabelSetCounts {
    pub fn new(labels: usize) -> Self {
        Self { labels: vec![LabelCounts::default(); labels], rows: 0, equal: 0, f1_of_rows: 0.0 }
    }

    /// A row, with an entry for each label.
    pub fn add(&mut self, truth: &[bool], predicted: &[bool]) {
        let pairs = || truth.iter().copied().zip(predicted.iter().copied());
        pairs().zip(&mut self.labels).for_each(|((truth, predicted), counts)| counts.add(truth, predicted));
        self.rows += 1;
        self.equal += usize::from(truth == predicted);
        self.f1_of_rows += LabelCounts::of(pairs()).f1();
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn labels(&self) -> &[LabelCounts] {
        &self.labels
    }

    /// `f1_score(average="micro")`: of all labels together. As the others with `zero_division=0`.
    pub fn f1_micro(&self) -> f64 {
        let sum = |of: fn(&LabelCounts) -> usize| self.labels.iter().map(of).sum();
        LabelCounts { correct: sum(|it| it.correct), predicted: sum(|it| it.predicted), support: sum(|it| it.support) }
            .f1()
    }

    /// `f1_score(average="macro")`: the mean of all labels.
    pub fn f1_macro(&self) -> f64 {
        self.labels.iter().map(LabelCounts::f1).sum::<f64>() / self.labels.len().max(1) as f64
    }

    /// `f1_score(average="samples")`: the mean of all rows.
    pub fn f1_samples(&self) -> f64 {
        self.f1_of_rows / self.rows.max(1) as f64
    }

    /// `accuracy_score`: the share of rows with all labels right and no other.
    pub fn accuracy(&self) -> f64 {
        ratio(self.equal, self.rows)
    }

    /// [`F1_MICRO`] comes first.
    pub fn scores(&self, loss: f64) -> Scores {
        let all = [
            (&F1_MICRO, self.f1_micro()),
            (&F1_MACRO, self.f1_macro()),
            (&F1_SAMPLES, self.f1_samples()),
            (&ACCURACY, self.accuracy()),
        ];
        Scores::new(loss, all)
    }
}

/// The bootstrapped interval of micro F1, drawing rows.
pub fn f1_micro_interval(truth: &[Vec<bool>], predicted: &[Vec<bool>]) -> Option<Interval> {
    bootstrap(truth.len(), truth.len(), f1_micro_of(truth, predicted))
}

/// Micro F1 of some of the rows, named by their indices.
pub fn f1_micro_of(truth: &[Vec<bool>], predicted: &[Vec<bool>]) -> impl Fn(&[usize]) -> f64 + use<> {
    let of_row = |(t, p): (&Vec<bool>, &Vec<bool>)| LabelCounts::of(t.iter().copied().zip(p.iter().copied()));
    let rows: Vec<LabelCounts> = truth.iter().zip(predicted).map(of_row).collect();
    move |drawn| {
        let (mut correct, mut counted) = (0, 0);
        for row in drawn.iter().map(|row| &rows[*row]) {
            correct += row.correct;
            counted += row.predicted + row.support;
        }
        ratio(2 * correct, counted)
    }
}

/// The labels whose probability is at least their threshold.
pub fn chosen(probabilities: &[f64], thresholds: &[f64]) -> Vec<bool> {
    probabilities.iter().zip(thresholds).map(|(probability, threshold)| probability >= threshold).collect()
}

/// For a label, the threshold of the greatest F1 on these rows; of equal ones that nearest to 0.5. A threshold lies in
/// the middle between two probabilities that occur, so that it does not hang on the last bit of one. 0.5 for a label that
/// no row has.
pub fn best_threshold(truth: &[bool], probabilities: &[f64]) -> f64 {
    let support = truth.iter().filter(|truth| **truth).count();
    if support == 0 {
        return THRESHOLD;
    }
    let mut rows: Vec<(f64, bool)> = probabilities.iter().copied().zip(truth.iter().copied()).collect();
    rows.sort_unstable_by(|one, other| other.0.total_cmp(&one.0));
    let (mut correct, mut predicted) = (0, 0);
    let mut best: Option<(f64, f64)> = None;
    for equal in rows.chunk_by(|one, other| one.0 == other.0) {
        correct += equal.iter().filter(|row| row.1).count();
        predicted += equal.len();
        let below = rows.get(predicted).map_or(0.0, |row| row.0);
        let threshold = between(below, equal[0].0);
        let f1 = ratio(2 * correct, predicted + support);
        let is_better = |(then, other): (f64, f64)| {
            f1 > then || f1 == then && (threshold - THRESHOLD).abs() < (other - THRESHOLD).abs()
        };
        if best.is_none_or(is_better) {
            best = Some((f1, threshold));
        }
    }
    best.map_or(THRESHOLD, |(_, threshold)| threshold)
}

/// A threshold that takes `high` and leaves `low`: 0.5 where that does, which says the same and more plainly.
fn between(low: f64, high: f64) -> f64 {
    let middle = f64::midpoint(low, high);
    match low < THRESHOLD && THRESHOLD <= high {
        true => THRESHOLD,
        // The middle of two neighbours is one of them.
        false if middle > low => middle,
        false => high,
    }
}

fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TRUTH: [[u8; 4]; 12] = [
        [0, 1, 0, 0],
        [0, 0, 0, 0],
        [1, 0, 0, 0],
        [0, 0, 0, 0],
        [0, 1, 0, 0],
        [1, 0, 1, 0],
        [1, 0, 0, 0],
        [0, 1, 1, 0],
        [0, 0, 1, 0],
        [0, 1, 1, 0],
        [1, 0, 1, 0],
        [1, 1, 0, 0],
    ];
    const PROBABILITIES: [[f64; 4]; 12] = [
        [0.26, 0.87, 0.3, 0.1],
        [0.37, 0.6, 0.57, 0.1],
        [0.75, 0.3, 0.32, 0.1],
        [0.25, 0.44, 0.43, 0.1],
        [0.07, 0.74, 0.56, 0.1],
        [0.31, 0.52, 0.89, 0.1],
        [0.39, 0.58, 0.53, 0.1],
        [0.29, 0.44, 0.78, 0.1],
        [0.16, 0.32, 0.57, 0.1],
        [0.02, 0.74, 0.67, 0.1],
        [0.73, 0.01, 0.75, 0.1],
        [0.86, 0.34, 0.5, 0.1],
    ];

    fn truth() -> Vec<Vec<bool>> {
        TRUTH.iter().map(|row| row.iter().map(|it| *it == 1).collect()).collect()
    }

    fn predicted() -> Vec<Vec<bool>> {
        PROBABILITIES.iter().map(|row| chosen(row, &[THRESHOLD; 4])).collect()
    }

    fn close(found: f64, wanted: f64) {
        assert!((found - wanted).abs() < 1e-12, "{found}, {wanted}");
    }

    #[test]
    fn scores_are_those_of_scikit_learn() {
        // scikit-learn 1.9: f1_score (micro, macro, samples), accuracy_score, precision_recall_fscore_support with zero_division=0
        let mut scores = LabelSetCounts::new(4);
        truth().iter().zip(predicted()).for_each(|(truth, predicted)| scores.add(truth, &predicted));
        close(scores.f1_micro(), 2.0 / 3.0);
        close(scores.f1_macro(), 0.502_435_064_935_065);
        close(scores.f1_samples(), 0.611_111_111_111_111);
        close(scores.accuracy(), 0.5);
        let precision = [1.0, 0.5, 0.555_555_555_555_555_6, 0.0];
        let (recall, f1) = ([0.6, 0.6, 1.0, 0.0], [0.75, 0.545_454_545_454_545_4, 0.714_285_714_285_714_3, 0.0]);
        for (n, label) in scores.labels().iter().enumerate() {
            close(label.precision(), precision[n]);
            close(label.recall(), recall[n]);
            close(label.f1(), f1[n]);
        }
        assert_eq!(scores.labels().iter().map(|it| it.support).collect::<Vec<_>>(), [5, 5, 5, 0]);
    }

    #[test]
    fn the_threshold_is_that_of_the_greatest_f1() {
        let best = |truth: &[u8], p: &[f64]| best_threshold(&truth.iter().map(|it| *it == 1).collect::<Vec<_>>(), p);
        assert_eq!(best(&[1, 1, 0, 0], &[0.3, 0.25, 0.125, 0.05]), 0.1875);
        assert_eq!(best(&[1, 0], &[0.9, 0.1]), 0.5, "a gap that holds 0.5");
        assert_eq!(best(&[0, 0], &[0.9, 0.1]), 0.5, "a label without rows");
        // 1 of 1 predicted, or 2 of 4: F1 is 2/3 both times, at 0.85 and at 0.2.
        assert_eq!(best(&[1, 0, 0, 1], &[0.9, 0.8, 0.6, 0.4]), 0.2);
        assert_eq!(best(&[1, 1], &[0.5, 0.5]), 0.5);
    }

    #[test]
    fn the_interval_holds_the_score() {
        let (low, high) = f1_micro_interval(&truth(), &predicted()).unwrap();
        assert!(low > 0.3 && low < 0.6 && high > 0.7 && high < 1.0, "{low}, {high}");
    }

    proptest! {
        #[test]
        fn no_other_threshold_gives_a_greater_f1(rows in prop::collection::vec((any::<bool>(), 0..20_u32), 1..30)) {
            let (truth, p): (Vec<bool>, Vec<f64>) = rows.iter().map(|(truth, p)| (*truth, f64::from(*p) / 20.0)).unzip();
            let f1 = |threshold: f64| {
                LabelCounts::of(truth.iter().copied().zip(p.iter().map(|p| *p >= threshold))).f1()
            };
            let best = f1(best_threshold(&truth, &p));
            for n in 0..=40 {
                prop_assert!(f1(f64::from(n) / 40.0) <= best);
            }
        }
    }
}
