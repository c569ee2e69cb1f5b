//! The learning-rate range test (Smith 2017, "Cyclical Learning Rates for Training Neural Networks", section 3.3): steps whose
//! rates rise exponentially, and the loss that each rate comes to. Nothing is written, and what was learnt is forgotten.

use std::collections::HashMap;

use burn::optim::GradientsAccumulator;
use burn::train::TrainStep;
use serde::{Deserialize, Serialize};

use super::loader::TrainingBatches;
use super::optimizer::{adamw, average_and_clip};
use super::{Error, load};
use crate::prepare::RunPlan;
use tasks::host;

/// Rates from the first step to the last: below what moves any method, and above what any bears.
const LOWEST: f64 = 1e-6;
const HIGHEST: f64 = 1.0;
const STEPS: usize = 120;
/// Of the exponential mean of the losses: it takes in some ten steps, half of a power of ten of the rates.
const SMOOTHING: f64 = 0.9;
/// The slope at a step is that of the line through so many steps on either side.
const REACH: usize = 6;
/// The first means are over a few batches alone.
const FIRST: usize = 10;
/// So many standard deviations of single losses the smoothed loss has to fall, which it does in one of a hundred tests if the losses
/// are independent and normal about one mean (simulated).
const CLEAR: f64 = 1.5;

/// A step of the test.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Tried {
    pub(crate) learning_rate: f64,
    /// Mean over the targets of the step, before its update.
    pub(crate) loss: f64,
    /// The exponential mean up to this step, corrected for its start as Adam's moments are.
    pub(crate) smoothed: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct RangeTest {
    /// With two significant digits; `None` where the loss fell at no rate.
    pub(crate) suggestion: Option<f64>,
    /// Whether the loss falls by more than it varies from step to step: otherwise the suggestion is chance.
    pub(crate) clear: bool,
    /// The loss rose so far that the test was ended before its last rate.
    pub(crate) diverged: bool,
    pub(crate) curve: Vec<Tried>,
}

/// Takes the first steps of the run at rising rates. `progress` is told the number of the step and of all.
///
/// # Errors
/// Where the model cannot be loaded, or the loss of the first step is not a number.
pub(crate) fn find_learning_rate(plan: &RunPlan, mut progress: impl FnMut(usize, usize)) -> Result<RangeTest, Error> {
    let device = plan.device.clone().autodiff().gradient_checkpointing();
    let (mut model, loaded) = load(plan, HashMap::new(), &device, None)?;
    let mut optimizer = adamw(&plan.config.train, &loaded.plan);
    // The sampler goes on into further epochs, so that a short run is tested as thoroughly.
    let batches = TrainingBatches {
        task: plan.task.clone(),
        dataset: plan.train.clone(),
        sampler: plan.sampler.clone(),
        seed: plan.config.seed,
        steps: 1..STEPS + 1,
    };
    let mut curve = Curve::default();
    for step in batches.steps.clone() {
        let (mut gradients, mut loss, mut divisor) = (GradientsAccumulator::new(), 0.0, 0.0);
        for batch in batches.of_step(step) {
            let output = TrainStep::step(&model, batch);
            loss += host(output.item.losses.clone().inner()).iter().map(|loss| f64::from(*loss)).sum::<f64>();
            divisor += plan.task.divisor(&output.item.targets);
            gradients.accumulate(&model, output.grads);
        }
        let rate = rate(step - 1);
        if curve.add(rate, loss / divisor) == Goes::Off {
            if curve.tried.is_empty() {
                return Err(super::blame(plan, Error::NotANumber { step, what: "the loss", places: Vec::new() }));
            }
            break;
        }
        let mut gradients = gradients.grads();
        average_and_clip(&model, &mut gradients, divisor, plan.config.train.max_grad_norm);
        model = rayon::scope(|_| optimizer.step(rate, model, gradients));
        progress(step, STEPS);
    }
    Ok(curve.test())
}

/// Of the step that follows `taken` others.
fn rate(taken: usize) -> f64 {
    LOWEST * (HIGHEST / LOWEST).powf(taken as f64 / (STEPS - 1) as f64)
}

#[derive(Debug, Default)]
struct Curve {
    tried: Vec<Tried>,
    mean: f64,
    diverged: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Goes {
    On,
    Off,
}

impl Curve {
    /// The loss goes off when it is no number, or above the lowest so far by as much as it was at the start.
    fn add(&mut self, learning_rate: f64, loss: f64) -> Goes {
        if !loss.is_finite() {
            self.diverged = true;
            return Goes::Off;
        }
        self.mean = SMOOTHING * self.mean + (1.0 - SMOOTHING) * loss;
        let smoothed = self.mean / (1.0 - SMOOTHING.powi(self.tried.len() as i32 + 1));
        self.tried.push(Tried { learning_rate, loss, smoothed });
        let lowest = self.tried.iter().map(|tried| tried.smoothed).fold(f64::INFINITY, f64::min);
        self.diverged = self.tried.len() > FIRST && smoothed > lowest + self.tried[0].smoothed;
        if self.diverged { Goes::Off } else { Goes::On }
    }

    fn test(self) -> RangeTest {
        let suggestion = self.steepest().map(|step| two_digits(self.tried[step].learning_rate));
        RangeTest { suggestion, clear: self.falls_clearly(), diverged: self.diverged, curve: self.tried }
    }

    fn lowest(&self) -> Option<usize> {
        let smoothed = |step: &usize| self.tried[*step].smoothed;
        (0..self.tried.len()).min_by(|a, b| smoothed(a).total_cmp(&smoothed(b)))
    }

    /// By the standard deviation that the differences of neighbouring losses come to (von Neumann 1941), which a trend does not
    /// raise.
    fn falls_clearly(&self) -> bool {
        let Some(before) = self.lowest().map(|lowest| &self.tried[..=lowest]).filter(|before| before.len() > FIRST)
        else {
            return false;
        };
        let squares = before.windows(2).map(|pair| (pair[1].loss - pair[0].loss).powi(2)).sum::<f64>();
        let deviation = (squares / (before.len() - 1) as f64 / 2.0).sqrt();
        let highest = before[FIRST - 1..].iter().map(|tried| tried.smoothed).fold(f64::MIN, f64::max);
        highest - before[before.len() - 1].smoothed > CLEAR * deviation
    }

    /// Where the smoothed loss falls fastest by the logarithm of the rate, before it is lowest; `None`: nowhere.
    fn steepest(&self) -> Option<usize> {
        let losses: Vec<f64> = self.tried.iter().map(|tried| tried.smoothed).collect();
        let lowest = self.lowest()?;
        let steps = FIRST..(lowest + 1).min(losses.len());
        let slope = |step: usize| slope(&losses[step.saturating_sub(REACH)..(step + REACH + 1).min(losses.len())]);
        let falls = steps.map(|step| (step, slope(step))).filter(|(_, slope)| *slope < 0.0);
        falls.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(step, _)| step)
    }
}

/// Of the line of least squares through values at equal distances of one.
fn slope(values: &[f64]) -> f64 {
    let (n, mean) = (values.len() as f64, values.iter().sum::<f64>() / values.len() as f64);
    let middle = (n - 1.0) / 2.0;
    let of = |(i, value): (usize, &f64)| (i as f64 - middle) * (value - mean);
    values.iter().enumerate().map(of).sum::<f64>() / (n * (n * n - 1.0) / 12.0)
}

fn two_digits(value: f64) -> f64 {
    format!("{value:.1e}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(loss: impl Fn(f64) -> f64) -> RangeTest {
        let mut curve = Curve::default();
        for rate in (0..STEPS).map(rate) {
            if curve.add(rate, loss(rate)) == Goes::Off {
                break;
            }
        }
        curve.test()
    }

    #[test]
    fn rates_rise_by_the_same_factor_from_the_lowest_to_the_highest() {
        assert_eq!((rate(0), two_digits(rate(STEPS - 1))), (LOWEST, HIGHEST));
        assert!((rate(60) / rate(59) - rate(1) / rate(0)).abs() < 1e-12);
    }

    #[test]
    fn the_suggestion_is_where_the_loss_falls_fastest_and_the_test_ends_where_it_rises() {
        // A fall around 1e-3, and a rise from 1e-1 on.
        let loss = |rate: f64| 1.0 / (1.0 + (2.0 * (rate.log10() + 3.0)).exp()) + 0.1 + (rate / 0.2).powi(3);
        let found = curve(loss);
        let suggestion = found.suggestion.unwrap();
        // The mean comes some steps late.
        assert!((1e-3..6e-3).contains(&suggestion), "{suggestion}");
        assert!(found.diverged && found.curve.len() < STEPS, "{}", found.curve.len());
        assert!(found.clear);
    }

    #[test]
    fn a_fall_that_is_smaller_than_what_the_losses_vary_by_is_not_clear() {
        // The golden ratio's multiples: between 0 and 1, in no order.
        let noise = |rate: f64| ((rate / LOWEST).ln() / (HIGHEST / LOWEST).ln() * 119.0 * 0.618_034).fract();
        let flat = curve(|rate| 1.8 + 0.3 * noise(rate));
        assert!(!flat.clear);
        let falling = |rate: f64| 1.8 + 0.3 * noise(rate) - 0.8 / (1.0 + (-2.0 * (rate.log10() + 3.0)).exp());
        assert!(curve(falling).clear);
    }

    #[test]
    fn a_loss_that_only_rises_has_no_suggestion() {
        let found = curve(|rate| 1.0 + rate);
        assert_eq!((found.suggestion, found.clear, found.diverged), (None, false, false));
        assert_eq!(found.curve.len(), STEPS);
    }

    #[test]
    fn the_mean_is_corrected_for_its_start() {
        let found = curve(|_| 0.5);
        assert!(found.curve.iter().all(|tried| (tried.smoothed - 0.5).abs() < 1e-12));
        let found = curve(|rate| if rate < 1e-4 { 0.5 } else { f64::NAN });
        assert!(found.diverged && found.curve.iter().all(|tried| tried.loss == 0.5));
    }

    #[test]
    fn a_line_has_its_slope() {
        assert!((slope(&[1.0, 0.5, 0.0, -0.5]) + 0.5).abs() < 1e-12);
    }
}
