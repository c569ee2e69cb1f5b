//! What a model makes of the logits of its output layer before anything else reads them.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch};
use burn::tensor::Tensor;

use crate::KernelBackend;
use crate::soft_cap::{soft_cap_slope, soft_capped};

/// A factor, then a soft cap: `cap * tanh(scale * logit / cap)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LogitsTransform {
    /// Granite: `1 / logits_scaling`.
    pub scale: f32,
    /// Gemma 2: `final_logit_softcapping`.
    pub soft_cap: Option<f32>,
}

impl Default for LogitsTransform {
    /// The logits as they are.
    fn default() -> Self {
        Self { scale: 1.0, soft_cap: None }
    }
}

impl LogitsTransform {
    /// `[rows, classes]` to the same shape; by default the tensor itself. Where the logits are needed for the loss alone, see
    /// [`linear_cross_entropy`](crate::linear_cross_entropy).
    pub fn apply(self, logits: Tensor<2>) -> Tensor<2> {
        if self.is_identity() {
            return logits;
        }
        Tensor::from_dispatch(<Dispatch as KernelBackend>::transform_logits(logits.into_dispatch(), self))
    }

    pub(crate) fn is_identity(self) -> bool {
        self == Self::default()
    }
}

pub(crate) fn composed<B: Backend>(logits: FloatTensor<B>, transform: LogitsTransform) -> FloatTensor<B> {
    let scaled = B::float_mul_scalar(logits, transform.scale.into());
    match transform.soft_cap {
        Some(cap) => soft_capped::<B>(scaled, cap),
        None => scaled,
    }
}

/// `transformed` is the output of the forward pass.
pub(crate) fn composed_backward<B: Backend>(
    transformed: FloatTensor<B>,
    d_output: FloatTensor<B>,
    transform: LogitsTransform,
) -> FloatTensor<B> {
    let scaled = B::float_mul_scalar(d_output, transform.scale.into());
    match transform.soft_cap {
        Some(cap) => B::float_mul(scaled, soft_cap_slope::<B>(transformed, cap)),
        None => scaled,
    }
}

#[derive(Debug)]
struct TransformBackward;

impl<B: KernelBackend> Backward<B, 1> for TransformBackward {
    /// The output, which the loss keeps anyway.
    type State = (FloatTensor<B>, LogitsTransform);

    fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let [node] = ops.parents;
        let d_output = gradients.consume::<B>(&ops.node);
        let (transformed, transform) = ops.state;
        if let Some(node) = node {
            gradients.register::<B>(node.id, B::transform_logits_backward(transformed, d_output, transform));
        }
    }
}

pub(crate) fn tracked<B: KernelBackend, C: CheckpointStrategy>(
    logits: FloatTensor<Autodiff<B, C>>,
    transform: LogitsTransform,
) -> FloatTensor<Autodiff<B, C>> {
    match TransformBackward.prepare::<C>([logits.node()]).compute_bound().stateful() {
        OpsKind::Tracked(prep) => {
            let transformed = B::transform_logits(logits.into_primitive(), transform);
            prep.finish((transformed.clone(), transform), transformed)
        }
        OpsKind::UnTracked(prep) => prep.finish(B::transform_logits(logits.into_primitive(), transform)),
    }
}
