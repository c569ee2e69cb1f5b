//! `kindling merge`: what of its base a merged checkpoint keeps, several adapters in order, and what is refused or given up.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::DType;
use safetensors::{Dtype, SafeTensors};
use serde_json::{Value, json};

use crate::project::Project;
use crate::project::tensors::Tensors;

const WEIGHTS: &str = "adapter/adapter_model.safetensors";
const CONFIG: &str = "output_dir = \"run\"\n[model]\npath = \"base\"\ntask = \"causal-lm\"\n[data]\ntrain = \"rows.jsonl\"\n[train]\n\
                      max_steps = 2\nlearning_rate = 1e-2\n";

/// A decoder in `base/`, PEFT's adapter for it, and a configuration to train another.
fn decoder(case: &str) -> Project {
    Project::new()
        .copy(&format!("{case}/model"), "base")
        .copy(&format!("{case}/adapter"), "adapter")
        .copy(&format!("{case}/data.jsonl"), "rows.jsonl")
        .file("run.toml", CONFIG)
}

fn merge(project: &Project, arguments: &[&str]) -> crate::project::Ran {
    project.run(&[&["merge", "--model", "base"], arguments].concat())
}

fn json_of(project: &Project, name: &str) -> Value {
    serde_json::from_str(&project.read(name)).unwrap()
}

/// The header of a safetensors file: its metadata, and its tensors' names and types in their order.
fn header(file: &Path) -> (BTreeMap<String, String>, Vec<(String, Dtype)>) {
    let bytes = std::fs::read(file).unwrap();
    let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
    let mut tensors: Vec<_> = metadata.tensors().into_iter().collect();
    tensors.sort_by_key(|(_, info)| info.data_offsets);
    let of_file = metadata.metadata().clone().unwrap_or_default().into_iter().collect();
    (of_file, tensors.into_iter().map(|(name, info)| (name, info.dtype)).collect())
}

/// Adds to the metadata of a safetensors file.
fn add_metadata(file: &Path, key: &str, value: &str) {
    let bytes = std::fs::read(file).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    header["__metadata__"][key] = json!(value);
    let mut header = header.to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    let parts = [&(header.len() as u64).to_le_bytes()[..], &header, &bytes[8 + length..]];
    std::fs::write(file, parts.concat()).unwrap();
}

/// No file of a merge that came to nothing is left.
#[track_caller]
fn nothing_is_left(project: &Project) {
    let names = project.names(".");
    assert!(!names.iter().any(|name| name.contains("merged") || name.contains(".kindling")), "{names:?}");
}

#[test]
fn files_order_types_and_metadata_are_those_of_the_base() {
    let project = decoder("qwen2-lm-sharded");
    let shard =
        |directory: &str, number: usize| project.path(&format!("{directory}/model-{number:05}-of-00003.safetensors"));
    add_metadata(&shard("base", 2), "made_by", "a test");
    // A norm is kept wider than the others, and the shard begins with it.
    let mut tensors = Tensors::read(&shard("base", 3));
    tensors.round(DType::BF16);
    tensors.zeros("model.norm.weight", &[tensors_width(&tensors)]);
    tensors.write(&shard("base", 3));
    merge(&project, &["--adapter", "adapter", "--output", "merged"]).done();
    assert_eq!(
        json_of(&project, "merged/model.safetensors.index.json")["weight_map"],
        json_of(&project, "base/model.safetensors.index.json")["weight_map"]
    );
    for number in 1..=3 {
        let ((metadata, tensors), (of_base, expected)) =
            (header(&shard("merged", number)), header(&shard("base", number)));
        assert_eq!(tensors, expected, "{number}");
        if number != 3 {
            assert_eq!(metadata, of_base, "{number}");
        }
    }
    let (metadata, _) = header(&shard("merged", 2));
    assert_eq!(metadata["made_by"], "a test");
    // What has no metadata gets what Transformers asks for.
    assert_eq!(header(&shard("merged", 3)).0["format"], "pt");
    for name in ["config.json", "generation_config.json", "chat_template.jinja", "tokenizer.json"] {
        assert!(project.path(&format!("merged/{name}")).is_file(), "{name}");
    }
}

fn tensors_width(tensors: &Tensors) -> usize {
    tensors.bytes("model.norm.weight").len() / 2
}

#[test]
fn other_shards_are_made_where_they_are_asked_for() {
    let project = decoder("qwen2-lm-sharded");
    merge(&project, &["--adapter", "adapter", "--output", "merged", "--max-shard-size", "1MB"]).done();
    assert!(project.path("merged/model.safetensors").is_file());
    assert!(!project.path("merged/model.safetensors.index.json").exists());
    merge(&project, &["--adapter", "adapter", "--output", "small", "--max-shard-size", "30KB"]).done();
    let index = json_of(&project, "small/model.safetensors.index.json");
    let of_base = json_of(&project, "base/model.safetensors.index.json");
    assert_eq!(index["metadata"], of_base["metadata"]);
    let names = |index: &Value| index["weight_map"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&index), names(&of_base));
    let shards: std::collections::BTreeSet<&str> =
        index["weight_map"].as_object().unwrap().values().map(|shard| shard.as_str().unwrap()).collect();
    assert!(shards.len() > 3, "{shards:?}");
}

/// With the adapter `run/adapter`, trained on the same base, beside PEFT's.
fn two_adapters(case: &str) -> Project {
    let targets = "[adapter]\ntarget_modules = [\"o_proj\", \"down_proj\"]\n[data]";
    let project = decoder(case).replace("run.toml", "[data]", targets);
    project.train(&["--quiet"]).done();
    project
}

#[test]
fn several_adapters_are_merged_in_their_order_and_rounded_once() {
    let project = two_adapters("llama-lm");
    let both = ["--adapter", "adapter", "--adapter", "run"];
    let ran = merge(&project, &[&both[..], &["--output", "both", "--json"]].concat()).done();
    assert!(ran.document()["relative_difference"].as_f64().unwrap() < 1e-3, "{}", ran.stdout);
    // In f32, as this base is, one after the other comes to the same.
    merge(&project, &["--adapter", "adapter", "--output", "one"]).done();
    project
        .run(&["merge", "--model", "one", "--adapter", "run", "--output", "two", "--allow-other-base", "--quiet"])
        .done();
    let [both, two] = ["both", "two"].map(|it| Tensors::read(&project.path(&format!("{it}/model.safetensors"))));
    assert_eq!((both.differing(&two), two.differing(&both)), (vec![], vec![]));
    nothing_is_left(&project);
    assert!(!project.names("both").iter().any(|name| name.starts_with("merged")), "{:?}", project.names("both"));
    // Of what was made in f32 each value is rounded once.
    let mut rounded = both;
    rounded.round(DType::BF16);
    let arguments = ["--adapter", "adapter", "--adapter", "run", "--dtype", "bf16", "--output", "half"];
    merge(&project, &arguments).done();
    let half = Tensors::read(&project.path("half/model.safetensors"));
    assert_eq!((half.differing(&rounded), rounded.differing(&half)), (vec![], vec![]));
    assert_eq!(json_of(&project, "half/config.json")["dtype"], "bfloat16");
}

#[test]
fn several_adapters_leave_a_base_in_half_precision_in_its_type_and_may_untie_it() {
    let project = decoder("llama3-rope-tied-bf16").replace(
        "run.toml",
        "[data]",
        "[adapter]\ntarget_modules = [\"lm_head\"]\n[data]",
    );
    project.train(&["--quiet"]).done();
    let arguments = ["--adapter", "run", "--adapter", "adapter", "--output", "merged", "--tolerance", "2"];
    let ran = merge(&project, &arguments).done();
    let said = "the output layer is no longer tied to the word embeddings: the adapter changes one of them\n";
    assert_eq!(ran.stderr.matches(said).count(), 1, "{}", ran.stderr);
    let config = json_of(&project, "merged/config.json");
    assert_eq!(config["tie_word_embeddings"], json!(false));
    let (_, tensors) = header(&project.path("merged/model.safetensors"));
    assert!(tensors.iter().all(|(_, dtype)| *dtype == Dtype::BF16), "{tensors:?}");
    let [base, merged] = ["base", "merged"].map(|it| Tensors::read(&project.path(&format!("{it}/model.safetensors"))));
    assert_eq!(merged.bytes("model.embed_tokens.weight"), base.bytes("model.embed_tokens.weight"));
    assert_ne!(merged.bytes("lm_head.weight"), base.bytes("model.embed_tokens.weight"));
    // What has become of the output layer is a part of the difference, though the base has it under another name.
    let extract = ["extract", "--base", "base", "--tuned", "merged", "--rank", "4", "-o", "extracted", "--json"];
    let document = project.run(&extract).done().document();
    let left_out = document["left_out"].as_array().unwrap();
    assert!(left_out.iter().any(|it| it["tensor"] == "lm_head.weight"), "{document}");
}

#[test]
fn adapters_with_different_heads_are_not_merged_into_one_model() {
    let project = Project::with_adapter()
        .copy("bert-cls/adapter", "second")
        .tensors("second/adapter_model.safetensors", |tensors| {
            tensors.add_to_first("base_model.model.classifier.bias", 1.0)
        });
    project
        .run(&["merge", "--model", "bert", "--adapter", "adapter", "--adapter", "second", "--output", "merged"])
        .refused(
            "error: both adapter and second have a `classifier.bias` in the place of the base's, each another one\n\
             help: merge the one whose tensor is not wanted alone, and the other into the result",
        );
    nothing_is_left(&project);
    let project = Project::with_adapter().copy("bert-tokcls/adapter", "second");
    project
        .run(&["merge", "--model", "bert", "--adapter", "adapter", "--adapter", "second", "--output", "merged"])
        .refused(
            "error: adapter was trained for sequence-classification, and second for token-classification\n\
             help: a merged model has one head: merge one of them alone, and the other into the result",
        );
}

#[test]
fn a_base_with_other_weights_is_refused_unless_it_is_meant() {
    let project = decoder("llama-lm");
    project.train(&["--quiet"]).done();
    let project = project.tensors("base/model.safetensors", |tensors| tensors.add_to_first("model.norm.weight", 0.5));
    let arguments = ["merge", "--run", "run", "--output", "merged"];
    project.run(&arguments).refused(
        "error: the weights of [DIR]/base have changed since the adapter run/adapter was trained\n\
         help: give the model that it was trained on with --model, or merge all the same with --allow-other-base",
    );
    merge(&project, &["--adapter", "adapter", "--adapter", "run", "--output", "merged"]).refused(
        "error: the adapter run/adapter was trained on other weights ([DIR]/base) than those of base\n\
         help: if it was trained on the others merged, merge those alone and this one into the result; or merge all the same with \
         --allow-other-base",
    );
    nothing_is_left(&project);
    let ran = project.run(&[&arguments[..], &["--allow-other-base"]].concat()).done();
    let warning = "warning: the weights of [DIR]/base have changed since the adapter run/adapter was trained\n";
    assert!(ran.stderr.contains(warning), "{}", ran.stderr);
}

#[test]
fn an_adapter_with_a_value_that_is_no_number_is_refused() {
    let name = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight";
    let project = decoder("llama-lm").tensors(WEIGHTS, |tensors| tensors.fill(name, f32::NAN));
    merge(&project, &["--adapter", "adapter", "--output", "merged"]).refused(&format!(
        "error: {WEIGHTS}: `{name}` has a value that is not a finite number\n\
         help: training went wrong, or the file is damaged: copy the adapter again, or train it again"
    ));
    nothing_is_left(&project);
}

#[test]
fn a_base_of_other_shapes_or_with_other_modules_is_refused() {
    let arguments = ["--adapter", "adapter", "--output", "merged"];
    let project = decoder("llama-lm").copy("qwen3-lm/model", "base");
    merge(&project, &arguments).refused(
        "error: adapter/adapter_model.safetensors: `base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight` has [32, 4], \
         the model asks for [64, 4]\n\
         help: the adapter was made for another model, or for another number of labels or tokens",
    );
    nothing_is_left(&project);
    let project = decoder("llama-lm").copy("gpt2-lm/model", "base");
    merge(&project, &arguments).refused(
        "error: adapter/adapter_config.json does not fit the model: `target_modules`: no module is named `v_proj`\n\
         help: did you mean `c_proj`?",
    );
    nothing_is_left(&project);
}

#[test]
fn a_value_beyond_the_range_of_the_type_is_refused() {
    let project = decoder("llama-lm")
        .tensors("base/model.safetensors", |tensors| tensors.add_to_first("model.layers.1.mlp.up_proj.weight", 7e4));
    merge(&project, &["--adapter", "adapter", "--output", "merged", "--dtype", "f16", "--quiet"]).refused(
        "error: `model.layers.1.mlp.up_proj.weight` of the merged checkpoint does not fit F16: a value is beyond its range\n\
         help: `--dtype bf16` or `--dtype f32` has the range",
    );
    nothing_is_left(&project);
}

#[test]
fn a_merge_that_loses_too_much_of_the_adapter_is_given_up() {
    let project = decoder("llama-lm");
    let lossy = ["--adapter", "adapter", "--output", "merged", "--dtype", "bf16", "--quiet"];
    let ran = merge(&project, &[&lossy[..], &["--tolerance", "0.0001"]].concat());
    let message = ran.stderr.replace(|c: char| c.is_ascii_digit(), "#");
    assert_eq!(
        message,
        "error: rounding the merged weights changes a logit by #.## of the adapter's effect, and #.#### are allowed \
         (`--tolerance`): nothing was kept\n\
         help: `--dtype f##` keeps the adapter's effect\n"
    );
    assert_eq!(ran.status, Some(1));
    nothing_is_left(&project);
    merge(&project, &[&lossy[..], &["--tolerance", "1"]].concat()).done();
    let exact = ["--adapter", "adapter", "--output", "exact", "--tolerance", "0.0001", "--json"];
    assert_eq!(merge(&project, &exact).done().document()["tolerance"], json!(0.0001));
}

#[test]
fn a_quantised_base_is_refused() {
    let settings = json!({ "quant_method": "gptq", "bits": 4, "group_size": 128 });
    let project = decoder("llama-lm").json("base/config.json", "quantization_config", settings);
    let ran = merge(&project, &["--adapter", "adapter", "--output", "merged"]);
    assert!(ran.stderr.starts_with("error: base is quantised: "), "{}", ran.stderr);
    assert!(ran.stderr.contains("\nhelp: take the unquantised checkpoint that it was made from"), "{}", ran.stderr);
    assert_eq!(ran.status, Some(2));
    nothing_is_left(&project);
}

#[cfg(unix)]
#[test]
fn a_disk_that_takes_no_more_leaves_nothing_behind_and_everything_as_it_was() {
    let project = decoder("llama-lm").file("kept/merged.txt", "of another program");
    let before = std::fs::read(project.path("base/model.safetensors")).unwrap();
    let arguments = ["merge", "--model", "base", "--adapter", "adapter", "--output", "kept/merged", "--quiet"];
    project.run_short_of_space(40, &arguments).failed(
        "error: cannot write kept/merged/model.safetensors: File too large (os error 27)\n\
         help: free space or make the place writable; nothing that existed was touched",
    );
    assert_eq!(project.names("kept"), ["merged.txt"]);
    assert_eq!(project.read("kept/merged.txt"), "of another program");
    assert_eq!(std::fs::read(project.path("base/model.safetensors")).unwrap(), before);
}
