//! Tokenizers: `tokenizer.json`, `tokenizer_config.json` and what stands beside them, SentencePiece files. What opens has to
//! encode and decode whatever text comes.

use data::Tokenizer;
use data::language::{ChatTemplate, Conversation};
use serde_json::{Value, json};

use super::checkpoints;
use super::files::in_directory;
use super::{Form, Target};
use crate::{Archive, corpus};

const TEXTS: [&str; 5] =
    ["a fine film", "", "Ünïcode\u{0}\t\u{10ffff} 123 <s>[MASK]</s>", "  ##a\u{2581}b \u{200d}", "the \n\n the"];

pub(super) fn targets() -> [Target; 4] {
    let of = |name, form, seeds| Target { name, form, seeds, run };
    [
        of("tokenizer-json", Form::Archive(&[("tokenizer.json", Form::Json)]), || [small(), with_parts()].concat()),
        of(
            "tokenizer-config",
            Form::Archive(&[
                ("tokenizer_config.json", Form::Json),
                ("special_tokens_map.json", Form::Json),
                ("added_tokens.json", Form::Json),
                ("config.json", Form::Json),
            ]),
            small,
        ),
        // What the model is given is the tokenizer's.
        Target {
            name: "pipeline",
            form: Form::Archive(&[("tokenizer.json", Form::Json), ("tokenizer_config.json", Form::Json)]),
            seeds: || corpus::models(&["bert-dora", "llama-lm", "roberta-cls"], &FILES),
            run: checkpoints::run,
        },
        of(
            "sentencepiece",
            Form::Archive(&[("tokenizer.model", Form::Protobuf), ("tokenizer_config.json", Form::Json)]),
            pieces,
        ),
    ]
}

const FILES: [&str; 4] = ["tokenizer.json", "tokenizer_config.json", "config.json", "chat_template.jinja"];

fn small() -> Vec<Vec<u8>> {
    let cases = [
        "bert-cls",
        "llama-lm",
        "gpt2-lm",
        "qwen2-lm-sharded",
        "deberta-v3-cls",
        "gemma3-lm",
        "roberta-cls",
        "mistral-lm",
    ];
    cases.iter().map(|name| Archive::read(&corpus::case(name).join("model"), &FILES).bytes()).collect()
}

/// BERT's with other parts, which changes repeat and lengthen: what they do to a text multiplies.
fn with_parts() -> Vec<Vec<u8>> {
    let replace = |kind: &str, pattern: &str, content: &str| json!({"type": "Replace", "pattern": {kind: pattern}, "content": content});
    let split = |pattern: &str| json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false});
    let bytes = json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true});
    let normalizers = json!([
        {"type": "Prepend", "prepend": "\u{2581}"},
        replace("String", " ", "\u{2581}"),
        replace("Regex", "[aeiou]*", "ee"),
        {"type": "NFKC"},
        {"type": "ByteLevel"},
    ]);
    let pre_tokenizers = json!([
        split(r"\p{N}{1,3}|[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"),
        split(r"(?:(m|mm| )+)\1c|b"),
        {"type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": "always", "split": true},
        bytes,
    ]);
    let special = json!({"SpecialToken": {"id": "x", "type_id": 0}});
    let [first, second] = ["A", "B"].map(|id| json!({"Sequence": {"id": id, "type_id": 0}}));
    let template = json!({
        "type": "TemplateProcessing", "single": [special, first, special], "pair": [special, first, special, second],
        "special_tokens": {"x": {"id": "x", "ids": [1, 2, 3], "tokens": ["x", "y", "z"]}},
    });
    let decoders = json!([
        replace("String", "\u{2581}", " "),
        replace("Regex", "(?<=e)e*|[io]", "ee"),
        {"type": "ByteFallback"},
        {"type": "Fuse"},
        {"type": "WordPiece", "prefix": "##", "cleanup": true},
        {"type": "Strip", "content": " ", "start": 1, "stop": 0},
    ]);
    let parts = [
        ("normalizer", json!({"type": "Sequence", "normalizers": normalizers})),
        ("pre_tokenizer", json!({"type": "Sequence", "pretokenizers": pre_tokenizers})),
        ("post_processor", json!({"type": "Sequence", "processors": [template]})),
        ("decoder", json!({"type": "Sequence", "decoders": decoders})),
    ];
    let bert = corpus::file("tests/fixtures/parity/bert-cls/model/tokenizer.json");
    let bert: Value = serde_json::from_slice(&bert).expect("JSON");
    let archive = |(part, value): (&str, Value)| {
        let mut document = bert.clone();
        document[part] = value;
        // Alone: with its class, the parts would be the class's.
        Archive(vec![("tokenizer.json".to_owned(), document.to_string().into_bytes())]).bytes()
    };
    parts.map(archive).to_vec()
}

fn pieces() -> Vec<Vec<u8>> {
    let files = [
        ("llama", "LlamaTokenizer"),
        ("t5", "T5Tokenizer"),
        ("deberta", "DebertaV2Tokenizer"),
        ("xlm-roberta", "XLMRobertaTokenizer"),
        ("unigram", "PreTrainedTokenizerFast"),
        ("symbols", "PreTrainedTokenizerFast"),
    ];
    let archive = |(name, class): (&str, &str)| {
        let config = json!({ "tokenizer_class": class, "add_bos_token": true, "legacy": false });
        let pieces = corpus::file(&format!("tests/fixtures/sentencepiece/{name}.model"));
        let files = [("tokenizer.model", pieces), ("tokenizer_config.json", config.to_string().into_bytes())];
        Archive(files.map(|(name, contents)| (name.to_owned(), contents)).to_vec()).bytes()
    };
    files.map(archive).to_vec()
}

fn run(input: &[u8]) {
    in_directory(|directory| {
        Archive::of(input).lay(directory);
        if let Ok(tokenizer) = Tokenizer::from_dir(directory) {
            used(&tokenizer);
            let _ = tokenizer.special_roles(directory, directory);
        }
        if let Ok(Some(template)) = ChatTemplate::from_dir(directory, std::time::UNIX_EPOCH) {
            let mut conversation = Conversation::default();
            conversation.push("user", "a fine film");
            let _ = template.render(&conversation, true);
        }
    });
}

fn used(tokenizer: &Tokenizer) {
    for text in TEXTS {
        let _ = tokenizer.encode(text, None, 8);
        let _ = tokenizer.encode(text, Some("and more"), 512);
        let _ = tokenizer.bare(text);
    }
    let _ = tokenizer.encode(&"the film ".repeat(600), None, 16);
    for id in [0, 1, 5, tokenizer.vocabulary_size() as u32, u32::MAX] {
        let _ = tokenizer.token_bytes(id);
        let _ = tokenizer.text(&[id, id]);
    }
    let _ = (tokenizer.special_tokens(), tokenizer.mask_token(), tokenizer.unknown_token(), tokenizer.end_token());
    let _ = tokenizer.to_json();
}
