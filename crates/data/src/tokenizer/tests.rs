//! Tests of the whole room.

use miette::Diagnostic;
use proptest::prelude::*;
use serde_json::json;
use tempfile::TempDir;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;

pub(crate) use super::beginning::tests::{every_kind, words};
use super::*;

const WORDS: &str = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\nc\n##c\ncafe\nCafé\n中\n";

pub(crate) fn dir(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in files {
        fs::write(dir.path().join(name), content).unwrap();
    }
    dir
}

fn bert_with(config: &str) -> Tokenizer {
    Tokenizer::from_dir(dir(&[("vocab.txt", WORDS), ("tokenizer_config.json", config)]).path()).unwrap()
}

/// `[PAD] [UNK] [CLS] [SEP] [MASK] a b c`: 0 to 7.
pub(crate) fn small() -> Tokenizer {
    bert_with("{}")
}

/// `<s>` 0, `</s>` 1, `<|end|>` 2 and then every byte; `<s>` goes before a text.
pub(crate) fn bytes() -> Tokenizer {
    Tokenizer::from_dir(bytes_dir().path()).unwrap()
}

/// The directory of `bytes`, to put a chat template into.
pub(crate) fn bytes_dir() -> TempDir {
    let config = r#"{"bos_token": "<s>", "eos_token": {"content": "</s>"}}"#;
    dir(&[("tokenizer.json", &byte_level().to_string()), ("tokenizer_config.json", config)])
}

/// The `tokenizer.json` of `bytes`.
pub(crate) fn byte_level() -> Value {
    let special = ["<s>", "</s>", "<|end|>"];
    let mut alphabet: Vec<char> = ByteLevel::alphabet().into_iter().collect();
    alphabet.sort_unstable();
    let names = special.map(str::to_owned).into_iter().chain(alphabet.into_iter().map(String::from));
    let bytes = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    json!({
        "version": "1.0",
        "added_tokens": added(&special),
        "pre_tokenizer": bytes,
        "decoder": bytes,
        "post_processor": {"type": "Sequence", "processors": [bytes, {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]}},
        }]},
        "model": {"type": "BPE", "vocab": vocabulary(names), "merges": []},
    })
}

pub(crate) fn vocabulary(names: impl Iterator<Item = String>) -> Value {
    Value::Object(names.zip(0..).map(|(name, id)| (name, json!(id))).collect())
}

pub(crate) fn added(special: &[&str]) -> Value {
    let token = |(id, content): (usize, &&str)| {
        json!({
            "id": id, "content": content, "special": true,
            "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
        })
    };
    special.iter().enumerate().map(token).collect()
}

/// As SentencePiece makes them, with a space before each word: `<unk>` 0, `<s>` 1, `</s>` 2, the 256 bytes, words.
pub(crate) fn sentence_pieces() -> Tokenizer {
    let names = ["<unk>", "<s>", "</s>"].map(str::to_owned).into_iter();
    let names = names.chain((0..=255).map(|byte| format!("<0x{byte:02X}>")));
    let words = ["\u{2581}hello", "\u{2581}world", "\u{2581}", "hello", "a"].map(str::to_owned);
    let tokenizer = json!({
        "version": "1.0",
        "added_tokens": added(&["<unk>", "<s>", "</s>"]),
        "pre_tokenizer": {"type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": "first", "split": true},
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "\u{2581}"}, "content": " "},
            {"type": "ByteFallback"},
            {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0},
        ]},
        "model": {"type": "WordLevel", "vocab": vocabulary(names.chain(words)), "unk_token": "<unk>"},
    });
    Tokenizer::from_dir(dir(&[("tokenizer.json", &tokenizer.to_string())]).path()).unwrap()
}

/// A byte-level one with merges, trained on `text`.
pub(crate) fn trained(text: &str) -> Tokenizer {
    trained_to(text, 270)
}

/// With at most so many tokens: fewer where the text has not enough to merge.
pub(crate) fn trained_to(text: &str, tokens: usize) -> Tokenizer {
    let texts = || std::iter::repeat_n(text, 3).map(|text| Ok(text.to_owned()));
    let train = |size| crate::train_vocabulary(texts(), crate::VocabularyKind::Bpe, size, &|_| ()).ok();
    let vocabulary = (257..=tokens).rev().find_map(train).unwrap();
    let files: Vec<(&str, &str)> = vocabulary.files().iter().map(|(name, content)| (*name, content.as_str())).collect();
    Tokenizer::from_dir(dir(&files).path()).unwrap()
}

impl Tokenizer {
    /// The ids of a text without what is put around it.
    pub(crate) fn ids(&self, text: &str) -> Vec<u32> {
        self.bare(text).unwrap()
    }

    pub(crate) fn id(&self, token: &str) -> u32 {
        self.inner.token_to_id(token).unwrap()
    }
}

fn says(error: &Error) -> (String, String) {
    (error.to_string(), error.help().expect("says what to do").to_string())
}

#[test]
fn a_text_is_framed_and_a_pair_has_type_ids() {
    let one = small().encode("A bc", None, 16).unwrap();
    assert_eq!(one, Encoded { ids: vec![2, 5, 6, 8, 3], type_ids: vec![0; 5], full_length: 5, at_least: false });
    let two = small().encode("a b", Some("c"), 16).unwrap();
    assert_eq!(
        two,
        Encoded { ids: vec![2, 5, 6, 3, 7, 3], type_ids: vec![0, 0, 0, 0, 1, 1], full_length: 6, at_least: false }
    );
}

#[test]
fn special_tokens_in_a_text_are_special_and_unknown_words_are_unknown() {
    assert_eq!(small().encode("a [SEP] b", None, 16).unwrap().ids, [2, 5, 3, 6, 3]);
    assert_eq!(small().encode("xyz", None, 16).unwrap().ids, [2, 1, 3]);
}

#[test]
fn letter_case_accents_and_chinese_follow_the_configuration() {
    let ids = |config: &str, text: &str| bert_with(config).encode(text, None, 16).unwrap().ids;
    assert_eq!(ids("{}", "Café"), [2, 9, 3], "lower case and without accents by default");
    assert_eq!(ids(r#"{"do_lower_case": false}"#, "Café"), [2, 10, 3]);
    assert_eq!(ids(r#"{"strip_accents": false}"#, "Café"), [2, 1, 3], "`café` is no word of the list");
    assert_eq!(ids("{}", "a中a"), [2, 5, 11, 5, 3]);
    assert_eq!(ids(r#"{"tokenize_chinese_chars": false}"#, "a中a"), [2, 1, 3]);
}

#[test]
fn pairs_are_truncated_longest_first_from_the_right() {
    let ids = |text: &str, pair: &str, max_length| small().encode(text, Some(pair), max_length).unwrap().ids;
    assert_eq!(ids("a b c a b c", "b", 7), [2, 5, 6, 7, 3, 6, 3], "only the longer one is cut");
    assert_eq!(ids("a b c a b c", "c b a c b a", 8), [2, 5, 6, 3, 7, 6, 5, 3], "the odd token goes to the second");
    let whole = small().encode("a b c a b c", None, 5).unwrap();
    assert_eq!(whole, Encoded { ids: vec![2, 5, 6, 7, 3], type_ids: vec![0; 5], full_length: 8, at_least: false });
}

#[test]
fn pairs_are_cut_where_transformers_cuts_them() {
    // Tokens of the texts, max_length, and what stays of each: by `PreTrainedTokenizerFast` of Transformers 5.23 with
    // tokenizers 0.23.3, `truncation=True`. Setting truncation in the Rust crate (0.23.2) differs at (9, 8, 6): it
    // cuts both texts to max_length before it looks which is longer.
    let cases = [
        (9, 9, 6, 1, 2),
        (9, 8, 6, 2, 1),
        (8, 9, 6, 1, 2),
        (9, 9, 7, 2, 2),
        (2, 9, 8, 2, 3),
        (9, 2, 8, 3, 2),
        (9, 1, 7, 3, 1),
        (20, 19, 10, 4, 3),
        (3, 3, 8, 2, 3),
        (1, 9, 4, 0, 1),
        (9, 1, 4, 1, 0),
    ];
    for (first, second, max_length, a, b) in cases {
        let (text, pair) = ("a ".repeat(first), "b ".repeat(second));
        let ids = small().encode(&text, Some(&pair), max_length).unwrap().ids;
        let expected = [vec![2], vec![5; a], vec![3], vec![6; b], vec![3]].concat();
        assert_eq!(ids, expected, "{first} and {second} in {max_length}");
    }
}

#[test]
fn a_length_without_room_for_text_is_refused() {
    let (message, help) = says(&small().encode("a b", Some("c"), 3).unwrap_err());
    assert_eq!(message, "`data.max_length = 3` leaves no room for text: the tokenizer adds 3 special tokens");
    assert_eq!(help, "set `data.max_length` to more than 3");
}

#[test]
fn truncation_and_padding_of_a_tokenizer_json_are_switched_off() {
    let mut json = small().to_json();
    json["truncation"] = json!({"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0});
    json["padding"] = json!({
        "strategy": {"Fixed": 20}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0, "pad_type_id": 0,
        "pad_token": "[PAD]",
    });
    let json = json.to_string();
    let plain: tokenizers::Tokenizer = json.parse().unwrap();
    assert_eq!(plain.encode("a b c", true).unwrap().len(), 20);

    let read = Tokenizer::from_dir(dir(&[("tokenizer.json", &json)]).path()).unwrap();
    assert_eq!(read.encode("a b c", None, 16).unwrap(), small().encode("a b c", None, 16).unwrap());
}

#[test]
fn without_a_template_the_second_of_a_truncated_pair_keeps_its_type() {
    let mut json = small().to_json();
    json["post_processor"] = Value::Null;
    let tokenizer = Tokenizer::from_dir(dir(&[("tokenizer.json", &json.to_string())]).path()).unwrap();
    let truncated = tokenizer.encode("a b c", Some("c b a"), 4).unwrap();
    assert_eq!(
        truncated,
        Encoded { ids: vec![5, 6, 7, 6], type_ids: vec![0, 0, 1, 1], full_length: 6, at_least: false }
    );
    assert!(matches!(tokenizer.encode("\u{200b}", None, 4), Err(Error::NoTokens { .. })));
}

#[test]
fn sizes_and_files_are_known() {
    let made = dir(&[("vocab.txt", WORDS), ("tokenizer_config.json", r#"{"model_max_length": 512}"#)]);
    let tokenizer = Tokenizer::from_dir(made.path()).unwrap();
    assert_eq!(tokenizer.model_max_length(), Some(512));
    assert_eq!(tokenizer.vocabulary_size(), 12);
    assert_eq!(tokenizer.token(3).as_deref(), Some("[SEP]"));
    assert_eq!(tokenizer.token(12), None);
}

#[test]
fn a_length_that_is_no_limit_is_none() {
    let limit = |written: &str| bert_with(&format!(r#"{{"model_max_length": {written}}}"#)).model_max_length();
    assert_eq!((limit("512"), limit("512.0")), (Some(512), Some(512)));
    for written in ["1000000000000000019884624838656", "1e30", "null", "0.5", "0", "-1", "1e400", "\"512\""] {
        if let Ok(_number) = serde_json::from_str::<Value>(written) {
            assert_eq!(limit(written), None, "{written}");
        }
    }
    // As it was called before.
    assert_eq!(bert_with(r#"{"max_len": 77}"#).model_max_length(), Some(77));
    assert_eq!(bert_with(r#"{"model_max_length": null, "max_len": 77}"#).model_max_length(), None);
}

#[test]
fn missing_and_broken_tokenizers_say_what_to_do() {
    let fails = |files: &[(&str, &str)]| {
        let made = dir(files);
        let (message, help) = says(&Tokenizer::from_dir(made.path()).unwrap_err());
        (message.replace(&made.path().display().to_string(), "DIR"), help)
    };
    let (message, help) = fails(&[]);
    assert_eq!(message, "DIR has no tokenizer (looked for tokenizer.json, vocab.txt and SentencePiece files)");
    assert_eq!(help, "copy the tokenizer files of the checkpoint here");
    assert!(fails(&[("source.spm", "")]).1.starts_with("it has source.spm: in Python,"));
    assert_eq!(fails(&[("tokenizer.json", "{\"version\": ")]).0, "DIR/tokenizer.json: broken tokenizer file");
    assert_eq!(fails(&[("tokenizer.json", "{}")]).0, "DIR/tokenizer.json: broken tokenizer file");
    assert_eq!(fails(&[("vocab.txt", "[UNK]\n[SEP]\na\n")]).0, "DIR/vocab.txt lacks the token `[CLS]`");
    let broken_config = [("vocab.txt", WORDS), ("tokenizer_config.json", "{")];
    assert_eq!(fails(&broken_config).0, "DIR/tokenizer_config.json: broken tokenizer file");
}

proptest! {
    #[test]
    fn truncated_pairs_never_exceed_max_length_and_keep_their_special_tokens(
        text in "[abc]( [abc]){0,20}", pair in prop::option::of("[abc]( [abc]){0,20}"), max_length in 4..30_usize,
    ) {
        let encoded = small().encode(&text, pair.as_deref(), max_length).unwrap();
        prop_assert_eq!(encoded.ids.len(), encoded.full_length.min(max_length));
        prop_assert_eq!(encoded.ids.len(), encoded.type_ids.len());
        prop_assert_eq!((encoded.ids[0], encoded.ids.last()), (2, Some(&3)));
        let separators = encoded.ids.iter().filter(|id| **id == 3).count();
        prop_assert_eq!(separators, 1 + usize::from(pair.is_some()));
    }
}

#[test]
fn what_stands_before_and_behind_a_text_is_known() {
    let bytes = bytes();
    assert_eq!((bytes.beginning(), bytes.beginning_token(), bytes.end_token()), (&[0][..], Some(0), Some(1)));
    let bert = small();
    assert_eq!((bert.beginning(), bert.beginning_token(), bert.end_token()), (&[2][..], Some(2), None));
    let pieces = sentence_pieces();
    assert_eq!((pieces.beginning(), pieces.beginning_token(), pieces.end_token()), (&[][..], None, None));
    let named = dir(&[("vocab.txt", WORDS), ("special_tokens_map.json", r#"{"eos_token": {"content": "[SEP]"}}"#)]);
    assert_eq!(Tokenizer::from_dir(named.path()).unwrap().end_token(), Some(3));
}

#[test]
fn spans_are_the_bytes_of_the_tokens_with_their_spaces() {
    let text = "a  é</s>b";
    let (ids, spans) = bytes().bare_with_spans(text).unwrap();
    assert_eq!(ids, bytes().ids(text));
    // The two bytes of one character both stand for the whole of it.
    assert_eq!(spans, [0..1, 1..2, 2..3, 3..5, 3..5, 5..9, 9..10]);
    let (ids, spans) = sentence_pieces().bare_with_spans("hello world</s>hello").unwrap();
    assert_eq!(ids, sentence_pieces().ids("hello world</s>hello"));
    assert_eq!(spans, [0..5, 5..11, 11..15, 15..20]);
}

#[test]
fn the_bytes_of_a_token_are_those_of_its_part_of_the_text() {
    let joined = |tokenizer: &Tokenizer, text: &str| -> Vec<u8> {
        tokenizer.ids(text).into_iter().flat_map(|id| tokenizer.token_bytes(id)).collect()
    };
    let text = "a😀 b\u{a0}ß\n";
    assert_eq!(joined(&bytes(), text), text.as_bytes());
    let tokenizer = sentence_pieces();
    // SentencePiece begins a text with a space of its own.
    assert_eq!(joined(&tokenizer, "hello world"), b" hello world");
}

#[test]
fn only_regular_files_are_read_and_others_say_what_is_wrong() {
    let directory = tempfile::tempdir().unwrap();
    let reason = |path: &Path| match super::read(path) {
        Err(Error::Read { source, .. }) => source,
        other => panic!("{other:?}"),
    };
    assert_eq!(reason(&directory.path().join("none")).kind(), std::io::ErrorKind::NotFound);
    assert_eq!(reason(directory.path()).to_string(), "it is not a regular file");
}
