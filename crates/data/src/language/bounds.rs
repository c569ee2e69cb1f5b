//! The tokens that begin and end a text, in generation, as the checkpoint's files name them.

use std::path::Path;

use serde_json::Value;

use crate::Error;
use crate::limits::MOST_ENDS;
use crate::tokenizer::{Tokenizer, read_config};

/// What a checkpoint says of the bounds of its texts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bounds {
    /// What generation begins with where there is no prompt.
    pub(super) first: Option<u32>,
    /// What ends it.
    pub(super) ends: Vec<u32>,
}

impl Bounds {
    /// Reads those of the checkpoint in `dir`, in the order of its files.
    ///
    /// As in Transformers' `generate`: `bos_token_id` and `eos_token_id` of `generation_config.json`, the latter a number or
    /// a list; without it those of `config.json`. The tokenizer's own end token is always among the ends, because it is what
    /// completions end in.
    pub fn of(dir: &Path, tokenizer: &Tokenizer) -> Result<Self, Error> {
        let read = |name: &str| -> Result<Value, Error> {
            let file = dir.join(name);
            let config = read_config(&file)?;
            // Each token that is written is compared with all of them.
            for ends in [&config["eos_token_id"], &config["text_config"]["eos_token_id"]] {
                let count = ends.as_array().map_or(0, Vec::len);
                if count > MOST_ENDS {
                    let source = format!("its `eos_token_id` lists {count} tokens, more than {MOST_ENDS}").into();
                    return Err(Error::BrokenTokenizer { file, source });
                }
            }
            Ok(config)
        };
        let generation = read("generation_config.json")?;
        let config = read("config.json")?;
        // A model of text and images has the part for text to itself.
        let named = |name: &str| {
            let places = [&generation[name], &config[name], &config["text_config"][name]];
            places.into_iter().map(ids).find(|ids| !ids.is_empty()).unwrap_or_default()
        };
        let mut ends = named("eos_token_id");
        ends.extend(tokenizer.end_token().filter(|end| !ends.contains(end)));
        Ok(Self { first: named("bos_token_id").first().copied(), ends })
    }
}

fn ids(value: &Value) -> Vec<u32> {
    let list = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
    list.iter().filter_map(|id| u32::try_from(id.as_u64()?).ok()).collect()
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
            Bounds::of(dir.path(), &bytes()).unwrap().ends
        };
        assert_eq!(ends("config.json", "{}"), [1]);
        assert_eq!(ends("config.json", r#"{"text_config": {"eos_token_id": 9}}"#), [9, 1]);
        assert_eq!(ends("config.json", r#"{"eos_token_id": 7}"#), [7, 1]);
        assert_eq!(ends("generation_config.json", r#"{"eos_token_id": null}"#), [7, 1]);
        assert_eq!(ends("generation_config.json", r#"{"eos_token_id": [5, 1, 3]}"#), [5, 1, 3]);
        fs::write(dir.path().join("generation_config.json"), "{").unwrap();
        assert!(matches!(Bounds::of(dir.path(), &bytes()), Err(Error::BrokenTokenizer { .. })));
    }

    #[test]
    fn thousands_of_end_tokens_are_refused() {
        for (file, nested) in [("config.json", false), ("config.json", true), ("generation_config.json", false)] {
            let dir = tempfile::tempdir().unwrap();
            let bounds = |count: usize| {
                let ends = serde_json::json!({"eos_token_id": (0..count).collect::<Vec<_>>()});
                let config = if nested { serde_json::json!({"text_config": ends}) } else { ends };
                fs::write(dir.path().join(file), config.to_string()).unwrap();
                Bounds::of(dir.path(), &bytes())
            };
            assert_eq!(bounds(1000).unwrap().ends.len(), 1000);
            let Err(Error::BrokenTokenizer { file: named, source }) = bounds(1001) else { panic!("{file} was read") };
            assert_eq!(named, dir.path().join(file));
            assert_eq!(source.to_string(), "its `eos_token_id` lists 1001 tokens, more than 1000");
        }
    }

    #[test]
    fn the_first_token_is_that_of_the_first_file_that_has_one() {
        let dir = tempfile::tempdir().unwrap();
        let first = |file: &str, content: &str| {
            fs::write(dir.path().join(file), content).unwrap();
            Bounds::of(dir.path(), &bytes()).unwrap().first
        };
        assert_eq!(first("config.json", r#"{"bos_token_id": null}"#), None);
        assert_eq!(first("config.json", r#"{"bos_token_id": 7}"#), Some(7));
        assert_eq!(first("generation_config.json", r#"{"bos_token_id": 5}"#), Some(5));
    }
}
