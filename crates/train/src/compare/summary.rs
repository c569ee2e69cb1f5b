//! What the runs of each candidate come to together.

use std::fmt;

use indexmap::IndexMap;
use serde::Serialize;
use tasks::metrics::interval::Interval;
use tasks::metrics::{GenerationScores, Score};
use tasks::{Judged, Task};

use super::outcome::median;
use super::paired::{self, Difference, differences};
use super::{Diverged, Outcome};

/// A candidate's row of the table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Summary {
    pub(crate) name: String,
    pub(crate) runs: usize,
    /// Over its runs.
    #[serde(flatten)]
    pub(crate) score: OfRuns,
    /// 95 %, of the mean over its runs, by drawing examples.
    pub(crate) interval: Option<Interval>,
    /// What its answers to prompts were scored (`train.eval_generate`), over its runs.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub(crate) generated: IndexMap<&'static str, OfRuns>,
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

/// A score over the runs of a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct OfRuns {
    /// The mean.
    pub(crate) score: f64,
    /// The standard deviation, where there are two or more.
    pub(crate) spread: Option<f64>,
}

impl OfRuns {
    fn new(scores: &[f64]) -> Self {
        let n = scores.len() as f64;
        let mean = scores.iter().sum::<f64>() / n;
        let variance = || scores.iter().map(|score| (score - mean).powi(2)).sum::<f64>() / (n - 1.0);
        Self { score: mean, spread: (scores.len() > 1).then(|| variance().sqrt()) }
    }
}

/// `0.7500 ± 0.0125`
impl fmt::Display for OfRuns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.spread {
            Some(spread) => write!(f, "{:.4} ± {spread:.4}", self.score),
            None => write!(f, "{:.4}", self.score),
        }
    }
}

impl Summary {
    /// What its answers to prompts were scored by this, for people.
    pub(crate) fn of_generated(&self, score: &Score) -> String {
        self.generated.get(score.key).map_or("–".to_string(), OfRuns::to_string)
    }
}

/// All that a comparison has found out.
#[derive(Debug)]
pub(crate) struct Results {
    /// By which the candidates are compared.
    pub(crate) score: &'static Score,
    pub(crate) examples: usize,
    /// The prompts that were answered at each evaluation, 0 where none were.
    pub(crate) prompts: usize,
    pub(crate) candidates: Vec<Summary>,
    pub(crate) differences: Vec<Difference>,
    /// What they are of, where that is not what the scores are of.
    pub(crate) remark: Option<&'static str>,
    /// Of each candidate, in the order of the seeds.
    pub(crate) outcomes: Vec<Vec<Outcome>>,
    /// Of each candidate that has no score, for runs of it diverged: these runs. It is none of `candidates`.
    pub(crate) diverged: Vec<Vec<Diverged>>,
    /// The candidate that the others would be compared with, where it has no score.
    lost_reference: Option<String>,
}

impl Results {
    /// Whether some candidate was trained for longer than another, as with a budget of time.
    pub(crate) fn steps_differ(&self) -> bool {
        let mut steps = self.outcomes.iter().flatten().map(|run| run.steps);
        let first = steps.next();
        steps.any(|other| Some(other) != first)
    }

    /// The scores of answers to prompts that some candidate has.
    pub(crate) fn generated(&self) -> Vec<&'static Score> {
        let has = |score: &&Score| self.candidates.iter().any(|candidate| candidate.generated.contains_key(score.key));
        GenerationScores::ALL.into_iter().filter(has).collect()
    }

    /// `judged` has for each run what [`tasks::Task::judged`] made of its answers.
    pub(crate) fn new(
        outcomes: Vec<Vec<Outcome>>,
        judged: &[Vec<Judged>],
        (examples, prompts): (usize, usize),
        task: &dyn Task,
    ) -> Self {
        let score = task.definition().best[0];
        let candidates: Vec<Summary> =
            outcomes.iter().zip(judged).map(|(runs, judged)| summary(runs, judged, examples, score)).collect();
        let names: Vec<&str> = candidates.iter().map(|candidate| candidate.name.as_str()).collect();
        let differences = differences(&names, judged, examples, score);
        let remark = task.judged_otherwise();
        let (diverged, lost_reference) = (Vec::new(), None);
        Self { score, examples, prompts, differences, remark, candidates, outcomes, diverged, lost_reference }
    }

    /// With candidates that have no score. Where `reference`, with which the others are to be compared, is one of them, there
    /// are no differences.
    pub(crate) fn with_diverged(mut self, diverged: Vec<Vec<Diverged>>, reference: &str) -> Self {
        if diverged.iter().flatten().any(|run| run.candidate == reference) {
            self.differences.clear();
            self.lost_reference = Some(reference.to_owned());
        }
        Self { diverged, ..self }
    }

    /// In words: the differences, and which candidates have no score.
    pub(crate) fn found(&self) -> Vec<String> {
        let differences = self.differences.iter().map(|difference| difference.words.clone());
        let lost = self.lost_reference.iter().map(|name| {
            format!("no differences are computed: the others would be compared with {name}, which has no score")
        });
        differences.chain(self.diverged.iter().map(|runs| without_score(runs))).chain(lost).collect()
    }
}

/// `lora has no score: step 9: the loss is not a number (seed 42)`
fn without_score(runs: &[Diverged]) -> String {
    let seeds: Vec<String> = runs.iter().map(|run| run.seed.to_string()).collect();
    let seeds = format!("{} {}", if runs.len() == 1 { "seed" } else { "seeds" }, seeds.join(", "));
    format!("{} has no score: {} ({seeds})", runs[0].candidate, runs[0].error)
}

fn summary(runs: &[Outcome], judged: &[Judged], examples: usize, score: &Score) -> Summary {
    let first = &runs[0];
    let scores: Vec<f64> = runs.iter().map(|run| run.score(score)).collect();
    // All runs have it, or none.
    let generated = |score: &&'static Score| {
        let scores: Option<Vec<f64>> = runs.iter().map(|run| run.scores.get(score)).collect();
        Some((score.key, OfRuns::new(&scores?)))
    };
    Summary {
        name: first.candidate.clone(),
        runs: runs.len(),
        score: OfRuns::new(&scores),
        interval: paired::interval(judged, examples),
        generated: GenerationScores::ALL.iter().filter_map(generated).collect(),
        learning_rate: first.learning_rate,
        trainable_parameters: first.trainable_parameters,
        peak_memory_bytes: runs.iter().map(|run| run.peak_memory_bytes).max().unwrap_or(0),
        steps: median(runs.iter().map(|run| run.steps as f64).collect()).round() as usize,
        step_seconds: median(runs.iter().map(|run| run.step_seconds).collect()),
        seconds: median(runs.iter().map(|run| run.seconds).collect()),
        size_bytes: first.size_bytes,
    }
}
