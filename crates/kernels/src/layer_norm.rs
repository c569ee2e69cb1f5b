//! LayerNorm (Ba et al. 2016, arXiv 1607.06450). Reference: `torch.nn.LayerNorm`. The backward pass keeps the input alone;
//! mean and deviation of a row are a small part of the work and computed again.

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

/// The rows with mean 0 and variance 1, and one over their deviations, `[rows, d]` and `[rows, 1]`.
fn normalised<B: Backend>(x: FloatTensor<B>, epsilon: f32) -> (FloatTensor<B>, FloatTensor<B>) {
    let centred = B::float_sub(x.clone(), B::float_mean_dim(x, 1));
    let variance = B::float_mean_dim(B::float_mul(centred.clone(), centred.clone()), 1);
    let inverse = B::float_recip(B::float_sqrt(B::float_add_scalar(variance, epsilon.into())));
    (B::float_mul(centred, inverse.clone()), inverse)
}

/// `[d]` as a row.
pub(crate) fn row<B: Backend>(vector: FloatTensor<B>) -> FloatTensor<B> {
    let width = vector.shape()[0];
    B::float_reshape(vector, Shape::new([1, width]))
}

pub(crate) fn composed<B: Backend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    bias: FloatTensor<B>,
    epsilon: f32,
) -> FloatTensor<B> {
    let (normalised, _) = normalised::<B>(x, epsilon);
    B::float_add(B::float_mul(normalised, row::<B>(weight)), row::<B>(bias))
}

pub(crate) fn composed_backward<B: Backend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    d_output: FloatTensor<B>,
    epsilon: f32,
) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
    let width = weight.shape()[0];
    let vector = |sum: FloatTensor<B>| B::float_reshape(sum, Shape::new([width]));
    let (normalised, inverse) = normalised::<B>(x, epsilon);
    let d_weight = vector(B::float_sum_dim(B::float_mul(d_output.clone(), normalised.clone()), 0));
    let d_bias = vector(B::float_sum_dim(d_output.clone(), 0));
    let g = B::float_mul(d_output, row::<B>(weight));
    let along = B::float_mean_dim(B::float_mul(g.clone(), normalised.clone()), 1);
    let centred = B::float_sub(g.clone(), B::float_mean_dim(g, 1));
    let dx = B::float_mul(B::float_sub(centred, B::float_mul(normalised, along)), inverse);
    (dx, d_weight, d_bias)
}

#[derive(Debug)]
struct LayerNormBackward;

#[derive(Debug, Clone)]
struct Saved<B: Backend> {
    x: NodeId,
    weight: FloatTensor<B>,
    bias: FloatTensor<B>,
    epsilon: f32,
}

impl<B: KernelBackend> Backward<B, 3> for LayerNormBackward {
    type State = Saved<B>;

    fn backward(self, ops: Ops<Self::State, 3>, gradients: &mut Gradients, checkpointer: &mut Checkpointer) {
        let d_output = gradients.consume::<B>(&ops.node);
        let Saved { x, weight, epsilon, .. } = ops.state;
        let x = checkpointer.retrieve_node_output::<FloatTensor<B>>(x);
        let (dx, d_weight, d_bias) = B::row_norm_backward(x, weight, d_output, epsilon);
        for (node, gradient) in ops.parents.into_iter().zip([dx, d_weight, d_bias]) {
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
        states.save(output, B::row_norm(x, self.weight.clone(), self.bias.clone(), self.epsilon));
    }
}

pub(crate) fn tracked<B: KernelBackend, C: CheckpointStrategy>(
    x: FloatTensor<Autodiff<B, C>>,
    weight: FloatTensor<Autodiff<B, C>>,
    bias: FloatTensor<Autodiff<B, C>>,
    epsilon: f32,
) -> FloatTensor<Autodiff<B, C>> {
    let saved = Saved::<B> { x: x.id(), weight: weight.primitive().clone(), bias: bias.primitive().clone(), epsilon };
    let nodes = [x.node(), weight.node(), bias.node()];
    let prepared = LayerNormBackward.prepare::<C>(nodes).memory_bound().retro_forward(saved.clone());
    // burn's checkpointer looks for every tracked parent, needed or not.
    let trained = [&weight, &bias].into_iter().filter(|tensor| tensor.is_tracked());
    match prepared.parents(std::iter::once(&x).chain(trained)).stateful() {
        OpsKind::Tracked(mut prep) => {
            prep.checkpoint(&x);
            let (x, weight, bias) = (x.into_primitive(), weight.into_primitive(), bias.into_primitive());
            prep.finish(saved, B::row_norm(x, weight, bias, epsilon))
        }
        OpsKind::UnTracked(prep) => {
            let (x, weight, bias) = (x.into_primitive(), weight.into_primitive(), bias.into_primitive());
            prep.finish(B::row_norm(x, weight, bias, epsilon))
        }
    }
}

/// `(x - mean) / sqrt(variance + epsilon) * weight + bias` over each row, with the biased variance.
///
/// # Shapes
/// `x: [rows, d]`, `weight` and `bias: [d]`, all in f32; the output has the shape of `x`.
pub fn layer_norm(x: Tensor<2>, weight: Tensor<1>, bias: Tensor<1>, epsilon: f64) -> Tensor<2> {
    Tensor::from_dispatch(<Dispatch as KernelBackend>::row_norm(
        x.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
        epsilon as f32,
    ))
}
