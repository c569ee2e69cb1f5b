//! The course of training: loss, rate, gradient norm and speed, and the curves of the scores of all evaluations.

use std::ops::Range;

use serde::Serialize;

use super::curve::{Point, finite, reach, running_mean, thin};
use super::number::{count, counted, significant};
use super::plots::{Axis, Chart, Figure, Layer, Plot, Reading, Unit, around, from_zero, round};
use super::svg::Role;
use super::{Error, Evaluation, Report, Step};
use ::tasks::metrics::{Span, span};

/// Points of a curve over the width of the page, and over a third of it.
const WIDE: usize = 600;
const SMALL: usize = 300;
const SMALL_SIZE: (u32, u32) = (340, 190);
/// Of the curve of a score, which stands beside a table.
const SCORE_SIZE: (u32, u32) = (270, 165);
/// More ends of epochs than this are a fence.
const EPOCHS: usize = 20;

#[derive(Debug, Serialize)]
pub(super) struct Training {
    loss: Option<Figure>,
    small: Vec<Plot>,
    /// Steps that a point of the smoothed curve is the mean of.
    window: Option<usize>,
    validated: bool,
    epochs_marked: bool,
    best: Option<String>,
    steps: String,
}

pub(super) fn training(report: &Report) -> Result<Option<Training>, Error> {
    let (Some(first), Some(last)) = (report.steps.first(), report.steps.last()) else {
        return Ok(None);
    };
    let course = Course::new(report, first.step, last.step);
    let reach = reach(report.steps.len());
    let epochs = epoch_ends(&report.steps);
    Ok(Some(Training {
        small: course.small()?,
        window: (reach > 0).then_some(2 * reach + 1),
        validated: !report.evaluations.is_empty(),
        epochs_marked: !epochs.is_empty(),
        best: report.best_step.map(count),
        steps: count(last.step),
        loss: course.loss(epochs)?,
    }))
}

/// The curve of each score over the evaluations; none where there are fewer than two.
pub(super) fn score_plots(report: &Report) -> Result<Vec<Plot>, Error> {
    let steps = report.evaluations.iter().map(|found| found.step).chain(report.steps.iter().map(|step| step.step));
    let (Some(first), Some(last)) = (steps.clone().min(), steps.max()) else { return Ok(Vec::new()) };
    let course = Course::new(report, first, last);
    let names = report.evaluations.first().map(|first| first.scores.named()).unwrap_or_default();
    let plots = names.iter().enumerate().map(|(n, (name, _))| course.score_curve(n, name));
    plots.filter_map(Result::transpose).collect()
}

struct Course<'a> {
    report: &'a Report,
    first: f64,
    last: f64,
}

impl<'a> Course<'a> {
    fn new(report: &'a Report, first: usize, last: usize) -> Self {
        Self { report, first: first as f64, last: last as f64 }
    }

    /// The axis all plots share, a little wider where there is one step only.
    fn steps(&self) -> Axis {
        let last = if self.last > self.first { self.last } else { self.first + 1.0 };
        Axis { range: self.first..last, unit: Unit::Count }
    }

    fn curve(&self, value: impl Fn(&Step) -> f64) -> Vec<Point> {
        finite(self.report.steps.iter().map(|step| (step.step as f64, value(step))))
    }

    fn best(&self) -> Layer {
        Layer::Verticals(Role::Mark, self.report.best_step.map(|step| step as f64).into_iter().collect())
    }

    fn loss(&self, epochs: Vec<f64>) -> Result<Option<Figure>, Error> {
        let training = self.curve(|step| step.loss);
        let Some(lowest) = training.iter().map(|(_, loss)| *loss).min_by(f64::total_cmp) else {
            return Ok(None);
        };
        let evaluations = &self.report.evaluations;
        let validation = finite(evaluations.iter().map(|found| (found.step as f64, found.scores.loss())));
        let mut description = format!(
            "Training loss over {}, from {} to {}, at its lowest {}.",
            counted(self.report.steps.len(), "step", "steps"),
            significant(training[0].1, 3),
            significant(training[training.len() - 1].1, 3),
            significant(lowest, 3)
        );
        if let [(_, first), .., (_, last)] = validation.as_slice() {
            let (first, last) = (significant(*first, 3), significant(*last, 3));
            description.push_str(&format!(" Validation loss from {first} to {last}."));
        }
        let values = training.iter().chain(&validation).map(|(_, loss)| *loss);
        let y = Axis { range: around(values), unit: Unit::Number };
        let mut layers = vec![Layer::Verticals(Role::Guide, epochs), self.best()];
        layers.extend(noisy(&training, WIDE));
        layers.extend(dotted(validation.clone()));
        let readings = loss_readings(&training, &validation);
        let chart = Chart { id: "loss", title: "Loss by step", description, x: self.steps(), y, layers, readings };
        chart.figure((1080, 300), (340, 240)).map(Some)
    }

    fn small(&self) -> Result<Vec<Plot>, Error> {
        let mut plots = Vec::new();
        let rate = self.curve(|step| step.learning_rate);
        plots.extend(self.step_curve("learning-rate", "Learning rate", &rate, exact)?);
        let norm = self.curve(|step| step.grad_norm);
        plots.extend(self.step_curve("grad-norm", "Gradient norm before clipping", &norm, noisy)?);
        let speed = self.curve(|step| step.tokens as f64 / step.seconds);
        plots.extend(self.step_curve("speed", "Tokens per second", &speed, noisy)?);
        Ok(plots)
    }

    fn step_curve(&self, id: &str, title: &str, curve: &[Point], layers: Layers) -> Result<Option<Plot>, Error> {
        // All zero is what nobody measured.
        if !curve.iter().any(|(_, value)| *value > 0.0) {
            return Ok(None);
        }
        let y = Axis { range: from_zero(heights(curve)), unit: Unit::Number };
        let (description, layers) = (extent(curve), layers(curve, SMALL));
        let readings = curve.iter().map(|point| reading(Role::Train, *point)).collect();
        let chart = Chart { id, title, description, x: self.steps(), y, layers, readings };
        chart.plot(SMALL_SIZE.0, SMALL_SIZE.1).map(Some)
    }

    fn score_curve(&self, n: usize, name: &str) -> Result<Option<Plot>, Error> {
        let value = |found: &Evaluation| found.scores.named().into_iter().find(|(other, _)| *other == name);
        let found = self.report.evaluations.iter().filter_map(|found| Some((found.step as f64, value(found)?.1)));
        let curve = finite(found);
        if curve.len() < 2 {
            return Ok(None);
        }
        let mut layers = vec![self.best()];
        let range = of_score(name, heights(&curve));
        // An accuracy is read as the tables write it.
        let y = Axis { range, unit: Unit::Number };
        let (id, title) = (format!("score-{n}"), in_capitals(name));
        let description = extent(&curve);
        let readings = curve.iter().map(|point| reading(Role::Valid, *point)).collect();
        layers.extend(dotted(curve));
        let chart = Chart { id: &id, title: &title, description, x: self.steps(), y, layers, readings };
        chart.plot(SCORE_SIZE.0, SCORE_SIZE.1).map(Some)
    }
}

fn in_capitals(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// A point of a curve as it is read.
fn reading(role: Role, (step, value): Point) -> Reading {
    let text = format!("step {}: {}", count(step as usize), significant(value, 4));
    Reading { x: step, text, short: Vec::new(), points: vec![(role, value)] }
}

/// Each step's loss, and the validation loss where there was an evaluation.
fn loss_readings(training: &[Point], validation: &[Point]) -> Vec<Reading> {
    let reach = reach(training.len());
    let smooth = running_mean(training, reach);
    let of_step = |((step, loss), (_, mean)): (&Point, &Point)| {
        let mut found = reading(Role::Train, (*step, *mean));
        found.text = format!("step {}: training {}", count(*step as usize), significant(*loss, 4));
        if reach > 0 {
            found.text.push_str(&format!(", mean {}", significant(*mean, 4)));
        }
        if let Some((_, valid)) = validation.iter().find(|(other, _)| other == step) {
            found.text.push_str(&format!(", validation {}", significant(*valid, 4)));
            found.points.push((Role::Valid, *valid));
        }
        found
    };
    training.iter().zip(&smooth).map(of_step).collect()
}

/// No axis shows a score that there cannot be; one that never changed is seen in all the room that it had.
fn of_score(name: &str, values: impl Iterator<Item = f64>) -> Range<f64> {
    let (low, high) = values.fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)));
    let room = match span(name) {
        Span::Open => return around([low, high]),
        // Matthews' correlation goes down to -1, where it seldom is.
        Span::Correlation if low < 0.0 => -1.0..1.0,
        Span::Share | Span::Correlation => 0.0..1.0,
        Span::Hundred => 0.0..100.0,
    };
    if high - low <= 1e-6 {
        return room;
    }
    let range = round(low..high);
    range.start.max(room.start)..range.end.min(room.end)
}

/// How a curve of at most so many points is drawn.
type Layers = fn(&[Point], usize) -> Vec<Layer>;

/// A schedule has no noise to smooth, and its corners are what it is looked at for.
fn exact(curve: &[Point], limit: usize) -> Vec<Layer> {
    vec![Layer::Line(Role::Train, thin(curve, limit))]
}

/// Every step faintly, and the trend; the steps themselves where there are few.
fn noisy(curve: &[Point], limit: usize) -> Vec<Layer> {
    match reach(curve.len()) {
        0 => vec![Layer::Line(Role::Train, curve.to_vec()), Layer::Dots(Role::Train, curve.to_vec())],
        reach => vec![
            Layer::Line(Role::Raw, thin(curve, limit)),
            Layer::Line(Role::Train, thin(&running_mean(curve, reach), limit)),
        ],
    }
}

/// Evaluations are few, and lie apart: each is seen, until they are too many to be told apart.
fn dotted(curve: Vec<Point>) -> Vec<Layer> {
    match curve.len() {
        0..=60 => vec![Layer::Line(Role::Valid, curve.clone()), Layer::Dots(Role::Valid, curve)],
        _ => vec![Layer::Line(Role::Valid, thin(&curve, WIDE))],
    }
}

fn heights(curve: &[Point]) -> impl Iterator<Item = f64> + '_ {
    curve.iter().map(|(_, y)| *y)
}

fn extent(curve: &[Point]) -> String {
    let (Some(first), Some(last)) = (curve.first(), curve.last()) else {
        return String::new();
    };
    let (low, high) = (heights(curve).fold(f64::MAX, f64::min), heights(curve).fold(f64::MIN, f64::max));
    let [first, last, low, high] = [first.1, last.1, low, high].map(|value| significant(value, 3));
    format!("From {first} to {last}; lowest {low}, highest {high}.")
}

/// The steps that end an epoch, but for the last of all.
fn epoch_ends(steps: &[Step]) -> Vec<f64> {
    // 0.99999 is an epoch whose fraction was rounded.
    let whole = |step: &Step| (step.epoch + 1e-6).floor();
    let ends: Vec<f64> = steps
        .windows(2)
        .filter(|pair| whole(&pair[1]) > whole(&pair[0]))
        .map(|pair| pair[1].step as f64)
        .filter(|step| steps.last().is_some_and(|last| *step < last.step as f64))
        .collect();
    if ends.len() > EPOCHS { Vec::new() } else { ends }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(number: usize, by_epoch: usize) -> Vec<Step> {
        let step = |step: usize| Step {
            step,
            epoch: step as f64 / by_epoch as f64,
            loss: 1.0 / step as f64,
            learning_rate: 1e-3,
            grad_norm: 1.0,
            tokens: 0,
            seconds: 0.0,
        };
        (1..=number).map(step).collect()
    }

    #[test]
    fn epochs_end_where_their_last_step_is() {
        assert_eq!(epoch_ends(&steps(9, 3)), [3.0, 6.0]);
        assert_eq!(epoch_ends(&steps(10, 3)), [3.0, 6.0, 9.0]);
        assert_eq!(epoch_ends(&steps(100, 2)), [0.0; 0]);
    }

    #[test]
    fn the_axis_of_a_score_ends_where_scores_end() {
        let axis = |name, values: &[f64]| of_score(name, values.iter().copied());
        assert_eq!((axis("accuracy", &[1.0, 1.0]), axis("F1 macro", &[0.0, 0.0])), (0.0..1.0, 0.0..1.0));
        assert_eq!((axis("accuracy", &[0.0, 1.0]), axis("Matthews", &[-0.1, 1.0]).end), (0.0..1.0, 1.0));
        assert_eq!(axis("accuracy", &[0.91, 0.99]), 0.9..1.0);
        assert_eq!(axis("Matthews", &[-0.2, -0.2]), -1.0..1.0);
        assert_eq!((axis("BLEU", &[3.2, 41.7]), axis("BLEU", &[0.0, 0.0])), (0.0..50.0, 0.0..100.0));
    }

    #[test]
    fn a_curve_of_bleu_lies_within_its_plot() {
        let scores = |bleu: f64| {
            let generated = ::tasks::metrics::GenerationScores { exact_match: 0.0, bleu, rouge_l: 0.5 };
            ::tasks::metrics::of_tokens(1.0, 0.5).with_generated(generated)
        };
        let evaluation = |step: usize, bleu: f64| Evaluation { step, scores: scores(bleu) };
        let evaluations = vec![evaluation(10, 2.0), evaluation(20, 41.5)];
        let report = Report { steps: steps(20, 10), evaluations, ..Report::default() };
        let plots = score_plots(&report).expect("drawn in memory");
        let page = serde_json::to_value(&plots).expect("plain data");
        let bleu = page.as_array().expect("plots").iter().find(|plot| plot["title"] == "BLEU").expect("one of them");
        let (body, height) = (bleu["body"].as_str().expect("markup"), bleu["height"].as_f64().expect("a size"));
        let heights: Vec<f64> =
            body.split(" cy=\"").skip(1).filter_map(|rest| rest.split('"').next()?.parse().ok()).collect();
        assert!(heights.len() >= 2 && heights.iter().all(|y| (0.0..=height).contains(y)), "{heights:?} of {height}");
        assert!(heights.iter().any(|y| *y < height / 2.0) && heights.iter().any(|y| *y > height / 2.0));
    }

    #[test]
    fn what_was_not_measured_has_no_plot() {
        let report = Report { steps: steps(30, 10), ..Report::default() };
        let found = training(&report).expect("drawn in memory").expect("there are steps");
        assert_eq!(found.small.len(), 2, "no tokens and no seconds, no speed");
        assert!(training(&Report::default()).expect("drawn in memory").is_none());
    }

    #[test]
    fn a_run_of_one_step_and_a_loss_that_is_no_number_can_be_drawn() {
        let mut one = steps(1, 1);
        let found = training(&Report { steps: one.clone(), ..Report::default() }).expect("drawn in memory");
        assert!(found.is_some_and(|found| found.loss.is_some()));
        one[0].loss = f64::NAN;
        let found = training(&Report { steps: one, ..Report::default() }).expect("drawn in memory");
        assert!(found.is_some_and(|found| found.loss.is_none()));
    }
}
