//! The gate of a feed-forward network: `activation(gate) * up` (Shazeer 2020, arXiv 2002.05202). Reference: `LlamaMLP` in
//! Transformers. The backward pass keeps the two inputs and no product of theirs.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Dispatch};
use burn::tensor::Tensor;

use crate::{Activation, KernelBackend};

pub(crate) fn composed<B: KernelBackend>(
    gate: FloatTensor<B>,
    up: FloatTensor<B>,
    activation: Activation,
) -> FloatTensor<B> {
    B::float_mul(B::activation(gate, activation), up)
}

pub(crate) fn composed_backward<B: KernelBackend>(
    gate: FloatTensor<B>,
    up: FloatTensor<B>,
    d_output: FloatTensor<B>,
    activation: Activation,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let d_up = B::float_mul(B::activation(gate.clone(), activation), d_output.clone());
    (B::activation_backward(gate, B::float_mul(d_output, up), activation), d_up)
}

#[derive(Debug)]
struct GatedBackward;

impl<B: KernelBackend> Backward<B, 2> for GatedBackward {
    type State = (NodeId, NodeId, Activation);

    fn backward(self, ops: Ops<Self::State, 2>, gradients: &mut Gradients, checkpointer: &mut Checkpointer) {
        let d_output = gradients.consume::<B>(&ops.node);
        let (gate, up, activation) = ops.state;
        let gate = checkpointer.retrieve_node_output::<FloatTensor<B>>(gate);
        let up = checkpointer.retrieve_node_output::<FloatTensor<B>>(up);
        let (d_gate, d_up) = B::gated_activation_backward(gate, up, d_output, activation);
        for (node, gradient) in ops.parents.into_iter().zip([d_gate, d_up]) {
            if let Some(node) = node {
                gradients.register::<B>(node.id, gradient);
            }
        }
    }
}

pub(crate) fn tracked<B: KernelBackend, C: CheckpointStrategy>(
    gate: FloatTensor<Autodiff<B, C>>,
    up: FloatTensor<Autodiff<B, C>>,
    activation: Activation,
) -> FloatTensor<Autodiff<B, C>> {
    match GatedBackward.prepare::<C>([gate.node(), up.node()]).compute_bound().stateful() {
        OpsKind::Tracked(mut prep) => {
            let saved = (prep.checkpoint(&gate), prep.checkpoint(&up), activation);
            prep.finish(saved, B::gated_activation(gate.into_primitive(), up.into_primitive(), activation))
        }
        OpsKind::UnTracked(prep) => {
            prep.finish(B::gated_activation(gate.into_primitive(), up.into_primitive(), activation))
        }
    }
}

/// `activation(gate) * up`
///
/// # Shapes
/// `gate`, `up` and the output: `[rows, columns]`
pub fn gated_activation(gate: Tensor<2>, up: Tensor<2>, activation: Activation) -> Tensor<2> {
    Tensor::from_dispatch(<Dispatch as KernelBackend>::gated_activation(
        gate.into_dispatch(),
        up.into_dispatch(),
        activation,
    ))
}
