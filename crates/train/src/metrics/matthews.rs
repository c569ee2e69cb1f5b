//! Matthews' correlation as a metric of burn's, for its dashboard.

use std::sync::Arc;

use burn::tensor::TensorReadError;
use burn::train::metric::{
    ConfusionStatsInput, Metric, MetricAttributes, MetricMetadata, MetricName, Numeric, NumericAttributes,
    NumericEntry, SerializedEntry, format_float,
};

use super::Confusion;

/// Over all predictions since the last [`Metric::clear`].
#[derive(Clone)]
pub(crate) struct MatthewsMetric {
    name: MetricName,
    classes: usize,
    seen: Confusion,
    batch: f64,
}

impl MatthewsMetric {
    pub(crate) fn new(classes: usize) -> Self {
        Self { name: Arc::new("Matthews".to_string()), classes, seen: Confusion::new(classes), batch: 0.0 }
    }

    fn entry(&self) -> SerializedEntry {
        let (all, batch) = (self.seen.matthews(), self.batch);
        let formatted = format!("epoch {} - batch {}", format_float(all, 3), format_float(batch, 3));
        SerializedEntry::new(formatted, all.to_string())
    }
}

impl Metric for MatthewsMetric {
    type Input = ConfusionStatsInput;

    fn name(&self) -> MetricName {
        self.name.clone()
    }

    fn attributes(&self) -> MetricAttributes {
        NumericAttributes { unit: None, higher_is_better: true }.into()
    }

    fn update(&mut self, item: &Self::Input, _: &MetricMetadata) -> Result<SerializedEntry, TensorReadError> {
        let batch = Confusion::of(item, self.classes)?;
        self.batch = batch.matthews();
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

impl Numeric for MatthewsMetric {
    fn value(&self) -> Option<NumericEntry> {
        Some(NumericEntry::Value(self.batch))
    }

    fn running_value(&self) -> Option<NumericEntry> {
        Some(self.final_value())
    }

    fn final_value(&self) -> NumericEntry {
        NumericEntry::Aggregated { aggregated_value: self.seen.matthews(), count: self.seen.total() as usize }
    }
}
