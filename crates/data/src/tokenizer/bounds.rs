//! The special tokens of a tokenizer by their roles: what begins a text and what ends it.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use tokenizers::{Encoding, Token};

use super::read_config;
use crate::Error;

/// As `special_tokens_map` of Transformers has them, which chat templates are given.
const NAMES: [&str; 7] = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/// What Python writes beside a tokenizer; `Null` for a file that is not there.
pub(crate) struct Config {
    pub(crate) tokenizer: Value,
    special: Value,
}

impl Config {
    pub(crate) fn read(dir: &Path) -> Result<Self, Error> {
        Ok(Self {
            tokenizer: read_config(&dir.join("tokenizer_config.json"))?,
            special: read_config(&dir.join("special_tokens_map.json"))?,
        })
    }

    /// The text of a special token, given as it is or as an object with its `content`.
    fn text(&self, name: &str) -> Option<&str> {
        let tokens = [&self.tokenizer[name], &self.special[name]];
        tokens.into_iter().find_map(|token| token.as_str().or_else(|| token["content"].as_str()))
    }
}

/// The texts of the special tokens that there are, by their names.
pub(crate) fn special_texts(config: &Config) -> BTreeMap<&'static str, String> {
    NAMES.into_iter().filter_map(|name| Some((name, config.text(name)?.to_owned()))).collect()
}

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
    pub(super) fn of(inner: &tokenizers::Tokenizer, config: &Config) -> Self {
        let id = |name: &str| config.text(name).and_then(|token| inner.token_to_id(token));
        Self { beginning: beginning(inner), beginning_token: id("bos_token"), end: id("eos_token") }
    }
}

/// What the post-processor puts before a text, seen on one of a single token that no vocabulary has.
fn beginning(inner: &tokenizers::Tokenizer) -> Vec<u32> {
    let mark = u32::MAX;
    let text = Encoding::from_tokens(vec![Token::new(mark, String::new(), (0, 0))], 0);
    let framed = inner.post_process(text, None, true);
    framed.map_or(Vec::new(), |framed| framed.get_ids().iter().copied().take_while(|id| *id != mark).collect())
}
