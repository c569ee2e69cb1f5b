//! Scores of a confusion matrix as metrics of burn's, for its dashboard: over all predictions of an epoch, as evaluations
//! write them to files, and not the mean of batches.

use std::sync::Arc;

use burn::tensor::TensorReadError;
use burn::train::metric::{
    ConfusionStatsInput, Metric, MetricAttributes, MetricMetadata, MetricName, Numeric, NumericAttributes,
    NumericEntry, SerializedEntry, format_float,
};

use super::Confusion;

/// A score over all predictions since the last [`Metric::clear`].
#[derive(Clone)]
pub struct ScoreMetric {
    name: MetricName,
    score: fn(&Confusion) -> f64,
    classes: usize,
    seen: Confusion,
    batch: f64,
}

impl ScoreMetric {
    pub fn f1_macro(classes: usize) -> Self {
        Self::new("F1 macro", Confusion::f1_macro, classes)
    }

    pub fn matthews(classes: usize) -> Self {
        Self::new("Matthews", Confusion::matthews, classes)
    }

    fn new(name: &str, score: fn(&Confusion) -> f64, classes: usize) -> Self {
        Self { name: Arc::new(name.to_string()), score, classes, seen: Confusion::new(classes), batch: 0.0 }
    }

    fn entry(&self) -> SerializedEntry {
        let (all, batch) = ((self.score)(&self.seen), self.batch);
        let formatted = format!("epoch {} - batch {}", format_float(all, 3), format_float(batch, 3));
        SerializedEntry::new(formatted, all.to_string())
    }
}

impl Metric for ScoreMetric {
    type Input = ConfusionStatsInput;

    fn name(&self) -> MetricName {
        self.name.clone()
    }

    fn attributes(&self) -> MetricAttributes {
        NumericAttributes { unit: None, higher_is_better: true }.into()
    }

    fn update(&mut self, item: &Self::Input, _: &MetricMetadata) -> Result<SerializedEntry, TensorReadError> {
        let batch = Confusion::of(item, self.classes)?;
        self.batch = (self.score)(&batch);
        self.seen.add_all(&batch);
        Ok(self.entry())
    }

    fn compute(&mut self) -> Result<SerializedEntry, TensorReadError> {
        Ok(self.entry())
    }

    fn clear(&mut self) {
        self.seen = Confusion::new(self.classes);
    }
}

impl Numeric for ScoreMetric {
    fn value(&self) -> Option<NumericEntry> {
        Some(NumericEntry::Value(self.batch))
    }

    fn running_value(&self) -> Option<NumericEntry> {
        Some(self.final_value())
    }

    fn final_value(&self) -> NumericEntry {
        let count = self.seen.total() as usize;
        NumericEntry::Aggregated { aggregated_value: (self.score)(&self.seen), count }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dashboard_names_scores_as_evaluations_do() {
        assert_eq!(ScoreMetric::f1_macro(2).name().as_str(), "F1 macro");
        let mut metric = ScoreMetric::f1_macro(2);
        for (truth, predicted) in [(0, 0), (0, 0), (1, 0), (1, 1)] {
            metric.seen.add(truth, predicted);
        }
        // Of scikit-learn's f1_score(average="macro"): (0.8 + 2/3) / 2.
        let NumericEntry::Aggregated { aggregated_value, count } = metric.final_value() else { panic!("of all") };
        assert!((aggregated_value - 0.733_333_333_333_333_3).abs() < 1e-12);
        assert_eq!(count, 4);
    }
}
