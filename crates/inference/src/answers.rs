//! Answers to rows: classes with probabilities, entities with their places, numbers.

use burn::tensor::Tensor;
use data::{Batch, Record};
use model::{Part, Pretrained};
use tasks::{Answer, MicroBatch, Question, Sequence, check_vocabulary, host, tokens};

use crate::{Base, Error, Pipeline, Processor, ServedAdapter};

/// Sequences that go through the model together; a long text may be many.
const BATCH: usize = 64;

impl Pipeline {
    /// The answers to texts, in their order.
    ///
    /// Errors: a model that reads several columns; a text that cannot be read, named by its number as a line.
    pub fn answer_texts(&self, texts: &[&str]) -> Result<Vec<Answer>, Error> {
        self.answer(&self.questions_of_texts(texts)?)
    }

    /// The answers to rows, in their order: of the columns that the first row has, those that the model reads. Messages call a
    /// row by its line.
    pub fn answer_records(&self, records: &[Record]) -> Result<Vec<Answer>, Error> {
        self.answer(&self.questions(records)?)
    }

    /// The answers to questions, in their order.
    ///
    /// Errors: tokens that the model has no embeddings for; outputs that are no finite numbers; a task whose models do not
    /// answer rows, such as a language model's.
    pub fn answer(&self, questions: &[Question]) -> Result<Vec<Answer>, Error> {
        let asked: Vec<Asked<'_>> = questions.iter().map(|question| (&self.processor, question)).collect();
        answers(&asked, &self.pretrained, |sequences| {
            let outputs = |part: &[&Sequence]| {
                let batch = Sequence::batch(part.iter().copied());
                by_sequence(self.model.logits(&MicroBatch::evaluation(batch)), part.iter().copied())
            };
            sequences.chunks(BATCH).flat_map(outputs).collect()
        })
    }
}

impl Base {
    /// The answers to questions, in their order, each for one of its adapters or for the base itself. They go through the base
    /// together; each gets the answer that a [`Pipeline`] with its adapter gives.
    ///
    /// Errors: those of [`Pipeline::answer`]; a question for the base where that has no head of its own.
    pub fn answer(&self, questions: &[(Option<&ServedAdapter>, &Question)]) -> Result<Vec<Answer>, Error> {
        let (mut asked, mut adapters) = (Vec::with_capacity(questions.len()), Vec::new());
        for (adapter, question) in questions.iter().copied() {
            let processor = match adapter {
                Some(adapter) => &adapter.processor,
                None => self.processor()?,
            };
            asked.push((processor, question));
            adapters.extend(question.sequences.iter().map(|_| adapter));
        }
        answers(&asked, &self.pretrained, |sequences| {
            self.outputs(&adapters.into_iter().zip(sequences.iter().copied()).collect::<Vec<_>>())
        })
    }

    /// The outputs of the heads for sequences, in their order, `[Sequence::outputs, outputs]` each: those of a question one after
    /// another are what [`Processor::answer_to`] reads. They go through the base together, each through one of its adapters or
    /// through the base alone, and get the bits that they get alone.
    ///
    /// # Panics
    /// Tokens that the model has no embeddings for; a sequence for the base where that has no head of its own.
    pub fn outputs(&self, sequences: &[(Option<&ServedAdapter>, &Sequence)]) -> Vec<Vec<f32>> {
        let order = by_adapter(sequences);
        let mut placed = Vec::with_capacity(order.len());
        for part in order.chunks(BATCH) {
            let own = || part.iter().map(|index| sequences[*index].1);
            let adapters: Vec<Option<&ServedAdapter>> = part.iter().map(|index| sequences[*index].0).collect();
            let (mut indices, mut own_sequences) = (part.iter().copied(), own());
            for (count, logits) in self.logits(&Sequence::batch(own()), &adapters) {
                let of_part = by_sequence(logits, own_sequences.by_ref().take(count));
                placed.extend(indices.by_ref().take(count).zip(of_part));
            }
        }
        placed.sort_by_key(|(index, _)| *index);
        placed.into_iter().map(|(_, outputs)| outputs).collect()
    }

    /// Of consecutive sequences of one adapter how many they are, and their logits.
    fn logits(&self, batch: &Batch, adapters: &[Option<&ServedAdapter>]) -> Vec<(usize, Tensor<2>)> {
        let same = |left: &Option<&ServedAdapter>, right: &Option<&ServedAdapter>| address(*left) == address(*right);
        let (mut first, mut rows, mut parts) = (0, Vec::new(), Vec::new());
        for of_part in adapters.chunk_by(same) {
            let tokens = batch.offsets[first]..batch.offsets[first + of_part.len()];
            let own = batch.rows.iter().filter(|row| tokens.contains(row));
            rows.push(own.map(|row| row - tokens.start).collect::<Vec<_>>());
            parts.push((of_part.len(), of_part[0].map(|adapter| &adapter.routed)));
            first += of_part.len();
        }
        let part = |((sequences, adapter), rows)| Part { sequences, adapter, rows };
        let parts: Vec<Part<'_>> = parts.into_iter().zip(rows.iter().map(Vec::as_slice)).map(part).collect();
        let logits = self.model.forward_routed(&tokens(batch, &self.model.device()), &parts);
        parts.iter().map(|part| part.sequences).zip(logits).collect()
    }
}

fn address(adapter: Option<&ServedAdapter>) -> Option<*const ServedAdapter> {
    adapter.map(std::ptr::from_ref)
}

/// The sequences in an order in which those of one adapter follow each other: one range of rows then. Adapters come as they are first
/// asked.
fn by_adapter(sequences: &[(Option<&ServedAdapter>, &Sequence)]) -> Vec<usize> {
    let mut seen = Vec::new();
    let mut place = |index: &usize| {
        let adapter = address(sequences[*index].0);
        seen.iter().position(|known| *known == adapter).unwrap_or_else(|| {
            seen.push(adapter);
            seen.len() - 1
        })
    };
    let mut order: Vec<usize> = (0..sequences.len()).collect();
    order.sort_by_cached_key(|index| place(index));
    order
}

/// What a head gives for consecutive sequences, cut where they end.
fn by_sequence<'a>(logits: Tensor<2>, sequences: impl Iterator<Item = &'a Sequence>) -> Vec<Vec<f32>> {
    let width = logits.dims()[1];
    let mut values = host(logits).into_iter();
    sequences.map(|sequence| values.by_ref().take(sequence.outputs() * width).collect()).collect()
}

/// A question, and what it was made by.
type Asked<'a> = (&'a Processor, &'a Question);

/// `outputs` are those of the head for sequences.
fn answers(
    asked: &[Asked<'_>],
    pretrained: &Pretrained,
    outputs: impl FnOnce(&[&Sequence]) -> Vec<Vec<f32>>,
) -> Result<Vec<Answer>, Error> {
    let sequences: Vec<&Sequence> = asked.iter().flat_map(|(_, question)| &question.sequences).collect();
    check_vocabulary(sequences.iter().map(|sequence| &sequence.encoded), pretrained)?;
    let outputs = outputs(&sequences);
    if !outputs.iter().flatten().all(|output| output.is_finite()) {
        return Err(not_finite(pretrained, "the logits"));
    }
    let mut rest = outputs.into_iter();
    let answer = |(processor, question): &Asked<'_>| {
        let own: Vec<f32> = rest.by_ref().take(question.sequences.len()).flatten().collect();
        processor.answer_to(question, &own)
    };
    asked.iter().map(answer).collect()
}

/// Why `what` are no finite numbers: the weight that is to blame, which is looked for only then, or that they have become too
/// large on the way.
pub fn not_finite(pretrained: &Pretrained, what: &'static str) -> Error {
    match pretrained.not_finite() {
        Ok(Some(error)) | Err(error) => error.into(),
        Ok(None) => Error::NotFinite { what },
    }
}
