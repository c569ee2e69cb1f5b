//! The tokens of long texts against those of the whole text.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::Tokenizer;
use crate::tokenizer::tests::{bytes, small};

/// A tokenizer.json with this model and what makes its pieces.
fn tokenizer(model: Value, normalizer: Value, pre_tokenizer: Value) -> Tokenizer {
    let dir = tempfile::tempdir().unwrap();
    let document = json!({
        "version": "1.0",
        "added_tokens": [],
        "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": null,
        "decoder": null,
        "model": model,
    });
    std::fs::write(dir.path().join("tokenizer.json"), document.to_string()).unwrap();
    Tokenizer::from_dir(dir.path()).unwrap()
}

fn vocabulary(tokens: &[&str]) -> Value {
    Value::Object(tokens.iter().enumerate().map(|(id, token)| ((*token).to_owned(), json!(id))).collect())
}

const CHARACTERS: [&str; 8] = ["<unk>", "▁", "a", "b", "c", "ä", ".", "\n"];

/// As Llama 2 has it: spaces become marks, and the whole text is one piece.
fn sentence_piece_bpe() -> Tokenizer {
    let merged = ["ab", "bc", "abc", "▁a", "▁ab", "▁abc", "aa", "▁▁", "ca"];
    let merges = [
        ["a", "b"],
        ["b", "c"],
        ["ab", "c"],
        ["▁", "a"],
        ["▁", "ab"],
        ["▁", "abc"],
        ["a", "a"],
        ["▁", "▁"],
        ["c", "a"],
    ];
    let model = json!({
        "type": "BPE", "vocab": vocabulary(&[&CHARACTERS[..], &merged[..]].concat()), "merges": merges, "unk_token": "<unk>",
        "fuse_unk": true,
    });
    let normalizer = json!({"type": "Sequence", "normalizers": [
        {"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
    ]});
    tokenizer(model, normalizer, Value::Null)
}

/// As T5 has it, with pieces of one score, so that ways to cut a word tie.
fn unigram(split: bool) -> Tokenizer {
    let pieces = [
        ("<unk>", 0.0),
        ("▁", -2.0),
        ("a", -3.0),
        ("b", -3.0),
        ("c", -3.0),
        ("aa", -3.0),
        ("aaa", -3.0),
        ("▁a", -3.0),
        ("▁b", -4.0),
    ];
    let model = json!({"type": "Unigram", "vocab": pieces.map(|(piece, score)| json!([piece, score])), "unk_id": 0});
    let metaspace = json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": split});
    tokenizer(model, Value::Null, metaspace)
}

/// The ids and whether the rest was left out.
fn ids(tokenizer: &Tokenizer, text: &str, pair: Option<&str>, max_length: usize) -> (Vec<u32>, bool) {
    let encoded = tokenizer.encode(text, pair, max_length).unwrap();
    (encoded.ids, encoded.at_least)
}

/// The ids of the whole text, cut.
fn of_the_whole(tokenizer: &Tokenizer, text: &str, pair: Option<&str>, max_length: usize) -> Vec<u32> {
    tokenizer.truncated(text, pair, max_length).unwrap().get_ids().to_vec()
}

fn words() -> impl Strategy<Value = String> {
    let word = "[abc]{1,9}|a{1,12}|ä|abc\\.|\\.\\.|\n|  |é|中文|b\u{301}";
    prop::collection::vec((word, 0..4_usize), 40..90).prop_map(|words| {
        let line: String = words.iter().map(|(word, space)| format!("{word}{}", [" ", " ", " ", ""][*space])).collect();
        line.repeat(22_000 / line.len() + 1)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4))]
    #[test]
    fn the_first_tokens_of_a_long_text_are_those_of_the_whole(text in words(), pair in words(), max_length in 8..40_usize) {
        let all = [small(), bytes(), sentence_piece_bpe(), unigram(true), unigram(false)];
        for tokenizer in &all {
            let (found, left_out) = ids(tokenizer, &text, None, max_length);
            prop_assert!(left_out, "or this test says nothing");
            prop_assert_eq!(found, of_the_whole(tokenizer, &text, None, max_length));
        }
        let short: String = pair.chars().take(300).collect();
        for (one, two) in [(&text, &short), (&short, &text), (&text, &pair)] {
            let (found, _) = ids(&small(), one, Some(two), max_length);
            prop_assert_eq!(found, of_the_whole(&small(), one, Some(two), max_length));
        }
    }
}

#[test]
fn a_text_without_a_place_to_cut_is_tokenised_as_a_whole() {
    // How a run of one letter is cut depends on its length: 40,000 is no multiple of 3.
    let text = "a".repeat(40_000);
    for tokenizer in [unigram(true), unigram(false), sentence_piece_bpe(), small()] {
        let (found, left_out) = ids(&tokenizer, &text, None, 20);
        assert!(!left_out);
        assert_eq!(found, of_the_whole(&tokenizer, &text, None, 20));
    }
}

#[test]
fn tokens_that_reach_over_spaces_are_not_relied_on() {
    let merged = ["ab", "▁a", "b▁a"];
    let model = json!({
        "type": "BPE", "vocab": vocabulary(&[&CHARACTERS[..], &merged[..]].concat()),
        "merges": [["b", "▁a"], ["▁", "a"]], "unk_token": "<unk>",
    });
    let normalizer = json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"});
    let tokenizer = tokenizer(model, normalizer, Value::Null);
    assert!(!words_are_apart(&tokenizer.inner));
    let text = "ab ab ".repeat(4_000);
    assert!(!ids(&tokenizer, &text, None, 20).1);
}

#[test]
fn the_length_of_a_text_that_was_not_tokenised_to_its_end_is_a_lower_bound() {
    let tokenizer = small();
    let long = tokenizer.encode(&"a b ".repeat(20_000), None, 16).unwrap();
    assert!(long.at_least && long.full_length > 16 + MARGIN && long.full_length < 40_002);
    let short = tokenizer.encode(&"a b ".repeat(500), None, 16).unwrap();
    assert_eq!((short.at_least, short.full_length), (false, 1_002));
}
