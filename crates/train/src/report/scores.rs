//! The scores of a run: those of the adapter that was kept, with how sure they are and what they were before training,
//! and all evaluations as a table beside their curves.

use serde::Serialize;

use super::answers::Answer;
use super::number::{count, fixed, interval};
use super::plots::Plot;
use super::{Error, Evaluation, Report, training};
use crate::output::{bytes, duration};
use ::tasks::metrics::interval::{Interval, bootstrap, normal, of_mean, wilson};
use ::tasks::metrics::{ACCURACY, Confusion, EXACT_MATCH, F1_MICRO, Generated, GenerationScores, PERPLEXITY, Scores};
use tasks::Sample;

/// More evaluations than this are shown in a box of their own.
const OPEN: usize = 30;

/// A score of the kept adapter.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Score {
    pub(super) name: &'static str,
    pub(super) value: f64,
    /// Where 95 of 100 samples of examples would have it.
    pub(super) interval: Option<Interval>,
    pub(super) before: Option<f64>,
}

/// All scores of the kept adapter, those that people came for first.
pub(super) fn kept(report: &Report, answers: &[Answer<'_>]) -> Vec<Score> {
    let Some(kept) = report.kept() else { return Vec::new() };
    let before = report.record.before.as_ref().map(|before| before.scores.named()).unwrap_or_default();
    let intervals = intervals(report, kept, answers);
    let find = |scores: &[(&str, f64)], name: &str| scores.iter().find(|(other, _)| *other == name).map(|(_, v)| *v);
    let score = |(name, value): (&'static str, f64)| Score {
        name,
        value,
        interval: intervals.iter().find(|(other, _)| *other == name).and_then(|(_, interval)| *interval),
        before: find(&before, name),
    };
    let mut scores: Vec<Score> = kept.scores.named().into_iter().map(score).collect();
    // What a language model writes says more than what it would have bet on.
    let rank = |score: &Score| match score.name {
        "exact match" | "BLEU" | "ROUGE-L" => 0,
        "loss" => 2,
        _ => 1,
    };
    scores.sort_by_key(rank);
    scores
}

/// Of each score for which the examples are at hand.
fn intervals(report: &Report, kept: &Evaluation, answers: &[Answer<'_>]) -> Vec<(&'static str, Option<Interval>)> {
    let scores = &kept.scores;
    let mut found = match scores.get(&ACCURACY) {
        Some(accuracy) if !answers.is_empty() => of_classes(accuracy, answers),
        Some(accuracy) => {
            let examples = report.record.valid.as_ref().map_or(0, |valid| valid.examples);
            vec![("accuracy", wilson(accuracy, examples))]
        }
        None => Vec::new(),
    };
    if let Some(label_sets) = &report.record.label_sets {
        found.push((F1_MICRO.name, label_sets.interval_at_half));
    }
    if let Some(error) = report.record.end.as_ref().and_then(|end| end.loss_error) {
        let (low, high) = normal(scores.loss(), error);
        found.push(("loss", Some((low, high))));
        if scores.get(&PERPLEXITY).is_some() {
            found.push(("perplexity", Some((low.exp(), high.exp()))));
        }
    }
    if scores.get(&EXACT_MATCH).is_some() {
        found.extend(of_texts(&report.record.samples));
    }
    found
}

fn of_classes(accuracy: f64, answers: &[Answer<'_>]) -> Vec<(&'static str, Option<Interval>)> {
    let classes = answers.first().map_or(0, |answer| answer.probabilities.len());
    let of = |score: fn(&Confusion) -> f64| {
        bootstrap(answers.len(), answers.len() + classes * classes, |drawn| {
            let mut confusion = Confusion::new(classes);
            drawn.iter().for_each(|i| confusion.add(answers[*i].example.target, answers[*i].predicted));
            score(&confusion)
        })
    };
    let losses: Vec<f64> = answers.iter().map(|answer| answer.example.loss).collect();
    vec![
        ("accuracy", wilson(accuracy, answers.len())),
        ("F1 macro", of(Confusion::f1_macro)),
        ("Matthews", of(Confusion::matthews)),
        ("loss", of_mean(&losses)),
    ]
}

fn of_texts(samples: &[Sample]) -> Vec<(&'static str, Option<Interval>)> {
    let references: Vec<[String; 1]> = samples.iter().map(|sample| [sample.expected.clone()]).collect();
    let generated: Vec<Generated<'_>> = samples
        .iter()
        .zip(&references)
        .map(|(sample, references)| Generated { text: &sample.written, references })
        .collect();
    let names = GenerationScores::of(&generated).scores().map(|(score, _)| score.name);
    names.into_iter().zip(GenerationScores::intervals(&generated)).collect()
}

#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Tile {
    name: String,
    value: String,
    /// `95 %: 0.851 – 0.934`
    interval: Option<String>,
    /// What it was before, and when.
    from: Option<String>,
}

/// The scores of the validation data; those of the training data where there is no other.
pub(super) fn tiles(report: &Report, kept: &[Score]) -> Vec<Tile> {
    if kept.is_empty() {
        return of_training(report);
    }
    let first = report.evaluations.first().filter(|first| report.kept().is_some_and(|kept| kept.step != first.step));
    let tile = |score: &Score| {
        let at_first = || {
            let first = first?;
            let (_, value) = first.scores.named().into_iter().find(|(name, _)| *name == score.name)?;
            Some(format!("{} at\u{a0}step\u{a0}{}", fixed(value, 3), count(first.step)))
        };
        let before = score.before.map(|before| format!("{} before training", fixed(before, 3)));
        Tile {
            name: score.name.to_string(),
            value: fixed(score.value, 3),
            interval: score.interval.map(|ends| interval(ends, |end| fixed(end, 3))),
            from: before.or_else(at_first),
        }
    };
    kept.iter().map(tile).collect()
}

/// The mean loss of the first and the last tenth: a single step says little.
fn of_training(report: &Report) -> Vec<Tile> {
    let losses: Vec<f64> = report.steps.iter().map(|step| step.loss).filter(|loss| loss.is_finite()).collect();
    if losses.is_empty() {
        return Vec::new();
    }
    let tenth = losses.len().div_ceil(10);
    let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
    let from = (losses.len() > 1).then(|| format!("{} at the start", fixed(mean(&losses[..tenth]), 3)));
    let value = fixed(mean(&losses[losses.len() - tenth..]), 3);
    vec![Tile { name: "training loss".to_string(), value, interval: None, from }]
}

/// What the run was, and what it took.
pub(super) fn facts(report: &Report) -> Vec<(&str, String)> {
    let record = &report.record;
    let mut facts: Vec<(&str, String)> =
        record.facts.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    if let Some(last) = report.steps.last() {
        let steps = match record.steps {
            planned if planned > last.step => format!("{} of {}", count(last.step), count(planned)),
            _ => count(last.step),
        };
        facts.push(("steps", steps));
    }
    if let Some(end) = &record.end {
        facts.push(("duration", duration(end.seconds)));
        facts.push(("peak memory", bytes(end.peak_memory_bytes as usize)));
    }
    facts
}

#[derive(Debug, Serialize)]
pub(super) struct Evaluations {
    names: Vec<&'static str>,
    rows: Vec<Row>,
    /// Too many to be shown at once.
    many: bool,
    plots: Vec<Plot>,
}

#[derive(Debug, Serialize)]
struct Row {
    step: String,
    values: Vec<String>,
    best: bool,
}

pub(super) fn evaluations(report: &Report) -> Result<Option<Evaluations>, Error> {
    let Some(first) = report.evaluations.first() else { return Ok(None) };
    let values = |scores: &Scores| scores.named().into_iter().map(|(_, value)| fixed(value, 4)).collect();
    let row = |evaluation: &Evaluation| Row {
        step: count(evaluation.step),
        values: values(&evaluation.scores),
        best: Some(evaluation.step) == report.best_step,
    };
    let before =
        report.record.before.as_ref().filter(|before| before.scores.named().len() == first.scores.named().len());
    let before = before.map(|before| Row { step: "before".to_string(), values: values(&before.scores), best: false });
    Ok(Some(Evaluations {
        names: first.scores.named().into_iter().map(|(name, _)| name).collect(),
        rows: before.into_iter().chain(report.evaluations.iter().map(row)).collect(),
        many: report.evaluations.len() > OPEN,
        plots: training::score_plots(report)?,
    }))
}

#[cfg(test)]
mod tests {
    use super::super::Step;
    use super::super::record::{Before, Record};
    use super::*;
    use ::tasks::metrics::of_tokens;

    fn evaluation(step: usize, loss: f64, accuracy: f64) -> Evaluation {
        Evaluation { step, scores: of_tokens(loss, accuracy) }
    }

    fn tile(name: &str, value: &str, from: Option<&str>) -> Tile {
        Tile { name: name.to_string(), value: value.to_string(), interval: None, from: from.map(str::to_string) }
    }

    #[test]
    fn tiles_lead_from_the_first_evaluation_to_the_kept_one() {
        let evaluations = vec![evaluation(50, 0.7, 0.5), evaluation(100, 0.3, 0.9), evaluation(150, 0.4, 0.89)];
        let report = Report { evaluations, best_step: Some(100), ..Report::default() };
        let wanted = [
            tile("perplexity", "1.350", Some("2.014 at\u{a0}step\u{a0}50")),
            tile("token accuracy", "0.900", Some("0.500 at\u{a0}step\u{a0}50")),
            tile("loss", "0.300", Some("0.700 at\u{a0}step\u{a0}50")),
        ];
        assert_eq!(tiles(&report, &kept(&report, &[])), wanted);
        let table = evaluations_of(&report);
        assert_eq!(table.names, ["loss", "perplexity", "token accuracy"]);
        assert_eq!(table.rows.iter().map(|row| row.best).collect::<Vec<_>>(), [false, true, false]);
    }

    fn evaluations_of(report: &Report) -> Evaluations {
        super::evaluations(report).expect("drawn in memory").expect("there are evaluations")
    }

    #[test]
    fn what_was_before_training_is_the_first_row_and_stands_under_each_score() {
        let before = Before { examples: 8, scores: of_tokens(2.0, 0.125) };
        let record = Record { before: Some(before), ..Record::default() };
        let evaluations = vec![evaluation(3, 0.5, 0.75)];
        let report = Report { evaluations, best_step: Some(3), record, ..Report::default() };
        let found = tiles(&report, &kept(&report, &[]));
        assert_eq!(found[1], tile("token accuracy", "0.750", Some("0.125 before training")));
        let table = evaluations_of(&report);
        assert_eq!(table.rows[0].step, "before");
        assert_eq!(table.rows[0].values, ["2.0000", "7.3891", "0.1250"]);
    }

    #[test]
    fn one_evaluation_came_from_nowhere() {
        let report = Report { evaluations: vec![evaluation(3, 0.0, 0.75)], best_step: Some(3), ..Report::default() };
        let found = tiles(&report, &kept(&report, &[]));
        assert_eq!(found[1..], [tile("token accuracy", "0.750", None), tile("loss", "0.000", None)]);
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
        assert_eq!(tiles(&report, &[]), [tile("training loss", "19.50", Some("1.500 at the start"))]);
        assert!(super::evaluations(&report).expect("drawn in memory").is_none());
    }
}
