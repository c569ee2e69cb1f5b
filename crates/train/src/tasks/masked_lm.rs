//! Masked language modelling (Devlin et al. 2018, section 3.1): some tokens of each sequence are chosen to be guessed; of
//! these 80 % are masked, 10 % become a random token and 10 % stay as they are.
//!
//! As BERT's own `create_masked_lm_predictions` does it, each sequence has as many as its share comes to, and at least one.
//! Transformers' `DataCollatorForLanguageModeling` draws for each token instead, so short sequences may have none.

use data::{Batch, Tokenizer};
use kernels::{Noise, hash_text, mix};

/// Which tokens may be chosen, and how many are.
#[derive(Debug, Clone)]
pub(crate) struct Masking {
    probability: f64,
    mask: u32,
    vocabulary: u32,
    /// Tokens that stand for no text, in ascending order.
    special: Vec<u32>,
}

impl Masking {
    /// `None` if the tokenizer has no mask token.
    pub(crate) fn new(tokenizer: &Tokenizer, probability: f64, vocabulary: usize) -> Option<Self> {
        let mask = tokenizer.mask_token()?;
        Some(Self { probability, mask, vocabulary: vocabulary as u32, special: tokenizer.special_tokens() })
    }

    /// The share of a text's tokens that are guessed.
    pub(crate) fn probability(&self) -> f64 {
        self.probability
    }

    /// The batch as the model is shown it, with the chosen tokens as its rows and what stood there as their targets. A
    /// token's fate depends on the noise, the number of its sequence in the optimiser step and its position.
    pub(super) fn apply(&self, mut batch: Batch, noise: Noise) -> Batch {
        let key = mix(noise.seed ^ hash_text("masked-lm")) ^ mix(noise.step);
        (batch.rows, batch.targets) = (Vec::new(), Vec::new());
        for sequence in 0..batch.sequences() {
            let (start, end) = (batch.offsets[sequence], batch.offsets[sequence + 1]);
            let of_sequence = mix(key ^ (batch.first_row + sequence) as u64);
            let mut drawn: Vec<(u64, usize)> = (start..end)
                .filter(|index| self.special.binary_search(&batch.ids[*index]).is_err())
                .map(|index| (mix(of_sequence ^ (index - start) as u64), index))
                .collect();
            let count = ((drawn.len() as f64 * self.probability).round() as usize).max(1);
            drawn.sort_unstable();
            drawn.truncate(count);
            drawn.sort_unstable_by_key(|(_, index)| *index);
            for (bits, index) in drawn {
                batch.rows.push(index);
                batch.targets.push(batch.ids[index] as usize);
                batch.ids[index] = self.shown(batch.ids[index], mix(bits));
            }
        }
        batch
    }

    /// What is shown in place of a chosen token.
    fn shown(&self, token: u32, bits: u64) -> u32 {
        match bits % 10 {
            0..8 => self.mask,
            8 => (mix(bits) % u64::from(self.vocabulary)) as u32,
            _ => token,
        }
    }
}

#[cfg(test)]
mod tests {
    use data::Encoded;
    use proptest::prelude::*;

    use super::*;

    const MASK: u32 = 4;

    fn masking(probability: f64) -> Masking {
        Masking { probability, mask: MASK, vocabulary: 1000, special: vec![0, 1, 2, 3, 4] }
    }

    fn batch(sequences: &[Vec<u32>], first_row: usize) -> Batch {
        let encoded = |words: &Vec<u32>| {
            let ids: Vec<u32> = [&[2], words.as_slice(), &[3]].concat();
            Encoded::from(ids)
        };
        let encoded: Vec<Encoded> = sequences.iter().map(encoded).collect();
        Batch { first_row, ..Batch::from_encoded(&encoded) }
    }

    fn words() -> impl Strategy<Value = Vec<Vec<u32>>> {
        prop::collection::vec(prop::collection::vec(5..1000_u32, 1..40), 1..8)
    }

    proptest! {
        #[test]
        fn each_sequence_has_its_share_and_nothing_else_changes(words in words(), seed: u64, step: u64) {
            let before = batch(&words, 0);
            let after = masking(0.15).apply(before.clone(), Noise { seed, step });
            prop_assert!(after.rows.is_sorted_by(|a, b| a < b));
            for (sequence, words) in words.iter().enumerate() {
                let span = after.offsets[sequence]..after.offsets[sequence + 1];
                let count = after.rows.iter().filter(|row| span.contains(row)).count();
                prop_assert_eq!(count, ((words.len() as f64 * 0.15).round() as usize).max(1));
            }
            for (row, target) in after.rows.iter().zip(&after.targets) {
                prop_assert_eq!(before.ids[*row] as usize, *target);
                prop_assert!(*target >= 5, "no special token is a target");
            }
            for index in (0..before.ids.len()).filter(|index| !after.rows.contains(index)) {
                prop_assert_eq!(before.ids[index], after.ids[index]);
            }
        }

        #[test]
        fn how_a_step_is_cut_into_batches_changes_nothing(words in words(), seed: u64, at in 0..8_usize) {
            let (noise, at) = (Noise { seed, step: 7 }, at.min(words.len()));
            let whole = masking(0.3).apply(batch(&words, 0), noise);
            let parts = [(&words[..at], 0), (&words[at..], at)];
            let ids: Vec<u32> =
                parts.iter().flat_map(|(part, first)| masking(0.3).apply(batch(part, *first), noise).ids).collect();
            prop_assert_eq!(whole.ids, ids);
        }
    }

    #[test]
    fn most_chosen_tokens_are_masked_some_replaced_and_some_kept() {
        let words: Vec<Vec<u32>> = (0..400).map(|i| (0..20).map(|j| 5 + (i * 20 + j) % 995).collect()).collect();
        let before = batch(&words, 0);
        let after = masking(0.5).apply(before.clone(), Noise { seed: 1, step: 2 });
        let share = |is: &dyn Fn(usize) -> bool| {
            after.rows.iter().filter(|row| is(**row)).count() as f64 / after.rows.len() as f64
        };
        assert_eq!(after.rows.len(), 4000);
        let masked = share(&|row| after.ids[row] == MASK);
        let kept = share(&|row| after.ids[row] == before.ids[row]);
        assert!((masked - 0.8).abs() < 0.03, "{masked}");
        assert!((kept - 0.1).abs() < 0.02, "{kept}");
    }
}
