//! From the summed gradients of an optimiser step to what the optimiser is given: divided by the divisor of its losses and
//! clipped by the norm over all tensors together, `torch.nn.utils.clip_grad_norm_`.

use burn::module::{Module, ModuleVisitor, Param, ParamGroup, ParamId};
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::Tensor;
use lora::{ParameterGroup, Plan, Rate};

use super::adamw::AdamW;
use crate::config::TrainConfig;

/// AdamW by torch's formula, weight decay on every trained tensor but where the method has it otherwise.
pub(crate) fn adamw(config: &TrainConfig, plan: &Plan) -> ModuleOptimizer {
    let of_run = AdamW {
        betas: config.betas.map(|beta| beta as f32),
        epsilon: config.eps as f32,
        weight_decay: config.weight_decay,
        relative_rate: 1.0,
    };
    let mut groups: Vec<(ParameterGroup, Vec<ParamId>)> = Vec::new();
    for (id, group) in plan.parameter_groups().filter(|(_, group)| *group != ParameterGroup::default()) {
        match groups.iter_mut().find(|(known, _)| *known == group) {
            Some((_, ids)) => ids.push(id),
            None => groups.push((group, vec![id])),
        }
    }
    groups.into_iter().fold(ModuleOptimizer::from(of_run.clone()), |optimizer, (group, ids)| {
        let relative_rate = match group.rate {
            Rate::Times(factor) => factor,
            Rate::Of(rate) => rate / config.learning_rate,
        };
        let weight_decay = if group.decays { config.weight_decay } else { 0.0 };
        let of_group = AdamW { relative_rate, weight_decay, ..of_run.clone() };
        optimizer.with_group(ParamGroup::from_ids(ids), of_group, None)
    })
}

/// Divides by the divisor of the summed losses and clips to `max_norm` (0: not). Returns the norm before clipping.
pub(crate) fn average_and_clip<M: Module + Sync>(
    model: &M,
    gradients: &mut GradientsParams,
    divisor: f64,
    max_norm: f64,
) -> f64 {
    // On one of the threads that compute, as forward and backward are.
    rayon::scope(|_| {
        let mut squares = SquaredNorm { gradients, sum: None };
        model.visit(&mut squares);
        let of_sums = squares.sum.map_or(0.0, |sum| f64::from(sum.sqrt().into_scalar::<f32>()));
        let norm = of_sums / divisor;
        // torch adds 1e-6 to the norm and never scales up.
        let clip = if max_norm > 0.0 { (max_norm / (norm + 1e-6)).min(1.0) } else { 1.0 };
        model.visit(&mut Scale { gradients, factor: clip / divisor });
        norm
    })
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
