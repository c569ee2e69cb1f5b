//! Texts that a causal language model writes to one request.

use data::Encoded;
use data::language::Conversation;
use inference::{FinishReason, GenerationSettings, Limits, Pipeline, Scheduler, TextGeneration};
use tokio::sync::mpsc::UnboundedSender;

use super::worker::Fault;
use super::{Error, no_settings};

#[derive(Debug, Clone)]
pub(crate) struct Generate {
    pub(crate) prompts: Prompts,
    /// Texts for each prompt.
    pub(crate) samples: u64,
    pub(crate) settings: GenerationSettings,
    /// New tokens of a text for which the settings say no number.
    pub(crate) max_tokens: usize,
}

/// What is to be continued.
#[derive(Debug, Clone)]
pub(crate) enum Prompts {
    Texts(Vec<String>),
    Tokens(Vec<Vec<u32>>),
    Conversation(Conversation),
}

/// What happens to a request, in this order: `Started`, then the pieces of all choices, each of which ends.
#[derive(Debug)]
pub(crate) enum Event {
    Started {
        prompt_tokens: usize,
    },
    /// A token, and the text that has become certain with it, often none. Choices are numbered prompt by prompt.
    Token {
        choice: usize,
        text: String,
    },
    Ended {
        choice: usize,
        finish: FinishReason,
    },
    Failed(Error),
}

/// Writes all texts of a request, one after another, until nobody listens any more.
pub(super) fn write(pipeline: &Pipeline, request: &Generate, events: &UnboundedSender<Event>) -> Result<(), Fault> {
    if events.is_closed() {
        return Ok(());
    }
    let texts = pipeline.text_generation(request.settings.clone())?;
    let encoded = encoded(&texts, &request.prompts)?;
    let mut prompts = Vec::new();
    for (encoded, subject) in &encoded {
        // A prompt's texts depend on nothing else that is in the request, so that each draws as it does alone.
        let mut samples = texts.prompts(encoded, 0..request.samples, subject)?;
        if request.settings.max_new_tokens.is_none() {
            let room = pipeline.pretrained.max_positions()?.saturating_sub(encoded.ids.len());
            samples.iter_mut().for_each(|prompt| prompt.max_new_tokens = room.min(request.max_tokens));
        }
        prompts.extend(samples);
    }
    let prompt_tokens = encoded.iter().map(|(encoded, _)| encoded.ids.len()).sum();
    let mut is_read = events.send(Event::Started { prompt_tokens }).is_ok();
    for (choice, prompt) in prompts.into_iter().enumerate() {
        let request = texts.request(prompt);
        let cache_memory = request.request.rows() * texts.model().cache_bytes_per_token();
        let mut scheduler = Scheduler::new(texts.model(), Limits { max_batch_tokens: usize::MAX, cache_memory });
        scheduler.submit(request)?;
        while is_read && !scheduler.is_idle() {
            for (_, event) in scheduler.tick(texts.model()) {
                is_read = match event {
                    inference::Event::Token { text, .. } => events.send(Event::Token { choice, text }).is_ok(),
                    inference::Event::Finished { reason, .. } => {
                        events.send(Event::Ended { choice, finish: reason }).is_ok()
                    }
                    inference::Event::Failed(error) => return Err(inference::GenerationError::from(error).into()),
                };
            }
        }
    }
    Ok(())
}

/// Prompts as tokens, each with what messages call it.
fn encoded(texts: &TextGeneration<'_>, prompts: &Prompts) -> Result<Vec<(Encoded, String)>, Fault> {
    let subject = |number: usize, of: usize| match of {
        1 => "`prompt`".to_string(),
        _ => format!("prompt {}", number + 1),
    };
    match prompts {
        Prompts::Texts(prompts) => {
            let encode = |(number, text): (usize, &String)| {
                let subject = subject(number, prompts.len());
                Ok((texts.encode_text(text, &subject)?, subject))
            };
            prompts.iter().enumerate().map(encode).collect()
        }
        Prompts::Tokens(prompts) => {
            let encode = |(number, ids): (usize, &Vec<u32>)| match ids.is_empty() {
                true => Err(Fault::Engine(Error::input("`prompt` has no tokens: give one or more"))),
                false => Ok((Encoded::from(ids.clone()), subject(number, prompts.len()))),
            };
            prompts.iter().enumerate().map(encode).collect()
        }
        Prompts::Conversation(conversation) => {
            if !texts.has_chat_template() {
                let message = "the model has no chat template: continue texts with /v1/completions";
                return Err(Fault::Engine(Error::input(message)));
            }
            let subject = "`messages`";
            Ok(vec![(texts.encode_conversation(conversation, subject)?, subject.to_string())])
        }
    }
}

/// The tokens of a text or a conversation; a classifier's are those of a single text.
pub(super) fn tokens(pipeline: &Pipeline, prompts: &Prompts, special: bool) -> Result<Vec<u32>, Fault> {
    match prompts {
        Prompts::Texts(texts) if !special => Ok(pipeline.tokenizer.bare(&texts.concat())?),
        Prompts::Texts(texts) if pipeline.task.writes().is_none() => {
            Ok(pipeline.tokenizer.encode(&texts.concat(), None, usize::MAX)?.ids)
        }
        _ => {
            let texts = pipeline.text_generation(no_settings())?;
            Ok(encoded(&texts, prompts)?.into_iter().flat_map(|(encoded, _)| encoded.ids).collect())
        }
    }
}

/// Errors: an id that stands for no token.
pub(super) fn check_tokens(pipeline: &Pipeline, tokens: &[u32]) -> Result<(), Fault> {
    let size = pipeline.tokenizer.vocabulary_size();
    match tokens.iter().find(|id| **id as usize >= size) {
        Some(id) => Err(Fault::Engine(Error::input(format!("there is no token {id}: the vocabulary has {size}")))),
        None => Ok(()),
    }
}
