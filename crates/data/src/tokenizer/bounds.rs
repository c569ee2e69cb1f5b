//! The special tokens of a tokenizer by their roles: what begins a text and what ends it.

use tokenizers::{Encoding, Token};

use super::config::Config;
use super::guarded::Guarded;

#[derive(Debug, Clone)]
pub(super) struct Bounds {
    /// What is put before a text.
    pub(super) beginning: Vec<u32>,
    /// `bos_token`, put there or not.
    pub(super) beginning_token: Option<u32>,
    /// `eos_token`.
    pub(super) end: Option<u32>,
}

impl Bounds {
    pub(super) fn of(inner: &Guarded, config: &Config) -> Self {
        let id = |name: &str| config.text(name).and_then(|token| inner.token_to_id(&token));
        Self { beginning: beginning(inner), beginning_token: id("bos_token"), end: id("eos_token") }
    }
}

/// What the post-processor puts before a text, seen on one of a single token that no vocabulary has.
fn beginning(inner: &Guarded) -> Vec<u32> {
    let mark = u32::MAX;
    let text = Encoding::from_tokens(vec![Token::new(mark, String::new(), (0, 0))], 0);
    let framed = inner.post_process(text, None);
    framed.map_or(Vec::new(), |framed| framed.get_ids().iter().copied().take_while(|id| *id != mark).collect())
}
