//! Where the gradients of an optimiser step come from: forward and backward of its micro-batches, summed up in their order.
//! Nothing here knows an optimiser or a file.

use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::train::TrainStep;
use data::Dataset;

use super::Error;
use super::loader::TrainingBatches;
use tasks::{MicroBatch, StepOutput, Task, TrainableModel, host};

/// What came of the micro-batches of a step: sums, with the count to divide them by.
pub(super) struct StepGradients {
    /// Of the SUM of the losses.
    pub(super) gradients: GradientsParams,
    pub(super) sums: Sums,
    /// The run is to stop after this step.
    pub(super) stop: bool,
}

#[derive(Debug, Default)]
pub(super) struct Sums {
    pub(super) loss: f64,
    /// The number of targets, or the sum of their weights.
    pub(super) divisor: f64,
    pub(super) tokens: usize,
    /// Their numbers in the training data.
    pub(super) examples: Vec<usize>,
}

/// Whoever has a step computed.
pub(super) struct Caller<'a> {
    /// Told what came of each micro-batch that is computed here.
    pub(super) told: &'a mut dyn FnMut(StepOutput),
    pub(super) should_stop: &'a dyn Fn() -> bool,
}

pub(super) trait StepExecutor: Send {
    /// Forward and backward of all micro-batches of a step; `None` where it was interrupted on the way.
    ///
    /// # Errors
    /// A loss that is not a number.
    fn gradients(
        &mut self,
        model: &TrainableModel,
        step: usize,
        caller: &mut Caller<'_>,
    ) -> Result<Option<StepGradients>, Error>;

    /// What there is to say of the steps so far.
    fn account(&self) -> Vec<String> {
        Vec::new()
    }
}

/// All micro-batches here, one after the other.
pub(super) struct Local(pub(super) TrainingBatches);

impl StepExecutor for Local {
    fn gradients(
        &mut self,
        model: &TrainableModel,
        step: usize,
        caller: &mut Caller<'_>,
    ) -> Result<Option<StepGradients>, Error> {
        let Self(batches) = self;
        let (mut gradients, mut sums) = (GradientsAccumulator::new(), Sums::default());
        let mut stop = false;
        for batch in batches.of_step(step) {
            // An incomplete step is dropped: the next process begins it anew.
            if stop {
                return Ok(None);
            }
            let computed = Computed::of(model, batch, &*batches.task);
            computed.check(step, &batches.dataset)?;
            gradients.accumulate(model, computed.gradients);
            sums.add(computed.sums);
            (caller.told)(computed.output);
            stop = (caller.should_stop)();
        }
        Ok(Some(StepGradients { gradients: gradients.grads(), sums, stop }))
    }
}

/// A micro-batch after its backward pass.
pub(super) struct Computed {
    pub(super) gradients: GradientsParams,
    pub(super) sums: Sums,
    /// Examples whose loss is not a number.
    pub(super) broken: Vec<usize>,
    pub(super) output: StepOutput,
}

impl Computed {
    pub(super) fn of(model: &TrainableModel, batch: MicroBatch, task: &dyn Task) -> Self {
        let (tokens, examples) = (batch.batch.tokens(), batch.batch.examples.clone());
        let of_targets = batch.batch.sequences_of_targets();
        let output = TrainStep::step(model, batch);
        let losses = host(output.item.losses.clone().inner());
        let mut broken: Vec<usize> =
            losses.iter().zip(of_targets).filter(|(loss, _)| !loss.is_finite()).map(|(_, i)| examples[i]).collect();
        broken.dedup();
        let loss = losses.iter().map(|loss| f64::from(*loss)).sum::<f64>();
        let divisor = task.divisor(&output.item.targets);
        Self { gradients: output.grads, sums: Sums { loss, divisor, tokens, examples }, broken, output: output.item }
    }

    fn check(&self, step: usize, dataset: &Dataset) -> Result<(), Error> {
        match self.broken.is_empty() {
            true => Ok(()),
            false => Err(not_a_number(step, &self.broken, dataset)),
        }
    }
}

/// What is said of examples whose loss is not a number.
pub(super) fn not_a_number(step: usize, broken: &[usize], dataset: &Dataset) -> Error {
    let places = broken.iter().map(|example| dataset.place(*example)).collect();
    Error::NotANumber { step, what: "the loss", places }
}

impl Sums {
    /// Those of the next micro-batch.
    pub(super) fn add(&mut self, next: Sums) {
        self.loss += next.loss;
        self.divisor += next.divisor;
        self.tokens += next.tokens;
        self.examples.extend(next.examples);
    }
}
