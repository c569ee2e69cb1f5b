//! Ragged attention: each sequence of a batch attends to itself (Vaswani et al. 2017, arXiv 1706.03762, equation 1).
//!
//! The composed form pads inside this operation, in groups of sequences that follow one another, so that a few long
//! sequences do not widen all the others and the scores of a large batch never exist at once. The backward pass keeps
//! `q`, `k` and `v` and computes the scores again.

use std::ops::Range;
use std::sync::Arc;

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::{Device, FloatTensor, IntTensor};
use burn::backend::{Autodiff, Backend, Dispatch, TensorMetadata};
use burn::tensor::{Shape, Tensor, TensorData};
use rayon::prelude::*;

use crate::{KernelBackend, Layout, Mask};

/// How to attend.
#[derive(Debug, Clone)]
pub struct Attention {
    pub heads: usize,
    /// The factor of the scores, usually `1 / sqrt(d_head)`.
    pub scale: f32,
    /// Dropout of the attention probabilities.
    pub mask: Option<Mask>,
}

/// Scores of one group are at most this many, 64 MiB in f32.
const GROUP_SCORES: usize = 1 << 24;

/// A score that leaves no probability. Not minus infinity: a row of nothing else would become NaN.
const HIDDEN: f32 = -1.0e9;

/// Consecutive sequences padded to the longest of them.
struct Group<B: Backend> {
    sequences: usize,
    longest: usize,
    heads: usize,
    d_head: usize,
    /// For each padded place the token that stands there, some token where none does. `[sequences * longest]`
    places: IntTensor<B>,
    /// For each token its padded place. `[tokens of the group]`
    tokens: IntTensor<B>,
    /// Added to the scores: 0 for a key that is there, [`HIDDEN`] otherwise. `[sequences, 1, 1, longest]`
    hidden_keys: FloatTensor<B>,
    /// 1 for a query that is there, 0 otherwise. `[sequences, 1, longest, 1]`
    present: FloatTensor<B>,
    /// Factors of the probabilities, `[sequences, heads, longest, longest]`
    dropout: Option<FloatTensor<B>>,
}

impl<B: Backend> Group<B> {
    fn new(range: Range<usize>, layout: &Layout, options: &Attention, width: usize, device: &Device<B>) -> Self {
        let offsets = layout.queries();
        let longest = range.clone().map(|s| offsets.length(s)).max().unwrap_or(0);
        let sequences = range.len();
        let first = offsets.range(range.start).start;
        let (mut places, mut tokens) = (vec![first as i32; sequences * longest], Vec::new());
        let (mut hidden, mut present) = (vec![HIDDEN; sequences * longest], vec![0.0_f32; sequences * longest]);
        for (row, sequence) in range.clone().enumerate() {
            for (position, token) in offsets.range(sequence).enumerate() {
                let place = row * longest + position;
                places[place] = token as i32;
                tokens.push(place as i32);
                hidden[place] = 0.0;
                present[place] = 1.0;
            }
        }
        let dropout = options.mask.as_ref().map(|mask| {
            let factors = probability_factors(mask, &range, layout, options.heads, longest);
            B::float_from_data(TensorData::new(factors, [sequences, options.heads, longest, longest]), device)
        });
        let count = tokens.len();
        Self {
            sequences,
            longest,
            heads: options.heads,
            d_head: width / options.heads,
            places: B::int_from_data(TensorData::new(places, [sequences * longest]), device),
            tokens: B::int_from_data(TensorData::new(tokens, [count]), device),
            hidden_keys: B::float_from_data(TensorData::new(hidden, [sequences, 1, 1, longest]), device),
            present: B::float_from_data(TensorData::new(present, [sequences, 1, longest, 1]), device),
            dropout,
        }
    }

    /// `[tokens, heads * d_head]` to `[sequences, heads, longest, d_head]`
    fn pad(&self, x: FloatTensor<B>) -> FloatTensor<B> {
        let padded = B::float_select(x, 0, self.places.clone());
        let shape = Shape::new([self.sequences, self.longest, self.heads, self.d_head]);
        B::float_swap_dims(B::float_reshape(padded, shape), 1, 2)
    }

    /// The reverse, for the tokens of the group.
    fn unpad(&self, x: FloatTensor<B>) -> FloatTensor<B> {
        let shape = Shape::new([self.sequences * self.longest, self.heads * self.d_head]);
        B::float_select(B::float_reshape(B::float_swap_dims(x, 1, 2), shape), 0, self.tokens.clone())
    }

    /// Softmax of the scores, before dropout.
    fn probabilities(&self, q: FloatTensor<B>, k: FloatTensor<B>, scale: f32) -> FloatTensor<B> {
        let scores = B::float_matmul(B::float_mul_scalar(q, scale.into()), B::float_transpose(k));
        B::softmax(B::float_add(scores, self.hidden_keys.clone()), 3)
    }

    fn drop(&self, probabilities: FloatTensor<B>) -> FloatTensor<B> {
        match &self.dropout {
            Some(factors) => B::float_mul(probabilities, factors.clone()),
            None => probabilities,
        }
    }
}

/// The row of a probability is its query; its columns are the keys, head by head.
fn probability_factors(mask: &Mask, range: &Range<usize>, layout: &Layout, heads: usize, longest: usize) -> Vec<f32> {
    let mut factors = vec![0.0; range.len() * heads * longest * longest];
    let per_sequence = heads * longest * longest;
    factors.par_chunks_mut(per_sequence).zip(range.clone().into_par_iter()).for_each(|(factors, sequence)| {
        let tokens = layout.queries().range(sequence);
        for (head, factors) in factors.chunks_mut(longest * longest).enumerate() {
            for (row, token) in tokens.clone().enumerate() {
                // A column per head and key position; positions stay below 2^16 in every model of this crate.
                mask.fill(token, (head as u32) << 16, &mut factors[row * longest..][..tokens.len()]);
            }
        }
    });
    factors
}

/// Cuts the sequences into groups of at most [`GROUP_SCORES`] padded scores, at least one sequence each.
fn groups(layout: &Layout, heads: usize) -> Vec<Range<usize>> {
    let offsets = layout.queries();
    let mut groups = Vec::new();
    let (mut start, mut longest) = (0, 0);
    for sequence in 0..offsets.sequences() {
        let widened = longest.max(offsets.length(sequence));
        if sequence > start && (sequence + 1 - start) * heads * widened * widened > GROUP_SCORES {
            groups.push(start..sequence);
            (start, longest) = (sequence, offsets.length(sequence));
        } else {
            longest = widened;
        }
    }
    groups.push(start..offsets.sequences());
    groups
}

fn join<B: Backend>(mut parts: Vec<FloatTensor<B>>) -> FloatTensor<B> {
    match parts.len() {
        1 => parts.remove(0),
        _ => B::float_cat(parts, 0),
    }
}

pub(crate) fn composed<B: KernelBackend>(
    q: FloatTensor<B>,
    k: FloatTensor<B>,
    v: FloatTensor<B>,
    layout: &Layout,
    options: &Attention,
) -> FloatTensor<B> {
    let (width, device) = (q.shape()[1], q.device());
    let outputs = groups(layout, options.heads).into_iter().map(|range| {
        let group = Group::<B>::new(range, layout, options, width, &device);
        let p = group.drop(group.probabilities(group.pad(q.clone()), group.pad(k.clone()), options.scale));
        group.unpad(B::float_matmul(p, group.pad(v.clone())))
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
    let (width, device) = (q.shape()[1], q.device());
    let (mut dq, mut dk, mut dv) = (Vec::new(), Vec::new(), Vec::new());
    for range in groups(layout, options.heads) {
        let group = Group::<B>::new(range, layout, options, width, &device);
        let (q, k, v) = (group.pad(q.clone()), group.pad(k.clone()), group.pad(v.clone()));
        // Padded places hold some other token: as queries they must not reach the keys' gradients.
        let d_output = B::float_mul(group.pad(d_output.clone()), group.present.clone());
        let p = group.probabilities(q.clone(), k.clone(), options.scale);

        let dropped = group.drop(p.clone());
        dv.push(group.unpad(B::float_matmul(B::float_transpose(dropped), d_output.clone())));

        let dp = group.drop(B::float_matmul(d_output, B::float_transpose(v)));
        let row_sum = B::float_sum_dim(B::float_mul(dp.clone(), p.clone()), 3);
        let ds = B::float_mul_scalar(B::float_mul(p, B::float_sub(dp, row_sum)), options.scale.into());
        dq.push(group.unpad(B::float_matmul(ds.clone(), k)));
        dk.push(group.unpad(B::float_matmul(B::float_transpose(ds), q)));
    }
    (join::<B>(dq), join::<B>(dk), join::<B>(dv))
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

/// Attention of each sequence to itself, in both directions.
///
/// # Shapes
/// `q`, `k`, `v` and the output: `[tokens, heads * d_head]`, the sequences lying end to end as `layout` says.
pub fn attention(q: Tensor<2>, k: Tensor<2>, v: Tensor<2>, layout: &Arc<Layout>, options: Attention) -> Tensor<2> {
    Tensor::from_dispatch(<Dispatch as KernelBackend>::ragged_attention(
        q.into_dispatch(),
        k.into_dispatch(),
        v.into_dispatch(),
        layout.clone(),
        options,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Offsets;

    #[test]
    fn groups_hold_every_sequence_once_within_the_limit() {
        let lengths = [1000, 10, 10, 2000, 3000, 1, 1, 500];
        let offsets: Vec<usize> = std::iter::once(0)
            .chain(lengths.iter().scan(0, |sum, length| {
                *sum += length;
                Some(*sum)
            }))
            .collect();
        let groups = groups(&Layout::new(Offsets::new(&offsets), 0), 4);
        assert_eq!(groups, [0..3, 3..4, 4..5, 5..8]);
    }
}
