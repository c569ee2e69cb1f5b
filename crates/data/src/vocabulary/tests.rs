//! Tests of the whole room.

use std::cell::Cell;
use std::fs;

use miette::Diagnostic;
use proptest::prelude::*;

use super::*;

const TEXTS: [&str; 6] = [
    "The lowest of the low, lower than the new.",
    "Newer and newest: the newest is the widest.",
    "Wide, wider, widest; low, lower, lowest!",
    "A café in the widest street of the newest town",
    "中文 and the low, the new, the wide",
    "[SEP] the lower <|endoftext|> the wider",
];

fn train(texts: &[&str], kind: VocabularyKind, size: usize) -> Result<Vocabulary, Error> {
    train_vocabulary(texts.iter().map(|text| Ok((*text).to_owned())), kind, size, &|_| ())
}

/// As other crates read it.
fn written(vocabulary: &Vocabulary) -> crate::Tokenizer {
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in vocabulary.files() {
        fs::write(dir.path().join(name), content).unwrap();
    }
    crate::Tokenizer::from_dir(dir.path()).unwrap()
}

fn tokens(tokenizer: &crate::Tokenizer, text: &str, pair: Option<&str>) -> Vec<String> {
    let ids = tokenizer.encode(text, pair, 64).unwrap().ids;
    ids.iter().map(|id| tokenizer.token(*id).unwrap()).collect()
}

fn says(result: Result<Vocabulary, Error>) -> (String, String) {
    let error = result.unwrap_err();
    (error.to_string(), error.help().expect("says what to do").to_string())
}

#[test]
fn word_pieces_are_berts() {
    let vocabulary = train(&TEXTS, VocabularyKind::WordPiece, 63).unwrap();
    let tokenizer = written(&vocabulary);
    assert_eq!((vocabulary.size(), tokenizer.vocabulary_size()), (63, 63));
    assert_eq!(tokenizer.model_max_length(), Some(512));
    let first: Vec<String> = (0..5).map(|id| tokenizer.token(id).unwrap()).collect();
    assert_eq!(first, ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]);
    let encoded = tokenizer.encode("the", Some("new"), 64).unwrap();
    assert_eq!(encoded.type_ids, [0, 0, 0, 1, 1]);
    assert_eq!(
        tokens(&tokenizer, "THE Café, 中z", None),
        ["[CLS]", "the", "c", "##a", "##f", "##e", ",", "中", "[UNK]", "[SEP]"],
        "lower case, no accents, Chinese characters apart, and no `z` anywhere in the texts"
    );
}

#[test]
fn byte_pairs_are_gpt2s() {
    let vocabulary = train(&TEXTS, VocabularyKind::Bpe, 280).unwrap();
    let tokenizer = written(&vocabulary);
    assert_eq!((vocabulary.size(), tokenizer.vocabulary_size()), (280, 280));
    assert_eq!(tokenizer.model_max_length(), Some(1024));
    assert_eq!(tokenizer.token(0).as_deref(), Some("<|endoftext|>"));
    assert_eq!(tokenizer.token(1).as_deref(), Some("!"), "then the bytes, as GPT-2 orders them");
    assert_eq!(tokens(&tokenizer, "The the<|endoftext|>", None), ["T", "he", "Ġthe", "<|endoftext|>"]);
}

#[test]
fn special_tokens_written_in_the_texts_are_no_words() {
    let texts = ["[SEP] a <|endoftext|> a", "a[SEP]a<|endoftext|>a"];
    let pieces = written(&train(&texts, VocabularyKind::WordPiece, 23).unwrap());
    assert_eq!(tokens(&pieces, "a[SEP]x", None), ["[CLS]", "a", "[SEP]", "x", "[SEP]"], "x stands in `<|endoftext|>`");
    assert!((0..23).all(|id| pieces.token(id).as_deref() != Some("s")), "but s in [SEP] alone");
    let bytes = written(&train(&["a<|endoftext|>"; 9], VocabularyKind::Bpe, 257).unwrap());
    assert_eq!(bytes.encode("a<|endoftext|>", None, 8).unwrap().ids.len(), 2);
    assert!(train(&["a<|endoftext|>"; 9], VocabularyKind::Bpe, 258).is_err(), "nothing is left to merge");
}

#[test]
fn the_same_texts_give_the_same_files_in_any_order() {
    let mut reversed = TEXTS;
    reversed.reverse();
    for (kind, size) in [(VocabularyKind::WordPiece, 63), (VocabularyKind::Bpe, 283)] {
        let once = train(&TEXTS, kind, size).unwrap();
        // The hash maps of the trainer are seeded anew for each training.
        for _ in 0..5 {
            assert_eq!(train(&TEXTS, kind, size).unwrap(), once);
        }
        assert_eq!(train(&reversed, kind, size).unwrap(), once);
    }
}

#[test]
fn what_cannot_be_trained_says_what_to_ask_for() {
    let (message, help) = says(train(&["\u{200b} ", ""], VocabularyKind::WordPiece, 100));
    assert_eq!(message, "the texts hold no words");
    assert_eq!(help, "give at least one text that is not blank");
    let (message, help) = says(train(&TEXTS, VocabularyKind::Bpe, 256));
    assert_eq!(message, "a vocabulary of 256 has no room for 1 special token and 256 characters");
    assert_eq!(
        help,
        "ask for more than 257 entries, thousands for a language; rare characters can be taken out of the texts"
    );
    let (message, _) = says(train(&["ab ba"], VocabularyKind::WordPiece, 6));
    assert_eq!(message, "a vocabulary of 6 has no room for 5 special tokens and 4 characters", "a, b, ##a, ##b");
    let (message, help) = says(train(&["ab ab ba"], VocabularyKind::WordPiece, 1000));
    assert_eq!(message, "the texts give a vocabulary of 10 entries, not of 1000");
    assert_eq!(help, "ask for at most 10 entries, or give more text");
    assert_eq!(train(&["ab ab ba"], VocabularyKind::WordPiece, 10).unwrap().size(), 10);
}

#[test]
fn an_error_of_the_texts_ends_the_training() {
    let texts = [Ok("a".to_owned()), Err(Error::TooFewNames { count: 1 }), Ok("b".to_owned())];
    let error = train_vocabulary(texts.into_iter(), VocabularyKind::Bpe, 300, &|_| ()).unwrap_err();
    assert!(matches!(error, Error::TooFewNames { count: 1 }));
}

#[test]
fn progress_counts_each_text_once() {
    let read = Cell::new(0);
    let texts = (0..10_000).map(|n| Ok(format!("text {}", n % 7)));
    train_vocabulary(texts, VocabularyKind::Bpe, 260, &|count| read.set(read.get() + count)).unwrap();
    assert_eq!(read.get(), 10_000);
}

proptest! {
    #[test]
    fn bytes_come_back_as_they_were(text in "\\PC{0,40}|[ \n\ta-c]{0,40}") {
        let vocabulary = train(&TEXTS, VocabularyKind::Bpe, 280).unwrap();
        let tokenizer = Tokenizer::from_bytes(vocabulary.files()[0].1.as_bytes()).unwrap();
        let ids = tokenizer.encode_fast(text.as_str(), true).unwrap().get_ids().to_vec();
        prop_assert_eq!(tokenizer.decode(&ids, false).unwrap(), text);
    }

    #[test]
    fn words_of_the_texts_have_no_unknown_piece(words in prop::collection::vec("[a-eé中]{1,6}", 1..20)) {
        let text = words.join(" ");
        let first = first_entries(VocabularyKind::WordPiece, &words::count(
            [Ok(text.clone())].into_iter(), VocabularyKind::WordPiece, &|_| (),
        ).unwrap());
        let tokenizer = written(&train(&[&text], VocabularyKind::WordPiece, first.len()).unwrap());
        prop_assert!(!tokenizer.encode(&text, None, 512).unwrap().ids.contains(&1));
    }
}
