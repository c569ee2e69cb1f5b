//! A linear layer with a frozen weight and a low-rank update (Hu et al. 2021, arXiv 2106.09685, equation 3), never formed
//! as a dense matrix. Reference: `lora.Linear.forward` in PEFT. The backward pass gives the gradients of the input, A and
//! B alone and keeps only `x`; `x·Aᵀ` is `r` columns wide and computed again.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Dispatch};
use burn::tensor::Tensor;

use crate::{KernelBackend, Mask};

pub(crate) fn composed<B: KernelBackend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    a: FloatTensor<B>,
    b: FloatTensor<B>,
    scale: f32,
    mask: Option<Mask>,
) -> FloatTensor<B> {
    let down = B::float_matmul(masked::<B>(x.clone(), &mask), B::float_transpose(a));
    let update = B::float_matmul(B::float_mul_scalar(down, scale.into()), B::float_transpose(b));
    B::float_add(B::frozen_linear(x, weight), update)
}

fn masked<B: KernelBackend>(x: FloatTensor<B>, mask: &Option<Mask>) -> FloatTensor<B> {
    match mask {
        Some(mask) => B::dropout(x, mask.clone()),
        None => x,
    }
}

#[derive(Debug)]
struct LoraLinearBackward;

#[derive(Debug, Clone)]
struct Saved<B: KernelBackend> {
    /// `None` where neither A nor B needs a gradient.
    x: Option<NodeId>,
    weight: FloatTensor<B>,
    a: FloatTensor<B>,
    b: FloatTensor<B>,
    scale: f32,
    mask: Option<Mask>,
}

impl<B: KernelBackend> Backward<B, 3> for LoraLinearBackward {
    type State = Saved<B>;

    fn backward(self, ops: Ops<Self::State, 3>, gradients: &mut Gradients, checkpointer: &mut Checkpointer) {
        let [x_node, a_node, b_node] = ops.parents;
        let Saved { x, weight, a, b, scale, mask } = ops.state;
        let d_output = gradients.consume::<B>(&ops.node);
        // The gradient of `mask(x)·Aᵀ`, [rows, r]: what A's and the input's have in common.
        let d_down = B::float_mul_scalar(B::float_matmul(d_output.clone(), b), scale.into());

        if let Some(id) = x {
            let x = masked::<B>(checkpointer.retrieve_node_output::<FloatTensor<B>>(id), &mask);
            if let Some(node) = b_node {
                let down = B::float_mul_scalar(B::float_matmul(x.clone(), B::float_transpose(a.clone())), scale.into());
                gradients.register::<B>(node.id, B::float_matmul(B::float_transpose(d_output.clone()), down));
            }
            if let Some(node) = a_node {
                gradients.register::<B>(node.id, B::float_matmul(B::float_transpose(d_down.clone()), x));
            }
        }
        if let Some(node) = x_node {
            let through_update = masked::<B>(B::float_matmul(d_down, a), &mask);
            let through_weight = B::frozen_linear_backward(d_output, weight);
            gradients.register::<B>(node.id, B::float_add(through_weight, through_update));
        }
    }
}

pub(crate) fn tracked<B: KernelBackend, C: CheckpointStrategy>(
    x: FloatTensor<Autodiff<B, C>>,
    weight: FloatTensor<Autodiff<B, C>>,
    a: FloatTensor<Autodiff<B, C>>,
    b: FloatTensor<Autodiff<B, C>>,
    scale: f32,
    mask: Option<Mask>,
) -> FloatTensor<Autodiff<B, C>> {
    let weight = weight.into_primitive();
    let factors_tracked = a.is_tracked() || b.is_tracked();
    match LoraLinearBackward.prepare::<C>([x.node(), a.node(), b.node()]).compute_bound().stateful() {
        OpsKind::Tracked(mut prep) => {
            let saved = Saved {
                x: factors_tracked.then(|| prep.checkpoint(&x)),
                weight: weight.clone(),
                a: a.primitive().clone(),
                b: b.primitive().clone(),
                scale,
                mask: mask.clone(),
            };
            let output =
                B::lora_linear(x.into_primitive(), weight, a.into_primitive(), b.into_primitive(), scale, mask);
            prep.finish(saved, output)
        }
        OpsKind::UnTracked(prep) => {
            prep.finish(B::lora_linear(x.into_primitive(), weight, a.into_primitive(), b.into_primitive(), scale, mask))
        }
    }
}

/// `x·Wᵀ + scale * (mask(x)·Aᵀ)·Bᵀ` with a frozen W.
///
/// # Shapes
/// `x: [rows, d_input]`, `weight: [d_output, d_input]` in f32, f16 or bf16, `a: [r, d_input]`, `b: [d_output, r]`, output
/// `[rows, d_output]`. Gradients go to `x`, `a` and `b`.
pub fn lora_linear(
    x: Tensor<2>,
    weight: Tensor<2>,
    a: Tensor<2>,
    b: Tensor<2>,
    scale: f32,
    mask: Option<Mask>,
) -> Tensor<2> {
    Tensor::from_dispatch(<Dispatch as KernelBackend>::lora_linear(
        x.into_dispatch(),
        weight.into_dispatch(),
        a.into_dispatch(),
        b.into_dispatch(),
        scale,
        mask,
    ))
}
