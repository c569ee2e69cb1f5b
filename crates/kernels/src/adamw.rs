//! A step of AdamW (Loshchilov and Hutter 2017, arXiv 1711.05101, algorithm 2), by the formula and in the order of burn's own.

use burn::backend::Dispatch;
use burn::backend::tensor::FloatTensor;
use burn::tensor::Tensor;

use crate::KernelBackend;

/// The numbers of one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamWStep {
    pub learning_rate: f64,
    pub betas: [f32; 2],
    pub epsilon: f32,
    pub weight_decay: f64,
    /// Steps of this tensor with this one, from 1.
    pub time: i32,
}

impl AdamWStep {
    /// What the weight keeps of itself.
    pub(crate) fn kept(&self) -> f32 {
        (1.0 - self.learning_rate * self.weight_decay) as f32
    }

    /// What the moments are divided by, which begin at 0.
    pub(crate) fn corrections(&self) -> [f32; 2] {
        self.betas.map(|beta| 1.0 - beta.powi(self.time))
    }
}

pub(crate) fn composed<B: KernelBackend>(
    weight: FloatTensor<B>,
    gradient: FloatTensor<B>,
    first: FloatTensor<B>,
    second: FloatTensor<B>,
    step: AdamWStep,
) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
    let times = |tensor, factor: f32| B::float_mul_scalar(tensor, factor.into());
    let ([beta_1, beta_2], [correction_1, correction_2]) = (step.betas, step.corrections());
    let first = B::float_add(times(first, beta_1), times(gradient.clone(), 1.0 - beta_1));
    let square = B::float_mul(gradient.clone(), gradient);
    let second = B::float_add(times(second, beta_2), times(square, 1.0 - beta_2));
    let deviation = B::float_sqrt(B::float_div_scalar(second.clone(), correction_2.into()));
    let delta = B::float_div(
        B::float_div_scalar(first.clone(), correction_1.into()),
        B::float_add_scalar(deviation, step.epsilon.into()),
    );
    let weight = B::float_sub(times(weight, step.kept()), times(delta, step.learning_rate as f32));
    (weight, first, second)
}

/// What weight, first and second moment become, all of one shape and in f32.
pub fn adamw<const D: usize>(
    weight: Tensor<D>,
    gradient: Tensor<D>,
    [first, second]: [Tensor<D>; 2],
    step: AdamWStep,
) -> (Tensor<D>, [Tensor<D>; 2]) {
    let (weight, first, second) = <Dispatch as KernelBackend>::adamw(
        weight.into_dispatch(),
        gradient.into_dispatch(),
        first.into_dispatch(),
        second.into_dispatch(),
        step,
    );
    (Tensor::from_dispatch(weight), [first, second].map(Tensor::from_dispatch))
}
