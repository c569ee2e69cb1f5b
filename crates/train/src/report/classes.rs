//! Scores by class: which classes the model knows, and which it does not.

use serde::Serialize;

use super::answers::Answer;
use super::number::count;
use ::tasks::metrics::Confusion;

/// More classes than this are shown from the weakest on, in a box of their own.
pub(super) const MANY: usize = 20;

#[derive(Debug, Serialize)]
pub(super) struct Classes<'a> {
    rows: Vec<Row<'a>>,
    /// The mean over the classes that occur.
    macro_average: Row<'static>,
    many: bool,
}

#[derive(Debug, Serialize)]
struct Row<'a> {
    label: &'a str,
    precision: String,
    recall: String,
    f1: String,
    /// F1 in per cent, the length of a bar.
    bar: f64,
    support: String,
}

/// As scikit-learn's `precision_recall_fscore_support`, but that a score without a denominator is `None` instead of 0.
#[derive(Debug, Clone, Copy, PartialEq)]
struct OfClass {
    precision: Option<f64>,
    recall: Option<f64>,
    f1: Option<f64>,
    support: u64,
}

pub(super) fn confusion(labels: &[String], answers: &[Answer<'_>]) -> Confusion {
    let mut confusion = Confusion::new(labels.len());
    answers.iter().for_each(|answer| confusion.add(answer.example.target, answer.predicted));
    confusion
}

pub(super) fn classes<'a>(labels: &'a [String], answers: &[Answer<'_>]) -> Classes<'a> {
    let scores = by_class(&confusion(labels, answers));
    let many = labels.len() > MANY;
    let mut order: Vec<usize> = (0..labels.len()).collect();
    if many {
        // Those that do not occur last: there is nothing to know about them.
        order.sort_by(|a, b| key(&scores[*a]).total_cmp(&key(&scores[*b])));
    }
    let rows = order.into_iter().map(|class| Row::new(&labels[class], &scores[class])).collect();
    Classes { rows, macro_average: Row::new("mean of classes", &mean(&scores)), many }
}

fn key(scores: &OfClass) -> f64 {
    scores.f1.unwrap_or(f64::INFINITY)
}

fn by_class(confusion: &Confusion) -> Vec<OfClass> {
    let rows: Vec<&[u64]> = confusion.rows().collect();
    let of = |class: usize| {
        let (correct, support) = (rows[class][class], rows[class].iter().sum::<u64>());
        let predicted: u64 = rows.iter().map(|row| row[class]).sum();
        let ratio = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
        OfClass {
            precision: ratio(correct, predicted),
            recall: ratio(correct, support),
            f1: ratio(2 * correct, support + predicted),
            support,
        }
    };
    (0..rows.len()).map(of).collect()
}

fn mean(scores: &[OfClass]) -> OfClass {
    let mean = |score: fn(&OfClass) -> Option<f64>| {
        let known: Vec<f64> = scores.iter().filter_map(score).collect();
        (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
    };
    OfClass {
        precision: mean(|of| of.precision),
        recall: mean(|of| of.recall),
        f1: mean(|of| of.f1),
        support: scores.iter().map(|of| of.support).sum(),
    }
}

impl<'a> Row<'a> {
    fn new(label: &'a str, scores: &OfClass) -> Self {
        let score = |score: Option<f64>| score.map_or("–".to_string(), |score| format!("{score:.3}"));
        Self {
            label,
            precision: score(scores.precision),
            recall: score(scores.recall),
            f1: score(scores.f1),
            bar: (scores.f1.unwrap_or(0.0) * 1000.0).round() / 10.0,
            support: count(scores.support as usize),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(truth: &[usize], predicted: &[usize], classes: usize) -> Vec<OfClass> {
        let mut confusion = Confusion::new(classes);
        truth.iter().zip(predicted).for_each(|(t, p)| confusion.add(*t, *p));
        by_class(&confusion)
    }

    #[test]
    fn scores_are_those_of_scikit_learn() {
        let scores = of(&[0, 1, 2, 2, 1, 0, 2, 1, 1, 0], &[0, 2, 2, 2, 1, 1, 2, 1, 0, 0], 3);
        // scikit-learn 1.9: precision_recall_fscore_support
        let wanted = [(2.0 / 3.0, 2.0 / 3.0, 2.0 / 3.0, 3), (2.0 / 3.0, 0.5, 4.0 / 7.0, 4), (0.75, 1.0, 6.0 / 7.0, 3)];
        for (found, (precision, recall, f1, support)) in scores.iter().zip(wanted) {
            let close = |found: Option<f64>, wanted: f64| found.is_some_and(|found| (found - wanted).abs() < 1e-12);
            assert!(close(found.precision, precision) && close(found.recall, recall), "{found:?}");
            assert!(close(found.f1, f1) && found.support == support, "{found:?}");
        }
    }

    #[test]
    fn what_never_happened_has_no_score() {
        // Class 1 occurs and is never predicted; class 2 neither.
        let scores = of(&[0, 1], &[0, 0], 3);
        assert_eq!(scores[1], OfClass { precision: None, recall: Some(0.0), f1: Some(0.0), support: 1 });
        assert_eq!(scores[2], OfClass { precision: None, recall: None, f1: None, support: 0 });
        assert_eq!(mean(&scores).f1, Some(1.0 / 3.0));
    }
}
