//! The forms for burn's CPU backend, by name: what is missing here is composed.

use std::sync::Arc;

use burn::backend::Flex;
use burn::backend::tensor::{FloatTensor, IntTensor};

use crate::disentangled_attention::Inputs;
use crate::flex;
use crate::linear_cross_entropy::Layer;
use crate::{
    Activation, AdamWStep, Attention, Compute, DisentangledAttention, DropoutMask, FrozenPrimitive, Gate,
    KernelBackend, Layout, LogitsTransform, LowRank, Maybe, Precision, RowNorms, RowsUpdate,
};

impl KernelBackend for Flex {
    fn widen(weight: FloatTensor<Self>) -> FloatTensor<Self> {
        flex::widen::widen(weight)
    }

    fn frozen_widened(weight: FrozenPrimitive<Self>) -> FloatTensor<Self> {
        flex::quantised::widened(weight)
    }

    fn frozen_rows(weight: FrozenPrimitive<Self>, indices: IntTensor<Self>) -> FloatTensor<Self> {
        flex::quantised::rows(weight, indices)
    }

    fn frozen_linear(
        x: FloatTensor<Self>,
        weight: FrozenPrimitive<Self>,
        bias: Maybe<Self>,
        compute: Compute,
    ) -> FloatTensor<Self> {
        flex::linear::forward(x, weight, bias.into_option(), compute)
    }

    fn lora_linear(
        x: FloatTensor<Self>,
        weight: FrozenPrimitive<Self>,
        bias: Maybe<Self>,
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        options: LowRank,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        flex::lora_linear::forward(x, weight, bias.into_option(), a, b, options)
    }

    fn lora_linear_backward(
        x: FloatTensor<Self>,
        down: FloatTensor<Self>,
        b: FloatTensor<Self>,
        d_output: FloatTensor<Self>,
        options: LowRank,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        flex::lora_linear::backward(x, down, b, d_output, options)
    }

    fn lora_linear_input_backward(
        d_output: FloatTensor<Self>,
        weight: FrozenPrimitive<Self>,
        d_down: FloatTensor<Self>,
        a: FloatTensor<Self>,
        options: LowRank,
    ) -> FloatTensor<Self> {
        flex::lora_linear::input_backward(d_output, weight, d_down, a, options)
    }

    fn add_low_rank(
        output: FloatTensor<Self>,
        x: FloatTensor<Self>,
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        update: RowsUpdate,
    ) -> FloatTensor<Self> {
        flex::lora_linear::add(output, x, a, b, update)
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
        flex::dora_linear::forward(x, weight, bias.into_option(), [a, b], factors, options)
    }

    fn dora_linear_backward(
        x: FloatTensor<Self>,
        down: FloatTensor<Self>,
        direction: FloatTensor<Self>,
        b: FloatTensor<Self>,
        factors: FloatTensor<Self>,
        d_output: FloatTensor<Self>,
        options: LowRank,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        flex::dora_linear::backward(x, [down, direction], b, factors, d_output, options)
    }

    fn dora_linear_input_backward(
        d_output: FloatTensor<Self>,
        weight: FrozenPrimitive<Self>,
        d_down: FloatTensor<Self>,
        a: FloatTensor<Self>,
        factors: FloatTensor<Self>,
        options: LowRank,
    ) -> FloatTensor<Self> {
        flex::dora_linear::input_backward(d_output, weight, d_down, a, factors, options)
    }

    fn row_norms(
        weight: FrozenPrimitive<Self>,
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        scale: f32,
        remembered: RowNorms,
    ) -> FloatTensor<Self> {
        flex::row_norms::row_norms(weight, a, b, scale, remembered)
    }

    fn frozen_linear_backward(
        d_output: FloatTensor<Self>,
        weight: FrozenPrimitive<Self>,
        precision: Precision,
    ) -> FloatTensor<Self> {
        flex::linear::backward(d_output, weight, precision)
    }

    fn weight_gradient(x: FloatTensor<Self>, d_output: FloatTensor<Self>) -> FloatTensor<Self> {
        flex::linear::weight_gradient(x, d_output)
    }

    fn ragged_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        layout: Arc<Layout>,
        options: Attention,
    ) -> FloatTensor<Self> {
        flex::attention::forward(q, k, v, &layout, &options)
    }

    fn ragged_attention_backward(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        d_output: FloatTensor<Self>,
        layout: Arc<Layout>,
        options: Attention,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        flex::attention::backward(q, k, v, d_output, &layout, &options)
    }

    fn joined_attention_backward(
        joined: FloatTensor<Self>,
        d_output: FloatTensor<Self>,
        layout: Arc<Layout>,
        options: Attention,
    ) -> FloatTensor<Self> {
        flex::attention::joined_backward(joined, d_output, &layout, &options)
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
        flex::disentangled_attention::forward(Inputs { q, k, v, pos_key, pos_query }, &layout, &options)
    }

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
        let d = flex::disentangled_attention::backward(inputs, d_output, &layout, &options);
        (d.q, d.k, d.v, d.pos_key, d.pos_query)
    }

    fn activation(x: FloatTensor<Self>, activation: Activation) -> FloatTensor<Self> {
        flex::activation::forward(x, activation)
    }

    fn activation_backward(
        x: FloatTensor<Self>,
        d_output: FloatTensor<Self>,
        activation: Activation,
    ) -> FloatTensor<Self> {
        flex::activation::backward(x, d_output, activation)
    }

    fn gated_activation(gate: FloatTensor<Self>, up: FloatTensor<Self>, activation: Activation) -> FloatTensor<Self> {
        flex::gated::forward(gate, up, activation)
    }

    fn gated_activation_backward(
        gate: FloatTensor<Self>,
        up: FloatTensor<Self>,
        d_output: FloatTensor<Self>,
        activation: Activation,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        flex::gated::backward(gate, up, d_output, activation)
    }

    fn joined_gated_activation(joined: FloatTensor<Self>, gate: Gate, activation: Activation) -> FloatTensor<Self> {
        flex::gated::joined_forward(joined, gate, activation)
    }

    fn joined_gated_activation_backward(
        joined: FloatTensor<Self>,
        d_output: FloatTensor<Self>,
        gate: Gate,
        activation: Activation,
    ) -> FloatTensor<Self> {
        flex::gated::joined_backward(joined, d_output, gate, activation)
    }

    fn row_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        epsilon: f32,
    ) -> FloatTensor<Self> {
        flex::layer_norm::forward(x, weight, bias, epsilon)
    }

    fn row_norm_backward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        d_output: FloatTensor<Self>,
        epsilon: f32,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        flex::layer_norm::backward(x, weight, d_output, epsilon)
    }

    fn root_mean_square_norm(x: FloatTensor<Self>, weight: FloatTensor<Self>, epsilon: f32) -> FloatTensor<Self> {
        flex::rms_norm::forward(x, weight, epsilon)
    }

    fn root_mean_square_norm_backward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        d_output: FloatTensor<Self>,
        epsilon: f32,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        flex::rms_norm::backward(x, weight, d_output, epsilon)
    }

    fn rotary(
        x: FloatTensor<Self>,
        cosines: FloatTensor<Self>,
        sines: FloatTensor<Self>,
        heads: usize,
    ) -> FloatTensor<Self> {
        flex::rotary::rotary(x, cosines, sines, heads)
    }

    fn transform_logits(logits: FloatTensor<Self>, transform: LogitsTransform) -> FloatTensor<Self> {
        flex::logits::forward(logits, transform)
    }

    fn transform_logits_backward(
        transformed: FloatTensor<Self>,
        d_output: FloatTensor<Self>,
        transform: LogitsTransform,
    ) -> FloatTensor<Self> {
        flex::logits::backward(transformed, d_output, transform)
    }

    fn cross_entropy(logits: FloatTensor<Self>, targets: Arc<[u32]>) -> FloatTensor<Self> {
        flex::cross_entropy::forward(logits, &targets)
    }

    fn cross_entropy_backward(
        logits: FloatTensor<Self>,
        d_losses: FloatTensor<Self>,
        targets: Arc<[u32]>,
    ) -> FloatTensor<Self> {
        flex::cross_entropy::backward(logits, d_losses, &targets)
    }

    fn linear_cross_entropy(
        x: FloatTensor<Self>,
        weight: FrozenPrimitive<Self>,
        bias: Maybe<Self>,
        targets: Arc<[u32]>,
        transform: LogitsTransform,
        precision: Precision,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let bias = bias.into_option();
        flex::linear_cross_entropy::forward(Layer { x, weight, bias, targets: &targets, transform, precision })
    }

    fn linear_cross_entropy_with_gradient(
        x: FloatTensor<Self>,
        weight: FrozenPrimitive<Self>,
        bias: Maybe<Self>,
        targets: Arc<[u32]>,
        transform: LogitsTransform,
        precision: Precision,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let bias = bias.into_option();
        flex::linear_cross_entropy::with_gradient(Layer { x, weight, bias, targets: &targets, transform, precision })
    }

    fn dropout(x: FloatTensor<Self>, mask: DropoutMask) -> FloatTensor<Self> {
        flex::dropout::dropout(x, &mask)
    }

    fn residual(x: FloatTensor<Self>, branch: FloatTensor<Self>, mask: Option<DropoutMask>) -> FloatTensor<Self> {
        flex::dropout::residual(x, branch, mask)
    }

    fn adamw(
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        first: FloatTensor<Self>,
        second: FloatTensor<Self>,
        step: AdamWStep,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        flex::adamw::step(weight, gradient, first, second, step)
    }
}
