//! What the classes of Transformers 5 that read options make of a `tokenizer.json`: the vocabulary is kept, all around it comes from
//! the class and from `tokenizer_config.json`, and tokens are added that only the latter knows. Reference: the `__init__` of each
//! class and of `TokenizersBackend`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use tokenizers::{AddedToken, ModelWrapper, PostProcessorWrapper, Tokenizer};

use super::class::Class;
use super::config::Config;
use super::guarded::guarded;
use super::parts;
use super::sentencepiece::charsmap;
use crate::limits::LONGEST_TOKEN;

/// What Qwen2 splits texts by before it merges bytes.
pub(super) const QWEN2: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// What SentencePiece writes for a space.
const SPACE: &str = "\u{2581}";

/// The tokenizer that Transformers makes of a `tokenizer.json`.
pub(super) fn open(saved: &[u8], config: &Config) -> tokenizers::Result<Tokenizer> {
    guarded(|| built(saved, config))
}

fn built(saved: &[u8], config: &Config) -> tokenizers::Result<Tokenizer> {
    let mut document = json::value(saved)?;
    check_tables(&document["normalizer"])?;
    check_pieces(&document["model"]["vocab"])?;
    // A vocabulary is most of a file, and the library reads what is in a tokenizer through several trees of it: it is read apart.
    let empty = json!({"type": "BPE", "vocab": {}, "merges": []});
    let model = document.get_mut("model").map(|model| std::mem::replace(model, empty));
    let (class, model) = model.map_or((Class::AsSaved, None), |model| {
        let (class, model) = of_class(config, model);
        (class, Some(model))
    });
    let added = document.get_mut("added_tokens").map(|added| std::mem::replace(added, json!([])));
    if class != Class::AsSaved {
        around(config, &mut document);
    }
    parts::check_expressions(&document)?;
    let mut tokenizer: Tokenizer = serde_json::from_value(document)?;
    if let Some(model) = model {
        tokenizer.with_model(read_model(model)?);
    }
    let added = added.unwrap_or_else(|| json!([]));
    let saved: Vec<SavedToken> = match class {
        Class::AsSaved => serde_json::from_value(added.clone())?,
        _ => Vec::new(),
    };
    let added = added.as_array().map_or(&[][..], Vec::as_slice);
    let of_config = config.added_tokens(added, class == Class::AsSaved);
    let special: Vec<AddedToken> = match class {
        Class::Qwen2 => config.special_tokens().map(|token| AddedToken::from(token.content, true)).collect(),
        _ => Vec::new(),
    };
    let saved: Vec<AddedToken> = saved.into_iter().map(|saved| saved.token).collect();
    parts::check_added(saved.iter().chain(&of_config).chain(&special))?;
    for tokens in [saved, of_config, special] {
        tokenizer.add_tokens(tokens)?;
    }
    if let Some(frame) = frame(class, config, &tokenizer) {
        tokenizer.with_post_processor(Some(serde_json::from_value::<PostProcessorWrapper>(frame)?));
    }
    parts::check(&tokenizer)?;
    // A special token that is written in a text is text then.
    tokenizer.set_encode_special_tokens(config.flag("split_special_tokens").unwrap_or(false));
    Ok(tokenizer)
}

/// One of `added_tokens`.
#[derive(Deserialize)]
struct SavedToken {
    #[serde(rename = "id")]
    _id: u32,
    #[serde(flatten)]
    token: AddedToken,
}

/// The model of a `tokenizer.json`, which is used up meanwhile. One that does not say its type is what it looks like.
fn read_model(mut saved: Value) -> tokenizers::Result<ModelWrapper> {
    let kind = saved["type"].as_str().unwrap_or_default().to_owned();
    if let ("BPE" | "WordPiece" | "WordLevel" | "Unigram", Some(model)) = (kind.as_str(), saved.as_object_mut()) {
        model.remove("type");
    }
    Ok(match kind.as_str() {
        "BPE" => ModelWrapper::BPE(serde_json::from_value(saved)?),
        "WordPiece" => ModelWrapper::WordPiece(serde_json::from_value(saved)?),
        "WordLevel" => ModelWrapper::WordLevel(serde_json::from_value(saved)?),
        "Unigram" => ModelWrapper::Unigram(serde_json::from_value(saved)?),
        _ => serde_json::from_value(saved)?,
    })
}

/// The tables of a normalizer, whose offsets the library trusts.
fn check_tables(normalizer: &Value) -> tokenizers::Result<()> {
    let parts = normalizer["normalizers"].as_array().map_or(std::slice::from_ref(normalizer), Vec::as_slice);
    for part in parts {
        if part["type"] == "Precompiled" {
            let table = part["precompiled_charsmap"].as_str().map(|table| STANDARD.decode(table));
            match table.and_then(Result::ok).is_some_and(|table| charsmap::read(&table).is_some()) {
                true => {}
                false => return Err("the `precompiled_charsmap` of its normalizer is broken".into()),
            }
        } else if part["normalizers"].is_array() && !std::ptr::eq(part, normalizer) {
            check_tables(part)?;
        }
    }
    Ok(())
}

/// Those of a Unigram vocabulary, each with its score.
fn check_pieces(pieces: &Value) -> tokenizers::Result<()> {
    let length = |piece: &Value| piece[0].as_str().map_or(0, str::len);
    match pieces.as_array().into_iter().flatten().map(length).max() {
        Some(longest) if longest > LONGEST_TOKEN => {
            Err(format!("a token has {longest} bytes, more than {LONGEST_TOKEN}").into())
        }
        _ => Ok(()),
    }
}

/// The model that the class makes of a vocabulary; what was saved for a class that takes the file as it is, or where the vocabulary is
/// of another kind, which the class could not take.
fn of_class(config: &Config, mut saved: Value) -> (Class, Value) {
    let Some(mut model) = around_vocabulary(config, &saved) else {
        return (Class::AsSaved, saved);
    };
    model["vocab"] = saved["vocab"].take();
    if model["type"] == "BPE" {
        model["merges"] = saved["merges"].take();
    }
    (config.class, model)
}

/// Such a model without its vocabulary.
fn around_vocabulary(config: &Config, saved: &Value) -> Option<Value> {
    let vocabulary = &saved["vocab"];
    let byte_pairs = |fuse_unk: bool, byte_fallback: bool| {
        (vocabulary.is_object() && saved["merges"].is_array()).then(|| {
            json!({
                "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                "end_of_word_suffix": null, "fuse_unk": fuse_unk, "byte_fallback": byte_fallback, "ignore_merges": false,
            })
        })
    };
    let unigram = |unknown: Value| {
        vocabulary.is_array().then(|| json!({"type": "Unigram", "unk_id": unknown, "byte_fallback": false}))
    };
    match config.class {
        Class::AsSaved | Class::Other => None,
        Class::Bert => vocabulary.is_object().then(|| {
            json!({
                "type": "WordPiece", "unk_token": config.text("unk_token"), "continuing_subword_prefix": "##",
                "max_input_chars_per_word": 100,
            })
        }),
        Class::Gpt2 | Class::GptNeoX | Class::Qwen2 | Class::Roberta => byte_pairs(false, false),
        Class::Llama => byte_pairs(true, true),
        Class::DebertaV2 => {
            let unknown = json!([config.text("unk_token"), 0.0]);
            let place = vocabulary.as_array().and_then(|pieces| pieces.iter().position(|piece| *piece == unknown));
            unigram(place.map_or_else(|| saved["unk_id"].clone(), Value::from))
        }
        Class::T5 => unigram(json!(2)),
        Class::XlmRoberta => unigram(json!(3)),
    }
}

/// Normalizer, pre-tokenizer and decoder; the post-processor stays where the class has none of its own.
fn around(config: &Config, document: &mut Value) {
    let prefix = config.flag("add_prefix_space");
    let byte_level = |prefix: bool, use_regex: bool| json!({"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": true, "use_regex": use_regex});
    let of_bytes = byte_level(true, true);
    let metaspace = |scheme: &str, split: bool| json!({"type": "Metaspace", "replacement": SPACE, "prepend_scheme": scheme, "split": split});
    let [normalizer, pre_tokenizer, decoder] = match config.class {
        Class::AsSaved | Class::Other => return,
        Class::Bert => [
            json!({
                "type": "BertNormalizer", "clean_text": true,
                "handle_chinese_chars": config.flag("tokenize_chinese_chars").unwrap_or(true),
                "strip_accents": config.flag("strip_accents"),
                "lowercase": config.flag("do_lower_case").unwrap_or(true),
            }),
            json!({"type": "BertPreTokenizer"}),
            json!({"type": "WordPiece", "prefix": "##", "cleanup": true}),
        ],
        Class::Gpt2 | Class::Roberta => [Value::Null, byte_level(prefix.unwrap_or(false), true), of_bytes],
        Class::GptNeoX => [json!({"type": "NFC"}), byte_level(prefix.unwrap_or(false), true), of_bytes],
        Class::Qwen2 => {
            let split = json!({"type": "Split", "pattern": {"Regex": QWEN2}, "behavior": "Isolated", "invert": false});
            let bytes = byte_level(prefix.unwrap_or(false), false);
            [json!({"type": "NFC"}), json!({"type": "Sequence", "pretokenizers": [split, bytes]}), of_bytes]
        }
        Class::Llama => {
            let prefix = prefix.unwrap_or(true);
            let mut decoders = vec![
                json!({"type": "Replace", "pattern": {"String": SPACE}, "content": " "}),
                json!({"type": "ByteFallback"}),
                json!({"type": "Fuse"}),
            ];
            if prefix {
                decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
            }
            let scheme = match (prefix, config.flag("legacy").unwrap_or(false)) {
                (false, _) => "never",
                // Before each piece of a text that special tokens part.
                (true, true) => "always",
                (true, false) => "first",
            };
            [Value::Null, metaspace(scheme, false), json!({"type": "Sequence", "decoders": decoders})]
        }
        // Without the normalization of its SentencePiece model, as the class of Transformers 5 is.
        Class::DebertaV2 => {
            let lowercase = config.flag("do_lower_case").unwrap_or(false).then(|| json!({"type": "Lowercase"}));
            let spaces = json!({"type": "Replace", "pattern": {"Regex": r"\s{2,}|[\n\r\t]"}, "content": " "});
            let strip = json!({"type": "Strip", "strip_left": false, "strip_right": true});
            let normalizers: Vec<Value> =
                lowercase.into_iter().chain([spaces, json!({"type": "NFC"}), strip]).collect();
            let punctuation = json!({"type": "Punctuation", "behavior": "Isolated"});
            let punctuation = config.flag("split_by_punct").unwrap_or(false).then_some(punctuation);
            let pieces = metaspace(if prefix.unwrap_or(true) { "always" } else { "first" }, true);
            let parts: Vec<Value> = punctuation.into_iter().chain([pieces.clone()]).collect();
            [
                json!({"type": "Sequence", "normalizers": normalizers}),
                json!({"type": "Sequence", "pretokenizers": parts}),
                pieces,
            ]
        }
        Class::T5 | Class::XlmRoberta => {
            let without = config.class == Class::XlmRoberta && prefix == Some(false);
            let scheme = if without { "never" } else { "always" };
            let parts = [json!({"type": "WhitespaceSplit"}), metaspace(scheme, true)];
            let pieces = json!({"type": "Sequence", "pretokenizers": parts});
            [precompiled(&document["normalizer"]), pieces, metaspace(scheme, true)]
        }
    };
    document["normalizer"] = normalizer;
    document["pre_tokenizer"] = pre_tokenizer;
    document["decoder"] = decoder;
}

/// SentencePiece's own normalizer, alone or among others.
fn precompiled(normalizer: &Value) -> Value {
    let parts = normalizer["normalizers"].as_array().map_or(std::slice::from_ref(normalizer), Vec::as_slice);
    parts.iter().find(|part| part["type"] == "Precompiled").cloned().unwrap_or(Value::Null)
}

/// What a class puts around a text itself, whatever the file says.
fn frame(class: Class, config: &Config, tokenizer: &Tokenizer) -> Option<Value> {
    let token = |role: &str| {
        let text = config.text(role)?;
        let id = tokenizer.token_to_id(&text)?;
        Some((text, id))
    };
    let pieces = |pieces: &[(&str, u32)]| -> Vec<Value> {
        let piece = |(name, type_id): &(&str, u32)| match *name {
            "A" | "B" => json!({"Sequence": {"id": name, "type_id": type_id}}),
            name => json!({"SpecialToken": {"id": name, "type_id": type_id}}),
        };
        pieces.iter().map(piece).collect()
    };
    let template = |single: &[(&str, u32)], pair: &[(&str, u32)], tokens: &[&(String, u32)]| {
        let special =
            tokens.iter().map(|(text, id)| (text.clone(), json!({"id": text, "ids": [id], "tokens": [text]})));
        json!({
            "type": "TemplateProcessing", "single": pieces(single), "pair": pieces(pair),
            "special_tokens": Value::Object(special.collect()),
        })
    };
    match class {
        Class::Bert | Class::DebertaV2 => {
            let (cls, sep) = (token("cls_token")?, token("sep_token")?);
            let single = [(cls.0.as_str(), 0), ("A", 0), (sep.0.as_str(), 0)];
            let pair = [&single[..], &[("B", 1), (sep.0.as_str(), 1)]].concat();
            Some(template(&single, &pair, &[&cls, &sep]))
        }
        Class::XlmRoberta => {
            let (bos, eos) = (token("bos_token")?, token("eos_token")?);
            let single = [(bos.0.as_str(), 0), ("A", 0), (eos.0.as_str(), 0)];
            let pair = [&single[..], &[(eos.0.as_str(), 0), ("B", 0), (eos.0.as_str(), 0)]].concat();
            Some(template(&single, &pair, &[&bos, &eos]))
        }
        Class::T5 => {
            let eos = token("eos_token")?;
            let single = [("A", 0), (eos.0.as_str(), 0)];
            Some(template(&single, &[&single[..], &[("B", 0), (eos.0.as_str(), 0)]].concat(), &[&eos]))
        }
        // What a tokenizer.json says of this comes before the options; a SentencePiece file says nothing.
        Class::AsSaved | Class::Llama if config.has_pieces() => {
            let around = |option: &str, role: &str| token(role).filter(|_| config.flag(option) == Some(true));
            let (bos, eos) = (around("add_bos_token", "bos_token"), around("add_eos_token", "eos_token"));
            let part = |name, type_id| -> Vec<(&str, u32)> {
                let token = |token| Option::map(token, |(text, _): &(String, u32)| (text.as_str(), type_id));
                [token(bos.as_ref()), Some((name, type_id)), token(eos.as_ref())].into_iter().flatten().collect()
            };
            let tokens: Vec<_> = bos.iter().chain(&eos).collect();
            Some(template(&part("A", 0), &[part("A", 0), part("B", 1)].concat(), &tokens))
        }
        Class::Roberta => Some(json!({
            "type": "RobertaProcessing", "sep": token("sep_token")?, "cls": token("cls_token")?,
            "trim_offsets": config.flag("trim_offsets").unwrap_or(true),
            "add_prefix_space": config.flag("add_prefix_space").unwrap_or(false),
        })),
        Class::GptNeoX => Some(json!({
            "type": "TemplateProcessing", "single": pieces(&[("A", 0)]), "pair": pieces(&[("A", 0), ("B", 1)]),
            "special_tokens": {},
        })),
        Class::AsSaved | Class::Gpt2 | Class::Llama | Class::Other | Class::Qwen2 => None,
    }
}

#[cfg(test)]
mod tests;
