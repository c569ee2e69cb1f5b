//! The examples of a run as burn's data loaders. A training loader holds no position: it goes through a range of
//! optimiser steps, each of which the sampler derives from the seed.

use std::ops::Range;
use std::sync::Arc;

use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::data::dataset::DatasetError;
use burn::tensor::Device;
use data::{Batch, Dataset, Sampler, Step};
use kernels::Noise;

use tasks::{MicroBatch, Task};

/// The micro-batches of optimiser steps, in order.
#[derive(Clone)]
pub(crate) struct TrainingBatches {
    pub(crate) task: Arc<dyn Task>,
    pub(crate) dataset: Arc<Dataset>,
    pub(crate) sampler: Arc<Sampler>,
    pub(crate) seed: u64,
    pub(crate) steps: Range<usize>,
}

impl TrainingBatches {
    /// The micro-batches of one step.
    pub(crate) fn of_step(&self, step: usize) -> impl Iterator<Item = MicroBatch> + '_ {
        let parts = self.sampler.step(step);
        (0..parts.micro_batches.len()).map(move |number| self.micro_batch(step, &parts, number))
    }

    /// One of them, counted from 0; `parts` are what the sampler says of the step.
    pub(crate) fn micro_batch(&self, step: usize, parts: &Step, number: usize) -> MicroBatch {
        let noise = Noise { seed: self.seed, step: step as u64 };
        let first_row = parts.micro_batches[..number].iter().map(Vec::len).sum();
        let batch = Batch::new(&self.dataset, &parts.micro_batches[number], first_row);
        MicroBatch {
            batch: self.task.present(batch, noise),
            noise: Some(noise),
            step,
            epoch: parts.epoch + 1,
            ends_step: number + 1 == parts.micro_batches.len(),
        }
    }
}

impl DataLoader<MicroBatch> for TrainingBatches {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<MicroBatch> + 'a> {
        let batches = self.steps.clone().flat_map(|step| self.of_step(step));
        Box::new(Counted { batches: Box::new(batches), processed: 0, total: self.num_items() })
    }

    fn num_items(&self) -> usize {
        self.steps.len()
    }

    /// Batches are made on the host and moved by the step.
    fn to_device(&self, _: &Device) -> Arc<dyn DataLoader<MicroBatch>> {
        Arc::new(self.clone())
    }

    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<MicroBatch>> {
        let steps = self.steps.start + start..(self.steps.start + end).min(self.steps.end);
        Arc::new(Self { steps, ..self.clone() })
    }
}

/// A file's examples in order, for evaluation.
#[derive(Clone)]
pub(crate) struct EvaluationBatches {
    pub(crate) task: Arc<dyn Task>,
    pub(crate) dataset: Arc<Dataset>,
    pub(crate) examples: Range<usize>,
}

/// Sequences and tokens that are evaluated at once. Nothing is kept for a backward pass, but a layer's own tensors grow with
/// the tokens.
const SEQUENCES: usize = 32;
const TOKENS: usize = 4096;

/// Examples of a file in order, as they are evaluated together.
pub(crate) fn evaluation_batches(dataset: &Dataset, examples: Range<usize>) -> Vec<Vec<usize>> {
    dataset.batches(examples, SEQUENCES, TOKENS)
}

impl EvaluationBatches {
    pub(crate) fn batches(&self) -> impl Iterator<Item = MicroBatch> + '_ {
        let chunks = evaluation_batches(&self.dataset, self.examples.clone());
        // Numbered by their place in the file: what a task draws of them is the same however they are cut into batches.
        chunks.into_iter().map(|chunk| {
            let first_row = chunk.first().copied().unwrap_or_default();
            self.task.evaluation(Batch::new(&self.dataset, &chunk, first_row))
        })
    }
}

impl DataLoader<MicroBatch> for EvaluationBatches {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<MicroBatch> + 'a> {
        Box::new(Counted { batches: Box::new(self.batches()), processed: 0, total: self.num_items() })
    }

    fn num_items(&self) -> usize {
        self.examples.len()
    }

    fn to_device(&self, _: &Device) -> Arc<dyn DataLoader<MicroBatch>> {
        Arc::new(self.clone())
    }

    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<MicroBatch>> {
        let examples = self.examples.start + start..(self.examples.start + end).min(self.examples.end);
        Arc::new(Self { examples, ..self.clone() })
    }
}

/// Progress counts examples in evaluation and optimiser steps in training.
struct Counted<'a> {
    batches: Box<dyn Iterator<Item = MicroBatch> + 'a>,
    processed: usize,
    total: usize,
}

impl Iterator for Counted<'_> {
    type Item = Result<MicroBatch, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.batches.next()?;
        self.processed += match batch.step {
            0 => batch.batch.sequences(),
            _ => usize::from(batch.ends_step),
        };
        Some(Ok(batch))
    }
}

impl DataLoaderIterator<MicroBatch> for Counted<'_> {
    fn progress(&self) -> Progress {
        Progress::new(self.processed, self.total, None)
    }
}
