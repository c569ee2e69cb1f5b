//! `--find-lr`: a learning-rate range test and its curve, drawn with letters.

use super::Failure;
use crate::output::Output;
use crate::prepare::RunPlan;
use crate::run::{RangeTest, Tried, find_learning_rate};

/// Columns and rows of the curve.
const WIDTH: usize = 64;
const HEIGHT: usize = 12;

/// A run in several legs has a rate for each of them, and a test has one.
pub(super) fn check(config: &crate::config::Config) -> Result<(), Failure> {
    match config.legs.first() {
        None => Ok(()),
        Some(leg) => Err(Failure::usage(
            format!("`--find-lr`: the run continued after step {} with a schedule of its own", leg.after_step),
            "test the rate of a run without `[[legs]]`: take them out of the configuration",
        )),
    }
}

/// Tests the rates of a plan, shows what came of it, and trains nothing.
pub(super) fn run(plan: &RunPlan, output: &Output) -> Result<(), Failure> {
    let bar = output.bar(0, "testing learning rates {bar:24} {pos}/{len}");
    let test = find_learning_rate(plan, |step, all| {
        bar.set_length(all as u64);
        bar.set_position(step as u64);
    })?;
    bar.finish_and_clear();
    if output.json() {
        return Ok(output.result(&serde_json::to_string(&test)?)?);
    }
    for line in drawn(&test) {
        output.result(&line)?;
    }
    output.result(&said(&test, plan.config.train.learning_rate))?;
    unclear(&test).inspect(|warning| output.warn(warning));
    Ok(())
}

/// What there is to say of a suggestion that a flat curve has.
pub(super) fn unclear(test: &RangeTest) -> Option<String> {
    let rate = test.suggestion.filter(|_| !test.clear)?;
    Some(format!(
        "the curve has no clear fall: it falls by little more than the loss varies from step to step, and {rate:e} may be chance; \
         larger batches vary less"
    ))
}

/// What the test says, beside the rate that is `set`.
fn said(test: &RangeTest, set: f64) -> String {
    match test.suggestion {
        Some(rate) => format!(
            "the loss falls fastest at {rate:e}: `--set train.learning_rate={rate:e}` trains at it (the configuration has {set:e})"
        ),
        None => format!("the loss fell at no rate: there is none to suggest (the configuration has {set:e})"),
    }
}

/// The smoothed loss by the rate, whose axis is logarithmic; `|` marks the suggestion.
pub(super) fn drawn(test: &RangeTest) -> Vec<String> {
    let (Some(first), Some(last)) = (test.curve.first(), test.curve.last()) else { return Vec::new() };
    let start = first.smoothed;
    // What it comes to where it goes off would leave the fall no room.
    let most = test.curve.iter().map(|tried| tried.smoothed).fold(start, f64::max).min(1.25 * start);
    let least = test.curve.iter().map(|tried| tried.smoothed).fold(start, f64::min);
    let range = (most - least).max(1e-9);
    let logs = (first.learning_rate.ln(), last.learning_rate.ln());
    let span = (logs.1 - logs.0).max(1e-9);
    let column = |rate: f64| (((rate.ln() - logs.0) / span * (WIDTH - 1) as f64).round() as usize).min(WIDTH - 1);
    let row = |loss: f64| ((most - loss.min(most)) / range * (HEIGHT - 1) as f64).round() as usize;
    let mut rows = vec![vec![' '; WIDTH]; HEIGHT];
    if let Some(rate) = test.suggestion {
        rows.iter_mut().for_each(|row| row[column(rate)] = '|');
    }
    for Tried { learning_rate, smoothed, .. } in &test.curve {
        rows[row(*smoothed)][column(*learning_rate)] = '*';
    }
    let mut lines = vec![format!("loss (smoothed) by learning rate, {} steps", test.curve.len())];
    for (n, row) in rows.iter().enumerate() {
        let label = match n {
            0 => format!("{most:.3}"),
            _ if n == HEIGHT - 1 => format!("{least:.3}"),
            _ => String::new(),
        };
        lines.push(format!("{label:>8} {}", row.iter().collect::<String>().trim_end()).trim_end().to_string());
    }
    let (left, right) = (format!("{:.0e}", first.learning_rate), format!("{:.1e}", last.learning_rate));
    lines.push(format!("         {left}{right:>width$}", width = WIDTH - left.len()));
    if test.diverged {
        lines.push(format!("stopped at {right}: the loss was rising"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_curve_falls_from_left_to_right_and_the_suggestion_is_marked() {
        let tried = |n: i32| Tried { learning_rate: 10f64.powi(n - 6), loss: 1.0, smoothed: 1.0 - 0.1 * f64::from(n) };
        let test =
            RangeTest { suggestion: Some(1e-3), clear: false, diverged: true, curve: (0..=6).map(tried).collect() };
        let lines = drawn(&test);
        assert_eq!(lines[0], "loss (smoothed) by learning rate, 7 steps");
        assert_eq!(lines[1], format!("   1.000 *{}|", " ".repeat(31)));
        assert_eq!(lines[HEIGHT], format!("   0.400 {}|{}*", " ".repeat(32), " ".repeat(30)));
        assert_eq!(lines[HEIGHT + 1], format!("         1e-6{:>60}", "1.0e0"));
        assert_eq!(lines[HEIGHT + 2], "stopped at 1.0e0: the loss was rising");
        assert_eq!(
            unclear(&test).as_deref(),
            Some(
                "the curve has no clear fall: it falls by little more than the loss varies from step to step, and 1e-3 may be \
                 chance; larger batches vary less"
            )
        );
        assert_eq!(unclear(&RangeTest { clear: true, ..test.clone() }), None);
        assert_eq!(
            said(&RangeTest { suggestion: None, ..test }, 3e-4),
            "the loss fell at no rate: there is none to suggest (the configuration has 3e-4)"
        );
    }
}
