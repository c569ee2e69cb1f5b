//! A bias that is trained beside a weight that is not. The sum keeps nothing: burn's own, whose operands could be made again,
//! keeps both until the backward pass.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Dispatch, TensorMetadata};
use burn::tensor::{Shape, Tensor};

use crate::KernelBackend;
use crate::layer_norm::row;

pub(crate) fn composed<B: KernelBackend>(x: FloatTensor<B>, bias: FloatTensor<B>) -> FloatTensor<B> {
    B::float_add(x, row::<B>(bias))
}

#[derive(Debug)]
struct BiasBackward;

impl<B: KernelBackend> Backward<B, 2> for BiasBackward {
    type State = ();

    fn backward(self, ops: Ops<Self::State, 2>, gradients: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let [x, bias] = ops.parents;
        let d_output = gradients.consume::<B>(&ops.node);
        if let Some(bias) = bias {
            let sum = B::float_sum_dim(d_output.clone(), 0);
            let width = sum.shape()[1];
            gradients.register::<B>(bias.id, B::float_reshape(sum, Shape::new([width])));
        }
        if let Some(x) = x {
            gradients.register::<B>(x.id, d_output);
        }
    }
}

pub(crate) fn tracked<B: KernelBackend, C: CheckpointStrategy>(
    x: FloatTensor<Autodiff<B, C>>,
    bias: FloatTensor<Autodiff<B, C>>,
) -> FloatTensor<Autodiff<B, C>> {
    let nodes = [x.node(), bias.node()];
    let output = B::add_bias(x.into_primitive(), bias.into_primitive());
    match BiasBackward.prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prep) => prep.finish((), output),
        OpsKind::UnTracked(prep) => prep.finish(output),
    }
}

/// `x + bias`, with gradients for both.
///
/// # Shapes
/// `x: [rows, d]`, `bias: [d]`, output `[rows, d]`.
pub fn add_bias(x: Tensor<2>, bias: Tensor<1>) -> Tensor<2> {
    Tensor::from_dispatch(<Dispatch as KernelBackend>::add_bias(x.into_dispatch(), bias.into_dispatch()))
}
