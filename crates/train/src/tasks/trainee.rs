//! A model with its loss, as burn's learner takes it: cross-entropy over classes, or over the tokens of a vocabulary.

use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{Int, Tensor};
use burn::train::{ClassificationOutput, InferenceStep, TrainOutput, TrainStep};
use data::Batch;
use kernels::{Layout, Noise, Offsets, cross_entropy};
use model::{Model, Tokens};

/// The examples of one forward pass, and what their randomness derives from.
#[derive(Debug, Clone)]
pub(crate) struct MicroBatch {
    pub(crate) batch: Batch,
    /// `None` in evaluation.
    pub(crate) noise: Option<Noise>,
    /// The optimiser step it belongs to, from 1; 0 in evaluation.
    pub(crate) step: usize,
    /// From 1.
    pub(crate) epoch: usize,
    /// Whether the optimiser steps after it.
    pub(crate) ends_step: bool,
}

impl MicroBatch {
    pub(crate) fn evaluation(batch: Batch) -> Self {
        Self { batch, noise: None, step: 0, epoch: 0, ends_step: false }
    }
}

#[derive(Module, Debug)]
pub(crate) struct Trainee {
    pub(crate) model: Model,
}

impl Trainee {
    /// `[targets, classes]`
    pub(crate) fn logits(&self, input: &MicroBatch) -> Tensor<2> {
        let batch = &input.batch;
        let layout = Arc::new(Layout::new(Offsets::new(&batch.offsets), batch.first_row));
        let tokens = Tokens::new(&batch.ids, &batch.type_ids, layout, &self.model.device());
        self.model.forward(&tokens, &batch.rows, input.noise)
    }

    /// Logits, and the loss of each target rather than their mean: micro-batches hold different numbers of targets, and
    /// dividing once per optimiser step is what makes `grad_accumulation` leave the result unchanged.
    fn output(&self, input: &MicroBatch) -> ClassificationOutput {
        let logits = self.logits(input);
        let targets: Vec<i32> = input.batch.targets.iter().map(|target| *target as i32).collect();
        let targets = Tensor::<1, Int>::from_data(targets.as_slice(), &logits.device());
        let losses = cross_entropy(logits.clone(), &input.batch.targets);
        ClassificationOutput::new(losses, logits, targets)
    }
}

impl TrainStep for Trainee {
    type Input = MicroBatch;
    type Output = ClassificationOutput;

    fn step(&self, input: MicroBatch) -> TrainOutput<ClassificationOutput> {
        let output = self.output(&input);
        let gradients = output.loss.clone().sum().backward();
        TrainOutput::new(self, gradients, output)
    }
}

impl InferenceStep for Trainee {
    type Input = MicroBatch;
    type Output = ClassificationOutput;

    fn step(&self, input: MicroBatch) -> ClassificationOutput {
        self.output(&input)
    }
}
