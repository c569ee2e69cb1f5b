//! GELU or SiLU of a gate times what goes up, in one pass each way, on all threads.

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::{DType, Shape};
use rayon::prelude::*;

use super::activation::{gelu_and_slope, gelu_tanh_and_slope};
use super::filled::{filled, mapped};
use super::vector::sigmoid;
use super::{CHUNK, changed, tensor};
use crate::gated::{composed, composed_backward, composed_joined, composed_joined_backward};
use crate::wide::with_wide_vectors;
use crate::{Activation, Gate};

/// Gate, what it multiplies, and the output.
type Forward = fn(&[f32], &[f32], &mut [f32]);
/// Gate, which becomes its own gradient, what it multiplies, and the gradient of the output, which becomes that of the latter.
type Derivative = fn(&mut [f32], &[f32], &mut [f32]);

fn kernels(activation: Activation) -> Option<(Forward, Derivative)> {
    match activation {
        Activation::Gelu => Some((gelu_times, differentiate_gelu)),
        Activation::GeluTanh => Some((gelu_tanh_times, differentiate_gelu_tanh)),
        Activation::Silu => Some((silu_times, differentiate_silu)),
        Activation::QuickGelu | Activation::Relu | Activation::ReluSquared | Activation::Tanh => None,
    }
}

pub(crate) fn forward(gate: FlexTensor, up: FlexTensor, activation: Activation) -> FlexTensor {
    let [gate, up] = [gate, up].map(|tensor| tensor.to_contiguous());
    let slices = (gate.as_slice::<f32>(), up.as_slice::<f32>());
    let (Some((kernel, _)), (Some(of_gate), Some(of_up))) = (kernels(activation), slices) else {
        return composed::<Flex>(gate, up, activation);
    };
    let output =
        mapped(of_gate, CHUNK, |chunk, gate, output| kernel(gate, &of_up[chunk * CHUNK..][..gate.len()], output));
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
    let (Some((_, kernel)), (DType::F32, Some(of_up), DType::F32)) = (kernels(activation), types) else {
        return composed_backward::<Flex>(gate, up, d_output, activation);
    };
    let mut d_up = None;
    let d_gate = changed(gate, |gate| {
        d_up = Some(changed(d_output, |gradient| {
            gate.par_chunks_mut(CHUNK)
                .zip(gradient.par_chunks_mut(CHUNK))
                .zip(of_up.par_chunks(CHUNK))
                .for_each(|((gate, gradient), up)| kernel(gate, up, gradient));
        }));
    });
    (d_gate, d_up.expect("`changed` calls what changes"))
}

/// Rows of so many columns, at least one, that one thread works on at a time.
fn rows_at_once(columns: usize) -> usize {
    (CHUNK / columns.max(1)).max(1)
}

pub(crate) fn joined_forward(joined: FlexTensor, which: Gate, activation: Activation) -> FlexTensor {
    let joined = joined.to_contiguous();
    let (rows, columns) = (joined.layout().shape()[0], joined.layout().shape()[1] / 2);
    let (Some((kernel, _)), Some(values)) = (kernels(activation), joined.as_slice::<f32>()) else {
        return composed_joined::<Flex>(joined, which, activation);
    };
    let block = rows_at_once(2 * columns);
    let lengths = (0..rows.div_ceil(block)).map(|index| block.min(rows - index * block) * columns);
    let output = filled(lengths, |index, output| {
        let rows = values[index * block * 2 * columns..].chunks_exact(2 * columns);
        for (row, output) in rows.zip(output.chunks_exact_mut(columns)) {
            let (first, second) = row.split_at(columns);
            let (gate, up) = which.ordered(first, second);
            kernel(gate, up, output);
        }
    });
    tensor(output, Shape::new([rows, columns]))
}

pub(crate) fn joined_backward(
    joined: FlexTensor,
    d_output: FlexTensor,
    which: Gate,
    activation: Activation,
) -> FlexTensor {
    let columns = joined.layout().shape()[1] / 2;
    let types = (joined.dtype(), d_output.dtype());
    let (Some((_, kernel)), (DType::F32, DType::F32)) = (kernels(activation), types) else {
        return composed_joined_backward::<Flex>(joined, d_output, which, activation);
    };
    let block = rows_at_once(2 * columns);
    changed(joined, |joined| {
        changed(d_output, |gradient| {
            let blocks = joined.par_chunks_mut(block * 2 * columns).zip(gradient.par_chunks_mut(block * columns));
            blocks.for_each(|(joined, gradient)| {
                let rows = joined.chunks_exact_mut(2 * columns).zip(gradient.chunks_exact_mut(columns));
                for (row, gradient) in rows {
                    let (first, second) = row.split_at_mut(columns);
                    let (gate, up) = which.ordered(first, second);
                    kernel(gate, up, gradient);
                    up.copy_from_slice(gradient);
                }
            });
        });
    })
}

with_wide_vectors! {
    fn silu_times(gate: &[f32], up: &[f32], output: &mut [f32]) {
        for ((output, gate), up) in output.iter_mut().zip(gate).zip(up) {
            *output = gate * sigmoid(*gate) * up;
        }
    }
}

with_wide_vectors! {
    fn differentiate_silu(gate: &mut [f32], up: &[f32], gradient: &mut [f32]) {
        for ((gradient, gate), up) in gradient.iter_mut().zip(gate).zip(up) {
            let s = sigmoid(*gate);
            let d_gate = *gradient * up * s * (1.0 + *gate * (1.0 - s));
            *gradient *= *gate * s;
            *gate = d_gate;
        }
    }
}

with_wide_vectors! {
    fn gelu_times(gate: &[f32], up: &[f32], output: &mut [f32]) {
        for ((output, gate), up) in output.iter_mut().zip(gate).zip(up) {
            *output = gelu_and_slope(*gate).0 * up;
        }
    }
}

with_wide_vectors! {
    fn differentiate_gelu(gate: &mut [f32], up: &[f32], gradient: &mut [f32]) {
        for ((gradient, gate), up) in gradient.iter_mut().zip(gate).zip(up) {
            let (value, slope) = gelu_and_slope(*gate);
            *gate = *gradient * up * slope;
            *gradient *= value;
        }
    }
}

with_wide_vectors! {
    fn gelu_tanh_times(gate: &[f32], up: &[f32], output: &mut [f32]) {
        for ((output, gate), up) in output.iter_mut().zip(gate).zip(up) {
            *output = gelu_tanh_and_slope(*gate).0 * up;
        }
    }
}

with_wide_vectors! {
    fn differentiate_gelu_tanh(gate: &mut [f32], up: &[f32], gradient: &mut [f32]) {
        for ((gradient, gate), up) in gradient.iter_mut().zip(gate).zip(up) {
            let (value, slope) = gelu_tanh_and_slope(*gate);
            *gate = *gradient * up * slope;
            *gradient *= value;
        }
    }
}
