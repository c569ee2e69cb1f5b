//! A text while it is written: tokens become what may be shown of it, whole characters and nothing of a stop string.

use std::sync::Arc;

use data::Tokenizer;
use data::language::{StopStrings, TextStream};
use model::{Chosen, Finish};

use crate::FinishReason;

#[derive(Debug)]
pub(crate) struct Draft {
    stream: TextStream,
    stops: StopStrings,
}

impl Draft {
    pub(crate) fn new(tokenizer: Arc<Tokenizer>, stop_strings: Vec<String>) -> Self {
        Self { stream: TextStream::new(tokenizer), stops: StopStrings::new(stop_strings) }
    }

    /// What of the text is certain after its next token, and why it ends if it does. Nothing follows on its end.
    pub(crate) fn push(&mut self, chosen: &Chosen) -> (String, Option<FinishReason>) {
        let certain = match chosen.finish {
            Some(Finish::Stop) => String::new(),
            Some(Finish::Length) | None => self.stream.push(chosen.token),
        };
        let mut shown = self.stops.push(&certain);
        if chosen.finish.is_some() && !shown.stopped {
            let rest = self.stops.push(&self.stream.finish());
            shown.text.push_str(&rest.text);
            shown.stopped = rest.stopped;
            if !rest.stopped {
                shown.text.push_str(&self.stops.finish());
            }
        }
        let reason = match chosen.finish {
            _ if shown.stopped => Some(FinishReason::Stop),
            Some(Finish::Stop) => Some(FinishReason::Stop),
            Some(Finish::Length) => Some(FinishReason::Length),
            None => None,
        };
        (shown.text, reason)
    }
}
