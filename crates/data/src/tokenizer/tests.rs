//! Tests of the whole room.

use miette::Diagnostic;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

const WORDS: &str = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\nc\n##c\ncafe\nCafé\n中\n";

fn dir(files: &[(&str, &str)]) -> TempDir {
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

fn says(error: &Error) -> (String, String) {
    (error.to_string(), error.help().expect("says what to do").to_string())
}

#[test]
fn a_text_is_framed_and_a_pair_has_type_ids() {
    let one = small().encode("A bc", None, 16).unwrap();
    assert_eq!(one, Encoded { ids: vec![2, 5, 6, 8, 3], type_ids: vec![0; 5], full_length: 5 });
    let two = small().encode("a b", Some("c"), 16).unwrap();
    assert_eq!(two, Encoded { ids: vec![2, 5, 6, 3, 7, 3], type_ids: vec![0, 0, 0, 0, 1, 1], full_length: 6 });
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
    assert_eq!(whole, Encoded { ids: vec![2, 5, 6, 7, 3], type_ids: vec![0; 5], full_length: 8 });
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
    let mut tokenizer = small().inner;
    let truncation = TruncationParams { max_length: 3, ..TruncationParams::default() };
    tokenizer.with_truncation(Some(truncation)).unwrap();
    let fixed = tokenizers::PaddingStrategy::Fixed(20);
    tokenizer.with_padding(Some(tokenizers::PaddingParams { strategy: fixed, ..tokenizers::PaddingParams::default() }));
    let json = tokenizer.to_string(false).unwrap();
    assert!(json.contains("\"Fixed\":20") && json.contains("\"max_length\":3"), "{json}");

    let read = Tokenizer::from_dir(dir(&[("tokenizer.json", &json)]).path()).unwrap();
    assert_eq!(read.encode("a b c", None, 16).unwrap(), small().encode("a b c", None, 16).unwrap());
}

#[test]
fn without_a_template_the_second_of_a_truncated_pair_keeps_its_type() {
    let mut tokenizer = small();
    tokenizer.inner.with_post_processor(None::<BertProcessing>);
    let truncated = tokenizer.encode("a b c", Some("c b a"), 4).unwrap();
    assert_eq!(truncated, Encoded { ids: vec![5, 6, 7, 6], type_ids: vec![0, 0, 1, 1], full_length: 6 });
    assert!(matches!(tokenizer.encode("\u{200b}", None, 4), Err(Error::NoTokens { .. })));
}

#[test]
fn sizes_and_files_are_known() {
    let made = dir(&[("vocab.txt", WORDS), ("tokenizer_config.json", r#"{"model_max_length": 512}"#), ("x.bin", "")]);
    let tokenizer = Tokenizer::from_dir(made.path()).unwrap();
    assert_eq!(tokenizer.model_max_length(), Some(512));
    assert_eq!(tokenizer.vocabulary_size(), 12);
    assert_eq!(tokenizer.token(3).as_deref(), Some("[SEP]"));
    assert_eq!(tokenizer.token(12), None);
    let names: Vec<_> = tokenizer.files().iter().map(|file| file.file_name().unwrap().to_owned()).collect();
    assert_eq!(names, ["tokenizer_config.json", "vocab.txt"]);
    let unlimited = bert_with(r#"{"model_max_length": 1000000000000000019884624838656}"#);
    assert_eq!(unlimited.model_max_length(), None);
}

#[test]
fn missing_and_broken_tokenizers_say_what_to_do() {
    let fails = |files: &[(&str, &str)]| {
        let made = dir(files);
        let (message, help) = says(&Tokenizer::from_dir(made.path()).unwrap_err());
        (message.replace(&made.path().display().to_string(), "DIR"), help)
    };
    let (message, help) = fails(&[]);
    assert_eq!(message, "DIR has no tokenizer (looked for tokenizer.json and vocab.txt)");
    assert_eq!(help, "copy the tokenizer files of the checkpoint here");
    assert!(fails(&[("spiece.model", "")]).1.starts_with("it has spiece.model: in Python,"));
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
