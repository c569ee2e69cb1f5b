//! Where sequences begin in tensors that hold them end to end. Only attention and dropout need to know.

use std::sync::Arc;

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

    pub(crate) fn range(&self, sequence: usize) -> std::ops::Range<usize> {
        self.0[sequence]..self.0[sequence + 1]
    }

    pub(crate) fn length(&self, sequence: usize) -> usize {
        self.range(sequence).len()
    }
}

/// The sequences of a batch, on the side of the queries and on that of the keys, and the key of each row.
#[derive(Debug, Clone)]
pub struct Layout {
    queries: Offsets,
    keys: Offsets,
    rows: Arc<[u64]>,
}

impl Layout {
    /// `first_row` is the number of the first sequence within its optimiser step: with it, dropout treats a sequence
    /// alike in whichever micro-batch it comes.
    pub fn new(offsets: Offsets, first_row: usize) -> Self {
        let rows = (0..offsets.sequences())
            .flat_map(|sequence| {
                let example = (first_row + sequence) as u64;
                (0..offsets.length(sequence) as u64).map(move |position| (example << 32) | position)
            })
            .collect();
        Self { queries: offsets.clone(), keys: offsets, rows }
    }

    pub fn queries(&self) -> &Offsets {
        &self.queries
    }

    pub fn keys(&self) -> &Offsets {
        &self.keys
    }

    /// What a random bit knows of its row: the number of the example in the optimiser step, and the position in it.
    pub fn rows(&self) -> &Arc<[u64]> {
        &self.rows
    }

    /// The layout of these tokens alone, each a sequence of its own with the row key it has here: what a head reads.
    pub fn select(&self, tokens: &[usize]) -> Self {
        let offsets = Offsets((0..=tokens.len()).collect());
        Self { queries: offsets.clone(), keys: offsets, rows: tokens.iter().map(|token| self.rows[*token]).collect() }
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
}
