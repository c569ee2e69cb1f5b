//! Causal language modelling: texts, completions of prompts and the assistant's turns of conversations. What a row becomes
//! is `data`'s; here is what of the checkpoint's files it takes.

use std::path::Path;
use std::time::{Duration, SystemTime};

use data::Tokenizer;
use data::language::{Bounds, ChatTemplate, Encoder, LossOn, UnreadFields};

use crate::config;

/// The date that a chat template is told which asks for it: 26 July 2024, which Llama 3's templates take where they are not
/// told any. Always the same, so that a run gives the same texts on every day, and generation those of training.
const DATE: Duration = Duration::from_secs(1_721_952_000);

/// How a checkpoint writes texts.
#[derive(Debug, Clone)]
pub(crate) struct CausalLm {
    chat: Option<ChatTemplate>,
    bounds: Bounds,
    pub(crate) loss_on: config::LossOn,
}

impl CausalLm {
    /// Reads the first and end tokens of a model, and the chat template beside its tokenizer, which may be an adapter's.
    pub(crate) fn open(
        model: &Path,
        of_tokenizer: &Path,
        tokenizer: &Tokenizer,
        loss_on: config::LossOn,
    ) -> Result<Self, data::Error> {
        Ok(Self {
            chat: ChatTemplate::from_dir(of_tokenizer, SystemTime::UNIX_EPOCH + DATE)?,
            bounds: Bounds::of(model, tokenizer)?,
            loss_on,
        })
    }

    pub(crate) fn has_chat_template(&self) -> bool {
        self.chat.is_some()
    }

    pub(crate) fn encoder<'a>(&'a self, tokenizer: &'a Tokenizer) -> Encoder<'a> {
        let loss_on = match self.loss_on {
            config::LossOn::Completion => LossOn::Completion,
            config::LossOn::All => LossOn::All,
        };
        Encoder::new(tokenizer, self.chat.as_ref(), &self.bounds, loss_on)
    }

    /// Looks for fields of messages that have no effect.
    pub(crate) fn unread_fields(&self) -> Option<UnreadFields<'_>> {
        self.chat.as_ref().map(UnreadFields::new)
    }
}
