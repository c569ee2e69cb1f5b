//! Evaluation: the scores of a model over a file.

use burn::tensor::Tensor;
use burn::train::ClassificationOutput;

use crate::tasks::Task;
use ::tasks::metrics::interval::Clusters;
use ::tasks::metrics::{Confusion, Scores};

/// What is gathered over the batches of a file.
#[derive(Debug)]
pub(crate) struct Evaluation {
    loss: f64,
    targets: usize,
    correct: usize,
    /// Of classes; tokens are too many for one.
    confusion: Option<Confusion>,
    /// Losses by text.
    texts: Clusters,
}

impl Evaluation {
    pub(crate) fn new(task: &Task) -> Self {
        let confusion = task.labels().map(|labels| Confusion::new(labels.len()));
        Self { loss: 0.0, targets: 0, correct: 0, confusion, texts: Clusters::default() }
    }

    /// Losses and logits of a batch; returns both on the host.
    pub(crate) fn add(&mut self, output: &ClassificationOutput) -> (Vec<f32>, Vec<Vec<f32>>) {
        let losses = host(output.loss.clone());
        let logits = rows(output.output.clone());
        let targets =
            output.targets.clone().into_data().iter::<i64>().map(|target| target as usize).collect::<Vec<_>>();
        // In f64 and one by one, so that the sum does not depend on how the file is cut into batches.
        self.loss += losses.iter().map(|loss| f64::from(*loss)).sum::<f64>();
        self.targets += targets.len();
        for (row, target) in logits.iter().zip(&targets) {
            let predicted = largest(row);
            self.correct += usize::from(predicted == *target);
            if let Some(confusion) = &mut self.confusion {
                confusion.add(*target, predicted);
            }
        }
        (losses, logits)
    }

    /// The losses of a batch once more, by the text that each belongs to, ascending.
    pub(crate) fn add_texts(&mut self, losses: &[f32], texts: &[usize]) {
        for text in texts.chunk_by(|a, b| a == b).scan(0, |at, text| {
            *at += text.len();
            losses.get(*at - text.len()..*at)
        }) {
            self.texts.add(text.iter().map(|loss| f64::from(*loss)).sum(), text.len());
        }
    }

    /// The standard error of the loss over the texts that were added; of classes it follows from the answers that a run
    /// keeps.
    pub(crate) fn loss_error(&self) -> Option<f64> {
        if self.confusion.is_some() { None } else { self.texts.standard_error() }
    }

    pub(crate) fn targets(&self) -> usize {
        self.targets
    }

    pub(crate) fn confusion(&self) -> Option<&Confusion> {
        self.confusion.as_ref()
    }

    pub(crate) fn scores(&self) -> Scores {
        let count = self.targets.max(1) as f64;
        match &self.confusion {
            Some(confusion) => confusion.scores(self.loss / count),
            None => Scores::of_tokens(self.loss / count, self.correct as f64 / count),
        }
    }
}

/// The values of a tensor on the host.
pub(crate) fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec::<f32>().expect("logits and losses are f32 on every device")
}

/// `[rows, columns]` as rows.
pub(crate) fn rows(tensor: Tensor<2>) -> Vec<Vec<f32>> {
    let columns = tensor.dims()[1];
    host(tensor).chunks(columns).map(<[f32]>::to_vec).collect()
}

/// The index of the largest value, the first of equals.
pub(crate) fn largest(row: &[f32]) -> usize {
    row.iter().enumerate().fold(0, |best, (i, value)| if *value > row[best] { i } else { best })
}
