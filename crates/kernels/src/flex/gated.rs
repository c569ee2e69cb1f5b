//! SiLU of a gate times what goes up, in one pass each way, on all threads.

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use rayon::prelude::*;

use super::vector::{sigmoid, with_wide_vectors};
use super::{CHUNK, tensor};
use crate::Activation;
use crate::gated::{composed, composed_backward};

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
    let [gate, up, d_output] = [gate, up, d_output].map(|tensor| tensor.to_contiguous());
    let slices = (gate.as_slice::<f32>(), up.as_slice::<f32>(), d_output.as_slice::<f32>());
    let (Activation::Silu, (Some(of_gate), Some(of_up), Some(upstream))) = (activation, slices) else {
        return composed_backward::<Flex>(gate, up, d_output, activation);
    };
    let (mut d_gate, mut d_up) = (vec![0.0; of_gate.len()], vec![0.0; of_gate.len()]);
    let inputs = of_gate.par_chunks(CHUNK).zip(of_up.par_chunks(CHUNK)).zip(upstream.par_chunks(CHUNK));
    d_gate
        .par_chunks_mut(CHUNK)
        .zip(d_up.par_chunks_mut(CHUNK))
        .zip(inputs)
        .for_each(|((d_gate, d_up), ((gate, up), upstream))| differentiate(gate, up, upstream, d_gate, d_up));
    let shape = gate.layout().shape().clone();
    (tensor(d_gate, shape.clone()), tensor(d_up, shape))
}

with_wide_vectors! {
    fn silu_times(gate: &[f32], up: &[f32], output: &mut [f32]) {
        for ((output, gate), up) in output.iter_mut().zip(gate).zip(up) {
            *output = gate * sigmoid(*gate) * up;
        }
    }
}

with_wide_vectors! {
    fn differentiate(gate: &[f32], up: &[f32], upstream: &[f32], d_gate: &mut [f32], d_up: &mut [f32]) {
        for i in 0..gate.len() {
            let s = sigmoid(gate[i]);
            d_gate[i] = upstream[i] * up[i] * s * (1.0 + gate[i] * (1.0 - s));
            d_up[i] = upstream[i] * gate[i] * s;
        }
    }
}
