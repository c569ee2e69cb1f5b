//! Ragged attention: each sequence of a batch attends to itself (Vaswani et al. 2017, arXiv 1706.03762, equation 1), in
//! both directions or to its past, all of it or a window.
//!
//! The composed form pads inside this operation. The backward pass keeps `q`, `k` and `v` and computes the scores again.

use std::ops::Range;
use std::sync::Arc;

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Dispatch, TensorMetadata};
use burn::tensor::{Slice, Tensor};

use crate::padded::{Group, groups, join};
use crate::soft_cap::soft_cap_slope;
use crate::{AttentionMask, DropoutMask, KernelBackend, Layout};

/// How to attend.
#[derive(Debug, Clone)]
pub struct Attention {
    pub heads: usize,
    /// Heads of keys and values, each shared by `heads / kv_heads` heads of queries that follow one another (Ainslie et
    /// al. 2023, arXiv 2305.13245).
    pub kv_heads: usize,
    /// The factor of the scores, usually `1 / sqrt(d_head)`.
    pub scale: f32,
    /// Scores become `cap * tanh(score / cap)`, scaled before and masked after: `attn_logit_softcapping` of Gemma 2.
    pub soft_cap: Option<f32>,
    pub mask: AttentionMask,
    /// Dropout of the attention probabilities.
    pub dropout: Option<DropoutMask>,
}

impl Attention {
    /// Where queries, keys and values stand in rows that hold them one behind the other.
    pub(crate) fn columns(&self, width: usize) -> [Range<usize>; 3] {
        let d_head = width / (self.heads + 2 * self.kv_heads);
        let ends = [0, self.heads, self.heads + self.kv_heads, self.heads + 2 * self.kv_heads].map(|it| it * d_head);
        [ends[0]..ends[1], ends[1]..ends[2], ends[2]..ends[3]]
    }
}

pub(crate) fn composed<B: KernelBackend>(
    q: FloatTensor<B>,
    k: FloatTensor<B>,
    v: FloatTensor<B>,
    layout: &Layout,
    options: &Attention,
) -> FloatTensor<B> {
    let device = q.device();
    let outputs = groups(layout, options.heads).into_iter().map(|range| {
        let group = Group::<B>::new(range, layout, options, &device);
        let (q, k, v) = (group.pad_queries(q.clone()), group.pad_keys(k.clone()), group.pad_keys(v.clone()));
        let p = group.grouped(group.drop(group.probabilities(q, k, options).0));
        group.unpad(group.apart(B::float_matmul(p, v)))
    });
    join::<B>(outputs.collect())
}

pub(crate) fn composed_backward<B: KernelBackend>(
    q: FloatTensor<B>,
    k: FloatTensor<B>,
    v: FloatTensor<B>,
    d_output: FloatTensor<B>,
    layout: &Layout,
    options: &Attention,
) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
    let device = q.device();
    let (mut dq, mut dk, mut dv) = (Vec::new(), Vec::new(), Vec::new());
    for range in groups(layout, options.heads) {
        let group = Group::<B>::new(range, layout, options, &device);
        let (q, k, v) = (group.pad_queries(q.clone()), group.pad_keys(k.clone()), group.pad_keys(v.clone()));
        // Padded places hold some other token: as queries they must not reach the keys' gradients.
        let d_output = group.grouped(B::float_mul(group.pad_queries(d_output.clone()), group.present.clone()));
        let (p, capped) = group.probabilities(q.clone(), k.clone(), options);

        let dropped = group.grouped(group.drop(p.clone()));
        dv.push(group.unpad(B::float_matmul(B::float_transpose(dropped), d_output.clone())));

        let dp = group.drop(group.apart(B::float_matmul(d_output, B::float_transpose(v))));
        let row_sum = B::float_sum_dim(B::float_mul(dp.clone(), p.clone()), 3);
        let ds = B::float_mul(p, B::float_sub(dp, row_sum));
        let ds = match (options.soft_cap, capped) {
            (Some(cap), Some(capped)) => B::float_mul(ds, soft_cap_slope::<B>(capped, cap)),
            _ => ds,
        };
        let ds = B::float_mul_scalar(ds, options.scale.into());
        let ds = group.grouped(ds);
        dq.push(group.unpad(group.apart(B::float_matmul(ds.clone(), k))));
        dk.push(group.unpad(B::float_matmul(B::float_transpose(ds), group.grouped(q))));
    }
    (join::<B>(dq), join::<B>(dk), join::<B>(dv))
}

fn parts<B: KernelBackend>(joined: FloatTensor<B>, options: &Attention) -> [FloatTensor<B>; 3] {
    let width = joined.shape()[1];
    options.columns(width).map(|columns| B::float_slice(joined.clone(), &[Slice::full(), columns.into()]))
}

pub(crate) fn composed_joined<B: KernelBackend>(
    joined: FloatTensor<B>,
    layout: Arc<Layout>,
    options: Attention,
) -> FloatTensor<B> {
    let [q, k, v] = parts::<B>(joined, &options);
    B::ragged_attention(q, k, v, layout, options)
}

pub(crate) fn composed_joined_backward<B: KernelBackend>(
    joined: FloatTensor<B>,
    d_output: FloatTensor<B>,
    layout: &Layout,
    options: &Attention,
) -> FloatTensor<B> {
    let [q, k, v] = parts::<B>(joined, options);
    let (dq, dk, dv) = composed_backward::<B>(q, k, v, d_output, layout, options);
    B::float_cat(vec![dq, dk, dv], 1)
}

#[derive(Debug)]
struct AttentionBackward;

#[derive(Debug, Clone)]
struct Saved {
    q: NodeId,
    k: NodeId,
    v: NodeId,
    layout: Arc<Layout>,
    options: Attention,
}

impl<B: KernelBackend> Backward<B, 3> for AttentionBackward {
    type State = Saved;

    fn backward(self, ops: Ops<Saved, 3>, gradients: &mut Gradients, checkpointer: &mut Checkpointer) {
        let d_output = gradients.consume::<B>(&ops.node);
        let saved = ops.state;
        let mut take = |id| checkpointer.retrieve_node_output::<FloatTensor<B>>(id);
        let (q, k, v) = (take(saved.q), take(saved.k), take(saved.v));
        let (dq, dk, dv) = B::ragged_attention_backward(q, k, v, d_output, saved.layout, saved.options);
        for (node, gradient) in ops.parents.into_iter().zip([dq, dk, dv]) {
            if let Some(node) = node {
                gradients.register::<B>(node.id, gradient);
            }
        }
    }
}

pub(crate) fn tracked<B: KernelBackend, C: CheckpointStrategy>(
    q: FloatTensor<Autodiff<B, C>>,
    k: FloatTensor<Autodiff<B, C>>,
    v: FloatTensor<Autodiff<B, C>>,
    layout: Arc<Layout>,
    options: Attention,
) -> FloatTensor<Autodiff<B, C>> {
    match AttentionBackward.prepare::<C>([q.node(), k.node(), v.node()]).compute_bound().stateful() {
        OpsKind::Tracked(mut prep) => {
            let saved = Saved {
                q: prep.checkpoint(&q),
                k: prep.checkpoint(&k),
                v: prep.checkpoint(&v),
                layout: layout.clone(),
                options: options.clone(),
            };
            let (q, k, v) = (q.into_primitive(), k.into_primitive(), v.into_primitive());
            prep.finish(saved, B::ragged_attention(q, k, v, layout, options))
        }
        OpsKind::UnTracked(prep) => {
            let (q, k, v) = (q.into_primitive(), k.into_primitive(), v.into_primitive());
            prep.finish(B::ragged_attention(q, k, v, layout, options))
        }
    }
}

#[derive(Debug)]
struct JoinedAttentionBackward;

impl<B: KernelBackend> Backward<B, 1> for JoinedAttentionBackward {
    type State = (NodeId, Arc<Layout>, Attention);

    fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, checkpointer: &mut Checkpointer) {
        let [node] = ops.parents;
        let d_output = gradients.consume::<B>(&ops.node);
        let (joined, layout, options) = ops.state;
        let joined = checkpointer.retrieve_node_output::<FloatTensor<B>>(joined);
        if let Some(node) = node {
            gradients.register::<B>(node.id, B::joined_attention_backward(joined, d_output, layout, options));
        }
    }
}

pub(crate) fn tracked_joined<B: KernelBackend, C: CheckpointStrategy>(
    joined: FloatTensor<Autodiff<B, C>>,
    layout: Arc<Layout>,
    options: Attention,
) -> FloatTensor<Autodiff<B, C>> {
    match JoinedAttentionBackward.prepare::<C>([joined.node()]).compute_bound().stateful() {
        OpsKind::Tracked(mut prep) => {
            let saved = (prep.checkpoint(&joined), layout.clone(), options.clone());
            prep.finish(saved, B::joined_attention(joined.into_primitive(), layout, options))
        }
        OpsKind::UnTracked(prep) => prep.finish(B::joined_attention(joined.into_primitive(), layout, options)),
    }
}

/// As [`attention`], of queries, keys and values that one layer has put side by side: its gradient is one tensor as well.
///
/// # Shapes
/// `joined: [tokens, (heads + 2 * kv_heads) * d_head]`, output `[tokens, heads * d_head]`
pub fn joined_attention(joined: Tensor<2>, layout: &Arc<Layout>, options: Attention) -> Tensor<2> {
    Tensor::from_dispatch(<Dispatch as KernelBackend>::joined_attention(
        joined.into_dispatch(),
        layout.clone(),
        options,
    ))
}

/// Attention of each sequence to itself.
///
/// # Shapes
/// `q` and the output: `[tokens, heads * d_head]`, the sequences lying end to end; `k` and `v`: `[tokens, kv_heads * d_head]`,
/// or what of a cache `layout` says. Gradients exist only where the keys are the queries' own tokens.
pub fn attention(q: Tensor<2>, k: Tensor<2>, v: Tensor<2>, layout: &Arc<Layout>, options: Attention) -> Tensor<2> {
    Tensor::from_dispatch(<Dispatch as KernelBackend>::ragged_attention(
        q.into_dispatch(),
        k.into_dispatch(),
        v.into_dispatch(),
        layout.clone(),
        options,
    ))
}
