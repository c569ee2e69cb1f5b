//! Cross-entropy row by row, on all threads, in two passes over a row each way.

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::{DType, Shape};
use rayon::prelude::*;

use super::vector::{exp_of_negative, fold, largest};
use super::{changed, tensor};
use crate::cross_entropy::{composed, composed_backward};
use crate::wide::with_wide_vectors;

pub(crate) fn forward(logits: FlexTensor, targets: &[u32]) -> FlexTensor {
    let logits = logits.to_contiguous();
    let Some(values) = logits.as_slice::<f32>() else { return composed::<Flex>(logits, targets) };
    let classes = logits.layout().shape()[1];
    let losses: Vec<f32> = values
        .par_chunks_exact(classes)
        .zip(targets)
        .map(|(row, target)| {
            let mut normaliser = [0.0; 2];
            log_sum(row, &mut normaliser);
            normaliser[0] + normaliser[1].ln() - row[*target as usize]
        })
        .collect();
    tensor(losses, Shape::new([targets.len()]))
}

pub(crate) fn backward(logits: FlexTensor, d_losses: FlexTensor, targets: &[u32]) -> FlexTensor {
    let d_losses = d_losses.to_contiguous();
    let classes = logits.layout().shape()[1];
    match d_losses.as_slice::<f32>() {
        // Mostly in place: after the loss nobody else holds the logits.
        Some(d_losses) if logits.dtype() == DType::F32 => {
            changed(logits, |values| differentiate_all(values, d_losses, targets, classes))
        }
        _ => composed_backward::<Flex>(logits, d_losses, targets),
    }
}

fn differentiate_all(values: &mut [f32], d_losses: &[f32], targets: &[u32], classes: usize) {
    values.par_chunks_exact_mut(classes).zip(targets.par_iter().zip(d_losses)).for_each(|(row, (target, d_loss))| {
        let mut normaliser = [0.0; 2];
        log_sum(row, &mut normaliser);
        differentiate(row, normaliser[0], d_loss / normaliser[1]);
        row[*target as usize] -= d_loss;
    });
}

with_wide_vectors! {
    /// The largest value, and the sum of `e^(value - largest)`.
    fn log_sum(row: &[f32], normaliser: &mut [f32; 2]) {
        let largest = largest(row);
        let sums = fold(row, 0.0, |sum, value| sum + exp_of_negative(value - largest));
        *normaliser = [largest, sums.iter().sum()];
    }
}

with_wide_vectors! {
    fn differentiate(row: &mut [f32], largest: f32, factor: f32) {
        for value in row.iter_mut() {
            *value = factor * exp_of_negative(*value - largest);
        }
    }
}
