//! Attention without padding, by tiles of queries: a tile's scores stay in the cache of the thread that works on it, and
//! keys that none of its queries sees are never looked at. Scores are computed again in the backward pass. What a query gets depends on
//! no other query: not on those of its tile, nor on where a prompt that is read in pieces was cut.

use std::ops::Range;

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::Shape;

use super::filled::filled;
use super::matrix::{Factor, Matrix};
use super::product::{DEPTH, Start, serial};
use super::vector::{LANES, exp_of_negative, fold, largest, soft_cap_slope, soft_capped};
use super::{tensor, with_rows};
use crate::attention::{composed, composed_backward, composed_joined_backward};
use crate::padded::first_column;
use crate::wide::with_wide_vectors;
use crate::{Attention, Layout};

/// Queries in a tile. Fewer would leave products too thin, more would compute scores that a causal mask hides.
pub(super) const TILE: usize = 64;

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
                [queries.start, queries.end - 1].map(|query| self.layout.visible(sequence, query, self.options.mask));
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

    /// The scores of a tile, scaled and capped, `[queries, keys]`.
    fn scores(&self, tile: &Tile, head: usize, scores: &mut [f32]) {
        let q = self.q.part(self.query_rows(tile), self.columns(head));
        self.scores_of(q, tile, head / self.shared(), scores);
    }

    /// The same of any rows that have the width of a head.
    fn scores_of(&self, q: Matrix<'_>, tile: &Tile, kv_head: usize, scores: &mut [f32]) {
        let width = tile.keys.len();
        let k = self.k.part(self.key_rows(tile), self.columns(kv_head));
        serial(Factor::Plain(q), Factor::Transposed(k), self.options.scale, scores, width, Start::Zero);
        if let Some(cap) = self.options.soft_cap {
            soft_cap(scores, cap);
        }
    }

    /// From the scores of a tile, in place, to the probabilities before dropout.
    fn softmax(&self, tile: &Tile, scores: &mut [f32]) {
        let width = tile.keys.len();
        for (query, row) in tile.queries.clone().zip(scores.chunks_exact_mut(width)) {
            let visible = self.layout.visible(tile.sequence, query, self.options.mask);
            softmax(row, visible.start - tile.keys.start, visible.end - tile.keys.start);
        }
    }

    /// The output of a tile's only query for the heads that share a head of keys: these are as many rows as any, and the keys are laid
    /// out once for all of them.
    fn of_one_query(&self, tile: &Tile, kv_head: usize, output: &mut [f32]) {
        let (d_head, shared, width) = (self.d_head(), self.shared(), tile.keys.len());
        let columns = kv_head * shared * d_head..(kv_head + 1) * shared * d_head;
        let q = &self.q.row(self.query_rows(tile).start)[columns];
        let mut scores = vec![0.0; shared * width];
        self.scores_of(Matrix::new(q, shared, d_head, d_head), tile, kv_head, &mut scores);
        let visible = self.layout.visible(tile.sequence, tile.queries.start, self.options.mask);
        for row in scores.chunks_exact_mut(width) {
            softmax(row, visible.start - tile.keys.start, visible.end - tile.keys.start);
        }
        self.mix(tile, kv_head, Matrix::new(&scores, shared, width, width), output, d_head);
    }

    /// The output of a tile for all heads.
    fn of_queries(&self, tile: &Tile, output: &mut [f32]) {
        let (queries, keys, width) = (tile.queries.len(), tile.keys.len(), self.q.columns());
        let (mut scores, mut factors) = (vec![0.0; queries * keys], Vec::new());
        for head in 0..self.options.heads {
            self.scores(tile, head, &mut scores);
            self.softmax(tile, &mut scores);
            self.drop(tile, head, &mut factors, &mut scores);
            let output = &mut output[self.columns(head).start..];
            self.mix(tile, head / self.shared(), Matrix::new(&scores, queries, keys, keys), output, width);
        }
    }

    /// The sums of the values by these probabilities, in rows `stride` apart. Keys are added up in stretches that begin at the same
    /// keys in every tile: those before the first of this tile have no share in the sums.
    fn mix(&self, tile: &Tile, kv_head: usize, probabilities: Matrix<'_>, output: &mut [f32], stride: usize) {
        let v = self.v.part(self.layout.keys()[tile.sequence].clone(), self.columns(kv_head));
        let mut start = Start::Zero;
        let mut first = tile.keys.start;
        while first < tile.keys.end {
            let keys = first..tile.keys.end.min((first / DEPTH + 1) * DEPTH);
            let columns = keys.start - tile.keys.start..keys.end - tile.keys.start;
            let p = probabilities.part(0..probabilities.rows(), columns);
            let v = v.part(keys.clone(), 0..v.columns());
            serial(Factor::Plain(p), Factor::Plain(v), 1.0, output, stride, start);
            (start, first) = (Start::Output, keys.end);
        }
    }

    /// Multiplies by the factors of dropout, which are left in `factors`.
    fn drop(&self, tile: &Tile, head: usize, factors: &mut Vec<f32>, probabilities: &mut [f32]) {
        let Some(mask) = &self.options.dropout else { return };
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
    let tiles: Vec<Tile> = (0..layout.queries().sequences()).flat_map(|sequence| heads.tiles(sequence)).collect();
    // A tile, and of its only query one head of keys: the heads of a single text are all the threads there are tasks for.
    let tasks: Vec<(&Tile, Option<usize>)> = tiles
        .iter()
        .flat_map(|tile| match tile.queries.len() == 1 && options.dropout.is_none() {
            true => (0..options.kv_heads).map(|kv_head| (tile, Some(kv_head))).collect(),
            false => vec![(tile, None)],
        })
        .collect();
    let length = |(tile, kv_head): &(&Tile, Option<usize>)| match kv_head {
        Some(_) => width / options.kv_heads,
        None => tile.queries.len() * width,
    };
    let output = filled(tasks.iter().map(length), |index, output| match tasks[index] {
        (tile, Some(kv_head)) => heads.of_one_query(tile, kv_head, output),
        (tile, None) => heads.of_queries(tile, output),
    });
    tensor(output, q.layout().shape().clone())
}

/// Of the gradients of one sequence and the heads that share one head of keys, those of the queries, `[tokens, shared *
/// d_head]`, of the keys or of the values, `[tokens, d_head]`.
#[derive(Clone, Copy)]
enum Part {
    Queries,
    Keys,
    Values,
}

impl Heads<'_> {
    /// For each sequence and each head of keys the three parts, one behind the other.
    fn gradients(&self, upstream: Matrix<'_>) -> Vec<f32> {
        let (sequences, kv_heads) = (self.layout.queries().sequences(), self.options.kv_heads);
        let lengths = (0..sequences * kv_heads).map(|task| self.layout.queries().length(task / kv_heads));
        // Each task sums in an order of its own, whichever thread it runs on.
        filled(lengths.map(|length| length * self.d_gradients()), |task, gradients| {
            differentiate(self, upstream, task / kv_heads, task % kv_heads, gradients);
        })
    }

    /// Values for a token in all parts.
    fn d_gradients(&self) -> usize {
        (self.shared() + 2) * self.d_head()
    }

    /// A tensor that has in each row all heads of the first part, then those of the next.
    fn assembled(&self, gradients: &[f32], parts: &[Part]) -> FlexTensor {
        let (kv_heads, d_head, d_queries) = (self.options.kv_heads, self.d_head(), self.shared() * self.d_head());
        // Where a part of so many tokens begins, and its columns.
        let place = |part: &Part, length: usize| match part {
            Part::Queries => (0, d_queries),
            Part::Keys => (length * d_queries, d_head),
            Part::Values => (length * (d_queries + d_head), d_head),
        };
        let width = kv_heads * parts.iter().map(|part| place(part, 0).1).sum::<usize>();
        let blocks: Vec<(Range<usize>, Range<usize>)> = (0..self.layout.queries().sequences())
            .flat_map(|sequence| {
                let tokens = self.layout.queries().range(sequence);
                let length = tokens.len();
                (0..length).step_by(TILE).map(move |first| (tokens.clone(), first..length.min(first + TILE)))
            })
            .collect();
        let values = filled(blocks.iter().map(|(_, rows)| rows.len() * width), |index, block| {
            let (tokens, rows) = &blocks[index];
            let of_sequence = &gradients[tokens.start * kv_heads * self.d_gradients()..];
            for (row, mut rest) in rows.clone().zip(block.chunks_exact_mut(width)) {
                for part in parts {
                    let (start, columns) = place(part, tokens.len());
                    let of_heads = of_sequence.chunks_exact(tokens.len() * self.d_gradients()).take(kv_heads);
                    for of_head in of_heads {
                        let (to, others) = rest.split_at_mut(columns);
                        to.copy_from_slice(&of_head[start + row * columns..][..columns]);
                        rest = others;
                    }
                }
            }
        });
        tensor(values, Shape::new([self.q.rows(), width]))
    }
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
    let gradients = heads.gradients(upstream);
    let assemble = |part| heads.assembled(&gradients, &[part]);
    (assemble(Part::Queries), assemble(Part::Keys), assemble(Part::Values))
}

/// As [`backward`], where queries, keys and values are columns of one tensor, and so are their gradients.
pub(crate) fn joined_backward(
    joined: FlexTensor,
    d_output: FlexTensor,
    layout: &Layout,
    options: &Attention,
) -> FlexTensor {
    let [joined, d_output] = [joined, d_output].map(with_rows);
    let (Some(of_joined), Some(upstream)) = (Matrix::of(&joined), Matrix::of(&d_output)) else {
        return composed_joined_backward::<Flex>(joined, d_output, layout, options);
    };
    let [q, k, v] = options.columns(of_joined.columns()).map(|columns| of_joined.part(0..of_joined.rows(), columns));
    let heads = Heads { q, k, v, layout, options };
    heads.assembled(&heads.gradients(upstream), &[Part::Queries, Part::Keys, Part::Values])
}

/// From zeros, all three parts.
fn differentiate(heads: &Heads<'_>, upstream: Matrix<'_>, sequence: usize, kv_head: usize, gradients: &mut [f32]) {
    let (d_head, shared) = (heads.d_head(), heads.shared());
    let length = heads.layout.queries().length(sequence);
    let wide = shared * d_head;
    let (dq, of_keys_and_values) = gradients.split_at_mut(length * wide);
    let (dk, dv) = of_keys_and_values.split_at_mut(length * d_head);
    let (mut p, mut dropped, mut ds) = (Vec::new(), Vec::new(), Vec::new());
    let (mut factors, mut capped) = (Vec::new(), Vec::new());
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

            heads.scores(&tile, head, &mut p);
            if heads.options.soft_cap.is_some() {
                capped.clone_from(&p);
            }
            heads.softmax(&tile, &mut p);
            dropped.clone_from(&p);
            heads.drop(&tile, head, &mut factors, &mut dropped);
            let dv = &mut dv[of_keys.clone()];
            serial(Factor::Transposed(tile_matrix(&dropped)), Factor::Plain(upstream), 1.0, dv, d_head, Start::Output);

            serial(Factor::Plain(upstream), Factor::Transposed(v), 1.0, &mut ds, keys, Start::Zero);
            if heads.options.dropout.is_some() {
                multiply(&mut ds, &factors);
            }
            for (ds, p) in ds.chunks_exact_mut(keys).zip(p.chunks_exact(keys)) {
                through_softmax(ds, p, heads.options.scale);
            }
            if let Some(cap) = heads.options.soft_cap {
                through_soft_cap(&mut ds, &capped, cap);
            }
            let ds = tile_matrix(&ds);
            let dq = &mut dq[tile.queries.start * wide + member * d_head..];
            serial(Factor::Plain(ds), Factor::Plain(k), 1.0, dq, wide, Start::Zero);
            serial(Factor::Transposed(ds), Factor::Plain(q), 1.0, &mut dk[of_keys.clone()], d_head, Start::Output);
        }
    }
}

with_wide_vectors! {
    /// Softmax of the scores from `start` to `end`; the others get no probability.
    pub(super) fn softmax(row: &mut [f32], start: usize, end: usize) {
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
    pub(super) fn through_softmax(d_row: &mut [f32], p: &[f32], scale: f32) {
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
    fn soft_cap(scores: &mut [f32], cap: f32) {
        for score in scores.iter_mut() {
            *score = soft_capped(*score, cap);
        }
    }
}

with_wide_vectors! {
    /// From the gradient of capped scores, in place, to that of the scores.
    fn through_soft_cap(gradient: &mut [f32], capped: &[f32], cap: f32) {
        for (gradient, capped) in gradient.iter_mut().zip(capped) {
            *gradient *= soft_cap_slope(*capped, cap);
        }
    }
}

with_wide_vectors! {
    pub(super) fn multiply(values: &mut [f32], factors: &[f32]) {
        for (value, factor) in values.iter_mut().zip(factors) {
            *value *= factor;
        }
    }
}
