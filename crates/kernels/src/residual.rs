//! A residual connection, with dropout of what is added. Nothing is saved: the backward pass makes the same mask again.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Dispatch};
use burn::tensor::Tensor;

use crate::{DropoutMask, KernelBackend};

pub(crate) fn composed<B: KernelBackend>(
    x: FloatTensor<B>,
    branch: FloatTensor<B>,
    mask: Option<DropoutMask>,
) -> FloatTensor<B> {
    B::float_add(x, masked::<B>(branch, mask))
}

fn masked<B: KernelBackend>(x: FloatTensor<B>, mask: Option<DropoutMask>) -> FloatTensor<B> {
    match mask {
        Some(mask) => B::dropout(x, mask),
        None => x,
    }
}

#[derive(Debug)]
struct ResidualBackward;

impl<B: KernelBackend> Backward<B, 2> for ResidualBackward {
    type State = Option<DropoutMask>;

    fn backward(self, ops: Ops<Self::State, 2>, gradients: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let d_output = gradients.consume::<B>(&ops.node);
        let [x, branch] = ops.parents;
        if let Some(x) = x {
            gradients.register::<B>(x.id, d_output.clone());
        }
        if let Some(branch) = branch {
            gradients.register::<B>(branch.id, masked::<B>(d_output, ops.state));
        }
    }
}

pub(crate) fn tracked<B: KernelBackend, C: CheckpointStrategy>(
    x: FloatTensor<Autodiff<B, C>>,
    branch: FloatTensor<Autodiff<B, C>>,
    mask: Option<DropoutMask>,
) -> FloatTensor<Autodiff<B, C>> {
    match ResidualBackward.prepare::<C>([x.node(), branch.node()]).compute_bound().stateful() {
        OpsKind::Tracked(prep) => {
            let output = B::residual(x.into_primitive(), branch.into_primitive(), mask.clone());
            prep.finish(mask, output)
        }
        OpsKind::UnTracked(prep) => prep.finish(B::residual(x.into_primitive(), branch.into_primitive(), mask)),
    }
}

/// `x + branch`, the entries of the branch that `mask` names set to zero and the others scaled by `1 / (1 - p)`.
///
/// # Shapes
/// `x`, `branch` and the output: `[rows, columns]`; the mask was made for as many rows.
pub fn residual(x: Tensor<2>, branch: Tensor<2>, mask: Option<DropoutMask>) -> Tensor<2> {
    assert_eq!(x.dims(), branch.dims(), "a branch has the shape of what it is added to");
    Tensor::from_dispatch(<Dispatch as KernelBackend>::residual(x.into_dispatch(), branch.into_dispatch(), mask))
}
