//! Models with a mistake in their `config.json` or tokenizer, or that are not there.

use serde_json::{Value, json};

use crate::project::{Project, Ran};

pub(super) const CONFIG: &str = "bert/config.json";

/// A run on a model with this value in its `config.json`.
pub(super) fn with_config(key: &str, value: Value) -> Ran {
    Project::new().json(CONFIG, key, value).train(&[])
}

#[test]
fn a_directory_without_config_json_is_no_model() {
    Project::new().without(CONFIG).train(&[]).refused(
        "error: [DIR]/bert has no config.json\n\
         help: a model is a directory with config.json, model.safetensors and a tokenizer, as on the Hugging Face Hub",
    );
}

#[test]
fn a_broken_config_json_is_refused() {
    Project::new().truncate(CONFIG, 60).train(&[]).refused(
        "error: [DIR]/bert/config.json, line 4, column 5: malformed JSON: EOF while parsing a string\n\
         help: the file is not the config.json that Transformers writes: download or copy it again",
    );
}

#[test]
fn a_config_json_that_is_no_object_is_refused() {
    Project::new().file(CONFIG, "[]").train(&[]).refused(
        "error: [DIR]/bert/config.json: not a JSON object\n\
         help: copy the model's config.json again",
    );
}

#[test]
fn a_key_that_config_json_lacks_is_named() {
    with_config("hidden_size", Value::Null).refused(
        "error: [DIR]/bert/config.json: it lacks `hidden_size`\n\
         help: the file is not the config.json that Transformers writes: download or copy it again",
    );
}

#[test]
fn a_key_of_config_json_with_the_wrong_type_is_named() {
    with_config("num_hidden_layers", json!("three")).refused(
        "error: [DIR]/bert/config.json: `num_hidden_layers` is \"three\", expected a whole number of at least 0\n\
         help: the file is not the config.json that Transformers writes: download or copy it again",
    );
}

#[test]
fn more_layers_than_memory_are_refused() {
    let help = "help: the file is not the config.json of a model: download or copy it again";
    let models = [
        ("bert-cls", "num_hidden_layers"),
        ("distilbert-cls", "n_layers"),
        ("electra-cls", "num_hidden_layers"),
        ("deberta-v3-cls", "num_hidden_layers"),
        ("modernbert-cls", "num_hidden_layers"),
        ("gpt2-lm", "n_layer"),
        ("llama-lm", "num_hidden_layers"),
    ];
    for (case, key) in models {
        let project = Project::new().copy(&format!("{case}/model"), "absurd");
        let project = project.json("absurd/config.json", key, json!(1_000_000_000_000_u64));
        let expected = format!("error: absurd/config.json: `{key}` is 1000000000000, expected at most 1000\n{help}");
        project.run(&["inspect", "absurd"]).refused(&expected);
    }
    // 16 tensors in each of 997 layers.
    let most = with_config("num_hidden_layers", json!(1000));
    let expected = "error: [DIR]/bert lacks 15952 of the tensors its config.json asks for:\n";
    assert!(most.stderr.starts_with(expected), "{}", most.stderr);
}

#[test]
fn a_type_of_tokens_that_the_model_has_no_embedding_for_is_refused() {
    let template = json!({
        "type": "TemplateProcessing", "pair": [], "special_tokens": {},
        "single": [{"Sequence": {"id": "A", "type_id": 7}}],
    });
    // The class that Python writes for any other tokenizer: it takes the file as it is.
    let class = json!("PreTrainedTokenizerFast");
    let project = Project::new().json("bert/tokenizer_config.json", "tokenizer_class", class);
    let project = project.json("bert/tokenizer.json", "post_processor", template);
    project.run(&["predict", "--model", "bert", "fine"]).refused(
        "error: the tokenizer gives the type 7 to a token, the model has embeddings for 2\n\
         help: tokenizer and checkpoint do not belong together: copy both from one place",
    );
}

#[test]
fn sizes_that_cannot_be_multiplied_are_refused() {
    with_config("intermediate_size", json!(1_u64 << 40)).refused(
        "error: [DIR]/bert/config.json: `intermediate_size` is 1099511627776, expected at most 2147483648\n\
         help: the file is not the config.json of a model: download or copy it again",
    );
}

#[test]
fn heads_that_do_not_divide_the_width_are_refused() {
    with_config("num_attention_heads", json!(5)).refused(
        "error: [DIR]/bert/config.json: 5 attention heads do not divide a width of 48\n\
         help: `num_attention_heads` must divide the width: copy the model's config.json again",
    );
}

#[test]
fn no_heads_are_refused() {
    with_config("num_attention_heads", json!(0)).refused(
        "error: [DIR]/bert/config.json: 0 attention heads do not divide a width of 48\n\
         help: `num_attention_heads` must divide the width: copy the model's config.json again",
    );
}

#[test]
fn an_unknown_activation_is_named_with_those_there_are() {
    with_config("hidden_act", json!("swiglu")).refused(
        "error: [DIR]/bert/config.json: `hidden_act` is `swiglu`, an unknown activation function\n\
         help: supported: gelu, gelu_python, gelu_new, gelu_fast, gelu_pytorch_tanh, gelu_python_tanh, gelu_accurate, \
         quick_gelu, relu, relu2, silu, swish, tanh",
    );
}

#[test]
fn a_dropout_that_is_no_probability_is_refused() {
    with_config("hidden_dropout_prob", json!(1.5)).refused(
        "error: [DIR]/bert/config.json: `hidden_dropout_prob` is 1.5, expected a probability below 1\n\
         help: the file is not the config.json of a model: download or copy it again",
    );
}

#[test]
fn a_size_of_zero_is_refused() {
    with_config("max_position_embeddings", json!(0)).refused(
        "error: [DIR]/bert/config.json: `max_position_embeddings` is 0, expected 1 or more\n\
         help: the file is not the config.json of a model: download or copy it again",
    );
}

#[test]
fn a_size_that_no_memory_holds_is_compared_before_it_is_used() {
    with_config("intermediate_size", json!(2_000_000_000)).refused("error: [DIR]/bert/model.safetensors: `bert.encoder.layer.0.intermediate.dense.weight` has [96, 48], config.json asks for [2000000000, 48]\n\
         help: config.json and the checkpoint do not belong together: copy both from one place");
}

#[test]
fn class_names_that_are_not_numbered_are_refused() {
    with_config("id2label", json!({ "0": "bad", "good": "1", "2": "so so" })).refused(
        "error: [DIR]/bert/config.json: `id2label` has the entry `good`\n\
         help: it maps \"0\", \"1\", ... to names",
    );
}

#[test]
fn a_model_without_a_tokenizer_is_refused() {
    Project::new().without("bert/tokenizer.json").train(&[]).refused(
        "error: [DIR]/bert has no tokenizer (looked for tokenizer.json, vocab.txt and SentencePiece files)\n\
         help: copy the tokenizer files of the checkpoint here",
    );
}

#[test]
fn a_broken_tokenizer_is_refused() {
    Project::new().truncate("bert/tokenizer.json", 500).train(&[]).refused(
        "error: [DIR]/bert/tokenizer.json: broken tokenizer file: EOF while parsing a string at line 27 column 16\n\
         help: fetch the file again, or write it again with `save_pretrained` of its tokenizer in Transformers",
    );
}

#[test]
fn a_model_that_is_not_there_is_refused_with_what_a_model_is() {
    Project::new().run(&["predict", "--model", "./bert-base", "a fine film"]).refused("error: there is no directory ./bert-base\n\
         help: a model is a directory with config.json, model.safetensors and a tokenizer, or an id on the Hugging Face Hub: org/name or org/name@revision");
}

#[test]
fn factors_of_nothing_are_refused() {
    for (case, key) in [("granite-lm", "logits_scaling"), ("gemma2-lm", "query_pre_attn_scalar")] {
        let project = Project::new().copy(&format!("{case}/model"), "absurd");
        let project = project.json("absurd/config.json", key, json!(0));
        project.run(&["inspect", "absurd"]).refused(&format!(
            "error: absurd/config.json: `{key}` is 0\nhelp: a number above 0 belongs there: copy the model's config.json again"
        ));
    }
}
