//! The confusion matrix as a metric of burn's, for its dashboard.

use std::sync::Arc;

use burn::tensor::TensorReadError;
use burn::train::metric::{ConfusionStatsInput, Metric, MetricMetadata, MetricName, SerializedEntry};

use super::Confusion;

/// More classes than this do not fit a line of the dashboard.
const SHOWN: usize = 6;

/// Counts of (true class, predicted class) since the last [`Metric::clear`], a row for each true class.
#[derive(Clone)]
pub struct ConfusionMetric {
    name: MetricName,
    classes: usize,
    seen: Confusion,
}

impl ConfusionMetric {
    pub fn new(classes: usize) -> Self {
        Self { name: Arc::new("Confusion".to_string()), classes, seen: Confusion::new(classes) }
    }

    fn entry(&self) -> SerializedEntry {
        let row = |row: &[u64]| row.iter().map(u64::to_string).collect::<Vec<_>>().join(" ");
        let matrix = self.seen.rows().map(row).collect::<Vec<_>>().join(" | ");
        let shown = if self.classes <= SHOWN { matrix.clone() } else { format!("{} classes", self.classes) };
        SerializedEntry::new(shown, matrix)
    }
}

impl Metric for ConfusionMetric {
    type Input = ConfusionStatsInput;

    fn name(&self) -> MetricName {
        self.name.clone()
    }

    fn update(&mut self, item: &Self::Input, _: &MetricMetadata) -> Result<SerializedEntry, TensorReadError> {
        self.seen.add_all(&Confusion::of(item, self.classes)?);
        Ok(self.entry())
    }

    fn compute(&mut self) -> Result<SerializedEntry, TensorReadError> {
        Ok(self.entry())
    }

    fn clear(&mut self) {
        self.seen = Confusion::new(self.classes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_true_classes() {
        let mut metric = ConfusionMetric::new(2);
        metric.seen.add(0, 0);
        metric.seen.add(0, 1);
        metric.seen.add(1, 1);
        assert_eq!(metric.entry().formatted, "1 1 | 0 1");
    }
}
