//! Activation functions by the names that `config.json` uses, each with its derivative. Reference: `ACT2FN` in
//! Transformers. The backward pass keeps the input alone.

use std::str::FromStr;

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch};
use burn::tensor::Tensor;

use crate::KernelBackend;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// With the error function.
    Gelu,
    /// The approximation by a hyperbolic tangent (Hendrycks and Gimpel 2016, arXiv 1606.08415).
    GeluTanh,
    /// The approximation `x * sigmoid(1.702 x)` of the same paper (CLIP).
    QuickGelu,
    Relu,
    /// So et al. 2021, arXiv 2109.08668.
    ReluSquared,
    Silu,
    Tanh,
}

/// A name that is none of [`Activation::NAMES`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownActivation(pub String);

impl Activation {
    pub const NAMES: [&str; 13] = [
        "gelu",
        "gelu_python",
        "gelu_new",
        "gelu_fast",
        "gelu_pytorch_tanh",
        "gelu_python_tanh",
        "gelu_accurate",
        "quick_gelu",
        "relu",
        "relu2",
        "silu",
        "swish",
        "tanh",
    ];

    /// `[rows, columns]` to the same shape.
    pub fn forward(self, x: Tensor<2>) -> Tensor<2> {
        Tensor::from_dispatch(<Dispatch as KernelBackend>::activation(x.into_dispatch(), self))
    }
}

impl FromStr for Activation {
    type Err = UnknownActivation;

    fn from_str(name: &str) -> Result<Self, UnknownActivation> {
        match name {
            "gelu" | "gelu_python" => Ok(Self::Gelu),
            "gelu_new" | "gelu_fast" | "gelu_pytorch_tanh" | "gelu_python_tanh" | "gelu_accurate" => Ok(Self::GeluTanh),
            "quick_gelu" => Ok(Self::QuickGelu),
            "relu" => Ok(Self::Relu),
            "relu2" => Ok(Self::ReluSquared),
            "silu" | "swish" => Ok(Self::Silu),
            "tanh" => Ok(Self::Tanh),
            _ => Err(UnknownActivation(name.to_string())),
        }
    }
}

/// sqrt(2 / pi)
const ROOT: f32 = 0.797_884_6;
const CUBIC: f32 = 0.044_715;
const QUICK: f32 = 1.702;
/// 1 / sqrt(2 pi)
const DENSITY: f32 = 0.398_942_3;

pub(crate) fn composed<B: Backend>(x: FloatTensor<B>, activation: Activation) -> FloatTensor<B> {
    match activation {
        Activation::Gelu => B::gelu(x),
        Activation::GeluTanh => {
            let tanh = B::float_tanh(tanh_argument::<B>(x.clone()));
            B::float_mul(B::float_mul_scalar(x, 0.5.into()), B::float_add_scalar(tanh, 1.0.into()))
        }
        Activation::QuickGelu => B::float_mul(x.clone(), B::sigmoid(B::float_mul_scalar(x, QUICK.into()))),
        Activation::Relu => B::relu(x),
        Activation::ReluSquared => {
            let relu = B::relu(x);
            B::float_mul(relu.clone(), relu)
        }
        Activation::Silu => B::float_mul(x.clone(), B::sigmoid(x)),
        Activation::Tanh => B::float_tanh(x),
    }
}

/// `sqrt(2 / pi) * (x + 0.044715 x³)`; products because burn's powers are many times slower.
fn tanh_argument<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let cube = B::float_mul(B::float_mul(x.clone(), x.clone()), x.clone());
    B::float_mul_scalar(B::float_add(x, B::float_mul_scalar(cube, CUBIC.into())), ROOT.into())
}

/// `d_output` times the derivative at `x`.
pub(crate) fn composed_backward<B: Backend>(
    x: FloatTensor<B>,
    d_output: FloatTensor<B>,
    activation: Activation,
) -> FloatTensor<B> {
    // 1 - y², the derivative of a hyperbolic tangent y.
    let of_tanh = |y: FloatTensor<B>| B::float_add_scalar(B::float_neg(B::float_mul(y.clone(), y)), 1.0.into());
    match activation {
        // Φ(x) + x·φ(x). burn's own `gelu_backward` is the derivative of the approximation by tanh on most backends, and off
        // by some 5e-4.
        Activation::Gelu => {
            let erf = B::float_erf(B::float_mul_scalar(x.clone(), std::f32::consts::FRAC_1_SQRT_2.into()));
            let below = B::float_mul_scalar(B::float_add_scalar(erf, 1.0.into()), 0.5.into());
            let square = B::float_mul(x.clone(), x.clone());
            let density = B::float_mul_scalar(B::float_exp(B::float_mul_scalar(square, (-0.5).into())), DENSITY.into());
            B::float_mul(d_output, B::float_add(below, B::float_mul(x, density)))
        }
        Activation::GeluTanh => {
            let tanh = B::float_tanh(tanh_argument::<B>(x.clone()));
            let square = B::float_mul(x.clone(), x.clone());
            let slope = B::float_add_scalar(B::float_mul_scalar(square, (3.0 * CUBIC).into()), 1.0.into());
            let inner = B::float_mul_scalar(B::float_mul(of_tanh(tanh.clone()), slope), (0.5 * ROOT).into());
            let half = B::float_mul_scalar(B::float_add_scalar(tanh, 1.0.into()), 0.5.into());
            B::float_mul(d_output, B::float_add(half, B::float_mul(x, inner)))
        }
        Activation::QuickGelu => {
            let scaled = B::float_mul_scalar(x, QUICK.into());
            B::float_mul(d_output, silu_slope::<B>(scaled))
        }
        Activation::Relu => B::relu_backward(B::relu(x), d_output),
        Activation::ReluSquared => B::float_mul(d_output, B::float_mul_scalar(B::relu(x), 2.0.into())),
        Activation::Silu => B::float_mul(d_output, silu_slope::<B>(x)),
        Activation::Tanh => B::float_mul(d_output, of_tanh(B::float_tanh(x))),
    }
}

/// `sigmoid(x) * (1 + x * (1 - sigmoid(x)))`
fn silu_slope<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let sigmoid = B::sigmoid(x.clone());
    let rest = B::float_add_scalar(B::float_neg(sigmoid.clone()), 1.0.into());
    B::float_mul(sigmoid, B::float_add_scalar(B::float_mul(x, rest), 1.0.into()))
}

#[derive(Debug)]
struct ActivationBackward;

impl<B: KernelBackend> Backward<B, 1> for ActivationBackward {
    type State = (NodeId, Activation);

    fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, checkpointer: &mut Checkpointer) {
        let [node] = ops.parents;
        let d_output = gradients.consume::<B>(&ops.node);
        let (x, activation) = ops.state;
        let x = checkpointer.retrieve_node_output::<FloatTensor<B>>(x);
        if let Some(node) = node {
            gradients.register::<B>(node.id, B::activation_backward(x, d_output, activation));
        }
    }
}

pub(crate) fn tracked<B: KernelBackend, C: CheckpointStrategy>(
    x: FloatTensor<Autodiff<B, C>>,
    activation: Activation,
) -> FloatTensor<Autodiff<B, C>> {
    match ActivationBackward.prepare::<C>([x.node()]).compute_bound().stateful() {
        OpsKind::Tracked(mut prep) => {
            let id = prep.checkpoint(&x);
            prep.finish((id, activation), B::activation(x.into_primitive(), activation))
        }
        OpsKind::UnTracked(prep) => prep.finish(B::activation(x.into_primitive(), activation)),
    }
}
