//! How a run ended, and what came of it: a line of `results.jsonl`.

use std::path::Path;

use serde::Serialize;
use serde_json::{Map, Value};
use tasks::metrics::{Score, Scores};

use crate::report::Report;

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub(crate) enum Ran {
    Finished(Outcome),
    Diverged(Diverged),
}

impl Ran {
    pub(crate) fn outcome(&self) -> Option<&Outcome> {
        match self {
            Self::Finished(outcome) => Some(outcome),
            Self::Diverged(_) => None,
        }
    }

    pub(crate) fn diverged(&self) -> Option<&Diverged> {
        match self {
            Self::Finished(_) => None,
            Self::Diverged(diverged) => Some(diverged),
        }
    }
}

/// A run whose loss or gradient became no number: it has no score.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Diverged {
    pub(crate) candidate: String,
    pub(crate) run: String,
    pub(crate) method: String,
    pub(crate) seed: u64,
    pub(crate) learning_rate: f64,
    /// `step 9: the loss is not a number`
    pub(crate) error: String,
}

impl Diverged {
    pub(crate) fn new(run: &Path, error: String, known: Known<'_>) -> Self {
        Self {
            candidate: known.candidate.to_owned(),
            run: run.display().to_string(),
            method: known.method.to_owned(),
            seed: known.seed,
            learning_rate: known.learning_rate,
            error,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Outcome {
    pub(crate) candidate: String,
    pub(crate) run: String,
    pub(crate) method: String,
    pub(crate) seed: u64,
    pub(crate) learning_rate: f64,
    pub(crate) trainable_parameters: usize,
    pub(crate) peak_memory_bytes: u64,
    /// The median.
    pub(crate) step_seconds: f64,
    pub(crate) steps: usize,
    pub(crate) seconds: f64,
    /// Of the tensors that were saved.
    pub(crate) size_bytes: u64,
    pub(crate) best_step: usize,
    /// Of the evaluation whose weights were kept.
    pub(crate) scores: Scores,
}

impl Outcome {
    /// Of a finished run; what the run itself does not say is in `known`. `None` for one that was not evaluated.
    pub(crate) fn of(report: &Report, known: Known<'_>) -> Option<Self> {
        let (kept, end) = (report.kept()?, report.record.end?);
        Some(Self {
            candidate: known.candidate.to_owned(),
            run: report.place.clone(),
            method: known.method.to_owned(),
            seed: known.seed,
            learning_rate: known.learning_rate,
            trainable_parameters: known.trainable_parameters,
            peak_memory_bytes: end.peak_memory_bytes,
            step_seconds: median(report.steps.iter().map(|step| step.seconds).collect()),
            steps: report.steps.last().map_or(0, |last| last.step),
            seconds: end.seconds,
            size_bytes: size(Path::new(&report.place)),
            best_step: kept.step,
            scores: kept.scores.clone(),
        })
    }

    pub(crate) fn score(&self, score: &Score) -> f64 {
        self.scores.get(score).unwrap_or(f64::NAN)
    }
}

/// What was decided before the run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known<'a> {
    pub(crate) candidate: &'a str,
    pub(crate) method: &'a str,
    pub(crate) seed: u64,
    pub(crate) learning_rate: f64,
    pub(crate) trainable_parameters: usize,
}

/// The lines of a file that kindling wrote: `None` where one is no object, as in a file that was being written.
pub(crate) fn lines(path: &Path) -> Option<Vec<Map<String, Value>>> {
    let text = std::fs::read_to_string(path).ok()?;
    text.lines().map(|line| serde_json::from_str(line).ok()).collect()
}

/// 0 of none.
pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        n if n % 2 == 1 => values[n / 2],
        n => f64::midpoint(values[n / 2 - 1], values[n / 2]),
    }
}

/// The bytes of the tensors that a run has saved as its result.
fn size(run: &Path) -> u64 {
    let files = ["adapter", "model"].into_iter().filter_map(|part| std::fs::read_dir(run.join(part)).ok()).flatten();
    let tensors = files.flatten().filter(|file| file.path().extension().is_some_and(|ending| ending == "safetensors"));
    tensors.filter_map(|file| file.metadata().ok()).map(|found| found.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_between_the_two() {
        assert_eq!((median(vec![3.0, 1.0, 2.0]), median(vec![4.0, 1.0, 2.0, 3.0]), median(vec![])), (2.0, 2.5, 0.0));
    }
}
