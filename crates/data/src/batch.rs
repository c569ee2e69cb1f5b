//! A batch: sequences laid end to end, without padding. The train crate makes tensors of it.

use crate::dataset::Dataset;
use crate::targets::Targets;
use crate::tokenizer::Encoded;

/// The sequences of one pass through the model.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    pub ids: Vec<u32>,
    pub type_ids: Vec<u32>,
    /// Where each sequence begins in `ids`, and the end of the last: one more than there are sequences.
    pub offsets: Vec<usize>,
    /// What is to be hit, one for each sequence or, where there are `rows`, one for each of them.
    pub targets: Targets,
    /// The tokens that a head is asked about which answers for tokens, as indices into `ids`.
    pub rows: Vec<usize>,
    /// The number of each sequence in its data set; empty for sequences without one.
    pub examples: Vec<usize>,
    /// The number of the first sequence within the optimiser step. What is random per example is drawn by this number,
    /// so that how a step is cut into micro-batches changes nothing.
    pub first_row: usize,
}

impl Batch {
    /// The examples of `dataset` with these indices, in the order given. For a language model `rows` are the tokens before
    /// those that are to be predicted, and `targets` the latter.
    pub fn new(dataset: &Dataset, indices: &[usize], first_row: usize) -> Batch {
        let examples = || indices.iter().map(|&index| dataset.get(index));
        let mut batch = Batch { examples: indices.to_vec(), first_row, ..Self::empty() };
        for example in examples() {
            batch.lay(example.ids(), example.type_ids());
        }
        let begins = batch.offsets.clone();
        for (begin, example) in begins.into_iter().zip(examples()) {
            batch.targets.add(example.target(), begin, &mut batch.rows);
            for predicted in example.spans().flatten() {
                // What a model says at a token is about the one after it.
                batch.rows.push(begin + predicted - 1);
                batch.targets.add_token(batch.ids[begin + predicted] as usize);
            }
        }
        batch
    }

    /// Sequences without labels, as `predict` has them.
    pub fn from_encoded(encoded: &[Encoded]) -> Batch {
        let mut batch = Self::empty();
        for sequence in encoded {
            batch.lay(sequence.ids.iter().copied(), sequence.type_ids.iter().copied());
        }
        batch
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

    fn empty() -> Batch {
        Batch {
            ids: Vec::new(),
            type_ids: Vec::new(),
            offsets: vec![0],
            targets: Targets::None,
            rows: Vec::new(),
            examples: Vec::new(),
            first_row: 0,
        }
    }

    fn lay(&mut self, ids: impl Iterator<Item = u32>, type_ids: impl Iterator<Item = u32>) {
        self.ids.extend(ids);
        self.type_ids.extend(type_ids);
        self.offsets.push(self.ids.len());
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
        assert_eq!((batch.targets, batch.examples, batch.first_row), (Targets::Classes(vec![1, 0]), vec![1, 0], 4));
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
            let lengths = dataset.iter().map(|it| it.len()).collect();
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
                        let seen = tokens[batch.examples[row]].replace(batch.ids[span[0]..span[1]].to_vec());
                        prop_assert_eq!(seen, None, "twice");
                    }
                }
            }
            let whole: Vec<_> = dataset.iter().map(|it| Some(it.ids().collect::<Vec<_>>())).collect();
            prop_assert_eq!(tokens, whole);
        }
    }
}
