//! Bottleneck adapters by commands: trained, saved in AdapterHub's files, inspected, continued, and what is refused.

use serde_json::{Value, json};

use crate::project::Project;
use crate::project::tensors::Tensors;

const ADAPTER: [&str; 7] =
    ["--quiet", "--set", "adapter.method=adapter", "--set", "train.learning_rate=0.01", "--set", "train.max_steps=6"];

fn json(project: &Project, file: &str) -> Value {
    serde_json::from_str(&project.read(file)).unwrap()
}

/// By their names in the file.
fn names(project: &Project, file: &str) -> Vec<String> {
    let mut names: Vec<String> = Tensors::read(&project.path(file)).names().map(str::to_string).collect();
    names.sort();
    names
}

#[test]
fn an_adapter_and_its_head_are_saved_in_the_files_of_adapters() {
    let project = Project::new();
    project.train(&ADAPTER).done();
    let config = json(&project, "run/adapter/adapter_config.json");
    for (key, value) in [
        ("mh_adapter", json!(false)),
        ("output_adapter", json!(true)),
        ("original_ln_before", json!(true)),
        ("non_linearity", json!("relu")),
        ("reduction_factor", json!(16)),
    ] {
        assert_eq!(config["config"][key], value, "{key}");
    }
    assert_eq!(config["model_class"], "BertForSequenceClassification");
    assert_eq!(config["model_name"], project.path("bert").display().to_string());
    assert_eq!(
        json(&project, "run/adapter/head_config.json")["label2id"],
        json!({ "LABEL_0": 0, "LABEL_1": 1, "LABEL_2": 2 })
    );
    assert_eq!(names(&project, "run/adapter/model_head.safetensors"), ["classifier.bias", "classifier.weight"]);
    let layer = "bert.encoder.layer.0.output.adapters.default";
    let own = names(&project, "run/adapter/adapter.safetensors");
    assert_eq!(own.len(), 3 * 4);
    assert_eq!(own[0], format!("{layer}.adapter_down.0.bias"));

    let found = project.run(&["inspect", "run/adapter", "--json"]).done().document();
    assert_eq!((&found["method"], &found["placement"]), (&json!("adapter"), &json!("pfeiffer")));
    assert_eq!(found["modules_to_save"], json!(["classifier"]));
    assert_eq!(found["tensors"][format!("{layer}.adapter_up.weight")], json!([48, 3]));
    let updates = found["updates"].as_array().unwrap();
    assert_eq!(updates.len(), 3);
    assert!(updates.iter().all(|update| update["singular_values"].as_array().unwrap().len() == 3), "{updates:?}");
    assert!(project.read("run/adapter/README.md").contains("base.load_adapter("));
}

#[test]
fn other_modules_are_saved_with_it_and_read_back() {
    let project = Project::new();
    let saved = ["--set", "adapter.modules_to_save=[\"pooler\"]", "--set", "adapter.placement=houlsby"];
    project.train(&[&ADAPTER[..], &saved].concat()).done();
    let expected = ["bert.pooler.dense.bias", "bert.pooler.dense.weight", "classifier.bias", "classifier.weight"];
    assert_eq!(names(&project, "run/adapter/model_head.safetensors"), expected);
    let base = project.loss("train.jsonl", &["--run", "run"]);
    assert!((base - project.loss("train.jsonl", &["--model", "bert", "--adapter", "run/adapter"])).abs() < 1e-12);
}

#[test]
fn training_goes_on_from_an_adapter_of_the_package_with_its_own_settings() {
    let project = Project::new().copy("bert-houlsby/adapter", "adapter");
    let further = ["--quiet", "--set", "adapter.init_from=adapter"];
    project.train(&further).done();
    let config = project.read("run/config.toml");
    let settings = "method = \"adapter\"\nmodules_to_save = []\nplacement = \"houlsby\"\nreduction_factor = 16.0\nnon_linearity = \"swish\"\n";
    assert!(config.contains(settings), "{config}");
    assert_ne!(
        Tensors::read(&project.path("adapter/adapter.safetensors"))
            .bytes("bert.encoder.layer.0.output.adapters.default.adapter_up.bias"),
        Tensors::read(&project.path("run/adapter/adapter.safetensors"))
            .bytes("bert.encoder.layer.0.output.adapters.default.adapter_up.bias"),
    );
    project.train(&[&further[..], &["--overwrite", "--set", "adapter.method=adapter", "--set", "adapter.placement=pfeiffer"]].concat()).refused(
        "error: `--set adapter.placement=pfeiffer` is \"pfeiffer\", the adapter that `adapter.init_from` names has \"houlsby\"\n\
         help: remove the key: the adapter's own settings are used",
    );
}

#[test]
fn a_decoder_with_bottlenecks_learns_writes_and_answers() {
    let project = Project::decoder("gpt2-lm");
    let sets = ["--set", "adapter.reduction_factor=2", "--set", "train.gradient_checkpointing=true"];
    project.train(&[&ADAPTER[..], &sets].concat()).done();
    let base = project.loss("train.jsonl", &["--model", "bert"]);
    let trained = project.loss("train.jsonl", &["--run", "run"]);
    assert!(trained < base - 0.05, "{base} {trained}");
    // Every layer has its adapter, the lowest too, below which nothing else is trained.
    let lowest = "transformer.h.0.output_adapters.adapters.default.adapter_up.bias";
    let moved = Tensors::read(&project.path("run/adapter/adapter.safetensors")).bytes(lowest).iter().any(|it| *it != 0);
    assert!(moved, "{lowest} starts at zero");
    assert!(!project.path("run/adapter/model_head.safetensors").exists(), "nothing else is trained");
    let generate = ["generate", "--run", "run", "--prompt", "old", "--max-new-tokens", "4", "--temperature", "0"];
    assert_eq!(project.run(&generate).done().lines()[0]["token_ids"].as_array().unwrap().len(), 4);
}

#[test]
fn accumulated_examples_move_bottlenecks_as_a_batch_does() {
    let norms = |sets: &[&str]| {
        let project = Project::new();
        project.train(&[&ADAPTER[..], &["--set", "adapter.placement=houlsby"], sets].concat()).done();
        let lines = project.read("run/metrics.jsonl");
        let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter_map(|line| line["grad_norm"].as_f64()).collect::<Vec<f64>>()
    };
    let (batch, accumulated) = (
        norms(&["--set", "train.batch_size=8"]),
        norms(&["--set", "train.batch_size=2", "--set", "train.grad_accumulation=4"]),
    );
    assert_eq!(batch.len(), 6);
    let close = |(one, other): (&f64, &f64)| (one - other).abs() < 1e-3 * one;
    assert!(batch.iter().zip(&accumulated).all(close), "{batch:?} {accumulated:?}");
}

#[test]
fn bottlenecks_are_compared_with_other_methods() {
    let project = Project::new()
        .replace("run.toml", "train = \"train.jsonl\"\n", "train = \"train.jsonl\"\nvalid = \"train.jsonl\"\n")
        .config("[adapter]\nreduction_factor = 8\nr = 4");
    let compared = project.run(&["compare", "run.toml", "--methods", "full,lora,adapter", "--json", "--quiet"]).done();
    let runs = compared.document()["runs"].as_array().unwrap().clone();
    let names: Vec<&str> = runs.iter().map(|run| run["candidate"].as_str().unwrap()).collect();
    assert_eq!(names, ["full", "lora", "adapter"]);
    let of_adapter = "run-comparison/adapter/seed-42";
    let size = |file: &str| std::fs::metadata(project.path(&format!("{of_adapter}/adapter/{file}"))).unwrap().len();
    let expected = size("adapter.safetensors") + size("model_head.safetensors");
    assert_eq!(runs[2]["size_bytes"].as_u64(), Some(expected));
    // Three layers of a width of 48, with a bottleneck of 6, and a head of three labels.
    let (width, inner) = (48, 6);
    let parameters = 3 * (2 * width * inner + inner + width) + 3 * width + 3;
    assert_eq!(runs[2]["trainable_parameters"].as_u64(), Some(parameters));
    assert!(project.read(&format!("{of_adapter}/config.toml")).contains("reduction_factor = 8.0\n"));
}

#[test]
fn merging_and_exporting_are_refused_before_anything_is_written() {
    let project = Project::new();
    project.train(&ADAPTER).done();
    project.run(&["merge", "--run", "run", "--output", "merged"]).refused(
        "error: run/adapter cannot be merged: a bottleneck adapter is a network with an activation function of its own, which no weight of the base can take in\n\
         help: use it beside its base, with --adapter",
    );
    assert!(!project.path("merged").exists());
    for format in [&["--format", "gguf"][..], &["--format", "gguf", "--adapter-only"], &["--format", "mlx"]] {
        project.run(&[&["export", "--run", "run", "-o", "exported"], format].concat()).refused(
            "error: run/adapter cannot be exported: a bottleneck adapter is a network with an activation function of its own, which no weight of the base can take in\n\
             help: use it beside its base, with --adapter",
        );
        assert!(!project.path("exported").exists(), "{format:?}");
    }
}

#[test]
fn a_pickle_is_not_read() {
    let project = Project::new();
    project.train(&ADAPTER).done();
    project.without("run/adapter/adapter.safetensors").file("run/adapter/pytorch_adapter.bin", "PK")
        .run(&["eval", "--adapter", "run/adapter", "--model", "bert", "--data", "train.jsonl"]).refused(
        "error: run/adapter has no `adapter.safetensors`\n\
         help: pytorch_adapter.bin is a Python pickle, which can run any code when it is read, so kindling does not: load it in Python with model.load_adapter(DIR) and save it again with model.save_adapter(DIR, NAME, use_safetensors=True)",
    );
}

#[test]
fn what_bottleneck_adapters_cannot_mean_is_refused() {
    let refused = |set: &str, message: &str| {
        Project::new().config("[adapter]\nmethod = \"adapter\"").train(&["--set", set]).refused(message);
    };
    refused(
        "adapter.reduction_factor=64",
        "error: `--set adapter.reduction_factor=64`: 64 leaves nothing of a width of 48\n\
         help: lower `adapter.reduction_factor`: the bottleneck is so many times narrower than the model",
    );
    refused(
        "adapter.non_linearity=rellu",
        "error: `--set adapter.non_linearity=rellu`: unknown non_linearity `rellu`\n\
         help: did you mean `relu`? (gelu, gelu_python, gelu_new, gelu_fast, gelu_pytorch_tanh, gelu_python_tanh, gelu_accurate, quick_gelu, relu, relu2, silu, swish, tanh)",
    );
    refused(
        "adapter.placement=pfeifer",
        "error: `--set adapter.placement=pfeifer`: unknown placement `pfeifer`\nhelp: did you mean `pfeiffer`? (pfeiffer, houlsby)",
    );
    refused(
        "adapter.r=8",
        "error: `--set adapter.r=8`: method `adapter` has no key `r`\nhelp: remove it, or set `adapter.method = \"lora\"`",
    );
    refused(
        "adapter.modules_to_save=[\"poolr\"]",
        "error: `--set adapter.modules_to_save=[\"poolr\"]`: no module is named `poolr`\nhelp: did you mean `pooler`?",
    );
    Project::decoder("qwen3-lm").train(&ADAPTER).refused(
        "error: `--set adapter.method=adapter`: bottleneck adapters are not supported on models of type `qwen3`\n\
         help: they are on bert, roberta, xlm-roberta, electra, deberta-v2, distilbert, gpt2, llama, mistral; set `adapter.method` to \"lora\", which is on every model",
    );
}
