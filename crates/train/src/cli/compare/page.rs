//! `report.html` of a comparison, from its results and its runs.

use std::path::Path;

use super::{Failure, Planned};
use crate::compare::{Outcome, Place, Results, Summary, note, seconds};
use crate::output::{bytes, duration, thousands};
use crate::report::{Candidate, Comparison, Report};
use crate::run::RangeTest;

pub(super) fn html(results: &Results, planned: &[Planned], place: &Place) -> Result<String, Failure> {
    let mut candidates = Vec::new();
    let has_score = |planned: &&Planned| results.candidates.iter().any(|it| it.name == planned.candidate.name);
    let planned = planned.iter().filter(has_score);
    for ((summary, outcomes), planned) in results.candidates.iter().zip(&results.outcomes).zip(planned) {
        candidates.push(candidate(summary, outcomes, results, planned, place)?);
    }
    let name = place.root.file_name().unwrap_or(place.root.as_os_str()).to_string_lossy();
    let found = results.found();
    let comparison = Comparison {
        title: name.into_owned(),
        score: results.score.name,
        note: note(results),
        generated: results.generated().iter().map(|score| score.name).collect(),
        found: found.iter().map(String::as_str).collect(),
        remark: results.remark,
        candidates,
    };
    comparison.html().map_err(Failure::running)
}

fn candidate<'a>(
    summary: &'a Summary,
    outcomes: &[Outcome],
    results: &Results,
    planned: &Planned,
    place: &Place,
) -> Result<Candidate<'a>, Failure> {
    let test = std::fs::read(place.range_test(&planned.candidate)).ok();
    let test: Option<RangeTest> = test.and_then(|text| serde_json::from_slice(&text).ok());
    let page = |outcome: &Outcome| {
        let below = Path::new(&outcome.run).strip_prefix(&place.root).unwrap_or(Path::new(&outcome.run));
        (format!("seed {}", outcome.seed), below.join("report.html").display().to_string())
    };
    let steps = ("Steps", summary.steps as f64, thousands(summary.steps));
    Ok(Candidate {
        name: &summary.name,
        score: summary.score.score,
        spread: summary.score.spread,
        generated: results.generated().iter().map(|score| summary.of_generated(score)).collect(),
        interval: summary.interval,
        scores: outcomes.iter().map(|outcome| outcome.score(results.score)).collect(),
        learning_rate: summary.learning_rate,
        trainable_parameters: summary.trainable_parameters,
        costs: [
            ("Time of a step", summary.step_seconds, seconds(summary.step_seconds)),
            ("Time of a run", summary.seconds, duration(summary.seconds)),
            ("Peak memory", summary.peak_memory_bytes as f64, bytes(summary.peak_memory_bytes as usize)),
            ("Size on disk", summary.size_bytes as f64, bytes(summary.size_bytes as usize)),
        ]
        .into_iter()
        .chain(results.steps_differ().then_some(steps))
        .collect(),
        run: Report::open(Path::new(&outcomes[0].run)).map_err(Failure::input)?,
        pages: outcomes.iter().map(page).collect(),
        range_test: test
            .map_or(Vec::new(), |test| test.curve.iter().map(|it| (it.learning_rate, it.smoothed)).collect()),
    })
}
