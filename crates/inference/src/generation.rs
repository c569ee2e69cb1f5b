//! A causal language model writes: prompts become texts, shown while they are made.

use std::ops::ControlFlow;

use data::Tokenizer;
use data::language::{StopStrings, TextStream};
use model::{CausalLm, Finish, Generation, Prompt, Sampling, SamplingError};
use serde::Serialize;
use suggest::counted;

/// New tokens of a text where nothing says how many.
const DEFAULT_NEW_TOKENS: usize = 256;

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum GenerationError {
    #[error("{subject} has {tokens} tokens, {excess} too many: the model has {positions} positions")]
    #[diagnostic(help("shorten it: at least one position must be left for what is to be written"))]
    Prompt { subject: String, tokens: usize, excess: usize, positions: usize },
    #[error(
        "{subject} has {}; with {asked} new ones that is {excess} too many: the model has {positions} positions",
        counted(*tokens, "token", "tokens")
    )]
    #[diagnostic(help("shorten it, or ask for at most {} new ones", positions - tokens))]
    Room { subject: String, tokens: usize, asked: usize, excess: usize, positions: usize },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Sampling(#[from] SamplingError),
}

/// How texts are written.
#[derive(Debug)]
pub struct Writer<'a> {
    pub model: CausalLm<'a>,
    pub tokenizer: &'a Tokenizer,
    pub sampling: Sampling,
    pub stop_tokens: &'a [u32],
    pub stop_strings: Vec<String>,
    /// `None`: as many as there is room for, up to a few hundred.
    pub max_new_tokens: Option<usize>,
    pub positions: usize,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Written {
    pub text: String,
    /// The new tokens with the one that ended the text.
    pub token_ids: Vec<u32>,
    pub finish_reason: FinishReason,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FinishReason {
    Stop,
    Length,
}

/// A text that is being written.
struct Draft<'a> {
    stream: TextStream<'a>,
    stops: StopStrings,
    written: Written,
}

impl Draft<'_> {
    fn show(&mut self, text: &str, shown: &mut dyn FnMut(&str)) -> bool {
        let found = self.stops.push(text);
        self.add(&found.text, shown);
        found.stopped
    }

    fn add(&mut self, text: &str, shown: &mut dyn FnMut(&str)) {
        if !text.is_empty() {
            self.written.text.push_str(text);
            shown(text);
        }
    }
}

impl Writer<'_> {
    /// A prompt of these tokens; `subject` is what messages call it, `row` what its random choices depend on.
    pub fn prompt(&self, ids: Vec<u32>, row: u64, subject: &str) -> Result<Prompt, GenerationError> {
        let (tokens, positions, subject) = (ids.len(), self.positions, subject.to_string());
        if tokens >= positions {
            return Err(GenerationError::Prompt { subject, tokens, excess: tokens + 1 - positions, positions });
        }
        let room = positions - tokens;
        let max_new_tokens = match self.max_new_tokens {
            Some(asked) if asked > room => {
                return Err(GenerationError::Room { subject, tokens, asked, excess: asked - room, positions });
            }
            Some(asked) => asked,
            None => room.min(DEFAULT_NEW_TOKENS),
        };
        Ok(Prompt { ids, row, max_new_tokens })
    }

    /// Goes on with all prompts at once. `shown` is told of each piece of text as it becomes certain, with the index of its
    /// prompt.
    pub fn write(&self, prompts: &[Prompt], shown: &mut dyn FnMut(usize, &str)) -> Result<Vec<Written>, SamplingError> {
        self.write_while(prompts, &mut |prompt, text| {
            if !text.is_empty() {
                shown(prompt, text);
            }
            ControlFlow::Continue(())
        })
    }

    /// As [`Writer::write`], until somebody has seen enough: `each` is told of every new token's prompt with the text that has
    /// become certain, often none. What is written until then is returned.
    pub fn write_while(
        &self,
        prompts: &[Prompt],
        each: &mut dyn FnMut(usize, &str) -> ControlFlow<()>,
    ) -> Result<Vec<Written>, SamplingError> {
        let draft = |_: &Prompt| Draft {
            stream: TextStream::new(self.tokenizer),
            stops: StopStrings::new(self.stop_strings.clone()),
            written: Written { text: String::new(), token_ids: Vec::new(), finish_reason: FinishReason::Length },
        };
        let mut drafts: Vec<Draft<'_>> = prompts.iter().map(draft).collect();
        let mut generation = Generation::new(self.model, prompts, &self.sampling, self.stop_tokens);
        loop {
            let chosen = generation.step()?;
            if chosen.is_empty() {
                return Ok(drafts.into_iter().map(|draft| draft.written).collect());
            }
            for chosen in chosen {
                let draft = &mut drafts[chosen.prompt];
                let mut certain_now = String::new();
                let mut shown = |text: &str| certain_now.push_str(text);
                draft.written.token_ids.push(chosen.token);
                let certain = match chosen.finish {
                    Some(Finish::Stop) => String::new(),
                    Some(Finish::Length) | None => draft.stream.push(chosen.token),
                };
                let mut stopped = draft.show(&certain, &mut shown);
                if chosen.finish.is_some() && !stopped {
                    let rest = draft.stream.finish();
                    stopped = draft.show(&rest, &mut shown);
                    if !stopped {
                        let held = draft.stops.finish();
                        draft.add(&held, &mut shown);
                    }
                }
                if stopped || chosen.finish == Some(Finish::Stop) {
                    draft.written.finish_reason = FinishReason::Stop;
                }
                if stopped {
                    generation.end(chosen.prompt);
                }
                if each(chosen.prompt, &certain_now).is_break() {
                    return Ok(drafts.into_iter().map(|draft| draft.written).collect());
                }
            }
        }
    }
}
