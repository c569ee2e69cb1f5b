//! The tokens of long texts against those of the whole text.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::Tokenizer;
use crate::tokenizer::tests::{added, bytes, sentence_pieces, small, trained};

/// A tokenizer.json with this model and what makes its pieces.
fn tokenizer(model: Value, normalizer: Value, pre_tokenizer: Value) -> Tokenizer {
    let dir = tempfile::tempdir().unwrap();
    let document = json!({
        "version": "1.0",
        "added_tokens": added(&["</s>"]),
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

const CHARACTERS: [&str; 9] = ["</s>", "<unk>", "▁", "a", "b", "c", "ä", ".", "\n"];

/// Each kind with its name; all but the first have `</s>` as a special token.
pub(crate) fn every_kind() -> Vec<(&'static str, Tokenizer)> {
    vec![
        ("WordPiece", small()),
        ("bytes", bytes()),
        ("byte-level BPE", trained("abc ab abc. a bc\naaa caaab ä")),
        ("words with marks", sentence_pieces()),
        ("BPE with marks", sentence_piece_bpe(false)),
        ("BPE with marks and bytes", sentence_piece_bpe(true)),
        ("Unigram", unigram(true)),
        ("Unigram in one piece", unigram(false)),
    ]
}

/// As Llama 2 has it: spaces become marks, and the whole text is one piece. With `bytes` they stand for what the vocabulary
/// lacks.
fn sentence_piece_bpe(bytes: bool) -> Tokenizer {
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
    let names: Vec<String> = (0..=255).filter(|_| bytes).map(|byte| format!("<0x{byte:02X}>")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let model = json!({
        "type": "BPE", "vocab": vocabulary(&[&CHARACTERS[..], &merged[..], &names].concat()), "merges": merges,
        "unk_token": "<unk>", "fuse_unk": true, "byte_fallback": bytes,
    });
    let normalizer = json!({"type": "Sequence", "normalizers": [
        {"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
    ]});
    tokenizer(model, normalizer, Value::Null)
}

/// As T5 has it, with pieces of one score, so that ways to cut a word tie.
fn unigram(split: bool) -> Tokenizer {
    let pieces = [
        ("</s>", 0.0),
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
    let model = json!({"type": "Unigram", "vocab": pieces.map(|(piece, score)| json!([piece, score])), "unk_id": 1});
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

pub(crate) fn words() -> impl Strategy<Value = String> {
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
        for (name, tokenizer) in every_kind() {
            let (found, left_out) = ids(&tokenizer, &text, None, max_length);
            prop_assert!(left_out, "or this test says nothing");
            prop_assert_eq!(found, of_the_whole(&tokenizer, &text, None, max_length), "{}", name);
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
    for tokenizer in [unigram(true), unigram(false), sentence_piece_bpe(false), small()] {
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
    assert!(!words_are_apart(tokenizer.inner.model()));
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

#[test]
fn texts_without_words_are_cut_where_a_piece_ends() {
    // In pieces of one character, of digits by threes, and of a run.
    let digits =
        json!({"type": "Split", "pattern": {"Regex": "[0-9]{1,3}|."}, "behavior": "Isolated", "invert": false});
    let names: Vec<String> = (0..1000).map(|n| n.to_string()).collect();
    let model = json!({"type": "BPE", "vocab": vocabulary(&names.iter().map(String::as_str).collect::<Vec<_>>()), "merges": []});
    let by_threes = tokenizer(model, Value::Null, digits);
    let number: String =
        (0..200_000).map(|n: u32| char::from(b'0' + (n.wrapping_mul(2_654_435_761) >> 20) as u8 % 10)).collect();
    for (tokenizer, text) in [(small(), "}]".repeat(100_000)), (small(), "日本".repeat(40_000)), (by_threes, number)]
    {
        for tokens in [16, 500] {
            let found = super::tokens(&tokenizer, &text, tokens).unwrap().expect("a cut").get_ids().to_vec();
            let whole = tokenizer.bare(&text).unwrap();
            assert!(found.len() >= tokens && found.len() < whole.len() / 4, "{} of {}", found.len(), whole.len());
            assert_eq!(found[..tokens], whole[..tokens]);
        }
    }
    let word = "a".repeat(200_000);
    assert!(super::tokens(&small(), &word, 16).unwrap().is_none(), "one piece");
}
