//! Ids as `AutoTokenizer.from_pretrained(DIR)(TEXT)["input_ids"]` of Transformers 5.23 (tokenizers 0.23.3) gives them for the same
//! files, `mistral_common` not being installed.

use serde_json::{Value, json};

use crate::Tokenizer;
use crate::tokenizer::tests::{added, byte_level, dir, vocabulary};

/// The ids of a text for a `tokenizer.json`, a `tokenizer_config.json` and a `model_type`.
fn ids(tokenizer: &Value, model_type: &str, config: &Value, text: &str) -> Vec<u32> {
    let files = [("tokenizer_config.json", config.clone()), ("config.json", json!({"model_type": model_type}))];
    ids_of(tokenizer, &files, (text, None))
}

fn ids_of(tokenizer: &Value, files: &[(&str, Value)], (text, pair): (&str, Option<&str>)) -> Vec<u32> {
    let made = dir(&[("tokenizer.json", &tokenizer.to_string())]);
    for (name, content) in files {
        std::fs::write(made.path().join(name), content.to_string()).unwrap();
    }
    Tokenizer::from_dir(made.path()).unwrap().encode(text, pair, 100).unwrap().ids
}

/// `[PAD] [UNK] [CLS] [SEP] [MASK] a b c ##c cafe Café 中`: 0 to 11.
fn words(lowercase: bool) -> Value {
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
    let words = special.into_iter().chain(["a", "b", "c", "##c", "cafe", "Café", "中"]);
    json!({
        "version": "1.0",
        "added_tokens": added(&special),
        "normalizer": {
            "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null,
            "lowercase": lowercase,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]},
        "model": {
            "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
            "vocab": vocabulary(words.map(str::to_owned)),
        },
    })
}

#[test]
fn the_options_of_bert_stand_over_the_file_for_its_classes_alone() {
    let of = |class: &str, options: Value| {
        let mut config = options;
        config["tokenizer_class"] = class.into();
        ids(&words(true), "bert", &config, "Café a中a")
    };
    for class in ["BertTokenizer", "BertTokenizerFast", "DistilBertTokenizer", "ElectraTokenizerFast"] {
        assert_eq!(of(class, json!({"do_lower_case": false})), [2, 10, 5, 11, 5, 3], "{class}");
    }
    for class in ["PreTrainedTokenizerFast", "TokenizersBackend", "SomethingElse"] {
        assert_eq!(of(class, json!({"do_lower_case": false})), [2, 9, 5, 11, 5, 3], "{class}");
    }
    let bert = |options| of("BertTokenizer", options);
    assert_eq!(bert(json!({"strip_accents": false})), [2, 1, 5, 11, 5, 3]);
    assert_eq!(bert(json!({"do_lower_case": false, "strip_accents": true})), [2, 1, 5, 11, 5, 3]);
    assert_eq!(bert(json!({"tokenize_chinese_chars": false})), [2, 9, 1, 3]);
    assert_eq!(bert(json!({"add_prefix_space": true})), [2, 9, 5, 11, 5, 3], "an option of other classes");
}

#[test]
fn a_class_that_is_not_named_is_that_of_the_model() {
    let (text, none) = ("Café a中a", json!({}));
    for model_type in ["bert", "distilbert", "electra"] {
        assert_eq!(ids(&words(false), model_type, &none, text), [2, 9, 5, 11, 5, 3], "lower case is its default");
    }
    assert_eq!(ids(&words(false), "llama", &none, text), [2, 10, 5, 11, 5, 3], "it has no class: as saved");
    let prefix = json!({"add_prefix_space": true});
    for (model_type, expected) in [
        ("roberta", &[0, 223, 74, 75, 1][..]),
        ("gpt2", &[0, 223, 74, 75]),
        ("qwen2", &[0, 223, 74, 75]),
        ("qwen3", &[0, 223, 74, 75]),
        ("qwen3_moe", &[0, 223, 74, 75]),
        ("mistral", &[0, 74, 75]),
        ("phi3", &[0, 74, 75]),
        ("smollm3", &[0, 74, 75]),
        ("llama", &[0, 74, 75]),
    ] {
        assert_eq!(ids(&byte_level(), model_type, &prefix, "hi"), expected, "{model_type}");
    }
}

#[test]
fn the_model_decides_whether_the_named_class_is_believed() {
    let of = |class: &str, model_type: &str| {
        ids(&byte_level(), model_type, &json!({"tokenizer_class": class, "add_prefix_space": true}), "hi")
    };
    for model_type in ["roberta", "gpt2", "qwen3", "smollm3", "llama"] {
        assert_eq!(of("GPT2Tokenizer", model_type), [0, 223, 74, 75], "{model_type}");
        assert_eq!(of("PreTrainedTokenizerFast", model_type), [0, 74, 75], "{model_type}");
    }
    for class in ["GPT2Tokenizer", "PreTrainedTokenizerFast"] {
        assert_eq!(of(class, "qwen2"), [0, 223, 74, 75], "Qwen2's");
        assert_eq!(of(class, "mistral"), [0, 74, 75], "always as saved");
        assert_eq!(of(class, "phi3"), [0, 74, 75], "always as saved");
    }
    // By `TokenizersBackend.from_pretrained`, which is the class that is named.
    assert_eq!(of("TokenizersBackend", "qwen2"), [0, 74, 75]);
    // An adapter's directory has no config.json: the base's is asked.
    let (adapter, base) =
        (dir(&[("tokenizer.json", &words(false).to_string())]), dir(&[("config.json", r#"{"model_type": "bert"}"#)]));
    let beside = Tokenizer::beside(adapter.path(), base.path()).unwrap();
    assert_eq!(beside.encode("Café", None, 9).unwrap().ids, [2, 9, 3]);
}

#[test]
fn classes_of_byte_pairs_split_texts_each_in_its_way() {
    for (class, with_prefix, without) in [
        ("RobertaTokenizer", &[0, 223, 74, 75, 223, 19, 20, 130, 105, 1, 1][..], &[0, 74, 75, 9, 85, 1][..]),
        ("BartTokenizerFast", &[0, 223, 74, 75, 223, 19, 20, 130, 105, 1, 1], &[0, 74, 75, 9, 85, 1]),
        ("GPT2TokenizerFast", &[0, 223, 74, 75, 223, 19, 20, 130, 105, 1], &[0, 74, 75, 9, 85]),
        ("CodeGenTokenizer", &[0, 223, 74, 75, 223, 19, 20, 130, 105, 1], &[0, 74, 75, 9, 85]),
        ("GPTNeoXTokenizerFast", &[223, 74, 75, 223, 19, 20, 130, 105, 1], &[74, 75, 9, 85]),
        ("Qwen2Tokenizer", &[0, 223, 74, 75, 223, 223, 19, 223, 20, 223, 130, 105, 1], &[0, 74, 75, 9, 85]),
        // The file is byte-level, which this class is not.
        ("LlamaTokenizer", &[0, 74, 75, 223, 19, 20, 130, 105, 1], &[0, 74, 75, 9, 85]),
        ("PreTrainedTokenizerFast", &[0, 74, 75, 223, 19, 20, 130, 105, 1], &[0, 74, 75, 9, 85]),
    ] {
        let of = |prefix: Value, text| {
            ids(&byte_level(), "llama", &json!({"tokenizer_class": class, "add_prefix_space": prefix}), text)
        };
        assert_eq!(of(true.into(), "hi 12é</s>"), with_prefix, "{class}");
        assert_eq!(of(Value::Null, "hi's"), without, "{class}");
    }
}

#[test]
fn a_frame_is_made_of_the_special_tokens_that_are_written() {
    let files = |model_type: &str, config| {
        [("tokenizer_config.json", config), ("config.json", json!({"model_type": model_type}))]
    };
    let config = json!({"tokenizer_class": "BertTokenizer", "cls_token": "[MASK]", "sep_token": "[PAD]"});
    assert_eq!(ids_of(&words(true), &files("bert", config), ("a", Some("c"))), [4, 5, 0, 7, 0]);
    let config = json!({"tokenizer_class": "RobertaTokenizer", "cls_token": "<|end|>"});
    assert_eq!(ids_of(&byte_level(), &files("roberta", config), ("hi", Some("o"))), [2, 74, 75, 1, 1, 81, 1]);
    // With a tokenizer.json these say nothing.
    let config = json!({"tokenizer_class": "GPT2Tokenizer", "add_bos_token": true, "bos_token": "<s>"});
    let mut plain = byte_level();
    plain["post_processor"] = Value::Null;
    assert_eq!(ids_of(&plain, &files("gpt2", config), ("hi", None)), [74, 75]);
}

/// `<unk> <s> </s>`, the 256 bytes, `▁ h i ▁h ▁hi hi`: 259 to 264.
fn pieces() -> Value {
    let names = ["<unk>", "<s>", "</s>"].map(str::to_owned).into_iter();
    let names = names.chain((0..=255).map(|byte| format!("<0x{byte:02X}>")));
    let names = names.chain(["\u{2581}", "h", "i", "\u{2581}h", "\u{2581}hi", "hi"].map(str::to_owned));
    json!({
        "version": "1.0",
        "added_tokens": added(&["<unk>", "<s>", "</s>"]),
        "pre_tokenizer": {"type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": "first", "split": false},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}},
        },
        "model": {
            "type": "BPE", "unk_token": "<unk>", "fuse_unk": true, "byte_fallback": true, "vocab": vocabulary(names),
            "merges": [["\u{2581}", "h"], ["\u{2581}h", "i"], ["h", "i"]],
        },
    })
}

#[test]
fn the_class_of_llama_puts_spaces_before_texts_as_its_options_say() {
    let of = |class: &str, model_type: &str, options: Value| {
        let mut config = options;
        config["tokenizer_class"] = class.into();
        ids(&pieces(), model_type, &config, "hi hi</s>hi é")
    };
    let (first, never, always) = (
        [1, 263, 263, 2, 264, 259, 198, 172],
        [1, 264, 263, 2, 264, 259, 198, 172],
        [1, 263, 263, 2, 263, 259, 198, 172],
    );
    for class in ["LlamaTokenizer", "LlamaTokenizerFast"] {
        assert_eq!(of(class, "llama", json!({})), first);
        assert_eq!(of(class, "llama", json!({"add_prefix_space": null, "legacy": null})), first);
        assert_eq!(of(class, "llama", json!({"add_prefix_space": false})), never);
        assert_eq!(of(class, "llama", json!({"legacy": true})), always);
        assert_eq!(of(class, "llama", json!({"add_bos_token": false, "add_eos_token": true})), first);
        for model_type in ["mistral", "phi3"] {
            assert_eq!(of(class, model_type, json!({"legacy": true})), first, "{model_type}");
        }
    }
    assert_eq!(of("PreTrainedTokenizerFast", "llama", json!({"add_prefix_space": false})), first);
}

#[test]
fn the_class_of_xlm_roberta_takes_the_words_of_a_unigram_alone() {
    let words = [
        ("<s>", 0.0),
        ("<pad>", 0.0),
        ("</s>", 0.0),
        ("<unk>", 0.0),
        ("\u{2581}a", -1.0),
        ("a", -2.0),
        ("\u{2581}", -3.0),
        ("b", -2.5),
        ("\u{2581}b", -1.5),
        ("<mask>", 0.0),
    ];
    let saved = json!({
        "version": "1.0",
        "added_tokens": added(&["<s>", "<pad>", "</s>", "<unk>"]),
        "normalizer": {"type": "Strip", "strip_left": true, "strip_right": true},
        "pre_tokenizer": {"type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": "always", "split": true},
        "post_processor": null,
        "model": {"type": "Unigram", "unk_id": 3, "byte_fallback": false, "vocab": words},
    });
    let of = |options: Value| {
        let mut config = options;
        config["tokenizer_class"] = "XLMRobertaTokenizerFast".into();
        let files = [("tokenizer_config.json", config), ("config.json", json!({"model_type": "xlm-roberta"}))];
        ids_of(&saved, &files, ("a b  ab", Some("b")))
    };
    assert_eq!(of(json!({})), [0, 4, 8, 4, 7, 2, 2, 8, 2]);
    assert_eq!(of(json!({"add_prefix_space": false})), [0, 5, 7, 5, 7, 2, 2, 7, 2]);
}

/// An entry of `added_tokens_decoder`.
fn entry(content: &str, changes: Value) -> Value {
    let mut entry = json!({
        "content": content, "special": true, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
    });
    entry.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    entry
}

#[test]
fn tokens_that_only_the_configuration_has_are_added_with_their_flags() {
    let of = |class: &str, tokens: Value, text: &str| {
        ids(&byte_level(), "llama", &json!({"tokenizer_class": class, "added_tokens_decoder": tokens}), text)
    };
    let saved = "PreTrainedTokenizerFast";
    let tools = json!({
        "300": entry("<|tool|>", json!({})), "299": entry("<a>", json!({"special": false, "normalized": true})),
    });
    // In the order of their numbers, from the first free one: not by what they are called.
    assert_eq!(of(saved, tools.clone(), "x<|tool|><a> </s>"), [0, 90, 260, 259, 223, 1]);
    let around = json!({"400": entry("<t>", json!({"lstrip": true, "rstrip": true}))});
    assert_eq!(of(saved, around, "x  <t>  y</s>"), [0, 90, 259, 91, 1]);
    let alone = json!({"400": entry("<t>", json!({"single_word": true}))});
    assert_eq!(of(saved, alone, "x<t> <t> y"), [0, 90, 30, 86, 32, 223, 259, 223, 91]);
    let others = json!({"1": entry("</s>", json!({"lstrip": true}))});
    assert_eq!(of(saved, others, "x  </s>y<s>"), [0, 90, 1, 91, 0], "flags of the configuration go before the file's");
    // A class that makes the tokenizer anew knows no added tokens of the file beside those of the configuration.
    for class in ["GPT2Tokenizer", "Qwen2Tokenizer"] {
        assert_eq!(of(class, tools.clone(), "x<|tool|><a> </s>"), [0, 90, 260, 259, 223, 30, 17, 85, 32], "{class}");
    }
    let tool = json!({"12": entry("<tool>", json!({}))});
    let config = json!({"tokenizer_class": "BertTokenizer", "added_tokens_decoder": tool});
    assert_eq!(ids(&words(true), "bert", &config, "a<tool>b c [SEP] [MASK]"), [2, 5, 12, 6, 7, 3, 4, 3]);
}

#[test]
fn tokens_that_are_named_as_special_are_added_if_nothing_else_has_them() {
    let of = |config: Value, text: &str| {
        let mut config = config;
        config["tokenizer_class"] = "PreTrainedTokenizerFast".into();
        ids(&byte_level(), "llama", &config, text)
    };
    assert_eq!(of(json!({"additional_special_tokens": ["<x>"]}), "q<x>r"), [0, 83, 259, 84]);
    let both = json!({"extra_special_tokens": ["<x>"], "additional_special_tokens": ["<y>"]});
    assert_eq!(of(both, "q<x>r<y>"), [0, 83, 259, 84, 30, 91, 32], "the older list counts where there is no newer one");
    assert_eq!(of(json!({"extra_special_tokens": {"image_token": "<img>"}}), "q<img>r"), [0, 83, 259, 84]);
    assert_eq!(of(json!({"image_token": "<img>", "pad_token": "<pad>"}), "q<img>r<pad>"), [0, 83, 260, 84, 259]);
    assert_eq!(of(json!({"pad_token": "a"}), "cab"), [0, 69, 67, 68], "a word of the vocabulary keeps its id");
    let older = json!({"__type": "AddedToken", "content": "<b>", "lstrip": true, "normalized": true});
    assert_eq!(of(json!({"bos_token": older}), "q <b>"), [0, 83, 259]);
    assert_eq!(of(json!({"split_special_tokens": true}), "q</s>"), [0, 83, 30, 17, 85, 32]);
}

#[test]
fn the_older_files_count_where_the_configuration_lists_no_tokens() {
    let of = |listed: bool, special: Value, older: Value, text: &str| {
        let mut config = json!({"tokenizer_class": "PreTrainedTokenizerFast"});
        if listed {
            config["added_tokens_decoder"] = json!({});
        }
        let files =
            [("tokenizer_config.json", config), ("special_tokens_map.json", special), ("added_tokens.json", older)];
        ids_of(&byte_level(), &files, (text, None))
    };
    let special = json!({"pad_token": "<pad>", "additional_special_tokens": ["<img>"]});
    assert_eq!(of(false, special, json!({}), "q<img>r<pad>"), [0, 83, 260, 84, 259]);
    let special = json!({"pad_token": {"content": "<pad>", "lstrip": true, "normalized": false}});
    assert_eq!(of(false, special.clone(), json!({"<img>": 300}), "q<img> r<pad>"), [0, 83, 259, 223, 84, 260]);
    assert_eq!(of(true, special, json!({}), "q<pad></s>"), [0, 83, 30, 82, 67, 70, 32, 1]);
}
