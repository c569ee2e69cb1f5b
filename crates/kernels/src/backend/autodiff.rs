//! The gradients, for any backend. What has none here is a constant to what comes after, or a part of a backward pass.

use std::sync::Arc;

use burn::backend::Autodiff;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::{FloatTensor, IntTensor};

use crate::disentangled_attention::Inputs;
use crate::{
    Activation, Attention, Compute, DisentangledAttention, DropoutMask, FrozenPrimitive, Gate, KernelBackend, Layout,
    LogitsTransform, LowRank, Maybe, Phase, Precision, RowNorms, RowsUpdate,
};
use crate::{
    activation, attention, bias, cross_entropy, disentangled_attention, dora_linear, dropout, gated, layer_norm,
    linear, linear_cross_entropy, logits, lora_linear, low_rank_update, quantised, residual, rms_norm, rotary,
    row_norms, widen,
};

impl<B: KernelBackend, C: CheckpointStrategy> KernelBackend for Autodiff<B, C> {
    fn widen(weight: FloatTensor<Self>) -> FloatTensor<Self> {
        widen::untracked::<B, C>(weight)
    }

    fn frozen_widened(weight: FrozenPrimitive<Self>) -> FloatTensor<Self> {
        quantised::untracked_widened::<B, C>(weight)
    }

    fn frozen_rows(weight: FrozenPrimitive<Self>, indices: IntTensor<Self>) -> FloatTensor<Self> {
        quantised::untracked_rows::<B, C>(weight, indices)
    }

    fn frozen_linear(
        x: FloatTensor<Self>,
        weight: FrozenPrimitive<Self>,
        bias: Maybe<Self>,
        compute: Compute,
    ) -> FloatTensor<Self> {
        linear::tracked_frozen::<B, C>(x, weight, bias, compute)
    }

    fn trained_linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: Maybe<Self>,
        phase: Phase,
    ) -> FloatTensor<Self> {
        linear::tracked_trained::<B, C>(x, weight, bias, phase)
    }

    fn add_bias(x: FloatTensor<Self>, bias: FloatTensor<Self>) -> FloatTensor<Self> {
        bias::tracked::<B, C>(x, bias)
    }

    fn lora_linear(
        x: FloatTensor<Self>,
        weight: FrozenPrimitive<Self>,
        bias: Maybe<Self>,
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        options: LowRank,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        lora_linear::tracked::<B, C>(x, weight, bias, a, b, options)
    }

    fn add_low_rank(
        output: FloatTensor<Self>,
        x: FloatTensor<Self>,
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        update: RowsUpdate,
    ) -> FloatTensor<Self> {
        low_rank_update::untracked::<B, C>(output, x, a, b, update)
    }

    fn dora_linear(
        x: FloatTensor<Self>,
        weight: FrozenPrimitive<Self>,
        bias: Maybe<Self>,
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        factors: FloatTensor<Self>,
        options: LowRank,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        dora_linear::tracked::<B, C>(x, weight, bias, a, b, factors, options)
    }

    fn row_norms(
        weight: FrozenPrimitive<Self>,
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        scale: f32,
        remembered: RowNorms,
    ) -> FloatTensor<Self> {
        row_norms::untracked::<B, C>(weight, a, b, scale, remembered)
    }

    fn ragged_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        layout: Arc<Layout>,
        options: Attention,
    ) -> FloatTensor<Self> {
        attention::tracked::<B, C>(q, k, v, layout, options)
    }

    fn joined_attention(joined: FloatTensor<Self>, layout: Arc<Layout>, options: Attention) -> FloatTensor<Self> {
        attention::tracked_joined::<B, C>(joined, layout, options)
    }

    fn disentangled_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        pos_key: FloatTensor<Self>,
        pos_query: FloatTensor<Self>,
        layout: Arc<Layout>,
        options: DisentangledAttention,
    ) -> FloatTensor<Self> {
        disentangled_attention::tracked::<B, C>(Inputs { q, k, v, pos_key, pos_query }, layout, options)
    }

    fn activation(x: FloatTensor<Self>, activation: Activation) -> FloatTensor<Self> {
        activation::tracked::<B, C>(x, activation)
    }

    fn gated_activation(gate: FloatTensor<Self>, up: FloatTensor<Self>, activation: Activation) -> FloatTensor<Self> {
        gated::tracked::<B, C>(gate, up, activation)
    }

    fn joined_gated_activation(joined: FloatTensor<Self>, gate: Gate, activation: Activation) -> FloatTensor<Self> {
        gated::tracked_joined::<B, C>(joined, gate, activation)
    }

    fn row_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        epsilon: f32,
    ) -> FloatTensor<Self> {
        layer_norm::tracked::<B, C>(x, weight, bias, epsilon)
    }

    fn root_mean_square_norm(x: FloatTensor<Self>, weight: FloatTensor<Self>, epsilon: f32) -> FloatTensor<Self> {
        rms_norm::tracked::<B, C>(x, weight, epsilon)
    }

    fn rotary(
        x: FloatTensor<Self>,
        cosines: FloatTensor<Self>,
        sines: FloatTensor<Self>,
        heads: usize,
    ) -> FloatTensor<Self> {
        rotary::tracked::<B, C>(x, cosines, sines, heads)
    }

    fn transform_logits(logits: FloatTensor<Self>, transform: LogitsTransform) -> FloatTensor<Self> {
        logits::tracked::<B, C>(logits, transform)
    }

    fn cross_entropy(logits: FloatTensor<Self>, targets: Arc<[u32]>) -> FloatTensor<Self> {
        cross_entropy::tracked::<B, C>(logits, targets)
    }

    fn linear_cross_entropy(
        x: FloatTensor<Self>,
        weight: FrozenPrimitive<Self>,
        bias: Maybe<Self>,
        targets: Arc<[u32]>,
        transform: LogitsTransform,
        precision: Precision,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        linear_cross_entropy::tracked::<B, C>(x, weight, bias, targets, transform, precision)
    }

    fn dropout(x: FloatTensor<Self>, mask: DropoutMask) -> FloatTensor<Self> {
        dropout::tracked::<B, C>(x, mask)
    }

    fn residual(x: FloatTensor<Self>, branch: FloatTensor<Self>, mask: Option<DropoutMask>) -> FloatTensor<Self> {
        residual::tracked::<B, C>(x, branch, mask)
    }
}
