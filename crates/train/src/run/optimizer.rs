//! From the summed gradients of an optimiser step to what the optimiser is given: divided by the divisor of its losses and
//! clipped by the norm over all tensors together, `torch.nn.utils.clip_grad_norm_`.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::Tensor;

use super::adamw::AdamW;
use crate::config::TrainConfig;

/// AdamW by torch's formula, weight decay on every trained tensor.
pub(crate) fn adamw(config: &TrainConfig) -> ModuleOptimizer {
    ModuleOptimizer::from(AdamW {
        betas: config.betas.map(|beta| beta as f32),
        epsilon: config.eps as f32,
        weight_decay: config.weight_decay,
    })
}

/// Divides by the divisor of the summed losses and clips to `max_norm` (0: not). Returns the norm before clipping.
pub(crate) fn average_and_clip<M: Module>(
    model: &M,
    gradients: &mut GradientsParams,
    divisor: f64,
    max_norm: f64,
) -> f64 {
    let mut squares = SquaredNorm { gradients, sum: None };
    model.visit(&mut squares);
    let of_sums = squares.sum.map_or(0.0, |sum| f64::from(sum.sqrt().into_scalar::<f32>()));
    let norm = of_sums / divisor;
    // torch adds 1e-6 to the norm and never scales up.
    let clip = if max_norm > 0.0 { (max_norm / (norm + 1e-6)).min(1.0) } else { 1.0 };
    model.visit(&mut Scale { gradients, factor: clip / divisor });
    norm
}

struct SquaredNorm<'a> {
    gradients: &'a GradientsParams,
    sum: Option<Tensor<1>>,
}

impl ModuleVisitor for SquaredNorm<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.get::<D>(param.id) {
            let square = gradient.square().sum();
            self.sum = Some(match self.sum.take() {
                Some(sum) => sum + square,
                None => square,
            });
        }
    }
}

struct Scale<'a> {
    gradients: &'a mut GradientsParams,
    factor: f64,
}

impl ModuleVisitor for Scale<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.remove::<D>(param.id) {
            self.gradients.register::<D>(param.id, gradient * self.factor);
        }
    }
}
