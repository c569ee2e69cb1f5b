//! What the page of a run of regression shows: predictions beside the data, residuals, and the rows furthest off.

use data::Example;

use crate::metrics::interval::{Interval, of_mean};
use crate::metrics::regression::{RegressionScores, pearson_interval, spearman_interval};
use crate::metrics::{LOSS, MAE, PEARSON, RMSE, SPEARMAN};
use crate::{
    Cell, Guide, Histogram, Line, Part, Parts, Scatter, Section, Sections, ShownRow, Table, beginning, number,
};

/// Rows that are kept for the page.
const ROWS: usize = 40;

/// Of one row at least; `texts` are those of all rows, in their order.
pub(crate) fn sections(truth: &[f64], predicted: &[f64], texts: &[Example]) -> Sections {
    let residuals: Vec<f64> = truth.iter().zip(predicted).map(|(truth, predicted)| predicted - truth).collect();
    let parts = [values(truth, predicted, &residuals), errors(truth, predicted, &residuals, texts)];
    Sections {
        sections: parts.into_iter().map(Section::Parts).collect(),
        intervals: intervals(truth, predicted, &residuals),
    }
}

fn intervals(truth: &[f64], predicted: &[f64], residuals: &[f64]) -> Vec<(&'static crate::metrics::Score, Interval)> {
    let pearson = RegressionScores::of(truth, predicted).pearson;
    let squares: Vec<f64> = residuals.iter().map(|residual| residual * residual).collect();
    let sizes: Vec<f64> = residuals.iter().map(|residual| residual.abs()).collect();
    // An error is never below 0, as the approximation may have it.
    let loss = of_mean(&squares).map(|(low, high)| (low.max(0.0), high));
    let all = [
        (&PEARSON, pearson_interval(pearson, truth.len())),
        (&SPEARMAN, spearman_interval(truth, predicted)),
        (&MAE, of_mean(&sizes).map(|(low, high)| (low.max(0.0), high))),
        (&RMSE, loss.map(|(low, high)| (low.sqrt(), high.sqrt()))),
        (&LOSS, loss),
    ];
    all.into_iter().filter_map(|(score, interval)| Some((score, interval?))).collect()
}

fn values(truth: &[f64], predicted: &[f64], residuals: &[f64]) -> Parts {
    let points = |y: &[f64]| truth.iter().copied().zip(y.iter().copied()).collect();
    let scatter = |title: &str, axes: [&str; 2], points, guide| {
        Part::Scatter(Scatter { title: title.to_string(), axes: axes.map(str::to_string), points, guide })
    };
    Parts {
        title: "Predictions".to_string(),
        text: "A residual is the prediction less the value in the data: above zero where the model says too much."
            .to_string(),
        parts: vec![
            scatter(
                "Predicted (up) against the data (right)",
                ["the value in the data", "the predicted one"],
                points(predicted),
                Guide::Diagonal,
            ),
            scatter(
                "Residual (up) against the data (right)",
                ["the value in the data", "the residual"],
                points(residuals),
                Guide::Zero,
            ),
            Part::Histogram(Histogram {
                title: "Rows by residual".to_string(),
                counted: ["row", "rows"].map(str::to_string),
                values: residuals.to_vec(),
            }),
            Part::Table(summary(truth, predicted, residuals)),
        ],
    }
}

/// What both sides are like, and what always answering the mean would give.
fn summary(truth: &[f64], predicted: &[f64], residuals: &[f64]) -> Table {
    let line = |name: &str, values: &[f64]| {
        let (mean, deviation) = moments(values);
        let ends = values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(*v), high.max(*v)));
        let cells = [mean, deviation, ends.0, ends.1].map(|value| Cell::Score(Some(value)));
        Line { name: name.to_string(), cells: cells.to_vec() }
    };
    let scores = RegressionScores::of(truth, predicted);
    let variance = moments(truth).1.powi(2);
    let explained = if variance > 0.0 { format!("{:.3}", 1.0 - scores.mse / variance) } else { "–".to_string() };
    Table {
        caption: format!(
            "R² is {explained}, the part of the variance that is explained. Always answering the mean would give an RMSE of \
             {:.3}; the model has {:.3}.",
            variance.sqrt(),
            scores.rmse
        ),
        columns: ["Values", "Mean", "Deviation", "Smallest", "Largest"].map(str::to_string).to_vec(),
        lines: vec![line("in the data", truth), line("predicted", predicted), line("residuals", residuals)],
        footer: Vec::new(),
    }
}

/// Mean and standard deviation of all values (not of a sample).
fn moments(values: &[f64]) -> (f64, f64) {
    let n = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / n;
    (mean, (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / n).sqrt())
}

fn errors(truth: &[f64], predicted: &[f64], residuals: &[f64], texts: &[Example]) -> Parts {
    let mut order: Vec<usize> = (0..residuals.len().min(texts.len())).collect();
    order.sort_by(|one, other| residuals[*other].abs().total_cmp(&residuals[*one].abs()));
    let written = |value: f64| number(value as f32).to_string();
    let row = |index: &usize| {
        let facts = [
            ("in the data", written(truth[*index])),
            ("predicted", format!("{:.3}", predicted[*index])),
            ("residual", format!("{:+.3}", residuals[*index])),
        ];
        ShownRow {
            line: texts[*index].line,
            text: beginning(&texts[*index].text),
            text_pair: texts[*index].text_pair.as_deref().map(beginning),
            facts: facts.map(|(name, value)| (name.to_string(), value)).to_vec(),
            marked: Vec::new(),
        }
    };
    Parts {
        title: "Largest errors".to_string(),
        text: "The rows whose prediction is furthest from the data. Values that are wrong in the data gather here."
            .to_string(),
        parts: vec![Part::Rows(order.iter().take(ROWS).map(row).collect())],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(number: usize) -> Vec<Example> {
        let text = |line: usize| Example { line, text: format!("text {line}"), text_pair: None, label: None };
        (1..=number).map(text).collect()
    }

    fn parts(sections: &Sections) -> Vec<&Parts> {
        let parts = sections.sections.iter().map(|section| match section {
            Section::Parts(parts) => parts,
            Section::Classification(_) | Section::Samples(_) => panic!("numbers have parts alone"),
        });
        parts.collect()
    }

    #[test]
    fn the_largest_error_of_either_sign_stands_first() {
        let found = sections(&[1.0, 2.0, 3.0, 4.0], &[1.5, -1.0, 3.0, 4.25], &texts(4));
        let [values, errors] = parts(&found)[..] else { panic!("two sections") };
        let Part::Rows(rows) = &errors.parts[0] else { panic!("rows") };
        assert_eq!(rows.iter().map(|row| row.line).collect::<Vec<_>>(), [2, 1, 4, 3]);
        let facts: Vec<String> = rows[0].facts.iter().map(|(name, value)| format!("{name} {value}")).collect();
        assert_eq!(facts, ["in the data 2.0", "predicted -1.000", "residual -3.000"]);
        let Part::Scatter(scatter) = &values.parts[0] else { panic!("points") };
        assert_eq!((scatter.points[1], scatter.guide), ((2.0, -1.0), Guide::Diagonal));
        let Part::Histogram(histogram) = &values.parts[2] else { panic!("residuals") };
        assert_eq!(histogram.values, [0.5, -3.0, 0.0, 0.25]);
    }

    #[test]
    fn the_explained_variance_is_that_of_scikit_learn() {
        // r2_score([1, 2, 3, 4], [1.5, 2, 2.5, 4]) is 1 - 0.5 / 5
        let found = sections(&[1.0, 2.0, 3.0, 4.0], &[1.5, 2.0, 2.5, 4.0], &texts(4));
        let Part::Table(table) = &parts(&found)[0].parts[3] else { panic!("a table") };
        assert!(table.caption.starts_with("R² is 0.900,"), "{}", table.caption);
        assert!(table.caption.contains("RMSE of 1.118; the model has 0.354"), "{}", table.caption);
    }

    #[test]
    fn every_score_of_numbers_has_its_interval() {
        let (truth, predicted) = ([1.0, 2.0, 3.0, 4.0, 5.0], [1.5, 2.0, 2.5, 4.0, 4.0]);
        let found = sections(&truth, &predicted, &texts(5));
        let names: Vec<&str> = found.intervals.iter().map(|(score, _)| score.key).collect();
        assert_eq!(names, ["pearson", "spearman", "mae", "rmse", "loss"]);
        let scores = RegressionScores::of(&truth, &predicted);
        for (score, value) in [("pearson", scores.pearson), ("mae", scores.mae), ("rmse", scores.rmse)] {
            let (_, (low, high)) = found.intervals.iter().find(|(found, _)| found.key == score).unwrap();
            assert!(*low < value && value < *high, "{score}: {low}, {value}, {high}");
        }
    }
}
