//! Attention without padding, by tiles of queries: a tile's scores stay in the cache of the thread that works on it, and
//! keys that none of its queries sees are never looked at. Scores are computed again in the backward pass.

use std::ops::Range;

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::Shape;
use rayon::prelude::*;

use super::matrix::{Factor, Matrix};
use super::product::{Start, serial};
use super::vector::{LANES, exp_of_negative, fold, largest};
use super::{tensor, with_rows};
use crate::attention::{composed, composed_backward, first_column};
use crate::wide::with_wide_vectors;
use crate::{Attention, Layout};

/// Queries in a tile. Fewer would leave products too thin, more would compute scores that a causal mask hides.
const TILE: usize = 64;

/// Queries, keys and values of the heads that share keys, and who sees what.
struct Heads<'a> {
    q: Matrix<'a>,
    k: Matrix<'a>,
    v: Matrix<'a>,
    layout: &'a Layout,
    options: &'a Attention,
}

/// Queries of one sequence that follow one another, and the keys that any of them sees.
struct Tile {
    sequence: usize,
    /// Counted from the first of the sequence.
    queries: Range<usize>,
    keys: Range<usize>,
}

impl Heads<'_> {
    fn d_head(&self) -> usize {
        self.q.columns() / self.options.heads
    }

    /// Heads of queries for each head of keys.
    fn shared(&self) -> usize {
        self.options.heads / self.options.kv_heads
    }

    fn columns(&self, head: usize) -> Range<usize> {
        head * self.d_head()..(head + 1) * self.d_head()
    }

    fn tiles(&self, sequence: usize) -> impl Iterator<Item = Tile> + '_ {
        let length = self.layout.queries().length(sequence);
        (0..length.div_ceil(TILE)).map(move |tile| {
            let queries = tile * TILE..length.min((tile + 1) * TILE);
            let [first, last] =
                [queries.start, queries.end - 1].map(|query| self.layout.visible(sequence, query, self.options.reach));
            Tile { sequence, queries, keys: first.start..last.end }
        })
    }

    /// Rows of the queries in `q`.
    fn query_rows(&self, tile: &Tile) -> Range<usize> {
        let start = self.layout.queries().range(tile.sequence).start;
        start + tile.queries.start..start + tile.queries.end
    }

    /// Rows of the keys in `k` and `v`.
    fn key_rows(&self, tile: &Tile) -> Range<usize> {
        let start = self.layout.keys()[tile.sequence].start;
        start + tile.keys.start..start + tile.keys.end
    }

    /// The probabilities of a tile before dropout, `[queries, keys]`.
    fn probabilities(&self, tile: &Tile, head: usize, scores: &mut [f32]) {
        let width = tile.keys.len();
        let q = self.q.part(self.query_rows(tile), self.columns(head));
        let k = self.k.part(self.key_rows(tile), self.columns(head / self.shared()));
        serial(Factor::Plain(q), Factor::Transposed(k), self.options.scale, scores, width, Start::Zero);
        for (query, row) in tile.queries.clone().zip(scores.chunks_exact_mut(width)) {
            let visible = self.layout.visible(tile.sequence, query, self.options.reach);
            softmax(row, visible.start - tile.keys.start, visible.end - tile.keys.start);
        }
    }

    /// Multiplies by the factors of dropout, which are left in `factors`.
    fn drop(&self, tile: &Tile, head: usize, factors: &mut Vec<f32>, probabilities: &mut [f32]) {
        let Some(mask) = &self.options.mask else { return };
        let width = tile.keys.len();
        factors.resize(probabilities.len(), 0.0);
        for (token, row) in self.query_rows(tile).zip(factors.chunks_exact_mut(width)) {
            mask.fill(token, first_column(head) + tile.keys.start as u32, row);
        }
        multiply(probabilities, factors);
    }
}

pub(crate) fn forward(q: FlexTensor, k: FlexTensor, v: FlexTensor, layout: &Layout, options: &Attention) -> FlexTensor {
    let [q, k, v] = [q, k, v].map(with_rows);
    let (Some(of_q), Some(of_k), Some(of_v)) = (Matrix::of(&q), Matrix::of(&k), Matrix::of(&v)) else {
        return composed::<Flex>(q, k, v, layout, options);
    };
    let heads = Heads { q: of_q, k: of_k, v: of_v, layout, options };
    let width = of_q.columns();
    let mut output = vec![0.0; of_q.rows() * width];
    let mut rest = output.as_mut_slice();
    let mut tasks = Vec::new();
    for sequence in 0..layout.queries().sequences() {
        for tile in heads.tiles(sequence) {
            let (rows, others) = rest.split_at_mut(tile.queries.len() * width);
            tasks.push((tile, rows));
            rest = others;
        }
    }
    tasks.into_par_iter().for_each(|(tile, output)| {
        let mut scores = vec![0.0; tile.queries.len() * tile.keys.len()];
        let mut factors = Vec::new();
        for head in 0..options.heads {
            heads.probabilities(&tile, head, &mut scores);
            heads.drop(&tile, head, &mut factors, &mut scores);
            let p = Matrix::new(&scores, tile.queries.len(), tile.keys.len(), tile.keys.len());
            let v = heads.v.part(heads.key_rows(&tile), heads.columns(head / heads.shared()));
            let output = &mut output[heads.columns(head).start..];
            serial(Factor::Plain(p), Factor::Plain(v), 1.0, output, width, Start::Zero);
        }
    });
    tensor(output, q.layout().shape().clone())
}

/// The gradients of one sequence and the heads that share one head of keys: `[tokens, shared * d_head]` of the queries,
/// `[tokens, d_head]` of keys and values.
struct Gradients {
    dq: Vec<f32>,
    dk: Vec<f32>,
    dv: Vec<f32>,
}

pub(crate) fn backward(
    q: FlexTensor,
    k: FlexTensor,
    v: FlexTensor,
    d_output: FlexTensor,
    layout: &Layout,
    options: &Attention,
) -> (FlexTensor, FlexTensor, FlexTensor) {
    let [q, k, v, d_output] = [q, k, v, d_output].map(with_rows);
    let matrices = (Matrix::of(&q), Matrix::of(&k), Matrix::of(&v), Matrix::of(&d_output));
    let (Some(of_q), Some(of_k), Some(of_v), Some(upstream)) = matrices else {
        return composed_backward::<Flex>(q, k, v, d_output, layout, options);
    };
    let heads = Heads { q: of_q, k: of_k, v: of_v, layout, options };
    let (sequences, kv_heads) = (layout.queries().sequences(), options.kv_heads);
    // Each task sums in an order of its own, whichever thread it runs on.
    let gradients: Vec<Gradients> = (0..sequences * kv_heads)
        .into_par_iter()
        .map(|task| differentiate(&heads, upstream, task / kv_heads, task % kv_heads))
        .collect();

    let d_head = heads.d_head();
    let assemble = |part: fn(&Gradients) -> &[f32], d_part: usize| {
        let width = kv_heads * d_part;
        let mut whole = vec![0.0; of_q.rows() * width];
        for (sequence, of_sequence) in gradients.chunks_exact(kv_heads).enumerate() {
            let rows = layout.queries().range(sequence);
            let whole = &mut whole[rows.start * width..rows.end * width];
            whole.par_chunks_exact_mut(width).enumerate().with_min_len(TILE).for_each(|(row, whole)| {
                for (whole, of_head) in whole.chunks_exact_mut(d_part).zip(of_sequence) {
                    whole.copy_from_slice(&part(of_head)[row * d_part..][..d_part]);
                }
            });
        }
        tensor(whole, Shape::new([of_q.rows(), width]))
    };
    (assemble(|of| &of.dq, d_head * heads.shared()), assemble(|of| &of.dk, d_head), assemble(|of| &of.dv, d_head))
}

fn differentiate(heads: &Heads<'_>, upstream: Matrix<'_>, sequence: usize, kv_head: usize) -> Gradients {
    let (d_head, shared) = (heads.d_head(), heads.shared());
    let length = heads.layout.queries().length(sequence);
    let wide = shared * d_head;
    let (mut dq, mut dk, mut dv) = (vec![0.0; length * wide], vec![0.0; length * d_head], vec![0.0; length * d_head]);
    let (mut p, mut dropped, mut ds, mut factors) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for tile in heads.tiles(sequence) {
        let (queries, keys) = (tile.queries.len(), tile.keys.len());
        [&mut p, &mut ds].into_iter().for_each(|buffer| buffer.resize(queries * keys, 0.0));
        let key_rows = heads.key_rows(&tile);
        let k = heads.k.part(key_rows.clone(), heads.columns(kv_head));
        let v = heads.v.part(key_rows, heads.columns(kv_head));
        let of_keys = tile.keys.start * d_head..;
        for member in 0..shared {
            let head = kv_head * shared + member;
            let upstream = upstream.part(heads.query_rows(&tile), heads.columns(head));
            let q = heads.q.part(heads.query_rows(&tile), heads.columns(head));
            let tile_matrix = |values| Matrix::new(values, queries, keys, keys);

            heads.probabilities(&tile, head, &mut p);
            dropped.clone_from(&p);
            heads.drop(&tile, head, &mut factors, &mut dropped);
            let dv = &mut dv[of_keys.clone()];
            serial(Factor::Transposed(tile_matrix(&dropped)), Factor::Plain(upstream), 1.0, dv, d_head, Start::Output);

            serial(Factor::Plain(upstream), Factor::Transposed(v), 1.0, &mut ds, keys, Start::Zero);
            if heads.options.mask.is_some() {
                multiply(&mut ds, &factors);
            }
            for (ds, p) in ds.chunks_exact_mut(keys).zip(p.chunks_exact(keys)) {
                through_softmax(ds, p, heads.options.scale);
            }
            let ds = tile_matrix(&ds);
            let dq = &mut dq[tile.queries.start * wide + member * d_head..];
            serial(Factor::Plain(ds), Factor::Plain(k), 1.0, dq, wide, Start::Zero);
            serial(Factor::Transposed(ds), Factor::Plain(q), 1.0, &mut dk[of_keys.clone()], d_head, Start::Output);
        }
    }
    Gradients { dq, dk, dv }
}

with_wide_vectors! {
    /// Softmax of the scores from `start` to `end`; the others get no probability.
    fn softmax(row: &mut [f32], start: usize, end: usize) {
        row[..start].fill(0.0);
        row[end..].fill(0.0);
        let row = &mut row[start..end];
        let largest = largest(row);
        for value in row.iter_mut() {
            *value = exp_of_negative(*value - largest);
        }
        let inverse = 1.0 / fold(row, 0.0, |sum, value| sum + value).iter().sum::<f32>();
        for value in row.iter_mut() {
            *value *= inverse;
        }
    }
}

with_wide_vectors! {
    /// From the gradient of probabilities, in place, to that of the scores before their factor.
    fn through_softmax(d_row: &mut [f32], p: &[f32], scale: f32) {
        let mut lanes = [0.0_f32; LANES];
        let chunks = d_row.chunks_exact(LANES).zip(p.chunks_exact(LANES));
        for (d, p) in chunks {
            for ((lane, d), p) in lanes.iter_mut().zip(d).zip(p) {
                *lane += d * p;
            }
        }
        let whole = d_row.len() / LANES * LANES;
        for ((lane, d), p) in lanes.iter_mut().zip(&d_row[whole..]).zip(&p[whole..]) {
            *lane += d * p;
        }
        let along: f32 = lanes.iter().sum();
        for (d, p) in d_row.iter_mut().zip(p) {
            *d = scale * p * (*d - along);
        }
    }
}

with_wide_vectors! {
    fn multiply(values: &mut [f32], factors: &[f32]) {
        for (value, factor) in values.iter_mut().zip(factors) {
            *value *= factor;
        }
    }
}
