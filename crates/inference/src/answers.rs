//! Answers to rows: classes with probabilities, entities with their places, numbers.

use std::ops::Range;

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
        answers(&asked, &self.pretrained, |batch, _| {
            vec![(batch.sequences(), self.model.logits(&MicroBatch::evaluation(batch)))]
        })
    }
}

impl Base {
    /// The answers to questions, in their order, each for one of its adapters or for the base itself. They go through the base
    /// together; each gets the answer that a [`Pipeline`] with its adapter gives.
    ///
    /// Errors: those of [`Pipeline::answer`]; a question for the base where that has no head of its own.
    pub fn answer(&self, questions: &[(Option<&ServedAdapter>, &Question)]) -> Result<Vec<Answer>, Error> {
        let order = by_adapter(questions);
        let (mut asked, mut adapters) = (Vec::with_capacity(order.len()), Vec::new());
        for (adapter, question) in order.iter().map(|index| questions[*index]) {
            let processor = match adapter {
                Some(adapter) => &adapter.processor,
                None => self.processor()?,
            };
            asked.push((processor, question));
            adapters.extend(question.sequences.iter().map(|_| adapter));
        }
        let answers = answers(&asked, &self.pretrained, |batch, sequences| self.logits(&batch, &adapters[sequences]));
        let mut placed: Vec<(usize, Answer)> = order.into_iter().zip(answers?).collect();
        placed.sort_by_key(|(index, _)| *index);
        Ok(placed.into_iter().map(|(_, answer)| answer).collect())
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

/// The questions in an order in which those of one adapter follow each other: one range of rows then. Adapters come as they are first
/// asked.
fn by_adapter(questions: &[(Option<&ServedAdapter>, &Question)]) -> Vec<usize> {
    let mut seen = Vec::new();
    let mut place = |index: &usize| {
        let adapter = address(questions[*index].0);
        seen.iter().position(|known| *known == adapter).unwrap_or_else(|| {
            seen.push(adapter);
            seen.len() - 1
        })
    };
    let mut order: Vec<usize> = (0..questions.len()).collect();
    order.sort_by_cached_key(|index| place(index));
    order
}

/// A question, and what it was made by.
type Asked<'a> = (&'a Processor, &'a Question);

/// `logits` is given some of the questions' sequences as a batch, with their numbers among all, and says of consecutive ones how many
/// they are and what their head gives.
fn answers(
    asked: &[Asked<'_>],
    pretrained: &Pretrained,
    logits: impl Fn(Batch, Range<usize>) -> Vec<(usize, Tensor<2>)>,
) -> Result<Vec<Answer>, Error> {
    let sequences: Vec<&Sequence> = asked.iter().flat_map(|(_, question)| &question.sequences).collect();
    check_vocabulary(sequences.iter().map(|sequence| &sequence.encoded), pretrained)?;
    // Of each sequence the width of its outputs.
    let (mut outputs, mut widths) = (Vec::new(), Vec::with_capacity(sequences.len()));
    for first in (0..sequences.len()).step_by(BATCH) {
        let numbers = first..sequences.len().min(first + BATCH);
        let batch = Sequence::batch(sequences[numbers.clone()].iter().copied());
        for (count, found) in logits(batch, numbers) {
            widths.resize(widths.len() + count, found.dims()[1]);
            outputs.extend(host(found));
        }
    }
    if !outputs.iter().all(|output| output.is_finite()) {
        return Err(not_finite(pretrained, "the logits"));
    }
    let (mut rest, mut widths) = (outputs.as_slice(), widths.as_slice());
    let answer = |(processor, question): &Asked<'_>| {
        let (own_widths, other_widths) = widths.split_at(question.sequences.len());
        let (own, others) = rest.split_at(question.outputs() * own_widths.first().copied().unwrap_or_default());
        (rest, widths) = (others, other_widths);
        processor.answer_to(question, own)
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
