//! `report.html`: what a run did and what came of it, on one page that needs no network, no script and no other file.
//!
//! The room takes plain data, so that it knows neither models nor tensors. Each section has a file that turns its part
//! of a [`Report`] into what `page.html` shows; a section without data is `None` there and leaves no trace. Plots are
//! drawn by plotters (`plots`) and given the page's colours by `svg`.

mod answers;
mod calibration;
mod classes;
mod confusion;
mod curve;
mod examples;
mod findings;
mod heat;
mod lengths;
mod number;
mod overview;
mod plots;
mod suspects;
mod svg;
#[cfg(test)]
mod tests;
mod training;
mod updates;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior};
use serde::Serialize;

/// All that a page can tell. What a run has not is empty or `None`.
#[derive(Debug, Default)]
pub(crate) struct Report<'a> {
    /// The run's name.
    pub(crate) title: &'a str,
    /// Task, base model, method, data, device, duration, version: name and value, in the order shown.
    pub(crate) facts: Vec<(String, String)>,
    pub(crate) steps: Vec<Step>,
    pub(crate) evaluations: Vec<Evaluation>,
    /// The step of the evaluation whose adapter was kept.
    pub(crate) best_step: Option<usize>,
    pub(crate) classification: Option<Classification<'a>>,
    /// What a language model wrote.
    pub(crate) samples: Vec<Sample<'a>>,
    pub(crate) lengths: Option<Lengths>,
    pub(crate) findings: Vec<Finding>,
    pub(crate) updates: Vec<Update>,
    /// `config.toml` as the run's directory has it.
    pub(crate) settings: &'a str,
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
    pub(crate) loss: f64,
    /// Names as the page shows them, the same ones in each evaluation.
    pub(crate) scores: Vec<(&'static str, f64)>,
}

/// The validation examples as the kept adapter answers them.
#[derive(Debug)]
pub(crate) struct Classification<'a> {
    pub(crate) labels: &'a [String],
    /// The validation file's name.
    pub(crate) file: &'a str,
    pub(crate) predictions: Vec<Prediction<'a>>,
}

#[derive(Debug)]
pub(crate) struct Prediction<'a> {
    /// Where the example stands in the file, from 1.
    pub(crate) line: usize,
    /// The whole text; the page shows its beginning.
    pub(crate) text: &'a str,
    pub(crate) text_pair: Option<&'a str>,
    pub(crate) target: usize,
    pub(crate) logits: Vec<f32>,
    pub(crate) loss: f64,
}

#[derive(Debug)]
pub(crate) struct Sample<'a> {
    pub(crate) prompt: &'a str,
    pub(crate) written: &'a str,
    /// What the data has in its place.
    pub(crate) expected: Option<&'a str>,
}

/// Tokens of each example before it is cut to `max_length`.
#[derive(Debug)]
pub(crate) struct Lengths {
    pub(crate) train: Vec<usize>,
    pub(crate) valid: Vec<usize>,
    pub(crate) max_length: usize,
}

/// Something about the data that a person should look at.
#[derive(Debug)]
pub(crate) struct Finding {
    pub(crate) severity: Severity,
    pub(crate) message: String,
    pub(crate) advice: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    Warning,
    Note,
}

/// How far training moved a module.
#[derive(Debug, Clone)]
pub(crate) struct Update {
    pub(crate) module: String,
    /// Frobenius norm of the update.
    pub(crate) norm: f64,
    /// The same divided by the norm of the weight it is added to.
    pub(crate) relative: Option<f64>,
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
    facts: &'a [(String, String)],
    tiles: Vec<overview::Tile>,
    training: Option<training::Training>,
    evaluations: Option<overview::Table>,
    classes: Option<classes::Classes<'a>>,
    confusion: Option<confusion::Section<'a>>,
    calibration: Option<calibration::Section>,
    examples: Option<examples::Examples<'a>>,
    samples: Vec<examples::Written>,
    lengths: Option<lengths::Section>,
    findings: Vec<findings::Said<'a>>,
    updates: Option<updates::Section>,
    settings: &'a str,
}

pub(crate) fn html(report: &Report<'_>) -> Result<String, Error> {
    let page = Page::new(report)?;
    let mut environment = Environment::new();
    // A misspelt name in the template is an error instead of a gap in the page.
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    // Text is escaped because the name ends in `.html`.
    Ok(environment.render_named_str("page.html", include_str!("page.html"), Serde(&page))?)
}

impl<'a> Page<'a> {
    fn new(report: &'a Report<'_>) -> Result<Self, Error> {
        // Without predictions there is nothing to say about classes.
        let classification = report.classification.as_ref().filter(|found| !found.predictions.is_empty());
        let answers = classification.map(answers::answers).unwrap_or_default();
        let labels = classification.map(|found| found.labels);
        Ok(Self {
            style: include_str!("style.css"),
            title: report.title,
            facts: &report.facts,
            tiles: overview::tiles(report),
            training: training::training(report)?,
            evaluations: overview::table(report),
            classes: labels.map(|labels| classes::classes(labels, &answers)),
            confusion: labels.map(|labels| confusion::section(labels, &answers)),
            calibration: labels.map(|_| calibration::section(&answers)).transpose()?,
            examples: classification.map(|found| examples::hardest(found, &answers)),
            samples: report.samples.iter().map(examples::written).collect(),
            lengths: report.lengths.as_ref().map(lengths::section).transpose()?.flatten(),
            findings: report.findings.iter().map(findings::Said::new).collect(),
            updates: updates::section(&report.updates),
            settings: report.settings,
        })
    }
}
