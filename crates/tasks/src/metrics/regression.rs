//! Scores of numbers: errors and correlations, as scikit-learn and SciPy define them.

use super::interval::{Interval, bootstrap, normal};
use super::{Better, Score, Span};

/// SciPy's `pearsonr`.
pub static PEARSON: Score =
    Score { key: "pearson", name: "Pearson", span: Span::Correlation, better: Better::Higher, hub: Some("pearsonr") };
/// SciPy's `spearmanr`.
pub static SPEARMAN: Score = Score {
    key: "spearman",
    name: "Spearman",
    span: Span::Correlation,
    better: Better::Higher,
    hub: Some("spearmanr"),
};
/// scikit-learn's `mean_absolute_error`.
pub static MAE: Score = Score { key: "mae", name: "MAE", span: Span::Open, better: Better::Lower, hub: Some("mae") };
/// scikit-learn's `root_mean_squared_error`.
pub static RMSE: Score =
    Score { key: "rmse", name: "RMSE", span: Span::Open, better: Better::Lower, hub: Some("rmse") };

/// Of the answers for a whole file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RegressionScores {
    /// `mean_squared_error`, the loss, and its root.
    pub mse: f64,
    pub rmse: f64,
    /// `mean_absolute_error`
    pub mae: f64,
    /// `scipy.stats.pearsonr` and `spearmanr`; 0 where all numbers of one side are the same, and SciPy says NaN.
    pub pearson: f64,
    pub spearman: f64,
}

impl RegressionScores {
    /// Of as many answers as there are numbers in the data. All are 0 of none.
    pub fn of(truth: &[f64], predicted: &[f64]) -> Self {
        let n = truth.len().max(1) as f64;
        let mean = |of: fn(f64) -> f64| truth.iter().zip(predicted).map(|(y, x)| of(x - y)).sum::<f64>() / n;
        let mse = mean(|error| error * error);
        Self {
            mse,
            rmse: mse.sqrt(),
            mae: mean(f64::abs),
            pearson: pearson(truth, predicted),
            spearman: pearson(&ranks(truth), &ranks(predicted)),
        }
    }
}

/// By Fisher's transformation, as `pearsonr(..).confidence_interval()` of SciPy; `None` of fewer than four examples.
pub fn pearson_interval(pearson: f64, examples: usize) -> Option<Interval> {
    if examples < 4 || pearson.abs() >= 1.0 {
        return None;
    }
    let (low, high) = normal(pearson.atanh(), 1.0 / ((examples - 3) as f64).sqrt());
    Some((low.tanh(), high.tanh()))
}

/// Pearson's correlation of some of the examples, named by their indices.
pub fn pearson_of(truth: Vec<f64>, predicted: Vec<f64>) -> impl Fn(&[usize]) -> f64 {
    move |drawn| {
        let of = |values: &[f64]| drawn.iter().map(|index| values[*index]).collect::<Vec<_>>();
        pearson(&of(&truth), &of(&predicted))
    }
}

/// Bootstrapped: ranks have no formula that holds with ties.
pub fn spearman_interval(truth: &[f64], predicted: &[f64]) -> Option<Interval> {
    // Sorting is most of a draw.
    let work = truth.len() * 32;
    bootstrap(truth.len(), work, |drawn| {
        let of = |values: &[f64]| ranks(&drawn.iter().map(|index| values[*index]).collect::<Vec<_>>());
        pearson(&of(truth), &of(predicted))
    })
}

fn pearson(x: &[f64], y: &[f64]) -> f64 {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
    let (x_mean, y_mean) = (mean(x), mean(y));
    let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
    for (x, y) in x.iter().zip(y) {
        let (x, y) = (x - x_mean, y - y_mean);
        xx += x * x;
        yy += y * y;
        xy += x * y;
    }
    let spread = xx.sqrt() * yy.sqrt();
    if spread == 0.0 { 0.0 } else { (xy / spread).clamp(-1.0, 1.0) }
}

/// From 1; equal numbers have the mean of their ranks.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_unstable_by(|one, other| values[*one].total_cmp(&values[*other]));
    let mut ranks = vec![0.0; values.len()];
    let mut first = 0;
    for equal in order.chunk_by(|one, other| values[*one] == values[*other]) {
        let rank = first as f64 + (equal.len() + 1) as f64 / 2.0;
        equal.iter().for_each(|index| ranks[*index] = rank);
        first += equal.len();
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    const X: [f64; 12] = [0.1, -0.1, 0.6, 0.1, -0.5, 0.4, 1.3, 0.9, -0.7, -1.3, -0.6, 0.0];
    const Y: [f64; 12] = [-2.2, -0.3, -0.6, -0.6, -1.0, 0.1, 1.7, 1.9, -0.8, 0.1, -1.3, 0.4];

    fn close(found: f64, wanted: f64) {
        assert!((found - wanted).abs() < 1e-12, "{found}, {wanted}");
    }

    #[test]
    fn scores_are_those_of_scipy() {
        // scipy 1.17: pearsonr, spearmanr on numbers with ties; numpy for the errors
        let scores = RegressionScores::of(&Y, &X);
        close(scores.pearson, 0.543_664_477_198_127_8);
        close(scores.spearman, 0.469_245_012_903_616);
        close(scores.mae, 0.766_666_666_666_666_7);
        close(scores.mse, 0.948_333_333_333_333_4);
        close(scores.rmse, 0.973_824_077_199_436_1);
    }

    #[test]
    fn the_interval_of_a_correlation_is_that_of_scipy() {
        let (low, high) = pearson_interval(RegressionScores::of(&Y, &X).pearson, 12).unwrap();
        close(low, -0.043_949_964_985_468_326);
        close(high, 0.851_796_983_376_102_3);
        assert_eq!((pearson_interval(0.5, 3), pearson_interval(1.0, 9)), (None, None));
        let (low, high) = spearman_interval(&Y, &X).unwrap();
        assert!(low < 0.3 && high > 0.6 && high <= 1.0, "{low}, {high}");
    }

    #[test]
    fn equal_numbers_share_their_ranks_and_correlate_with_nothing() {
        assert_eq!(ranks(&[3.0, 1.0, 3.0, 2.0]), [3.5, 1.0, 3.5, 2.0]);
        let scores = RegressionScores::of(&[1.0, 2.0], &[3.0, 3.0]);
        assert_eq!((scores.pearson, scores.spearman, scores.mse), (0.0, 0.0, 2.5));
        assert_eq!(RegressionScores::of(&[], &[]).mse, 0.0);
    }
}
