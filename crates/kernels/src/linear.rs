//! Linear layers. Of a frozen one the backward pass gives the gradient of the input alone, and keeps nothing: the weight is the
//! layer's own, and a half-precision weight is widened again rather than kept in f32. Of a trained one it keeps the input.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Dispatch, TensorMetadata};
use burn::tensor::{Shape, Tensor};

use crate::{Compute, FrozenMatrix, FrozenPrimitive, KernelBackend, Maybe, Phase, Precision};

pub(crate) fn composed<B: KernelBackend>(
    x: FloatTensor<B>,
    weight: FrozenPrimitive<B>,
    bias: Option<FloatTensor<B>>,
) -> FloatTensor<B> {
    let output = B::float_matmul(x, B::float_transpose(B::frozen_widened(weight)));
    match bias {
        Some(bias) => {
            let row = Shape::new([1, bias.shape()[0]]);
            B::float_add(output, B::float_reshape(B::widen(bias), row))
        }
        None => output,
    }
}

pub(crate) fn composed_backward<B: KernelBackend>(
    d_output: FloatTensor<B>,
    weight: FrozenPrimitive<B>,
) -> FloatTensor<B> {
    B::float_matmul(d_output, B::frozen_widened(weight))
}

pub(crate) fn composed_weight_gradient<B: KernelBackend>(
    x: FloatTensor<B>,
    d_output: FloatTensor<B>,
) -> FloatTensor<B> {
    B::float_matmul(B::float_transpose(d_output), x)
}

#[derive(Debug)]
struct FrozenBackward;

impl<B: KernelBackend> Backward<B, 1> for FrozenBackward {
    type State = (FrozenPrimitive<B>, Precision);

    fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let [x] = ops.parents;
        let d_output = gradients.consume::<B>(&ops.node);
        if let Some(x) = x {
            let (weight, precision) = ops.state;
            gradients.register::<B>(x.id, B::frozen_linear_backward(d_output, weight, precision));
        }
    }
}

pub(crate) fn tracked_frozen<B: KernelBackend, C: CheckpointStrategy>(
    x: FloatTensor<Autodiff<B, C>>,
    weight: FrozenPrimitive<Autodiff<B, C>>,
    bias: Maybe<Autodiff<B, C>>,
    compute: Compute,
) -> FloatTensor<Autodiff<B, C>> {
    let (weight, bias) = (weight.inner(), bias.inner());
    match FrozenBackward.prepare::<C>([x.node()]).compute_bound().stateful() {
        OpsKind::Tracked(prep) => {
            let output = B::frozen_linear(x.into_primitive(), weight.clone(), bias, compute);
            prep.finish((weight, compute.precision), output)
        }
        OpsKind::UnTracked(prep) => prep.finish(B::frozen_linear(x.into_primitive(), weight, bias, compute)),
    }
}

#[derive(Debug)]
struct TrainedBackward;

/// The input, and the weight.
type Saved<B> = (NodeId, FloatTensor<B>);

/// The gradients of input and weight, where they are asked for.
fn backward<B: KernelBackend>(
    [x, weight]: [Option<NodeId>; 2],
    (of_x, of_weight): Saved<B>,
    d_output: FloatTensor<B>,
    gradients: &mut Gradients,
    checkpointer: &mut Checkpointer,
) {
    if let Some(weight) = weight {
        let input = checkpointer.retrieve_node_output::<FloatTensor<B>>(of_x);
        gradients.register::<B>(weight, B::weight_gradient(input, d_output.clone()));
    }
    if let Some(x) = x {
        gradients
            .register::<B>(x, B::frozen_linear_backward(d_output, FrozenPrimitive::Float(of_weight), Precision::F32));
    }
}

impl<B: KernelBackend> Backward<B, 2> for TrainedBackward {
    type State = Saved<B>;

    fn backward(self, ops: Ops<Self::State, 2>, gradients: &mut Gradients, checkpointer: &mut Checkpointer) {
        let d_output = gradients.consume::<B>(&ops.node);
        backward::<B>(ops.parents.map(|node| node.map(|node| node.id)), ops.state, d_output, gradients, checkpointer);
    }
}

/// With a bias, which may be tracked.
#[derive(Debug)]
struct TrainedWithBiasBackward;

impl<B: KernelBackend> Backward<B, 3> for TrainedWithBiasBackward {
    type State = Saved<B>;

    fn backward(self, ops: Ops<Self::State, 3>, gradients: &mut Gradients, checkpointer: &mut Checkpointer) {
        let [x, weight, bias] = ops.parents.map(|node| node.map(|node| node.id));
        let d_output = gradients.consume::<B>(&ops.node);
        if let Some(bias) = bias {
            let sum = B::float_sum_dim(d_output.clone(), 0);
            let width = sum.shape()[1];
            gradients.register::<B>(bias, B::float_reshape(sum, Shape::new([width])));
        }
        backward::<B>([x, weight], ops.state, d_output, gradients, checkpointer);
    }
}

pub(crate) fn tracked_trained<B: KernelBackend, C: CheckpointStrategy>(
    x: FloatTensor<Autodiff<B, C>>,
    weight: FloatTensor<Autodiff<B, C>>,
    bias: Maybe<Autodiff<B, C>>,
    phase: Phase,
) -> FloatTensor<Autodiff<B, C>> {
    let Some(bias) = bias.into_option() else {
        return match TrainedBackward.prepare::<C>([x.node(), weight.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let node = prep.checkpoint(&x);
                let weight = weight.into_primitive();
                let output = B::trained_linear(x.into_primitive(), weight.clone(), Maybe::None, phase);
                prep.finish((node, weight), output)
            }
            OpsKind::UnTracked(prep) => {
                prep.finish(B::trained_linear(x.into_primitive(), weight.into_primitive(), Maybe::None, phase))
            }
        };
    };
    let parents = [x.node(), weight.node(), bias.node()];
    let bias = Maybe::Some(bias.into_primitive());
    match TrainedWithBiasBackward.prepare::<C>(parents).compute_bound().stateful() {
        OpsKind::Tracked(mut prep) => {
            let node = prep.checkpoint(&x);
            let weight = weight.into_primitive();
            let output = B::trained_linear(x.into_primitive(), weight.clone(), bias, phase);
            prep.finish((node, weight), output)
        }
        OpsKind::UnTracked(prep) => {
            prep.finish(B::trained_linear(x.into_primitive(), weight.into_primitive(), bias, phase))
        }
    }
}

/// `x·Wᵀ + b` with W and b frozen.
///
/// # Shapes
/// `x: [rows, d_input]`, `weight: [d_output, d_input]`, quantised or in f32, f16 or bf16, `bias: [d_output]`, output
/// `[rows, d_output]` in f32. Weight and bias get no gradient, tracked or not.
pub fn linear(x: Tensor<2>, weight: impl Into<FrozenMatrix>, bias: Option<Tensor<1>>, compute: Compute) -> Tensor<2> {
    Tensor::from_dispatch(<Dispatch as KernelBackend>::frozen_linear(
        x.into_dispatch(),
        weight.into().into_primitive(),
        Maybe::of(bias),
        compute,
    ))
}

/// `x·Wᵀ + b`, with gradients for all three.
///
/// # Shapes
/// `x: [rows, d_input]`, `weight: [d_output, d_input]`, `bias: [d_output]`, output `[rows, d_output]`, all in f32.
pub fn trained_linear(x: Tensor<2>, weight: Tensor<2>, bias: Option<Tensor<1>>, phase: Phase) -> Tensor<2> {
    Tensor::from_dispatch(<Dispatch as KernelBackend>::trained_linear(
        x.into_dispatch(),
        weight.into_dispatch(),
        Maybe::of(bias),
        phase,
    ))
}
