//! Texts that a causal language model writes to prompts, to rows of prompts and to conversations.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use data::Encoded;
use data::language::{Conversation, Encoder, Row};
use lora::AdapterSet;
use model::{CausalLm, Pretrained, Prompt, Sampling};
use tasks::check_vocabulary;

use crate::{Base, Error, GenerationError, Pipeline, Processor, ServedAdapter, TextRequest, Writer, Written};

/// How texts are written.
#[derive(Debug, Clone, Default)]
pub struct GenerationSettings {
    pub sampling: Sampling,
    /// Strings before which a text ends.
    pub stop_strings: Vec<String>,
    /// `None`: as many as there is room for, up to a few hundred.
    pub max_new_tokens: Option<usize>,
}

/// A [`Pipeline`] that writes, or a [`Base`] with one of its adapters: Transformers' `text-generation`.
pub struct TextGeneration<'a> {
    processor: &'a Processor,
    pretrained: &'a Pretrained,
    model: CausalLm<'a>,
    adapters: Option<Arc<AdapterSet>>,
    encoder: Encoder<'a>,
    has_chat_template: bool,
    settings: GenerationSettings,
    positions: usize,
}

impl Pipeline {
    /// Errors: settings that cannot be sampled with; a model that is no causal language model.
    pub fn text_generation(&self, settings: GenerationSettings) -> Result<TextGeneration<'_>, Error> {
        TextGeneration::new(&self.processor, &self.pretrained, self.model.model.causal_lm(), None, settings)
    }
}

impl Base {
    /// By way of one of its adapters, or of the base itself.
    ///
    /// Errors: settings that cannot be sampled with; a model that is no causal language model.
    pub fn text_generation<'a>(
        &'a self,
        adapter: Option<&'a ServedAdapter>,
        settings: GenerationSettings,
    ) -> Result<TextGeneration<'a>, Error> {
        let processor = match adapter {
            Some(adapter) => &adapter.processor,
            None => self.processor()?,
        };
        let adapters = adapter.map(|adapter| adapter.routed.adapters().clone());
        TextGeneration::new(processor, &self.pretrained, self.model.causal_lm(), adapters, settings)
    }
}

impl<'a> TextGeneration<'a> {
    fn new(
        processor: &'a Processor,
        pretrained: &'a Pretrained,
        model: Option<CausalLm<'a>>,
        adapters: Option<Arc<AdapterSet>>,
        settings: GenerationSettings,
    ) -> Result<Self, Error> {
        settings.sampling.check().map_err(GenerationError::from)?;
        let (Some(model), Some(task)) = (model, processor.task.writes()) else {
            return Err(Error::NoTexts { task: processor.task.definition().id() });
        };
        Ok(Self {
            processor,
            pretrained,
            model,
            adapters,
            encoder: task.encoder(&processor.tokenizer),
            has_chat_template: task.has_chat_template(),
            settings,
            positions: pretrained.max_positions()?,
        })
    }

    /// Whether conversations can be encoded.
    pub fn has_chat_template(&self) -> bool {
        self.has_chat_template
    }

    /// Continues texts; what is drawn for one depends on its index alone.
    pub fn generate(&self, texts: &[&str]) -> Result<Vec<Written>, Error> {
        let prompts = texts.iter().enumerate().map(|(n, text)| {
            let (row, subject) = (n as u64, format!("text {}", n + 1));
            let encoded = self.encode_text(text, &subject)?;
            self.prompts(&encoded, row..row + 1, &subject)
        });
        let prompts: Vec<Prompt> = prompts.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect();
        self.write(&prompts, &mut |_, _| {})
    }

    /// How texts become tokens.
    pub fn encoder(&self) -> &Encoder<'a> {
        &self.encoder
    }

    /// A text as tokens, which is continued as it is; `subject` is what messages call it. Of one that is far too long for the
    /// model no more is read than it takes to know that.
    pub fn encode_text(&self, text: &str, subject: &str) -> Result<Encoded, Error> {
        Ok(self.encoder.prompt_of_text(text, self.positions, subject)?)
    }

    /// The prompt of a row of a file as tokens.
    pub fn encode_row(&self, file: &Path, row: &Row) -> Result<Encoded, Error> {
        Ok(self.encoder.prompt(file, row, self.positions)?)
    }

    /// A conversation as the chat template writes it, up to where the assistant's turn begins.
    pub fn encode_conversation(&self, conversation: &Conversation, subject: &str) -> Result<Encoded, Error> {
        Ok(self.encoder.prompt_of_conversation(conversation, self.positions, subject)?)
    }

    /// Prompts of the same tokens: one for each of `rows`, the numbers that random choices depend on.
    ///
    /// Errors: tokens that the model has no embeddings for, or no positions.
    pub fn prompts(&self, encoded: &Encoded, rows: Range<u64>, subject: &str) -> Result<Vec<Prompt>, Error> {
        if encoded.at_least {
            let (tokens, positions, subject) = (encoded.full_length, self.positions, subject.to_string());
            return Err(GenerationError::Prompt { subject, tokens, at_least: true, positions }.into());
        }
        check_vocabulary([encoded].into_iter(), self.pretrained)?;
        let writer = self.writer();
        Ok(rows.map(|row| writer.prompt(encoded.ids.clone(), row, subject)).collect::<Result<_, _>>()?)
    }

    /// Continues all prompts at once. `shown` is told of each piece of text as it becomes certain, with the index of its
    /// prompt.
    ///
    /// Errors: logits that no token can be chosen by; a weight that is to blame is named.
    pub fn write(&self, prompts: &[Prompt], shown: &mut dyn FnMut(usize, &str)) -> Result<Vec<Written>, Error> {
        self.writer().write(prompts, shown).map_err(|error| match self.pretrained.not_finite() {
            Ok(Some(error)) | Err(error) => error.into(),
            Ok(None) => error.into(),
        })
    }

    /// The model that the texts are written with, for a [`Scheduler`](crate::Scheduler).
    pub fn model(&self) -> CausalLm<'_> {
        self.model
    }

    /// What a [`Scheduler`](crate::Scheduler) needs to continue a prompt.
    pub fn request(&self, prompt: Prompt) -> TextRequest {
        self.writer().request(prompt)
    }

    fn writer(&self) -> Writer<'_> {
        Writer {
            model: self.model,
            adapters: self.adapters.clone(),
            tokenizer: self.processor.tokenizer.clone(),
            sampling: self.settings.sampling.clone(),
            stop_tokens: self.encoder.stop_tokens().into(),
            stop_strings: self.settings.stop_strings.clone(),
            max_new_tokens: self.settings.max_new_tokens,
            positions: self.positions,
        }
    }
}
