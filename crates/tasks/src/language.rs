//! What language models have in common: their targets are tokens of the text.

use data::{Batch, Tokenizer};
use serde_json::Value;

use crate::evaluator::sum;
use crate::metrics::interval::Clusters;
use crate::metrics::{Scores, Shown, TOKEN_ACCURACY, Unit, of_tokens};
use crate::{Evaluator, HostOutput};

pub(crate) static SHOWN: [Shown; 1] = [Shown { title: "Accuracy", score: &TOKEN_ACCURACY, unit: Unit::Percent }];

/// Losses and right tokens; tokens are too many for a confusion matrix.
#[derive(Debug, Default)]
pub(crate) struct TokenEvaluator {
    loss: f64,
    targets: usize,
    correct: usize,
    /// Losses by text.
    texts: Clusters,
}

impl Evaluator for TokenEvaluator {
    fn add(&mut self, output: &HostOutput) {
        self.loss += sum(&output.losses);
        self.targets += output.losses.len();
        self.correct += output.outputs.iter().filter(|right| **right > 0.5).count();
        let mut at = 0;
        for text in output.sequences.chunk_by(|a, b| a == b) {
            self.texts.add(sum(&output.losses[at..at + text.len()]), text.len());
            at += text.len();
        }
    }

    fn scores(&self) -> Scores {
        let count = self.targets.max(1) as f64;
        of_tokens(self.loss / count, self.correct as f64 / count)
    }

    fn targets(&self) -> usize {
        self.targets
    }

    fn loss_error(&self) -> Option<f64> {
        self.texts.standard_error()
    }
}

/// The tokens that are asked for, by their names in the vocabulary.
pub(crate) fn names_of_targets(batch: &Batch, tokenizer: &Tokenizer) -> Value {
    batch.targets.numbers().iter().map(|id| tokenizer.token(*id as u32)).collect()
}
