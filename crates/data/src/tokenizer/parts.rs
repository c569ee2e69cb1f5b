//! What stands around the vocabulary of a `tokenizer.json`, held to the limits of `limits.rs` when it is opened: how many parts there
//! are, what they put around a text and how much longer they can make one.

use serde_json::Value;
use tokenizers::normalizers::Replace;
use tokenizers::{
    AddedToken, DecoderWrapper, NormalizerWrapper, PostProcessor, PostProcessorWrapper, PreTokenizerWrapper, Result,
    Tokenizer,
};

use crate::limits::{
    DECODED_PER_BYTE, LONGEST_ADDED, LONGEST_EXPRESSIONS, LONGEST_TOKEN, MOST_GROUPS, MOST_PARTS, MOST_REWRITING,
    MOST_SPECIAL,
};

/// The regular expressions of a document, before the library compiles them.
pub(super) fn check_expressions(document: &Value) -> Result<()> {
    let mut found = Vec::new();
    for part in ["normalizer", "pre_tokenizer", "decoder"] {
        expressions(&document[part], &mut found);
    }
    found.retain(|it| !lists_texts(it));
    at_most(LONGEST_EXPRESSIONS, found.iter().map(|it| it.len()).sum(), "its regular expressions have", "bytes")?;
    let groups = found.iter().map(|it| it.matches("(?").count()).sum();
    at_most(MOST_GROUPS, groups, "its regular expressions have", "groups that begin with `(?`")
}

fn expressions<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                match value {
                    Value::String(expression) if key == "Regex" => found.push(expression),
                    value => expressions(value, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| expressions(value, found)),
        _ => {}
    }
}

/// Whether an expression is texts with `|` between them, as those of a vocabulary's user-defined tokens, of which Gemma has thousands.
pub(super) fn lists_texts(expression: &str) -> bool {
    let mut characters = expression.chars();
    while let Some(character) = characters.next() {
        let is_text = match character {
            '\\' => characters.next().is_some_and(|escaped| escaped.is_ascii_punctuation()),
            other => !"()[]{}*+?.^$".contains(other),
        };
        if !is_text {
            return false;
        }
    }
    true
}

/// The parts as the library has read them.
pub(super) fn check(tokenizer: &Tokenizer) -> Result<()> {
    if let Some(normalizer) = tokenizer.get_normalizer() {
        at_most(MOST_PARTS, normalizers(normalizer).len(), "its normalizer has", "parts")?;
    }
    if let Some(pre_tokenizer) = tokenizer.get_pre_tokenizer() {
        let parts = pre_tokenizers(pre_tokenizer);
        at_most(MOST_PARTS, parts.len(), "its pre-tokenizer has", "parts")?;
        let rewrites = |it: &&&PreTokenizerWrapper| {
            matches!(it, PreTokenizerWrapper::ByteLevel(_) | PreTokenizerWrapper::Metaspace(_))
        };
        let rewriting = parts.iter().filter(rewrites).count();
        at_most(MOST_REWRITING, rewriting, "its pre-tokenizer writes a text anew", "times")?;
    }
    if let Some(post_processor) = tokenizer.get_post_processor() {
        check_post_processor(post_processor)?;
    }
    if let Some(decoder) = tokenizer.get_decoder() {
        let parts = decoders(decoder);
        at_most(MOST_PARTS, parts.len(), "its decoder has", "parts")?;
        let made = parts.into_iter().map(decoded_per_byte).product::<f64>().ceil();
        at_most(DECODED_PER_BYTE, made as usize, "its decoder makes", "bytes of one")?;
    }
    Ok(())
}

/// The tokens beside the vocabulary, each given as often as it is named.
pub(super) fn check_added<'a>(tokens: impl Iterator<Item = &'a AddedToken> + Clone) -> Result<()> {
    let lengths = tokens.map(|token| token.content.len());
    at_most(LONGEST_TOKEN, lengths.clone().max().unwrap_or(0), "an added token has", "bytes")?;
    at_most(LONGEST_ADDED, lengths.sum(), "its added tokens have", "bytes")
}

fn check_post_processor(post_processor: &PostProcessorWrapper) -> Result<()> {
    let written = serde_json::to_value(post_processor)?;
    at_most(MOST_SPECIAL, pieces(&written), "its post-processor has", "pieces")?;
    let around = post_processor.added_tokens(false).max(post_processor.added_tokens(true));
    at_most(MOST_SPECIAL, around, "its post-processor puts", "special tokens around a text")
}

/// Of its templates; a post-processor without is one.
fn pieces(post_processor: &Value) -> usize {
    let listed = |key: &str| post_processor[key].as_array().map_or(&[][..], Vec::as_slice);
    1 + listed("single").len() + listed("pair").len() + listed("processors").iter().map(pieces).sum::<usize>()
}

fn decoded_per_byte(part: &DecoderWrapper) -> f64 {
    match part {
        DecoderWrapper::Replace(it) => Replaced::of(it).per_byte(),
        // A byte that is no character becomes the mark for that, of three.
        DecoderWrapper::ByteLevel(_) => 3.0,
        // What is empty stands before, between and behind all characters.
        DecoderWrapper::BPE(it) if it.suffix.is_empty() => 3.0,
        DecoderWrapper::CTC(it) if it.word_delimiter_token.is_empty() => 3.0,
        DecoderWrapper::WordPiece(_) => 2.0,
        _ => 1.0,
    }
}

fn at_most(limit: usize, number: usize, what: &str, of: &str) -> Result<()> {
    match number > limit {
        true => Err(format!("{what} {number} {of}, more than {limit}").into()),
        false => Ok(()),
    }
}

/// A `Replace`, whose pattern the library keeps to itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Replaced {
    pub(super) pattern: String,
    pub(super) is_regex: bool,
    /// The bytes of what stands there then.
    pub(super) content: usize,
}

impl Replaced {
    pub(super) fn of(replace: &Replace) -> Self {
        let written = serde_json::to_value(replace).unwrap_or_default();
        let text = |name: &str| written["pattern"][name].as_str().map(str::to_owned);
        let regex = text("Regex");
        Self {
            is_regex: regex.is_some(),
            pattern: regex.or_else(|| text("String")).unwrap_or_default(),
            content: replace.content.len(),
        }
    }

    /// The bytes that it makes of one at most.
    pub(super) fn per_byte(&self) -> f64 {
        let content = self.content as f64;
        let least = match self.is_regex {
            true => WELL_KNOWN.iter().find(|(known, _)| *known == self.pattern).map_or(0, |(_, least)| *least),
            false => self.pattern.len(),
        };
        match least {
            // Nothing may match as well: before and behind each character.
            0 => 2.0 * content + 1.0,
            least => (content / least as f64).max(1.0),
        }
    }
}

/// What normalizers replace, with the fewest bytes that match: SentencePiece's spaces. None of them backtracks.
pub(super) const WELL_KNOWN: [(&str, usize); 5] =
    [(" {2,}", 2), (r"\s+", 1), (r"\A +| +\z", 1), (r"\s{2,}|[\n\r\t]", 1), ("\\A\u{2581}", 3)];

/// The parts of a normalizer in their order.
pub(super) fn normalizers(normalizer: &NormalizerWrapper) -> Vec<&NormalizerWrapper> {
    match normalizer {
        NormalizerWrapper::Sequence(sequence) => {
            let parts: &[NormalizerWrapper] = sequence.as_ref();
            parts.iter().flat_map(normalizers).collect()
        }
        one => vec![one],
    }
}

pub(super) fn pre_tokenizers(pre_tokenizer: &PreTokenizerWrapper) -> Vec<&PreTokenizerWrapper> {
    match pre_tokenizer {
        PreTokenizerWrapper::Sequence(sequence) => {
            let parts: &[PreTokenizerWrapper] = sequence.as_ref();
            parts.iter().flat_map(pre_tokenizers).collect()
        }
        one => vec![one],
    }
}

pub(super) fn decoders(decoder: &DecoderWrapper) -> Vec<&DecoderWrapper> {
    match decoder {
        DecoderWrapper::Sequence(sequence) => sequence.get_decoders().iter().flat_map(decoders).collect(),
        one => vec![one],
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::tokenizer::tests::{dir, every_kind, small};
    use crate::{Error, Tokenizer as Opened};

    /// Why BERT's tokenizer with another part is refused.
    fn refused(part: &str, value: Value) -> String {
        let mut json = small().to_json();
        json[part] = value;
        match Opened::from_dir(dir(&[("tokenizer.json", &json.to_string())]).path()) {
            Err(Error::BrokenTokenizer { source, .. }) => source.to_string(),
            Err(error) => panic!("{error:?}"),
            Ok(_) => String::new(),
        }
    }

    /// `count` times a special token that stands for `tokens` of them.
    fn framed(count: usize, tokens: usize) -> Value {
        let mut single = vec![json!({"SpecialToken": {"id": "x", "type_id": 0}}); count];
        single.push(json!({"Sequence": {"id": "A", "type_id": 0}}));
        json!({
            "type": "TemplateProcessing", "single": single, "pair": [],
            "special_tokens": {"x": {"id": "x", "ids": vec![1; tokens], "tokens": vec!["x"; tokens]}},
        })
    }

    #[test]
    fn a_post_processor_that_multiplies_special_tokens_is_refused() {
        assert_eq!(refused("post_processor", framed(10, 100)), "");
        let many = "its post-processor puts 1010 special tokens around a text, more than 1000";
        assert_eq!(refused("post_processor", framed(10, 101)), many);
        let sequence = json!({"type": "Sequence", "processors": [framed(10, 60), framed(10, 41)]});
        assert_eq!(refused("post_processor", sequence), many);
        let pieces = "its post-processor has 10002 pieces, more than 1000";
        assert_eq!(refused("post_processor", framed(10_000, 0)), pieces);
    }

    #[test]
    fn added_tokens_that_are_long_or_many_are_refused() {
        let opened = |config: Value| {
            let files =
                [("tokenizer.json", &small().to_json().to_string()), ("tokenizer_config.json", &config.to_string())];
            match Opened::from_dir(dir(&files.map(|(name, text)| (name, text.as_str()))).path()) {
                Err(Error::BrokenTokenizer { source, .. }) => source.to_string(),
                Err(error) => panic!("{error:?}"),
                Ok(_) => String::new(),
            }
        };
        assert_eq!(opened(json!({"pad_token": "x".repeat(LONGEST_TOKEN)})), "");
        let long = opened(json!({"pad_token": "[],".repeat(683)}));
        assert_eq!(long, "an added token has 2049 bytes, more than 2048");
        let tokens = |count: usize| (0..count).map(|n| format!("{n:01024}")).collect::<Vec<_>>();
        assert_eq!(opened(json!({"additional_special_tokens": tokens(500)})), "");
        let many = opened(json!({"additional_special_tokens": tokens(520)}));
        assert!(many.starts_with("its added tokens have 532") && many.ends_with("bytes, more than 524288"), "{many}");
    }

    #[test]
    fn regular_expressions_beyond_all_known_ones_are_refused() {
        let split = |regex: &str| json!({"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": false});
        let replace = |regex: &str| json!({"type": "Replace", "pattern": {"Regex": regex}, "content": ""});
        let optional = "a?".repeat(5000);
        assert_eq!(refused("pre_tokenizer", split(&optional)), "");
        let long = "its regular expressions have 10001 bytes, more than 10000";
        assert_eq!(refused("pre_tokenizer", split(&format!("{optional}a"))), long);
        assert_eq!(refused("decoder", replace(&format!("{optional}a"))), long);
        let two = [replace(&"a?".repeat(3000)), replace(&format!("{}b", "a?".repeat(2000)))];
        assert_eq!(refused("normalizer", json!({"type": "Sequence", "normalizers": two})), long);
        let tokens: Vec<String> = (0..2000).map(|number| format!(r"<unused\{{{number}\}}>")).collect();
        assert_eq!(refused("pre_tokenizer", split(&tokens.join("|"))), "");
        assert_eq!(refused("pre_tokenizer", split(&"(?=a)".repeat(50))), "");
        let groups = "its regular expressions have 51 groups that begin with `(?`, more than 50";
        assert_eq!(refused("pre_tokenizer", split(&"(?=a)".repeat(51))), groups);
    }

    #[test]
    fn an_expression_lists_texts_or_is_more() {
        for texts in ["", "a", "a|b", r"\[a\]|\.", "\u{2581}\u{2581}|\n"] {
            assert!(lists_texts(texts), "{texts}");
        }
        for more in ["a+", "(a)", "[a]", r"\s", r"\p{L}", r"a\1", "a.", "a\\"] {
            assert!(!lists_texts(more), "{more}");
        }
    }

    #[test]
    fn hundreds_of_parts_are_refused() {
        let sequence = |key: &str, part: Value, count: usize| {
            let nested = json!({"type": "Sequence", key: [part.clone()]});
            let parts = [vec![part; count - 1], vec![nested]].concat();
            json!({"type": "Sequence", key: parts})
        };
        let [lower, digits, fuse] = [
            json!({"type": "Lowercase"}),
            json!({"type": "Digits", "individual_digits": true}),
            json!({"type": "Fuse"}),
        ];
        assert_eq!(refused("normalizer", sequence("normalizers", lower.clone(), 256)), "");
        let normalizers = "its normalizer has 257 parts, more than 256";
        assert_eq!(refused("normalizer", sequence("normalizers", lower, 257)), normalizers);
        let pre_tokenizers = "its pre-tokenizer has 257 parts, more than 256";
        assert_eq!(refused("pre_tokenizer", sequence("pretokenizers", digits, 257)), pre_tokenizers);
        assert_eq!(refused("decoder", sequence("decoders", fuse, 257)), "its decoder has 257 parts, more than 256");
        let bytes = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
        assert_eq!(refused("pre_tokenizer", sequence("pretokenizers", bytes.clone(), 2)), "");
        let anew = "its pre-tokenizer writes a text anew 3 times, more than 2";
        assert_eq!(refused("pre_tokenizer", sequence("pretokenizers", bytes, 3)), anew);
    }

    #[test]
    fn a_decoder_that_multiplies_texts_is_refused() {
        let replace = |kind: &str, pattern: &str, content: usize| {
            let content = "a".repeat(content);
            json!({"type": "Replace", "pattern": {kind: pattern}, "content": content})
        };
        let both = |content: usize| {
            let one = replace("String", "a", content);
            json!({"type": "Sequence", "decoders": [one.clone(), one]})
        };
        assert_eq!(refused("decoder", both(8)), "");
        assert_eq!(refused("decoder", both(9)), "its decoder makes 81 bytes of one, more than 64");
        assert_eq!(refused("decoder", replace("String", "ab", 128)), "");
        let regex = "its decoder makes 65 bytes of one, more than 64";
        assert_eq!(refused("decoder", replace("Regex", "a*", 32)), regex);
        assert_eq!(refused("decoder", replace("String", "", 32)), regex);
    }

    #[test]
    fn every_kind_of_tokenizer_is_within_the_limits() {
        for (name, tokenizer) in every_kind() {
            let again = Opened::from_dir(dir(&[("tokenizer.json", &tokenizer.to_json().to_string())]).path());
            assert!(again.is_ok(), "{name}: {again:?}");
        }
    }
}
