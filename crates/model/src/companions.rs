//! The files of a checkpoint beside its weights: which of them are the tokenizer's, and which go wherever the weights go. Other
//! programs need them where this one does not, to convert a checkpoint for example. By patterns, since every family of models has
//! names of its own; weights, other formats of them and code match none.

use std::io;
use std::path::{Path, PathBuf};

/// What a tokenizer is read from here, and what it is used by.
const TOKENIZER: [&str; 6] = [
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
];

/// Vocabularies that a `tokenizer.json` makes unnecessary here.
const VOCABULARIES: [&str; 8] =
    ["bpe.codes", "dict.txt", "encoder.json", "merges.txt", "tekken.json", "vocab.bpe", "vocab.json", "vocab.txt"];

/// Endings of others: SentencePiece's models (`tokenizer.model`, `spiece.model`, `sentencepiece.bpe.model`, `source.spm`),
/// also with Mistral's version behind them, and tiktoken's.
const ENDINGS: [&str; 3] = [".model", ".spm", ".tiktoken"];

/// The directory of further chat templates, as Transformers writes it.
const TEMPLATES: &str = "additional_chat_templates";
/// The directory of the pooling that sentence-transformers keeps beside an encoder.
const POOLING: &str = "1_Pooling";

/// Words in the names of files about what may be done with a model, and by whom it is.
const LEGAL: [&str; 9] = [
    "LICENSE",
    "LICENCE",
    "NOTICE",
    "COPYING",
    "COPYRIGHT",
    "USE_POLICY",
    "USAGE_POLICY",
    "THIRD_PARTY",
    "ATTRIBUTION",
];

/// Endings of texts; a licence may also have none, or its own name for one (`LICENSE.MIT`).
const TEXTS: [&str; 6] = ["txt", "md", "rst", "html", "pdf", "rtf"];

/// Whether a file, named by its path in the checkpoint with `/`, belongs to the tokenizer.
pub fn is_of_tokenizer(path: &str) -> bool {
    if let Some((directory, name)) = path.split_once('/') {
        return directory == TEMPLATES && is_plain(name) && name.ends_with(".jinja");
    }
    is_plain(path) && (TOKENIZER.contains(&path) || is_versioned(path) || is_vocabulary(path))
}

/// Whether a file goes with the weights wherever they go, though neither they nor the tokenizer need it.
pub fn goes_with_weights(path: &str) -> bool {
    is_plain(path) && (path == "generation_config.json" || is_legal(path))
}

/// Whether it is a vocabulary that a `tokenizer.json` beside it makes unnecessary here; other programs read it.
pub fn is_vocabulary(path: &str) -> bool {
    let stem = match path.rsplit_once('.') {
        Some((stem, version)) if is_version(version) => stem,
        _ => path,
    };
    is_plain(path)
        && (VOCABULARIES.contains(&path)
            || ENDINGS.iter().any(|ending| stem.len() > ending.len() && stem.ends_with(ending)))
}

/// The files of a checkpoint's directory that `wanted` says yes to, by their paths in it, sorted.
pub fn files_beside(directory: &Path, wanted: impl Fn(&str) -> bool) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for below in ["", TEMPLATES, POOLING] {
        let place = directory.join(below);
        if !place.is_dir() {
            continue;
        }
        for entry in std::fs::read_dir(&place)? {
            // A name that is no text is none of these files.
            let Ok(name) = entry?.file_name().into_string() else { continue };
            let path = if below.is_empty() { name } else { format!("{below}/{name}") };
            if wanted(&path) && directory.join(&path).is_file() {
                found.push(PathBuf::from(path));
            }
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// A name in the directory itself, on any system.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', ':'])
}

/// `tokenizer.4.0.json`: of `fast_tokenizer_files`, for other versions of Transformers.
fn is_versioned(name: &str) -> bool {
    let version = name.strip_prefix("tokenizer.").and_then(|rest| rest.strip_suffix(".json"));
    version.is_some_and(|version| !version.is_empty() && version.split('.').all(is_number))
}

/// `v3`, `v11`, also `v7m1`: of Mistral's `tokenizer.model.v3`.
fn is_version(ending: &str) -> bool {
    ending.strip_prefix('v').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()) && rest.len() <= 6)
}

fn is_number(part: &str) -> bool {
    !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_legal(name: &str) -> bool {
    let upper = name.to_ascii_uppercase().replace([' ', '-'], "_");
    let is_text = match name.rsplit_once('.') {
        None => true,
        Some((_, ending)) => {
            TEXTS.contains(&ending.to_ascii_lowercase().as_str())
                || !ending.is_empty()
                    && ending.bytes().all(|byte| byte.is_ascii_uppercase() || b"-0123456789".contains(&byte))
                || ending.contains(' ')
        }
    };
    is_text && LEGAL.iter().any(|word| upper.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vocabularies_and_templates_are_the_tokenizers_under_all_their_names() {
        for path in [
            "tokenizer.json",
            "tokenizer_config.json",
            "tokenizer.4.0.json",
            "tokenizer.model",
            "tokenizer.model.v3",
            "tokenizer.model.v7m1",
            "spiece.model",
            "sentencepiece.bpe.model",
            "source.spm",
            "tiktoken.model",
            "qwen.tiktoken",
            "tekken.json",
            "vocab.txt",
            "vocab.json",
            "merges.txt",
            "added_tokens.json",
            "special_tokens_map.json",
            "chat_template.jinja",
            "additional_chat_templates/tool_use.jinja",
        ] {
            assert!(is_of_tokenizer(path), "{path}");
            assert!(!goes_with_weights(path), "{path}");
        }
    }

    #[test]
    fn licences_and_notices_go_with_the_weights() {
        for path in [
            "LICENSE",
            "LICENSE.txt",
            "license.md",
            "LICENCE",
            "LICENSE.MIT",
            "LICENSE-WordNet.txt",
            "NOTICE",
            "Notice.txt",
            "COPYING",
            "USE_POLICY.md",
            "Tongyi Qianwen LICENSE AGREEMENT",
            "MODEL_LICENSE",
            "third-party-notices.txt",
            "generation_config.json",
        ] {
            assert!(goes_with_weights(path), "{path}");
            assert!(!is_of_tokenizer(path), "{path}");
        }
    }

    #[test]
    fn weights_other_formats_and_code_stay_behind() {
        for path in [
            "config.json",
            "model.safetensors",
            "model.safetensors.index.json",
            "pytorch_model.bin",
            "tf_model.h5",
            "flax_model.msgpack",
            "rust_model.ot",
            "model.gguf",
            "model.onnx",
            "onnx/model.onnx",
            "consolidated.00.pth",
            "original/tokenizer.model",
            "tokenization_x.py",
            "modeling_x.py",
            "license_check.py",
            "README.md",
            "training_args.bin",
            "optimizer.pt",
            ".model",
            "additional_chat_templates/../evil.jinja",
            "additional_chat_templates/a/b.jinja",
            "..",
            "..\\tokenizer.model",
            "c:tokenizer.model",
            "",
            "adapter_config.json",
            "kindling.json",
            "tokenizer.json.lock",
            "tokenizer..json",
        ] {
            assert!(!is_of_tokenizer(path) && !goes_with_weights(path), "{path}");
        }
    }

    #[test]
    fn files_are_found_in_the_directory_and_among_its_templates() {
        let directory = tempfile::tempdir().unwrap();
        for below in [TEMPLATES, "original", "vocab.json"] {
            std::fs::create_dir(directory.path().join(below)).unwrap();
        }
        for path in
            ["tokenizer.json", "model.safetensors", "original/tokenizer.model", "additional_chat_templates/b.jinja"]
        {
            std::fs::write(directory.path().join(path), path).unwrap();
        }
        let found = files_beside(directory.path(), is_of_tokenizer).unwrap();
        assert_eq!(found, [Path::new("additional_chat_templates/b.jinja"), Path::new("tokenizer.json")]);
    }
}
