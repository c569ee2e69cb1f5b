//! A step of AdamW in one pass over the memory that is there: the new weight takes the place of the gradient, which nobody needs
//! any more, and the moments that of the old ones.

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::DType;
use rayon::prelude::*;

use super::{CHUNK, changed};
use crate::AdamWStep;
use crate::adamw::composed;
use crate::wide::with_wide_vectors;

pub(crate) fn step(
    weight: FlexTensor,
    gradient: FlexTensor,
    first: FlexTensor,
    second: FlexTensor,
    step: AdamWStep,
) -> (FlexTensor, FlexTensor, FlexTensor) {
    let weight = weight.to_contiguous();
    let all = [&weight, &gradient, &first, &second];
    let (true, Some(of_weight)) = (all.iter().all(|of| of.dtype() == DType::F32), weight.as_slice::<f32>()) else {
        return composed::<Flex>(weight, gradient, first, second, step);
    };
    let (mut new_weight, mut new_first) = (None, None);
    let new_second = changed(second, |second| {
        new_first = Some(changed(first, |first| {
            new_weight = Some(changed(gradient, |gradient| {
                let moments = first.par_chunks_mut(CHUNK).zip(second.par_chunks_mut(CHUNK));
                let chunks = gradient.par_chunks_mut(CHUNK).zip(of_weight.par_chunks(CHUNK)).zip(moments);
                chunks.for_each(|((gradient, weight), (first, second))| update(weight, gradient, first, second, step));
            }));
        }));
    });
    match (new_weight, new_first) {
        (Some(weight), Some(first)) => (weight, first, new_second),
        _ => unreachable!("`changed` calls what it is given"),
    }
}

with_wide_vectors! {
    /// Writes the new weight over the gradient.
    fn update(weight: &[f32], gradient: &mut [f32], first: &mut [f32], second: &mut [f32], step: AdamWStep) {
        let ([beta_1, beta_2], [correction_1, correction_2]) = (step.betas, step.corrections());
        let (kept, rate, epsilon) = (step.kept(), step.learning_rate as f32, step.epsilon);
        for (((weight, gradient), first), second) in weight.iter().zip(gradient).zip(first).zip(second) {
            *first = *first * beta_1 + *gradient * (1.0 - beta_1);
            *second = *second * beta_2 + *gradient * *gradient * (1.0 - beta_2);
            let delta = *first / correction_1 / ((*second / correction_2).sqrt() + epsilon);
            *gradient = weight * kept - delta * rate;
        }
    }
}
