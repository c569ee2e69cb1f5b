//! How sure a score is: 95 % intervals for what was measured on a sample of examples.
//!
//! A share of examples gets Wilson's interval (1927), which stays within 0 and 1 and holds for few examples. A mean gets
//! the normal approximation. Scores of a whole corpus (F1, Matthews, BLEU) have no formula and are bootstrapped: the score
//! of as many examples drawn with replacement, again and again, and the middle 95 % of what comes of it (Efron 1979).

/// Lower and upper end.
pub type Interval = (f64, f64);

/// The normal distribution's 97.5 % point.
const Z: f64 = 1.959_963_984_540_054;
/// Draws of a bootstrap, and what bounds them where one draw is dear.
const DRAWS: usize = 1000;
const FEWEST_DRAWS: usize = 200;
const WORK: usize = 20_000_000;

/// Of a share of `examples`.
pub fn wilson(share: f64, examples: usize) -> Option<Interval> {
    if examples == 0 || !(0.0..=1.0).contains(&share) {
        return None;
    }
    let n = examples as f64;
    let (middle, scale) = (share + Z * Z / (2.0 * n), 1.0 + Z * Z / n);
    let reach = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    // Where all are of one kind that end is the share itself, which rounding would miss.
    let low = if share == 0.0 { 0.0 } else { (middle - reach) / scale };
    let high = if share == 1.0 { 1.0 } else { (middle + reach) / scale };
    Some((low.max(0.0), high.min(1.0)))
}

/// Of a mean with this standard error.
pub fn normal(mean: f64, standard_error: f64) -> Interval {
    (mean - Z * standard_error, mean + Z * standard_error)
}

/// Of the mean of independent values.
pub fn of_mean(values: &[f64]) -> Option<Interval> {
    if values.len() < 2 {
        return None;
    }
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0);
    Some(normal(mean, (variance / n).sqrt()))
}

/// Of a score of `examples`, which `score` computes for those drawn, named by their indices. `work` is about what one
/// draw costs. The draws are the same each time: a page that is made again shows the same numbers. `None` where every draw has
/// the same score, as where no example is answered wrongly: how far it would vary is then not known.
pub fn bootstrap(examples: usize, work: usize, mut score: impl FnMut(&[usize]) -> f64) -> Option<Interval> {
    if examples < 2 {
        return None;
    }
    let draws = (WORK / work.max(1)).clamp(FEWEST_DRAWS, DRAWS);
    let mut state = 0_u64;
    let mut drawn = vec![0; examples];
    let mut scores = Vec::with_capacity(draws);
    for _ in 0..draws {
        drawn.iter_mut().for_each(|index| *index = (next(&mut state) % examples as u64) as usize);
        scores.push(score(&drawn));
    }
    scores.sort_unstable_by(f64::total_cmp);
    let at = |share: f64| scores[((scores.len() - 1) as f64 * share).round() as usize];
    let ends = (at(0.025), at(0.975));
    (ends.0 < ends.1).then_some(ends)
}

/// SplitMix64 (Steele, Lea and Flood 2014).
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Sums over the texts of a file, from which the standard error of a mean over their tokens follows. Tokens of one text
/// are not independent, so the text is the unit: the ratio estimator of cluster sampling (Cochran 1977, 2.11).
#[derive(Debug, Clone, Copy, Default)]
pub struct Clusters {
    texts: f64,
    tokens: f64,
    tokens_squared: f64,
    value: f64,
    value_squared: f64,
    value_tokens: f64,
}

impl Clusters {
    /// A text with the sum of its tokens' values.
    pub fn add(&mut self, value: f64, tokens: usize) {
        let tokens = tokens as f64;
        self.texts += 1.0;
        self.tokens += tokens;
        self.tokens_squared += tokens * tokens;
        self.value += value;
        self.value_squared += value * value;
        self.value_tokens += value * tokens;
    }

    /// The standard error of the mean over all tokens; `None` for fewer than two texts.
    pub fn standard_error(&self) -> Option<f64> {
        if self.texts < 2.0 || self.tokens == 0.0 {
            return None;
        }
        let mean = self.value / self.tokens;
        let squares = self.value_squared - 2.0 * mean * self.value_tokens + mean * mean * self.tokens_squared;
        Some((self.texts / (self.texts - 1.0) * squares.max(0.0)).sqrt() / self.tokens)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: Interval, wanted: Interval) {
        assert!((found.0 - wanted.0).abs() < 1e-9 && (found.1 - wanted.1).abs() < 1e-9, "{found:?}, {wanted:?}");
    }

    #[test]
    fn the_interval_of_a_share_is_that_of_scipy() {
        // scipy 1.17: binomtest(k, n).proportion_ci(method="wilson")
        close(wilson(0.9, 200).unwrap(), (0.850_594_187_567_282_7, 0.934_329_551_330_904_1));
        close(wilson(1.0, 10).unwrap(), (0.722_467_200_137_078_8, 1.0));
        assert_eq!((wilson(0.5, 0), wilson(f64::NAN, 3)), (None, None));
    }

    #[test]
    fn texts_of_one_token_have_the_standard_error_of_a_mean() {
        let values = [1.0, 2.0, 4.0, 9.0];
        let mut clusters = Clusters::default();
        values.iter().for_each(|value| clusters.add(*value, 1));
        let error = clusters.standard_error().unwrap();
        close(normal(4.0, error), of_mean(&values).unwrap());
        // numpy: std(values, ddof=1) / 2
        assert!((error - 1.779_513_042_005_221_8).abs() < 1e-12, "{error}");
        assert_eq!(Clusters::default().standard_error(), None);
    }

    #[test]
    fn a_bootstrapped_share_agrees_with_the_formula_and_with_itself() {
        let right = |index: &usize| *index >= 30;
        let share = |drawn: &[usize]| drawn.iter().filter(|index| right(index)).count() as f64 / drawn.len() as f64;
        let found = bootstrap(200, 200, share).unwrap();
        let (low, high) = wilson(0.85, 200).unwrap();
        // A thousand draws leave the ends uncertain by less than a hundredth.
        assert!((found.0 - low).abs() < 0.015 && (found.1 - high).abs() < 0.015, "{found:?}, {low}, {high}");
        assert_eq!(bootstrap(200, 200, share), Some(found));
        assert_eq!(bootstrap(1, 1, |_| 0.0), None);
    }

    #[test]
    fn where_all_examples_are_alike_the_interval_ends_there_and_a_bootstrap_has_none() {
        for examples in 1..200 {
            assert_eq!(wilson(1.0, examples).unwrap().1, 1.0, "of {examples}");
            assert_eq!(wilson(0.0, examples).unwrap().0, 0.0, "of {examples}");
        }
        assert_eq!(bootstrap(60, 60, |_| 1.0), None);
        assert!(bootstrap(60, 60, |drawn| drawn[0] as f64).is_some());
    }
}
