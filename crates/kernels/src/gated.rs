//! The gate of a feed-forward network: `activation(gate) * up` (Shazeer 2020, arXiv 2002.05202). Reference: `LlamaMLP` in
//! Transformers. The backward pass keeps the two inputs and no product of theirs.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Dispatch, TensorMetadata};
use burn::tensor::{Slice, Tensor};

use crate::{Activation, KernelBackend};

/// The half of a row that goes through the activation function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// As in ModernBERT's `Wi` and the `gate_up_proj` of Phi-3.
    First,
    Second,
}

impl Gate {
    /// From first and second half to gate and what it multiplies, and from these back.
    pub(crate) fn ordered<T>(self, first: T, second: T) -> (T, T) {
        match self {
            Self::First => (first, second),
            Self::Second => (second, first),
        }
    }
}

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

/// The two halves of a row, of `columns` each.
fn halves<B: KernelBackend>(joined: FloatTensor<B>, which: Gate) -> (FloatTensor<B>, FloatTensor<B>) {
    let columns = joined.shape()[1] / 2;
    let [first, second] = [0..columns, columns..2 * columns]
        .map(|columns| B::float_slice(joined.clone(), &[Slice::full(), columns.into()]));
    which.ordered(first, second)
}

pub(crate) fn composed_joined<B: KernelBackend>(
    joined: FloatTensor<B>,
    which: Gate,
    activation: Activation,
) -> FloatTensor<B> {
    let (gate, up) = halves::<B>(joined, which);
    B::gated_activation(gate, up, activation)
}

pub(crate) fn composed_joined_backward<B: KernelBackend>(
    joined: FloatTensor<B>,
    d_output: FloatTensor<B>,
    which: Gate,
    activation: Activation,
) -> FloatTensor<B> {
    let (gate, up) = halves::<B>(joined, which);
    let (d_gate, d_up) = B::gated_activation_backward(gate, up, d_output, activation);
    let (first, second) = which.ordered(d_gate, d_up);
    B::float_cat(vec![first, second], 1)
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

#[derive(Debug)]
struct JoinedGatedBackward;

impl<B: KernelBackend> Backward<B, 1> for JoinedGatedBackward {
    type State = (NodeId, Gate, Activation);

    fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, checkpointer: &mut Checkpointer) {
        let [node] = ops.parents;
        let d_output = gradients.consume::<B>(&ops.node);
        let (joined, which, activation) = ops.state;
        let joined = checkpointer.retrieve_node_output::<FloatTensor<B>>(joined);
        if let Some(node) = node {
            gradients.register::<B>(node.id, B::joined_gated_activation_backward(joined, d_output, which, activation));
        }
    }
}

pub(crate) fn tracked_joined<B: KernelBackend, C: CheckpointStrategy>(
    joined: FloatTensor<Autodiff<B, C>>,
    which: Gate,
    activation: Activation,
) -> FloatTensor<Autodiff<B, C>> {
    match JoinedGatedBackward.prepare::<C>([joined.node()]).compute_bound().stateful() {
        OpsKind::Tracked(mut prep) => {
            let saved = (prep.checkpoint(&joined), which, activation);
            prep.finish(saved, B::joined_gated_activation(joined.into_primitive(), which, activation))
        }
        OpsKind::UnTracked(prep) => prep.finish(B::joined_gated_activation(joined.into_primitive(), which, activation)),
    }
}

/// As [`gated_activation`], of a gate and what it multiplies that one layer has put side by side: its gradient is one tensor as
/// well.
///
/// # Shapes
/// `joined: [rows, 2 * columns]`, output `[rows, columns]`
pub fn joined_gated_activation(joined: Tensor<2>, gate: Gate, activation: Activation) -> Tensor<2> {
    Tensor::from_dispatch(<Dispatch as KernelBackend>::joined_gated_activation(
        joined.into_dispatch(),
        gate,
        activation,
    ))
}
