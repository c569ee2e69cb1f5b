//! Examples become encoded sequences with the number of their class, or with the tokens that are to be predicted: in
//! parallel, in order.

use std::ops::Range;
use std::path::Path;

use rayon::prelude::*;

use crate::columns::Example;
use crate::dataset::Dataset;
use crate::language::{Encoder, Row};
use crate::targets::ExampleTarget;
use crate::tokenizer::{Encoded, Tokenizer};
use crate::{Error, Labels};

/// Examples encoded between two reports of progress: some milliseconds of work. Less where there are threads for it.
const CHUNK: usize = 64;

/// What rows are encoded with.
pub struct Encoding<'a> {
    pub tokenizer: &'a Tokenizer,
    /// In tokens.
    pub max_length: usize,
    /// Told how many rows are done since it was last called.
    pub progress: &'a (dyn Fn(usize) + Sync),
    pub share: Share,
}

impl<'a> Encoding<'a> {
    /// Of all rows, without a report of progress.
    pub fn new(tokenizer: &'a Tokenizer, max_length: usize) -> Self {
        Self { tokenizer, max_length, progress: &|_| {}, share: Share::ALL }
    }
}

/// Which of the rows that are added together are encoded: one of several shares of about as many rows, one after
/// the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// From 0.
    pub number: usize,
    pub of: usize,
}

impl Share {
    pub const ALL: Self = Self { number: 0, of: 1 };

    /// Its rows, of so many.
    pub fn range(self, rows: usize) -> Range<usize> {
        let begin = |number: usize| rows * number / self.of;
        begin(self.number)..begin(self.number + 1)
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct EncodedExample {
    pub line: usize,
    pub encoded: Encoded,
    pub target: ExampleTarget,
    /// The tokens that a language model is to predict, as ranges of `encoded.ids`: ascending, apart from each other, and
    /// without the first token. None where `target` says what is to be hit.
    pub spans: Vec<Range<usize>>,
    /// The number of tokens to predict that truncation took.
    pub lost_targets: usize,
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
        let target = |example: &Example| match labels {
            Some(labels) => labels.index(file, example).map(ExampleTarget::Class),
            None => Ok(ExampleTarget::None),
        };
        let targets: Vec<ExampleTarget> = examples.iter().map(target).collect::<Result<_, _>>()?;
        let mut dataset = Dataset::default();
        let encoding = Encoding { progress, ..Encoding::new(tokenizer, max_length) };
        dataset.add_texts(file, examples, &targets, &encoding)?;
        Ok(dataset)
    }

    /// As `encode`, behind the examples that are there; `targets` are those of the examples.
    pub fn add_texts(
        &mut self,
        file: &Path,
        examples: &[Example],
        targets: &[ExampleTarget],
        encoding: &Encoding<'_>,
    ) -> Result<(), Error> {
        let encode = |(example, target): &(&Example, &ExampleTarget)| {
            let encoded = encoding
                .tokenizer
                .encode(&example.text, example.text_pair.as_deref(), encoding.max_length)
                .map_err(|error| error.at(file, example.line))?;
            let target = (*target).clone();
            Ok([EncodedExample { line: example.line, encoded, target, spans: Vec::new(), lost_targets: 0 }])
        };
        let rows: Vec<(&Example, &ExampleTarget)> = examples.iter().zip(targets).collect();
        self.in_parallel(file, &rows, encode, encoding)
    }

    /// The same of rows for a language model. A row may become several examples, which then have its line.
    pub fn add_rows(
        &mut self,
        file: &Path,
        rows: &[Row],
        encoder: &Encoder<'_>,
        encoding: &Encoding<'_>,
    ) -> Result<(), Error> {
        self.in_parallel(file, rows, |row| encoder.examples(file, row, encoding.max_length), encoding)
    }

    /// Adds what `encode` makes of rows of a file, each some examples: on all threads, in the order of the rows.
    pub fn in_parallel<T: Sync, I: IntoIterator<Item = EncodedExample>>(
        &mut self,
        file: &Path,
        rows: &[T],
        encode: impl Fn(&T) -> Result<I, Error> + Sync,
        Encoding { progress, share, .. }: &Encoding<'_>,
    ) -> Result<(), Error> {
        let rows = &rows[share.range(rows.len())];
        let together = rows.len().div_ceil(rayon::current_num_threads()).clamp(1, CHUNK);
        let chunks: Vec<Result<Vec<EncodedExample>, Error>> = rows
            .par_chunks(together)
            .map(|chunk| {
                let mut examples = Vec::with_capacity(chunk.len());
                for row in chunk {
                    examples.extend(encode(row)?);
                }
                progress(chunk.len());
                Ok(examples)
            })
            .collect();
        let mut examples = Vec::with_capacity(rows.len());
        for chunk in chunks {
            examples.extend(chunk?);
        }
        self.add(file, &examples);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::tokenizer::tests::small;
    use crate::{Label, Lengths};

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
        assert_eq!(dataset.iter().map(|it| it.line()).collect::<Vec<_>>(), (1..=200).collect::<Vec<_>>());
        assert_eq!(dataset.class_counts(2), [100, 100]);
        // Of 200 lengths 3 to 9, those of 7, 8 and 9 tokens (n % 7 in 4..7) do not fit into 6.
        assert_eq!(dataset.truncated(), (0..200).filter(|n| n % 7 >= 4).count());
        assert_eq!(dataset.lengths(), Lengths { median: 6, p95: 9, longest: 9, at_least: false });
        assert!(dataset.iter().all(|it| it.len() <= 6));
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
