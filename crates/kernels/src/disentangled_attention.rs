//! Attention with disentangled positions (He et al. 2020, arXiv 2006.03654, equation 4): besides content to content, a score has a
//! term of content to position and one of position to content. Reference: `DisentangledSelfAttention` in Transformers'
//! `modeling_deberta_v2`. With t(i - j) the row for the distance of query i and key j,
//! `score = scale * (q_i·k_j + q_i·pos_key_t + k_j·pos_query_t)`. The reference looks up the last term for (j, i) with the
//! distance's sign turned, and transposes: as buckets are odd, it is the same row.
//!
//! A row for each distance makes both terms bands: the products with all distances are computed, and each row of scores is a
//! part of theirs, one place further than the row before. Nothing is gathered or scattered score by score.

use std::sync::Arc;

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::{Device, FloatTensor};
use burn::backend::{Autodiff, Backend, Dispatch, TensorMetadata};
use burn::tensor::{FloatDType, Shape, Slice, Tensor, TensorData};

use crate::padded::{Group, groups, join};
use crate::{Attention, AttentionMask, DropoutMask, KernelBackend, Layout, RelativePositions};

/// How to attend.
#[derive(Debug, Clone)]
pub struct DisentangledAttention {
    pub heads: usize,
    /// The factor of all three terms: `1 / sqrt(d_head * (1 + number of pos_att_type))`.
    pub scale: f32,
    pub positions: RelativePositions,
    /// Dropout of the attention probabilities.
    pub dropout: Option<DropoutMask>,
}

/// Queries, keys, values, and the tables of positions as keys and as queries.
#[derive(Clone)]
pub(crate) struct Inputs<T> {
    pub(crate) q: T,
    pub(crate) k: T,
    pub(crate) v: T,
    pub(crate) pos_key: T,
    pub(crate) pos_query: T,
}

impl DisentangledAttention {
    fn content(&self) -> Attention {
        Attention {
            heads: self.heads,
            kv_heads: self.heads,
            scale: self.scale,
            soft_cap: None,
            mask: AttentionMask::Bidirectional { window: None },
            dropout: self.dropout.clone(),
        }
    }
}

/// `[rows, heads * d_head]` to `[1, heads, rows, d_head]`
fn by_heads<B: Backend>(table: FloatTensor<B>, heads: usize) -> FloatTensor<B> {
    let [rows, width] = [0, 1].map(|dim| table.shape()[dim]);
    B::float_swap_dims(B::float_reshape(table, Shape::new([1, rows, heads, width / heads])), 1, 2)
}

/// Of products with 2n - 1 distances, those with the n tokens, `[.., n, 2n - 1]` to `[.., n, n]`: row i begins at place n - 1 - i.
fn band<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let [sequences, heads, n] = [0, 1, 2].map(|dim| x.shape()[dim]);
    let zeros = B::float_zeros(Shape::new([sequences, heads, n, 1]), &x.device(), FloatDType::F32);
    // Rows of 2n places read as rows of 2n - 1 move by one place each.
    let flat = B::float_reshape(B::float_cat(vec![x, zeros], 3), Shape::new([sequences, heads, 2 * n * n]));
    let moved = B::float_slice(flat, &[Slice::full(), Slice::full(), (n - 1..n - 1 + n * (2 * n - 1)).into()]);
    let moved = B::float_reshape(moved, Shape::new([sequences, heads, n, 2 * n - 1]));
    B::float_slice(moved, &[Slice::full(), Slice::full(), Slice::full(), (0..n).into()])
}

/// The reverse, `[.., n, n]` to `[.., n, 2n - 1]` with zeros beside the band.
fn unband<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let [sequences, heads, n] = [0, 1, 2].map(|dim| x.shape()[dim]);
    let device = x.device();
    let zeros = |shape: Vec<usize>| B::float_zeros(Shape::from(shape), &device, FloatDType::F32);
    let wide = match n {
        1 => x,
        _ => B::float_cat(vec![x, zeros(vec![sequences, heads, n, n - 1])], 3),
    };
    let flat = B::float_reshape(wide, Shape::new([sequences, heads, n * (2 * n - 1)]));
    let mut parts = vec![flat, zeros(vec![sequences, heads, 1])];
    if n > 1 {
        parts.insert(0, zeros(vec![sequences, heads, n - 1]));
    }
    let moved = B::float_reshape(B::float_cat(parts, 2), Shape::new([sequences, heads, n, 2 * n]));
    B::float_slice(moved, &[Slice::full(), Slice::full(), Slice::full(), (0..2 * n - 1).into()])
}

/// Rows of a table for the distances of sequences of at most n tokens.
pub(crate) struct Distances {
    /// From the farthest query after its key to the farthest before: with these a query meets its keys in their order.
    pub(crate) of_keys: Vec<i32>,
    /// The other way round: with these a key meets its queries in their order.
    pub(crate) of_queries: Vec<i32>,
}

impl Distances {
    pub(crate) fn new(positions: RelativePositions, n: usize) -> Self {
        let of_queries = positions.rows(1 - n as isize..n as isize);
        Self { of_keys: of_queries.iter().rev().copied().collect(), of_queries }
    }
}

/// `[1, heads, distances, d_head]`
fn rows_of<B: Backend>(table: FloatTensor<B>, rows: &[i32], heads: usize, device: &Device<B>) -> FloatTensor<B> {
    let rows = B::int_from_data(TensorData::new(rows.to_vec(), [rows.len()]), device);
    by_heads::<B>(B::float_select(table, 0, rows), heads)
}

/// What rows of a table, `[sequences, heads, distances, d_head]`, come to in the table, `[count, heads * d_head]`: a product with
/// zeros and ones, which adds in one order on every backend.
fn into_table<B: Backend>(rows: FloatTensor<B>, places: &[i32], count: usize, device: &Device<B>) -> FloatTensor<B> {
    let [heads, distances, d_head] = [1, 2, 3].map(|dim| rows.shape()[dim]);
    let rows = B::float_swap_dims(B::float_sum_dim(rows, 0), 1, 2);
    let rows = B::float_reshape(rows, Shape::new([distances, heads * d_head]));
    let mut ones = vec![0.0_f32; count * distances];
    places.iter().enumerate().for_each(|(distance, place)| ones[*place as usize * distances + distance] = 1.0);
    B::float_matmul(B::float_from_data(TensorData::new(ones, [count, distances]), device), rows)
}

/// The padded sequences of a group, and the tables at their distances.
struct Padded<B: Backend> {
    group: Group<B>,
    distances: Distances,
    inputs: Inputs<FloatTensor<B>>,
}

impl<B: Backend> Padded<B> {
    fn new(group: Group<B>, inputs: &Inputs<FloatTensor<B>>, options: &DisentangledAttention) -> Self {
        let device = inputs.q.device();
        let distances = Distances::new(options.positions, group.longest());
        let table = |table: &FloatTensor<B>, rows: &[i32]| rows_of::<B>(table.clone(), rows, options.heads, &device);
        let inputs = Inputs {
            q: group.pad_queries(inputs.q.clone()),
            k: group.pad_keys(inputs.k.clone()),
            v: group.pad_keys(inputs.v.clone()),
            pos_key: table(&inputs.pos_key, &distances.of_keys),
            pos_query: table(&inputs.pos_query, &distances.of_queries),
        };
        Self { group, distances, inputs }
    }

    /// Softmax of the scores, before dropout. `[sequences, heads, queries, keys]`
    fn probabilities(&self, scale: f32) -> FloatTensor<B> {
        let Inputs { q, k, pos_key, pos_query, .. } = &self.inputs;
        let product = |left: &FloatTensor<B>, right: &FloatTensor<B>| {
            B::float_matmul(left.clone(), B::float_transpose(right.clone()))
        };
        let to_position = band::<B>(product(q, pos_key));
        let to_content = B::float_transpose(band::<B>(product(k, pos_query)));
        let scores = B::float_add(B::float_add(product(q, k), to_position), to_content);
        let scores = B::float_mul_scalar(scores, scale.into());
        B::softmax(B::float_add(scores, self.group.hidden_keys.clone()), 3)
    }
}

pub(crate) fn composed<B: KernelBackend>(
    inputs: Inputs<FloatTensor<B>>,
    layout: &Layout,
    options: &DisentangledAttention,
) -> FloatTensor<B> {
    let (device, content) = (inputs.q.device(), options.content());
    let outputs = groups(layout, options.heads).into_iter().map(|range| {
        let padded = Padded::new(Group::<B>::new(range, layout, &content, &device), &inputs, options);
        let p = padded.group.drop(padded.probabilities(options.scale));
        padded.group.unpad(B::float_matmul(p, padded.inputs.v))
    });
    join::<B>(outputs.collect())
}

pub(crate) fn composed_backward<B: KernelBackend>(
    inputs: Inputs<FloatTensor<B>>,
    d_output: FloatTensor<B>,
    layout: &Layout,
    options: &DisentangledAttention,
) -> Inputs<FloatTensor<B>> {
    let (device, content) = (inputs.q.device(), options.content());
    let (mut dq, mut dk, mut dv) = (Vec::new(), Vec::new(), Vec::new());
    let mut tables: Option<[FloatTensor<B>; 2]> = None;
    for range in groups(layout, options.heads) {
        let padded = Padded::new(Group::<B>::new(range, layout, &content, &device), &inputs, options);
        let p = padded.probabilities(options.scale);
        let Padded { group, distances, inputs: Inputs { q, k, v, pos_key, pos_query } } = padded;
        // Padded places hold some other token: as queries they must not reach the gradients of others.
        let d_output = B::float_mul(group.pad_queries(d_output.clone()), group.present.clone());
        dv.push(group.unpad(B::float_matmul(B::float_transpose(group.drop(p.clone())), d_output.clone())));

        let dp = group.drop(B::float_matmul(d_output, B::float_transpose(v)));
        let row_sum = B::float_sum_dim(B::float_mul(dp.clone(), p.clone()), 3);
        let ds = B::float_mul_scalar(B::float_mul(p, B::float_sub(dp, row_sum)), options.scale.into());
        let turned = B::float_transpose(ds.clone());
        let (to_position, to_content) = (unband::<B>(ds.clone()), unband::<B>(turned.clone()));
        let sum = |content: [FloatTensor<B>; 2], position: [FloatTensor<B>; 2]| {
            let ([a, b], [c, d]) = (content, position);
            B::float_add(B::float_matmul(a, b), B::float_matmul(c, d))
        };
        dq.push(group.unpad(sum([ds, k.clone()], [to_position.clone(), pos_key])));
        dk.push(group.unpad(sum([turned, q.clone()], [to_content.clone(), pos_query])));
        let count = 2 * options.positions.span();
        let table = |band: FloatTensor<B>, x: FloatTensor<B>, rows: &[i32]| {
            into_table::<B>(B::float_matmul(B::float_transpose(band), x), rows, count, &device)
        };
        let of_group = [table(to_position, q, &distances.of_keys), table(to_content, k, &distances.of_queries)];
        tables = Some(match (tables, of_group) {
            (None, of_group) => of_group,
            (Some([a, b]), [c, d]) => [B::float_add(a, c), B::float_add(b, d)],
        });
    }
    let [pos_key, pos_query] = tables.expect("a layout has a sequence");
    Inputs { q: join::<B>(dq), k: join::<B>(dk), v: join::<B>(dv), pos_key, pos_query }
}

#[derive(Debug)]
struct DisentangledBackward;

#[derive(Debug, Clone)]
struct Saved {
    /// In the order of [`Inputs`].
    inputs: [NodeId; 5],
    layout: Arc<Layout>,
    options: DisentangledAttention,
}

impl<B: KernelBackend> Backward<B, 5> for DisentangledBackward {
    type State = Saved;

    fn backward(self, ops: Ops<Saved, 5>, gradients: &mut Gradients, checkpointer: &mut Checkpointer) {
        let d_output = gradients.consume::<B>(&ops.node);
        let Saved { inputs, layout, options } = ops.state;
        let [q, k, v, pos_key, pos_query] = inputs.map(|id| checkpointer.retrieve_node_output::<FloatTensor<B>>(id));
        let (dq, dk, dv, d_pos_key, d_pos_query) =
            B::disentangled_attention_backward(q, k, v, pos_key, pos_query, d_output, layout, options);
        for (node, gradient) in ops.parents.into_iter().zip([dq, dk, dv, d_pos_key, d_pos_query]) {
            if let Some(node) = node {
                gradients.register::<B>(node.id, gradient);
            }
        }
    }
}

pub(crate) fn tracked<B: KernelBackend, C: CheckpointStrategy>(
    inputs: Inputs<FloatTensor<Autodiff<B, C>>>,
    layout: Arc<Layout>,
    options: DisentangledAttention,
) -> FloatTensor<Autodiff<B, C>> {
    let Inputs { q, k, v, pos_key, pos_query } = inputs;
    let nodes = [&q, &k, &v, &pos_key, &pos_query].map(|tensor| tensor.node());
    let prepared = DisentangledBackward.prepare::<C>(nodes).compute_bound().stateful();
    let run = |layout, options, [q, k, v, pos_key, pos_query]: [FloatTensor<Autodiff<B, C>>; 5]| {
        B::disentangled_attention(
            q.into_primitive(),
            k.into_primitive(),
            v.into_primitive(),
            pos_key.into_primitive(),
            pos_query.into_primitive(),
            layout,
            options,
        )
    };
    match prepared {
        OpsKind::Tracked(mut prep) => {
            let saved = Saved {
                inputs: [&q, &k, &v, &pos_key, &pos_query].map(|tensor| prep.checkpoint(tensor)),
                layout: layout.clone(),
                options: options.clone(),
            };
            prep.finish(saved, run(layout, options, [q, k, v, pos_key, pos_query]))
        }
        OpsKind::UnTracked(prep) => prep.finish(run(layout, options, [q, k, v, pos_key, pos_query])),
    }
}

/// Disentangled attention of each sequence to itself; no cache of keys. Where `pos_att_type` lacks a term, its table is zeros.
///
/// # Shapes
/// `q`, `k`, `v` and the output: `[tokens, heads * d_head]`, the sequences lying end to end; `pos_key` and `pos_query`, the keys
/// and queries of the relative positions: `[2 * span, heads * d_head]` ([`RelativePositions::span`]). All five get gradients.
///
/// # Panics
/// If a table has another number of rows.
pub fn disentangled_attention(
    q: Tensor<2>,
    k: Tensor<2>,
    v: Tensor<2>,
    pos_key: Tensor<2>,
    pos_query: Tensor<2>,
    layout: &Arc<Layout>,
    options: DisentangledAttention,
) -> Tensor<2> {
    let rows = 2 * options.positions.span();
    assert!([&pos_key, &pos_query].iter().all(|table| table.dims()[0] == rows), "a table has 2 * span rows");
    Tensor::from_dispatch(<Dispatch as KernelBackend>::disentangled_attention(
        q.into_dispatch(),
        k.into_dispatch(),
        v.into_dispatch(),
        pos_key.into_dispatch(),
        pos_query.into_dispatch(),
        layout.clone(),
        options,
    ))
}
