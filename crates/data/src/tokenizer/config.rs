//! What Python writes beside a tokenizer, read as `PreTrainedTokenizerBase` of Transformers 5 reads it: special tokens by their
//! roles, and the tokens that are added to the vocabulary.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use serde_json::{Map, Value};
use tokenizers::AddedToken;

use super::class::Class;
use super::{read, read_config};
use crate::Error;

/// As `SPECIAL_TOKENS_ATTRIBUTES` of Transformers has them, in its order; chat templates are given them.
const ROLES: [&str; 7] = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/// The files of a tokenizer that say how it is to be used.
pub(crate) struct Config {
    /// `tokenizer_config.json`; `Null` without one.
    pub(crate) tokenizer: Value,
    /// `special_tokens_map.json`; `Null` where `tokenizer_config.json` lists all added tokens, which Transformers takes alone.
    special: Value,
    /// `added_tokens.json`, under the same condition.
    added: Value,
    pub(super) class: Class,
    /// The control and user-defined tokens of a SentencePiece file, where the vocabulary is one: special where the files name none.
    pub(super) pieces: Option<Vec<AddedToken>>,
    /// Added tokens are looked for in the text as it is written, whatever they say of themselves.
    pub(super) added_match_raw: bool,
}

impl Config {
    /// `dir` has the tokenizer, `model` the `config.json`.
    pub(crate) fn read(dir: &Path, model: &Path) -> Result<Self, Error> {
        let tokenizer = read_config(&dir.join("tokenizer_config.json"))?;
        let older = |name: &str| match tokenizer["added_tokens_decoder"].is_object() {
            true => Ok(Value::Null),
            false => read_config(&dir.join(name)),
        };
        let saved = || {
            let file = dir.join("tokenizer.json");
            if file.is_file() { read(&file) } else { Ok(Vec::new()) }
        };
        Ok(Self {
            special: older("special_tokens_map.json")?,
            added: older("added_tokens.json")?,
            class: Class::of(&tokenizer, &read_config(&model.join("config.json"))?, saved)?,
            tokenizer,
            pieces: None,
            added_match_raw: false,
        })
    }

    /// The text of a special token which the files do not mention.
    pub(super) fn set_default(&mut self, role: &str, text: &str) {
        if [&self.special, &self.tokenizer].into_iter().all(|file| file.get(role).is_none()) {
            if self.tokenizer.is_null() {
                self.tokenizer = Value::Object(Map::new());
            }
            self.tokenizer.as_object_mut().map(|file| file.insert(role.to_owned(), text.into()));
        }
    }

    /// Whether the vocabulary is a SentencePiece file.
    pub(super) fn has_pieces(&self) -> bool {
        self.pieces.is_some()
    }

    /// The sentinels of T5, which stand at the end of its vocabulary.
    pub(super) fn extra_ids(&self) -> Vec<String> {
        let written = self.tokenizer["extra_ids"].as_u64().and_then(|count| u16::try_from(count).ok());
        (0..written.unwrap_or(100)).map(|number| format!("<extra_id_{number}>")).collect()
    }

    /// An option that is true or false.
    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        self.tokenizer[name].as_bool()
    }

    /// The text of a special token: as written, otherwise the default of the tokenizer's class.
    pub(super) fn text(&self, role: &str) -> Option<String> {
        self.named(role).map(|token| token.content)
    }

    fn named(&self, role: &str) -> Option<AddedToken> {
        match [&self.special, &self.tokenizer].into_iter().find_map(|file| file.get(role)) {
            Some(written) => token(written, true),
            None => self.class.special(role).map(|text| AddedToken::from(text, true)),
        }
    }

    /// The tokens that Transformers adds to a vocabulary, in its order: by their ids those that are listed, then what has a role, then
    /// the others that are special. `saved` are the added tokens of `tokenizer.json`, `kept` says whether the tokenizer has them.
    pub(super) fn added_tokens(&self, saved: &[Value], kept: bool) -> Vec<AddedToken> {
        let mut tokens: Vec<AddedToken> = self.listed(saved).into_values().collect();
        tokens.iter_mut().for_each(|token| token.normalized &= !self.added_match_raw);
        let mut known: HashSet<String> = tokens.iter().map(|token| token.content.clone()).collect();
        if kept {
            known.extend(saved.iter().filter_map(|token| token["content"].as_str()).map(str::to_owned));
        }
        for token in self.special_tokens() {
            if known.insert(token.content.clone()) {
                tokens.push(token);
            }
        }
        tokens
    }

    /// By their ids, which are only an order: a token has the id of its text in the vocabulary, or the next one that is free.
    fn listed(&self, saved: &[Value]) -> BTreeMap<u64, AddedToken> {
        let number = |id: &str| id.parse::<u64>().ok();
        if let Some(listed) = self.tokenizer["added_tokens_decoder"].as_object() {
            let of = |(id, written): (&String, &Value)| Some((number(id)?, token(written, false)?));
            return listed.iter().filter_map(of).collect();
        }
        let special: HashSet<String> = self.special_tokens().map(|token| token.content).collect();
        let older = self
            .added
            .as_object()
            .into_iter()
            .flatten()
            .filter_map(|(text, id)| Some((id.as_u64()?, AddedToken::from(text.as_str(), special.contains(text)))));
        let saved = saved.iter().filter_map(|written| Some((written["id"].as_u64()?, token(written, false)?)));
        older.chain(saved).collect()
    }

    /// All tokens that are named as special: by a role, by a key of their own (`image_token`), or in a list.
    pub(super) fn special_tokens(&self) -> impl Iterator<Item = AddedToken> {
        let roles = ROLES.into_iter().filter_map(|role| self.named(role));
        let own = objects([&self.tokenizer, &self.special])
            .filter(|(key, value)| key.ends_with("_token") && !ROLES.contains(&key.as_str()) && !value.is_null())
            .filter_map(|(_, value)| token(value, true));
        let lists = ["extra_special_tokens", "additional_special_tokens"];
        let list = [&self.special, &self.tokenizer]
            .into_iter()
            .flat_map(|file| lists.map(|name| &file[name]))
            .find(|list| !is_empty(list))
            .unwrap_or(&Value::Null);
        let list: Vec<AddedToken> = match list {
            Value::Array(list) => list.iter().filter_map(|value| token(value, true)).collect(),
            Value::Object(named) => named.values().filter_map(|value| token(value, true)).collect(),
            _ => self.pieces.clone().unwrap_or_default(),
        };
        let sentinels = match self.class {
            Class::T5 if !list.iter().any(|token| token.content.contains("<extra_id_")) => self.extra_ids(),
            _ => Vec::new(),
        };
        roles.chain(own).chain(list).chain(sentinels.into_iter().map(|text| AddedToken::from(text, true)))
    }
}

/// The texts of the special tokens that there are, by their roles.
pub(crate) fn special_texts(config: &Config) -> BTreeMap<&'static str, String> {
    ROLES.into_iter().filter_map(|role| Some((role, config.text(role)?))).collect()
}

fn objects(files: [&Value; 2]) -> impl Iterator<Item = (&String, &Value)> {
    files.into_iter().filter_map(Value::as_object).flat_map(Map::iter)
}

fn is_empty(list: &Value) -> bool {
    match list {
        Value::Array(list) => list.is_empty(),
        Value::Object(named) => named.is_empty(),
        _ => true,
    }
}

/// A token as its text, or as an object with its flags; what is `named` as special is so, whatever the flags say.
fn token(written: &Value, named: bool) -> Option<AddedToken> {
    if let Some(text) = written.as_str() {
        return Some(AddedToken::from(text, true));
    }
    let flag = |name: &str| written[name].as_bool();
    let special = named || flag("special").unwrap_or(false);
    let text = written["content"].as_str()?;
    Some(
        AddedToken::from(text, special)
            .single_word(flag("single_word").unwrap_or(false))
            .lstrip(flag("lstrip").unwrap_or(false))
            .rstrip(flag("rstrip").unwrap_or(false))
            .normalized(flag("normalized").unwrap_or(!special)),
    )
}
