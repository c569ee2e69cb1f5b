//! RMSNorm (Zhang and Sennrich 2019, arXiv 1910.07467). Reference: `LlamaRMSNorm` in Transformers. The backward pass keeps
//! the input alone.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::retro_forward::RetroForward;
use burn::backend::autodiff::checkpoint::state::BackwardStates;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, TensorMetadata};
use burn::tensor::{Shape, Tensor};

use crate::KernelBackend;
use crate::layer_norm::row;

/// The rows with a mean square of 1, and one over their root mean squares, `[rows, d]` and `[rows, 1]`.
fn normalised<B: Backend>(x: FloatTensor<B>, epsilon: f32) -> (FloatTensor<B>, FloatTensor<B>) {
    let square = B::float_mean_dim(B::float_mul(x.clone(), x.clone()), 1);
    let inverse = B::float_recip(B::float_sqrt(B::float_add_scalar(square, epsilon.into())));
    (B::float_mul(x, inverse.clone()), inverse)
}

pub(crate) fn composed<B: Backend>(x: FloatTensor<B>, weight: FloatTensor<B>, epsilon: f32) -> FloatTensor<B> {
    B::float_mul(normalised::<B>(x, epsilon).0, row::<B>(weight))
}

pub(crate) fn composed_backward<B: Backend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    d_output: FloatTensor<B>,
    epsilon: f32,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let width = weight.shape()[0];
    let (normalised, inverse) = normalised::<B>(x, epsilon);
    let d_weight = B::float_sum_dim(B::float_mul(d_output.clone(), normalised.clone()), 0);
    let g = B::float_mul(d_output, row::<B>(weight));
    let along = B::float_mean_dim(B::float_mul(g.clone(), normalised.clone()), 1);
    let dx = B::float_mul(B::float_sub(g, B::float_mul(normalised, along)), inverse);
    (dx, B::float_reshape(d_weight, Shape::new([width])))
}

#[derive(Debug)]
struct RmsNormBackward;

#[derive(Debug, Clone)]
struct Saved<B: Backend> {
    x: NodeId,
    weight: FloatTensor<B>,
    epsilon: f32,
}

impl<B: KernelBackend> Backward<B, 2> for RmsNormBackward {
    type State = Saved<B>;

    fn backward(self, ops: Ops<Self::State, 2>, gradients: &mut Gradients, checkpointer: &mut Checkpointer) {
        let d_output = gradients.consume::<B>(&ops.node);
        let Saved { x, weight, epsilon } = ops.state;
        let x = checkpointer.retrieve_node_output::<FloatTensor<B>>(x);
        let (dx, d_weight) = B::root_mean_square_norm_backward(x, weight, d_output, epsilon);
        for (node, gradient) in ops.parents.into_iter().zip([dx, d_weight]) {
            if let Some(node) = node {
                gradients.register::<B>(node.id, gradient);
            }
        }
    }
}

/// The output once more, for a layer behind that keeps its input.
impl<B: KernelBackend> RetroForward for Saved<B> {
    fn forward(&self, states: &mut BackwardStates, output: NodeId) {
        let x = states.get_state::<FloatTensor<B>>(&self.x);
        states.save(output, B::root_mean_square_norm(x, self.weight.clone(), self.epsilon));
    }
}

pub(crate) fn tracked<B: KernelBackend, C: CheckpointStrategy>(
    x: FloatTensor<Autodiff<B, C>>,
    weight: FloatTensor<Autodiff<B, C>>,
    epsilon: f32,
) -> FloatTensor<Autodiff<B, C>> {
    let saved = Saved::<B> { x: x.id(), weight: weight.primitive().clone(), epsilon };
    let prepared = RmsNormBackward.prepare::<C>([x.node(), weight.node()]).memory_bound().retro_forward(saved.clone());
    // burn's checkpointer looks for every tracked parent, needed or not.
    let trained = [&weight].into_iter().filter(|tensor| tensor.is_tracked());
    match prepared.parents(std::iter::once(&x).chain(trained)).stateful() {
        OpsKind::Tracked(mut prep) => {
            prep.checkpoint(&x);
            prep.finish(saved, B::root_mean_square_norm(x.into_primitive(), weight.into_primitive(), epsilon))
        }
        OpsKind::UnTracked(prep) => {
            prep.finish(B::root_mean_square_norm(x.into_primitive(), weight.into_primitive(), epsilon))
        }
    }
}

/// `x / sqrt(mean(x²) + epsilon) * weight` over each row.
///
/// # Shapes
/// `x: [rows, d]`, `weight: [d]`, both in f32; the output has the shape of `x`.
pub fn rms_norm(x: Tensor<2>, weight: Tensor<1>, epsilon: f64) -> Tensor<2> {
    Tensor::from_dispatch(<Dispatch as KernelBackend>::root_mean_square_norm(
        x.into_dispatch(),
        weight.into_dispatch(),
        epsilon as f32,
    ))
}

/// As [`rms_norm`] with `1 + weight` in the place of the weight: what Gemma stores is the distance from 1 (`Gemma2RMSNorm` in
/// Transformers).
///
/// # Shapes
/// As [`rms_norm`].
pub fn unit_offset_rms_norm(x: Tensor<2>, weight: Tensor<1>, epsilon: f64) -> Tensor<2> {
    // The sum is `d` numbers beside rows of as many: not worth an operation.
    rms_norm(x, weight + 1.0, epsilon)
}
