//! Files that were trained for these tests, with the ids that Transformers makes of them (`tests/fixtures/sentencepiece`).

use miette::Diagnostic;
use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::Tokenizer;

fn fixture(name: &str) -> Vec<u8> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/sentencepiece");
    std::fs::read(fixtures.join(name)).unwrap()
}

fn checkpoint(file: &str, pieces: &[u8], model_type: &str, config: &Value) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(file), pieces).unwrap();
    std::fs::write(dir.path().join("config.json"), json!({"model_type": model_type}).to_string()).unwrap();
    std::fs::write(dir.path().join("tokenizer_config.json"), config.to_string()).unwrap();
    dir
}

#[test]
fn ids_are_those_of_transformers() {
    let expected: Value = serde_json::from_slice(&fixture("expected.json")).unwrap();
    let texts: Vec<&str> = expected["texts"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
    let checkpoints = expected["checkpoints"].as_object().unwrap();
    assert!(checkpoints.len() >= 9 && texts.len() >= 20);
    for (name, case) in checkpoints {
        let pieces = fixture(&format!("{}.model", case["model"].as_str().unwrap()));
        let model_type = case["model_type"].as_str().unwrap();
        let dir = checkpoint(case["file"].as_str().unwrap(), &pieces, model_type, &case["config"]);
        let tokenizer = Tokenizer::from_dir(dir.path()).unwrap();
        let ids = |text, pair| match tokenizer.encode(text, pair, 1000) {
            Ok(encoded) => json!(encoded.ids),
            Err(Error::NoTokens { .. }) => json!([]),
            Err(error) => panic!("{name}: {error}"),
        };
        for (text, expected) in texts.iter().zip(case["ids"].as_array().unwrap()) {
            assert_eq!(ids(text, None), *expected, "{name}: {text:?}");
        }
        assert_eq!(ids(texts[0], Some(texts[2])), case["pair"], "{name}");
        assert_eq!(json!(tokenizer.vocabulary_size()), case["vocabulary"], "{name}");
    }
}

#[test]
fn a_tokenizer_json_comes_before_a_sentencepiece_file() {
    let small = crate::tokenizer::tests::bytes_dir();
    std::fs::write(small.path().join("tokenizer.model"), b"\xff").unwrap();
    assert_eq!(Tokenizer::from_dir(small.path()).unwrap().ids("a"), crate::tokenizer::tests::bytes().ids("a"));
}

#[test]
fn broken_files_are_refused_by_name() {
    let whole = fixture("t5.model");
    let refused = |pieces: &[u8], reason: &str| {
        let dir = checkpoint("spiece.model", pieces, "t5", &json!({}));
        let error = Tokenizer::from_dir(dir.path()).unwrap_err();
        assert_eq!(error.to_string(), format!("{}: broken tokenizer file", dir.path().join("spiece.model").display()));
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains(reason), "{cause}");
    };
    refused(b"", "it has no pieces");
    refused(b"\xff\xff\xff", "failed to decode Protobuf message");
    refused(&whole[..whole.len() - 1], "failed to decode Protobuf message");
    let changed = |change: &dyn Fn(&mut Model)| {
        let mut model = Model::decode(whole.as_slice()).unwrap();
        change(&mut model);
        model.encode_to_vec()
    };
    refused(&changed(&|model| model.pieces[7].piece = None), "a piece is empty");
    refused(&changed(&|model| model.pieces[7].piece = model.pieces[8].piece.clone()), "a piece occurs twice");
    refused(&changed(&|model| model.pieces[7].score = Some(f32::NAN)), "a score is not a number");
    let trainer = |model: &mut Model| model.trainer_spec.as_mut().unwrap().model_type = Some(3);
    refused(&changed(&trainer), "it is neither Unigram nor BPE");
    let table = |change: fn(&mut Vec<u8>)| {
        let of = move |model: &mut Model| {
            change(model.normalizer_spec.as_mut().unwrap().precompiled_charsmap.as_mut().unwrap());
        };
        changed(&of)
    };
    refused(&table(|table| table.truncate(300)), "the `precompiled_charsmap` of its normalizer is broken");
    refused(&table(|table| table[4..8].fill(0x7f)), "the `precompiled_charsmap` of its normalizer is broken");
}

#[test]
fn a_table_makes_no_more_of_a_text_than_is_said() {
    let expected: Value = serde_json::from_slice(&fixture("expected.json")).unwrap();
    let texts = expected["texts"].as_array().unwrap().iter().map(|text| text.as_str().unwrap());
    let bytes = Model::decode(fixture("t5.model").as_slice()).unwrap().normalizer_spec.unwrap().precompiled_charsmap;
    let (table, longest) =
        (charsmap::read(bytes.as_ref().unwrap()).unwrap(), charsmap::longest(bytes.as_ref().unwrap()));
    assert_eq!(longest, 5);
    let mut changed = 0;
    for text in texts {
        let (made, said) = (table.normalize_string(text), charsmap::made(&table, text));
        assert!(made.len() <= said && said <= longest * text.len(), "{text:?}: {}, {said}", made.len());
        changed += usize::from(made != text);
    }
    assert!(changed > 0);
}

#[test]
fn classes_that_read_such_files_in_ways_of_their_own_are_refused() {
    let dir =
        checkpoint("spiece.model", &fixture("t5.model"), "albert", &json!({"tokenizer_class": "AlbertTokenizer"}));
    let error = Tokenizer::from_dir(dir.path()).unwrap_err();
    let message = "spiece.model: a SentencePiece file, which this checkpoint's tokenizer class reads in a way that is not supported";
    assert!(error.to_string().ends_with(message), "{error}");
    assert!(error.help().unwrap().to_string().contains("save_pretrained(DIR)"));
}

proptest! {
    #[test]
    fn no_file_panics(noise in prop::collection::vec(any::<u8>(), 0..200), at in 0..4000_usize, model in 0..4_usize) {
        let (file, model_type, model) = [
            ("spm.model", "deberta-v2", "deberta.model"),
            ("sentencepiece.bpe.model", "xlm-roberta", "xlm-roberta.model"),
            ("spiece.model", "t5", "t5.model"),
            ("tokenizer.model", "mistral", "symbols.model"),
        ][model];
        let mut damaged = fixture(model);
        let end = (at + noise.len()).min(damaged.len());
        damaged.splice(at.min(end)..end, noise.iter().copied());
        for pieces in [noise, damaged] {
            let dir = checkpoint(file, &pieces, model_type, &json!({}));
            match Tokenizer::from_dir(dir.path()) {
                Ok(tokenizer) => {
                    let encoded = tokenizer.encode("the lamp  Ａ ﬁ é 书房 🙂\u{200b}", None, 100);
                    prop_assert!(encoded.is_ok_and(|encoded| !encoded.ids.is_empty()));
                }
                Err(error) => prop_assert!(error.to_string().contains(file), "{error}"),
            }
        }
    }
}
