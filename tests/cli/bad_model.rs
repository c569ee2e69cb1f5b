//! Checkpoints with a mistake in each: `config.json`, tokenizer, safetensors files that are damaged or made to harm.

use safetensors::Dtype;
use serde_json::{Value, json};

use crate::project::tensors::{Tensors, entry, with_header};
use crate::project::{Project, Ran};

const WEIGHTS: &str = "bert/model.safetensors";
const CONFIG: &str = "bert/config.json";

fn with_config(key: &str, value: Value) -> Ran {
    Project::new().json(CONFIG, key, value).train(&[])
}

fn with_weights(bytes: Vec<u8>) -> Ran {
    Project::new().file(WEIGHTS, bytes).train(&[])
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
fn variants_of_deberta_that_there_are_not_here_are_refused_by_name() {
    for (key, value, message, help) in [
        (
            "conv_kernel_size",
            json!(3),
            "`conv_kernel_size` is 3: the convolution of DeBERTa-v2 is not supported",
            "take a model without one: those of DeBERTa-v3 have none",
        ),
        (
            "relative_attention",
            json!(false),
            "`relative_attention` is not true",
            "models with relative attention are supported, as all that were published have it",
        ),
        (
            "pos_att_type",
            json!("c2p|p2p"),
            "`pos_att_type` has `p2p`, which this version does not support",
            "supported: c2p, p2c",
        ),
        (
            "pooler_hidden_size",
            json!(12),
            "`pooler_hidden_size` is 12, expected 24",
            "other widths than those of the layers are not supported",
        ),
    ] {
        let project = Project::new().copy("deberta-v3-cls/model", "deberta").json("deberta/config.json", key, value);
        let expected = format!("error: deberta/config.json: {message}\nhelp: {help}");
        project.run(&["inspect", "deberta"]).refused(&expected);
    }
}

#[test]
fn a_discriminator_of_electra_has_no_masked_language_model_head() {
    let project = Project::new().copy("electra-cls/model", "electra");
    let project = project.tensors("electra/model.safetensors", |tensors| {
        tensors.remove(|name| name.starts_with("classifier."));
        tensors.zeros("discriminator_predictions.dense.weight", &[24, 24]);
    });
    project.train(&["--set", "model.task=masked-lm", "--set", "model.path=electra"]).refused(
        "error: [DIR]/electra has no trained masked-language-model head (no generator_predictions.dense.weight, \
         generator_predictions.dense.bias, generator_predictions.LayerNorm.weight, \
         generator_predictions.LayerNorm.bias, generator_lm_head.bias)\n\
         help: start from a checkpoint that was saved with it, or train one in full with `adapter.method = \"full\"`",
    );
}

#[test]
fn the_other_masked_language_model_head_of_deberta_is_refused_by_name() {
    let project = Project::new().copy("deberta-v2-mlm/model", "deberta");
    let project = project.json("deberta/config.json", "legacy", json!(false));
    project.train(&["--set", "model.task=masked-lm", "--set", "model.path=deberta"]).refused(
        "error: [DIR]/deberta/config.json: `legacy` is false: the head `lm_predictions` is not supported\n\
         help: set `legacy` to true to train the head `cls.predictions`, which Transformers takes by default",
    );
}

#[test]
fn an_unsupported_model_type_is_named_with_those_there_are() {
    with_config("model_type", json!("xlnet")).refused(
        "error: [DIR]/bert/config.json: `model_type` is `xlnet`, which this version does not support\n\
         help: supported architectures: bert, roberta, xlm-roberta, camembert, distilbert, electra, deberta-v2, modernbert, eurobert, gpt2, llama, mistral, qwen2, qwen3, qwen3_moe, smollm3, phi3, granite, olmo2, \
         gemma2, gemma3_text",
    );
}

#[test]
fn what_modernbert_cannot_be_here_is_refused_by_name() {
    let refused = |key: &str, value: Value, expected: &str| {
        let project = Project::new().copy("modernbert-cls/model", "modernbert");
        let project = project.json("modernbert/config.json", key, value);
        project.run(&["inspect", "modernbert"]).refused(expected);
    };
    refused(
        "classifier_pooling",
        json!("max"),
        "error: modernbert/config.json: `classifier_pooling` is `max`, which this version does not support\n\
         help: supported: cls, mean",
    );
    refused(
        "layer_types",
        json!(["full_attention"]),
        "error: modernbert/config.json: `layer_types` has 1 entries for 4 layers\n\
         help: copy the model's config.json again",
    );
    refused(
        "local_attention",
        json!(0),
        "error: modernbert/config.json: `local_attention` is 0, expected 1 or more\n\
         help: the file is not the config.json of a model: download or copy it again",
    );
}

#[test]
fn a_missing_model_type_is_asked_for() {
    with_config("model_type", Value::Null).refused(
        "error: [DIR]/bert/config.json: `model_type` is missing\n\
         help: it says which architecture the model has; supported: bert, roberta, xlm-roberta, camembert, distilbert, electra, deberta-v2, modernbert, eurobert, gpt2, llama, mistral, qwen2, qwen3, qwen3_moe, smollm3, phi3, granite, olmo2, \
         gemma2, gemma3_text",
    );
}

#[test]
fn regression_is_refused_by_name() {
    with_config("problem_type", json!("regression")).refused(
        "error: [DIR]/bert/config.json: `problem_type` is `regression`\n\
         help: the task is single_label_classification: remove `problem_type` if the labels are classes",
    );
}

#[test]
fn several_labels_a_text_are_refused_by_name() {
    with_config("problem_type", json!("multi_label_classification")).refused(
        "error: [DIR]/bert/config.json: `problem_type` is `multi_label_classification`\n\
         help: the task is single_label_classification: remove `problem_type` if the labels are classes",
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
    with_config("intermediate_size", json!(9_000_000_000_000_000_000_u64)).refused("error: [DIR]/bert/model.safetensors: `bert.encoder.layer.0.intermediate.dense.weight` has [96, 48], config.json asks for [9000000000000000000, 48]\n\
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
fn a_pickled_checkpoint_is_refused_with_the_way_to_convert_it() {
    Project::new().without(WEIGHTS).file("bert/pytorch_model.bin", "PK").train(&[]).refused("error: [DIR]/bert has no safetensors checkpoint (looked for model.safetensors and model.safetensors.index.json)\n\
         help: pytorch_model.bin is a Python pickle, which can run any code when it is read, so kindling does not: load it in Python with AutoModel.from_pretrained(DIR) and save it again with model.save_pretrained(DIR)");
}

#[test]
fn a_directory_without_weights_is_refused() {
    Project::new().without(WEIGHTS).train(&[]).refused("error: [DIR]/bert has no safetensors checkpoint (looked for model.safetensors and model.safetensors.index.json)\n\
         help: a model is a directory with config.json, model.safetensors and a tokenizer, as on the Hugging Face Hub");
}

#[test]
fn an_empty_safetensors_file_is_refused() {
    with_weights(Vec::new()).refused(
        "error: [DIR]/bert/model.safetensors is not a valid safetensors file: it is empty\n\
         help: the file is damaged or was cut short: download or copy it again",
    );
}

#[test]
fn a_safetensors_file_cut_within_its_header_is_refused() {
    Project::new().truncate(WEIGHTS, 1000).train(&[]).refused(
        "error: [DIR]/bert/model.safetensors is not a valid safetensors file: it ends within its header\n\
         help: the file is damaged or was cut short: download or copy it again",
    );
}

#[test]
fn a_safetensors_file_cut_within_its_data_is_refused() {
    Project::new().truncate(WEIGHTS, 100_000).train(&[]).refused("error: [DIR]/bert/model.safetensors is not a valid safetensors file: the tensors of its header do not end where the file ends\n\
         help: the file is damaged or was cut short: download or copy it again");
}

#[test]
fn a_header_that_claims_more_than_the_file_is_refused() {
    with_weights(with_header(&json!({ "classifier.bias": entry("F32", 0, 16) }), 8)).refused("error: [DIR]/bert/model.safetensors is not a valid safetensors file: the tensors of its header do not end where the file ends\n\
         help: the file is damaged or was cut short: download or copy it again");
}

#[test]
fn overlapping_tensors_are_refused() {
    let header = json!({ "classifier.bias": entry("F32", 0, 16), "classifier.weight": entry("F32", 8, 24) });
    with_weights(with_header(&header, 24)).refused("error: [DIR]/bert/model.safetensors is not a valid safetensors file: the tensor `classifier.weight` overlaps another or leaves a gap before it\n\
         help: the file is damaged or was cut short: download or copy it again");
}

#[test]
fn a_tensor_whose_shape_does_not_fill_its_bytes_is_refused() {
    with_weights(with_header(&json!({ "classifier.bias": entry("F32", 0, 24) }), 24)).refused("error: [DIR]/bert/model.safetensors is not a valid safetensors file: the shape of a tensor is not that of its bytes\n\
         help: the file is damaged or was cut short: download or copy it again");
}

#[test]
fn a_header_of_absurd_length_is_refused() {
    with_weights([u64::MAX.to_le_bytes().as_slice(), b"{}"].concat()).refused(
        "error: [DIR]/bert/model.safetensors is not a valid safetensors file: it claims a header of more than 100 MB\n\
         help: the file is damaged or was cut short: download or copy it again",
    );
}

#[test]
fn a_safetensors_file_with_bytes_behind_its_tensors_is_refused() {
    with_weights(with_header(&json!({ "classifier.bias": entry("F32", 0, 16) }), 64)).refused("error: [DIR]/bert/model.safetensors is not a valid safetensors file: the tensors of its header do not end where the file ends\n\
         help: the file is damaged or was cut short: download or copy it again");
}

#[test]
fn weights_that_are_no_floats_are_refused() {
    let bias = "bert.pooler.dense.bias";
    Project::new().tensors(WEIGHTS, |tensors| tensors.zeros_of(Dtype::I64, bias, &[48])).train(&[]).refused(
        "error: [DIR]/bert/model.safetensors: tensor `bert.pooler.dense.bias` is I64\n\
         help: weights are read in F32, F16 and BF16",
    );
}

#[test]
fn a_tensor_of_the_wrong_shape_is_named_with_both_shapes() {
    let query = "bert.encoder.layer.1.attention.self.query.weight";
    Project::new().tensors(WEIGHTS, |tensors| tensors.zeros(query, &[48, 24])).train(&[]).refused("error: [DIR]/bert/model.safetensors: `bert.encoder.layer.1.attention.self.query.weight` has [48, 24], config.json asks for [48, 48]\n\
         help: config.json and the checkpoint do not belong together: copy both from one place");
}

#[test]
fn fewer_layers_in_the_file_than_in_the_config_are_refused_with_the_list() {
    with_config("num_hidden_layers", json!(4)).refused(
        "error: [DIR]/bert lacks 16 of the tensors its config.json asks for:\n\
         \x20\x20bert.encoder.layer.3.attention.self.query.weight\n\
         \x20\x20bert.encoder.layer.3.attention.self.query.bias\n\
         \x20\x20bert.encoder.layer.3.attention.self.key.weight\n\
         \x20\x20bert.encoder.layer.3.attention.self.key.bias\n\
         \x20\x20bert.encoder.layer.3.attention.self.value.weight\n\
         \x20\x20bert.encoder.layer.3.attention.self.value.bias\n\
         \x20\x20bert.encoder.layer.3.attention.output.dense.weight\n\
         \x20\x20bert.encoder.layer.3.attention.output.dense.bias\n\
         \x20\x20bert.encoder.layer.3.attention.output.LayerNorm.weight\n\
         \x20\x20bert.encoder.layer.3.attention.output.LayerNorm.bias\n\
         \x20\x20bert.encoder.layer.3.intermediate.dense.weight\n\
         \x20\x20bert.encoder.layer.3.intermediate.dense.bias\n\
         \x20\x20... and 4 more\n\
         help: config.json and the checkpoint do not belong together: compare `num_hidden_layers` and `model_type`",
    );
}

#[test]
fn more_layers_in_the_file_than_in_the_config_are_refused_with_the_list() {
    with_config("num_hidden_layers", json!(2)).refused(
        "error: [DIR]/bert has 16 tensors that a BertForSequenceClassification has no place for:\n\
         \x20\x20bert.encoder.layer.2.attention.output.LayerNorm.bias\n\
         \x20\x20bert.encoder.layer.2.attention.output.LayerNorm.weight\n\
         \x20\x20bert.encoder.layer.2.attention.output.dense.bias\n\
         \x20\x20bert.encoder.layer.2.attention.output.dense.weight\n\
         \x20\x20bert.encoder.layer.2.attention.self.key.bias\n\
         \x20\x20bert.encoder.layer.2.attention.self.key.weight\n\
         \x20\x20bert.encoder.layer.2.attention.self.query.bias\n\
         \x20\x20bert.encoder.layer.2.attention.self.query.weight\n\
         \x20\x20bert.encoder.layer.2.attention.self.value.bias\n\
         \x20\x20bert.encoder.layer.2.attention.self.value.weight\n\
         \x20\x20bert.encoder.layer.2.intermediate.dense.bias\n\
         \x20\x20bert.encoder.layer.2.intermediate.dense.weight\n\
         \x20\x20... and 4 more\n\
         help: config.json and the checkpoint do not belong together: compare `num_hidden_layers` and `model_type`",
    );
}

#[test]
fn a_tensor_under_another_name_is_named_with_the_one_that_is_missing() {
    let rename = |name: &str| name.replace("layer.0.attention.self.query.bias", "layer.0.attention.self.qurey.bias");
    Project::new().tensors(WEIGHTS, |tensors| tensors.rename(rename)).train(&[]).refused("error: [DIR]/bert lacks 1 of the tensors its config.json asks for:\n\
         \x20\x20bert.encoder.layer.0.attention.self.query.bias\n\
         help: it has `bert.encoder.layer.0.attention.self.qurey.bias`, which may be meant to be `bert.encoder.layer.0.attention.self.query.bias`");
}

#[test]
fn an_index_that_names_a_missing_shard_is_refused() {
    let index = json!({ "weight_map": { "classifier.bias": "model-00002-of-00002.safetensors" } });
    let project = Project::new().without(WEIGHTS);
    project.file("bert/model.safetensors.index.json", index.to_string()).train(&[]).refused("error: [DIR]/bert/model.safetensors.index.json: the shard `model-00002-of-00002.safetensors` it names is not there\n\
         help: the index and its shards do not belong together: download or copy the checkpoint again");
}

/// The checkpoint as one shard with an index that lists its tensors and these.
fn with_index(project: Project, lacking: &[&str], listed: &[(&str, &str)]) -> Project {
    const SHARD: &str = "model-00001-of-00001.safetensors";
    let mut tensors = Tensors::read(&project.path(WEIGHTS));
    let mut map: serde_json::Map<String, Value> =
        tensors.names().map(|name| (name.to_string(), json!(SHARD))).collect();
    map.extend(listed.iter().map(|(name, shard)| (name.to_string(), json!(shard))));
    if !lacking.is_empty() {
        tensors.remove(|name| lacking.contains(&name));
    }
    tensors.write(&project.path(&format!("bert/{SHARD}")));
    project.without(WEIGHTS).file("bert/model.safetensors.index.json", json!({ "weight_map": map }).to_string())
}

#[test]
fn what_an_index_lists_and_no_shard_holds_is_missed_where_it_is_needed_alone() {
    let idle =
        with_index(Project::new(), &[], &[("cls.predictions.decoder.weight", "model-00001-of-00001.safetensors")]);
    idle.train(&["--dry-run"]).done();
    for needed in ["classifier.bias", "bert.encoder.layer.1.attention.self.query.weight"] {
        let expected = format!(
            "error: [DIR]/bert/model.safetensors.index.json: the tensor `{needed}` is not in `model-00001-of-00001.safetensors`\n\
             help: the index and its shards do not belong together: download or copy the checkpoint again"
        );
        with_index(Project::new(), &[needed], &[]).train(&[]).refused(&expected);
    }
}

#[test]
fn an_index_names_no_shard_outside_of_its_directory() {
    for shard in ["../model.safetensors", "/etc/passwd", "parts/../../model.safetensors"] {
        let expected = format!(
            "error: [DIR]/bert/model.safetensors.index.json: the shard `{shard}` is outside of the model's directory\n\
             help: an index names files beside it: download or copy the checkpoint again, from where you trust it"
        );
        with_index(Project::new(), &[], &[("more", shard)]).train(&[]).refused(&expected);
    }
}

#[test]
fn a_quantised_checkpoint_is_named_so_by_every_command() {
    let project = Project::with_adapter().json(
        CONFIG,
        "quantization_config",
        json!({ "quant_method": "bitsandbytes", "load_in_4bit": true, "bnb_4bit_quant_type": "fp4" }),
    );
    let project = project.json(CONFIG, "_name_or_path", json!("google-bert/bert-base-uncased"));
    let expected = |directory: &str| {
        format!(
            "error: {directory} is quantised: config.json says so (`quantization_config`: bitsandbytes, 4 bits)\n\
         help: take the unquantised checkpoint: config.json says that it was made from google-bert/bert-base-uncased; if its weights are not quantised after all, remove `quantization_config` from config.json"
        )
    };
    project.train(&[]).refused(&expected("[DIR]/bert"));
    project.predict_with_adapter().refused(&expected("bert"));
    project.run(&["eval", "--model", "bert", "--data", "train.jsonl"]).refused(&expected("bert"));
    project.run(&["inspect", "bert"]).refused(&expected("bert"));
    project.run(&["merge", "--model", "bert", "--adapter", "adapter", "--output", "merged"]).refused(&expected("bert"));
}

#[test]
fn a_quantised_checkpoint_whose_config_does_not_say_so_is_told_by_its_tensors() {
    let query = "bert.encoder.layer.0.attention.self.query";
    let project = Project::new().tensors(WEIGHTS, |tensors| {
        tensors.remove(|name| name == format!("{query}.weight"));
        tensors.zeros_of(Dtype::I32, &format!("{query}.qweight"), &[6, 48]);
    });
    let project = project.file("bert/README.md", "---\nbase_model:\n- google-bert/bert-base-uncased\n---\n");
    project.train(&[]).refused(
        "error: [DIR]/bert is quantised: it has `bert.encoder.layer.0.attention.self.query.qweight`\n\
         help: take the unquantised checkpoint: README.md says that it was made from google-bert/bert-base-uncased",
    );
}

#[test]
fn a_gguf_file_is_no_checkpoint_to_train() {
    let directory = Project::new().file("llama/model.Q4_K_M.gguf", "GGUF");
    let expected = "error: llama/model.Q4_K_M.gguf is a GGUF file, as llama.cpp reads and mostly quantises it\n\
         help: take the unquantised checkpoint that it was made from: a directory with config.json, model.safetensors and a tokenizer";
    for model in ["llama", "llama/model.Q4_K_M.gguf"] {
        directory.run(&["inspect", &format!("./{model}")]).refused(&expected.replace("llama/", "./llama/"));
        directory
            .run(&["generate", "--model", &format!("./{model}"), "--prompt", "x"])
            .refused(&expected.replace("llama/", "./llama/"));
    }
}

#[test]
fn a_weight_that_is_no_number_is_named_where_results_are_none() {
    let project = Project::with_adapter().tensors(WEIGHTS, |tensors| {
        tensors.fill_row("bert.encoder.layer.1.output.dense.weight", 5, f32::NAN);
    });
    let expected = |directory: &str| {
        format!(
            "error: {directory}/model.safetensors: `bert.encoder.layer.1.output.dense.weight` has a value that is not a finite number\n\
         help: the weights are damaged, or training went wrong: download or copy the checkpoint again"
        )
    };
    project.run(&["predict", "--model", "bert", "x"]).refused(&expected("bert"));
    project.run(&["eval", "--model", "bert", "--data", "train.jsonl", "--json", "--quiet"]).refused(&expected("bert"));
    project.train(&["--dry-run"]).refused(&expected("[DIR]/bert"));
    let ran = project.train(&["--quiet"]);
    assert!(ran.stderr.ends_with(&format!("{}\n", expected("[DIR]/bert"))), "{}", ran.stderr);
    assert_eq!(ran.status, Some(2));
    let merge = ["merge", "--model", "bert", "--adapter", "adapter", "--output", "merged", "--quiet"];
    project.run(&merge).refused(&expected("bert"));
    assert!(!project.path("merged").exists());
}

#[test]
fn values_that_grow_too_large_are_told_from_weights_that_are_none() {
    let project = Project::new().tensors(WEIGHTS, |tensors| {
        for row in 0..3 {
            tensors.fill_row("classifier.weight", row, f32::MAX);
        }
    });
    project.run(&["predict", "--model", "bert", "x"]).failed("error: the logits are not finite numbers, though all weights are: activations overflow in the forward pass\n\
         help: the adapter may be for another base, or its training went wrong: compare with the base model's predictions");
}

#[test]
fn a_base_without_a_trained_head_predicts_nothing() {
    let project = Project::new().tensors(WEIGHTS, |tensors| tensors.remove(|name| name.starts_with("classifier.")));
    let expected = "error: bert has no trained classification head (no classifier.weight, classifier.bias)\n\
         help: give the adapter that was trained on it with --adapter, or fine-tune it first with `kindling train`";
    project.run(&["predict", "--model", "bert", "a fine film"]).refused(expected);
    project.run(&["eval", "--model", "bert", "--data", "train.jsonl"]).refused(expected);
}

#[test]
fn a_model_that_is_not_there_is_refused_with_what_a_model_is() {
    Project::new().run(&["predict", "--model", "./bert-base", "a fine film"]).refused("error: there is no directory ./bert-base\n\
         help: a model is a directory with config.json, model.safetensors and a tokenizer, or an id on the Hugging Face Hub: org/name or org/name@revision");
}

#[test]
fn a_gemma_that_attends_in_both_directions_is_refused() {
    let project = Project::new().copy("gemma3-lm/model", "gemma");
    let project = project.json("gemma/config.json", "use_bidirectional_attention", json!(true));
    project.run(&["inspect", "gemma"]).refused(
        "error: gemma/config.json: `use_bidirectional_attention` is true\n\
         help: models that attend in both directions, such as EmbeddingGemma, are not supported: choose a Gemma that is a \
         causal language model",
    );
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

#[test]
fn a_head_that_transformers_does_not_have_is_refused() {
    let project = Project::new().copy("granite-lm/model", "granite").file("train.csv", "text,label\na,b\nc,d\n");
    let project = project.file("run.toml", "[model]\npath = \"granite\"\n[data]\ntrain = \"train.csv\"\n");
    project.run(&["train", "run.toml", "--dry-run"]).refused(
        "error: [DIR]/granite/config.json: a model of type `granite` has no classification head\n\
         help: it can have a language-model head: choose another `model.task` or another model",
    );
}
