//! What the runs of each candidate come to together.

use serde::Serialize;
use tasks::Judged;
use tasks::metrics::Score;
use tasks::metrics::interval::Interval;

use super::Outcome;
use super::outcome::median;
use super::paired::{self, Difference, differences};

/// A candidate's row of the table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Summary {
    pub(crate) name: String,
    pub(crate) runs: usize,
    /// The mean over its runs.
    pub(crate) score: f64,
    /// The standard deviation over its runs, where there are two or more.
    pub(crate) spread: Option<f64>,
    /// 95 %, of the mean over its runs, by drawing examples.
    pub(crate) interval: Option<Interval>,
    pub(crate) learning_rate: f64,
    pub(crate) trainable_parameters: usize,
    /// The most of its runs.
    pub(crate) peak_memory_bytes: u64,
    /// The median of its runs, which may have ended early.
    pub(crate) steps: usize,
    /// The median of its runs.
    pub(crate) step_seconds: f64,
    pub(crate) seconds: f64,
    pub(crate) size_bytes: u64,
}

/// All that a comparison has found out.
#[derive(Debug)]
pub(crate) struct Results {
    /// By which the candidates are compared.
    pub(crate) score: &'static Score,
    pub(crate) examples: usize,
    pub(crate) candidates: Vec<Summary>,
    pub(crate) differences: Vec<Difference>,
    /// Of each candidate, in the order of the seeds.
    pub(crate) outcomes: Vec<Vec<Outcome>>,
}

impl Results {
    /// Whether some candidate was trained for longer than another, as with a budget of time.
    pub(crate) fn steps_differ(&self) -> bool {
        let mut steps = self.outcomes.iter().flatten().map(|run| run.steps);
        let first = steps.next();
        steps.any(|other| Some(other) != first)
    }

    /// `judged` has for each run what [`tasks::Task::judged`] made of its answers.
    pub(crate) fn new(
        outcomes: Vec<Vec<Outcome>>,
        judged: &[Vec<Judged>],
        examples: usize,
        score: &'static Score,
    ) -> Self {
        let candidates: Vec<Summary> =
            outcomes.iter().zip(judged).map(|(runs, judged)| summary(runs, judged, examples, score)).collect();
        let names: Vec<&str> = candidates.iter().map(|candidate| candidate.name.as_str()).collect();
        Self { score, examples, differences: differences(&names, judged, examples, score), candidates, outcomes }
    }
}

fn summary(runs: &[Outcome], judged: &[Judged], examples: usize, score: &Score) -> Summary {
    let first = &runs[0];
    let scores: Vec<f64> = runs.iter().map(|run| run.score(score)).collect();
    let mean = scores.iter().sum::<f64>() / scores.len() as f64;
    let variance = |n: f64| scores.iter().map(|score| (score - mean).powi(2)).sum::<f64>() / (n - 1.0);
    Summary {
        name: first.candidate.clone(),
        runs: runs.len(),
        score: mean,
        spread: (scores.len() > 1).then(|| variance(scores.len() as f64).sqrt()),
        interval: paired::interval(judged, examples),
        learning_rate: first.learning_rate,
        trainable_parameters: first.trainable_parameters,
        peak_memory_bytes: runs.iter().map(|run| run.peak_memory_bytes).max().unwrap_or(0),
        steps: median(runs.iter().map(|run| run.steps as f64).collect()).round() as usize,
        step_seconds: median(runs.iter().map(|run| run.step_seconds).collect()),
        seconds: median(runs.iter().map(|run| run.seconds).collect()),
        size_bytes: first.size_bytes,
    }
}
