//! Ragged attention: each sequence of a batch attends to itself (Vaswani et al. 2017, arXiv 1706.03762, equation 1), in
//! both directions or to its past, all of it or a window.
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
use burn::tensor::{Shape, Slice, Tensor, TensorData};
use rayon::prelude::*;

use crate::soft_cap::{soft_cap_slope, soft_capped};
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

/// Scores of one group are at most this many, 64 MiB in f32.
const GROUP_SCORES: usize = 1 << 24;

/// A score that leaves no probability. Not minus infinity: a row of nothing else would become NaN.
const HIDDEN: f32 = -1.0e9;

/// Consecutive sequences padded to the longest of them.
struct Group<B: Backend> {
    sequences: usize,
    /// Queries and keys of the longest sequence.
    longest: [usize; 2],
    heads: usize,
    kv_heads: usize,
    /// For each padded place of a query the token that stands there, some token where none does.
    /// `[sequences * longest queries]`
    query_places: IntTensor<B>,
    /// The same of keys.
    key_places: IntTensor<B>,
    /// For each query its padded place. `[queries of the group]`
    queries: IntTensor<B>,
    /// Added to the scores: 0 for a key that is seen, [`HIDDEN`] otherwise. `[sequences, 1, 1 or queries, keys]`
    hidden_keys: FloatTensor<B>,
    /// 1 for a query that is there, 0 otherwise. `[sequences, 1, longest, 1]`
    present: FloatTensor<B>,
    /// Factors of the probabilities, `[sequences, heads, queries, keys]`
    dropout: Option<FloatTensor<B>>,
}

impl<B: Backend> Group<B> {
    fn new(range: Range<usize>, layout: &Layout, options: &Attention, device: &Device<B>) -> Self {
        let longest = [
            range.clone().map(|s| layout.queries().length(s)).max().unwrap_or(0),
            range.clone().map(|s| layout.keys()[s].len()).max().unwrap_or(0),
        ];
        let sequences = range.len();
        let (query_places, queries) = places(range.clone().map(|s| layout.queries().range(s)), longest[0]);
        let (key_places, _) = places(range.clone().map(|s| layout.keys()[s].clone()), longest[1]);
        let mut present = vec![0.0_f32; sequences * longest[0]];
        queries.iter().for_each(|place| present[*place as usize] = 1.0);
        let hidden = hidden_keys(&range, layout, options.mask, longest);
        let rows = hidden.len() / (sequences * longest[1]);
        let dropout = options.dropout.as_ref().map(|mask| {
            let factors = probability_factors(mask, &range, layout, options.heads, longest);
            B::float_from_data(TensorData::new(factors, [sequences, options.heads, longest[0], longest[1]]), device)
        });
        let indices = |values: Vec<i32>| {
            let count = values.len();
            B::int_from_data(TensorData::new(values, [count]), device)
        };
        Self {
            sequences,
            longest,
            heads: options.heads,
            kv_heads: options.kv_heads,
            query_places: indices(query_places),
            key_places: indices(key_places),
            queries: indices(queries),
            hidden_keys: B::float_from_data(TensorData::new(hidden, [sequences, 1, rows, longest[1]]), device),
            present: B::float_from_data(TensorData::new(present, [sequences, 1, longest[0], 1]), device),
            dropout,
        }
    }

    /// `[tokens, heads * d_head]` to `[sequences, heads, queries, d_head]`
    fn pad_queries(&self, x: FloatTensor<B>) -> FloatTensor<B> {
        self.pad(x, &self.query_places, [self.longest[0], self.heads])
    }

    /// `[keys, kv_heads * d_head]` to `[sequences, kv_heads, keys, d_head]`
    fn pad_keys(&self, x: FloatTensor<B>) -> FloatTensor<B> {
        self.pad(x, &self.key_places, [self.longest[1], self.kv_heads])
    }

    fn pad(&self, x: FloatTensor<B>, places: &IntTensor<B>, [longest, heads]: [usize; 2]) -> FloatTensor<B> {
        let d_head = x.shape()[1] / heads;
        let padded = B::float_select(x, 0, places.clone());
        B::float_swap_dims(B::float_reshape(padded, Shape::new([self.sequences, longest, heads, d_head])), 1, 2)
    }

    /// The reverse of either, for the tokens of the group: in training queries and keys are the same tokens.
    fn unpad(&self, x: FloatTensor<B>) -> FloatTensor<B> {
        let [heads, longest, d_head] = [1, 2, 3].map(|dim| x.shape()[dim]);
        let flat = Shape::new([self.sequences * longest, heads * d_head]);
        B::float_select(B::float_reshape(B::float_swap_dims(x, 1, 2), flat), 0, self.queries.clone())
    }

    /// `[sequences, heads, queries, columns]` with the heads that share keys as one, beneath each other.
    fn grouped(&self, x: FloatTensor<B>) -> FloatTensor<B> {
        let (rows, columns) = (self.heads / self.kv_heads * self.longest[0], x.shape()[3]);
        B::float_reshape(x, Shape::new([self.sequences, self.kv_heads, rows, columns]))
    }

    /// The reverse.
    fn apart(&self, x: FloatTensor<B>) -> FloatTensor<B> {
        let columns = x.shape()[3];
        B::float_reshape(x, Shape::new([self.sequences, self.heads, self.longest[0], columns]))
    }

    /// Softmax of the scores, before dropout, and the capped scores where there is a cap, both `[sequences, heads, queries,
    /// keys]`.
    fn probabilities(
        &self,
        q: FloatTensor<B>,
        k: FloatTensor<B>,
        options: &Attention,
    ) -> (FloatTensor<B>, Option<FloatTensor<B>>) {
        let q = self.grouped(B::float_mul_scalar(q, options.scale.into()));
        let scores = self.apart(B::float_matmul(q, B::float_transpose(k)));
        let capped = options.soft_cap.map(|cap| soft_capped::<B>(scores.clone(), cap));
        let scores = capped.clone().unwrap_or(scores);
        (B::softmax(B::float_add(scores, self.hidden_keys.clone()), 3), capped)
    }

    fn drop(&self, probabilities: FloatTensor<B>) -> FloatTensor<B> {
        match &self.dropout {
            Some(factors) => B::float_mul(probabilities, factors.clone()),
            None => probabilities,
        }
    }
}

/// For each padded place the token that stands there, and for each token its place.
fn places(sequences: impl Iterator<Item = Range<usize>>, longest: usize) -> (Vec<i32>, Vec<i32>) {
    let (mut places, mut tokens) = (Vec::new(), Vec::new());
    for tokens_of in sequences {
        let start = places.len();
        // What stands in a place without a token is hidden; any token will do.
        places.resize(start + longest, tokens_of.start as i32);
        for (position, token) in tokens_of.enumerate() {
            places[start + position] = token as i32;
            tokens.push((start + position) as i32);
        }
    }
    (places, tokens)
}

/// One row for all queries of a sequence where each sees every key, otherwise one for each query.
fn hidden_keys(range: &Range<usize>, layout: &Layout, mask: AttentionMask, [queries, keys]: [usize; 2]) -> Vec<f32> {
    let rows = if mask == (AttentionMask::Bidirectional { window: None }) { 1 } else { queries };
    let mut hidden = vec![HIDDEN; range.len() * rows * keys];
    for (sequence, of_sequence) in range.clone().zip(hidden.chunks_mut(rows * keys)) {
        let there = layout.queries().length(sequence).min(rows);
        for (query, of_query) in of_sequence.chunks_mut(keys).enumerate().take(there) {
            of_query[layout.visible(sequence, query, mask)].fill(0.0);
        }
    }
    hidden
}

/// The row of a probability is its query; its columns are the keys, head by head.
fn probability_factors(
    mask: &DropoutMask,
    range: &Range<usize>,
    layout: &Layout,
    heads: usize,
    [queries, keys]: [usize; 2],
) -> Vec<f32> {
    let mut factors = vec![0.0; range.len() * heads * queries * keys];
    let per_sequence = heads * queries * keys;
    factors.par_chunks_mut(per_sequence).zip(range.clone().into_par_iter()).for_each(|(factors, sequence)| {
        let there = layout.keys()[sequence].len();
        for (head, factors) in factors.chunks_mut(queries * keys).enumerate() {
            for (row, token) in layout.queries().range(sequence).enumerate() {
                mask.fill(token, first_column(head), &mut factors[row * keys..][..there]);
            }
        }
    });
    factors
}

/// A column of the dropout of probabilities is a head and a key's position, which stays below 2^16 where there is dropout.
pub(crate) fn first_column(head: usize) -> u32 {
    (head as u32) << 16
}

/// Cuts the sequences into groups of at most [`GROUP_SCORES`] padded scores, at least one sequence each.
fn groups(layout: &Layout, heads: usize) -> Vec<Range<usize>> {
    let mut groups = Vec::new();
    let (mut start, mut longest) = (0, [0, 0]);
    for (sequence, keys) in layout.keys().iter().enumerate() {
        let own = [layout.queries().length(sequence), keys.len()];
        let widened = [longest[0].max(own[0]), longest[1].max(own[1])];
        if sequence > start && (sequence + 1 - start) * heads * widened[0] * widened[1] > GROUP_SCORES {
            groups.push(start..sequence);
            (start, longest) = (sequence, own);
        } else {
            longest = widened;
        }
    }
    groups.push(start..layout.keys().len());
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
