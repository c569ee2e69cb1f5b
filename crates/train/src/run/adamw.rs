//! AdamW by burn's formula and with burn's state, whose step is one operation instead of fourteen.

use burn::optim::{AdamWState, AdaptiveMomentumState, LearningRate, Optimizer};
use burn::tensor::{Device, Tensor};
use kernels::{AdamWStep, adamw};

/// Of the tensors of one parameter group, as in `torch.optim.AdamW` over them.
#[derive(Debug, Clone)]
pub(super) struct AdamW {
    pub(super) betas: [f32; 2],
    pub(super) epsilon: f32,
    pub(super) weight_decay: f64,
    /// The learning rate of the group over that of the run.
    pub(super) relative_rate: f64,
}

impl Optimizer for AdamW {
    type State<const D: usize> = AdamWState<D>;

    fn step<const D: usize>(
        &self,
        learning_rate: LearningRate,
        weight: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        let (time, moments) = match state {
            Some(AdamWState { momentum }) => (momentum.time + 1, [momentum.moment_1, momentum.moment_2]),
            None => (1, [gradient.zeros_like(), gradient.zeros_like()]),
        };
        let step = AdamWStep {
            learning_rate: learning_rate * self.relative_rate,
            betas: self.betas,
            epsilon: self.epsilon,
            weight_decay: self.weight_decay,
            time: time as i32,
        };
        let (weight, [first, second]) = adamw(weight, gradient, moments, step);
        (weight, Some(AdamWState::new(AdaptiveMomentumState::new(time, first, second))))
    }

    fn to_device<const D: usize>(mut state: Self::State<D>, device: &Device) -> Self::State<D> {
        state.momentum = state.momentum.to_device(device);
        state
    }
}
