//! The tokens that end a text, in generation.

use std::path::Path;

use serde_json::Value;

use crate::Error;
use crate::tokenizer::{Tokenizer, read_config};

/// The ids that end generation with the checkpoint in `dir`, in the order of its files.
///
/// As in Transformers' `generate`: `eos_token_id` of `generation_config.json`, a number or a list; without it that of
/// `config.json`. The tokenizer's own end token is always among them, because it is what completions end in.
pub fn end_tokens(dir: &Path, tokenizer: &Tokenizer) -> Result<Vec<u32>, Error> {
    let ids = |value: &Value| -> Vec<u32> {
        let list = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        list.iter().filter_map(|id| u32::try_from(id.as_u64()?).ok()).collect()
    };
    let mut ends = ids(&read_config(&dir.join("generation_config.json"))?["eos_token_id"]);
    if ends.is_empty() {
        let config = read_config(&dir.join("config.json"))?;
        // A model of text and images has the part for text to itself.
        let own = ids(&config["eos_token_id"]);
        ends = if own.is_empty() { ids(&config["text_config"]["eos_token_id"]) } else { own };
    }
    ends.extend(tokenizer.end_token().filter(|end| !ends.contains(end)));
    Ok(ends)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::tokenizer::tests::bytes;

    #[test]
    fn the_generation_configuration_goes_first_and_the_tokenizers_own_is_always_there() {
        let dir = tempfile::tempdir().unwrap();
        let ends = |file: &str, content: &str| {
            fs::write(dir.path().join(file), content).unwrap();
            // The end token of this tokenizer is 1.
            end_tokens(dir.path(), &bytes()).unwrap()
        };
        assert_eq!(ends("config.json", "{}"), [1]);
        assert_eq!(ends("config.json", r#"{"text_config": {"eos_token_id": 9}}"#), [9, 1]);
        assert_eq!(ends("config.json", r#"{"eos_token_id": 7}"#), [7, 1]);
        assert_eq!(ends("generation_config.json", r#"{"eos_token_id": null}"#), [7, 1]);
        assert_eq!(ends("generation_config.json", r#"{"eos_token_id": [5, 1, 3]}"#), [5, 1, 3]);
        fs::write(dir.path().join("generation_config.json"), "{").unwrap();
        assert!(matches!(end_tokens(dir.path(), &bytes()), Err(Error::BrokenTokenizer { .. })));
    }
}
