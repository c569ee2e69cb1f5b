//! The scores of a task as metrics of burn's, for its dashboard: over all answers of an epoch, as evaluations write them to
//! files, and not the mean of batches.

use std::sync::Arc;

use burn::tensor::TensorReadError;
use burn::train::metric::{
    Metric, MetricAttributes, MetricMetadata, MetricName, Numeric, NumericAttributes, NumericEntry, SerializedEntry,
    format_float,
};

use super::{Better, Confusion, Score};
use crate::{Evaluator, HostOutput, Task};

/// A score that the dashboard shows.
#[derive(Debug, Clone, Copy)]
pub struct Shown {
    pub title: &'static str,
    pub score: &'static Score,
    pub unit: Unit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    None,
    Percent,
}

impl Unit {
    fn name(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Percent => Some("%"),
        }
    }

    fn of(self, value: f64) -> f64 {
        match self {
            Self::None => value,
            Self::Percent => 100.0 * value,
        }
    }

    fn text(self, value: f64) -> String {
        match self {
            Self::None => format_float(value, 3),
            Self::Percent => format!("{} %", format_float(value, 2)),
        }
    }
}

/// A score over all answers since the last [`Metric::clear`].
pub struct ScoreMetric {
    name: MetricName,
    shown: Shown,
    task: Arc<dyn Task>,
    seen: Box<dyn Evaluator>,
    batch: f64,
}

impl ScoreMetric {
    pub fn new(task: &Arc<dyn Task>, shown: Shown) -> Self {
        let name = Arc::new(shown.title.to_string());
        Self { name, shown, task: task.clone(), seen: task.evaluator(), batch: 0.0 }
    }

    fn score(&self, of: &dyn Evaluator) -> f64 {
        self.shown.unit.of(of.scores().get(self.shown.score).unwrap_or(f64::NAN))
    }

    fn entry(&self) -> SerializedEntry {
        let (all, unit) = (self.score(&*self.seen), self.shown.unit);
        let formatted = format!("epoch {} - batch {}", unit.text(all), unit.text(self.batch));
        SerializedEntry::new(formatted, all.to_string())
    }
}

/// burn copies a metric before anything is counted.
impl Clone for ScoreMetric {
    fn clone(&self) -> Self {
        Self::new(&self.task, self.shown)
    }
}

impl Metric for ScoreMetric {
    type Input = HostOutput;

    fn name(&self) -> MetricName {
        self.name.clone()
    }

    fn attributes(&self) -> MetricAttributes {
        let higher_is_better = self.shown.score.better == Better::Higher;
        NumericAttributes { unit: self.shown.unit.name().map(str::to_string), higher_is_better }.into()
    }

    fn update(&mut self, item: &Self::Input, _: &MetricMetadata) -> Result<SerializedEntry, TensorReadError> {
        let mut batch = self.task.evaluator();
        batch.add(item);
        self.batch = self.score(&*batch);
        self.seen.add(item);
        Ok(self.entry())
    }

    fn compute(&mut self) -> Result<SerializedEntry, TensorReadError> {
        Ok(self.entry())
    }

    fn clear(&mut self) {
        self.seen = self.task.evaluator();
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
        NumericEntry::Aggregated { aggregated_value: self.score(&*self.seen), count: self.seen.targets() }
    }
}

/// More classes than this do not fit a line of the dashboard.
const SHOWN: usize = 6;

/// Counts of (true class, predicted class) since the last [`Metric::clear`], a row for each true class.
pub struct ConfusionMetric {
    name: MetricName,
    task: Arc<dyn Task>,
    seen: Box<dyn Evaluator>,
}

impl ConfusionMetric {
    /// `None` for a task whose evaluator counts none.
    pub fn new(task: &Arc<dyn Task>) -> Option<Self> {
        let (name, seen) = (Arc::new("Confusion".to_string()), task.evaluator());
        seen.confusion().is_some().then(|| Self { name, task: task.clone(), seen })
    }

    fn entry(&self) -> SerializedEntry {
        self.seen.confusion().map_or_else(|| SerializedEntry::not_available(None), entry)
    }
}

fn entry(confusion: &Confusion) -> SerializedEntry {
    let row = |row: &[u64]| row.iter().map(u64::to_string).collect::<Vec<_>>().join(" ");
    let matrix = confusion.rows().map(row).collect::<Vec<_>>().join(" | ");
    let classes = confusion.rows().count();
    let shown = if classes <= SHOWN { matrix.clone() } else { format!("{classes} classes") };
    SerializedEntry::new(shown, matrix)
}

impl Clone for ConfusionMetric {
    fn clone(&self) -> Self {
        Self { name: self.name.clone(), task: self.task.clone(), seen: self.task.evaluator() }
    }
}

impl Metric for ConfusionMetric {
    type Input = HostOutput;

    fn name(&self) -> MetricName {
        self.name.clone()
    }

    fn update(&mut self, item: &Self::Input, _: &MetricMetadata) -> Result<SerializedEntry, TensorReadError> {
        self.seen.add(item);
        Ok(self.entry())
    }

    fn compute(&mut self) -> Result<SerializedEntry, TensorReadError> {
        Ok(self.entry())
    }

    fn clear(&mut self) {
        self.seen = self.task.evaluator();
    }
}

#[cfg(test)]
mod tests {
    use data::{Labels, Targets};

    use super::super::{ACCURACY, F1_MACRO};
    use super::*;
    use crate::SequenceClassification;

    fn task() -> Arc<dyn Task> {
        Arc::new(SequenceClassification::new(Labels::new(vec!["no".into(), "yes".into()]).unwrap()))
    }

    fn answers(all: &[(usize, usize)]) -> HostOutput {
        let outputs = all.iter().flat_map(|(_, predicted)| [1 - *predicted, *predicted]).map(|it| it as f32).collect();
        let targets = Targets::Classes(all.iter().map(|(truth, _)| *truth).collect());
        HostOutput { losses: vec![0.5; all.len()], outputs, width: 2, targets, sequences: (0..all.len()).collect() }
    }

    #[test]
    fn rows_are_true_classes() {
        let mut metric = ConfusionMetric::new(&task()).unwrap();
        metric.seen.add(&answers(&[(0, 0), (0, 1), (1, 1)]));
        assert_eq!(metric.entry().formatted, "1 1 | 0 1");
    }

    #[test]
    fn the_dashboard_shows_scores_over_all_answers() {
        let shown = |title, score, unit| ScoreMetric::new(&task(), Shown { title, score, unit });
        let mut metric = shown("F1 macro", &F1_MACRO, Unit::None);
        assert_eq!(metric.name().as_str(), "F1 macro");
        metric.seen.add(&answers(&[(0, 0), (0, 0)]));
        metric.seen.add(&answers(&[(1, 0), (1, 1)]));
        // Of scikit-learn's f1_score(average="macro"): (0.8 + 2/3) / 2.
        let NumericEntry::Aggregated { aggregated_value, count } = metric.final_value() else { panic!("of all") };
        assert!((aggregated_value - 0.733_333_333_333_333_3).abs() < 1e-12);
        assert_eq!(count, 4);
        let mut accuracy = shown("Accuracy", &ACCURACY, Unit::Percent);
        accuracy.seen.add(&answers(&[(0, 0), (1, 0), (1, 1), (1, 1)]));
        accuracy.batch = 50.0;
        assert_eq!(accuracy.entry().formatted, "epoch 75.00 % - batch 50.00 %");
    }
}
