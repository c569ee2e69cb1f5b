//! Ragged sequences padded within attention, where it is composed of burn's operations: in groups of sequences that follow one
//! another, so that a few long sequences do not widen all the others and the scores of a large batch never exist at once.

use std::ops::Range;

use burn::backend::Backend;
use burn::backend::TensorMetadata;
use burn::backend::tensor::{Device, FloatTensor, IntTensor};
use burn::tensor::{Shape, TensorData};
use rayon::prelude::*;

use crate::soft_cap::soft_capped;
use crate::{Attention, AttentionMask, DropoutMask, Layout};

/// Scores of one group are at most this many, 64 MiB in f32.
const GROUP_SCORES: usize = 1 << 24;

/// A score that leaves no probability. Not minus infinity: a row of nothing else would become NaN.
const HIDDEN: f32 = -1.0e9;

/// Consecutive sequences padded to the longest of them.
pub(crate) struct Group<B: Backend> {
    sequences: usize,
    /// Queries and keys of the longest sequence.
    longest: [usize; 2],
    heads: usize,
    kv_heads: usize,
    /// For each padded place of a query the token at it, some token where there is none.
    /// `[sequences * longest queries]`
    query_places: IntTensor<B>,
    /// The same of keys.
    key_places: IntTensor<B>,
    /// For each query its padded place. `[queries of the group]`
    queries: IntTensor<B>,
    /// Added to the scores: 0 for a key that is seen, [`HIDDEN`] otherwise. `[sequences, 1, 1 or queries, keys]`
    pub(crate) hidden_keys: FloatTensor<B>,
    /// 1 for a query that is there, 0 otherwise. `[sequences, 1, longest, 1]`
    pub(crate) present: FloatTensor<B>,
    /// Factors of the probabilities, `[sequences, heads, queries, keys]`
    dropout: Option<FloatTensor<B>>,
}

impl<B: Backend> Group<B> {
    pub(crate) fn new(range: Range<usize>, layout: &Layout, options: &Attention, device: &Device<B>) -> Self {
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

    /// Queries of the longest sequence.
    pub(crate) fn longest(&self) -> usize {
        self.longest[0]
    }

    /// `[tokens, heads * d_head]` to `[sequences, heads, queries, d_head]`
    pub(crate) fn pad_queries(&self, x: FloatTensor<B>) -> FloatTensor<B> {
        self.pad(x, &self.query_places, [self.longest[0], self.heads])
    }

    /// `[keys, kv_heads * d_head]` to `[sequences, kv_heads, keys, d_head]`
    pub(crate) fn pad_keys(&self, x: FloatTensor<B>) -> FloatTensor<B> {
        self.pad(x, &self.key_places, [self.longest[1], self.kv_heads])
    }

    fn pad(&self, x: FloatTensor<B>, places: &IntTensor<B>, [longest, heads]: [usize; 2]) -> FloatTensor<B> {
        let d_head = x.shape()[1] / heads;
        let padded = B::float_select(x, 0, places.clone());
        B::float_swap_dims(B::float_reshape(padded, Shape::new([self.sequences, longest, heads, d_head])), 1, 2)
    }

    /// The reverse of either, for the tokens of the group: in training queries and keys are the same tokens.
    pub(crate) fn unpad(&self, x: FloatTensor<B>) -> FloatTensor<B> {
        let [heads, longest, d_head] = [1, 2, 3].map(|dim| x.shape()[dim]);
        let flat = Shape::new([self.sequences * longest, heads * d_head]);
        B::float_select(B::float_reshape(B::float_swap_dims(x, 1, 2), flat), 0, self.queries.clone())
    }

    /// `[sequences, heads, queries, columns]` with the heads that share keys as one, beneath each other.
    pub(crate) fn grouped(&self, x: FloatTensor<B>) -> FloatTensor<B> {
        let (rows, columns) = (self.heads / self.kv_heads * self.longest[0], x.shape()[3]);
        B::float_reshape(x, Shape::new([self.sequences, self.kv_heads, rows, columns]))
    }

    /// The reverse.
    pub(crate) fn apart(&self, x: FloatTensor<B>) -> FloatTensor<B> {
        let columns = x.shape()[3];
        B::float_reshape(x, Shape::new([self.sequences, self.heads, self.longest[0], columns]))
    }

    /// Softmax of the scores, before dropout, and the capped scores where there is a cap, both `[sequences, heads, queries,
    /// keys]`.
    pub(crate) fn probabilities(
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

    pub(crate) fn drop(&self, probabilities: FloatTensor<B>) -> FloatTensor<B> {
        match &self.dropout {
            Some(factors) => B::float_mul(probabilities, factors.clone()),
            None => probabilities,
        }
    }
}

/// For each padded place the token at it, and for each token its place.
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
pub(crate) fn groups(layout: &Layout, heads: usize) -> Vec<Range<usize>> {
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

pub(crate) fn join<B: Backend>(mut parts: Vec<FloatTensor<B>>) -> FloatTensor<B> {
    match parts.len() {
        1 => parts.remove(0),
        _ => B::float_cat(parts, 0),
    }
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
