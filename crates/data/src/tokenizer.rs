//! Text becomes token ids, as the checkpoint's own tokenizer and Transformers make them: special tokens of the
//! checkpoint's template, pairs truncated longest first, from the right.

mod beginning;
mod bounds;
mod checks;
mod class;
mod config;
mod excerpt;
mod guarded;
mod least;
mod parts;
mod rebuilt;
mod sentencepiece;
mod words;

use std::fs;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::OnceLock;

use serde_json::{Value, json};
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::{
    Encoding, ModelWrapper, TruncationDirection, TruncationParams, TruncationStrategy, truncate_encodings,
};

use crate::Error;
use crate::limits::MOST_TOKENS;
use bounds::Bounds;
use class::Class;
pub(crate) use config::{Config, special_texts};
pub(crate) use excerpt::Excerpt;
use guarded::Guarded;
pub(crate) use words::Tokenized;

/// Transformers writes 1e30 for "no limit"; no model has a billion positions.
const NO_LIMIT: f64 = 1e9;

/// The tokenizer of a checkpoint.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    inner: Guarded,
    model_max_length: Option<usize>,
    vocabulary_size: usize,
    mask: Option<u32>,
    unknown: Option<u32>,
    bounds: Bounds,
    /// The bytes that a token stands for at most, where no text has fewer tokens than by them; asked for long texts alone.
    longest_token: OnceLock<Option<usize>>,
    /// Whether no token reaches from one word into the next; asked for long texts alone.
    words_are_apart: OnceLock<bool>,
}

/// The token ids of a text or a pair of texts, special tokens included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    pub ids: Vec<u32>,
    /// 0 for the first text, 1 for the second where the tokenizer's template tells them apart.
    pub type_ids: Vec<u32>,
    /// The number of tokens before truncation; greater than that of `ids` if the text was truncated.
    pub full_length: usize,
    /// `full_length` is a lower bound: the rest of a very long text was not tokenised.
    pub at_least: bool,
}

/// The ids of a single text, of which nothing was cut off.
impl From<Vec<u32>> for Encoded {
    fn from(ids: Vec<u32>) -> Self {
        Self { type_ids: vec![0; ids.len()], full_length: ids.len(), ids, at_least: false }
    }
}

impl Encoded {
    /// Of a text that was not tokenised, since it has so many tokens at least.
    pub(crate) fn too_long(tokens: usize) -> Self {
        Self { ids: Vec::new(), type_ids: Vec::new(), full_length: tokens, at_least: true }
    }
}

impl Tokenizer {
    /// The tokenizer in a checkpoint's directory: `tokenizer.json`, otherwise BERT's with the words of `vocab.txt`, otherwise a
    /// SentencePiece file.
    pub fn from_dir(dir: &Path) -> Result<Self, Error> {
        Self::beside(dir, dir)
    }

    /// The tokenizer in `dir`, an adapter's for example, for the model whose `config.json` is in `model`: its `model_type` has a
    /// say in how Transformers reads a tokenizer.
    pub fn beside(dir: &Path, model: &Path) -> Result<Self, Error> {
        let mut config = Config::read(dir, model)?;
        let (whole, words) = (dir.join("tokenizer.json"), dir.join("vocab.txt"));
        let inner = if whole.is_file() {
            rebuilt::open(&read(&whole)?, &config).map_err(|source| broken(&whole, source))?
        } else if words.is_file() {
            config.class = Class::Bert;
            rebuilt::open(&of_words(&words)?, &config).map_err(|source| broken(&words, source))?
        } else if let Some(pieces) = sentencepiece::file_in(dir) {
            let document = sentencepiece::document(&pieces, &mut config)?;
            rebuilt::open(&document, &config).map_err(|source| broken(&pieces, source))?
        } else {
            return Err(Error::NoTokenizer { dir: dir.to_owned(), help: what_to_do_without(dir) });
        };
        let inner = Guarded::new(inner).map_err(|source| broken(&whole, source))?;
        let vocabulary_size = inner.vocabulary_size();
        if vocabulary_size > MOST_TOKENS {
            let reason = format!("a token has the number {}", vocabulary_size - 1);
            return Err(broken(&whole, reason.into()));
        }
        if inner.repeats_texts() {
            return Err(broken(&whole, "its post-processor takes a text more than once".into()));
        }
        Ok(Self {
            model_max_length: model_max_length(&config.tokenizer),
            vocabulary_size,
            mask: mask(&inner, &config),
            unknown: unknown(inner.model()).and_then(|token| inner.token_to_id(&token)),
            bounds: Bounds::of(&inner, &config),
            longest_token: OnceLock::new(),
            words_are_apart: OnceLock::new(),
            inner,
        })
    }

    /// The greatest number of tokens its model takes, if `tokenizer_config.json` says one.
    pub fn model_max_length(&self) -> Option<usize> {
        self.model_max_length
    }

    /// The largest id and one, added tokens included: the rows that the embedding must have.
    pub fn vocabulary_size(&self) -> usize {
        self.vocabulary_size
    }

    /// The token that stands where a masked language model is to guess.
    pub fn mask_token(&self) -> Option<u32> {
        self.mask
    }

    /// The token that stands for what the vocabulary lacks; `None` where it lacks nothing, or such text is dropped.
    pub fn unknown_token(&self) -> Option<u32> {
        self.unknown
    }

    /// As a `tokenizer.json` that says all of it: what the file says, and what Transformers' class for it makes of that.
    pub fn to_json(&self) -> Value {
        self.inner.to_json()
    }

    /// The special tokens by their roles as Transformers names them (`bos_token`), of the tokenizer that was read [beside] these
    /// directories.
    ///
    /// [beside]: Self::beside
    pub fn special_roles(&self, dir: &Path, model: &Path) -> Result<Vec<(&'static str, u32)>, Error> {
        let texts = special_texts(&Config::read(dir, model)?);
        Ok(texts.into_iter().filter_map(|(role, text)| Some((role, self.inner.token_to_id(&text)?))).collect())
    }

    /// The ids of the tokens that stand for no text, ascending.
    pub fn special_tokens(&self) -> Vec<u32> {
        let added = self.inner.added_tokens();
        let mut special: Vec<u32> = added.iter().filter(|(_, token)| token.special).map(|(id, _)| *id).collect();
        special.sort_unstable();
        special
    }

    /// The token with this id as the vocabulary writes it.
    pub fn token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// The bytes that a token stands for within a text, which need not be whole characters.
    pub fn token_bytes(&self, id: u32) -> Vec<u8> {
        let (token, text) = (self.token(id).unwrap_or_default(), self.decode(&[id]));
        let of_byte = || token.strip_prefix("<0x")?.strip_suffix('>').and_then(|hex| u8::from_str_radix(hex, 16).ok());
        if text.contains(char::REPLACEMENT_CHARACTER) {
            let of_characters = || token.chars().map(byte_of).collect::<Option<Vec<u8>>>();
            return of_byte().map(|byte| vec![byte]).or_else(of_characters).unwrap_or_else(|| text.into_bytes());
        }
        // SentencePiece's space, which is left out at the beginning of a text.
        match token.starts_with('\u{2581}') && !text.starts_with(' ') {
            true => [" ", &text].concat().into_bytes(),
            false => text.into_bytes(),
        }
    }

    /// The token that completions and texts end in.
    pub fn end_token(&self) -> Option<u32> {
        self.bounds.end
    }

    /// The token that begins a text, whether or not the tokenizer puts it there.
    pub(crate) fn beginning_token(&self) -> Option<u32> {
        self.bounds.beginning.first().copied().or(self.bounds.beginning_token)
    }

    /// The special tokens that the tokenizer puts before a text.
    pub(crate) fn beginning(&self) -> &[u32] {
        &self.bounds.beginning
    }

    /// The text of token ids without special tokens.
    pub fn text(&self, ids: &[u32]) -> String {
        self.inner.decode(ids, true).unwrap_or_else(|_| self.decode(ids))
    }

    /// The text of token ids, special tokens included.
    pub fn decode(&self, ids: &[u32]) -> String {
        // Its decoder is the checkpoint's own; what it does not take is shown token by token.
        self.inner
            .decode(ids, false)
            .unwrap_or_else(|_| ids.iter().filter_map(|id| self.token(*id)).collect::<Vec<_>>().join(" "))
    }

    /// Encodes a text or a pair with special tokens, truncated to `max_length` tokens.
    ///
    /// Errors: no token in the text, or `max_length` too small for a token beside the special ones.
    pub fn encode(&self, text: &str, text_pair: Option<&str>, max_length: usize) -> Result<Encoded, Error> {
        if let Some(encoded) = self.encode_beginning(text, text_pair, max_length)? {
            return Ok(encoded);
        }
        let whole = self.inner.encode_fast(text, text_pair, true).map_err(|source| Error::Tokenizing { source })?;
        let full_length = whole.len();
        if full_length == 0 {
            return Err(Error::NoTokens { subject: format!("`{}`", text.chars().take(40).collect::<String>()) });
        }
        let encoding = if full_length > max_length { self.truncated(text, text_pair, max_length)? } else { whole };
        Ok(encoded(&encoding, full_length, false))
    }

    /// As `encode`, of a text that is far longer than `max_length`, or a pair with one; `None` where it is not, or where
    /// only the whole of it gives the right tokens.
    fn encode_beginning(
        &self,
        text: &str,
        text_pair: Option<&str>,
        max_length: usize,
    ) -> Result<Option<Encoded>, Error> {
        let is_long = |text: &str| beginning::may_be_cut(text.len(), max_length);
        let special = self.special_around(text_pair.is_some());
        let (first, second) = match text_pair {
            _ if max_length <= special => return Ok(None),
            None if is_long(text) => (beginning::tokens(self, text, max_length)?, None),
            // Which of a pair is longer decides how both are cut.
            Some(second) if is_long(text) && !is_long(second) => {
                let second = self.alone(second)?;
                let tokens = max_length.max(second.len()) + 1;
                (beginning::tokens(self, text, tokens)?, Some(second))
            }
            Some(second) if !is_long(text) && is_long(second) => {
                let first = self.alone(text)?;
                let tokens = max_length.max(first.len()) + 1;
                match beginning::tokens(self, second, tokens)? {
                    Some(second) => (Some(first), Some(second)),
                    None => return Ok(None),
                }
            }
            None | Some(_) => return Ok(None),
        };
        let Some(first) = first else { return Ok(None) };
        let full_length = special + first.len() + second.as_ref().map_or(0, Encoding::len);
        Ok(Some(encoded(&self.cut(first, second, max_length)?, full_length, true)))
    }

    fn alone(&self, text: &str) -> Result<Encoding, Error> {
        self.inner.encode_fast(text, None, false).map_err(|source| Error::Tokenizing { source })
    }

    /// The number of special tokens around a text or a pair.
    fn special_around(&self, is_pair: bool) -> usize {
        self.inner.special_around(is_pair)
    }

    /// The ids of a text without the special tokens that are put around it.
    pub fn bare(&self, text: &str) -> Result<Vec<u32>, Error> {
        let encoding = self.inner.encode_fast(text, None, false).map_err(|source| Error::Tokenizing { source })?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The ids of a text that goes on from another: without what the vocabulary puts before a text, as SentencePiece's put
    /// the mark of a space.
    pub(crate) fn continuation(&self, text: &str) -> Result<Vec<u32>, Error> {
        // Behind which of these a token ends, whatever follows, depends on the vocabulary.
        for before in ["\n", ":", ".", "a", "1"] {
            let (alone, together) = (self.bare(before)?, self.bare(&[before, text].concat())?);
            if let Some(ids) = together.strip_prefix(alone.as_slice()).filter(|_| !alone.is_empty()) {
                return Ok(ids.to_vec());
            }
        }
        self.bare(text)
    }

    /// As `bare`, of a text that is far longer than `tokens` tokens: so many of them at least. `None` where it is not, or
    /// where only the whole of it gives the right ones.
    pub(crate) fn bare_beginning(&self, text: &str, tokens: usize) -> Result<Option<Vec<u32>>, Error> {
        Ok(beginning::tokens(self, text, tokens)?.map(|encoding| encoding.get_ids().to_vec()))
    }

    /// Of a text that surely has `tokens` tokens or more, special ones aside, a number that it has at least: by its bytes, or by
    /// its beginning. `None` where only the whole text tells.
    pub(crate) fn at_least(&self, text: &str, tokens: usize) -> Result<Option<usize>, Error> {
        if !beginning::may_be_cut(text.len(), tokens) {
            return Ok(None);
        }
        let longest = self.longest_token.get_or_init(|| least::longest_token(&self.inner));
        if let Some(least) = longest.map(|longest| text.len() / longest).filter(|least| *least >= tokens) {
            return Ok(Some(least));
        }
        Ok(beginning::tokens(self, text, tokens)?.map(|encoding| encoding.len() - beginning::MARGIN))
    }

    /// What of a long text is enough for its first special tokens and `tokens` tokens on each side of `answer`, a byte of it.
    /// `None` where that is most of it, or where only the whole of it gives the right ones.
    pub(crate) fn excerpt(&self, text: &str, answer: usize, tokens: usize) -> Result<Option<Excerpt>, Error> {
        Excerpt::around(self, text, answer, tokens)
    }

    /// As `bare`, with the bytes of the text that each token stands for.
    ///
    /// `encode` would leave spaces out of these where the tokenizer's post-processor is byte-level BPE's.
    pub(crate) fn bare_with_spans(&self, text: &str) -> Result<(Vec<u32>, Vec<Range<usize>>), Error> {
        let encoding = self.inner.encode_untrimmed(text).map_err(|source| Error::Tokenizing { source })?;
        let spans = encoding.get_offsets().iter().map(|(start, end)| *start..*end).collect();
        Ok((encoding.get_ids().to_vec(), spans))
    }

    /// The texts are encoded bare, then truncated and given their special tokens by the functions that `tokenizers`
    /// uses itself. Its own setting would have to be changed in a tokenizer that all threads share, and in 0.23.2 cuts
    /// both texts of a pair before it compares their lengths, which Transformers does not.
    fn truncated(&self, text: &str, text_pair: Option<&str>, max_length: usize) -> Result<Encoding, Error> {
        let special = self.special_around(text_pair.is_some());
        if max_length <= special {
            return Err(Error::MaxLength { max_length, special });
        }
        let (first, second) = (self.alone(text)?, text_pair.map(|text_pair| self.alone(text_pair)).transpose()?);
        self.cut(first, second, max_length)
    }

    /// At most `max_length` tokens of both and the special ones, which must be fewer.
    fn cut(&self, first: Encoding, mut second: Option<Encoding>, max_length: usize) -> Result<Encoding, Error> {
        let room = room(max_length - self.special_around(second.is_some()));
        if let Some(second) = &mut second {
            // Encoded alone it counts as a first text; a template that sets no type ids relies on the second's being 1.
            second.set_type_ids(vec![1; second.len()]);
        }
        let failed = |source| Error::Tokenizing { source };
        let (mut first, mut second) = truncate_encodings(first, second, &room).map_err(failed)?;
        // What was cut off comes along as so many further sequences, which would get special tokens as well: of a pair
        // each of the one with each of the other.
        first.take_overflowing();
        second.as_mut().map(Encoding::take_overflowing);
        self.inner.post_process(first, second).map_err(failed)
    }
}

/// A list of words as the `tokenizer.json` that `BertTokenizer` of Transformers makes of it.
fn of_words(file: &Path) -> Result<Vec<u8>, Error> {
    let words = WordPiece::read_bytes(&read(file)?).map_err(|source| broken(file, source))?;
    for token in ["[UNK]", "[SEP]", "[CLS]"] {
        if !words.contains_key(token) {
            return Err(Error::MissingToken { file: file.to_owned(), token });
        }
    }
    let document = json!({"version": "1.0", "added_tokens": [], "model": {"type": "WordPiece", "vocab": words}});
    Ok(document.to_string().into_bytes())
}

fn room(max_length: usize) -> TruncationParams {
    TruncationParams {
        max_length,
        strategy: TruncationStrategy::LongestFirst,
        direction: TruncationDirection::Right,
        stride: 0,
    }
}

fn encoded(encoding: &Encoding, full_length: usize, at_least: bool) -> Encoded {
    let (ids, type_ids) = (encoding.get_ids().to_vec(), encoding.get_type_ids().to_vec());
    Encoded { ids, type_ids, full_length, at_least }
}

/// As the files name it, or as BERT's and RoBERTa's tokenizers do.
fn mask(inner: &Guarded, config: &Config) -> Option<u32> {
    let written = config.text("mask_token");
    written.as_deref().into_iter().chain(["[MASK]", "<mask>"]).find_map(|token| inner.token_to_id(token))
}

/// A limit that is none (zero, half a token, null) cuts nothing in Transformers, which reads any value.
fn model_max_length(config: &Value) -> Option<usize> {
    let written = ["model_max_length", "max_len"].into_iter().find_map(|key| config.get(key))?;
    written.as_f64().filter(|limit| (1.0..NO_LIMIT).contains(limit)).map(|limit| limit as usize)
}

/// What the model itself writes: GPT-2's configuration names a token that its bytes never need.
fn unknown(model: &ModelWrapper) -> Option<String> {
    match model {
        ModelWrapper::WordPiece(pieces) => Some(pieces.unk_token.clone()),
        ModelWrapper::WordLevel(words) => Some(words.unk_token.clone()),
        ModelWrapper::BPE(pairs) => pairs.unk_token.clone(),
        // Its id is private, and the first thing that Transformers and SentencePiece call it.
        ModelWrapper::Unigram(_) => Some("<unk>".to_owned()),
    }
}

/// The byte that a character stands for in vocabularies of bytes: GPT-2's `bytes_to_unicode`, the other way round.
fn byte_of(character: char) -> Option<u8> {
    let is_itself = |byte: u8| matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    match u8::try_from(character) {
        Ok(byte) => is_itself(byte).then_some(byte),
        // The others have the characters from 256 on, in their order.
        Err(_) => (0..=u8::MAX).filter(|byte| !is_itself(*byte)).nth((character as usize).checked_sub(256)?),
    }
}

/// The contents of a regular file: what waits for somebody to write into it, or never ends, is none.
pub(crate) fn read(file: &Path) -> Result<Vec<u8>, Error> {
    let read = || match fs::metadata(file)?.is_file() {
        true => fs::read(file),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file")),
    };
    read().map_err(|source| Error::Read { file: file.to_owned(), source })
}

fn broken(file: &Path, source: tokenizers::Error) -> Error {
    Error::BrokenTokenizer { file: file.to_owned(), source }
}

/// `Null` without the file: each of its keys has a default.
pub(crate) fn read_config(file: &Path) -> Result<Value, Error> {
    if !file.is_file() {
        return Ok(Value::Null);
    }
    json::parse(&read(file)?).map_err(|error| broken(file, error.into()))
}

/// Tokenizers come in forms that only Python packages read.
fn what_to_do_without(dir: &Path) -> String {
    let others = ["source.spm", "tekken.json", "tiktoken.model", "vocab.json"];
    match others.into_iter().find(|name| dir.join(name).is_file()) {
        Some(name) => format!("it has {name}: {}", crate::error::MAKE_TOKENIZER_JSON),
        None => "copy the tokenizer files of the checkpoint here".to_owned(),
    }
}

#[cfg(test)]
pub(crate) mod tests;
