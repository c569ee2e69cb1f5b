//! The tokenizer of the `tokenizers` crate, which panics on some of what a `tokenizer.json` can say: no chunk size, a template with a
//! token that it does not list, a prefix that is longer than its token. Here such a panic is an error. What a file says is used in
//! all its parts only as texts come, so that this stands before every one of them.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;
use tokenizers::{
    AddedToken, Encoding, InputSequence, Model, ModelWrapper, NormalizerWrapper, OffsetType, PreTokenizedString,
    PreTokenizer, PreTokenizerWrapper, Result, Tokenizer,
};

use super::checks::Checks;
use crate::guard::quietly;

#[derive(Debug, Clone)]
pub(super) struct Guarded {
    tokenizer: Tokenizer,
    checks: Arc<Checks>,
}

/// What `work` gives, its panic being an error.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    quietly(work).unwrap_or_else(|message| Err(message.into()))
}

impl Guarded {
    /// A `tokenizer.json` carries the truncation and padding of its last use; here the caller says how long, and batches have no
    /// padding.
    pub(super) fn new(mut tokenizer: Tokenizer) -> Result<Self> {
        guarded(|| tokenizer.with_truncation(None).map(drop))?;
        tokenizer.with_padding(None);
        let checks = Arc::new(Checks::of(&tokenizer));
        Ok(Self { tokenizer, checks })
    }

    pub(super) fn encode_fast<'a>(
        &self,
        text: &'a str,
        pair: Option<&'a str>,
        add_special_tokens: bool,
    ) -> Result<Encoding> {
        guarded(|| {
            [Some(text), pair].into_iter().flatten().try_for_each(|text| self.checks.text(&self.tokenizer, text))?;
            match pair {
                Some(pair) => self.tokenizer.encode_fast((text, pair), add_special_tokens),
                None => self.tokenizer.encode_fast(text, add_special_tokens),
            }
        })
    }

    /// With the offsets of the tokens.
    pub(super) fn encode<'a>(&self, input: impl Into<InputSequence<'a>>) -> Result<Encoding> {
        guarded(|| {
            let input: InputSequence<'a> = input.into();
            self.checks.input(&self.tokenizer, &input)?;
            self.tokenizer.encode(input, false)
        })
    }

    /// As `encode`, of a text, but with the spaces that a post-processor would leave out of the offsets, which are bytes.
    pub(super) fn encode_untrimmed(&self, text: &str) -> Result<Encoding> {
        let mut pieces = self.pieces(text)?;
        let model = self.tokenizer.get_model();
        guarded(|| {
            pieces.tokenize(|piece| model.tokenize(piece.get()))?;
            pieces.into_encoding(None, 0, OffsetType::Byte)
        })
    }

    /// What the model is given of a text.
    pub(super) fn pieces(&self, text: &str) -> Result<PreTokenizedString> {
        guarded(|| {
            self.checks.text(&self.tokenizer, text)?;
            let mut pieces =
                self.tokenizer.get_added_vocabulary().extract_and_normalize(self.tokenizer.get_normalizer(), text);
            if let Some(pre_tokenizer) = self.tokenizer.get_pre_tokenizer() {
                pre_tokenizer.pre_tokenize(&mut pieces)?;
            }
            Ok(pieces)
        })
    }

    pub(super) fn post_process(&self, first: Encoding, second: Option<Encoding>) -> Result<Encoding> {
        guarded(|| self.tokenizer.post_process(first, second, true))
    }

    /// The number of special tokens around a text or a pair.
    pub(super) fn special_around(&self, is_pair: bool) -> usize {
        let count = || {
            Ok(self.tokenizer.get_post_processor().map_or(0, |it| tokenizers::PostProcessor::added_tokens(it, is_pair)))
        };
        guarded(count).unwrap_or(0)
    }

    /// Whether a template has a text twice: a text that is cut to a length would then be longer.
    pub(super) fn repeats_texts(&self) -> bool {
        fn repeats(processor: &Value) -> bool {
            let twice = |template: &Value| {
                let pieces = template.as_array().into_iter().flatten();
                let mut texts: Vec<_> = pieces.filter_map(|piece| piece["Sequence"]["id"].as_str()).collect();
                let all = texts.len();
                texts.sort_unstable();
                texts.dedup();
                texts.len() < all
            };
            twice(&processor["single"])
                || twice(&processor["pair"])
                || processor["processors"].as_array().is_some_and(|all| all.iter().any(repeats))
        }
        self.tokenizer.get_post_processor().and_then(|it| serde_json::to_value(it).ok()).is_some_and(|it| repeats(&it))
    }

    pub(super) fn decode(&self, ids: &[u32], skip_special_tokens: bool) -> Result<String> {
        guarded(|| {
            self.checks.ids(&self.tokenizer, ids, skip_special_tokens)?;
            self.tokenizer.decode(ids, skip_special_tokens)
        })
    }

    pub(super) fn token_to_id(&self, token: &str) -> Option<u32> {
        self.tokenizer.token_to_id(token)
    }

    pub(super) fn id_to_token(&self, id: u32) -> Option<String> {
        self.tokenizer.id_to_token(id)
    }

    pub(super) fn model(&self) -> &ModelWrapper {
        self.tokenizer.get_model()
    }

    pub(super) fn normalizer(&self) -> Option<&NormalizerWrapper> {
        self.tokenizer.get_normalizer()
    }

    pub(super) fn pre_tokenizer(&self) -> Option<&PreTokenizerWrapper> {
        self.tokenizer.get_pre_tokenizer()
    }

    /// The largest id and one.
    pub(super) fn vocabulary_size(&self) -> usize {
        self.tokenizer.get_vocab(true).values().max().map_or(0, |largest| *largest as usize + 1)
    }

    pub(super) fn added_tokens(&self) -> HashMap<u32, AddedToken> {
        self.tokenizer.get_added_tokens_decoder().clone().into_iter().collect()
    }

    pub(super) fn to_json(&self) -> Value {
        // What the library cannot write it has not read either.
        guarded(|| Ok(serde_json::to_value(&self.tokenizer)?)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::json;

    use super::super::tests::{byte_level, dir, small};
    use super::super::{Encoded, Tokenizer as Opened};
    use super::*;
    use crate::Error;

    /// BERT's with another part; what its class would put there itself is left.
    fn with(part: &str, value: Value) -> std::result::Result<Opened, Error> {
        let mut json = small().to_json();
        json[part] = value;
        Opened::from_dir(dir(&[("tokenizer.json", &json.to_string())]).path())
    }

    fn reason(result: std::result::Result<impl std::fmt::Debug, Error>) -> String {
        match result {
            Err(Error::Tokenizing { source } | Error::BrokenTokenizer { source, .. }) => source.to_string(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_panic_of_the_library_is_an_error_of_the_text() {
        let chunks = with("pre_tokenizer", json!({"type": "FixedLength", "length": 0})).unwrap();
        assert_eq!(reason(chunks.encode("a b", None, 8)), "chunk size must be non-zero");
        let template = json!({
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [],
            "special_tokens": {},
        });
        // Whether it is refused already when it is read is the library's affair.
        assert_ne!(reason(with("post_processor", template).and_then(|it| it.encode("a b", None, 8))), "");
    }

    #[test]
    fn a_template_that_repeats_a_text_is_refused() {
        let text = |id: &str| json!({"Sequence": {"id": id, "type_id": 0}});
        let template = |single: &[&str], pair: &[&str]| {
            let pieces = |ids: &[&str]| ids.iter().map(|id| text(id)).collect::<Vec<_>>();
            let template = json!({
                "type": "TemplateProcessing", "single": pieces(single), "pair": pieces(pair), "special_tokens": {},
            });
            with("post_processor", json!({"type": "Sequence", "processors": [template]}))
        };
        let read = template(&["A"], &["A", "B"]).unwrap();
        assert_eq!(read.encode("a b c", Some("c"), 3).unwrap().ids.len(), 3);
        for refused in [template(&["A", "A"], &["A", "B"]), template(&["A"], &["A", "B", "A"])] {
            assert_eq!(reason(refused), "its post-processor takes a text more than once");
        }
    }

    #[test]
    fn a_prefix_that_is_longer_than_its_tokens_is_an_error() {
        let mut json = byte_level();
        json["model"]["continuing_subword_prefix"] = "#".repeat(530).into();
        json["model"]["merges"] = json!([["a", "b"]]);
        json["model"]["vocab"]["ab"] = 300.into();
        assert!(!reason(Opened::from_dir(dir(&[("tokenizer.json", &json.to_string())]).path())).is_empty());
    }

    /// To write the vocabulary, a list is made of the numbers that have no token.
    #[test]
    fn a_number_far_beyond_the_tokens_is_refused() {
        let mut json = byte_level();
        json["model"]["vocab"]["ab"] = 1_000_000_007.into();
        let error = reason(Opened::from_dir(dir(&[("tokenizer.json", &json.to_string())]).path()));
        assert_eq!(error, "a token has the number 1000000007");
    }

    /// The tree that the library makes of the tokens is freed recursively.
    #[test]
    fn a_token_as_long_as_a_book_is_refused() {
        let model = |token: &str| json!({"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], [token, -1.0]]});
        let opened = |token: &str| {
            let json = json!({"version": "1.0", "model": model(token)}).to_string();
            Opened::from_dir(dir(&[("tokenizer.json", &json)]).path())
        };
        assert!(opened(&"a".repeat(2048)).is_ok());
        assert_eq!(reason(opened(&"a".repeat(100_000))), "a token has 100000 bytes, more than 2048");
    }

    #[test]
    fn the_table_of_a_normalizer_is_checked_before_the_library_trusts_it() {
        // It announces 8 GB of numbers; it is no base64; its only node leads out of it.
        let tables = ["/////w==", "?", &STANDARD.encode([4, 0, 0, 0, 0xff, 0xff, 0xff, 0x7f])];
        for table in tables {
            let normalizer = json!({"type": "Precompiled", "precompiled_charsmap": table});
            let nested =
                json!({"type": "Sequence", "normalizers": [{"type": "Sequence", "normalizers": [normalizer]}]});
            for normalizer in [normalizer, nested] {
                assert_eq!(
                    reason(with("normalizer", normalizer)),
                    "the `precompiled_charsmap` of its normalizer is broken"
                );
            }
        }
    }

    #[test]
    fn what_does_not_panic_is_as_the_library_has_it() {
        let plain: Tokenizer = serde_json::from_value(small().to_json()).unwrap();
        let Encoded { ids, .. } = small().encode("a b c", Some("b"), 16).unwrap();
        assert_eq!(plain.encode(("a b c", "b"), true).unwrap().get_ids(), ids);
    }
}
