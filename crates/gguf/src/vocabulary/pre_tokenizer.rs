//! How a text is split before its pieces are looked for, and the names that llama.cpp has for that: `src/llama-vocab.cpp` there.

use serde_json::{Value as Json, json};

use super::{SPACE, VocabularyError, no_name};

/// Contractions, words with what stands before them, digits, signs, line ends and spaces: with digits alone, or up to three together.
const QWEN2: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// The same with words split where capitals begin, which Mistral's Tekken and GPT-4o's vocabulary have.
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const GPT4O: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Whether a word that is a token as a whole is that token, whatever merges would come to: `ignore_merges`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Words {
    Merged,
    Whole,
}

/// Expressions of a `Split` before the bytes, with the names they have in llama.cpp.
const SPLITS: [(&str, Words, &str); 5] = [
    (QWEN2, Words::Merged, "qwen2"),
    (LLAMA3, Words::Whole, "llama-bpe"),
    (LLAMA3, Words::Merged, "dbrx"),
    (TEKKEN, Words::Whole, "tekken"),
    (GPT4O, Words::Merged, "gpt-4o"),
];

/// Whether the text is turned into bytes, which are written as characters.
pub(super) fn is_byte_level(tokenizer: &Json) -> bool {
    steps(&tokenizer["pre_tokenizer"]).last().is_some_and(|step| step["type"] == "ByteLevel")
}

/// The `tokenizer.ggml.pre` of a vocabulary of bytes.
pub(super) fn name(tokenizer: &Json) -> Result<&'static str, VocabularyError> {
    // llama.cpp normalises nothing; as the official converter does, what is composed already is taken to be common.
    let normalizers: Vec<&Json> = steps(&tokenizer["normalizer"]);
    if let Some(other) = normalizers.iter().find(|step| step["type"] != "NFC") {
        return Err(no_name(format!("byte pairs with the normalizer {}", other["type"].as_str().unwrap_or("?"))));
    }
    let words = if tokenizer["model"]["ignore_merges"] == json!(true) { Words::Whole } else { Words::Merged };
    let steps = steps(&tokenizer["pre_tokenizer"]);
    let is_bytes = |step: &Json, splits: bool| {
        step["type"] == "ByteLevel" && step["use_regex"] == json!(splits) && step["add_prefix_space"] != json!(true)
    };
    let found = match steps.as_slice() {
        [bytes] if is_bytes(bytes, true) && words == Words::Merged => Some("gpt-2"),
        [digits, bytes]
            if digits["type"] == "Digits" && digits["individual_digits"] == json!(true) && is_bytes(bytes, true) =>
        {
            (words == Words::Merged).then_some("smollm")
        }
        [split, bytes] if is_bytes(bytes, false) => expression(split)
            .and_then(|found| SPLITS.iter().find(|(known, merged, _)| *known == found && *merged == words))
            .map(|(_, _, name)| *name),
        _ => None,
    };
    found.ok_or_else(|| no_name(described(&steps, words)))
}

/// The expression of a `Split` whose matches become pieces, and nothing is left beside them.
fn expression(split: &Json) -> Option<&str> {
    let is_isolated = split["behavior"] == "Isolated" && split["invert"] != json!(true);
    let is_rest_removed = split["behavior"] == "Removed" && split["invert"] == json!(true);
    (split["type"] == "Split" && (is_isolated || is_rest_removed)).then(|| split["pattern"]["Regex"].as_str())?
}

fn described(steps: &[&Json], words: Words) -> String {
    let kinds: Vec<&str> = steps.iter().map(|step| step["type"].as_str().unwrap_or("?")).collect();
    let kinds = kinds.join(" and ");
    let of_bytes = steps.iter().find(|step| step["type"] == "ByteLevel");
    match steps.iter().find_map(|step| expression(step)) {
        _ if of_bytes.is_some_and(|step| step["add_prefix_space"] == json!(true)) => {
            "byte pairs with a space before each text (`add_prefix_space`)".to_owned()
        }
        Some(expression) => format!("byte pairs of a text that is split by `{expression}`"),
        None if words == Words::Whole => format!("byte pairs after {kinds} with `ignore_merges`"),
        None => format!("byte pairs after {kinds}"),
    }
}

/// Whether a space is put before a text; of a vocabulary of SentencePiece's pieces.
pub(super) fn has_space_prefix(tokenizer: &Json, notes: &mut Vec<String>) -> Result<bool, VocabularyError> {
    let normalizers = steps(&tokenizer["normalizer"]);
    let pre_tokenizers = steps(&tokenizer["pre_tokenizer"]);
    let space = SPACE.to_string();
    let is_prepend = |step: &Json| step["type"] == "Prepend" && step["prepend"] == json!(space);
    let is_replace =
        |step: &Json| step["type"] == "Replace" && step["pattern"]["String"] == " " && step["content"] == json!(space);
    match (normalizers.as_slice(), pre_tokenizers.as_slice()) {
        ([prepend, replace], []) if is_prepend(prepend) && is_replace(replace) => Ok(true),
        ([replace], []) if is_replace(replace) => Ok(false),
        ([], [pieces]) if pieces["type"] == "Metaspace" && pieces["replacement"] == json!(space) => {
            // Without `split` the whole text is one piece, as it is for llama.cpp.
            if pieces["split"] != json!(false) && has_space_inside(tokenizer) {
                return Err(no_name("pieces that are looked for in each word alone"));
            }
            if pieces["prepend_scheme"] == "first" {
                notes.push(
                    "llama.cpp puts a space before the text after a special token too, where this tokenizer puts one \
                     only at the beginning"
                        .to_owned(),
                );
            }
            Ok(pieces["prepend_scheme"] != "never")
        }
        (normalizers, pre_tokenizers) => {
            let kinds = normalizers.iter().chain(pre_tokenizers).map(|step| step["type"].as_str().unwrap_or("?"));
            let kinds: Vec<&str> = kinds.collect();
            let after = if kinds.is_empty() { "nothing".to_owned() } else { kinds.join(" and ") };
            Err(no_name(format!("byte pairs of characters after {after}")))
        }
    }
}

/// Whether a token reaches from one word into the next.
fn has_space_inside(tokenizer: &Json) -> bool {
    let vocabulary = tokenizer["model"]["vocab"].as_object();
    vocabulary.is_some_and(|tokens| tokens.keys().any(|token| token.chars().skip(1).any(|c| c == SPACE)))
}

/// Of BERT's tokenizer: whether texts are put into lower case, and whether accents are taken off.
pub(super) fn of_bert(tokenizer: &Json) -> Result<(bool, bool), VocabularyError> {
    let normalizer = &tokenizer["normalizer"];
    let pre_tokenizer = &tokenizer["pre_tokenizer"];
    if normalizer["type"] != "BertNormalizer" || pre_tokenizer["type"] != "BertPreTokenizer" {
        let kind = |step: &Json| step["type"].as_str().unwrap_or("nothing").to_owned();
        return Err(no_name(format!("WordPiece after {} and {}", kind(normalizer), kind(pre_tokenizer))));
    }
    if normalizer["handle_chinese_chars"] == json!(false) {
        return Err(no_name("WordPiece with `handle_chinese_chars` false"));
    }
    let lowercase = normalizer["lowercase"] == json!(true);
    // Where nothing is said accents go with the case.
    Ok((lowercase, normalizer["strip_accents"].as_bool().unwrap_or(lowercase)))
}

/// The steps of a normalizer or a pre-tokenizer in their order.
fn steps(step: &Json) -> Vec<&Json> {
    match step["type"].as_str() {
        None => Vec::new(),
        Some("Sequence") => {
            let parts = ["normalizers", "pretokenizers"].into_iter().find_map(|key| step[key].as_array());
            parts.into_iter().flatten().flat_map(steps).collect()
        }
        Some(_) => vec![step],
    }
}
