//! The top of the page: each score from the first evaluation to the one whose adapter was kept, and all of them as a
//! table.

use serde::Serialize;

use super::number::{count, fixed};
use super::{Evaluation, Report};

#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Tile {
    name: String,
    value: String,
    /// What it was before, and when.
    from: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Table {
    scores: Vec<&'static str>,
    rows: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    step: String,
    values: Vec<String>,
    best: bool,
}

/// The scores of the validation data; those of the training data where there is no other.
pub(super) fn tiles(report: &Report<'_>) -> Vec<Tile> {
    match (report.evaluations.first(), kept(report)) {
        (Some(first), Some(kept)) => of_evaluations(first, kept),
        _ => of_training(report),
    }
}

pub(super) fn table(report: &Report<'_>) -> Option<Table> {
    let first = report.evaluations.first()?;
    let row = |evaluation: &Evaluation| Row {
        step: count(evaluation.step),
        values: named(evaluation).map(|(_, value)| fixed(value, 4)).collect(),
        best: Some(evaluation.step) == report.best_step,
    };
    Some(Table {
        scores: named(first).map(|(name, _)| name).collect(),
        rows: report.evaluations.iter().map(row).collect(),
    })
}

/// The evaluation whose adapter was kept: the best, or the last where none is called so.
fn kept<'a>(report: &'a Report<'_>) -> Option<&'a Evaluation> {
    let best = report.evaluations.iter().find(|evaluation| Some(evaluation.step) == report.best_step);
    best.or(report.evaluations.last())
}

/// Loss first, as the other scores are called.
fn named(evaluation: &Evaluation) -> impl Iterator<Item = (&'static str, f64)> {
    std::iter::once(("loss", evaluation.loss)).chain(evaluation.scores.iter().copied())
}

fn of_evaluations(first: &Evaluation, kept: &Evaluation) -> Vec<Tile> {
    // Scores before the loss: they are what people came for.
    let order = kept.scores.iter().copied().chain([("loss", kept.loss)]);
    let tile = |(name, value): (&'static str, f64)| {
        let before = named(first).find(|(other, _)| *other == name).filter(|_| first.step != kept.step);
        let from = before.map(|(_, before)| format!("{} at\u{a0}step\u{a0}{}", fixed(before, 3), count(first.step)));
        Tile { name: name.to_string(), value: fixed(value, 3), from }
    };
    order.map(tile).collect()
}

/// The mean loss of the first and the last tenth: a single step says little.
fn of_training(report: &Report<'_>) -> Vec<Tile> {
    let losses: Vec<f64> = report.steps.iter().map(|step| step.loss).filter(|loss| loss.is_finite()).collect();
    if losses.is_empty() {
        return Vec::new();
    }
    let tenth = losses.len().div_ceil(10);
    let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
    let from = (losses.len() > 1).then(|| format!("{} at the beginning", fixed(mean(&losses[..tenth]), 3)));
    let value = fixed(mean(&losses[losses.len() - tenth..]), 3);
    vec![Tile { name: "training loss".to_string(), value, from }]
}

#[cfg(test)]
mod tests {
    use super::super::Step;
    use super::*;

    fn evaluation(step: usize, loss: f64, accuracy: f64) -> Evaluation {
        Evaluation { step, loss, scores: vec![("accuracy", accuracy)] }
    }

    fn tile(name: &str, value: &str, from: Option<&str>) -> Tile {
        Tile { name: name.to_string(), value: value.to_string(), from: from.map(str::to_string) }
    }

    #[test]
    fn tiles_lead_from_the_first_evaluation_to_the_kept_one() {
        let evaluations = vec![evaluation(50, 0.7, 0.5), evaluation(100, 0.3, 0.9), evaluation(150, 0.4, 0.89)];
        let report = Report { evaluations, best_step: Some(100), ..Report::default() };
        let wanted = [
            tile("accuracy", "0.900", Some("0.500 at\u{a0}step\u{a0}50")),
            tile("loss", "0.300", Some("0.700 at\u{a0}step\u{a0}50")),
        ];
        assert_eq!(tiles(&report), wanted);
        let table = table(&report).expect("there are evaluations");
        assert_eq!(table.scores, ["loss", "accuracy"]);
        assert_eq!(table.rows.iter().map(|row| row.best).collect::<Vec<_>>(), [false, true, false]);
    }

    #[test]
    fn one_evaluation_came_from_nowhere() {
        let report = Report { evaluations: vec![evaluation(3, 0.5, 0.75)], best_step: Some(3), ..Report::default() };
        assert_eq!(tiles(&report), [tile("accuracy", "0.750", None), tile("loss", "0.500", None)]);
    }

    #[test]
    fn without_validation_data_the_training_loss_stands_alone() {
        let step = |step: usize| Step {
            step,
            epoch: 0.0,
            loss: step as f64,
            learning_rate: 0.0,
            grad_norm: 0.0,
            tokens: 0,
            seconds: 0.0,
        };
        let report = Report { steps: (1..=20).map(step).collect(), ..Report::default() };
        assert_eq!(tiles(&report), [tile("training loss", "19.50", Some("1.500 at the beginning"))]);
        assert!(table(&report).is_none());
    }
}
