//! What a causal language model answers to some validation prompts, and how near that comes to what was expected: the
//! scores of `train.eval_generate`.

use std::sync::Arc;

use data::Tokenizer;
use model::{Prompt, Sampling};

use super::Error;
use crate::prepare::Question;
use crate::workers::Workers;
use ::tasks::metrics::{Generated, GenerationScores};
use inference::{GenerationError, Writer};
use tasks::TrainableModel;

/// Prompts that are continued together.
const BATCH: usize = 16;

/// Prompts with their expected answers.
#[derive(Debug, Clone)]
pub(crate) struct Questions {
    questions: Vec<Question>,
    tokenizer: Arc<Tokenizer>,
    stop_tokens: Arc<[u32]>,
    positions: usize,
    /// Twice the longest answer that is expected, and a few more: what is longer is wrong anyway.
    max_new_tokens: usize,
}

impl Questions {
    /// Prompts that leave no position for an answer are left out.
    pub(crate) fn new(
        mut questions: Vec<Question>,
        tokenizer: Tokenizer,
        stop_tokens: Vec<u32>,
        positions: usize,
    ) -> Self {
        questions.retain(|question| question.ids.len() < positions);
        let longest = questions.iter().map(|question| question.answer_tokens).max().unwrap_or(0);
        Self {
            questions,
            tokenizer: Arc::new(tokenizer),
            stop_tokens: stop_tokens.into(),
            positions,
            max_new_tokens: 2 * longest + 8,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.questions.len()
    }

    /// At most so many tokens, with their answers, are held at one time.
    pub(crate) fn tokens_at_once(&self) -> usize {
        let longest = self.questions.iter().map(|question| question.ids.len()).max().unwrap_or(0);
        self.len().min(BATCH) * (longest + self.max_new_tokens).min(self.positions)
    }

    /// The first of them alone.
    pub(super) fn first(&self) -> Self {
        Self { questions: self.questions.iter().take(1).cloned().collect(), ..self.clone() }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Question> {
        self.questions.iter()
    }

    /// Greedy answers, in the order of the questions, of which each worker writes some.
    pub(crate) fn answers(&self, trainable_model: &TrainableModel, workers: &Workers) -> Result<Vec<String>, Error> {
        let Some(model) = trainable_model.model.causal_lm() else { return Ok(Vec::new()) };
        let writer = Writer {
            model,
            adapters: None,
            tokenizer: self.tokenizer.clone(),
            sampling: Sampling::default(),
            stop_tokens: self.stop_tokens.clone(),
            stop_strings: Vec::new(),
            max_new_tokens: None,
            positions: self.positions,
        };
        // What is written to a prompt does not depend on those that are continued with it.
        let together = BATCH.min(self.len().div_ceil(workers.size())).max(1);
        let chunks: Vec<(usize, &[Question])> = self.questions.chunks(together).enumerate().collect();
        let answers = workers.in_turn("answers to prompts", &chunks, |(number, questions)| {
            let prompt = |(index, question): (usize, &Question)| {
                let row = (number * together + index) as u64;
                let prompt = writer.prompt(question.ids.clone(), row, &format!("prompt {}", row + 1))?;
                let max_new_tokens = prompt.max_new_tokens.min(self.max_new_tokens);
                Ok(Prompt { max_new_tokens, ..prompt })
            };
            let prompts = questions.iter().enumerate().map(prompt).collect::<Result<Vec<_>, GenerationError>>()?;
            let written = writer.write(&prompts, &mut |_, _| {})?;
            Ok::<_, Error>(written.into_iter().map(|written| written.text).collect::<Vec<String>>())
        })?;
        Ok(answers.concat())
    }

    pub(crate) fn scores(&self, answers: &[String]) -> GenerationScores {
        let references: Vec<[String; 1]> = self.questions.iter().map(|question| [question.answer.clone()]).collect();
        let generated: Vec<Generated<'_>> =
            answers.iter().zip(&references).map(|(text, references)| Generated { text, references }).collect();
        GenerationScores::of(&generated)
    }
}
