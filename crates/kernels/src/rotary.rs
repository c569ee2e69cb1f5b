//! Rotary position embedding (Su et al. 2021, arXiv 2104.09864): each pair of coordinates of a query or key turns by an angle
//! that grows with its position. Coordinate `i` is paired with `i + d/2`, as in `apply_rotary_pos_emb` of Transformers.
//! Backward turns the other way, and keeps nothing.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, TensorMetadata};
use burn::tensor::{Shape, Slice, Tensor};

use crate::KernelBackend;

pub(crate) fn composed<B: Backend>(
    x: FloatTensor<B>,
    cosines: FloatTensor<B>,
    sines: FloatTensor<B>,
    heads: usize,
) -> FloatTensor<B> {
    let (tokens, width, pairs) = (x.shape()[0], x.shape()[1], cosines.shape()[1]);
    let d_head = width / heads;
    let x = B::float_reshape(x, Shape::new([tokens, heads, d_head]));
    let angles = |table: FloatTensor<B>| B::float_reshape(table, Shape::new([tokens, 1, pairs]));
    let (cosines, sines) = (angles(cosines), angles(sines));
    let part =
        |from: usize, to: usize| B::float_slice(x.clone(), &[Slice::full(), Slice::full(), Slice::from(from..to)]);
    let (first, second) = (part(0, pairs), part(pairs, 2 * pairs));
    let turned = |a: &FloatTensor<B>, b: &FloatTensor<B>| B::float_mul(a.clone(), b.clone());
    let mut parts = vec![
        B::float_sub(turned(&first, &cosines), turned(&second, &sines)),
        B::float_add(turned(&second, &cosines), turned(&first, &sines)),
    ];
    if 2 * pairs < d_head {
        parts.push(part(2 * pairs, d_head));
    }
    B::float_reshape(B::float_cat(parts, 2), Shape::new([tokens, width]))
}

#[derive(Debug)]
struct RotaryBackward;

impl<B: KernelBackend> Backward<B, 1> for RotaryBackward {
    type State = (FloatTensor<B>, FloatTensor<B>, usize);

    fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let [x] = ops.parents;
        let d_output = gradients.consume::<B>(&ops.node);
        let (cosines, sines, heads) = ops.state;
        if let Some(x) = x {
            gradients.register::<B>(x.id, B::rotary(d_output, cosines, B::float_neg(sines), heads));
        }
    }
}

pub(crate) fn tracked<B: KernelBackend, C: CheckpointStrategy>(
    x: FloatTensor<Autodiff<B, C>>,
    cosines: FloatTensor<Autodiff<B, C>>,
    sines: FloatTensor<Autodiff<B, C>>,
    heads: usize,
) -> FloatTensor<Autodiff<B, C>> {
    let (cosines, sines) = (cosines.into_primitive(), sines.into_primitive());
    match RotaryBackward.prepare::<C>([x.node()]).compute_bound().stateful() {
        OpsKind::Tracked(prep) => {
            let output = B::rotary(x.into_primitive(), cosines.clone(), sines.clone(), heads);
            prep.finish((cosines, sines, heads), output)
        }
        OpsKind::UnTracked(prep) => prep.finish(B::rotary(x.into_primitive(), cosines, sines, heads)),
    }
}

/// Turns the first `2 * pairs` coordinates of each head; those behind stay.
///
/// # Shapes
/// `x` and the output: `[tokens, heads * d_head]`; `cosines` and `sines` of each token's angles: `[tokens, pairs]`, with
/// `2 * pairs <= d_head`. They get no gradient.
pub fn rotary(x: Tensor<2>, cosines: Tensor<2>, sines: Tensor<2>, heads: usize) -> Tensor<2> {
    Tensor::from_dispatch(<Dispatch as KernelBackend>::rotary(
        x.into_dispatch(),
        cosines.into_dispatch(),
        sines.into_dispatch(),
        heads,
    ))
}
