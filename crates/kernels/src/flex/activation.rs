//! GELU, SiLU and their derivatives in one pass over the values, vectorised and on all threads. burn's own call the error function
//! of the C library for one value after the other, on one thread: on `[1024, 3072]`, forward and backward 168 ms against
//! 20 ms (two cores, AVX2).

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::DType;
use rayon::prelude::*;

use super::filled::mapped;
use super::vector::{erf, exp_of_negative, sigmoid, tanh};
use super::{CHUNK, changed, tensor};
use crate::Activation;
use crate::wide::with_wide_vectors;

/// sqrt(1 / 2)
const ROOT_HALF: f32 = std::f32::consts::FRAC_1_SQRT_2;
/// 1 / sqrt(2 pi)
const DENSITY: f32 = 0.398_942_3;
/// sqrt(2 / pi)
const ROOT: f32 = 0.797_884_6;
const CUBIC: f32 = 0.044_715;

type Forward = fn(&[f32], &mut [f32]);
/// Multiplies a gradient by the derivative.
type Derivative = fn(&[f32], &mut [f32]);

pub(crate) fn forward(x: FlexTensor, activation: Activation) -> FlexTensor {
    let (kernel, x): (Forward, _) = match activation {
        Activation::Gelu => (gelu, x.to_contiguous()),
        Activation::GeluTanh => (gelu_tanh, x.to_contiguous()),
        Activation::Silu => (silu, x.to_contiguous()),
        Activation::QuickGelu | Activation::Relu | Activation::ReluSquared | Activation::Tanh => {
            return crate::activation::composed::<Flex>(x, activation);
        }
    };
    let Some(values) = x.as_slice::<f32>().filter(|_| x.dtype() == DType::F32) else {
        return crate::activation::composed::<Flex>(x, activation);
    };
    let output = mapped(values, CHUNK, |_, values, output| kernel(values, output));
    tensor(output, x.layout().shape().clone())
}

pub(crate) fn backward(x: FlexTensor, d_output: FlexTensor, activation: Activation) -> FlexTensor {
    let kernel: Derivative = match activation {
        Activation::Gelu => gelu_backward,
        Activation::GeluTanh => gelu_tanh_backward,
        Activation::Silu => silu_backward,
        Activation::QuickGelu | Activation::Relu | Activation::ReluSquared | Activation::Tanh => {
            return crate::activation::composed_backward::<Flex>(x, d_output, activation);
        }
    };
    let x = x.to_contiguous();
    match x.as_slice::<f32>() {
        Some(values) if d_output.dtype() == DType::F32 => changed(d_output, |gradient| {
            let chunks = gradient.par_chunks_mut(CHUNK).zip(values.par_chunks(CHUNK));
            chunks.for_each(|(gradient, values)| kernel(values, gradient));
        }),
        _ => crate::activation::composed_backward::<Flex>(x, d_output, activation),
    }
}

/// GELU and its derivative; what a caller does not use is not computed.
#[inline(always)]
pub(super) fn gelu_and_slope(x: f32) -> (f32, f32) {
    let z = x * ROOT_HALF;
    let e = exp_of_negative(-z * z);
    let erf = erf(z, e);
    (0.5 * x * (1.0 + erf), 0.5 * (1.0 + erf) + x * DENSITY * e)
}

/// The approximation by a hyperbolic tangent and its derivative.
#[inline(always)]
pub(super) fn gelu_tanh_and_slope(x: f32) -> (f32, f32) {
    let t = tanh(ROOT * (x + CUBIC * x * x * x));
    let slope = ROOT * (1.0 + 3.0 * CUBIC * x * x);
    (0.5 * x * (1.0 + t), 0.5 * (1.0 + t + x * (1.0 - t * t) * slope))
}

with_wide_vectors! {
    fn gelu(x: &[f32], output: &mut [f32]) {
        for (output, x) in output.iter_mut().zip(x) {
            *output = gelu_and_slope(*x).0;
        }
    }
}

with_wide_vectors! {
    fn gelu_backward(x: &[f32], gradient: &mut [f32]) {
        for (gradient, x) in gradient.iter_mut().zip(x) {
            *gradient *= gelu_and_slope(*x).1;
        }
    }
}

with_wide_vectors! {
    fn gelu_tanh(x: &[f32], output: &mut [f32]) {
        for (output, x) in output.iter_mut().zip(x) {
            *output = gelu_tanh_and_slope(*x).0;
        }
    }
}

with_wide_vectors! {
    fn gelu_tanh_backward(x: &[f32], gradient: &mut [f32]) {
        for (gradient, x) in gradient.iter_mut().zip(x) {
            *gradient *= gelu_tanh_and_slope(*x).1;
        }
    }
}

with_wide_vectors! {
    fn silu(x: &[f32], output: &mut [f32]) {
        for (output, x) in output.iter_mut().zip(x) {
            *output = x * sigmoid(*x);
        }
    }
}

with_wide_vectors! {
    fn silu_backward(x: &[f32], gradient: &mut [f32]) {
        for (gradient, x) in gradient.iter_mut().zip(x) {
            let s = sigmoid(*x);
            *gradient *= s * (1.0 + x * (1.0 - s));
        }
    }
}
