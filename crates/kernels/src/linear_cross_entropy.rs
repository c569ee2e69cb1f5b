//! Cross-entropy of the logits that a frozen linear layer makes, whose classes are the tokens of a vocabulary: the logits of all
//! rows are never held at once. Its gradient is made in the forward pass, while the logits are there, and waits for the one
//! that comes from above, a factor for each row.

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, AutodiffBackend, Backend, Dispatch, TensorMetadata};
use burn::tensor::{FloatDType, Shape, Slice, Tensor};

use crate::cross_entropy::column;
use crate::{Compute, FrozenMatrix, FrozenPrimitive, KernelBackend, LogitsTransform, Maybe, Precision};

/// Logits that are held at once where nothing better is known: 96 MiB in f32. With fewer, the vocabulary is read too often for
/// too few rows.
pub const LOGITS_AT_ONCE: usize = 3 << 23;

/// The layer, and the classes its rows are to be.
pub(crate) struct Layer<'a, B: Backend> {
    pub(crate) x: FloatTensor<B>,
    pub(crate) weight: FrozenPrimitive<B>,
    pub(crate) bias: Option<FloatTensor<B>>,
    pub(crate) targets: &'a [u32],
    pub(crate) transform: LogitsTransform,
    pub(crate) precision: Precision,
}

/// Losses and margins, of some rows at a time, with no more than so many logits. `each` is given a part's logits and targets.
fn in_parts<B: KernelBackend>(
    layer: &Layer<'_, B>,
    logits: usize,
    mut each: impl FnMut(FloatTensor<B>, Arc<[u32]>),
) -> (FloatTensor<B>, FloatTensor<B>) {
    let (rows, classes, device) = (layer.targets.len(), layer.weight.shape()[0], layer.x.device());
    let size = rows.div_ceil(rows.div_ceil((logits / classes).max(1)));
    let (mut losses, mut margins) = (Vec::new(), Vec::new());
    for (index, targets) in layer.targets.chunks(size).enumerate() {
        let part = Slice::from(index * size..index * size + targets.len());
        let x = B::float_slice(layer.x.clone(), &[part, Slice::full()]);
        let bias = layer.bias.clone().map_or(Maybe::None, Maybe::Some);
        let compute = Compute { precision: layer.precision, ..Compute::default() };
        let logits = B::frozen_linear(x, layer.weight.clone(), bias, compute);
        let logits = if layer.transform.is_identity() { logits } else { B::transform_logits(logits, layer.transform) };
        let of_targets = B::float_gather(1, logits.clone(), column::<B>(targets, &device));
        let margin = B::float_sub(of_targets, B::float_max_dim(logits.clone(), 1));
        margins.push(B::float_reshape(margin, Shape::new([targets.len()])));
        let targets: Arc<[u32]> = targets.into();
        losses.push(B::cross_entropy(logits.clone(), targets.clone()));
        each(logits, targets);
    }
    (B::float_cat(losses, 0), B::float_cat(margins, 0))
}

pub(crate) fn composed<B: KernelBackend>(layer: Layer<'_, B>) -> (FloatTensor<B>, FloatTensor<B>) {
    in_parts(&layer, LOGITS_AT_ONCE, |_, _| ())
}

pub(crate) fn composed_with_gradient<B: KernelBackend>(
    layer: Layer<'_, B>,
) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
    gradient_in_parts(layer, LOGITS_AT_ONCE)
}

fn gradient_in_parts<B: KernelBackend>(
    layer: Layer<'_, B>,
    logits: usize,
) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
    let device = layer.x.device();
    let mut gradients = Vec::new();
    let (losses, margins) = in_parts(&layer, logits, |logits, targets| {
        let ones = B::float_ones(Shape::new([targets.len()]), &device, FloatDType::F32);
        let d_logits = if layer.transform.is_identity() {
            B::cross_entropy_backward(logits, ones, targets)
        } else {
            let gradient = B::cross_entropy_backward(logits.clone(), ones, targets);
            B::transform_logits_backward(logits, gradient, layer.transform)
        };
        gradients.push(B::frozen_linear_backward(d_logits, layer.weight.clone(), layer.precision));
    });
    (losses, margins, B::float_cat(gradients, 0))
}

#[derive(Debug)]
struct LinearCrossEntropyBackward;

impl<B: KernelBackend> Backward<B, 1> for LinearCrossEntropyBackward {
    /// The gradient of the sum of all losses.
    type State = FloatTensor<B>;

    fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let [x] = ops.parents;
        let d_losses = gradients.consume::<B>(&ops.node);
        if let Some(x) = x {
            let factors = Shape::new([d_losses.shape()[0], 1]);
            gradients.register::<B>(x.id, B::float_mul(ops.state, B::float_reshape(d_losses, factors)));
        }
    }
}

type Tracked<B, C> = FloatTensor<Autodiff<B, C>>;

pub(crate) fn tracked<B: KernelBackend, C: CheckpointStrategy>(
    x: Tracked<B, C>,
    weight: FrozenPrimitive<Autodiff<B, C>>,
    bias: Maybe<Autodiff<B, C>>,
    targets: Arc<[u32]>,
    transform: LogitsTransform,
    precision: Precision,
) -> (Tracked<B, C>, Tracked<B, C>) {
    let (weight, bias) = (weight.inner(), bias.inner());
    let constant = <Autodiff<B, C> as AutodiffBackend>::from_inner;
    match LinearCrossEntropyBackward.prepare::<C>([x.node()]).compute_bound().stateful() {
        OpsKind::Tracked(prep) => {
            let (losses, margins, gradient) =
                B::linear_cross_entropy_with_gradient(x.into_primitive(), weight, bias, targets, transform, precision);
            (prep.finish(gradient, losses), constant(margins))
        }
        OpsKind::UnTracked(prep) => {
            let (losses, margins) =
                B::linear_cross_entropy(x.into_primitive(), weight, bias, targets, transform, precision);
            (prep.finish(losses), constant(margins))
        }
    }
}

/// Of `logits = transform(x·Wᵀ + bias)`, W and bias frozen, the loss of each row in nats, `logsumexp(logits) - logits[target]`, and its
/// margin, `logits[target] - max(logits)`: 0 where no token is likelier than the target, else negative.
///
/// # Shapes
/// `x: [rows, d]`, `weight: [classes, d]`, quantised or in f32, f16 or bf16, `bias: [classes]`, a target below `classes` for each
/// row, both outputs `[rows]`. The losses give a gradient to `x`; the margins are constants.
///
/// # Panics
/// If there are no rows, or not as many targets, or a target is no class.
pub fn linear_cross_entropy(
    x: Tensor<2>,
    weight: impl Into<FrozenMatrix>,
    bias: Option<Tensor<1>>,
    targets: &[usize],
    transform: LogitsTransform,
    precision: Precision,
) -> (Tensor<1>, Tensor<1>) {
    assert!(!targets.is_empty() && x.dims()[0] == targets.len(), "a target for each row, and a row at least");
    let weight = weight.into();
    assert!(targets.iter().all(|target| *target < weight.shape()[0]), "a target is a class");
    let targets: Arc<[u32]> = targets.iter().map(|target| *target as u32).collect();
    let (losses, margins) = <Dispatch as KernelBackend>::linear_cross_entropy(
        x.into_dispatch(),
        weight.into_primitive(),
        Maybe::of(bias),
        targets,
        transform,
        precision,
    );
    (Tensor::from_dispatch(losses), Tensor::from_dispatch(margins))
}

#[cfg(test)]
mod tests {
    use burn::backend::Flex;
    use burn::backend::flex::FlexTensor;
    use burn::tensor::TensorData;

    use super::*;
    use crate::{bounds, uniform};

    fn random(shape: [usize; 2], key: u64) -> FlexTensor {
        let count = shape[0] * shape[1];
        let values: Vec<f32> = (0..count as u64).map(|i| uniform(key, i) as f32 - 0.5).collect();
        FlexTensor::from_data(TensorData::new(values, shape))
    }

    #[test]
    fn parts_of_the_rows_are_the_rows() {
        let targets: Vec<u32> = (0..10).map(|row| row * 5 % 7).collect();
        let layer = |transform| Layer::<Flex> {
            x: random([10, 4], 1),
            weight: FrozenPrimitive::Float(random([7, 4], 2)),
            bias: None,
            targets: &targets,
            transform,
            precision: Precision::F32,
        };
        for (transform, logits) in [LogitsTransform::default(), LogitsTransform { scale: 0.5, soft_cap: Some(0.2) }]
            .into_iter()
            // Two rows at a time, and one.
            .flat_map(|transform| [3 * 7, 2].map(|logits| (transform, logits)))
        {
            let (losses, margins, gradient) = gradient_in_parts(layer(transform), 100);
            let parts = gradient_in_parts(layer(transform), logits);
            for (whole, parts) in [(&losses, parts.0), (&margins, parts.1), (&gradient, parts.2)] {
                // Logits of four products, and sums over seven classes.
                bounds::assert_close(whole.storage::<f32>(), parts.storage::<f32>(), 4 + 7);
            }
        }
    }
}
