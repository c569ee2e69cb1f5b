//! A batch: sequences laid end to end, without padding. The train crate makes tensors of it.

use crate::encode::Dataset;
use crate::tokenizer::Encoded;

/// The sequences of one pass through the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    pub ids: Vec<u32>,
    pub type_ids: Vec<u32>,
    /// Where each sequence begins in `ids`, and the end of the last: one more than there are sequences.
    pub offsets: Vec<usize>,
    /// What is to be hit: the number of each sequence's class, or, where `rows` says which tokens have one, token ids.
    pub targets: Vec<usize>,
    /// The tokens that a language model is asked about, as indices into `ids`.
    pub rows: Vec<usize>,
    /// Where each sequence stands in its file; empty for sequences without one.
    pub lines: Vec<usize>,
    /// The number of the first sequence within the optimiser step. What is random per example is drawn by this number,
    /// so that how a step is cut into micro-batches changes nothing.
    pub first_row: usize,
}

impl Batch {
    /// The examples of `dataset` with these indices, in the order given. For a language model `rows` are the tokens before
    /// those that are to be predicted, and `targets` the latter.
    pub fn new(dataset: &Dataset, indices: &[usize], first_row: usize) -> Batch {
        let examples = || indices.iter().map(|&index| &dataset.examples[index]);
        let mut batch = Batch {
            targets: examples().filter_map(|example| example.target).collect(),
            lines: examples().map(|example| example.line).collect(),
            first_row,
            ..Self::lay(examples().map(|example| &example.encoded))
        };
        let begins = batch.offsets.clone();
        for (begin, example) in begins.into_iter().zip(examples()) {
            for predicted in example.spans.iter().cloned().flatten() {
                // What a model says at a token is about the one after it.
                batch.rows.push(begin + predicted - 1);
                batch.targets.push(example.encoded.ids[predicted] as usize);
            }
        }
        batch
    }

    /// Sequences without labels, as `predict` has them.
    pub fn from_encoded(encoded: &[Encoded]) -> Batch {
        Self::lay(encoded.iter())
    }

    pub fn sequences(&self) -> usize {
        self.offsets.len() - 1
    }

    pub fn tokens(&self) -> usize {
        self.ids.len()
    }

    /// The sequence that each target belongs to, ascending.
    pub fn sequences_of_targets(&self) -> Vec<usize> {
        if self.rows.is_empty() {
            return (0..self.targets.len()).collect();
        }
        self.rows.iter().map(|row| self.offsets.partition_point(|offset| offset <= row) - 1).collect()
    }

    /// The last token of each sequence, as indices into `ids`.
    pub fn last_tokens(&self) -> Vec<usize> {
        self.offsets[1..].iter().map(|end| end - 1).collect()
    }

    fn lay<'a>(sequences: impl Iterator<Item = &'a Encoded>) -> Batch {
        let mut batch = Batch {
            ids: Vec::new(),
            type_ids: Vec::new(),
            offsets: vec![0],
            targets: Vec::new(),
            rows: Vec::new(),
            lines: Vec::new(),
            first_row: 0,
        };
        for sequence in sequences {
            batch.ids.extend_from_slice(&sequence.ids);
            batch.type_ids.extend_from_slice(&sequence.type_ids);
            batch.offsets.push(batch.ids.len());
        }
        batch
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;
    use crate::tokenizer::tests::small;
    use crate::{Example, Label, Labels, Sampler, SamplerConfig};

    fn dataset(texts: &[String]) -> Dataset {
        let example = |(n, text): (usize, &String)| Example {
            line: n + 10,
            text: text.clone(),
            text_pair: None,
            label: Some(Label::Index((n % 2) as i64)),
        };
        let examples: Vec<Example> = texts.iter().enumerate().map(example).collect();
        let labels = Labels::new(vec!["no".into(), "yes".into()]).unwrap();
        Dataset::encode(Path::new("a.csv"), &examples, Some(&labels), &small(), 32, &|_| ()).unwrap()
    }

    #[test]
    fn sequences_lie_end_to_end_in_the_order_given() {
        let dataset = dataset(&["a b".into(), "c".into(), "a".into()]);
        let batch = Batch::new(&dataset, &[1, 0], 4);
        // [CLS] is 2, [SEP] 3, a, b and c are 5, 6 and 7.
        assert_eq!(batch.ids, [2, 7, 3, 2, 5, 6, 3]);
        assert_eq!(batch.type_ids, [0; 7]);
        assert_eq!(batch.offsets, [0, 3, 7]);
        assert_eq!((batch.targets, batch.lines, batch.first_row), (vec![1, 0], vec![11, 10], 4));
    }

    #[test]
    fn sequences_without_labels_have_no_targets() {
        let encoded = [small().encode("a", Some("b"), 9).unwrap()];
        let batch = Batch::from_encoded(&encoded);
        assert_eq!((batch.sequences(), batch.tokens()), (1, 5));
        assert_eq!(batch.type_ids, [0, 0, 0, 1, 1]);
        assert!(batch.targets.is_empty());
        assert_eq!(Batch::from_encoded(&[]).sequences(), 0);
    }

    proptest! {
        #[test]
        fn the_batches_of_an_epoch_hold_every_token_once(
            texts in prop::collection::vec("[abc]( [abc]){0,6}", 1..40),
            batch_size in 1..6_usize, grad_accumulation in 1..4_usize, seed: u64, group_by_length: bool,
        ) {
            let dataset = dataset(&texts);
            let lengths = dataset.examples.iter().map(|it| it.encoded.ids.len()).collect();
            let config = SamplerConfig { seed, batch_size, grad_accumulation, shuffle: true, group_by_length };
            let sampler = Sampler::new(lengths, config);
            let mut tokens = vec![None; dataset.len()];
            for step in 1..=sampler.steps_per_epoch() {
                let mut first_row = 0;
                for indices in sampler.step(step).micro_batches {
                    let batch = Batch::new(&dataset, &indices, first_row);
                    first_row += batch.sequences();
                    prop_assert_eq!(batch.offsets.last(), Some(&batch.tokens()));
                    for (row, span) in batch.offsets.windows(2).enumerate() {
                        let seen = tokens[batch.lines[row] - 10].replace(batch.ids[span[0]..span[1]].to_vec());
                        prop_assert_eq!(seen, None, "twice");
                    }
                }
            }
            let whole: Vec<_> = dataset.examples.iter().map(|it| Some(it.encoded.ids.clone())).collect();
            prop_assert_eq!(tokens, whole);
        }
    }
}
