//! Adapters with a mistake in each.

use serde_json::{Value, json};

use crate::project::tensors::Tensors;
use crate::project::{Project, Ran};

const CONFIG: &str = "adapter/adapter_config.json";
const WEIGHTS: &str = "adapter/adapter_model.safetensors";

fn with_config(key: &str, value: Value) -> Ran {
    Project::with_adapter().json(CONFIG, key, value).predict_with_adapter()
}

#[test]
fn a_directory_that_is_not_there_is_no_adapter() {
    Project::new().run(&["predict", "--model", "bert", "--adapter", "./adapter", "x"]).refused("error: there is no adapter at ./adapter\n\
         help: an adapter is a directory with adapter_config.json and adapter_model.safetensors, as PEFT and kindling write it");
}

#[test]
fn a_directory_without_weights_is_no_adapter() {
    Project::with_adapter().without(WEIGHTS).predict_with_adapter().refused("error: adapter has no `adapter_model.safetensors`\n\
         help: an adapter is a directory with adapter_config.json and adapter_model.safetensors, as PEFT and kindling write it");
}

#[test]
fn pickled_weights_are_refused_with_the_way_to_convert_them() {
    let project = Project::with_adapter().without(WEIGHTS);
    project.file("adapter/adapter_model.bin", "PK").predict_with_adapter().refused("error: adapter has no `adapter_model.safetensors`\n\
         help: adapter_model.bin is a Python pickle, which can run any code when it is read, so kindling does not: load it in Python with PeftModel.from_pretrained(base, DIR) and save it again with model.save_pretrained(DIR)");
}

#[test]
fn an_adapter_of_another_architecture_is_refused() {
    Project::new().copy("roberta-cls/adapter", "adapter").predict_with_adapter().refused(
        "error: adapter/adapter_model.safetensors does not fit the model:\n\
         \x20\x20missing:\n\
         \x20\x20  base_model.model.bert.encoder.layer.0.attention.self.query.lora_A.weight\n\
         \x20\x20  base_model.model.bert.encoder.layer.0.attention.self.query.lora_B.weight\n\
         \x20\x20  base_model.model.bert.encoder.layer.0.attention.self.value.lora_A.weight\n\
         \x20\x20  base_model.model.bert.encoder.layer.0.attention.self.value.lora_B.weight\n\
         \x20\x20  base_model.model.bert.encoder.layer.1.attention.self.query.lora_A.weight\n\
         \x20\x20  base_model.model.bert.encoder.layer.1.attention.self.query.lora_B.weight\n\
         \x20\x20  base_model.model.bert.encoder.layer.1.attention.self.value.lora_A.weight\n\
         \x20\x20  base_model.model.bert.encoder.layer.1.attention.self.value.lora_B.weight\n\
         \x20\x20  ... and 6 more\n\
         \x20\x20not used by the model:\n\
         \x20\x20  base_model.model.classifier.dense.bias\n\
         \x20\x20  base_model.model.classifier.dense.weight\n\
         \x20\x20  base_model.model.classifier.out_proj.bias\n\
         \x20\x20  base_model.model.classifier.out_proj.weight\n\
         \x20\x20  base_model.model.roberta.encoder.layer.0.attention.self.query.lora_A.weight\n\
         \x20\x20  base_model.model.roberta.encoder.layer.0.attention.self.query.lora_B.weight\n\
         \x20\x20  base_model.model.roberta.encoder.layer.0.attention.self.value.lora_A.weight\n\
         \x20\x20  base_model.model.roberta.encoder.layer.0.attention.self.value.lora_B.weight\n\
         \x20\x20  ... and 8 more\n\
         help: the adapter was made for another model or with other settings than its adapter_config.json says",
    );
}

#[test]
fn an_adapter_of_a_narrower_model_is_refused_with_both_shapes() {
    let narrower = |name: &str, rows: usize, columns: usize| (name.to_string(), rows, columns);
    let query = "base_model.model.bert.encoder.layer.0.attention.self.query";
    let project = Project::with_adapter().tensors(WEIGHTS, |tensors| {
        for (name, rows, columns) in
            [narrower(&format!("{query}.lora_A.weight"), 4, 32), narrower(&format!("{query}.lora_B.weight"), 32, 4)]
        {
            tensors.zeros(&name, &[rows, columns]);
        }
    });
    project.predict_with_adapter().refused("error: adapter/adapter_model.safetensors: `base_model.model.bert.encoder.layer.0.attention.self.query.lora_A.weight` has [4, 32], the model asks for [4, 48]\n\
         help: the adapter was made for another model, or for another number of labels or tokens");
}

#[test]
fn missing_tensors_are_listed() {
    let project = Project::with_adapter().tensors(WEIGHTS, |tensors| tensors.remove(|name| name.contains("layer.2")));
    project.predict_with_adapter().refused(
        "error: adapter/adapter_model.safetensors does not fit the model:\n\
         \x20\x20missing:\n\
         \x20\x20  base_model.model.bert.encoder.layer.2.attention.self.query.lora_A.weight\n\
         \x20\x20  base_model.model.bert.encoder.layer.2.attention.self.query.lora_B.weight\n\
         \x20\x20  base_model.model.bert.encoder.layer.2.attention.self.value.lora_A.weight\n\
         \x20\x20  base_model.model.bert.encoder.layer.2.attention.self.value.lora_B.weight\n\
         help: the adapter was made for another model or with other settings than its adapter_config.json says",
    );
}

#[test]
fn unexpected_tensors_are_listed() {
    let extra = "base_model.model.bert.encoder.layer.0.attention.self.key.lora_A.weight";
    let project = Project::with_adapter().tensors(WEIGHTS, |tensors| tensors.zeros(extra, &[4, 48]));
    project.predict_with_adapter().refused(
        "error: adapter/adapter_model.safetensors does not fit the model:\n\
         \x20\x20not used by the model:\n\
         \x20\x20  base_model.model.bert.encoder.layer.0.attention.self.key.lora_A.weight\n\
         help: the adapter was made for another model or with other settings than its adapter_config.json says",
    );
}

#[test]
fn a_misspelt_tensor_is_named_with_the_one_that_is_missing() {
    let rename =
        |name: &str| name.replace("layer.0.attention.self.query.lora_A", "layer.0.attention.self.qurey.lora_A");
    Project::with_adapter().tensors(WEIGHTS, |tensors| tensors.rename(rename)).predict_with_adapter().refused("error: adapter/adapter_model.safetensors does not fit the model:\n\
         \x20\x20missing:\n\
         \x20\x20  base_model.model.bert.encoder.layer.0.attention.self.query.lora_A.weight\n\
         \x20\x20not used by the model:\n\
         \x20\x20  base_model.model.bert.encoder.layer.0.attention.self.qurey.lora_A.weight\n\
         help: `bert.encoder.layer.0.attention.self.qurey.lora_A.weight` may be meant to be `bert.encoder.layer.0.attention.self.query.lora_A.weight`: copy the adapter again, or rename it");
}

#[test]
fn a_rank_that_differs_from_the_tensors_is_refused_with_both() {
    with_config("r", json!(8)).refused("error: adapter/adapter_model.safetensors: `base_model.model.bert.encoder.layer.0.attention.self.query.lora_A.weight` has rank 4, adapter_config.json says 8\n\
         help: the configuration and the tensors belong to different adapters: correct `r` or `rank_pattern`");
}

#[test]
fn an_adapter_without_the_head_does_not_borrow_one() {
    let project = Project::with_adapter()
        .tensors("bert/model.safetensors", |tensors| tensors.remove(|name| name.starts_with("classifier.")))
        .tensors(WEIGHTS, |tensors| tensors.remove(|name| name.contains("classifier")))
        .json(CONFIG, "modules_to_save", Value::Null);
    project.predict_with_adapter().refused(
        "error: bert has no trained classification head (no classifier.weight, classifier.bias)\n\
         help: give the adapter that was trained on it with --adapter, or fine-tune it first with `kindling train`",
    );
}

#[test]
fn another_type_of_adapter_is_refused_by_name() {
    with_config("peft_type", json!("VERA")).refused(
        "error: `peft_type` in adapter/adapter_config.json: adapters of type \"VERA\" are not supported\n\
         help: supported: \"LORA\", \"IA3\"",
    );
}

#[test]
fn an_adapter_without_a_type_is_refused() {
    with_config("peft_type", Value::Null).refused(
        "error: adapter/adapter_config.json has no `peft_type`\n\
         help: it was not written by PEFT; adapters of type \"LORA\", \"IA3\" are supported",
    );
}

#[test]
fn an_option_that_is_not_supported_is_refused_with_the_reason() {
    with_config("use_qalora", json!(true)).refused(
        "error: `use_qalora` in adapter/adapter_config.json: true is not supported\n\
         help: QALoRA is not supported; plain LoRA and rsLoRA are",
    );
}

#[test]
fn an_option_that_nobody_knows_is_refused() {
    with_config("use_mora", json!(true)).refused(
        "error: `use_mora` in adapter/adapter_config.json: unknown key with the value true\n\
         help: it may change what the adapter computes; if it does not, remove it from the file",
    );
}

#[test]
fn an_unknown_start_is_refused() {
    with_config("init_lora_weights", json!("corda")).refused("error: `init_lora_weights` in adapter/adapter_config.json: \"corda\" is not supported\n\
         help: this start also changes the base: save with PEFT's `path_initial_model_for_weight_conversion`, which makes a plain adapter of it");
    with_config("init_lora_weights", json!("pissa_niter_4")).refused("error: `init_lora_weights` in adapter/adapter_config.json: \"pissa_niter_4\" is not supported\n\
         help: this start is random, so that the base it left cannot be made again: save with PEFT's `path_initial_model_for_weight_conversion`, which makes a plain adapter of it");
}

#[test]
fn an_adapter_none_of_whose_targets_the_model_has_is_refused() {
    with_config("target_modules", json!(["q_proj", "v_proj"])).refused(
        "error: adapter/adapter_config.json does not fit the model: `target_modules`: no module is named `q_proj`\n\
         help: known: word_embeddings, position_embeddings, token_type_embeddings, query, key, value, dense",
    );
}

#[test]
fn what_finds_no_module_in_a_finished_adapter_is_a_warning_and_changes_nothing() {
    let idle = [
        ("target_modules", json!(["query", "value", "v_proj"]), "`target_modules`: no module is named `v_proj`"),
        ("exclude_modules", json!(["lm_head"]), "`exclude_modules`: no module is named `lm_head`"),
        (
            "modules_to_save",
            json!(["classifier", "embed_tokens"]),
            "`modules_to_save`: no module is named `embed_tokens`",
        ),
        ("layers_to_transform", json!([0, 1, 2, 31]), "`layers_to_transform`: no target is in a layer 31"),
        ("layers_to_transform", json!([0, 1, 2, -1]), "`layers_to_transform`: no layer has the number -1"),
        ("rank_pattern", json!({ "^query": 2 }), "`rank_pattern`: `^query` matches no adapted module"),
        ("alpha_pattern", json!({ "key": 100 }), "`alpha_pattern`: `key` matches no adapted module"),
        (
            "target_parameters",
            json!(["experts.gate"]),
            "`target_parameters`: no parameter is adapted by [\"experts.gate\"]",
        ),
    ];
    let expected = Project::with_adapter().predict_with_adapter().done().stdout;
    for (key, value, said) in idle {
        let ran = with_config(key, value).done();
        assert_eq!(ran.stdout, expected, "{key}");
        let warning = format!("warning: adapter_config.json, {said}: it has no effect\n");
        assert!(ran.stderr.contains(&warning), "{key}: {}", ran.stderr);
    }
    for (key, value) in [
        ("init_lora_weights", json!("eva")),
        ("init_lora_weights", json!("orthogonal")),
        ("init_lora_weights", json!("mica")),
        ("ensure_weight_tying", json!(true)),
        ("lorap_emb_lr", json!(1e-6)),
    ] {
        assert_eq!(with_config(key, value).done().stdout, expected, "{key}");
    }
}

#[test]
fn the_first_key_in_the_order_of_the_file_decides_as_in_peft() {
    // PEFT takes the alpha of `query` here, which comes first, and with the keys the other way round that of `.*query`.
    let logits = |pattern: Value| with_config("alpha_pattern", pattern).done().lines()[0]["logits"].clone();
    assert_eq!(logits(json!({ "query": 4, ".*query": 100 })), logits(json!({ "query": 4 })));
    assert_eq!(logits(json!({ ".*query": 100, "query": 4 })), logits(json!({ "query": 100 })));
    with_config("rank_pattern", json!({ "query": 2, ".*query": 4 })).refused("error: adapter/adapter_model.safetensors: `base_model.model.bert.encoder.layer.0.attention.self.query.lora_A.weight` has rank 4, adapter_config.json says 2\n\
         help: the configuration and the tensors belong to different adapters: correct `r` or `rank_pattern`");
}

/// With the first A in another shape, or with another value in it: `inspect` and `predict` say the same.
fn refused_by_all(change: impl Fn(&mut Tensors), expected: &str) {
    let project = Project::with_adapter().tensors(WEIGHTS, change);
    project.predict_with_adapter().refused(expected);
    project.run(&["inspect", "adapter"]).refused(expected);
}

#[test]
fn factors_are_matrices_of_one_rank_before_anything_is_made_of_them() {
    let name = |factor: &str| format!("base_model.model.bert.encoder.layer.0.attention.self.query.{factor}.weight");
    let (a, b) = (name("lora_A"), name("lora_B"));
    let help = "help: the file is not as PEFT wrote it: copy the adapter again, or save it again without sharding";
    let wrong = |name: &str, shape: &[usize], expected: &str| {
        let message = format!("error: {WEIGHTS}: `{name}` has {shape:?}, expected {expected}\n{help}");
        refused_by_all(|tensors| tensors.zeros(name, shape), &message);
    };
    wrong(&a, &[192], "a matrix");
    wrong(&a, &[], "a matrix");
    wrong(&a, &[1_000_000_000, 0], "a matrix that is not empty");
    wrong(&b, &[48, 4, 1], "a matrix");
    wrong(&b, &[48, 3], &format!("[48, 4]: the rank of `{a}` is 4"));
}

#[test]
fn a_value_that_is_no_number_is_refused_with_its_tensor() {
    let name = "base_model.model.bert.encoder.layer.1.attention.self.value.lora_B.weight";
    for value in [f32::NAN, f32::INFINITY] {
        refused_by_all(
            |tensors| tensors.fill_row(name, 3, value),
            "error: adapter/adapter_model.safetensors: `base_model.model.bert.encoder.layer.1.attention.self.value.lora_B.weight` has a value that is not a finite number\n\
         help: training went wrong, or the file is damaged: copy the adapter again, or train it again",
        );
    }
}

#[test]
fn a_broken_adapter_config_is_refused_with_line_and_column() {
    Project::with_adapter().truncate(CONFIG, 100).predict_with_adapter().refused(
        "error: adapter/adapter_config.json, line 5, column 16: malformed JSON: EOF while parsing an object\n\
         help: the file is not as PEFT wrote it: copy the adapter again",
    );
}

#[test]
fn damaged_weights_are_refused() {
    Project::with_adapter().truncate(WEIGHTS, 3000).predict_with_adapter().refused("error: adapter/adapter_model.safetensors is not a valid safetensors file: the tensors of its header do not end where the file ends\n\
         help: the file is damaged or was cut short: copy it again");
}

#[test]
fn a_broken_sidecar_is_refused() {
    Project::with_adapter().file("adapter/kindling.json", "{\"format_version\": 1}").predict_with_adapter().refused(
        "error: adapter/kindling.json: missing field `kindling` at line 1 column 21\n\
         help: the file is not the one that kindling wrote: copy the adapter again",
    );
}

/// An adapter that kindling trained, with a key of its `kindling.json` changed.
fn with_sidecar(key: &str, value: Value) -> Ran {
    let project = Project::new();
    project.train(&["--quiet"]).done();
    std::fs::rename(project.path("run/adapter"), project.path("adapter")).unwrap();
    project.json("adapter/kindling.json", key, value).predict_with_adapter()
}

#[test]
fn an_adapter_of_a_newer_kindling_is_refused() {
    with_sidecar("format_version", json!(2)).refused(
        "error: adapter/kindling.json was written by a newer kindling (format 2, this version reads 1)\n\
         help: update kindling",
    );
}

#[test]
fn labels_that_do_not_fit_the_adapters_head_are_refused() {
    with_sidecar("labels", json!(["bad", "good"])).refused(
        "error: adapter/kindling.json names 2 labels, the head beside it has 3 classes\n\
         help: the two files do not belong together: copy them again, both from one place",
    );
}

#[test]
fn more_tokens_than_the_model_has_positions_for_are_refused() {
    with_sidecar("max_length", json!(512)).refused(
        "error: adapter/kindling.json: `max_length` is 512, the model has positions for 80\n\
         help: the adapter was trained on another model: give its base with --model",
    );
}

#[test]
fn merge_does_not_write_into_what_is_there() {
    let project = Project::with_adapter();
    project.run(&["merge", "--model", "bert", "--adapter", "adapter", "--output", "bert"]).refused(
        "error: bert already exists\n\
         help: name a directory that does not exist yet with --output",
    );
}
