//! A linear layer with a frozen weight and a low-rank update (Hu et al. 2021, arXiv 2106.09685, equation 3), never formed
//! as a dense matrix. Reference: `lora.Linear.forward` in PEFT. The backward pass gives the gradients of the input, A and
//! B alone and keeps only `x`; `x·Aᵀ` is `r` columns wide and computed again.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, AutodiffBackend, Dispatch};
use burn::tensor::Tensor;

use crate::{Compute, DropoutMask, FrozenMatrix, FrozenPrimitive, KernelBackend, Maybe, linear};

/// How a low-rank update is computed beside its base.
#[derive(Debug, Clone)]
pub struct LowRank {
    /// What the update is multiplied by.
    pub scale: f32,
    /// Which entries of the input A does not see.
    pub mask: Option<DropoutMask>,
    pub compute: Compute,
}

/// The output, and `scale * mask(x)·Aᵀ`.
pub(crate) fn composed<B: KernelBackend>(
    x: FloatTensor<B>,
    weight: FrozenPrimitive<B>,
    bias: Option<FloatTensor<B>>,
    a: FloatTensor<B>,
    b: FloatTensor<B>,
    options: LowRank,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let down = B::float_matmul(masked::<B>(x.clone(), options.mask), B::float_transpose(a));
    let down = B::float_mul_scalar(down, options.scale.into());
    let update = B::float_matmul(down.clone(), B::float_transpose(b));
    (B::float_add(linear::composed::<B>(x, weight, bias), update), down)
}

/// The gradients of A and B, and that of `mask(x)·Aᵀ`, which A's and the input's have in common.
pub(crate) fn composed_backward<B: KernelBackend>(
    x: FloatTensor<B>,
    down: FloatTensor<B>,
    b: FloatTensor<B>,
    d_output: FloatTensor<B>,
    options: LowRank,
) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
    let d_down = B::float_mul_scalar(B::float_matmul(d_output.clone(), b), options.scale.into());
    let d_b = B::float_matmul(B::float_transpose(d_output), down);
    let d_a = B::float_matmul(B::float_transpose(d_down.clone()), masked::<B>(x, options.mask));
    (d_a, d_b, d_down)
}

/// The gradient of the input.
pub(crate) fn composed_input_backward<B: KernelBackend>(
    d_output: FloatTensor<B>,
    weight: FrozenPrimitive<B>,
    d_down: FloatTensor<B>,
    a: FloatTensor<B>,
    options: LowRank,
) -> FloatTensor<B> {
    let through_update = masked::<B>(B::float_matmul(d_down, a), options.mask);
    B::float_add(linear::composed_backward::<B>(d_output, weight), through_update)
}

fn masked<B: KernelBackend>(x: FloatTensor<B>, mask: Option<DropoutMask>) -> FloatTensor<B> {
    match mask {
        Some(mask) => B::dropout(x, mask),
        None => x,
    }
}

#[derive(Debug)]
struct LoraLinearBackward;

#[derive(Debug, Clone)]
struct Saved<B: KernelBackend> {
    x: NodeId,
    weight: FrozenPrimitive<B>,
    a: FloatTensor<B>,
    b: FloatTensor<B>,
    down: FloatTensor<B>,
    options: LowRank,
}

impl<B: KernelBackend> Backward<B, 3> for LoraLinearBackward {
    type State = Saved<B>;

    fn backward(self, ops: Ops<Self::State, 3>, gradients: &mut Gradients, checkpointer: &mut Checkpointer) {
        let [x_node, a_node, b_node] = ops.parents;
        let Saved { x, weight, a, b, down, options } = ops.state;
        let d_output = gradients.consume::<B>(&ops.node);
        let x = checkpointer.retrieve_node_output::<FloatTensor<B>>(x);
        let (d_a, d_b, d_down) = B::lora_linear_backward(x, down, b, d_output.clone(), options.clone());
        if let Some(node) = a_node {
            gradients.register::<B>(node.id, d_a);
        }
        if let Some(node) = b_node {
            gradients.register::<B>(node.id, d_b);
        }
        if let Some(node) = x_node {
            gradients.register::<B>(node.id, B::lora_linear_input_backward(d_output, weight, d_down, a, options));
        }
    }
}

type Tracked<B, C> = FloatTensor<Autodiff<B, C>>;

pub(crate) fn tracked<B: KernelBackend, C: CheckpointStrategy>(
    x: Tracked<B, C>,
    weight: FrozenPrimitive<Autodiff<B, C>>,
    bias: Maybe<Autodiff<B, C>>,
    a: Tracked<B, C>,
    b: Tracked<B, C>,
    options: LowRank,
) -> (Tracked<B, C>, Tracked<B, C>) {
    let (weight, bias) = (weight.inner(), bias.inner());
    let constant = <Autodiff<B, C> as AutodiffBackend>::from_inner;
    match LoraLinearBackward.prepare::<C>([x.node(), a.node(), b.node()]).compute_bound().stateful() {
        OpsKind::Tracked(mut prep) => {
            let node = prep.checkpoint(&x);
            let (x, a, b) = (x.into_primitive(), a.into_primitive(), b.into_primitive());
            let (output, down) = B::lora_linear(x, weight.clone(), bias, a.clone(), b.clone(), options.clone());
            let saved = Saved { x: node, weight, a, b, down: down.clone(), options };
            (prep.finish(saved, output), constant(down))
        }
        OpsKind::UnTracked(prep) => {
            let (x, a, b) = (x.into_primitive(), a.into_primitive(), b.into_primitive());
            let (output, down) = B::lora_linear(x, weight, bias, a, b, options);
            (prep.finish(output), constant(down))
        }
    }
}

/// `x·Wᵀ + bias + scale * (mask(x)·Aᵀ)·Bᵀ` with W and the bias frozen.
///
/// # Shapes
/// `x: [rows, d_input]`, `weight: [d_output, d_input]`, quantised or in f32, f16 or bf16, `bias: [d_output]`,
/// `a: [r, d_input]`, `b: [d_output, r]`, output `[rows, d_output]`. Gradients go to `x`, `a` and `b`.
pub fn lora_linear(
    x: Tensor<2>,
    weight: impl Into<FrozenMatrix>,
    bias: Option<Tensor<1>>,
    a: Tensor<2>,
    b: Tensor<2>,
    options: LowRank,
) -> Tensor<2> {
    let (output, _) = <Dispatch as KernelBackend>::lora_linear(
        x.into_dispatch(),
        weight.into().into_primitive(),
        Maybe::of(bias),
        a.into_dispatch(),
        b.into_dispatch(),
        options,
    );
    Tensor::from_dispatch(output)
}
