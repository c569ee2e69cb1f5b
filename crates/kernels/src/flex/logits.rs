//! Logits scaled and capped where they lie, on all threads.

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::DType;
use rayon::prelude::*;

use super::vector::{soft_cap_slope, soft_capped};
use super::{CHUNK, changed};
use crate::LogitsTransform;
use crate::logits::{composed, composed_backward};
use crate::wide::with_wide_vectors;

pub(crate) fn forward(logits: FlexTensor, transform: LogitsTransform) -> FlexTensor {
    if logits.dtype() != DType::F32 {
        return composed::<Flex>(logits, transform);
    }
    changed(logits, |values| values.par_chunks_mut(CHUNK).for_each(|values| transform_values(values, transform)))
}

pub(crate) fn backward(transformed: FlexTensor, d_output: FlexTensor, transform: LogitsTransform) -> FlexTensor {
    let transformed = transformed.to_contiguous();
    match transformed.as_slice::<f32>() {
        Some(transformed) if d_output.dtype() == DType::F32 => changed(d_output, |gradient| {
            gradient
                .par_chunks_mut(CHUNK)
                .zip(transformed.par_chunks(CHUNK))
                .for_each(|(gradient, transformed)| multiply_by_slopes(gradient, transformed, transform));
        }),
        _ => composed_backward::<Flex>(transformed, d_output, transform),
    }
}

/// Of the cap alone, where it made this of a logit.
#[inline(always)]
pub(super) fn slope(transformed: f32, soft_cap: Option<f32>) -> f32 {
    soft_cap.map_or(1.0, |cap| soft_cap_slope(transformed, cap))
}

with_wide_vectors! {
    pub(super) fn transform_values(values: &mut [f32], transform: LogitsTransform) {
        match transform.soft_cap {
            Some(cap) => values.iter_mut().for_each(|value| *value = soft_capped(*value * transform.scale, cap)),
            None => values.iter_mut().for_each(|value| *value *= transform.scale),
        }
    }
}

with_wide_vectors! {
    fn multiply_by_slopes(gradient: &mut [f32], transformed: &[f32], transform: LogitsTransform) {
        for (gradient, transformed) in gradient.iter_mut().zip(transformed) {
            *gradient *= transform.scale * slope(*transformed, transform.soft_cap);
        }
    }
}
