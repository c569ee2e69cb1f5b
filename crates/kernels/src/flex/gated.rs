//! SiLU of a gate times what goes up, in one pass each way, on all threads.

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::DType;
use rayon::prelude::*;

use super::vector::sigmoid;
use super::{CHUNK, changed, tensor};
use crate::Activation;
use crate::gated::{composed, composed_backward};
use crate::wide::with_wide_vectors;

pub(crate) fn forward(gate: FlexTensor, up: FlexTensor, activation: Activation) -> FlexTensor {
    let [gate, up] = [gate, up].map(|tensor| tensor.to_contiguous());
    let slices = (gate.as_slice::<f32>(), up.as_slice::<f32>());
    let (Activation::Silu, (Some(of_gate), Some(of_up))) = (activation, slices) else {
        return composed::<Flex>(gate, up, activation);
    };
    let mut output = vec![0.0; of_gate.len()];
    output
        .par_chunks_mut(CHUNK)
        .zip(of_gate.par_chunks(CHUNK).zip(of_up.par_chunks(CHUNK)))
        .for_each(|(output, (gate, up))| silu_times(gate, up, output));
    tensor(output, gate.layout().shape().clone())
}

pub(crate) fn backward(
    gate: FlexTensor,
    up: FlexTensor,
    d_output: FlexTensor,
    activation: Activation,
) -> (FlexTensor, FlexTensor) {
    let [gate, up] = [gate, up].map(|tensor| tensor.to_contiguous());
    let slices = (gate.as_slice::<f32>(), up.as_slice::<f32>(), d_output.dtype());
    let (Activation::Silu, (Some(of_gate), Some(of_up), DType::F32)) = (activation, slices) else {
        return composed_backward::<Flex>(gate, up, d_output, activation);
    };
    let mut d_gate = vec![0.0; of_gate.len()];
    let d_up = changed(d_output, |gradient| {
        let inputs = of_gate.par_chunks(CHUNK).zip(of_up.par_chunks(CHUNK));
        d_gate
            .par_chunks_mut(CHUNK)
            .zip(gradient.par_chunks_mut(CHUNK))
            .zip(inputs)
            .for_each(|((d_gate, gradient), (gate, up))| differentiate(gate, up, gradient, d_gate));
    });
    (tensor(d_gate, gate.layout().shape().clone()), d_up)
}

with_wide_vectors! {
    fn silu_times(gate: &[f32], up: &[f32], output: &mut [f32]) {
        for ((output, gate), up) in output.iter_mut().zip(gate).zip(up) {
            *output = gate * sigmoid(*gate) * up;
        }
    }
}

with_wide_vectors! {
    /// `gradient` is that of the output before, and that of `up` after.
    fn differentiate(gate: &[f32], up: &[f32], gradient: &mut [f32], d_gate: &mut [f32]) {
        for (((gradient, d_gate), gate), up) in gradient.iter_mut().zip(d_gate).zip(gate).zip(up) {
            let s = sigmoid(*gate);
            *d_gate = *gradient * up * s * (1.0 + gate * (1.0 - s));
            *gradient *= gate * s;
        }
    }
}
