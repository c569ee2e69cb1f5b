//! Disentangled attention without padding, by tiles of queries, as [`super::attention`] does it. Tables are laid out by distance
//! once, so that the terms of a row of scores are a part of a row of products, added as it lies.

use std::ops::Range;

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::backend::ops::FloatTensorOps;
use burn::tensor::{Shape, TensorData};

use super::attention::{TILE, multiply, softmax, through_softmax};
use super::filled::filled;
use super::matrix::{Factor, Matrix};
use super::product::{Start, serial};
use super::{tensor, with_rows};
use crate::disentangled_attention::{Distances, Inputs, composed, composed_backward};
use crate::padded::first_column;
use crate::wide::with_wide_vectors;
use crate::{DisentangledAttention, Layout};

/// Tasks that the sequences are dealt to for each head in the backward pass: a fixed number, so that the gradients of tables are
/// summed in one order. Each task has tables of its own.
const PARTS: usize = 8;

/// One head of all inputs; tables by distance.
#[derive(Clone, Copy)]
struct Head<'a> {
    q: Matrix<'a>,
    k: Matrix<'a>,
    v: Matrix<'a>,
    /// From the farthest query after its key to the farthest before.
    pos_key: Matrix<'a>,
    /// The other way round.
    pos_query: Matrix<'a>,
    /// Tokens of the longest sequence: there are tables for `2 * longest - 1` distances.
    longest: usize,
    index: usize,
}

/// Products and scores of one tile.
#[derive(Default)]
struct Buffers {
    scores: Vec<f32>,
    position: Vec<f32>,
    factors: Vec<f32>,
}

/// Queries of a sequence and some of its keys, counted from its first token.
struct Block {
    queries: Range<usize>,
    keys: Range<usize>,
}

impl Block {
    /// Distances in it.
    fn distances(&self) -> usize {
        self.queries.len() + self.keys.len() - 1
    }

    /// Rows of the tables for its distances: in that of keys the first is of the last query and the first key.
    fn of_keys(&self, longest: usize) -> Range<usize> {
        let first = self.keys.start + longest - self.queries.end;
        first..first + self.distances()
    }

    /// In that of queries the first is of the first query and the last key.
    fn of_queries(&self, longest: usize) -> Range<usize> {
        let first = self.queries.start + longest - self.keys.end;
        first..first + self.distances()
    }
}

/// Tiles of the queries of a sequence.
fn tiles(length: usize) -> impl Iterator<Item = Range<usize>> {
    (0..length).step_by(TILE).map(move |start| start..length.min(start + TILE))
}

impl<'a> Head<'a> {
    fn d_head(&self) -> usize {
        self.q.columns()
    }

    /// Rows of one sequence.
    fn of(&self, tokens: &Range<usize>) -> Self {
        let part = |x: Matrix<'a>| x.part(tokens.clone(), 0..x.columns());
        Self { q: part(self.q), k: part(self.k), v: part(self.v), ..*self }
    }

    /// The probabilities of a tile of a sequence's queries, before dropout.
    fn probabilities(&self, queries: &Range<usize>, scale: f32, buffers: &mut Buffers) {
        let (length, d_head) = (self.k.rows(), self.d_head());
        let q = self.q.part(queries.clone(), 0..d_head);
        let Buffers { scores, position, .. } = buffers;
        scores.resize(queries.len() * length, 0.0);
        serial(Factor::Plain(q), Factor::Transposed(self.k), scale, scores, length, Start::Zero);

        let block = Block { queries: queries.clone(), keys: 0..length };
        let table = self.pos_key.part(block.of_keys(self.longest), 0..d_head);
        let width = block.distances();
        position.resize(queries.len() * width, 0.0);
        serial(Factor::Plain(q), Factor::Transposed(table), scale, position, width, Start::Zero);
        for (row, scores) in scores.chunks_exact_mut(length).enumerate() {
            add(scores, &position[row * width + queries.len() - 1 - row..][..length]);
        }

        // By tiles of keys as well: of all keys most distances would be of no query of the tile.
        for keys in tiles(length) {
            let block = Block { queries: queries.clone(), keys };
            let table = self.pos_query.part(block.of_queries(self.longest), 0..d_head);
            let (keys, width) = (block.keys.clone(), block.distances());
            let k = self.k.part(keys.clone(), 0..d_head);
            position.resize(keys.len() * width, 0.0);
            serial(Factor::Plain(k), Factor::Transposed(table), scale, position, width, Start::Zero);
            for (row, scores) in scores.chunks_exact_mut(length).enumerate() {
                add_diagonal(&mut scores[keys.clone()], &position[row + keys.len() - 1..], width - 1);
            }
        }
        scores.chunks_exact_mut(length).for_each(|row| softmax(row, 0, length));
    }
}

/// Inputs whose rows are contiguous, tables by distance.
struct Prepared {
    inputs: Inputs<FlexTensor>,
    distances: Distances,
    longest: usize,
}

fn prepared(inputs: &Inputs<FlexTensor>, layout: &Layout, options: &DisentangledAttention) -> Prepared {
    let Inputs { q, k, v, pos_key, pos_query } = inputs.clone();
    let lengths = (0..layout.queries().sequences()).map(|sequence| layout.queries().length(sequence));
    let longest = lengths.max().unwrap_or(1);
    let distances = Distances::new(options.positions, longest);
    let rows = |table: FlexTensor, rows: &[i32]| {
        let rows = FlexTensor::from_data(TensorData::new(rows.to_vec(), [rows.len()]));
        <Flex as FloatTensorOps<Flex>>::float_select(table, 0, rows)
    };
    let (pos_key, pos_query) = (rows(pos_key, &distances.of_keys), rows(pos_query, &distances.of_queries));
    let [q, k, v, pos_key, pos_query] = [q, k, v, pos_key, pos_query].map(with_rows);
    Prepared { inputs: Inputs { q, k, v, pos_key, pos_query }, distances, longest }
}

impl Prepared {
    /// `None` where a tensor is not in f32.
    fn heads(&self, heads: usize) -> Option<Vec<Head<'_>>> {
        let Inputs { q, k, v, pos_key, pos_query } = &self.inputs;
        let [q, k, v] = [Matrix::of(q)?, Matrix::of(k)?, Matrix::of(v)?];
        let [pos_key, pos_query] = [Matrix::of(pos_key)?, Matrix::of(pos_query)?];
        let d_head = q.columns() / heads;
        let head = |index: usize| {
            let part = |x| Matrix::part(x, 0..Matrix::rows(x), index * d_head..(index + 1) * d_head);
            let [q, k, v, pos_key, pos_query] = [&q, &k, &v, &pos_key, &pos_query].map(part);
            Head { q, k, v, pos_key, pos_query, longest: self.longest, index }
        };
        Some((0..heads).map(head).collect())
    }
}

/// Multiplies by the factors of dropout, which are left in `factors`.
fn drop(options: &DisentangledAttention, head: usize, tokens: Range<usize>, factors: &mut Vec<f32>, p: &mut [f32]) {
    let Some(mask) = &options.dropout else { return };
    let width = p.len() / tokens.len();
    factors.resize(p.len(), 0.0);
    for (token, row) in tokens.zip(factors.chunks_exact_mut(width)) {
        mask.fill(token, first_column(head), row);
    }
    multiply(p, factors);
}

pub(crate) fn forward(inputs: Inputs<FlexTensor>, layout: &Layout, options: &DisentangledAttention) -> FlexTensor {
    let prepared = prepared(&inputs, layout, options);
    let Some(heads) = prepared.heads(options.heads) else {
        return composed::<Flex>(inputs, layout, options);
    };
    let width = heads.iter().map(Head::d_head).sum::<usize>();
    let tiles: Vec<(Range<usize>, Range<usize>)> = (0..layout.queries().sequences())
        .map(|sequence| layout.queries().range(sequence))
        .flat_map(|tokens| tiles(tokens.len()).map(move |queries| (tokens.clone(), queries)))
        .collect();
    let output = filled(tiles.iter().map(|(_, queries)| queries.len() * width), |index, output| {
        let (tokens, queries) = &tiles[index];
        let mut buffers = Buffers::default();
        for head in &heads {
            let of_sequence = head.of(tokens);
            of_sequence.probabilities(queries, options.scale, &mut buffers);
            let Buffers { scores, factors, .. } = &mut buffers;
            drop(options, head.index, tokens.start + queries.start..tokens.start + queries.end, factors, scores);
            let p = Matrix::new(scores, queries.len(), tokens.len(), tokens.len());
            let output = &mut output[head.index * head.d_head()..];
            serial(Factor::Plain(p), Factor::Plain(of_sequence.v), 1.0, output, width, Start::Zero);
        }
    });
    tensor(output, Shape::new([layout.queries().tokens(), width]))
}

/// What one task makes of one head and some sequences.
struct Gradients<'a> {
    /// Of the tokens of these sequences, `[tokens, d_head]`.
    q: &'a mut [f32],
    k: &'a mut [f32],
    v: &'a mut [f32],
    /// By distance, `[distances, d_head]`.
    pos_key: &'a mut [f32],
    pos_query: &'a mut [f32],
}

impl<'a> Gradients<'a> {
    fn of(values: &'a mut [f32], tokens: usize, distances: usize, d_head: usize) -> Self {
        let (q, rest) = values.split_at_mut(tokens * d_head);
        let (k, rest) = rest.split_at_mut(tokens * d_head);
        let (v, rest) = rest.split_at_mut(tokens * d_head);
        let (pos_key, pos_query) = rest.split_at_mut(distances * d_head);
        Self { q, k, v, pos_key, pos_query }
    }
}

pub(crate) fn backward(
    inputs: Inputs<FlexTensor>,
    d_output: FlexTensor,
    layout: &Layout,
    options: &DisentangledAttention,
) -> Inputs<FlexTensor> {
    let prepared = prepared(&inputs, layout, options);
    let d_output = with_rows(d_output);
    let (Some(heads), Some(upstream)) = (prepared.heads(options.heads), Matrix::of(&d_output)) else {
        return composed_backward::<Flex>(inputs, d_output, layout, options);
    };
    let (sequences, distances) = (layout.queries().sequences(), 2 * prepared.longest - 1);
    let (d_head, width) = (heads[0].d_head(), upstream.columns());
    // Sequences of each part, and its tokens.
    let size = sequences.div_ceil(PARTS);
    let parts: Vec<(Range<usize>, Range<usize>)> = (0..sequences)
        .step_by(size)
        .map(|first| first..sequences.min(first + size))
        .map(|part| (part.clone(), layout.queries().range(part.start).start..layout.queries().range(part.end - 1).end))
        .collect();
    let of_task = |tokens: usize| (3 * tokens + 2 * distances) * d_head;
    let tasks = heads.iter().flat_map(|_| parts.iter().map(|(_, tokens)| of_task(tokens.len())));
    let values = filled(tasks, |task, values| {
        let (head, (sequences, tokens)) = (&heads[task / parts.len()], &parts[task % parts.len()]);
        let upstream = upstream.part(0..upstream.rows(), head.index * d_head..(head.index + 1) * d_head);
        let mut gradients = Gradients::of(values, tokens.len(), distances, d_head);
        for sequence in sequences.clone() {
            differentiate(head, upstream, layout.queries().range(sequence), tokens.start, options, &mut gradients);
        }
    });

    // Where the values of a head and a part begin.
    let of_head: usize = parts.iter().map(|(_, tokens)| of_task(tokens.len())).sum();
    let start = |head: usize, part: usize| {
        head * of_head + parts[..part].iter().map(|(_, tokens)| of_task(tokens.len())).sum::<usize>()
    };
    let of_tokens = |which: usize| {
        let blocks: Vec<(usize, Range<usize>)> = parts
            .iter()
            .enumerate()
            .flat_map(|(part, (_, tokens))| tiles(tokens.len()).map(move |rows| (part, rows)))
            .collect();
        let values = filled(blocks.iter().map(|(_, rows)| rows.len() * width), |index, block| {
            let (part, rows) = &blocks[index];
            let before = which * parts[*part].1.len() * d_head;
            for (row, to) in rows.clone().zip(block.chunks_exact_mut(width)) {
                for (head, to) in to.chunks_exact_mut(d_head).enumerate() {
                    to.copy_from_slice(&values[start(head, *part) + before + row * d_head..][..d_head]);
                }
            }
        });
        tensor(values, Shape::new([layout.queries().tokens(), width]))
    };
    let table = |which: usize, rows: &[i32]| {
        let count = 2 * options.positions.span();
        let values = filled((0..count).map(|_| width), |place, to| {
            for distance in (0..distances).filter(|distance| rows[*distance] as usize == place) {
                for (head, to) in to.chunks_exact_mut(d_head).enumerate() {
                    for (part, (_, tokens)) in parts.iter().enumerate() {
                        let of_tables = start(head, part) + 3 * tokens.len() * d_head;
                        add(to, &values[of_tables + (which * distances + distance) * d_head..][..d_head]);
                    }
                }
            }
        });
        tensor(values, Shape::new([count, width]))
    };
    Inputs {
        q: of_tokens(0),
        k: of_tokens(1),
        v: of_tokens(2),
        pos_key: table(0, &prepared.distances.of_keys),
        pos_query: table(1, &prepared.distances.of_queries),
    }
}

/// Of one head and one sequence, `first` being the first token of the task. Gradients of queries, keys and values begin as zeros,
/// those of the tables are added to.
fn differentiate(
    head: &Head<'_>,
    upstream: Matrix<'_>,
    tokens: Range<usize>,
    first: usize,
    options: &DisentangledAttention,
    gradients: &mut Gradients<'_>,
) {
    let (length, d_head, longest) = (tokens.len(), head.d_head(), head.longest);
    let of_sequence = (tokens.start - first) * d_head..(tokens.end - first) * d_head;
    let head = head.of(&tokens);
    let [dq, dk, dv] =
        [&mut *gradients.q, &mut *gradients.k, &mut *gradients.v].map(|all| &mut all[of_sequence.clone()]);
    let mut buffers = Buffers::default();
    let (mut dropped, mut ds, mut band) = (Vec::new(), Vec::new(), Vec::new());
    for queries in tiles(length) {
        head.probabilities(&queries, options.scale, &mut buffers);
        let Buffers { scores: p, factors, .. } = &mut buffers;
        let rows = tokens.start + queries.start..tokens.start + queries.end;
        let upstream = upstream.part(rows.clone(), 0..d_head);
        let q = head.q.part(queries.clone(), 0..d_head);

        dropped.clone_from(p);
        drop(options, head.index, rows, factors, &mut dropped);
        let matrix = Matrix::new(&dropped, queries.len(), length, length);
        serial(Factor::Transposed(matrix), Factor::Plain(upstream), 1.0, dv, d_head, Start::Output);

        ds.resize(queries.len() * length, 0.0);
        serial(Factor::Plain(upstream), Factor::Transposed(head.v), 1.0, &mut ds, length, Start::Zero);
        if options.dropout.is_some() {
            multiply(&mut ds, factors);
        }
        for (ds, p) in ds.chunks_exact_mut(length).zip(p.chunks_exact(length)) {
            through_softmax(ds, p, options.scale);
        }
        let matrix = Matrix::new(&ds, queries.len(), length, length);
        let dq = &mut dq[queries.start * d_head..queries.end * d_head];
        serial(Factor::Plain(matrix), Factor::Plain(head.k), 1.0, dq, d_head, Start::Zero);
        serial(Factor::Transposed(matrix), Factor::Plain(q), 1.0, dk, d_head, Start::Output);

        let block = Block { queries: queries.clone(), keys: 0..length };
        let (rows, width) = (block.of_keys(longest), block.distances());
        band.clear();
        band.resize(queries.len() * width, 0.0);
        for (row, ds) in ds.chunks_exact(length).enumerate() {
            band[row * width + queries.len() - 1 - row..][..length].copy_from_slice(ds);
        }
        let matrix = Matrix::new(&band, queries.len(), width, width);
        let table = head.pos_key.part(rows.clone(), 0..d_head);
        serial(Factor::Plain(matrix), Factor::Plain(table), 1.0, dq, d_head, Start::Output);
        let d_table = &mut gradients.pos_key[rows.start * d_head..rows.end * d_head];
        serial(Factor::Transposed(matrix), Factor::Plain(q), 1.0, d_table, d_head, Start::Output);

        for keys in tiles(length) {
            let block = Block { queries: queries.clone(), keys: keys.clone() };
            let (rows, width) = (block.of_queries(longest), block.distances());
            band.clear();
            band.resize(keys.len() * width, 0.0);
            for (row, ds) in ds.chunks_exact(length).enumerate() {
                copy_diagonal(&ds[keys.clone()], &mut band[row + keys.len() - 1..], width - 1);
            }
            let matrix = Matrix::new(&band, keys.len(), width, width);
            let table = head.pos_query.part(rows.clone(), 0..d_head);
            let dk = &mut dk[keys.start * d_head..keys.end * d_head];
            serial(Factor::Plain(matrix), Factor::Plain(table), 1.0, dk, d_head, Start::Output);
            let d_table = &mut gradients.pos_query[rows.start * d_head..rows.end * d_head];
            let k = head.k.part(keys, 0..d_head);
            serial(Factor::Transposed(matrix), Factor::Plain(k), 1.0, d_table, d_head, Start::Output);
        }
    }
}

with_wide_vectors! {
    fn add(values: &mut [f32], others: &[f32]) {
        for (value, other) in values.iter_mut().zip(others) {
            *value += other;
        }
    }
}

/// Adds every `step`th value.
fn add_diagonal(values: &mut [f32], others: &[f32], step: usize) {
    if step == 0 {
        // One query and one key.
        values[0] += others[0];
        return;
    }
    for (value, other) in values.iter_mut().zip(others.iter().step_by(step)) {
        *value += other;
    }
}

/// The reverse.
fn copy_diagonal(values: &[f32], others: &mut [f32], step: usize) {
    if step == 0 {
        others[0] = values[0];
        return;
    }
    for (value, other) in values.iter().zip(others.iter_mut().step_by(step)) {
        *other = *value;
    }
}
