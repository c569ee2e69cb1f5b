//! Every target on a fixed number of inputs: `KINDLING_FUZZ_INPUTS` says how many of each, `KINDLING_FUZZ_FROM` with which
//! number they begin.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use fuzz_targets::{Archive, Campaign, CountingAllocator, Judge, all, named};
use serde_json::{Value, json};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// Memory is counted of the whole process.
static ALONE: Mutex<()> = Mutex::new(());

/// Of a few inputs beside other tests.
const HANG: Duration = Duration::from_secs(20);

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

/// `inputs`: as many as take a few seconds unoptimised.
#[track_caller]
fn check(name: &str, inputs: u64) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let target = named(name).expect("a target");
    let from = number("KINDLING_FUZZ_FROM").unwrap_or(0);
    let campaign = Campaign::new(&target);
    let (inputs, campaign) = match number("KINDLING_FUZZ_INPUTS") {
        Some(inputs) => (inputs, campaign),
        None => (inputs, campaign.allowing(HANG)),
    };
    if let Err(faults) = campaign.run(from..from + inputs) {
        panic!("{faults}");
    }
}

macro_rules! targets {
    ($($test:ident: $name:literal, $inputs:literal;)*) => {
        $(#[test]
        fn $test() {
            check($name, $inputs);
        })*

        #[test]
        fn every_target_has_a_test() {
            let tested = [$($name),*];
            let targets = all();
            assert_eq!(targets.iter().map(|target| target.name).collect::<Vec<_>>(), tested);
        }
    };
}

targets! {
    a_tokenizer_json_is_read_or_refused: "tokenizer-json", 200;
    a_tokenizer_config_is_read_or_refused: "tokenizer-config", 200;
    a_model_with_another_tokenizer_answers_or_is_refused: "pipeline", 200;
    a_sentencepiece_file_is_read_or_refused: "sentencepiece", 200;
    a_chat_template_is_read_or_refused: "chat-template", 500;
    a_text_template_is_read_or_refused: "text-template", 500;
    json_lines_are_read_or_refused: "json-lines", 1000;
    values_of_json_lines_are_read_or_refused: "json-lines-values", 1000;
    json_is_read_or_refused: "json", 1000;
    csv_is_read_or_refused: "csv", 1000;
    tsv_is_read_or_refused: "tsv", 1000;
    conll_is_read_or_refused: "conll", 1000;
    parquet_is_read_or_refused: "parquet", 1000;
    compressed_csv_is_read_or_refused: "gzip-csv", 500;
    compressed_json_lines_are_read_or_refused: "gzip-json-lines", 500;
    a_config_json_is_read_or_refused: "config", 200;
    safetensors_are_read_or_refused: "safetensors", 200;
    an_index_is_read_or_refused: "index", 100;
    an_adapter_is_read_or_refused: "adapter", 200;
    a_kindling_json_is_read_or_refused: "kindling-json", 200;
    target_modules_are_read_or_refused: "target-modules", 500;
    gguf_is_read_or_refused: "gguf", 1000;
    requests_are_answered_or_refused: "requests", 300;
}

/// Such a value of JSON takes twenty times its bytes: trees of them must not lie beside one another.
#[test]
fn lists_of_short_texts_in_a_tokenizer_json_take_little_memory() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let pairs = vec![r#"["a","b"]"#; 120_000].join(",");
    for merges in [format!(r#""merges":[{pairs}]"#), format!(r#""merges":[],"other":[{pairs}]"#)] {
        let model = format!(r#"{{"type":"BPE","vocab":{{"a":0,"b":1,"ab":2}},{merges}}}"#);
        let document = format!(r#"{{"version":"1.0","model":{model}}}"#);
        let input = Archive(vec![("tokenizer.json".to_owned(), document.into_bytes())]).bytes();
        let target = named("tokenizer-json").expect("a target");
        assert_eq!(Judge::new(&target).allowing(HANG).check(&input), Ok(()));
    }
}

#[test]
fn parts_of_a_tokenizer_json_that_multiply_take_little_memory() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let replace =
        |pattern: Value, content: &str| json!({"type": "Replace", "pattern": pattern, "content": content.repeat(50)});
    let growing = vec![replace(json!({"String": "e"}), "e"); 8];
    let special = vec![json!({"SpecialToken": {"id": "x", "type_id": 0}}); 10_000];
    let single = [special, vec![json!({"Sequence": {"id": "A", "type_id": 0}})]].concat();
    let token = json!({"id": "x", "ids": vec![1; 1000], "tokens": vec!["x"; 1000]});
    let expression = "(?=a)".repeat(8000);
    let parts = [
        ("normalizer", json!({"type": "Sequence", "normalizers": growing})),
        ("normalizer", replace(json!({"Regex": "e*"}), &"b".repeat(20_000))),
        ("normalizer", json!({"type": "Prepend", "prepend": "e".repeat(10_000_000)})),
        ("decoder", json!({"type": "Sequence", "decoders": growing})),
        (
            "post_processor",
            json!({"type": "TemplateProcessing", "single": single, "pair": [], "special_tokens": {"x": token}}),
        ),
        (
            "pre_tokenizer",
            json!({"type": "Split", "pattern": {"Regex": expression}, "behavior": "Isolated", "invert": false}),
        ),
    ];
    for (part, value) in parts {
        let model = json!({"type": "WordLevel", "vocab": {"e": 0, "[UNK]": 1}, "unk_token": "[UNK]"});
        let mut document = json!({"version": "1.0", "model": model});
        document[part] = value;
        let input = Archive(vec![("tokenizer.json".to_owned(), document.to_string().into_bytes())]).bytes();
        let target = named("tokenizer-json").expect("a target");
        assert_eq!(Judge::new(&target).allowing(HANG).check(&input), Ok(()), "{part}");
    }
}
