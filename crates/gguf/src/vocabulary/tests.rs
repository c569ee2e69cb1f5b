//! What a `tokenizer.json` becomes in GGUF, and which are refused.

use serde_json::{Value as Json, json};

use super::*;

const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

fn byte_level(splits: bool) -> Json {
    json!({ "type": "ByteLevel", "add_prefix_space": false, "use_regex": splits })
}

/// A vocabulary of bytes after these steps.
fn bytes(pre_tokenizer: Json, ignore_merges: bool) -> Json {
    json!({
        "normalizer": null, "pre_tokenizer": pre_tokenizer, "post_processor": null,
        "added_tokens": [
            { "id": 3, "content": "<|end|>", "special": true }, { "id": 4, "content": "<think>", "special": false },
        ],
        "model": {
            "type": "BPE", "ignore_merges": ignore_merges, "vocab": { "a": 0, "b": 1, "ab": 2 }, "merges": [["a", "b"]],
        },
    })
}

/// Pieces of SentencePiece with these merges.
fn pieces(merges: Json) -> Json {
    json!({
        "normalizer": null, "added_tokens": [{ "id": 0, "content": "<unk>", "special": true }],
        "pre_tokenizer": { "type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": "always", "split": false },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{ "SpecialToken": { "id": "<unk>", "type_id": 0 } }, { "Sequence": { "id": "A", "type_id": 0 } }],
        },
        "model": {
            "type": "BPE", "unk_token": "<unk>", "byte_fallback": true, "merges": merges,
            "vocab": { "<unk>": 0, "<0x0A>": 1, "a": 2, "b": 3, "ab": 4, "ba": 5, "aba": 6 },
        },
    })
}

fn described(tokenizer: &Json, rows: usize) -> Result<Vec<(String, Value)>, VocabularyError> {
    Vocabulary { tokenizer, special: &[("eos_token", 3)], chat_template: Some("{{ x }}"), rows }
        .described()
        .map(|it| it.metadata)
}

fn value(metadata: &[(String, Value)], key: &str) -> Option<Value> {
    metadata.iter().find(|(known, _)| known == key).map(|(_, value)| value.clone())
}

fn pre(tokenizer: &Json) -> Result<String, String> {
    let metadata = described(tokenizer, 8).map_err(|error| error.to_string())?;
    Ok(value(&metadata, "tokenizer.ggml.pre").unwrap().as_str().unwrap().to_owned())
}

#[test]
fn a_vocabulary_of_bytes_has_a_token_for_each_row_and_its_merges() {
    let metadata = described(&bytes(byte_level(true), false), 6).unwrap();
    let expected = [
        ("tokenizer.ggml.model", Value::from("gpt2")),
        ("tokenizer.ggml.pre", Value::from("gpt-2")),
        ("tokenizer.ggml.tokens", Value::strings(["a", "b", "ab", "<|end|>", "<think>", "[PAD5]"])),
        ("tokenizer.ggml.token_type", Value::Array([1, 1, 1, 3, 4, 5].map(Value::I32).to_vec())),
        ("tokenizer.ggml.merges", Value::strings(["a b"])),
        ("tokenizer.ggml.eos_token_id", Value::U32(3)),
        ("tokenizer.ggml.add_bos_token", Value::Bool(false)),
        ("tokenizer.ggml.add_eos_token", Value::Bool(false)),
        ("tokenizer.chat_template", Value::from("{{ x }}")),
    ];
    assert_eq!(metadata, expected.map(|(key, value)| (key.to_owned(), value)));
}

#[test]
fn how_a_text_is_split_has_the_name_that_llama_cpp_has_for_it() {
    let sequence =
        |first: Json, splits: bool| json!({ "type": "Sequence", "pretokenizers": [first, byte_level(splits)] });
    let split = |expression: &str| json!({ "type": "Split", "pattern": { "Regex": expression }, "behavior": "Isolated", "invert": false });
    let digits = json!({ "type": "Digits", "individual_digits": true });
    assert_eq!(pre(&bytes(byte_level(true), false)).as_deref(), Ok("gpt-2"));
    assert_eq!(pre(&bytes(sequence(digits.clone(), true), false)).as_deref(), Ok("smollm"));
    assert_eq!(pre(&bytes(sequence(split(LLAMA3), false), true)).as_deref(), Ok("llama-bpe"));
    assert_eq!(pre(&bytes(sequence(split(LLAMA3), false), false)).as_deref(), Ok("dbrx"));
    let qwen2 = LLAMA3.replace("{1,3}", "");
    assert_eq!(pre(&bytes(sequence(split(&qwen2), false), false)).as_deref(), Ok("qwen2"));
}

#[test]
fn what_llama_cpp_has_no_name_for_is_refused_with_what_it_is() {
    let refused = |tokenizer: &Json| pre(tokenizer).unwrap_err().replace("GGUF has no name for this tokenizer: ", "");
    assert_eq!(refused(&bytes(byte_level(true), true)), "byte pairs after ByteLevel with `ignore_merges`");
    let mut prefixed = bytes(byte_level(true), false);
    prefixed["pre_tokenizer"]["add_prefix_space"] = json!(true);
    assert_eq!(refused(&prefixed), "byte pairs with a space before each text (`add_prefix_space`)");
    let split = json!({ "type": "Split", "pattern": { "Regex": r"\w+" }, "behavior": "Isolated", "invert": false });
    let own = json!({ "type": "Sequence", "pretokenizers": [split, byte_level(false)] });
    assert_eq!(refused(&bytes(own, false)), r"byte pairs of a text that is split by `\w+`");
    let mut lower = bytes(byte_level(true), false);
    lower["normalizer"] = json!({ "type": "Lowercase" });
    assert_eq!(refused(&lower), "byte pairs with the normalizer Lowercase");
    let unigram = json!({ "model": { "type": "Unigram", "vocab": [] } });
    assert_eq!(refused(&unigram), "a vocabulary of the type Unigram");
}

#[test]
fn merges_that_were_made_of_scores_become_scores_again() {
    // `aba` is made in both ways there are, one after the other.
    let merges = json!([["a", "b"], ["b", "a"], ["a", "ba"], ["ab", "a"]]);
    let metadata = described(&pieces(merges), 7).unwrap();
    let scores = [-3.0, -3.0, -3.0, -3.0, 0.0, -1.0, -2.0].map(Value::F32).to_vec();
    assert_eq!(value(&metadata, "tokenizer.ggml.scores"), Some(Value::Array(scores)));
    let types = [2, 6, 1, 1, 1, 1, 1].map(Value::I32).to_vec();
    assert_eq!(value(&metadata, "tokenizer.ggml.token_type"), Some(Value::Array(types)));
    assert_eq!(value(&metadata, "tokenizer.ggml.add_space_prefix"), Some(Value::Bool(true)));
    assert_eq!(value(&metadata, "tokenizer.ggml.bos_token_id"), Some(Value::U32(0)));
    assert_eq!(value(&metadata, "tokenizer.ggml.add_bos_token"), Some(Value::Bool(true)));
    // Without one of them another text would be joined.
    let error = described(&pieces(json!([["a", "b"], ["b", "a"], ["a", "ba"]])), 7).unwrap_err();
    assert!(error.to_string().ends_with("`aba` is not made in every way there is"), "{error}");
    let error = described(&pieces(json!([["a", "b"], ["a", "ba"], ["b", "a"], ["ab", "a"]])), 7).unwrap_err();
    assert!(error.to_string().contains("have no scores"), "{error}");
}

#[test]
fn pieces_of_words_have_the_mark_at_the_beginning() {
    let tokenizer = json!({
        "normalizer": { "type": "BertNormalizer", "lowercase": true, "strip_accents": null, "handle_chinese_chars": true },
        "pre_tokenizer": { "type": "BertPreTokenizer" },
        "post_processor": { "type": "BertProcessing", "cls": ["[CLS]", 0], "sep": ["[SEP]", 1] },
        "added_tokens": [{ "id": 0, "content": "[CLS]", "special": true }, { "id": 1, "content": "[SEP]", "special": true }],
        "model": {
            "type": "WordPiece", "continuing_subword_prefix": "##", "vocab": { "[CLS]": 0, "[SEP]": 1, "play": 2, "##ing": 3 },
        },
    });
    let metadata = described(&tokenizer, 4).unwrap();
    let tokens = Value::strings(["[CLS]", "[SEP]", "\u{2581}play", "ing"]);
    assert_eq!(value(&metadata, "tokenizer.ggml.tokens"), Some(tokens));
    assert_eq!(value(&metadata, "tokenizer.ggml.bos_token_id"), Some(Value::U32(0)));
    assert_eq!(value(&metadata, "tokenizer.ggml.eos_token_id"), Some(Value::U32(1)));
    assert_eq!(value(&metadata, "tokenizer.ggml.normalizer.strip_accents"), Some(Value::Bool(true)));
}

#[test]
fn a_token_beyond_the_rows_of_the_model_is_an_error() {
    let error = described(&bytes(byte_level(true), false), 4).unwrap_err();
    assert_eq!(error.to_string(), "the tokenizer has a token of id 4, the model's word embeddings have 4 rows");
}
