//! How few tokens a text can have by its bytes alone.

use tokenizers::{ModelWrapper, NormalizerWrapper, PreTokenizerWrapper, SplitDelimiterBehavior};

use super::guarded::Guarded;

/// By how much composing characters (NFC) may shorten a text: U+1FBE, U+0308, U+0301, of seven bytes, become U+0390, of two; three
/// letters of Hangul, of nine, become one of three.
const COMPOSED: usize = 4;

/// The bytes of a text that one token stands for at most. `None` where a token may stand for any number of them: where something
/// is left out of a text, or a whole word that the vocabulary lacks is one token.
pub(super) fn longest_token(tokenizer: &Guarded) -> Option<usize> {
    // Byte-level BPE has a token for each byte, and a character for each byte of a token.
    let ModelWrapper::BPE(model) = tokenizer.model() else { return None };
    let vocabulary = model.get_vocab();
    let has_bytes = byte_characters().all(|character| vocabulary.contains_key(&character.to_string()));
    if !has_bytes || !is_byte_level(tokenizer.pre_tokenizer()?) {
        return None;
    }
    let shortened = match tokenizer.normalizer() {
        None => 1,
        Some(NormalizerWrapper::NFC(_)) => COMPOSED,
        Some(_) => return None,
    };
    let added = tokenizer.added_tokens();
    // Such a token takes any number of spaces around it.
    if added.values().any(|token| token.lstrip || token.rstrip) {
        return None;
    }
    let of_vocabulary = vocabulary.keys().map(|token| token.chars().count()).max().unwrap_or(1);
    let of_added = added.values().map(|token| token.content.len()).max().unwrap_or(1);
    Some(of_vocabulary.max(of_added) * shortened)
}

/// The characters that stand for bytes, as GPT-2 has them.
fn byte_characters() -> impl Iterator<Item = char> {
    tokenizers::pre_tokenizers::byte_level::ByteLevel::alphabet().into_iter()
}

/// Whether bytes become characters, and none is left out.
fn is_byte_level(pre_tokenizer: &PreTokenizerWrapper) -> bool {
    let keeps_all = |it: &PreTokenizerWrapper| match it {
        PreTokenizerWrapper::ByteLevel(_) | PreTokenizerWrapper::Digits(_) => true,
        PreTokenizerWrapper::Split(split) => split.behavior != SplitDelimiterBehavior::Removed,
        _ => false,
    };
    let parts: &[PreTokenizerWrapper] = match pre_tokenizer {
        PreTokenizerWrapper::Sequence(sequence) => sequence.as_ref(),
        one => std::slice::from_ref(one),
    };
    parts.iter().all(keeps_all) && parts.iter().any(|it| matches!(it, PreTokenizerWrapper::ByteLevel(_)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::tokenizer::beginning::tests::every_kind;

    #[test]
    fn bytes_tell_only_where_each_has_a_token() {
        let bounds = every_kind().into_iter().map(|(name, it)| (name, super::longest_token(&it.inner).is_some()));
        let with: Vec<&str> = bounds.filter(|(_, is_known)| *is_known).map(|(name, _)| name).collect();
        assert_eq!(with, ["bytes", "byte-level BPE"]);
    }

    #[test]
    fn what_composes_to_the_least_has_no_fewer_tokens_than_is_said() {
        let text = "\u{1fbe}\u{308}\u{301}".repeat(4000);
        for (name, tokenizer) in every_kind() {
            let whole = tokenizer.bare(&text).unwrap().len();
            let least = tokenizer.at_least(&text, 400).unwrap();
            assert!(least.is_none_or(|least| least <= whole), "{name}: {least:?} of {whole}");
        }
    }

    proptest! {
        #[test]
        fn no_text_has_fewer_tokens_than_is_said(word in "[a-c äë\u{1100}\u{1161}\u{11a8}\u{308}\u{1fbe}\u{301}.\n]{1,12}", times in 2000..4000_usize) {
            let text = word.repeat(times);
            for (name, tokenizer) in every_kind() {
                let whole = tokenizer.bare(&text).unwrap().len();
                for most in [1, 50, 400] {
                    if let Some(least) = tokenizer.at_least(&text, most).unwrap() {
                        prop_assert!(least >= most && least <= whole, "{name}: {least} of {whole}, {most} asked");
                    }
                }
            }
        }
    }
}
