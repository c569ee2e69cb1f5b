//! Adapters that start as a part of the base: what a run saves, of whatever modules, and what is refused.

use serde_json::{Value, json};

use crate::project::Project;
use crate::project::tensors::Tensors;

const WEIGHTS: &str = "run/adapter/adapter_model.safetensors";
const INITS: [&str; 3] = ["pissa", "pissa_niter_4", "olora"];

fn peft(project: &Project) -> Value {
    serde_json::from_str(&project.read("run/adapter/adapter_config.json")).unwrap()
}

fn with(keys: &str) -> Project {
    Project::new().config(&format!("[adapter]\n{keys}"))
}

#[test]
fn what_is_saved_is_a_plain_adapter_of_twice_the_rank_with_heads_and_biases() {
    for init in INITS {
        let keys = "r = 3\nalpha = 6\nbias = \"all\"\nmodules_to_save = [\"pooler\"]\ntarget_modules = [\"query\", \"output.dense\"]";
        let project = with(&format!("init = \"{init}\"\n{keys}\nrank_pattern = {{ query = 2 }}\n"));
        let base = std::fs::read(project.path("bert/model.safetensors")).unwrap();
        project.train(&["--set", "data.valid_fraction=0.25"]).done();
        assert_eq!(std::fs::read(project.path("bert/model.safetensors")).unwrap(), base, "the base is as it was");
        let config = peft(&project);
        let found = ["init_lora_weights", "r", "lora_alpha", "rank_pattern", "modules_to_save", "bias"];
        let expected = json!([true, 6, 12, { "query": 4 }, ["classifier", "pooler", "score"], "all"]);
        assert_eq!(json!(found.map(|key| config[key].clone())), expected, "{init}");
        let tensors = project.run(&["inspect", "run/adapter", "--json"]).done().document()["tensors"].clone();
        let layer = "bert.encoder.layer.0";
        for (name, shape) in [
            ("attention.self.query.lora_A.weight", json!([4, 48])),
            ("attention.self.query.lora_B.weight", json!([48, 4])),
            ("output.dense.lora_A.weight", json!([6, 96])),
            ("output.dense.lora_B.weight", json!([48, 6])),
            ("attention.self.query.base_layer.bias", json!([48])),
            ("attention.self.key.bias", json!([48])),
        ] {
            assert_eq!(tensors[format!("{layer}.{name}")], shape, "{init} {name}");
        }
        assert_eq!(tensors["classifier.weight"], json!([3, 48]));
        assert_eq!(tensors["bert.pooler.dense.weight"], json!([48, 48]));
        assert!(project.read("run/config.toml").contains(&format!("init = \"{init}\"\n")));
    }
}

#[test]
fn the_scaling_of_rslora_stays() {
    let project = with("init = \"pissa\"\nr = 2\nalpha = 8\nuse_rslora = true\nalpha_pattern = { query = 4 }\n");
    project.train(&[]).done();
    let config = peft(&project);
    let (alpha, query) = (config["lora_alpha"].as_f64().unwrap(), config["alpha_pattern"]["query"].as_f64().unwrap());
    assert_eq!(config["r"], 4);
    assert!((alpha / 2.0 - 8.0 / 2_f64.sqrt()).abs() < 1e-12 && (query / 2.0 - 4.0 / 2_f64.sqrt()).abs() < 1e-12);
}

#[test]
fn a_tied_output_layer_an_embedding_conv1d_and_experts_start_so_too() {
    for (case, targets) in [
        ("qwen3-lm", "[\"lm_head\", \"q_proj\"]"),
        ("llama-yarn-embeddings", "[\"embed_tokens\", \"lm_head\"]"),
        ("gpt2-lm", "\"all-linear\""),
        ("qwen3-moe-lm", r"'.*(q_proj|experts\.\d+\.(gate|up|down)_proj)'"),
    ] {
        for init in INITS {
            let project = Project::decoder(case)
                .config(&format!("[adapter]\ninit = \"{init}\"\nr = 4\ndropout = 0.0\ntarget_modules = {targets}"));
            // The run itself compares what it has saved.
            project.train(&[]).done();
            project.run(&["merge", "--run", "run", "--output", "merged"]).done();
            let loss = |of: [&str; 2]| project.loss("train.jsonl", &of);
            let (ours, merged) = (loss(["--run", "run"]), loss(["--model", "merged"]));
            assert!((ours - merged).abs() < 1e-4, "{case} {init}: {ours} {merged}");
        }
    }
}

#[test]
fn a_base_in_half_precision_keeps_its_type() {
    for dtype in ["bf16", "f16"] {
        let project = with("init = \"pissa\"\nr = 4\n");
        project.train(&["--set", &format!("model.dtype={dtype}")]).done();
        let ran = project.run(&["eval", "--json", "--run", "run", "--data", "train.jsonl"]).done();
        assert!(ran.document()["loss"].as_f64().unwrap().is_finite());
    }
}

#[test]
fn a_rank_above_the_smaller_side_is_refused_before_anything_is_written() {
    let project = with("init = \"pissa\"\nr = 49\n");
    project.train(&[]).refused(
        "error: `adapter.r` in run.toml, line 14: 49 is above the smaller side of `bert.encoder.layer.0.attention.self.query`, which is [48, 48], and `init = \"pissa\"` takes its parts from it\n\
         help: lower it to 48 or less, or give this module a rank of its own in `adapter.rank_pattern`",
    );
    assert!(!project.path("run").exists());
    with("init = \"olora\"\nrank_pattern = { \"pooler.dense\" = 64 }\n").train(&[]).refused(
        "error: `adapter.rank_pattern` in run.toml, line 14: 64 is above the smaller side of `bert.pooler.dense`, which is [48, 48], and `init = \"olora\"` takes its parts from it\n\
         help: lower it to 48 or less, or give this module a rank of its own in `adapter.rank_pattern`",
    );
}

#[test]
fn a_weight_with_values_that_are_no_numbers_is_named() {
    let tensor = "bert.encoder.layer.1.attention.self.value.weight";
    for value in [f32::NAN, f32::INFINITY] {
        for init in INITS {
            let project = with(&format!("init = \"{init}\"\nr = 4\n"))
                .tensors("bert/model.safetensors", |tensors| tensors.fill(tensor, value));
            project.train(&["--quiet"]).refused(&format!(
                "error: [DIR]/bert/model.safetensors: `{tensor}` has a value that is not a finite number\n\
                 help: the weights are damaged, or training went wrong: download or copy the checkpoint again"
            ));
        }
    }
}

#[test]
fn an_adapter_to_start_from_brings_its_own_a_and_b() {
    let project = Project::with_adapter().config("[adapter]\ninit_from = \"adapter\"\ninit = \"pissa\"");
    project.train(&[]).refused(
        "error: `adapter.init` in run.toml, line 14 is \"pissa\", the adapter that `adapter.init_from` names has \"default\"\n\
         help: remove the key: the adapter's own settings are used",
    );
}

#[test]
fn an_initialisation_that_does_not_exist_is_refused_with_the_nearest() {
    let refused = |init: &str, help: &str| {
        let message = format!("error: `adapter.init` in run.toml, line 13: unknown init `{init}`\nhelp: {help}");
        with(&format!("init = \"{init}\"")).train(&[]).refused(&message);
    };
    refused("pisa", "did you mean `pissa`? (default, gaussian, pissa, pissa_niter_N, olora)");
    for out_of_range in ["pissa_niter_0", "pissa_niter_101", "pissa_niter_4294967295"] {
        refused(out_of_range, "the N of `pissa_niter_N` is an integer from 1 to 100");
    }
}

#[test]
fn a_run_may_be_repeated_by_its_own_configuration_to_the_bit() {
    let project = with("init_lora_weights = \"pissa_niter_2\"\nr = 4\n");
    project.train(&[]).done();
    let first = Tensors::read(&project.path(WEIGHTS));
    project.run(&["train", "run/config.toml", "--set", "output_dir=again"]).done();
    let again = Tensors::read(&project.path("again/adapter/adapter_model.safetensors"));
    assert_eq!(first.differing(&again), Vec::<String>::new());
}
