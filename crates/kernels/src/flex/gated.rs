//! SiLU of a gate times what goes up, in one pass each way, on all threads.

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::DType;
use rayon::prelude::*;

use super::filled::mapped;
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
    let output =
        mapped(of_gate, CHUNK, |chunk, gate, output| silu_times(gate, &of_up[chunk * CHUNK..][..gate.len()], output));
    tensor(output, gate.layout().shape().clone())
}

pub(crate) fn backward(
    gate: FlexTensor,
    up: FlexTensor,
    d_output: FlexTensor,
    activation: Activation,
) -> (FlexTensor, FlexTensor) {
    let [gate, up] = [gate, up].map(|tensor| tensor.to_contiguous());
    let types = (gate.dtype(), up.as_slice::<f32>(), d_output.dtype());
    let (Activation::Silu, (DType::F32, Some(of_up), DType::F32)) = (activation, types) else {
        return composed_backward::<Flex>(gate, up, d_output, activation);
    };
    let mut d_up = None;
    let d_gate = changed(gate, |gate| {
        d_up = Some(changed(d_output, |gradient| {
            gate.par_chunks_mut(CHUNK)
                .zip(gradient.par_chunks_mut(CHUNK))
                .zip(of_up.par_chunks(CHUNK))
                .for_each(|((gate, gradient), up)| differentiate(gate, up, gradient));
        }));
    });
    (d_gate, d_up.expect("`changed` calls what changes"))
}

with_wide_vectors! {
    fn silu_times(gate: &[f32], up: &[f32], output: &mut [f32]) {
        for ((output, gate), up) in output.iter_mut().zip(gate).zip(up) {
            *output = gate * sigmoid(*gate) * up;
        }
    }
}

with_wide_vectors! {
    /// `gradient` is that of the output before, and that of `up` after; `gate` is then its own gradient.
    fn differentiate(gate: &mut [f32], up: &[f32], gradient: &mut [f32]) {
        for ((gradient, gate), up) in gradient.iter_mut().zip(gate).zip(up) {
            let s = sigmoid(*gate);
            let d_gate = *gradient * up * s * (1.0 + *gate * (1.0 - s));
            *gradient *= *gate * s;
            *gate = d_gate;
        }
    }
}
