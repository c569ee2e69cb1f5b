//! Dropout whose mask is a hash (see [`DropoutMask`]): nothing is saved for the backward pass, which makes the same mask again.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, TensorMetadata};
use burn::tensor::{Tensor, TensorData};

use crate::{DropoutMask, KernelBackend};

/// The factors are hashed on the host, the same bits for every backend.
pub(crate) fn composed<B: Backend>(x: FloatTensor<B>, mask: &DropoutMask) -> FloatTensor<B> {
    let shape = x.shape();
    let factors = TensorData::new(mask.factors(shape[1]), shape);
    let factors = B::float_from_data(factors, &x.device());
    B::float_mul(x, factors)
}

#[derive(Debug)]
struct DropoutBackward;

impl<B: KernelBackend> Backward<B, 1> for DropoutBackward {
    type State = DropoutMask;

    fn backward(self, ops: Ops<DropoutMask, 1>, gradients: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let [x] = ops.parents;
        let d_output = gradients.consume::<B>(&ops.node);
        if let Some(x) = x {
            gradients.register::<B>(x.id, B::dropout(d_output, ops.state));
        }
    }
}

pub(crate) fn tracked<B: KernelBackend, C: CheckpointStrategy>(
    x: FloatTensor<Autodiff<B, C>>,
    mask: DropoutMask,
) -> FloatTensor<Autodiff<B, C>> {
    match DropoutBackward.prepare::<C>([x.node()]).compute_bound().stateful() {
        OpsKind::Tracked(prep) => {
            let output = B::dropout(x.into_primitive(), mask.clone());
            prep.finish(mask, output)
        }
        OpsKind::UnTracked(prep) => prep.finish(B::dropout(x.into_primitive(), mask)),
    }
}

/// `x` with the entries that `mask` names set to zero and the others scaled by `1 / (1 - p)`; `x` itself without a mask.
///
/// # Shapes
/// `x: [rows, columns]`; the mask was made for as many rows.
pub fn dropout(x: Tensor<2>, mask: Option<DropoutMask>) -> Tensor<2> {
    match mask {
        Some(mask) => Tensor::from_dispatch(<Dispatch as KernelBackend>::dropout(x.into_dispatch(), mask)),
        None => x,
    }
}
