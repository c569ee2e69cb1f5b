//! Evaluation: the scores of a model over a file.

use burn::tensor::Tensor;

use crate::metrics::{Confusion, Scores};

/// What is gathered over the batches of a file.
#[derive(Debug)]
pub(crate) struct Evaluation {
    confusion: Confusion,
    loss: f64,
}

impl Evaluation {
    pub(crate) fn new(classes: usize) -> Self {
        Self { confusion: Confusion::new(classes), loss: 0.0 }
    }

    /// `losses: [sequences]`, `logits: [sequences, labels]`; returns both on the host.
    pub(crate) fn add(&mut self, losses: Tensor<1>, logits: Tensor<2>, targets: &[usize]) -> (Vec<f32>, Vec<Vec<f32>>) {
        let losses = host(losses);
        let logits = rows(logits);
        // In f64 and example by example, so that the sum does not depend on how the file is cut into batches.
        self.loss += losses.iter().map(|loss| f64::from(*loss)).sum::<f64>();
        for (row, target) in logits.iter().zip(targets) {
            self.confusion.add(*target, largest(row));
        }
        (losses, logits)
    }

    pub(crate) fn confusion(&self) -> &Confusion {
        &self.confusion
    }

    pub(crate) fn scores(&self) -> Scores {
        self.confusion.scores(self.loss / self.confusion.total().max(1) as f64)
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
