//! A row as a trained model is asked about it.

use data::tagging::{WordPosition, Words};
use data::{Batch, Encoded};

/// The sequences that a row becomes, and what is needed to read the answer.
#[derive(Debug)]
pub struct Question {
    /// The row as one text.
    pub text: String,
    pub sequences: Vec<Sequence>,
    /// Whether the answer is about a part of the row alone.
    pub is_truncated: bool,
    /// Of a row whose words are asked about.
    pub(crate) words: Option<Words>,
}

/// A sequence with the words that are asked about in it; none where the head answers for the sequence.
#[derive(Debug)]
pub struct Sequence {
    pub encoded: Encoded,
    pub(crate) words: Vec<WordPosition>,
}

impl Question {
    /// Of a text that is one sequence.
    pub(crate) fn of_text(text: &str, encoded: Encoded) -> Self {
        let is_truncated = encoded.full_length > encoded.ids.len();
        let sequences = vec![Sequence { encoded, words: Vec::new() }];
        Self { text: text.to_owned(), sequences, is_truncated, words: None }
    }

    /// The rows of the head's outputs that answer it.
    pub fn outputs(&self) -> usize {
        self.sequences.iter().map(Sequence::outputs).sum()
    }
}

impl Sequence {
    /// The rows of the head's outputs for it.
    pub fn outputs(&self) -> usize {
        self.words.len().max(1)
    }

    /// Sequences as a batch.
    pub fn batch<'a>(sequences: impl Iterator<Item = &'a Self> + Clone) -> Batch {
        let encoded: Vec<Encoded> = sequences.clone().map(|sequence| sequence.encoded.clone()).collect();
        let mut batch = Batch::from_encoded(&encoded);
        let offsets = batch.offsets.clone();
        batch.rows = offsets
            .iter()
            .zip(sequences)
            .flat_map(|(offset, sequence)| sequence.words.iter().map(move |word| offset + word.position))
            .collect();
        batch
    }
}
