//! Where sequences begin in tensors that hold them end to end. Only attention and dropout need to know.

use std::ops::Range;
use std::sync::Arc;

use crate::{DropoutMask, Noise};

/// The places at which sequences begin, and one more: where the last one ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offsets(Arc<[usize]>);

impl Offsets {
    /// Offsets from 0, ascending; every sequence has at least one token.
    ///
    /// # Panics
    /// If that does not hold: callers make the offsets, they are never read from a file.
    pub fn new(offsets: &[usize]) -> Self {
        assert!(offsets.first() == Some(&0), "offsets begin at 0");
        assert!(offsets.windows(2).all(|pair| pair[0] < pair[1]), "every sequence has a token");
        Self(offsets.into())
    }

    pub fn sequences(&self) -> usize {
        self.0.len() - 1
    }

    pub fn tokens(&self) -> usize {
        self.0[self.sequences()]
    }

    pub fn starts(&self) -> &[usize] {
        &self.0[..self.sequences()]
    }

    /// The tokens of a sequence.
    pub fn range(&self, sequence: usize) -> Range<usize> {
        self.0[sequence]..self.0[sequence + 1]
    }

    pub fn length(&self, sequence: usize) -> usize {
        self.range(sequence).len()
    }
}

/// Which tokens of its sequence a token attends to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttentionMask {
    /// All of them; with a window those at most `window` tokens away on either side, `|i - j| <= window`. Reference:
    /// `sliding_window_bidirectional_overlay` in Transformers' `masking_utils`; ModernBERT's window is `local_attention / 2`.
    Bidirectional { window: Option<usize> },
    /// Itself and those before it; with a window the last `window` of these, itself among them, `j > i - window`. Reference:
    /// `sliding_window_overlay` (Mistral, Gemma).
    Causal { window: Option<usize> },
}

/// The sequences of a batch, on the side of the queries and on that of the keys, and the key of each row. Both sides are
/// the same but where earlier tokens of a sequence lie in a cache: there the queries are its last tokens.
#[derive(Debug, Clone)]
pub struct Layout {
    queries: Offsets,
    /// Where the keys of each sequence lie.
    keys: Arc<[Range<usize>]>,
    rows: Arc<[u64]>,
}

impl Layout {
    /// `first_row` is the number of the first sequence within its optimiser step: with it, dropout treats a sequence
    /// alike in whichever micro-batch it comes.
    pub fn new(offsets: Offsets, first_row: usize) -> Self {
        let keys: Vec<_> = (0..offsets.sequences()).map(|sequence| offsets.range(sequence)).collect();
        Self::with_keys(offsets, &keys, first_row)
    }

    /// Sequences whose keys, as many as their queries or more, lie elsewhere: in a cache.
    pub fn cached(queries: Offsets, keys: &[Range<usize>]) -> Self {
        Self::with_keys(queries, keys, 0)
    }

    fn with_keys(queries: Offsets, keys: &[Range<usize>], first_row: usize) -> Self {
        assert!(queries.sequences() == keys.len(), "a range of keys for each sequence");
        let rows = keys.iter().enumerate().flat_map(|(sequence, keys)| {
            let example = (first_row + sequence) as u64;
            (keys.len() - queries.length(sequence)..keys.len()).map(move |position| (example << 32) | position as u64)
        });
        let rows = rows.collect();
        Self { queries, keys: keys.into(), rows }
    }

    pub fn queries(&self) -> &Offsets {
        &self.queries
    }

    /// Where the keys of each sequence lie.
    pub fn keys(&self) -> &[Range<usize>] {
        &self.keys
    }

    /// The keys, counted from the sequence's first, that the query at this place of its sequence sees.
    pub(crate) fn visible(&self, sequence: usize, query: usize, mask: AttentionMask) -> Range<usize> {
        let keys = self.keys[sequence].len();
        // The key that is the query's own token.
        let own = keys - self.queries.length(sequence) + query;
        match mask {
            AttentionMask::Bidirectional { window: None } => 0..keys,
            AttentionMask::Bidirectional { window: Some(window) } => {
                own.saturating_sub(window)..keys.min(own.saturating_add(window).saturating_add(1))
            }
            AttentionMask::Causal { window } => window.map_or(0, |window| (own + 1).saturating_sub(window))..own + 1,
        }
    }

    /// What a random bit knows of its row: the number of the example in the optimiser step, and the position in it.
    pub fn rows(&self) -> &Arc<[u64]> {
        &self.rows
    }

    /// The dropout of the module `site`, or `None` where nothing is to be dropped: without `noise`, in evaluation.
    pub fn dropout_mask(&self, noise: Option<Noise>, probability: f64, site: u64) -> Option<DropoutMask> {
        let noise = noise.filter(|_| probability > 0.0)?;
        Some(DropoutMask::new(noise, site, probability as f32, self.rows.clone()))
    }

    /// The layout of these sequences alone.
    ///
    /// # Panics
    /// Where keys lie elsewhere than their queries: in a cache.
    pub fn sequences(&self, sequences: Range<usize>) -> Self {
        let first = self.queries.range(sequences.start).start;
        let moved = |range: Range<usize>| range.start - first..range.end - first;
        let keys = sequences.clone().map(|sequence| {
            assert_eq!(self.keys[sequence], self.queries.range(sequence), "keys lie beside their queries");
            moved(self.queries.range(sequence))
        });
        let keys: Arc<[Range<usize>]> = keys.collect();
        let offsets: Vec<usize> = keys.iter().map(|keys| keys.start).chain(keys.last().map(|keys| keys.end)).collect();
        let rows = self.rows[first..first + offsets[offsets.len() - 1]].into();
        Self { queries: Offsets::new(&offsets), keys, rows }
    }

    /// The layout of these tokens alone, each a sequence of its own with the row key it has here: what a head reads.
    pub fn select(&self, tokens: &[usize]) -> Self {
        let keys = (0..tokens.len()).map(|token| token..token + 1).collect();
        let rows = tokens.iter().map(|token| self.rows[*token]).collect();
        Self { queries: Offsets((0..=tokens.len()).collect()), keys, rows }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_key_names_the_example_and_the_position() {
        let layout = Layout::new(Offsets::new(&[0, 2, 5]), 3);
        let key = |example: u64, position: u64| (example << 32) | position;
        assert_eq!(layout.rows()[..], [key(3, 0), key(3, 1), key(4, 0), key(4, 1), key(4, 2)]);
        let selected = layout.select(&[0, 1, 4]);
        assert_eq!(selected.rows()[..], [key(3, 0), key(3, 1), key(4, 2)]);
        assert_eq!(selected.queries().tokens(), 3);
    }

    #[test]
    fn sequences_alone_keep_their_row_keys() {
        let layout = Layout::new(Offsets::new(&[0, 2, 5, 6]), 3);
        let alone = layout.sequences(1..3);
        assert_eq!(alone.queries(), &Offsets::new(&[0, 3, 4]));
        assert_eq!(alone.keys(), [0..3, 3..4]);
        assert_eq!(alone.rows()[..], layout.rows()[2..]);
    }

    #[test]
    fn a_window_counts_the_token_itself_where_it_is_causal_and_reaches_as_far_both_ways_where_it_is_not() {
        let layout = Layout::new(Offsets::new(&[0, 9]), 0);
        let sees = |mask, query| (0..9).filter(|key| layout.visible(0, query, mask).contains(key)).collect::<Vec<_>>();
        for (query, window) in (0..9_usize).flat_map(|query| [0, 1, 3, 20].map(|window| (query, window))) {
            let both = sees(AttentionMask::Bidirectional { window: Some(window) }, query);
            assert_eq!(both, (0..9).filter(|key| query.abs_diff(*key) <= window).collect::<Vec<_>>());
            let past = sees(AttentionMask::Causal { window: Some(window) }, query);
            assert_eq!(past, (0..=query).filter(|key| key + window > query).collect::<Vec<_>>());
        }
    }

    #[test]
    fn queries_of_a_cache_are_the_last_tokens_of_their_sequences() {
        let layout = Layout::cached(Offsets::new(&[0, 1, 3]), &[10..15, 20..22]);
        assert_eq!(layout.rows().iter().map(|row| *row as u32).collect::<Vec<_>>(), [4, 0, 1]);
        assert_eq!(layout.visible(0, 0, AttentionMask::Causal { window: None }), 0..5);
        assert_eq!(layout.visible(0, 0, AttentionMask::Causal { window: Some(2) }), 3..5);
        assert_eq!(layout.visible(1, 0, AttentionMask::Causal { window: Some(2) }), 0..1);
        assert_eq!(layout.visible(1, 0, AttentionMask::Bidirectional { window: None }), 0..2);
    }
}
