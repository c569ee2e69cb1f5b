//! A vocabulary as GGUF describes it: the tokens with their types, and the name by which llama.cpp knows how texts are split before it.
//! The official converter takes that name from a hash of ids, which no vocabulary of one's own has; here it comes from the
//! `tokenizer.json` itself, and what has no name is refused rather than written under another one.

mod pre_tokenizer;
mod scores;

use std::collections::HashMap;

use serde_json::{Value as Json, json};

use crate::Value;

/// What can be said about no vocabulary in a GGUF file.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum VocabularyError {
    #[error("GGUF has no name for this tokenizer: {what}")]
    #[diagnostic(help(
        "llama.cpp knows the tokenizers of GPT-2, SmolLM, Llama 2 and 3, Qwen2, Mistral, Phi-3 and 4 and BERT: a file without its tokenizer \
         would answer nonsense, so none is written"
    ))]
    NoName { what: String },
    #[error("the tokenizer has a token of id {id}, the model's word embeddings have {rows} rows")]
    #[diagnostic(help("the two do not belong together: copy the model and its tokenizer again, both from one place"))]
    Beyond { id: u64, rows: usize },
    #[error("the tokenizer is not one that the tokenizers library writes: {what}")]
    #[diagnostic(help("copy the model's tokenizer again"))]
    Malformed { what: &'static str },
}

fn no_name(what: impl Into<String>) -> VocabularyError {
    VocabularyError::NoName { what: what.into() }
}

/// A vocabulary to be described.
#[derive(Debug)]
pub struct Vocabulary<'a> {
    /// As `tokenizer.json` has it.
    pub tokenizer: &'a Json,
    /// The ids of special tokens by their roles as Transformers names them, `bos_token`.
    pub special: &'a [(&'a str, u32)],
    pub chat_template: Option<&'a str>,
    /// Of the model's word embeddings: there is a token for each.
    pub rows: usize,
}

/// A vocabulary as a file describes it.
#[derive(Debug)]
pub struct DescribedVocabulary {
    /// Metadata below `tokenizer.`
    pub metadata: Vec<(String, Value)>,
    /// What whoever uses the file should know.
    pub notes: Vec<String>,
}

/// `llama_token_type`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TokenType {
    Normal = 1,
    Unknown = 2,
    Control = 3,
    UserDefined = 4,
    Unused = 5,
    Byte = 6,
}

/// The stand-in for a space in SentencePiece's pieces.
const SPACE: char = '\u{2581}';

impl Vocabulary<'_> {
    /// How a file describes it.
    pub fn described(&self) -> Result<DescribedVocabulary, VocabularyError> {
        let model = &self.tokenizer["model"];
        let mut notes = Vec::new();
        let mut pairs = match model["type"].as_str() {
            Some("BPE") if pre_tokenizer::is_byte_level(self.tokenizer) => self.byte_pairs(model)?,
            Some("BPE") => self.pieces(model, &mut notes)?,
            Some("WordPiece") => self.word_pieces(model)?,
            Some(other) => return Err(no_name(format!("a vocabulary of the type {other}"))),
            None => return Err(VocabularyError::Malformed { what: "it has no `model`" }),
        };
        let mut special: HashMap<&str, u32> = self.special.iter().copied().collect();
        let around = Around::read(&self.tokenizer["post_processor"])?;
        // As the official converter has it: llama.cpp puts the first and the last token of its own names around a text.
        let beginning = around.first.as_deref().and_then(|token| self.id(token));
        let end = around.last.as_deref().and_then(|token| self.id(token));
        for (role, stand_in, written) in [("bos_token", "cls_token", beginning), ("eos_token", "sep_token", end)] {
            if let Some(id) = written.or_else(|| special.get(role).copied()).or_else(|| special.get(stand_in).copied())
            {
                special.insert(role, id);
            }
        }
        for (role, key) in [
            ("bos_token", "bos_token_id"),
            ("eos_token", "eos_token_id"),
            ("unk_token", "unknown_token_id"),
            ("sep_token", "seperator_token_id"),
            ("pad_token", "padding_token_id"),
            ("cls_token", "cls_token_id"),
            ("mask_token", "mask_token_id"),
        ] {
            pairs.extend(special.get(role).map(|id| (key, Value::U32(*id))));
        }
        pairs.push(("add_bos_token", Value::Bool(around.first.is_some())));
        pairs.push(("add_eos_token", Value::Bool(around.last.is_some())));
        let mut metadata: Vec<(String, Value)> =
            pairs.into_iter().map(|(key, value)| (format!("tokenizer.ggml.{key}"), value)).collect();
        metadata.extend(self.chat_template.map(|text| ("tokenizer.chat_template".to_owned(), text.into())));
        Ok(DescribedVocabulary { metadata, notes })
    }

    /// GPT-2's, of bytes written as characters.
    fn byte_pairs(&self, model: &Json) -> Result<Vec<(&'static str, Value)>, VocabularyError> {
        let name = pre_tokenizer::name(self.tokenizer)?;
        check_merging(model)?;
        let (tokens, types) = self.tokens(|text, _| text.to_owned(), |_| TokenType::Normal)?;
        let merges: Vec<String> = merges(model)?.iter().map(|(left, right)| format!("{left} {right}")).collect();
        Ok(vec![
            ("model", "gpt2".into()),
            ("pre", name.into()),
            ("tokens", Value::strings(tokens.iter().map(String::as_str))),
            ("token_type", types),
            ("merges", Value::strings(merges.iter().map(String::as_str))),
        ])
    }

    /// SentencePiece's, with bytes for what it has no piece for: the tokenizer of Llama 2 and Mistral.
    fn pieces(&self, model: &Json, notes: &mut Vec<String>) -> Result<Vec<(&'static str, Value)>, VocabularyError> {
        let has_prefix = pre_tokenizer::has_space_prefix(self.tokenizer, notes)?;
        check_merging(model)?;
        if model["byte_fallback"] != json!(true) {
            return Err(no_name("byte pairs of characters without a token for each byte"));
        }
        let unknown = model["unk_token"].as_str().unwrap_or_default();
        let kind = |text: &str| match text {
            _ if text == unknown => TokenType::Unknown,
            _ if is_byte(text) => TokenType::Byte,
            _ => TokenType::Normal,
        };
        let (tokens, types) = self.tokens(|text, _| text.to_owned(), kind)?;
        let scores = scores::of(model, &merges(model)?, &tokens)?;
        Ok(vec![
            ("model", "llama".into()),
            ("pre", "default".into()),
            ("tokens", Value::strings(tokens.iter().map(String::as_str))),
            ("scores", Value::Array(scores.into_iter().map(Value::F32).collect())),
            ("token_type", types),
            ("add_space_prefix", Value::Bool(has_prefix)),
        ])
    }

    /// BERT's. What begins a word has llama.cpp's mark for that, what continues one has none.
    fn word_pieces(&self, model: &Json) -> Result<Vec<(&'static str, Value)>, VocabularyError> {
        let (lowercase, strip_accents) = pre_tokenizer::of_bert(self.tokenizer)?;
        if model["continuing_subword_prefix"] != json!("##") {
            return Err(no_name("WordPiece whose pieces within a word do not begin with `##`"));
        }
        let text = |text: &str, kind: TokenType| match text.strip_prefix("##") {
            _ if kind == TokenType::Control => text.to_owned(),
            Some(rest) => rest.to_owned(),
            None => format!("{SPACE}{text}"),
        };
        let (tokens, types) = self.tokens(text, |_| TokenType::Normal)?;
        Ok(vec![
            ("model", "bert".into()),
            ("pre", "default".into()),
            ("tokens", Value::strings(tokens.iter().map(String::as_str))),
            ("token_type", types),
            ("normalizer.lowercase", Value::Bool(lowercase)),
            ("normalizer.strip_accents", Value::Bool(strip_accents)),
        ])
    }

    /// A token for each row, and their types.
    fn tokens(
        &self,
        text: impl Fn(&str, TokenType) -> String,
        kind: impl Fn(&str) -> TokenType,
    ) -> Result<(Vec<String>, Value), VocabularyError> {
        let mut tokens: Vec<Option<(String, TokenType)>> = vec![None; self.rows];
        let mut put = |id: u64, token: String, kind: TokenType| match tokens.get_mut(id as usize) {
            Some(place) => {
                *place = Some((token, kind));
                Ok(())
            }
            None => Err(VocabularyError::Beyond { id, rows: self.rows }),
        };
        let vocabulary = self.tokenizer["model"]["vocab"].as_object();
        let vocabulary = vocabulary.ok_or(VocabularyError::Malformed { what: "its `model` has no `vocab`" })?;
        for (token, id) in vocabulary {
            let id = id.as_u64().ok_or(VocabularyError::Malformed { what: "an id is no number" })?;
            let kind = kind(token);
            put(id, text(token, kind), kind)?;
        }
        for token in self.tokenizer["added_tokens"].as_array().into_iter().flatten() {
            let (Some(id), Some(content)) = (token["id"].as_u64(), token["content"].as_str()) else {
                return Err(VocabularyError::Malformed { what: "an added token lacks its id or its content" });
            };
            match (token["special"] == json!(true), kind(content)) {
                (true, TokenType::Unknown) => put(id, content.to_owned(), TokenType::Unknown)?,
                (true, _) => put(id, content.to_owned(), TokenType::Control)?,
                // llama.cpp looks for these in a text as it is written.
                (false, _) => put(id, content.replace(SPACE, " "), TokenType::UserDefined)?,
            }
        }
        let unused = |id: usize| (format!("[PAD{id}]"), TokenType::Unused);
        let tokens = tokens.into_iter().enumerate().map(|(id, token)| token.unwrap_or_else(|| unused(id)));
        let (tokens, types): (Vec<_>, Vec<_>) = tokens.map(|(token, kind)| (token, Value::I32(kind as i32))).unzip();
        Ok((tokens, Value::Array(types)))
    }

    fn id(&self, token: &str) -> Option<u32> {
        let added = self.tokenizer["added_tokens"].as_array().into_iter().flatten();
        let added =
            added.filter(|added| added["content"].as_str() == Some(token)).find_map(|added| added["id"].as_u64());
        added.or_else(|| self.tokenizer["model"]["vocab"][token].as_u64()).map(|id| id as u32)
    }
}

/// What llama.cpp's byte pairs do not do.
fn check_merging(model: &Json) -> Result<(), VocabularyError> {
    let is_given = |key: &str| model[key].as_str().is_some_and(|text| !text.is_empty());
    match ["continuing_subword_prefix", "end_of_word_suffix"].into_iter().find(|key| is_given(key)) {
        Some(key) => Err(no_name(format!("byte pairs with `{key}`"))),
        None => Ok(()),
    }
}

/// As pairs, whichever way the file writes them.
fn merges(model: &Json) -> Result<Vec<(&str, &str)>, VocabularyError> {
    let merge = |merge: &'_ Json| match merge {
        Json::String(text) => text.split_once(' ').map(|(left, right)| (left.len(), right.len())),
        Json::Array(pair) => match pair.as_slice() {
            [Json::String(left), Json::String(right)] => Some((left.len(), right.len())),
            _ => None,
        },
        _ => None,
    };
    let list = model["merges"].as_array().ok_or(VocabularyError::Malformed { what: "its `model` has no `merges`" })?;
    list.iter()
        .map(|written| match (merge(written), written) {
            (Some((left, _)), Json::String(text)) => Ok((&text[..left], &text[left + 1..])),
            (Some(_), written) => {
                Ok((written[0].as_str().unwrap_or_default(), written[1].as_str().unwrap_or_default()))
            }
            (None, _) => Err(VocabularyError::Malformed { what: "a merge is no pair" }),
        })
        .collect()
}

/// `<0x0A>`
fn is_byte(text: &str) -> bool {
    let digits = text.strip_prefix("<0x").and_then(|rest| rest.strip_suffix('>'));
    digits.is_some_and(|digits| digits.len() == 2 && u8::from_str_radix(digits, 16).is_ok())
}

/// The tokens that are put before and after a text.
#[derive(Debug, Default)]
struct Around {
    first: Option<String>,
    last: Option<String>,
}

impl Around {
    fn read(processor: &Json) -> Result<Self, VocabularyError> {
        let text = |pair: &Json| pair[0].as_str().map(str::to_owned);
        match processor["type"].as_str() {
            None | Some("ByteLevel") => Ok(Self::default()),
            Some("RobertaProcessing" | "BertProcessing") => {
                Ok(Self { first: text(&processor["cls"]), last: text(&processor["sep"]) })
            }
            Some("Sequence") => {
                let parts = processor["processors"].as_array().into_iter().flatten();
                let parts = parts.map(Self::read).collect::<Result<Vec<_>, _>>()?;
                Ok(parts.into_iter().find(|it| it.first.is_some() || it.last.is_some()).unwrap_or_default())
            }
            Some("TemplateProcessing") => {
                let pieces = processor["single"].as_array().map_or(&[][..], Vec::as_slice);
                let special = |piece: &Json| piece["SpecialToken"]["id"].as_str().map(str::to_owned);
                let at = pieces.iter().position(|piece| piece["Sequence"].is_object()).unwrap_or(pieces.len());
                let (before, after) = (&pieces[..at], pieces.get(at + 1..).unwrap_or_default());
                if before.len() > 1 || after.len() > 1 {
                    return Err(no_name("it puts more than one token before or after a text"));
                }
                Ok(Self { first: before.first().and_then(special), last: after.first().and_then(special) })
            }
            Some(other) => Err(no_name(format!("the post-processor {other}"))),
        }
    }
}

#[cfg(test)]
mod tests;
