//! Full fine-tuning of the last layers by commands: trained, saved as a whole model, planned, and what is refused.

use serde_json::Value;

use crate::project::Project;
use crate::project::tensors::Tensors;

const LAST: [&str; 11] = [
    "--quiet",
    "--set",
    "adapter.method=full",
    "--set",
    "adapter.last_layers=1",
    "--set",
    "adapter.train_embeddings=false",
    "--set",
    "train.learning_rate=0.005",
    "--set",
    "train.max_steps=6",
];

fn tensors(project: &Project, model: &str) -> Tensors {
    Tensors::read(&project.path(&format!("{model}/model.safetensors")))
}

#[test]
fn a_whole_model_is_saved_of_which_the_last_layer_and_the_head_have_changed() {
    let project = Project::new();
    project.train(&LAST).done();
    let changed = tensors(&project, "bert").differing(&tensors(&project, "run/model"));
    let is_last =
        |name: &String| ["bert.encoder.layer.2.", "bert.pooler.", "classifier."].iter().any(|it| name.starts_with(it));
    assert!(changed.len() > 10 && changed.iter().all(is_last), "{changed:?}");
    // All of that but the key's bias, whose gradient is zero but for rounding.
    assert!(changed.iter().any(|name| name == "bert.encoder.layer.2.output.LayerNorm.weight"), "{changed:?}");
    assert!(project.loss("train.jsonl", &["--run", "run"]) < project.loss("train.jsonl", &["--model", "bert"]) - 0.05);
    let inspected = project.run(&["inspect", "run", "--json"]).done().document();
    assert_eq!(inspected["class"], "BertForSequenceClassification");
    project.run(&["predict", "--run", "run", "old movie"]).done();
    // The checkpoint to resume from has no frozen weights.
    let of_step: u64 = std::fs::read_dir(project.path("run/checkpoints/step-6"))
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    let size = std::fs::metadata(project.path("bert/model.safetensors")).unwrap().len();
    assert!(of_step < size, "{of_step} bytes beside a model of {size}");
}

#[test]
fn a_tied_decoder_and_one_in_half_precision_are_saved_with_the_names_of_full_fine_tuning() {
    for (case, dtype) in [("gpt2-lm", "bf16"), ("llama3-rope-tied-bf16", "auto")] {
        let project = Project::decoder(case);
        let set = format!("model.dtype={dtype}");
        project.train(&[&LAST[..], &["--set", &set]].concat()).done();
        project.train(&["--quiet", "--set", "adapter.method=full", "--set", "output_dir=all"]).done();
        let [last, all] = ["run/model", "all/model"].map(|model| tensors(&project, model));
        assert_eq!(last.names().collect::<Vec<_>>(), all.names().collect::<Vec<_>>(), "{case}");
        let (before, after) =
            (project.loss("train.jsonl", &["--model", "bert"]), project.loss("train.jsonl", &["--model", "run/model"]));
        assert!(after < before, "{case}: {before} {after}");
        let generate = ["generate", "--run", "run", "--prompt", "old", "--max-new-tokens", "4", "--temperature", "0"];
        project.run(&generate).done();
    }
}

#[test]
fn accumulation_and_gradient_checkpointing_give_the_same_steps() {
    let norms = |sets: &[&str]| {
        let project = Project::new();
        project.train(&[&LAST[..], sets].concat()).done();
        let lines = project.read("run/metrics.jsonl");
        let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter_map(|line| line["grad_norm"].as_f64()).collect::<Vec<f64>>()
    };
    let batch = norms(&["--set", "train.batch_size=8"]);
    assert_eq!(batch, norms(&["--set", "train.batch_size=8", "--set", "train.gradient_checkpointing=true"]));
    let accumulated = norms(&["--set", "train.batch_size=2", "--set", "train.grad_accumulation=4"]);
    assert_eq!(batch.len(), 6);
    let close = |(one, other): (&f64, &f64)| (one - other).abs() < 1e-3 * one;
    assert!(batch.iter().zip(&accumulated).all(close), "{batch:?} {accumulated:?}");
}

#[test]
fn the_plan_counts_what_is_trained_and_the_layers_with_a_backward_pass() {
    let plan = |sets: &[&str]| {
        let arguments = [&["train", "run.toml", "--dry-run", "--json", "--set", "adapter.method=full"], sets].concat();
        Project::new().run(&arguments).done().document()
    };
    let all = plan(&[]);
    let last = plan(&["--set", "adapter.last_layers=1", "--set", "adapter.train_embeddings=false"]);
    // As torch counts them.
    assert_eq!(last["trainable_parameters"], 21_459);
    let activations = |plan: &Value| plan["memory_bytes"]["activations"].as_f64().unwrap();
    assert!(activations(&last) < 0.6 * activations(&all), "{last} {all}");
    assert_eq!(last["memory_bytes"]["base"].as_u64().map(|bytes| bytes > 0), Some(true));
    assert_eq!(all["memory_bytes"]["base"], 0);
}

#[test]
fn what_layers_of_a_model_cannot_mean_is_refused() {
    let refused = |sets: &[&str], message: &str| {
        let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
        Project::new().config("[adapter]\nmethod = \"full\"").train(&sets).refused(message);
    };
    refused(
        &["adapter.layers=[1, 7]"],
        "error: `--set adapter.layers=[1, 7]`: the model has no layer 7, only 0 to 2\n\
         help: remove it from `adapter.layers`",
    );
    refused(
        &["adapter.last_layers=4"],
        "error: `--set adapter.last_layers=4`: the model has 3 layers, not 4\n\
         help: lower `adapter.last_layers`, or remove it to train all layers",
    );
    refused(
        &["adapter.layers=1", "adapter.last_layers=1"],
        "error: `--set adapter.last_layers=1`: layers are chosen twice\n\
         help: keep `adapter.layers` or `adapter.last_layers`, not both",
    );
    refused(
        &["adapter.last_layers=0"],
        "error: `--set adapter.last_layers=0`: found `0`, expected an integer from 1 to 4294967295\n\
         help: for example `last_layers = 2`",
    );
    refused(
        &["adapter.modules_to_save=[\"pooler\"]"],
        "error: `--set adapter.modules_to_save=[\"pooler\"]`: method `full` has no key `modules_to_save`\n\
         help: remove it, or set `adapter.method = \"lora\"`",
    );
    refused(
        &["model.weights=random", "adapter.last_layers=1"],
        "error: `--set model.weights=random`: random weights that are not trained stay random\n\
         help: train all of them: remove `layers`, `last_layers` and `train_embeddings` from [adapter]",
    );
    Project::new().config("[adapter]\nlast_layers = 1").train(&[]).refused(
        "error: `adapter.last_layers` in run.toml, line 13: method `lora` has no key `last_layers`\n\
         help: remove it, or set `adapter.method = \"full\"`",
    );
}
