//! A linear layer whose weight and bias are frozen. Its backward gives the gradient of the input alone, and saves nothing: the
//! weight is the layer's own, and a half-precision weight is widened again rather than kept in f32.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Dispatch, TensorMetadata};
use burn::tensor::{Shape, Tensor};

use crate::{KernelBackend, Maybe};

pub(crate) fn composed<B: KernelBackend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    bias: Option<FloatTensor<B>>,
) -> FloatTensor<B> {
    let output = B::float_matmul(x, B::float_transpose(B::widen(weight)));
    match bias {
        Some(bias) => {
            let row = Shape::new([1, bias.shape()[0]]);
            B::float_add(output, B::float_reshape(B::widen(bias), row))
        }
        None => output,
    }
}

pub(crate) fn composed_backward<B: KernelBackend>(d_output: FloatTensor<B>, weight: FloatTensor<B>) -> FloatTensor<B> {
    B::float_matmul(d_output, B::widen(weight))
}

#[derive(Debug)]
struct LinearBackward;

impl<B: KernelBackend> Backward<B, 1> for LinearBackward {
    type State = FloatTensor<B>;

    fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let [x] = ops.parents;
        let d_output = gradients.consume::<B>(&ops.node);
        if let Some(x) = x {
            gradients.register::<B>(x.id, B::frozen_linear_backward(d_output, ops.state));
        }
    }
}

pub(crate) fn tracked<B: KernelBackend, C: CheckpointStrategy>(
    x: FloatTensor<Autodiff<B, C>>,
    weight: FloatTensor<Autodiff<B, C>>,
    bias: Maybe<Autodiff<B, C>>,
) -> FloatTensor<Autodiff<B, C>> {
    let (weight, bias) = (weight.into_primitive(), bias.inner());
    match LinearBackward.prepare::<C>([x.node()]).compute_bound().stateful() {
        OpsKind::Tracked(prep) => {
            let output = B::frozen_linear(x.into_primitive(), weight.clone(), bias);
            prep.finish(weight, output)
        }
        OpsKind::UnTracked(prep) => prep.finish(B::frozen_linear(x.into_primitive(), weight, bias)),
    }
}

/// `x·Wᵀ + b` with W and b frozen.
///
/// # Shapes
/// `x: [rows, d_input]`, `weight: [d_output, d_input]` in f32, f16 or bf16, `bias: [d_output]`, output `[rows, d_output]` in f32.
/// Weight and bias get no gradient, tracked or not.
pub fn linear(x: Tensor<2>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<2> {
    Tensor::from_dispatch(<Dispatch as KernelBackend>::frozen_linear(
        x.into_dispatch(),
        weight.into_dispatch(),
        Maybe::of(bias),
    ))
}
