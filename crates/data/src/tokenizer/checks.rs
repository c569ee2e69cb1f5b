//! A second look at a text before the library takes it, where the tokenizer gives reason. The library ends its search without a word
//! where a regular expression gives up, and has other tokens then; and what it replaces may become as long as memory lasts. Both are
//! errors here. Well-known tokenizers are spared: their expressions give up on very long texts alone, and they lengthen a text little.

use std::sync::{Mutex, OnceLock, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokenizers::normalizers::Precompiled;
use tokenizers::pre_tokenizers::split::SplitPattern;
use tokenizers::{
    Decoder, DecoderWrapper, Error, InputSequence, NormalizedString, Normalizer, NormalizerWrapper, PreTokenizer,
    PreTokenizerWrapper, Result, Tokenizer,
};
use tokenizers_regex::Regex;

use super::parts::{self, Replaced, lists_texts};
use super::rebuilt::QWEN2;
use super::sentencepiece::charsmap;
use crate::limits::normalized_of;

/// GPT-2's, which byte-level pre-tokenizers have built in.
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// The bytes of a text on which the well-known expressions do not give up: they take a step back, or keep a place to go back to, for
/// each character at most, and may do so a million times.
const SAFE: usize = 500_000;

#[derive(Debug)]
pub(super) struct Checks {
    /// Of each part.
    normalizer: Vec<Option<Growing>>,
    pre_tokenizer: Vec<Option<Expression>>,
    decoder: Vec<Option<Expression>>,
    /// The bytes that the normalizer makes of one at most.
    per_byte: f64,
}

/// What a part of a normalizer replaces.
#[derive(Debug)]
enum Growing {
    Text(Replaced),
    Expression(Replaced, Expression),
}

#[derive(Debug)]
struct Expression {
    pattern: String,
    /// It may give up on a short text.
    is_foreign: bool,
    compiled: OnceLock<Option<Regex>>,
}

impl Checks {
    pub(super) fn of(tokenizer: &Tokenizer) -> Self {
        let normalizers = tokenizer.get_normalizer().map(parts::normalizers).unwrap_or_default();
        let pre_tokenizers = tokenizer.get_pre_tokenizer().map(parts::pre_tokenizers).unwrap_or_default();
        let decoders = tokenizer.get_decoder().map(parts::decoders).unwrap_or_default();
        Self {
            per_byte: normalizers.iter().map(|part| per_byte(part)).product(),
            normalizer: normalizers.into_iter().map(growing).collect(),
            pre_tokenizer: pre_tokenizers.into_iter().map(splits).collect(),
            decoder: decoders.into_iter().map(decodes).collect(),
        }
    }

    /// Errors: an expression gives up on the text, or the normalizer makes too much of it.
    pub(super) fn text(&self, tokenizer: &Tokenizer, text: &str) -> Result<()> {
        if !self.is_due(text) {
            return Ok(());
        }
        let normalizing = tokenizer.get_normalizer().map(|normalizer| Normalizing {
            parts: parts::normalizers(normalizer),
            growing: &self.normalizer,
            most: normalized_of(text.len()),
            state: Mutex::default(),
        });
        let mut pieces = tokenizer.get_added_vocabulary().extract_and_normalize(normalizing.as_ref(), text);
        if let Some(refused) = normalizing.and_then(Normalizing::refused) {
            return Err(match refused {
                Refused::GaveUp(error) => error,
                Refused::Long(most) => {
                    format!("its normalizer makes more than {most} bytes of a text of {}", text.len()).into()
                }
            });
        }
        let parts = tokenizer.get_pre_tokenizer().map(parts::pre_tokenizers).unwrap_or_default();
        for (part, expression) in parts.into_iter().zip(&self.pre_tokenizer) {
            if let Some(expression) = expression {
                pieces.split(|_, piece| expression.matches(piece.get()).map(|_| [piece]))?;
            }
            part.pre_tokenize(&mut pieces)?;
        }
        Ok(())
    }

    pub(super) fn input(&self, tokenizer: &Tokenizer, input: &InputSequence<'_>) -> Result<()> {
        match input {
            InputSequence::Raw(text) => self.text(tokenizer, text),
            InputSequence::PreTokenized(words) => words.iter().try_for_each(|word| self.text(tokenizer, word)),
            InputSequence::PreTokenizedOwned(words) => words.iter().try_for_each(|word| self.text(tokenizer, word)),
            InputSequence::PreTokenizedCow(words) => words.iter().try_for_each(|word| self.text(tokenizer, word)),
        }
    }

    /// As `text`, of what is decoded.
    pub(super) fn ids(&self, tokenizer: &Tokenizer, ids: &[u32], skip_special_tokens: bool) -> Result<()> {
        let Some(decoder) = tokenizer.get_decoder() else { return Ok(()) };
        if !self.decoder.iter().flatten().any(|expression| expression.is_foreign) {
            return Ok(());
        }
        let is_shown =
            |token: &String| !skip_special_tokens || !tokenizer.get_added_vocabulary().is_special_token(token);
        let mut tokens: Vec<String> = ids.iter().filter_map(|id| tokenizer.id_to_token(*id)).filter(is_shown).collect();
        for (part, expression) in parts::decoders(decoder).into_iter().zip(&self.decoder) {
            if let Some(expression) = expression {
                tokens.iter().try_for_each(|token| expression.matches(token).map(drop))?;
            }
            tokens = part.decode_chain(tokens)?;
        }
        Ok(())
    }

    fn is_due(&self, text: &str) -> bool {
        let of_normalizer = self.normalizer.iter().flatten().filter_map(|growing| match growing {
            Growing::Expression(_, expression) => Some(expression),
            Growing::Text(_) => None,
        });
        let mut expressions = of_normalizer.chain(self.pre_tokenizer.iter().flatten());
        self.per_byte * text.len() as f64 > normalized_of(text.len()) as f64
            || expressions.any(|expression| text.len() > SAFE || expression.is_foreign)
    }
}

impl Expression {
    fn new(pattern: &str) -> Self {
        let is_known = [GPT2, LLAMA3, QWEN2].contains(&pattern)
            || parts::WELL_KNOWN.iter().any(|(known, _)| *known == pattern)
            || lists_texts(pattern);
        Self { pattern: pattern.to_owned(), is_foreign: !is_known, compiled: OnceLock::new() }
    }

    /// The number of its matches and their bytes.
    fn matches(&self, text: &str) -> Result<(usize, usize)> {
        let gave_up = || -> Error {
            let beginning: String = self.pattern.chars().take(60).collect();
            format!("its regular expression `{beginning}` gives up on the text: it goes back too often").into()
        };
        // What the library has compiled compiles here too.
        let regex = self.compiled.get_or_init(|| Regex::new(&self.pattern).ok()).as_ref().ok_or_else(gave_up)?;
        regex.find_iter(text).try_fold((0, 0), |(number, bytes), found| {
            let found = found.map_err(|_| gave_up())?;
            Ok((number + 1, bytes + found.end() - found.start()))
        })
    }
}

fn growing(part: &NormalizerWrapper) -> Option<Growing> {
    let NormalizerWrapper::Replace(replace) = part else { return None };
    let replaced = Replaced::of(replace);
    Some(match replaced.is_regex {
        true => {
            let expression = Expression::new(&replaced.pattern);
            Growing::Expression(replaced, expression)
        }
        false => Growing::Text(replaced),
    })
}

fn splits(part: &PreTokenizerWrapper) -> Option<Expression> {
    match part {
        PreTokenizerWrapper::ByteLevel(bytes) => bytes.use_regex.then(|| Expression::new(GPT2)),
        PreTokenizerWrapper::Split(split) => match &split.pattern {
            SplitPattern::Regex(pattern) => Some(Expression::new(pattern)),
            SplitPattern::String(_) => None,
        },
        _ => None,
    }
}

fn decodes(part: &DecoderWrapper) -> Option<Expression> {
    let DecoderWrapper::Replace(replace) = part else { return None };
    let replaced = Replaced::of(replace);
    replaced.is_regex.then(|| Expression::new(&replaced.pattern))
}

/// What a part of a normalizer makes of a byte at most.
fn per_byte(part: &NormalizerWrapper) -> f64 {
    match part {
        NormalizerWrapper::Replace(replace) => Replaced::of(replace).per_byte(),
        // Before each piece of a text between added tokens.
        NormalizerWrapper::Prepend(part) => 1.0 + part.prepend.len() as f64,
        NormalizerWrapper::Precompiled(table) => longest(table).max(1) as f64,
        // U+FDFA, of three bytes, becomes a sentence of 33; decomposed and composed characters have three times their bytes.
        NormalizerWrapper::NFKC(_) | NormalizerWrapper::NFKD(_) => 11.0,
        NormalizerWrapper::NFC(_) | NormalizerWrapper::NFD(_) => 3.0,
        // Spaces around a character of three bytes, its accents apart, lowercase.
        NormalizerWrapper::BertNormalizer(_) => 8.0,
        NormalizerWrapper::ByteLevel(_) => 2.0,
        // U+0130, of two bytes, has three.
        NormalizerWrapper::Lowercase(_) => 1.5,
        NormalizerWrapper::StripNormalizer(_)
        | NormalizerWrapper::StripAccents(_)
        | NormalizerWrapper::Nmt(_)
        | NormalizerWrapper::Sequence(_) => 1.0,
    }
}

/// The bytes of the longest text of a table.
fn longest(table: &Precompiled) -> usize {
    let written = serde_json::to_value(table).unwrap_or_default();
    let bytes = written["precompiled_charsmap"].as_str().and_then(|table| STANDARD.decode(table).ok());
    bytes.map_or(0, |bytes| charsmap::longest(&bytes))
}

/// A normalizer that goes part by part, and looks before each what it will make.
struct Normalizing<'a> {
    parts: Vec<&'a NormalizerWrapper>,
    growing: &'a [Option<Growing>],
    /// Bytes, of all pieces of the text together.
    most: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    made: usize,
    refused: Option<Refused>,
}

enum Refused {
    GaveUp(Error),
    /// More than so many bytes.
    Long(usize),
}

impl Normalizing<'_> {
    fn refused(self) -> Option<Refused> {
        self.state.into_inner().unwrap_or_else(PoisonError::into_inner).refused
    }

    fn piece(&self, text: &mut NormalizedString, made: usize) -> std::result::Result<usize, Refused> {
        let fits = |bytes: usize| match made.saturating_add(bytes) {
            sum if sum > self.most => Err(Refused::Long(self.most)),
            sum => Ok(sum),
        };
        for (part, growing) in self.parts.iter().zip(self.growing) {
            let length = text.get().len();
            let to_be = match (part, growing) {
                (_, Some(growing)) => growing.made(text.get()).map_err(Refused::GaveUp)?,
                (NormalizerWrapper::Prepend(part), _) => length.saturating_add(part.prepend.len()),
                (NormalizerWrapper::Precompiled(table), _) => charsmap::made(table, text.get()),
                _ => length,
            };
            fits(to_be)?;
            part.normalize(text).map_err(Refused::GaveUp)?;
        }
        fits(text.get().len())
    }
}

impl Normalizer for Normalizing<'_> {
    /// The library drops its errors: they stay here.
    fn normalize(&self, text: &mut NormalizedString) -> Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.refused.is_none() {
            match self.piece(text, state.made) {
                Ok(made) => state.made = made,
                Err(refused) => state.refused = Some(refused),
            }
        }
        Ok(())
    }
}

impl Growing {
    /// The bytes of a text in which everything is replaced.
    fn made(&self, text: &str) -> Result<usize> {
        let (replaced, (number, bytes)) = match self {
            Self::Text(replaced) => {
                let number = text.matches(replaced.pattern.as_str()).count();
                (replaced, (number, number * replaced.pattern.len()))
            }
            Self::Expression(replaced, expression) => (replaced, expression.matches(text)?),
        };
        Ok((text.len() - bytes).saturating_add(number.saturating_mul(replaced.content)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::tokenizer::tests::{bytes, dir, small};
    use crate::{Error as Failure, Tokenizer as Opened};

    /// It takes a million steps on forty letters.
    const GIVES_UP: &str = r"(?:(a|aa)+)\1c|b";
    const GAVE_UP: &str = r"its regular expression `(?:(a|aa)+)\1c|b` gives up on the text: it goes back too often";

    /// BERT's with another part.
    fn with(part: &str, value: Value) -> Opened {
        let mut json = small().to_json();
        json[part] = value;
        Opened::from_dir(dir(&[("tokenizer.json", &json.to_string())]).path()).unwrap()
    }

    fn replace(kind: &str, pattern: &str, content: &str) -> Value {
        json!({"type": "Replace", "pattern": {kind: pattern}, "content": content})
    }

    fn refused(tokenizer: &Opened, text: &str) -> String {
        match tokenizer.encode(text, None, 16) {
            Err(Failure::Tokenizing { source }) => source.to_string(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_expression_that_gives_up_is_an_error_of_the_text() {
        let split = json!({"type": "Split", "pattern": {"Regex": GIVES_UP}, "behavior": "Isolated", "invert": false});
        let hard = format!("{}b", "a".repeat(40));
        let sequence = json!({"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, split.clone()]});
        let normalizer = replace("Regex", GIVES_UP, "c");
        for (part, value) in [("pre_tokenizer", split), ("pre_tokenizer", sequence), ("normalizer", normalizer)] {
            let tokenizer = with(part, value);
            assert!(tokenizer.encode("aab", None, 16).is_ok(), "{part}");
            assert_eq!(refused(&tokenizer, &hard), GAVE_UP, "{part}");
            for refused in [
                tokenizer.bare(&hard).map(drop),
                tokenizer.encode("a", Some(&hard), 16).map(drop),
                tokenizer.bare_with_spans(&hard).map(drop),
                tokenizer.words(&["a".to_owned(), hard.clone()]).map(drop),
                tokenizer.words_of(&hard).map(drop),
            ] {
                let Err(Failure::Tokenizing { source }) = refused else { panic!("{part}") };
                assert_eq!(source.to_string(), GAVE_UP, "{part}");
            }
        }
    }

    /// What is decoded is shown, token by token where the decoder fails.
    #[test]
    fn a_decoder_that_gives_up_is_not_heeded() {
        let parts = [json!({"type": "Fuse"}), replace("Regex", GIVES_UP, "x")];
        let tokenizer = with("decoder", json!({"type": "Sequence", "decoders": parts}));
        let [a, b] = [tokenizer.id("a"), tokenizer.id("b")];
        assert_eq!(tokenizer.decode(&[a, a, b]), "aax");
        let hard = [vec![a; 40], vec![b]].concat();
        assert_eq!(tokenizer.decode(&hard), ["a "; 40].concat() + "b");
    }

    #[test]
    fn a_normalizer_that_makes_far_more_of_a_text_is_refused() {
        let ten = replace("String", "a", &"a".repeat(50));
        let growing = json!({"type": "Sequence", "normalizers": vec![ten; 8]});
        assert_eq!(
            refused(&with("normalizer", growing), "a"),
            "its normalizer makes more than 524304 bytes of a text of 1"
        );
        let at_each = replace("Regex", "a*", &"b".repeat(1_000_000));
        let message = "its normalizer makes more than 524384 bytes of a text of 6";
        assert_eq!(refused(&with("normalizer", at_each), "cacaca"), message);
        let before = json!({"type": "Prepend", "prepend": "a".repeat(3_000_000)});
        assert_eq!(
            refused(&with("normalizer", before), "a"),
            "its normalizer makes more than 524304 bytes of a text of 1"
        );
        // Before both of the pieces around the special token.
        let before = json!({"type": "Prepend", "prepend": "a".repeat(300_000)});
        let message = "its normalizer makes more than 524432 bytes of a text of 9";
        assert_eq!(refused(&with("normalizer", before), "a [SEP] b"), message);
    }

    #[test]
    fn what_normalizers_do_is_done_within_the_limits() {
        let parts = [
            json!({"type": "Prepend", "prepend": " "}),
            replace("Regex", "b", "a".repeat(1000).as_str()),
            replace("String", &"a".repeat(1000), " c "),
            json!({"type": "NFKC"}),
        ];
        let tokenizer = with("normalizer", json!({"type": "Sequence", "normalizers": parts}));
        assert_eq!(tokenizer.ids("a b c"), small().ids("a c c"));
        // By its parts, it could come to more than the limit.
        assert_eq!(tokenizer.ids(&"c ".repeat(400)), vec![small().id("c"); 400]);
    }

    #[test]
    fn expressions_that_are_well_known_are_not_looked_at_twice() {
        let is_due = |tokenizer: &Opened, text: &str| {
            super::Checks::of(&serde_json::from_value(tokenizer.to_json()).unwrap()).is_due(text)
        };
        let split = |regex: &str| {
            with(
                "pre_tokenizer",
                json!({"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": false}),
            )
        };
        let known = [small(), bytes(), split(super::QWEN2), split(super::LLAMA3), split(r"\[a\]|<b>")];
        for tokenizer in known {
            assert!(!is_due(&tokenizer, &"a".repeat(400_000)));
        }
        assert!(is_due(&bytes(), &"a".repeat(600_000)));
        assert!(is_due(&split("a+"), "a"));
    }
}
