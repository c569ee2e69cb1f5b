//! Masked language modelling (Devlin et al. 2018, section 3.1): some tokens of each sequence are chosen to be guessed; of
//! these 80 % are masked, 10 % become a random token and 10 % stay as they are.
//!
//! As BERT's own `create_masked_lm_predictions` does it, each sequence has as many as its share comes to, and at least one.
//! Transformers' `DataCollatorForLanguageModeling` draws for each token instead, so short sequences may have none.

use std::path::Path;
use std::sync::Arc;

use data::language::Purpose;
use data::{Batch, ColumnNames, Dataset, ExampleRef, ExampleTarget, Labelled, Record, Targets, Tokenizer};
use kernels::{Noise, hash_text, mix};
use model::Head;
use serde_json::{Map, Value};

use crate::language::{SHOWN, TokenEvaluator, names_of_targets};
use crate::metrics::{LOSS, PERPLEXITY, Shown, TOKEN_ACCURACY};
use crate::words::token;
use crate::{
    Classes, Columns, Definition, Encoding, Error, Evaluator, Expected, Opening, Rows, Sample, Section, Sections,
    Setting, Task, TrainableModel, Use, Validation, host, largest,
};

pub(crate) static DEFINITION: Definition = Definition {
    name: "masked-lm",
    words: "masked language modelling",
    head: Head::MaskedLm,
    vocabulary: true,
    classes: Classes::None,
    usage: Use::Score,
    keys: &["model.quantize_output", "data.text_template", "data.mask_probability"],
    settings: &[Setting {
        key: PROBABILITY,
        parse: |typed| typed.parse().ok().filter(|share: &f64| *share > 0.0 && *share < 1.0).map(Value::from),
        expected: "a number greater than 0 and below 1",
    }],
    scores: &[&PERPLEXITY, &TOKEN_ACCURACY],
    best: &[&LOSS],
    peft_type: None,
    problem: None,
    modules_to_save: &[],
    auto_class: "AutoModelForMaskedLM",
    pipeline: "fill-mask",
    columns,
    finder: None,
    open,
};

const PROBABILITY: &str = "mask_probability";
/// Devlin et al. 2018, section 3.1.
const DEFAULT_PROBABILITY: f64 = 0.15;

fn columns(file: &Path, first: &Record, names: &ColumnNames, _: Purpose) -> Result<Columns, data::Error> {
    data::Columns::find(file, first, names, Labelled::No).map(Columns::Texts)
}

fn open(opening: Opening<'_>) -> Result<Arc<dyn Task>, Error> {
    let tokenizer = opening.tokenizer;
    let no_mask = || Error::NoMask { path: opening.directory.to_path_buf() };
    Ok(Arc::new(MaskedLm {
        probability: opening.settings.get(PROBABILITY).and_then(Value::as_f64).unwrap_or(DEFAULT_PROBABILITY),
        mask: tokenizer.mask_token().ok_or_else(no_mask)?,
        vocabulary: opening.pretrained.vocabulary_size().unwrap_or(tokenizer.vocabulary_size()) as u32,
        special: tokenizer.special_tokens(),
    }))
}

/// Which tokens may be chosen, and how many are.
#[derive(Debug, Clone)]
pub struct MaskedLm {
    /// The share of a text's tokens that are guessed.
    probability: f64,
    mask: u32,
    vocabulary: u32,
    /// Tokens that stand for no text, in ascending order.
    special: Vec<u32>,
}

/// Texts whose masks are filled on the page of a run.
const SAMPLES: usize = 8;

impl Task for MaskedLm {
    fn definition(&self) -> &'static Definition {
        &DEFINITION
    }

    fn settings(&self) -> Map<String, Value> {
        Map::from_iter([(PROBABILITY.to_string(), Value::from(self.probability))])
    }

    fn encode(
        &self,
        file: &Path,
        rows: &Rows,
        encoding: &Encoding<'_>,
        dataset: &mut Dataset,
    ) -> Result<(), data::Error> {
        let texts = rows.texts();
        let targets = vec![ExampleTarget::None; texts.len()];
        dataset.add_texts(file, &texts, &targets, encoding)
    }

    /// Every text has a token that can be guessed.
    fn check(&self, dataset: &Dataset, _: &Tokenizer) -> Result<(), Error> {
        let is_blank = |example: ExampleRef<'_>| example.ids().all(|id| self.special.binary_search(&id).is_ok());
        match dataset.iter().position(is_blank) {
            Some(index) => Err(Error::NothingToMask { place: dataset.place(index).to_string() }),
            None => Ok(()),
        }
    }

    fn present(&self, batch: Batch, noise: Noise) -> Batch {
        self.masked(batch, noise)
    }

    fn evaluator(&self) -> Box<dyn Evaluator> {
        Box::new(TokenEvaluator::default())
    }

    fn shown(&self) -> &'static [Shown] {
        &SHOWN
    }

    /// The tokens behind the masks.
    fn expected(&self, batch: &Batch, tokenizer: &Tokenizer) -> Expected {
        let first = batch.ids.first().copied();
        let tokens = batch.targets.numbers().iter().map(|id| token(tokenizer, first, *id as u32)).collect();
        Expected::Beside(tokens, ("targets", names_of_targets(batch, tokenizer)))
    }

    /// Texts with their masks, what was put in their places, and what stood there.
    fn sections(&self, model: &TrainableModel, validation: &Validation<'_>) -> Sections {
        let indices: Vec<usize> = (0..validation.dataset.len().min(SAMPLES)).collect();
        if indices.is_empty() {
            return Sections::default();
        }
        let input = (self as &dyn Task).evaluation(Batch::new(validation.dataset, &indices, 0));
        let logits = model.logits(&input);
        let vocabulary = logits.dims()[1];
        let logits = host(logits);
        let guess = |target: usize| largest(&logits[target * vocabulary..][..vocabulary]) as u32;
        let (batch, tokenizer) = (&input.batch, validation.tokenizer);
        let (of, targets) = (batch.sequences_of_targets(), batch.targets.numbers());
        let words = |ids: Vec<u32>| ids.iter().filter_map(|id| tokenizer.token(*id)).collect::<Vec<_>>().join(" ");
        let sample = |sequence: usize| {
            let own = || of.iter().enumerate().filter(|(_, of)| **of == sequence).map(|(target, _)| target);
            Sample {
                prompt: tokenizer.decode(&batch.ids[batch.offsets[sequence]..batch.offsets[sequence + 1]]),
                before: None,
                written: words(own().map(guess).collect()),
                expected: words(own().map(|target| targets[target] as u32).collect()),
            }
        };
        let samples = (0..batch.sequences()).map(sample).collect();
        Sections { sections: vec![Section::Samples(samples)], ..Sections::default() }
    }
}

impl MaskedLm {
    /// The batch as the model is shown it, with the chosen tokens as its rows and what stood there as their targets. A
    /// token's fate depends on the noise, the number of its sequence in the optimiser step and its position.
    fn masked(&self, mut batch: Batch, noise: Noise) -> Batch {
        let key = mix(noise.seed ^ hash_text("masked-lm")) ^ mix(noise.step);
        let mut targets = Vec::new();
        batch.rows.clear();
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
                targets.push(batch.ids[index] as usize);
                batch.ids[index] = self.in_its_place(batch.ids[index], mix(bits));
            }
        }
        batch.targets = Targets::Tokens(targets);
        batch
    }

    /// What is shown in place of a chosen token.
    fn in_its_place(&self, token: u32, bits: u64) -> u32 {
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

    fn masking(probability: f64) -> MaskedLm {
        MaskedLm { probability, mask: MASK, vocabulary: 1000, special: vec![0, 1, 2, 3, 4] }
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
            let after = masking(0.15).masked(before.clone(), Noise { seed, step });
            prop_assert!(after.rows.is_sorted_by(|a, b| a < b));
            for (sequence, words) in words.iter().enumerate() {
                let span = after.offsets[sequence]..after.offsets[sequence + 1];
                let count = after.rows.iter().filter(|row| span.contains(row)).count();
                prop_assert_eq!(count, ((words.len() as f64 * 0.15).round() as usize).max(1));
            }
            for (row, target) in after.rows.iter().zip(after.targets.numbers()) {
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
            let whole = masking(0.3).masked(batch(&words, 0), noise);
            let parts = [(&words[..at], 0), (&words[at..], at)];
            let ids: Vec<u32> =
                parts.iter().flat_map(|(part, first)| masking(0.3).masked(batch(part, *first), noise).ids).collect();
            prop_assert_eq!(whole.ids, ids);
        }
    }

    #[test]
    fn most_chosen_tokens_are_masked_some_replaced_and_some_kept() {
        let words: Vec<Vec<u32>> = (0..400).map(|i| (0..20).map(|j| 5 + (i * 20 + j) % 995).collect()).collect();
        let before = batch(&words, 0);
        let after = masking(0.5).masked(before.clone(), Noise { seed: 1, step: 2 });
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
