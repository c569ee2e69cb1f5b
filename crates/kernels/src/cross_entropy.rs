//! Cross-entropy of logits and the right answers. Reference: `torch.nn.functional.cross_entropy` with `reduction="none"`. The
//! backward pass keeps the logits and no second tensor of their size.

use std::sync::Arc;

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::{Device, FloatTensor, IntTensor};
use burn::backend::{Autodiff, Backend, Dispatch, TensorMetadata};
use burn::tensor::{IndexingUpdateOp, Shape, Tensor, TensorData};

use crate::KernelBackend;

/// `[rows, 1]`
pub(crate) fn column<B: Backend>(targets: &[u32], device: &Device<B>) -> IntTensor<B> {
    let targets: Vec<i32> = targets.iter().map(|target| *target as i32).collect();
    let rows = targets.len();
    B::int_from_data(TensorData::new(targets, [rows, 1]), device)
}

pub(crate) fn composed<B: Backend>(logits: FloatTensor<B>, targets: &[u32]) -> FloatTensor<B> {
    let device = logits.device();
    let chosen = B::float_gather(1, B::log_softmax(logits, 1), column::<B>(targets, &device));
    B::float_reshape(B::float_neg(chosen), Shape::new([targets.len()]))
}

pub(crate) fn composed_backward<B: Backend>(
    logits: FloatTensor<B>,
    d_losses: FloatTensor<B>,
    targets: &[u32],
) -> FloatTensor<B> {
    let device = logits.device();
    let d_losses = B::float_reshape(d_losses, Shape::new([targets.len(), 1]));
    let d_logits = B::float_mul(B::softmax(logits, 1), d_losses.clone());
    let indices = column::<B>(targets, &device);
    B::float_scatter(1, d_logits, indices, B::float_neg(d_losses), IndexingUpdateOp::Add)
}

#[derive(Debug)]
struct CrossEntropyBackward;

impl<B: KernelBackend> Backward<B, 1> for CrossEntropyBackward {
    type State = (NodeId, Arc<[u32]>);

    fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, checkpointer: &mut Checkpointer) {
        let [node] = ops.parents;
        let d_losses = gradients.consume::<B>(&ops.node);
        let (logits, targets) = ops.state;
        let logits = checkpointer.retrieve_node_output::<FloatTensor<B>>(logits);
        if let Some(node) = node {
            gradients.register::<B>(node.id, B::cross_entropy_backward(logits, d_losses, targets));
        }
    }
}

pub(crate) fn tracked<B: KernelBackend, C: CheckpointStrategy>(
    logits: FloatTensor<Autodiff<B, C>>,
    targets: Arc<[u32]>,
) -> FloatTensor<Autodiff<B, C>> {
    match CrossEntropyBackward.prepare::<C>([logits.node()]).compute_bound().stateful() {
        OpsKind::Tracked(mut prep) => {
            let saved = (prep.checkpoint(&logits), targets.clone());
            prep.finish(saved, B::cross_entropy(logits.into_primitive(), targets))
        }
        OpsKind::UnTracked(prep) => prep.finish(B::cross_entropy(logits.into_primitive(), targets)),
    }
}

/// The loss of each row, in nats: `logsumexp(logits) - logits[target]`.
///
/// # Shapes
/// `logits: [rows, classes]`, a target below `classes` for each row, output `[rows]`.
pub fn cross_entropy(logits: Tensor<2>, targets: &[usize]) -> Tensor<1> {
    let targets: Arc<[u32]> = targets.iter().map(|target| *target as u32).collect();
    Tensor::from_dispatch(<Dispatch as KernelBackend>::cross_entropy(logits.into_dispatch(), targets))
}

/// The margin of each row, `logits[target] - max(logits)`: 0 where no token is likelier than the target, else negative. No
/// gradient.
///
/// # Shapes
/// `logits: [rows, classes]`, a target below `classes` for each row, output `[rows]`.
pub fn margins(logits: Tensor<2>, targets: &[usize]) -> Tensor<1> {
    let logits = logits.detach();
    let targets: Vec<i32> = targets.iter().map(|target| *target as i32).collect();
    let rows = targets.len();
    let targets = Tensor::from_data(TensorData::new(targets, [rows, 1]), &logits.device());
    (logits.clone().gather(1, targets) - logits.max_dim(1)).squeeze_dim(1)
}
