//! `report.html`: what a run did and what came of it, on one page that needs no network, no script and no other file.
//!
//! A page is made of a run's directory alone (`open`): of its metrics, its settings and its `report.json` (`record`), so
//! that it can be made again at any time, and while the run is in progress. The room knows neither models nor tensors.
//! Each section has a file that turns its part of a [`Report`] into what `page.html` shows; a section without data is
//! `None` there and leaves no trace. Plots are drawn by plotters (`plots`) and given the page's colours by `svg`.
//! `compare` makes one page of several runs, `comparison` that of `kindling compare`, `adapter` those of `kindling inspect`.

mod adapter;
mod answers;
mod calibration;
mod classes;
mod compare;
mod comparison;
mod confusion;
mod curve;
mod difference;
mod examples;
mod findings;
mod heat;
mod lengths;
mod marks;
mod number;
mod open;
mod parts;
mod plots;
mod points;
mod record;
mod samples;
mod scores;
mod suspects;
mod svg;
#[cfg(test)]
mod tests;
mod training;
mod updates;
mod verdict;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior};
use serde::Serialize;

pub(crate) use adapter::{AdapterPage, ModulePair, ModuleUpdate, PairPage};
pub(crate) use compare::compared;
pub(crate) use comparison::{Candidate, Comparison};
pub(crate) use open::OpenError;
pub(crate) use record::{Before, End, Finding, Lengths, Record, Severity, Split, Update};
pub(crate) use verdict::is_short;

use tasks::Classification;
use tasks::metrics::Scores;

/// All that a page can tell.
#[derive(Debug, Clone, Default)]
pub(crate) struct Report {
    /// The run's name.
    pub(crate) title: String,
    /// Its directory, as a command would name it.
    pub(crate) place: String,
    pub(crate) record: Record,
    pub(crate) steps: Vec<Step>,
    pub(crate) evaluations: Vec<Evaluation>,
    /// The step of the evaluation whose adapter was kept.
    pub(crate) best_step: Option<usize>,
    pub(crate) finished: bool,
    /// Training goes on while the page is looked at.
    pub(crate) live: bool,
    /// `config.toml` as the run's directory has it.
    pub(crate) settings: String,
}

/// An optimiser step, as a line of `metrics.jsonl` tells it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
    pub(crate) step: usize,
    /// Epochs done with this step, a fraction.
    pub(crate) epoch: f64,
    pub(crate) loss: f64,
    pub(crate) learning_rate: f64,
    pub(crate) grad_norm: f64,
    pub(crate) tokens: usize,
    pub(crate) seconds: f64,
}

#[derive(Debug, Clone)]
pub(crate) struct Evaluation {
    pub(crate) step: usize,
    pub(crate) scores: Scores,
}

impl Report {
    /// The evaluation whose adapter was kept: the best, or the last where none is called so.
    pub(crate) fn kept(&self) -> Option<&Evaluation> {
        let best = self.evaluations.iter().find(|evaluation| Some(evaluation.step) == self.best_step);
        best.or(self.evaluations.last())
    }

    /// What a classifier answers, if it was asked: without predictions there is nothing to say about classes.
    fn classification(&self) -> Option<&Classification> {
        self.record.classification().filter(|found| !found.predictions.is_empty())
    }

    /// What a program wants to know of the run: its state, and each score with its interval.
    pub(crate) fn summary(&self) -> serde_json::Value {
        let answers = self.classification().map(answers::answers).unwrap_or_default();
        let scores = scores::kept(self, &answers).into_iter().map(|score| {
            let interval = score.interval.map(|(low, high)| [low, high]);
            (key(score.name), serde_json::json!({ "value": score.value, "interval": interval, "before": score.before }))
        });
        serde_json::json!({
            "run": self.place,
            "finished": self.finished,
            "steps": self.steps.last().map_or(0, |last| last.step),
            "best_step": self.best_step,
            "scores": scores.collect::<serde_json::Map<_, _>>(),
        })
    }

    fn valid_file(&self) -> &str {
        self.record.valid.as_ref().map_or("", |valid| &valid.file)
    }
}

/// A score's name as files write it: `f1_macro`.
pub(crate) fn key(name: &str) -> String {
    name.to_lowercase().replace([' ', '-'], "_")
}

/// A page can only fail by a fault of ours: whatever a user can cause is text, and text is escaped.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(crate) enum Error {
    #[error("a plot of report.html could not be drawn: {0}")]
    #[diagnostic(help("the run is complete; this is a fault of kindling, please report it"))]
    Plot(String),
    #[error("report.html could not be written out: {0}")]
    #[diagnostic(help("the run is complete; this is a fault of kindling, please report it"))]
    Template(#[from] minijinja::Error),
}

/// What `page.html` is given, section by section.
#[derive(Serialize)]
struct Page<'a> {
    style: &'static str,
    title: &'a str,
    facts: Vec<(&'a str, String)>,
    verdict: verdict::Verdict,
    tiles: Vec<scores::Tile>,
    training: Option<training::Training>,
    evaluations: Option<scores::Evaluations>,
    sections: Vec<parts::Section>,
    classes: Option<classes::Classes<'a>>,
    confusion: Option<confusion::Section<'a>>,
    calibration: Option<calibration::Section>,
    examples: Option<examples::Examples<'a>>,
    samples: Option<samples::Section>,
    lengths: Option<lengths::Section>,
    findings: Vec<findings::Said<'a>>,
    updates: Option<updates::Section>,
    settings: &'a str,
}

pub(crate) fn html(report: &Report) -> Result<String, Error> {
    render(include_str!("page.html"), &Page::new(report)?)
}

/// A page with its head, of a template that may use the macros of `parts.html`.
fn render(template: &str, page: &impl Serialize) -> Result<String, Error> {
    let template = [include_str!("parts.html"), include_str!("head.html"), template].concat();
    let mut environment = Environment::new();
    // A misspelt name in the template is an error instead of a gap in the page.
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    // Text is escaped because the name ends in `.html`.
    Ok(environment.render_named_str("page.html", &template, Serde(page))?)
}

impl<'a> Page<'a> {
    fn new(report: &'a Report) -> Result<Self, Error> {
        let classification = report.classification();
        let answers = classification.map(answers::answers).unwrap_or_default();
        let labels = classification.map(|found| found.labels.as_slice());
        let record = &report.record;
        let kept = scores::kept(report, &answers);
        Ok(Self {
            style: include_str!("style.css"),
            title: &report.title,
            facts: scores::facts(report),
            verdict: verdict::verdict(report, &answers, &kept),
            tiles: scores::tiles(report, &kept),
            training: training::training(report)?,
            evaluations: scores::evaluations(report)?,
            sections: record
                .parts()
                .enumerate()
                .map(|part| parts::section(part, report.valid_file()))
                .collect::<Result<_, _>>()?,
            classes: labels.map(|labels| classes::classes(labels, &answers)),
            confusion: labels.map(|labels| confusion::section(labels, &answers)),
            calibration: labels.map(|_| calibration::section(&answers)).transpose()?,
            examples: labels.map(|labels| examples::hardest(labels, report.valid_file(), &answers)),
            samples: samples::section(record.samples()),
            lengths: record.lengths.as_ref().map(lengths::section).transpose()?.flatten(),
            findings: record.findings.iter().map(findings::Said::new).collect(),
            updates: updates::section(&record.updates),
            settings: &report.settings,
        })
    }
}
