//! The encoded examples of a split, held once and in little memory: token ids end to end, in blocks of some hundred
//! examples whose numbers take as few bytes as the largest of the block needs.

use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::Place;
use crate::encode::EncodedExample;
use crate::packed::Packed;
use crate::packed_targets::PackedTargets;
use crate::targets::ExampleTarget;

/// Examples of a block: few enough for small numbers, enough for what a block itself takes not to count.
const BLOCK: usize = 512;

/// The encoded examples of one file or of several, in their order.
#[derive(Debug, Clone, Default)]
pub struct Dataset {
    files: Vec<PathBuf>,
    blocks: Vec<Block>,
    /// The number of the first example of each block.
    starts: Vec<usize>,
    len: usize,
}

/// Numbers of tokens, before truncation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lengths {
    pub median: usize,
    /// 95 of 100 examples are at most this long.
    pub p95: usize,
    pub longest: usize,
    /// The longest is longer than that: the rest of very long texts was not tokenised.
    pub at_least: bool,
}

/// Examples of one file that follow one another.
#[derive(Debug, Clone)]
struct Block {
    /// Its number in `Dataset::files`.
    file: usize,
    first_line: usize,
    /// Of each example, behind `first_line`.
    lines: Packed,
    /// Where the ids of each example end.
    ends: Packed,
    ids: Packed,
    /// `None`: all are 0.
    type_ids: Option<Packed>,
    /// Tokens that truncation took from each example.
    cut: Packed,
    /// Whether it took more than these: 1 or 0. `None`: from no example.
    at_least: Option<Packed>,
    targets: PackedTargets,
    spans: Spans,
    lost_targets: Packed,
}

/// The ranges of tokens that are to be predicted, of all examples of a block.
#[derive(Debug, Clone)]
struct Spans {
    /// Where the ranges of each example end.
    ends: Packed,
    /// Begin and end of each range, by turns.
    bounds: Packed,
}

/// One example of a data set.
#[derive(Debug, Clone, Copy)]
pub struct ExampleRef<'a> {
    block: &'a Block,
    /// Within the block.
    index: usize,
}

impl Dataset {
    /// Adds examples of a file behind those that are there. Examples of one file come in its order, one file after the
    /// other.
    pub fn add(&mut self, file: &Path, examples: &[EncodedExample]) {
        if self.files.last().is_none_or(|last| last != file) {
            self.files.push(file.to_owned());
        }
        for examples in examples.chunks(BLOCK) {
            self.starts.push(self.len);
            self.len += examples.len();
            self.blocks.push(Block::new(self.files.len() - 1, examples));
        }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// # Panics
    /// Beyond the last example.
    pub fn get(&self, index: usize) -> ExampleRef<'_> {
        let (block, start) = self.block(index);
        ExampleRef { block, index: index - start }
    }

    pub fn iter(&self) -> impl Iterator<Item = ExampleRef<'_>> + Clone {
        self.blocks.iter().flat_map(|block| (0..block.ends.len()).map(move |index| ExampleRef { block, index }))
    }

    fn block(&self, index: usize) -> (&Block, usize) {
        let block = self.starts.partition_point(|start| *start <= index) - 1;
        (&self.blocks[block], self.starts[block])
    }

    /// The files that the examples are from, in their order.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// The file or files, as messages name them.
    pub fn name(&self) -> String {
        let names: Vec<String> = self.files.iter().map(|file| file.display().to_string()).collect();
        suggest::list(names.iter().map(String::as_str))
    }

    /// Where an example stands.
    pub fn place(&self, index: usize) -> Place {
        let (block, start) = self.block(index);
        Place::new(&self.files[block.file], ExampleRef { block, index: index - start }.line())
    }

    /// The number of the row that each example is from: a row may have become several, which have its place.
    pub fn rows(&self) -> Vec<usize> {
        let mut last = None;
        let mut row = 0;
        let of = |example: ExampleRef<'_>| {
            let place = (example.block.file, example.line());
            row += usize::from(last.is_some_and(|last| last != place));
            last = Some(place);
            row
        };
        self.iter().map(of).collect()
    }

    /// Gives each example the target that `settle` makes of the one it has.
    pub fn settle(&mut self, settle: &dyn Fn(ExampleTarget) -> ExampleTarget) {
        self.blocks.iter_mut().for_each(|block| block.targets = block.targets.settled(block.ends.len(), settle));
    }

    /// Moves the examples at these ascending indices into a data set of their own.
    pub fn split_off(&mut self, indices: &[usize]) -> Dataset {
        let whole = std::mem::take(self);
        let mut moved = Dataset::default();
        for (block, start) in whole.blocks.into_iter().zip(whole.starts) {
            let file = &whole.files[block.file];
            let examples = (0..block.ends.len()).map(|index| ExampleRef { block: &block, index }.owned());
            let is_moved = |index: usize| indices.binary_search(&(start + index)).is_ok();
            let (taken, kept): (Vec<_>, Vec<_>) = examples.enumerate().partition(|(index, _)| is_moved(*index));
            for (part, examples) in [(&mut moved, taken), (&mut *self, kept)] {
                if !examples.is_empty() {
                    part.add(file, &examples.into_iter().map(|(_, example)| example).collect::<Vec<_>>());
                }
            }
        }
        for part in [&mut moved, self] {
            if part.files.is_empty() {
                part.files.clone_from(&whole.files);
            }
        }
        moved
    }

    /// Examples that follow one another, as many as share a batch: at most so many sequences and tokens, but at least one.
    pub fn batches(&self, examples: Range<usize>, sequences: usize, tokens: usize) -> Vec<Vec<usize>> {
        let mut batches: Vec<Vec<usize>> = Vec::new();
        let mut held = 0;
        for index in examples {
            let length = self.get(index).len();
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

    /// By nearest rank: each number is the length of an example. All are 0 for no examples.
    pub fn lengths(&self) -> Lengths {
        let mut lengths: Vec<u32> = self.iter().map(|example| saturated(example.full_length())).collect();
        lengths.sort_unstable();
        let rank = |percent: usize| match (lengths.len() * percent).div_ceil(100) {
            0 => 0,
            rank => lengths[rank - 1] as usize,
        };
        let at_least = self.iter().any(|example| example.at_least());
        Lengths { median: rank(50), p95: rank(95), longest: rank(100), at_least }
    }

    /// The number of tokens of all examples, as they were cut.
    pub fn tokens(&self) -> usize {
        self.blocks.iter().map(|block| block.ids.len()).sum()
    }

    /// The number of examples longer than `max_length`.
    pub fn truncated(&self) -> usize {
        self.iter().filter(ExampleRef::is_cut).count()
    }

    /// The number of tokens that a language model is to predict, in all examples.
    pub fn targets(&self) -> usize {
        self.iter().flat_map(|example| example.spans()).map(|span| span.len()).sum()
    }

    /// The number of tokens to predict that truncation took from all examples.
    pub fn lost_targets(&self) -> usize {
        self.iter().map(|example| example.lost_targets()).sum()
    }

    /// How often each of `classes` classes is a target.
    pub fn class_counts(&self, classes: usize) -> Vec<usize> {
        let mut counts = vec![0; classes];
        for example in self.iter() {
            example.target().classes().for_each(|class| counts[class] += 1);
        }
        counts
    }

    /// The memory that the examples take.
    pub fn bytes(&self) -> usize {
        self.blocks.iter().map(Block::bytes).sum()
    }
}

/// A text of more tokens is as long as any.
fn saturated(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

impl Block {
    fn new(file: usize, examples: &[EncodedExample]) -> Self {
        let first_line = examples.iter().map(|it| it.line).min().unwrap_or(0);
        let each = || examples.iter();
        let typed = each().flat_map(|it| &it.encoded.type_ids).any(|it| *it != 0);
        let all_spans = || each().flat_map(|it| &it.spans);
        Self {
            file,
            first_line,
            lines: Packed::new(each().map(|it| it.line - first_line)),
            ends: Packed::new(sums(each().map(|it| it.encoded.ids.len()))),
            ids: Packed::new(each().flat_map(|it| &it.encoded.ids).map(|id| *id as usize)),
            type_ids: typed.then(|| Packed::new(each().flat_map(|it| &it.encoded.type_ids).map(|id| *id as usize))),
            cut: Packed::new(each().map(|it| it.encoded.full_length - it.encoded.ids.len())),
            at_least: each()
                .any(|it| it.encoded.at_least)
                .then(|| Packed::new(each().map(|it| usize::from(it.encoded.at_least)))),
            targets: PackedTargets::new(each().map(|it| &it.target)),
            spans: Spans {
                ends: Packed::new(sums(each().map(|it| it.spans.len()))),
                bounds: Packed::new(all_spans().flat_map(|span| [span.start, span.end])),
            },
            lost_targets: Packed::new(each().map(|it| it.lost_targets)),
        }
    }

    fn bytes(&self) -> usize {
        let Self { file: _, first_line: _, lines, ends, ids, type_ids, cut, at_least, targets, spans, lost_targets } =
            self;
        let optional = [type_ids, at_least].into_iter().flatten();
        let numbers = [lines, ends, ids, cut, &spans.ends, &spans.bounds, lost_targets].into_iter().chain(optional);
        size_of::<Self>() + targets.bytes() + numbers.map(Packed::bytes).sum::<usize>()
    }
}

/// The sum up to each number.
fn sums(numbers: impl Iterator<Item = usize> + Clone) -> impl Iterator<Item = usize> + Clone {
    numbers.scan(0, |sum, number| {
        *sum += number;
        Some(*sum)
    })
}

/// What lies between the end before and the end at this index.
fn between(ends: &Packed, index: usize) -> Range<usize> {
    let start = if index == 0 { 0 } else { ends.get(index - 1) };
    start..ends.get(index)
}

impl<'a> ExampleRef<'a> {
    /// Its line, or its row: see [`Place`].
    pub fn line(&self) -> usize {
        self.block.first_line + self.block.lines.get(self.index)
    }

    /// The number of its file among [`Dataset::files`].
    pub fn file(&self) -> usize {
        self.block.file
    }

    /// The number of its tokens, at least one.
    #[expect(clippy::len_without_is_empty, reason = "no example is empty")]
    pub fn len(&self) -> usize {
        between(&self.block.ends, self.index).len()
    }

    pub fn ids(&self) -> impl ExactSizeIterator<Item = u32> + Clone + use<'a> {
        self.block.ids.iter(between(&self.block.ends, self.index)).map(|id| id as u32)
    }

    /// 0 for the first text, 1 for the second where the tokenizer's template tells them apart.
    pub fn type_ids(&self) -> impl ExactSizeIterator<Item = u32> + Clone + use<'a> {
        let types = self.block.type_ids.as_ref();
        between(&self.block.ends, self.index).map(move |at| types.map_or(0, |types| types.get(at) as u32))
    }

    /// The number of tokens before truncation.
    pub fn full_length(&self) -> usize {
        self.len() + self.block.cut.get(self.index)
    }

    /// Whether `full_length` is a lower bound: see [`Encoded`](crate::Encoded).
    pub fn at_least(&self) -> bool {
        self.block.at_least.as_ref().is_some_and(|at_least| at_least.get(self.index) == 1)
    }

    pub fn is_cut(&self) -> bool {
        self.block.cut.get(self.index) > 0
    }

    /// What the data says of it.
    pub fn target(&self) -> ExampleTarget {
        self.block.targets.get(self.index)
    }

    /// The tokens that a language model is to predict, as ranges of `ids`: ascending, apart from each other, and without
    /// the first token. None where [`Self::target`] says what is to be hit.
    pub fn spans(&self) -> impl ExactSizeIterator<Item = Range<usize>> + Clone + use<'a> {
        let spans = &self.block.spans;
        between(&spans.ends, self.index).map(|span| spans.bounds.get(2 * span)..spans.bounds.get(2 * span + 1))
    }

    /// The number of tokens to predict that truncation took.
    pub fn lost_targets(&self) -> usize {
        self.block.lost_targets.get(self.index)
    }

    fn owned(&self) -> EncodedExample {
        EncodedExample {
            line: self.line(),
            encoded: crate::Encoded {
                ids: self.ids().collect(),
                type_ids: self.type_ids().collect(),
                full_length: self.full_length(),
                at_least: self.at_least(),
            },
            target: self.target(),
            spans: self.spans().collect(),
            lost_targets: self.lost_targets(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Encoded;

    prop_compose! {
        fn example(line: usize)(
            ids in prop::collection::vec((0..70_000_u32, 0..2_u32), 1..9), cut in 0..900_usize, lost_targets in 0..300_usize,
            spanned: bool, at_least: bool,
        ) -> EncodedExample {
            EncodedExample {
                line,
                target: ExampleTarget::None,
                spans: if spanned { vec![1..ids.len().max(1), ids.len() + 1..ids.len() + 3] } else { Vec::new() },
                lost_targets,
                encoded: Encoded {
                    full_length: ids.len() + cut,
                    ids: ids.iter().map(|it| it.0).collect(),
                    type_ids: ids.iter().map(|it| it.1).collect(),
                    at_least,
                },
            }
        }
    }

    fn examples() -> impl Strategy<Value = Vec<EncodedExample>> {
        (1..1200_usize).prop_flat_map(|count| (0..count).map(|line| example(7 + 3 * line)).collect::<Vec<_>>())
    }

    fn target(n: usize, kind: usize, classes: usize) -> ExampleTarget {
        match kind {
            0 => ExampleTarget::Class(n % classes),
            1 => ExampleTarget::Value(n as f32 / 7.0),
            2 => ExampleTarget::Set((0..n % 4).map(|class| class * classes).collect()),
            _ => ExampleTarget::TokenClasses((0..n % 3).map(|token| (2 * token, (n + token) % classes)).collect()),
        }
    }

    fn owned(dataset: &Dataset) -> Vec<EncodedExample> {
        dataset.iter().map(|example| example.owned()).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn examples_come_back_as_they_were_and_a_split_keeps_each_once(
            examples in examples(), classes in 0..400_usize, kind in 0..4_usize, seed: u64,
        ) {
            let mut examples = examples;
            for (n, example) in examples.iter_mut().enumerate().filter(|_| classes > 0) {
                example.target = target(n, kind, classes);
            }
            let mut dataset = Dataset::default();
            let (one, other) = examples.split_at(examples.len() / 2);
            dataset.add(Path::new("a.csv"), one);
            dataset.add(Path::new("b.csv"), other);
            prop_assert_eq!(&owned(&dataset), &examples);
            for index in [0, examples.len() / 2, examples.len() - 1] {
                prop_assert_eq!(&dataset.get(index).owned(), &examples[index]);
                let file = if index < one.len() { "a.csv" } else { "b.csv" };
                prop_assert_eq!(dataset.place(index), Place::new(Path::new(file), examples[index].line));
            }
            let indices: Vec<usize> = (0..examples.len()).filter(|index| (seed >> (index % 64)) & 1 == 1).collect();
            let moved = dataset.split_off(&indices);
            let (taken, kept): (Vec<_>, Vec<_>) =
                examples.into_iter().enumerate().partition(|(index, _)| indices.contains(index));
            let of = |part: Vec<(usize, EncodedExample)>| part.into_iter().map(|(_, it)| it).collect::<Vec<_>>();
            prop_assert_eq!((owned(&moved), owned(&dataset)), (of(taken), of(kept)));
        }
    }

    #[test]
    fn short_texts_take_little_more_than_two_bytes_a_token() {
        let example = |n: usize| EncodedExample {
            line: n,
            encoded: Encoded { ids: vec![29_999; 20], type_ids: vec![0; 20], full_length: 20, at_least: false },
            target: ExampleTarget::Class(n % 2),
            spans: Vec::new(),
            lost_targets: 0,
        };
        let mut dataset = Dataset::default();
        dataset.add(Path::new("a.csv"), &(0..10_000).map(example).collect::<Vec<_>>());
        assert!(dataset.bytes() < 10_000 * 50, "{}", dataset.bytes());
    }
}
