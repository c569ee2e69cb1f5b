//! A linear layer with a frozen weight whose rows are given a learned length, and with a low-rank update their direction (DoRA, Liu
//! et al. 2024, arXiv 2402.09353, equations 5 and 11). Reference: `DoraLinearLayer` in PEFT. The lengths that the rows have are
//! constants to the backward pass, which keeps `x` and what the layer gives before its rows are scaled.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, AutodiffBackend, Dispatch, TensorMetadata};
use burn::tensor::{Shape, Tensor};

use crate::{FrozenMatrix, FrozenPrimitive, KernelBackend, LowRank, Maybe};

/// What the layer gives; `scale * mask(x)·Aᵀ`; and `mask(x)·(W + scale * B·A)ᵀ`.
pub(crate) type Forward<B> = (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>);

/// The gradients of A, B and the factors, and that of `mask(x)·Aᵀ`.
pub(crate) type Gradient<B> = (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>, FloatTensor<B>);

#[allow(clippy::too_many_arguments, reason = "as the operation has them")]
pub(crate) fn composed<B: KernelBackend>(
    x: FloatTensor<B>,
    weight: FrozenPrimitive<B>,
    bias: Maybe<B>,
    a: FloatTensor<B>,
    b: FloatTensor<B>,
    factors: FloatTensor<B>,
    options: LowRank,
) -> Forward<B> {
    let factors = as_row::<B>(factors);
    let Some(mask) = options.mask.clone() else {
        let (direction, down) = B::lora_linear(x, weight, Maybe::None, a, b, options);
        let output = B::float_mul(direction.clone(), factors);
        let output = match bias {
            Maybe::Some(bias) => B::float_add(output, as_row::<B>(B::widen(bias))),
            Maybe::None => output,
        };
        return (output, down, direction);
    };
    // PEFT has dropout in front of what it adds to the base's output, which is a multiple of that output among other things.
    let kept = B::dropout(x.clone(), mask);
    let base = B::frozen_linear(x, weight.clone(), bias, options.compute);
    let of_kept = B::frozen_linear(kept.clone(), weight, Maybe::None, options.compute);
    let down = B::float_mul_scalar(B::float_matmul(kept, B::float_transpose(a)), options.scale.into());
    let update = B::float_matmul(down.clone(), B::float_transpose(b));
    let direction = B::float_add(of_kept.clone(), update);
    let added = B::float_sub(B::float_mul(direction.clone(), factors), of_kept);
    (B::float_add(base, added), down, direction)
}

pub(crate) fn composed_backward<B: KernelBackend>(
    x: FloatTensor<B>,
    [down, direction]: [FloatTensor<B>; 2],
    b: FloatTensor<B>,
    factors: FloatTensor<B>,
    d_output: FloatTensor<B>,
    options: LowRank,
) -> Gradient<B> {
    let width = factors.shape()[0];
    let d_factors = B::float_sum_dim(B::float_mul(d_output.clone(), direction), 0);
    let d_factors = B::float_reshape(d_factors, Shape::new([width]));
    let scaled = B::float_mul(d_output, as_row::<B>(factors));
    let (d_a, d_b, d_down) = B::lora_linear_backward(x, down, b, scaled, options);
    (d_a, d_b, d_factors, d_down)
}

pub(crate) fn composed_input_backward<B: KernelBackend>(
    d_output: FloatTensor<B>,
    weight: FrozenPrimitive<B>,
    d_down: FloatTensor<B>,
    a: FloatTensor<B>,
    factors: FloatTensor<B>,
    options: LowRank,
) -> FloatTensor<B> {
    let scaled = B::float_mul(d_output.clone(), as_row::<B>(factors));
    let Some(mask) = options.mask.clone() else {
        return B::lora_linear_input_backward(scaled, weight, d_down, a, options);
    };
    let added = B::float_sub(scaled, d_output.clone());
    let kept = B::frozen_linear_backward(added, weight.clone(), options.compute.precision);
    let kept = B::dropout(B::float_add(kept, B::float_matmul(d_down, a)), mask);
    B::float_add(B::frozen_linear_backward(d_output, weight, options.compute.precision), kept)
}

fn as_row<B: KernelBackend>(vector: FloatTensor<B>) -> FloatTensor<B> {
    let row = Shape::new([1, vector.shape()[0]]);
    B::float_reshape(vector, row)
}

#[derive(Debug)]
struct DoraLinearBackward;

#[derive(Debug, Clone)]
struct Saved<B: KernelBackend> {
    x: NodeId,
    weight: FrozenPrimitive<B>,
    a: FloatTensor<B>,
    b: FloatTensor<B>,
    factors: FloatTensor<B>,
    down: FloatTensor<B>,
    direction: FloatTensor<B>,
    options: LowRank,
}

impl<B: KernelBackend> Backward<B, 4> for DoraLinearBackward {
    type State = Saved<B>;

    fn backward(self, ops: Ops<Self::State, 4>, gradients: &mut Gradients, checkpointer: &mut Checkpointer) {
        let [x_node, a_node, b_node, factors_node] = ops.parents;
        let Saved { x, weight, a, b, factors, down, direction, options } = ops.state;
        let d_output = gradients.consume::<B>(&ops.node);
        let x = checkpointer.retrieve_node_output::<FloatTensor<B>>(x);
        let (d_a, d_b, d_factors, d_down) =
            B::dora_linear_backward(x, down, direction, b, factors.clone(), d_output.clone(), options.clone());
        for (node, gradient) in [(a_node, d_a), (b_node, d_b), (factors_node, d_factors)] {
            if let Some(node) = node {
                gradients.register::<B>(node.id, gradient);
            }
        }
        if let Some(node) = x_node {
            let d_x = B::dora_linear_input_backward(d_output, weight, d_down, a, factors, options);
            gradients.register::<B>(node.id, d_x);
        }
    }
}

type Tracked<B, C> = FloatTensor<Autodiff<B, C>>;

#[allow(clippy::too_many_arguments, reason = "as the operation has them")]
pub(crate) fn tracked<B: KernelBackend, C: CheckpointStrategy>(
    x: Tracked<B, C>,
    weight: FrozenPrimitive<Autodiff<B, C>>,
    bias: Maybe<Autodiff<B, C>>,
    a: Tracked<B, C>,
    b: Tracked<B, C>,
    factors: Tracked<B, C>,
    options: LowRank,
) -> Forward<Autodiff<B, C>> {
    let (weight, bias) = (weight.inner(), bias.inner());
    let constant = <Autodiff<B, C> as AutodiffBackend>::from_inner;
    let parents = [x.node(), a.node(), b.node(), factors.node()];
    match DoraLinearBackward.prepare::<C>(parents).compute_bound().stateful() {
        OpsKind::Tracked(mut prep) => {
            let node = prep.checkpoint(&x);
            let [x, a, b, factors] = [x, a, b, factors].map(|tensor| tensor.into_primitive());
            let (output, down, direction) =
                B::dora_linear(x, weight.clone(), bias, a.clone(), b.clone(), factors.clone(), options.clone());
            let (of_down, of_direction) = (constant(down.clone()), constant(direction.clone()));
            let saved = Saved { x: node, weight, a, b, factors, down, direction, options };
            (prep.finish(saved, output), of_down, of_direction)
        }
        OpsKind::UnTracked(prep) => {
            let [x, a, b, factors] = [x, a, b, factors].map(|tensor| tensor.into_primitive());
            let (output, down, direction) = B::dora_linear(x, weight, bias, a, b, factors, options);
            (prep.finish(output), constant(down), constant(direction))
        }
    }
}

/// `x·Wᵀ + bias + mask(x)·((g - 1) * W + g * scale * B·A)ᵀ`, where each of the factors `g` belongs to a row; without a mask
/// `x·(g * (W + scale * B·A))ᵀ + bias`. W and the bias are frozen.
///
/// # Shapes
/// `x: [rows, d_input]`, `weight: [d_output, d_input]`, quantised or in f32, f16 or bf16, `bias: [d_output]`,
/// `a: [r, d_input]`, `b: [d_output, r]`, `factors: [d_output]`, output `[rows, d_output]`. Gradients go to `x`, `a`, `b` and `factors`.
pub fn dora_linear(
    x: Tensor<2>,
    weight: impl Into<FrozenMatrix>,
    bias: Option<Tensor<1>>,
    [a, b]: [Tensor<2>; 2],
    factors: Tensor<1>,
    options: LowRank,
) -> Tensor<2> {
    let (output, ..) = <Dispatch as KernelBackend>::dora_linear(
        x.into_dispatch(),
        weight.into().into_primitive(),
        Maybe::of(bias),
        a.into_dispatch(),
        b.into_dispatch(),
        factors.into_dispatch(),
        options,
    );
    Tensor::from_dispatch(output)
}
