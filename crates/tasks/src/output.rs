//! What a model says of a batch: its losses, and as much of its answers as a task is scored by.

use burn::tensor::{ExecutionError, Tensor};
use burn::train::metric::{Adaptor, ItemLazy, LossInput};
use data::Targets;

/// Of each target its loss and what the head said.
#[derive(Debug, Clone)]
pub struct StepOutput {
    /// `[targets]`, before anything is summed up.
    pub losses: Tensor<1>,
    /// `[targets, outputs]`: the head's, or of a head over the vocabulary `[targets, 1]`, 1 where the most probable token
    /// is the right one and 0 where it is not.
    pub outputs: Tensor<2>,
    pub targets: Targets,
    /// The sequence of the batch that each target belongs to, ascending.
    pub sequences: Vec<usize>,
}

impl StepOutput {
    pub fn host(&self) -> HostOutput {
        HostOutput {
            losses: host(self.losses.clone()),
            width: self.outputs.dims()[1],
            outputs: host(self.outputs.clone()),
            targets: self.targets.clone(),
            sequences: self.sequences.clone(),
        }
    }
}

/// As burn's own outputs do: what the metrics are told keeps no graph alive.
impl ItemLazy for StepOutput {
    fn sync(self) -> Result<Self, ExecutionError> {
        self.losses.device().flush()?;
        Ok(Self { losses: self.losses.without_autodiff(), outputs: self.outputs.without_autodiff(), ..self })
    }
}

impl Adaptor<LossInput> for StepOutput {
    fn adapt(&self) -> LossInput {
        LossInput::new(self.losses.clone())
    }
}

impl Adaptor<HostOutput> for StepOutput {
    fn adapt(&self) -> HostOutput {
        self.host()
    }
}

/// The same on the host.
#[derive(Debug, Clone, PartialEq)]
pub struct HostOutput {
    pub losses: Vec<f32>,
    /// Row by row, each of so many numbers.
    pub outputs: Vec<f32>,
    pub width: usize,
    pub targets: Targets,
    pub sequences: Vec<usize>,
}

impl HostOutput {
    /// What the head said, for each target.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.outputs.chunks(self.width.max(1))
    }

    /// The targets of a sequence, as indices.
    pub fn of_sequence(&self, sequence: usize) -> std::ops::Range<usize> {
        let first = self.sequences.partition_point(|of| *of < sequence);
        first..self.sequences.partition_point(|of| *of <= sequence)
    }
}

/// The values of a tensor on the host.
pub fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec::<f32>().expect("logits and losses are f32 on every device")
}
