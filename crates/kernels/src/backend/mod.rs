//! The one trait of this crate, its one list of backends, and its one implementation for autodiff, in a file of its own.
//!
//! To add a backend: a selector in the list, and an `impl` line. A backend missing from the list panics at run time, in
//! the code that burn's macro generates for the dispatching backend.

#![cfg_attr(
    any(feature = "ndarray", feature = "tch"),
    expect(deprecated, reason = "burn 0.23 drops ndarray and tch; until then they are served")
)]

mod autodiff;
mod flex;

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Autodiff, Backend, Dispatch, ExtensionType, backend_extension};
use burn::tensor::Tensor;

use crate::disentangled_attention::Inputs;
use crate::linear_cross_entropy::Layer;
use crate::{
    Activation, AdamWStep, Attention, Compute, DisentangledAttention, DropoutMask, FrozenPrimitive, Gate, Layout,
    LogitsTransform, LowRank, Phase, Precision, RowNorms, RowsUpdate,
};
use crate::{
    activation, adamw, attention, bias, cross_entropy, disentangled_attention, dora_linear, dropout, gated, layer_norm,
    linear, linear_cross_entropy, logits, lora_linear, low_rank_update, quantised, residual, rms_norm, rotary,
    row_norms, widen,
};

/// A tensor that need not be there: what the macro takes in place of an `Option`.
#[derive(ExtensionType, Clone, Debug)]
pub enum Maybe<B: Backend> {
    Some(FloatTensor<B>),
    None,
}

impl<B: Backend> Maybe<B> {
    pub(crate) fn into_option(self) -> Option<FloatTensor<B>> {
        match self {
            Self::Some(tensor) => Some(tensor),
            Self::None => None,
        }
    }
}

impl Maybe<Dispatch> {
    pub(crate) fn of<const D: usize>(tensor: Option<Tensor<D>>) -> Self {
        tensor.map_or(Self::None, |tensor| Self::Some(tensor.into_dispatch()))
    }
}

impl<B: Backend, C: CheckpointStrategy> Maybe<Autodiff<B, C>> {
    /// As a constant.
    pub(crate) fn inner(self) -> Maybe<B> {
        match self {
            Self::Some(tensor) => Maybe::Some(tensor.into_primitive()),
            Self::None => Maybe::None,
        }
    }
}

/// burn's `Backend` with the operations of this crate. Every method has a composed form as its default body, correct on
/// every backend and the reference for the tests of faster forms.
#[backend_extension(
    Autodiff,
    Flex,
    NdArray: cfg(feature = "ndarray"),
    LibTorch: cfg(feature = "tch"),
    Cube: cfg(any(feature = "wgpu", feature = "cuda", feature = "rocm", feature = "cpu"))
)]
pub trait KernelBackend: Backend {
    /// A half-precision tensor in f32. No gradient: only frozen weights are kept in half precision.
    fn widen(weight: FloatTensor<Self>) -> FloatTensor<Self> {
        widen::composed::<Self>(weight)
    }

    /// A frozen matrix in f32, `[d_output, d_input]`. No gradient.
    fn frozen_widened(#[extension_type] weight: FrozenPrimitive<Self>) -> FloatTensor<Self> {
        quantised::widened::<Self>(weight)
    }

    /// Rows of a frozen matrix by index, in f32. No gradient.
    fn frozen_rows(#[extension_type] weight: FrozenPrimitive<Self>, indices: IntTensor<Self>) -> FloatTensor<Self> {
        quantised::composed_rows::<Self>(weight, indices)
    }

    /// `x·Wᵀ + bias` with a W that gets no gradient: `x` is `[rows, d_input]`, W `[d_output, d_input]`. In f32
    /// unless a backend has products in the precision that is asked for.
    fn frozen_linear(
        x: FloatTensor<Self>,
        #[extension_type] weight: FrozenPrimitive<Self>,
        #[extension_type] bias: Maybe<Self>,
        _compute: Compute,
    ) -> FloatTensor<Self> {
        linear::composed::<Self>(x, weight, bias.into_option())
    }

    /// The gradient of its input, `d_output·W`, given that of its output, `[rows, d_output]`.
    fn frozen_linear_backward(
        d_output: FloatTensor<Self>,
        #[extension_type] weight: FrozenPrimitive<Self>,
        _precision: Precision,
    ) -> FloatTensor<Self> {
        linear::composed_backward::<Self>(d_output, weight)
    }

    /// `x·Wᵀ + bias`, which under autodiff gives gradients to all three.
    fn trained_linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        #[extension_type] bias: Maybe<Self>,
        phase: Phase,
    ) -> FloatTensor<Self> {
        let compute = Compute { phase, ..Compute::default() };
        Self::frozen_linear(x, FrozenPrimitive::Float(weight), bias, compute)
    }

    /// `x + bias`, `[rows, d]` and `[d]`.
    fn add_bias(x: FloatTensor<Self>, bias: FloatTensor<Self>) -> FloatTensor<Self> {
        bias::composed::<Self>(x, bias)
    }

    /// The gradient of its W, `d_outputᵀ·x`.
    fn weight_gradient(x: FloatTensor<Self>, d_output: FloatTensor<Self>) -> FloatTensor<Self> {
        linear::composed_weight_gradient::<Self>(x, d_output)
    }

    /// `x·Wᵀ + bias + scale * (mask(x)·Aᵀ)·Bᵀ` with a frozen W; A is `[r, d_input]`, B `[d_output, r]`. Returned with
    /// `scale * mask(x)·Aᵀ`, `[rows, r]`, a constant that the backward pass needs.
    fn lora_linear(
        x: FloatTensor<Self>,
        #[extension_type] weight: FrozenPrimitive<Self>,
        #[extension_type] bias: Maybe<Self>,
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        options: LowRank,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        lora_linear::composed::<Self>(x, weight, bias.into_option(), a, b, options)
    }

    /// The gradients of A and B, and of `mask(x)·Aᵀ`, given that of the output and `down`, the second value of the forward
    /// pass.
    fn lora_linear_backward(
        x: FloatTensor<Self>,
        down: FloatTensor<Self>,
        b: FloatTensor<Self>,
        d_output: FloatTensor<Self>,
        options: LowRank,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        lora_linear::composed_backward::<Self>(x, down, b, d_output, options)
    }

    /// The gradient of the input, given those of the output and of `mask(x)·Aᵀ`.
    fn lora_linear_input_backward(
        d_output: FloatTensor<Self>,
        #[extension_type] weight: FrozenPrimitive<Self>,
        d_down: FloatTensor<Self>,
        a: FloatTensor<Self>,
        options: LowRank,
    ) -> FloatTensor<Self> {
        lora_linear::composed_input_backward::<Self>(d_output, weight, d_down, a, options)
    }

    /// `output` with `scale * (x·Aᵀ)·Bᵀ` added to some rows, read from the same of `x`. No gradient.
    fn add_low_rank(
        output: FloatTensor<Self>,
        x: FloatTensor<Self>,
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        update: RowsUpdate,
    ) -> FloatTensor<Self> {
        low_rank_update::composed::<Self>(output, x, a, b, update)
    }

    /// A linear layer with a frozen W and DoRA; A is `[r, d_input]`, B `[d_output, r]`, and the factors of the rows
    /// `[d_output]`. Returned with `scale * mask(x)·Aᵀ`, `[rows, r]`, and `mask(x)·(W + scale * B·A)ᵀ`, `[rows, d_output]`,
    /// constants that the backward pass needs.
    #[allow(clippy::too_many_arguments, reason = "the macro takes tensors one by one")]
    fn dora_linear(
        x: FloatTensor<Self>,
        #[extension_type] weight: FrozenPrimitive<Self>,
        #[extension_type] bias: Maybe<Self>,
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        factors: FloatTensor<Self>,
        options: LowRank,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        dora_linear::composed::<Self>(x, weight, bias, a, b, factors, options)
    }

    /// The gradients of A, B, the factors and `mask(x)·Aᵀ`, given that of the output and the second and third values of the forward
    /// pass.
    fn dora_linear_backward(
        x: FloatTensor<Self>,
        down: FloatTensor<Self>,
        direction: FloatTensor<Self>,
        b: FloatTensor<Self>,
        factors: FloatTensor<Self>,
        d_output: FloatTensor<Self>,
        options: LowRank,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        dora_linear::composed_backward::<Self>(x, [down, direction], b, factors, d_output, options)
    }

    /// The gradient of the input, given those of the output and of `mask(x)·Aᵀ`.
    fn dora_linear_input_backward(
        d_output: FloatTensor<Self>,
        #[extension_type] weight: FrozenPrimitive<Self>,
        d_down: FloatTensor<Self>,
        a: FloatTensor<Self>,
        factors: FloatTensor<Self>,
        options: LowRank,
    ) -> FloatTensor<Self> {
        dora_linear::composed_input_backward::<Self>(d_output, weight, d_down, a, factors, options)
    }

    /// The lengths of the rows of `W + scale * B·A`, `[d_output]`. No gradient.
    fn row_norms(
        #[extension_type] weight: FrozenPrimitive<Self>,
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        scale: f32,
        _remembered: RowNorms,
    ) -> FloatTensor<Self> {
        row_norms::composed::<Self>(weight, a, b, scale)
    }

    /// Softmax attention of each sequence to itself; `q` is `[tokens, heads * d_head]`, `k` and `v` are
    /// `[keys, kv_heads * d_head]`.
    fn ragged_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        layout: Arc<Layout>,
        options: Attention,
    ) -> FloatTensor<Self> {
        attention::composed::<Self>(q, k, v, &layout, &options)
    }

    /// The gradients of `q`, `k` and `v`, given that of the output. Scores are computed again, not kept.
    fn ragged_attention_backward(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        d_output: FloatTensor<Self>,
        layout: Arc<Layout>,
        options: Attention,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        attention::composed_backward::<Self>(q, k, v, d_output, &layout, &options)
    }

    /// Attention where `joined` holds `q`, `k` and `v` side by side, `[tokens, (heads + 2 * kv_heads) * d_head]`.
    fn joined_attention(joined: FloatTensor<Self>, layout: Arc<Layout>, options: Attention) -> FloatTensor<Self> {
        attention::composed_joined::<Self>(joined, layout, options)
    }

    /// The gradient of `joined`, given that of the output.
    fn joined_attention_backward(
        joined: FloatTensor<Self>,
        d_output: FloatTensor<Self>,
        layout: Arc<Layout>,
        options: Attention,
    ) -> FloatTensor<Self> {
        attention::composed_joined_backward::<Self>(joined, d_output, &layout, &options)
    }

    /// Attention with terms of relative positions; `q`, `k`, `v`: `[tokens, heads * d_head]`, the tables `[2 * span, heads *
    /// d_head]`.
    fn disentangled_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        pos_key: FloatTensor<Self>,
        pos_query: FloatTensor<Self>,
        layout: Arc<Layout>,
        options: DisentangledAttention,
    ) -> FloatTensor<Self> {
        disentangled_attention::composed::<Self>(Inputs { q, k, v, pos_key, pos_query }, &layout, &options)
    }

    /// The gradients of all five, given that of the output.
    #[allow(
        clippy::too_many_arguments,
        clippy::type_complexity,
        reason = "the macro takes tensors one by one; it also copies attributes to where an `expect` would not be met"
    )]
    fn disentangled_attention_backward(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        pos_key: FloatTensor<Self>,
        pos_query: FloatTensor<Self>,
        d_output: FloatTensor<Self>,
        layout: Arc<Layout>,
        options: DisentangledAttention,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let inputs = Inputs { q, k, v, pos_key, pos_query };
        let d = disentangled_attention::composed_backward::<Self>(inputs, d_output, &layout, &options);
        (d.q, d.k, d.v, d.pos_key, d.pos_query)
    }

    /// An activation function, entry by entry.
    fn activation(x: FloatTensor<Self>, activation: Activation) -> FloatTensor<Self> {
        activation::composed::<Self>(x, activation)
    }

    /// `d_output` times the derivative of the activation function at `x`.
    fn activation_backward(
        x: FloatTensor<Self>,
        d_output: FloatTensor<Self>,
        activation: Activation,
    ) -> FloatTensor<Self> {
        activation::composed_backward::<Self>(x, d_output, activation)
    }

    /// An activation function of a gate times `up`, entry by entry.
    fn gated_activation(gate: FloatTensor<Self>, up: FloatTensor<Self>, activation: Activation) -> FloatTensor<Self> {
        gated::composed::<Self>(gate, up, activation)
    }

    /// The gradients of `gate` and `up`, given that of the output.
    fn gated_activation_backward(
        gate: FloatTensor<Self>,
        up: FloatTensor<Self>,
        d_output: FloatTensor<Self>,
        activation: Activation,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        gated::composed_backward::<Self>(gate, up, d_output, activation)
    }

    /// The same of the halves of `joined: [rows, 2 * columns]`.
    fn joined_gated_activation(joined: FloatTensor<Self>, gate: Gate, activation: Activation) -> FloatTensor<Self> {
        gated::composed_joined::<Self>(joined, gate, activation)
    }

    /// The gradient of `joined`, given that of the output.
    fn joined_gated_activation_backward(
        joined: FloatTensor<Self>,
        d_output: FloatTensor<Self>,
        gate: Gate,
        activation: Activation,
    ) -> FloatTensor<Self> {
        gated::composed_joined_backward::<Self>(joined, d_output, gate, activation)
    }

    /// LayerNorm of each row; `x: [rows, d]`, `weight` and `bias: [d]`.
    fn row_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        epsilon: f32,
    ) -> FloatTensor<Self> {
        layer_norm::composed::<Self>(x, weight, bias, epsilon)
    }

    /// The gradients of `x`, `weight` and `bias`, given that of the output.
    fn row_norm_backward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        d_output: FloatTensor<Self>,
        epsilon: f32,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        layer_norm::composed_backward::<Self>(x, weight, d_output, epsilon)
    }

    /// RMSNorm of each row; `x: [rows, d]`, `weight: [d]`.
    fn root_mean_square_norm(x: FloatTensor<Self>, weight: FloatTensor<Self>, epsilon: f32) -> FloatTensor<Self> {
        rms_norm::composed::<Self>(x, weight, epsilon)
    }

    /// The gradients of `x` and `weight`, given that of the output.
    fn root_mean_square_norm_backward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        d_output: FloatTensor<Self>,
        epsilon: f32,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        rms_norm::composed_backward::<Self>(x, weight, d_output, epsilon)
    }

    /// Each head of `x: [tokens, heads * d_head]` turned by the angles of `cosines` and `sines`, `[tokens, pairs]`.
    fn rotary(
        x: FloatTensor<Self>,
        cosines: FloatTensor<Self>,
        sines: FloatTensor<Self>,
        heads: usize,
    ) -> FloatTensor<Self> {
        rotary::composed::<Self>(x, cosines, sines, heads)
    }

    /// `logits: [rows, classes]` scaled and capped.
    fn transform_logits(logits: FloatTensor<Self>, transform: LogitsTransform) -> FloatTensor<Self> {
        logits::composed::<Self>(logits, transform)
    }

    /// The gradient of the logits, given that of the output, and the output.
    fn transform_logits_backward(
        transformed: FloatTensor<Self>,
        d_output: FloatTensor<Self>,
        transform: LogitsTransform,
    ) -> FloatTensor<Self> {
        logits::composed_backward::<Self>(transformed, d_output, transform)
    }

    /// The loss of each row of `logits: [rows, classes]`.
    fn cross_entropy(logits: FloatTensor<Self>, targets: Arc<[u32]>) -> FloatTensor<Self> {
        cross_entropy::composed::<Self>(logits, &targets)
    }

    /// The gradient of the logits, given those of the losses, `[rows]`.
    fn cross_entropy_backward(
        logits: FloatTensor<Self>,
        d_losses: FloatTensor<Self>,
        targets: Arc<[u32]>,
    ) -> FloatTensor<Self> {
        cross_entropy::composed_backward::<Self>(logits, d_losses, &targets)
    }

    /// The losses of the rows of `x·Wᵀ + bias`, transformed, with a frozen W, and the distance of the target's logit from the
    /// largest.
    fn linear_cross_entropy(
        x: FloatTensor<Self>,
        #[extension_type] weight: FrozenPrimitive<Self>,
        #[extension_type] bias: Maybe<Self>,
        targets: Arc<[u32]>,
        transform: LogitsTransform,
        precision: Precision,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let bias = bias.into_option();
        linear_cross_entropy::composed(Layer::<Self> { x, weight, bias, targets: &targets, transform, precision })
    }

    /// The same, and the gradient of the sum of the losses with respect to `x`, `[rows, d]`.
    fn linear_cross_entropy_with_gradient(
        x: FloatTensor<Self>,
        #[extension_type] weight: FrozenPrimitive<Self>,
        #[extension_type] bias: Maybe<Self>,
        targets: Arc<[u32]>,
        transform: LogitsTransform,
        precision: Precision,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let bias = bias.into_option();
        linear_cross_entropy::composed_with_gradient(Layer::<Self> {
            x,
            weight,
            bias,
            targets: &targets,
            transform,
            precision,
        })
    }

    /// `x` times the factors of the mask, `[rows, columns]`.
    fn dropout(x: FloatTensor<Self>, mask: DropoutMask) -> FloatTensor<Self> {
        dropout::composed::<Self>(x, &mask)
    }

    /// `x + mask(branch)`, all `[rows, columns]`.
    fn residual(x: FloatTensor<Self>, branch: FloatTensor<Self>, mask: Option<DropoutMask>) -> FloatTensor<Self> {
        residual::composed::<Self>(x, branch, mask)
    }

    /// A step of AdamW: what weight and moments become. No gradient.
    fn adamw(
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        first: FloatTensor<Self>,
        second: FloatTensor<Self>,
        step: AdamWStep,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        adamw::composed::<Self>(weight, gradient, first, second, step)
    }
}

#[cfg(feature = "ndarray")]
impl KernelBackend for burn::backend::NdArray {}

#[cfg(feature = "tch")]
impl KernelBackend for burn::backend::LibTorch {}

#[cfg(any(feature = "wgpu", feature = "cuda", feature = "rocm", feature = "cpu"))]
impl KernelBackend for burn::backend::Cube {}
