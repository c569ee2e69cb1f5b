//! Checkpoints whose weights are damaged, made to harm, quantised, or not those of their `config.json`.

use safetensors::Dtype;
use serde_json::{Value, json};

use super::bad_model::{CONFIG, with_config};
use crate::project::tensors::{Tensors, entry, with_header};
use crate::project::{Project, Ran};

const WEIGHTS: &str = "bert/model.safetensors";

fn with_weights(bytes: Vec<u8>) -> Ran {
    Project::new().file(WEIGHTS, bytes).train(&[])
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

/// It would be waited for until somebody writes into it.
#[cfg(unix)]
#[test]
fn a_fifo_in_the_place_of_a_file_of_the_model_is_refused() {
    for file in [WEIGHTS, CONFIG] {
        let project = Project::new().without(file);
        assert!(std::process::Command::new("mkfifo").arg(project.path(file)).status().unwrap().success());
        project.train(&[]).refused(&format!("error: cannot read [DIR]/{file}: it is not a regular file"));
    }
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
            "error: {directory} is quantised: config.json says so (`quantization_config`: bitsandbytes, fp4)\n\
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
    for arguments in [&["--quiet"][..], &["--quiet", "--find-lr"]] {
        let ran = project.train(arguments);
        assert!(ran.stderr.ends_with(&format!("{}\n", expected("[DIR]/bert"))), "{}", ran.stderr);
        assert_eq!(ran.status, Some(2));
    }
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
