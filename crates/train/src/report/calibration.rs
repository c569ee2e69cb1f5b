//! Whether a probability means what it says: of the answers given with 80 %, are 80 % right?

use serde::Serialize;

use super::Error;
use super::answers::{Answer, are_telling};
use super::number::{count, counted, fixed, percent};
use super::plots::{Axis, Chart, Layer, Plot, Reading, Unit, from_zero};
use super::svg::Role;
use tasks::metrics::calibration::{BINS, Bin, Calibration, bins, expected_error};

#[derive(Debug, Serialize)]
pub(super) struct Section {
    error: String,
    confidence: String,
    accuracy: String,
    brier: String,
    examples: String,
    bins: usize,
    /// Whether there is a sentence about it.
    judged: bool,
    /// `overconfident`, `underconfident`, and by how much.
    tendency: Option<(&'static str, String)>,
    /// The temperature that makes the error smaller, and that error.
    calibrated: Option<(String, String)>,
    diagram: Plot,
    counts: Plot,
    table: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    from: String,
    to: String,
    examples: String,
    confidence: String,
    accuracy: String,
}

pub(super) fn section(answers: &[Answer<'_>]) -> Result<Section, Error> {
    let bins = bins(answers.iter().map(|answer| (answer.confidence(), answer.is_correct())));
    let all = bins.iter().fold(Bin::default(), |all, bin| Bin {
        examples: all.examples + bin.examples,
        correct: all.correct + bin.correct,
        confidence: all.confidence + bin.confidence,
    });
    let error = expected_error(&bins);
    Ok(Section {
        error: fixed(error, 3),
        confidence: percent(all.mean_confidence()),
        accuracy: percent(all.accuracy()),
        brier: fixed(brier(answers), 3),
        examples: counted(all.examples, "validation text", "validation texts"),
        bins: BINS,
        judged: are_telling(answers),
        tendency: tendency(all.mean_confidence() - all.accuracy()),
        calibrated: calibrated(answers),
        diagram: diagram(&bins, error)?,
        counts: counts(&bins)?,
        table: table(&bins),
    })
}

/// By the same fit to the same logits as that which the adapter keeps.
fn calibrated(answers: &[Answer<'_>]) -> Option<(String, String)> {
    let logits = |answer: &Answer<'_>| answer.example.logits.iter().copied().map(f64::from).collect();
    let targets: Vec<usize> = answers.iter().map(|answer| answer.example.target).collect();
    let found = Calibration::fit(&answers.iter().map(logits).collect::<Vec<_>>(), &targets);
    let found = found.filter(Calibration::is_within_bounds)?;
    Some((fixed(found.temperature, 3), fixed(found.error[1], 3)))
}

/// Brier 1950, for any number of classes: the mean squared distance of the probabilities from the truth, 0 to 2.
fn brier(answers: &[Answer<'_>]) -> f64 {
    let distance = |answer: &Answer<'_>| {
        let squares: f64 = answer.probabilities.iter().map(|p| p * p).sum();
        squares - 2.0 * answer.probabilities[answer.example.target] + 1.0
    };
    answers.iter().map(distance).sum::<f64>() / answers.len().max(1) as f64
}

/// A point is less than the chance of what examples there are.
fn tendency(excess: f64) -> Option<(&'static str, String)> {
    let points = format!("{:.1}", excess.abs() * 100.0);
    match excess {
        excess if excess >= 0.01 => Some(("overconfident", points)),
        excess if excess <= -0.01 => Some(("underconfident", points)),
        _ => None,
    }
}

/// The edges of bin `n`, and those of its bar, which leaves a gap to its neighbours.
fn edges(n: usize) -> (f64, f64) {
    (n as f64 / BINS as f64, (n + 1) as f64 / BINS as f64)
}

fn bar(n: usize) -> std::ops::Range<f64> {
    let (from, to) = edges(n);
    from + 0.004..to - 0.004
}

fn filled(bins: &[Bin]) -> impl Iterator<Item = (usize, &Bin)> {
    bins.iter().enumerate().filter(|(_, bin)| bin.examples > 0)
}

fn shares() -> Axis {
    Axis { range: 0.0..1.0, unit: Unit::Percent }
}

fn diagram(bins: &[Bin], error: f64) -> Result<Plot, Error> {
    let (mut bars, mut gaps, mut tops) = (Vec::new(), Vec::new(), Vec::new());
    for (n, bin) in filled(bins) {
        let (accuracy, confidence) = (bin.accuracy(), bin.mean_confidence());
        bars.push((bar(n), 0.0..accuracy.min(confidence)));
        gaps.push((bar(n), accuracy.min(confidence)..accuracy.max(confidence)));
        tops.push(Layer::Line(Role::Train, vec![(bar(n).start, accuracy), (bar(n).end, accuracy)]));
    }
    let ideal = Layer::Line(Role::Guide, vec![(0.0, 0.0), (1.0, 1.0)]);
    let mut layers = vec![Layer::Bars(Role::Bar, bars), Layer::Bars(Role::Gap, gaps), ideal];
    layers.extend(tops);
    let description = format!("Accuracy by confidence in {BINS} bins; expected calibration error {}.", fixed(error, 3));
    let title = "Reliability diagram";
    Chart { id: "reliability", title, description, x: shares(), y: shares(), layers, readings: readings(bins) }
        .plot(340, 300)
}

fn readings(bins: &[Bin]) -> Vec<Reading> {
    let reading = |(n, bin): (usize, &Bin)| Reading {
        x: (n as f64 + 0.5) / BINS as f64,
        text: format!(
            "{}: {} right of those given with {}",
            counted(bin.examples, "answer", "answers"),
            percent(bin.accuracy()),
            percent(bin.mean_confidence())
        ),
        short: Vec::new(),
        points: Vec::new(),
    };
    filled(bins).map(reading).collect()
}

fn counts(bins: &[Bin]) -> Result<Plot, Error> {
    let bars = filled(bins).map(|(n, bin)| (bar(n), 0.0..bin.examples as f64)).collect();
    let range = from_zero(bins.iter().map(|bin| bin.examples as f64));
    let y = Axis { range, unit: Unit::Count };
    let title = "Answers by confidence";
    let description = "How many answers were given with which confidence.".to_string();
    let layers = vec![Layer::Bars(Role::Bar, bars)];
    Chart { id: "confidence", title, description, x: shares(), y, layers, readings: readings(bins) }.plot(340, 130)
}

fn table(bins: &[Bin]) -> Vec<Row> {
    let row = |(n, bin): (usize, &Bin)| Row {
        from: percent(edges(n).0),
        to: percent(edges(n).1),
        examples: count(bin.examples),
        confidence: percent(bin.mean_confidence()),
        accuracy: percent(bin.accuracy()),
    };
    filled(bins).map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::super::answers::answers;
    use super::*;
    use tasks::{Classification, Prediction};

    #[test]
    fn brier_is_the_squared_distance_from_the_truth() {
        let labels = vec!["a".to_string(), "b".to_string()];
        // Logits ln 3 and 0 are probabilities 3/4 and 1/4: distances 2/16 where right, 18/16 where wrong.
        let logits = vec![3.0_f32.ln(), 0.0];
        let prediction = |target| Prediction {
            line: 1,
            text: String::new(),
            text_pair: None,
            target,
            logits: logits.clone(),
            loss: 0.0,
        };
        let found = Classification { labels, predictions: vec![prediction(0), prediction(1)] };
        // ln 3 is an f32.
        assert!((brier(&answers(&found)) - 10.0 / 16.0).abs() < 1e-6);
    }

    #[test]
    fn a_point_of_confidence_is_no_tendency() {
        assert_eq!(tendency(0.004), None);
        assert_eq!(tendency(0.052), Some(("overconfident", "5.2".to_string())));
        assert_eq!(tendency(-0.05), Some(("underconfident", "5.0".to_string())));
    }
}
