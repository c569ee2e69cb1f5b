//! Whether probabilities mean what they say, and one number that makes them: the temperature by which logits are divided.
//!
//! Guo et al. 2017 ("On Calibration of Modern Neural Networks"). The expected calibration error has equal-width bins of the
//! chosen class's probability, 15 as there; it is the mean over the examples of |accuracy - confidence| of their bin.

use super::cross_entropy::{cross_entropy, log_sum_exp};

/// Bins of the confidence, equally wide.
pub const BINS: usize = 15;

#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Bin {
    pub examples: usize,
    pub correct: usize,
    /// The sum over the examples.
    pub confidence: f64,
}

impl Bin {
    pub fn accuracy(&self) -> f64 {
        self.correct as f64 / self.examples as f64
    }

    pub fn mean_confidence(&self) -> f64 {
        self.confidence / self.examples as f64
    }
}

/// Of answers with their confidence and whether they are right.
pub fn bins(answers: impl Iterator<Item = (f64, bool)>) -> [Bin; BINS] {
    let mut bins = [Bin::default(); BINS];
    for (confidence, correct) in answers {
        // A bin holds its upper edge, as in the paper.
        let bin = &mut bins[((confidence * BINS as f64).ceil() as usize).clamp(1, BINS) - 1];
        bin.examples += 1;
        bin.correct += usize::from(correct);
        bin.confidence += confidence;
    }
    bins
}

pub fn expected_error(bins: &[Bin]) -> f64 {
    let examples: usize = bins.iter().map(|bin| bin.examples).sum();
    let gap = |bin: &Bin| (bin.correct as f64 - bin.confidence).abs();
    bins.iter().map(gap).sum::<f64>() / examples.max(1) as f64
}

/// Temperatures that are looked at. Without a mistake on the validation data the likelihood only rises as T falls, and
/// without a right answer it rises as T grows.
const COLDEST: f64 = 0.05;
const HOTTEST: f64 = 20.0;

/// What a temperature does on the data that it was fitted to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Calibration {
    /// Logits are divided by it.
    pub temperature: f64,
    /// Mean negative log-likelihood, with a temperature of 1 and with this one.
    pub nll: [f64; 2],
    /// Expected calibration error, likewise.
    pub error: [f64; 2],
}

impl Calibration {
    /// The temperature of least negative log-likelihood of the targets, within 0.05 and 20; `None` without rows.
    ///
    /// In 1 / T the likelihood is concave: the slope has one zero, which is found by halving.
    pub fn fit(logits: &[Vec<f64>], targets: &[usize]) -> Option<Self> {
        if logits.is_empty() {
            return None;
        }
        let rows = || logits.iter().map(Vec::as_slice).zip(targets.iter().copied());
        let (mut low, mut high) = (COLDEST.ln(), HOTTEST.ln());
        for _ in 0..60 {
            let middle = f64::midpoint(low, high);
            // The likelihood rises with 1 / T: what is sought is colder.
            if rows().map(|(logits, target)| slope(logits, target, middle.exp())).sum::<f64>() > 0.0 {
                high = middle;
            } else {
                low = middle;
            }
        }
        let temperature = f64::midpoint(low, high).exp();
        let both = |of: &dyn Fn(f64) -> f64| [of(1.0), of(temperature)];
        Some(Self {
            temperature,
            nll: both(&|it| nll(rows(), it)),
            error: both(&|it| expected_error(&bins(rows().map(|(logits, target)| answer(logits, target, it))))),
        })
    }

    /// Whether the likelihood is greatest at this temperature, and not beyond the last that was looked at.
    pub fn is_within_bounds(&self) -> bool {
        let from_an_end = |end: f64| (self.temperature.ln() - end.ln()).abs();
        from_an_end(COLDEST) > 1e-6 && from_an_end(HOTTEST) > 1e-6
    }
}

/// The probabilities of logits that are divided by a temperature.
pub fn probabilities(logits: &[f64], temperature: f64) -> Vec<f64> {
    let scaled: Vec<f64> = logits.iter().map(|logit| logit / temperature).collect();
    let log_sum = log_sum_exp(&scaled);
    scaled.iter().map(|logit| (logit - log_sum).exp()).collect()
}

/// The derivative of the log-likelihood by 1 / T: the target's logit less the mean logit.
fn slope(logits: &[f64], target: usize, temperature: f64) -> f64 {
    let mean: f64 = probabilities(logits, temperature).iter().zip(logits).map(|(p, logit)| p * logit).sum();
    logits[target] - mean
}

fn nll<'a>(rows: impl Iterator<Item = (&'a [f64], usize)>, temperature: f64) -> f64 {
    let scaled: Vec<(Vec<f64>, usize)> =
        rows.map(|(logits, target)| (logits.iter().map(|logit| logit / temperature).collect(), target)).collect();
    cross_entropy(scaled.iter().map(|(logits, target)| (logits.as_slice(), *target)), None, 0.0).mean()
}

/// The confidence of the answer, and whether it is right; of equal logits the first class is the answer.
fn answer(logits: &[f64], target: usize, temperature: f64) -> (f64, bool) {
    let probabilities = probabilities(logits, temperature);
    let best = (0..logits.len()).rev().max_by(|one, other| logits[*one].total_cmp(&logits[*other])).unwrap_or(0);
    (probabilities[best], best == target)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGITS: [[f64; 3]; 20] = [
        [2.53, 3.49, 2.36],
        [2.53, 0.23, -4.28],
        [-0.41, -2.31, -4.27],
        [0.78, -1.71, -3.09],
        [-3.13, 0.81, 1.08],
        [3.97, -0.04, 3.13],
        [4.21, 3.45, -7.1],
        [3.69, 1.02, 1.27],
        [1.11, 1.15, 0.96],
        [-1.08, -5.7, -0.33],
        [-2.41, 3.24, -0.87],
        [0.25, -2.55, -1.53],
        [-0.03, -4.46, 0.9],
        [-0.32, -3.56, -7.19],
        [1.54, -0.89, -1.59],
        [-0.71, 5.45, -0.15],
        [0.26, -4.46, 4.94],
        [2.75, 3.2, 0.14],
        [2.75, 1.11, 1.84],
        [-0.46, -4.42, 3.09],
    ];
    const TARGETS: [usize; 20] = [1, 1, 1, 0, 2, 2, 1, 0, 2, 0, 1, 0, 2, 2, 0, 1, 2, 1, 0, 2];

    fn fit(logits: &[[f64; 3]], targets: &[usize]) -> Calibration {
        Calibration::fit(&logits.iter().map(|row| row.to_vec()).collect::<Vec<_>>(), targets).unwrap()
    }

    #[test]
    fn the_temperature_is_that_of_scipy() {
        // scipy 1.17: minimize_scalar of the mean negative log-likelihood over ln T
        let found = fit(&LOGITS, &TARGETS);
        assert!((found.temperature - 2.168_069_104_831_795_7).abs() < 1e-6, "{found:?}");
        assert!((found.nll[0] - 0.957_423_504_456_837_8).abs() < 1e-12, "{found:?}");
        assert!((found.nll[1] - 0.807_346_618_686_079).abs() < 1e-12, "{found:?}");
    }

    #[test]
    fn the_errors_are_those_of_the_bins_before_and_after() {
        let found = fit(&LOGITS, &TARGETS);
        // numpy, by the definition
        assert!((found.error[0] - 0.29399165888038714).abs() < 1e-12, "{found:?}");
        assert!((found.error[1] - 0.25941135633308593).abs() < 1e-6, "{found:?}");
    }

    #[test]
    fn answers_that_are_all_right_or_all_wrong_stop_at_an_end() {
        for (target, end) in [(0, COLDEST), (1, HOTTEST)] {
            let found = fit(&[[1.0, 0.0, 0.0]], &[target]);
            assert!((found.temperature - end).abs() < 1e-9 && !found.is_within_bounds());
        }
        assert!(fit(&LOGITS, &TARGETS).is_within_bounds());
        assert_eq!(Calibration::fit(&[], &[]), None);
    }

    #[test]
    fn a_temperature_changes_no_answer() {
        for row in LOGITS {
            assert_eq!(answer(&row, 0, 1.0).1, answer(&row, 0, 3.0).1);
            assert!((probabilities(&row, 2.5).iter().sum::<f64>() - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn the_expected_error_is_that_of_a_hand_calculation() {
        // Bin 15 is (14/15, 1], bin 9 is (8/15, 9/15]:
        // four answers with 0.95, three of them right: |3 - 3.8| = 0.8
        // two with 0.55, both right: |2 - 1.1| = 0.9
        // of six: (0.8 + 0.9) / 6
        let answers = [(0.95, true), (0.95, true), (0.95, true), (0.95, false), (0.55, true), (0.55, true)];
        let bins = bins(answers.into_iter());
        assert_eq!(bins[14].examples, 4);
        assert_eq!(bins[8].examples, 2);
        assert!((expected_error(&bins) - 1.7 / 6.0).abs() < 1e-12, "{}", expected_error(&bins));
    }

    #[test]
    fn errors_within_a_bin_cancel_and_edges_belong_to_the_bin_below() {
        let found = bins([(0.8, true), (0.8, true), (0.8, true), (0.8, true), (0.8, false)].into_iter());
        assert!(expected_error(&found) < 1e-12, "4 of 5 are right, as said: {}", expected_error(&found));
        let found = bins([(0.2, true), (1.0, true), (0.0, false)].into_iter());
        assert_eq!([found[0].examples, found[2].examples, found[14].examples], [1, 1, 1], "{found:?}");
    }
}
