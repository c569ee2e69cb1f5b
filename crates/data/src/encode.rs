//! Examples become encoded sequences with the number of their class, or with the tokens that are to be predicted: in
//! parallel, in order.

use std::ops::Range;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::columns::Example;
use crate::language::{Encoder, Row};
use crate::tokenizer::{Encoded, Tokenizer};
use crate::{Error, Labels};

/// Examples encoded between two reports of progress: some milliseconds of work.
const CHUNK: usize = 64;

/// The encoded examples of one file, in its order.
#[derive(Debug, Clone)]
pub struct Dataset {
    file: PathBuf,
    pub examples: Vec<EncodedExample>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedExample {
    pub line: usize,
    pub encoded: Encoded,
    /// The number of its class; `None` in a data set without labels.
    pub target: Option<usize>,
    /// The tokens that a language model is to predict, as ranges of `encoded.ids`: ascending, apart from each other, and
    /// without the first token. None where the class is the target.
    pub spans: Vec<Range<usize>>,
    /// The number of tokens to predict that truncation took.
    pub lost_targets: usize,
}

/// Numbers of tokens, before truncation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lengths {
    pub median: usize,
    /// 95 of 100 examples are at most this long.
    pub p95: usize,
    pub longest: usize,
}

impl Dataset {
    /// Without `labels` what rows say of their class is not looked at.
    ///
    /// Encodes on all threads of rayon's pool; the result, and which of several errors is returned, depends on neither
    /// their number nor their pace. `progress` is told how many examples are done since it was last called.
    pub fn encode(
        file: &Path,
        examples: &[Example],
        labels: Option<&Labels>,
        tokenizer: &Tokenizer,
        max_length: usize,
        progress: &(dyn Fn(usize) + Sync),
    ) -> Result<Dataset, Error> {
        let encode = |example: &Example| {
            let target = labels.map(|labels| labels.index(file, example)).transpose()?;
            let encoded = tokenizer
                .encode(&example.text, example.text_pair.as_deref(), max_length)
                .map_err(|error| error.at(file, example.line))?;
            Ok([EncodedExample { line: example.line, encoded, target, spans: Vec::new(), lost_targets: 0 }])
        };
        Self::in_parallel(file, examples, encode, progress)
    }

    /// As `encode`, of rows for a language model. A row may become several examples, which then have its line.
    pub fn encode_rows(
        file: &Path,
        rows: &[Row],
        encoder: &Encoder<'_>,
        max_length: usize,
        progress: &(dyn Fn(usize) + Sync),
    ) -> Result<Dataset, Error> {
        Self::in_parallel(file, rows, |row| encoder.examples(file, row, max_length), progress)
    }

    fn in_parallel<T: Sync, I: IntoIterator<Item = EncodedExample>>(
        file: &Path,
        rows: &[T],
        encode: impl Fn(&T) -> Result<I, Error> + Sync,
        progress: &(dyn Fn(usize) + Sync),
    ) -> Result<Dataset, Error> {
        let chunks: Vec<Result<Vec<EncodedExample>, Error>> = rows
            .par_chunks(CHUNK)
            .map(|chunk| {
                let mut examples = Vec::with_capacity(chunk.len());
                for row in chunk {
                    examples.extend(encode(row)?);
                }
                progress(chunk.len());
                Ok(examples)
            })
            .collect();
        let mut dataset = Dataset { file: file.to_owned(), examples: Vec::with_capacity(rows.len()) };
        for chunk in chunks {
            dataset.examples.extend(chunk?);
        }
        Ok(dataset)
    }

    /// Moves the examples at these ascending indices into a data set of their own.
    pub fn split_off(&mut self, indices: &[usize]) -> Dataset {
        let mut moved = Dataset { file: self.file.clone(), examples: Vec::with_capacity(indices.len()) };
        let mut kept = Vec::with_capacity(self.examples.len() - indices.len());
        for (index, example) in std::mem::take(&mut self.examples).into_iter().enumerate() {
            let part = if indices.binary_search(&index).is_ok() { &mut moved.examples } else { &mut kept };
            part.push(example);
        }
        self.examples = kept;
        moved
    }

    /// Examples that follow one another, as many as share a batch: at most so many sequences and tokens, but at least one.
    pub fn batches(&self, examples: Range<usize>, sequences: usize, tokens: usize) -> Vec<Vec<usize>> {
        let mut batches: Vec<Vec<usize>> = Vec::new();
        let mut held = 0;
        for index in examples {
            let length = self.examples[index].encoded.ids.len();
            match batches.last_mut().filter(|batch| batch.len() < sequences && held + length <= tokens) {
                Some(batch) => {
                    batch.push(index);
                    held += length;
                }
                None => {
                    batches.push(vec![index]);
                    held = length;
                }
            }
        }
        batches
    }

    /// The file that the examples' lines refer to.
    pub fn file(&self) -> &Path {
        &self.file
    }

    pub fn len(&self) -> usize {
        self.examples.len()
    }

    pub fn is_empty(&self) -> bool {
        self.examples.is_empty()
    }

    /// By nearest rank: each number is the length of an example. All are 0 for no examples.
    pub fn lengths(&self) -> Lengths {
        let mut lengths: Vec<usize> = self.examples.iter().map(|example| example.encoded.full_length).collect();
        lengths.sort_unstable();
        let rank = |percent: usize| match (lengths.len() * percent).div_ceil(100) {
            0 => 0,
            rank => lengths[rank - 1],
        };
        Lengths { median: rank(50), p95: rank(95), longest: rank(100) }
    }

    /// The number of examples longer than `max_length`.
    pub fn truncated(&self) -> usize {
        self.examples.iter().filter(|example| example.encoded.full_length > example.encoded.ids.len()).count()
    }

    /// The number of tokens that a language model is to predict, in all examples.
    pub fn targets(&self) -> usize {
        self.examples.iter().flat_map(|example| &example.spans).map(Range::len).sum()
    }

    /// The number of tokens to predict that truncation took from all examples.
    pub fn lost_targets(&self) -> usize {
        self.examples.iter().map(|example| example.lost_targets).sum()
    }

    /// The number of examples of each of `classes` classes.
    pub fn class_counts(&self, classes: usize) -> Vec<usize> {
        let mut counts = vec![0; classes];
        for target in self.examples.iter().filter_map(|example| example.target) {
            counts[target] += 1;
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::Label;
    use crate::tokenizer::tests::small;

    fn example(line: usize, text: &str, label: &str) -> Example {
        Example { line, text: text.into(), text_pair: None, label: Some(Label::Text(label.into())) }
    }

    fn labels() -> Labels {
        Labels::new(vec!["bad".into(), "good".into()]).unwrap()
    }

    #[test]
    fn examples_keep_their_order_and_progress_counts_each_once() {
        let examples: Vec<Example> =
            (0..200).map(|n| example(n + 1, &"a ".repeat(n % 7 + 1), ["bad", "good"][n % 2])).collect();
        let done = AtomicUsize::new(0);
        let progress = |count| {
            done.fetch_add(count, Ordering::Relaxed);
        };
        let dataset = Dataset::encode(Path::new("a.csv"), &examples, Some(&labels()), &small(), 6, &progress).unwrap();

        assert_eq!(done.into_inner(), 200);
        assert_eq!(dataset.examples.iter().map(|it| it.line).collect::<Vec<_>>(), (1..=200).collect::<Vec<_>>());
        assert_eq!(dataset.class_counts(2), [100, 100]);
        // Of 200 lengths 3 to 9, those of 7, 8 and 9 tokens (n % 7 in 4..7) do not fit into 6.
        assert_eq!(dataset.truncated(), (0..200).filter(|n| n % 7 >= 4).count());
        assert_eq!(dataset.lengths(), Lengths { median: 6, p95: 9, longest: 9 });
        assert!(dataset.examples.iter().all(|it| it.encoded.ids.len() <= 6));
    }

    #[test]
    fn batches_hold_every_example_once_within_both_limits() {
        let examples: Vec<Example> = [1, 2, 9, 1, 1, 1].map(|words| example(words, &"a ".repeat(words), "bad")).into();
        let dataset = Dataset::encode(Path::new("a.csv"), &examples, Some(&labels()), &small(), 64, &|_| ()).unwrap();
        // Two special tokens each.
        assert_eq!(dataset.batches(0..6, 2, 8), [vec![0, 1], vec![2], vec![3, 4], vec![5]]);
        assert_eq!(dataset.batches(3..6, 9, 9), [vec![3, 4, 5]]);
    }

    #[test]
    fn the_first_of_several_errors_is_returned() {
        let mut examples: Vec<Example> = (0..300).map(|n| example(n + 1, "a", "bad")).collect();
        examples[290].label = None;
        examples[150].label = Some(Label::Text("goood".into()));
        let error = Dataset::encode(Path::new("a.csv"), &examples, Some(&labels()), &small(), 6, &|_| ()).unwrap_err();
        assert_eq!(error.to_string(), "a.csv, line 151: unknown label `goood`");
    }
}
