//! Mixtures of experts: trained in every way, merged, read joined and apart; and adapters that PEFT could not read.

use serde_json::{Value, json};

use crate::project::Project;
use crate::project::tensors::Tensors;

/// Layers 0 and 1 of `qwen3-moe-experts-lm` have experts, of `qwen3-moe-lm` layer 0 alone.
fn project(case: &str, adapter: &str) -> Project {
    let config = format!(
        "output_dir = \"run\"\n[model]\npath = \"base\"\ntask = \"causal-lm\"\n[adapter]\n{adapter}[data]\ntrain = \
         \"rows.jsonl\"\n[train]\nmax_steps = 4\nbatch_size = 4\nlearning_rate = 1e-2\n"
    );
    Project::new()
        .copy(&format!("{case}/model"), "base")
        .copy(&format!("{case}/data.jsonl"), "rows.jsonl")
        .file("run.toml", config)
}

fn on(targets: &[&str]) -> String {
    format!("dropout = 0.0\ntarget_modules = {targets:?}\n")
}

#[test]
fn adapters_on_experts_and_router_are_trained_and_merged_and_are_one_by_one() {
    let project = project("qwen3-moe-experts-lm", &on(&["q_proj", "gate", "gate_proj", "up_proj", "down_proj"]));
    project.train(&[]).done();
    let adapter = Tensors::read(&project.path("run/adapter/adapter_model.safetensors"));
    for name in ["mlp.experts.3.up_proj.lora_B.weight", "mlp.gate.lora_A.weight", "self_attn.q_proj.lora_A.weight"] {
        let name = format!("base_model.model.model.layers.1.{name}");
        assert!(adapter.names().any(|there| there == name), "{name}");
    }
    let (base, adapted) = (
        project.loss("rows.jsonl", &["--model", "base"]),
        project.loss("rows.jsonl", &["--model", "base", "--adapter", "run/adapter"]),
    );
    assert!(adapted < base - 0.1, "{adapted} {base}");
    project.run(&["merge", "--model", "base", "--adapter", "run/adapter", "--output", "merged"]).done();
    let merged = project.loss("rows.jsonl", &["--model", "merged"]);
    assert!((merged - adapted).abs() < 1e-5, "{merged} {adapted}");
}

#[test]
fn with_gradient_checkpointing_an_adapter_on_experts_has_the_same_bits() {
    let adapter = |more: &[&str]| {
        let project = project("qwen3-moe-experts-lm", &on(&["gate", "gate_proj", "up_proj", "down_proj"]));
        project.train(more).done();
        std::fs::read(project.path("run/adapter/adapter_model.safetensors")).unwrap()
    };
    assert_eq!(adapter(&[]), adapter(&["--set", "train.gradient_checkpointing=true"]));
}

#[test]
fn all_tensors_of_a_mixture_are_trained_in_full() {
    let project = project("qwen3-moe-lm", "method = \"full\"\n");
    let before = project.loss("rows.jsonl", &["--model", "base"]);
    project.train(&[]).done();
    assert!(project.loss("rows.jsonl", &["--model", "run/model"]) < before - 0.1);
    let (base, trained) =
        ["base/model.safetensors", "run/model/model.safetensors"].map(|file| Tensors::read(&project.path(file))).into();
    assert_eq!(trained.differing(&base).len(), trained.names().count());
}

#[test]
fn adapters_on_experts_are_cut_to_one_rank() {
    let project = project("qwen3-moe-experts-lm", &on(&["q_proj", "gate", "gate_proj", "up_proj", "down_proj"]));
    project.train(&[]).done();
    let before = project.loss("rows.jsonl", &["--model", "base", "--adapter", "run/adapter"]);
    for (share, most) in [("1", 1e-5), ("0.8", 0.5)] {
        let arguments = ["resize", "run/adapter", "--energy", share, "-o", share, "--json"];
        let cut = project.run(&arguments).done().document();
        let modules = cut["modules"].as_array().unwrap();
        let (joined, others): (Vec<&Value>, Vec<&Value>) = modules.iter().partition(|module| {
            let name = module["module"].as_str().unwrap();
            name.contains(".experts.") || name.ends_with(".mlp.gate")
        });
        let config: Value = serde_json::from_str(&project.read(&format!("{share}/adapter_config.json"))).unwrap();
        assert!(joined.iter().all(|module| module["rank"] == config["r"]), "{cut}");
        assert!(modules.iter().all(|module| module["kept"].as_f64().unwrap() >= share.parse::<f64>().unwrap() - 1e-9));
        // The lowest rank that will do is one that an expert or a router needs.
        assert!(joined.iter().any(|module| module["kept"].as_f64().unwrap() < 1.0) || share == "1", "{cut}");
        let patterns = config["rank_pattern"].as_object().unwrap();
        assert!(patterns.keys().all(|key| key.ends_with("q_proj")) && !others.is_empty(), "{config}");
        let tensors = Tensors::read(&project.path(&format!("{share}/adapter_model.safetensors")));
        for name in tensors.names().filter(|name| name.contains(".mlp.") && name.contains("lora_A")) {
            assert_eq!(json!(tensors.shape(name)[0]), config["r"], "{name}");
        }
        let after = project.loss("rows.jsonl", &["--model", "base", "--adapter", share]);
        assert!((after - before).abs() < most, "{share}: {after} {before}");
    }
}

/// The model of the project with the experts of each layer in one tensor, as Transformers 5 has them in memory.
fn joined(project: Project) -> Project {
    project.tensors("base/model.safetensors", |tensors| {
        for layer in 0..2 {
            let experts = format!("model.layers.{layer}.mlp.experts");
            let of = |layers: &[&str]| -> Vec<String> {
                let of_expert = |expert: usize| {
                    layers.iter().map(move |layer| format!("{expert}.{layer}.weight")).collect::<Vec<_>>()
                };
                (0..4).flat_map(of_expert).map(|name| format!("{experts}.{name}")).collect()
            };
            tensors.join(&of(&["gate_proj", "up_proj"]), &format!("{experts}.gate_up_proj"), &[4, 48, 32]);
            tensors.join(&of(&["down_proj"]), &format!("{experts}.down_proj"), &[4, 32, 24]);
        }
    })
}

#[test]
fn experts_joined_in_one_tensor_are_the_same_model() {
    let apart = project("qwen3-moe-experts-lm", &on(&["down_proj"]));
    let joined = joined(project("qwen3-moe-experts-lm", &on(&["down_proj"])));
    for project in [&apart, &joined] {
        project.train(&[]).done();
        project.run(&["merge", "--model", "base", "--adapter", "run/adapter", "--output", "merged"]).done();
    }
    for file in ["run/adapter/adapter_model.safetensors", "merged/model.safetensors"] {
        let [apart, joined] = [&apart, &joined].map(|project| Tensors::read(&project.path(file)));
        assert_eq!(apart.names().collect::<Vec<_>>(), joined.names().collect::<Vec<_>>());
        assert_eq!(joined.differing(&apart), Vec::<String>::new(), "{file}");
    }
}

#[test]
fn adapters_on_experts_that_peft_could_not_read_are_refused() {
    let all = ["gate_proj", "up_proj", "down_proj"];
    let refused =
        |case: &str, adapter: &str, expected: &str| project(case, adapter).train(&["--dry-run"]).refused(expected);
    refused(
        "qwen3-moe-experts-lm",
        &on(&["q_proj", "gate_proj"]),
        "error: `adapter.target_modules` in run.toml, line 7: an adapter on `model.layers.0.mlp.experts.3.gate_proj` needs one on the `up_proj` of every \
         expert of its layer\nhelp: PEFT joins the experts of a layer: name `gate_proj`, `up_proj` and `down_proj` of all of them, or \
         `down_proj` alone",
    );
    refused(
        "qwen3-moe-experts-lm",
        &on(&["experts.2.down_proj"]),
        "error: `adapter.target_modules` in run.toml, line 7: an adapter on `model.layers.0.mlp.experts.2.down_proj` needs one on the `down_proj` of every \
         expert of its layer\nhelp: PEFT joins the experts of a layer: name `gate_proj`, `up_proj` and `down_proj` of all of them, or \
         `down_proj` alone",
    );
    refused(
        "qwen3-moe-lm",
        &on(&all),
        "error: `adapter.target_modules` in run.toml, line 7: `model.layers.1.mlp.gate_proj` is no expert's, and PEFT would take its adapter for one\nhelp: \
         put `model.layers.1.mlp.gate_proj` into `adapter.exclude_modules`, or adapt attention alone",
    );
    refused(
        "qwen3-moe-experts-lm",
        "dropout = 0.1\ntarget_modules = [\"q_proj\", \"gate\"]\n",
        "error: `adapter.dropout` in run.toml, line 6: 0.1 with `model.layers.0.mlp.gate` as a target\nhelp: PEFT has no dropout on experts and routers: \
         set `adapter.dropout` to 0.0",
    );
    refused(
        "qwen3-moe-experts-lm",
        "use_dora = true\ndropout = 0.0\ntarget_modules = [\"q_proj\", \"gate\"]\n",
        "error: `adapter.use_dora` in run.toml, line 6: `model.layers.0.mlp.gate` cannot be decomposed so\nhelp: PEFT has no DoRA on experts and routers: \
         adapt attention alone",
    );
    refused(
        "qwen3-moe-experts-lm",
        &format!("use_rslora = true\n{}", on(&all)),
        "error: `adapter.use_rslora` in run.toml, line 6: `model.layers.0.mlp.experts.0.gate_proj` cannot be scaled so\nhelp: PEFT joins the adapters of an \
         expert with another scale: use `alpha` alone",
    );
    refused(
        "qwen3-moe-experts-lm",
        &format!("rank_pattern = {{ up_proj = 2 }}\n{}", on(&all)),
        "error: `adapter.rank_pattern` in run.toml, line 6: `model.layers.0.mlp.experts.0.up_proj` cannot have a rank or an alpha of its own\nhelp: PEFT \
         joins the adapters of all experts of a layer: let it match none of theirs",
    );
    project("qwen3-moe-lm", &format!("{}exclude_modules = [\"layers.1.mlp.down_proj\"]\n", on(&["down_proj"])))
        .train(&["--dry-run"])
        .done();
}

#[test]
fn ia3_is_on_attention_by_default_and_refused_on_experts() {
    project("qwen3-moe-experts-lm", "method = \"ia3\"\n").train(&[]).done();
    for (target, module) in [("down_proj", "experts.0.down_proj"), ("gate", "gate")] {
        let adapter = format!("method = \"ia3\"\ntarget_modules = [\"{target}\"]\n");
        project("qwen3-moe-experts-lm", &adapter).train(&["--dry-run"]).refused(&format!(
            "error: `adapter.target_modules` in run.toml, line 7: experts and routers take LoRA alone: not on `model.layers.0.mlp.{module}`\nhelp: adapt \
             attention alone, or set `adapter.method` to \"lora\"",
        ));
    }
}

#[test]
fn an_adapter_of_experts_that_peft_has_joined_is_named() {
    let project = Project::new()
        .copy("qwen3-moe-experts-lm/model", "base")
        .copy("qwen3-moe-experts-lm/data.jsonl", "rows.jsonl")
        .copy("qwen3-moe-experts-lm/adapter", "adapter")
        .tensors("adapter/adapter_model.safetensors", |tensors| {
            tensors.remove(|name| name.contains(".experts."));
            for layer in 0..2 {
                let experts = format!("base_model.model.model.layers.{layer}.mlp.experts");
                tensors.zeros(&format!("{experts}.lora_A.weight"), &[16, 24]);
                tensors.zeros(&format!("{experts}.lora_B.weight"), &[32, 16]);
            }
        })
        .json("adapter/adapter_config.json", "target_modules", json!(["q_proj"]))
        .json("adapter/adapter_config.json", "target_parameters", json!(["down_proj", "gate.weight"]));
    let ran = project.run(&["eval", "--data", "rows.jsonl", "--model", "base", "--adapter", "adapter"]);
    assert_eq!(ran.status, Some(2), "{}", ran.stderr);
    let help = "help: `model.layers.0.mlp.experts.lora_A.weight` is of all experts of a layer: PEFT joins them where it trains with \
                Transformers 5, and kindling reads adapters that have tensors for each expert, as with Transformers 4; merge this one \
                in Python, with merge_and_unload";
    assert!(ran.stderr.contains(help), "{}", ran.stderr);
}

#[test]
fn configurations_of_mixtures_that_cannot_be_are_refused_and_older_ones_read() {
    let set = |key: &str, value: Value| {
        project("qwen3-moe-experts-lm", &on(&["q_proj"])).json("base/config.json", key, value)
    };
    set("output_router_logits", true.into()).train(&["--dry-run"]).refused(
        "error: [DIR]/base/config.json: `output_router_logits` is true\nhelp: this version trains without the loss that balances the \
         experts, as Transformers does by default: set it to false",
    );
    set("num_experts_per_tok", 5.into()).train(&["--dry-run"]).refused(
        "error: [DIR]/base/config.json: `num_experts_per_tok` is 5, of 4 experts\nhelp: a token chooses among the experts there are: \
         copy the model's config.json again",
    );
    let newer = project("qwen3-moe-experts-lm", &on(&["q_proj"]));
    let older = project("qwen3-moe-experts-lm", &on(&["q_proj"]))
        .replace("base/config.json", "\"num_local_experts\"", "\"num_experts\"")
        .json("base/config.json", "rope_parameters", Value::Null)
        .json("base/config.json", "rope_theta", 10000.0.into());
    assert_eq!(newer.loss("rows.jsonl", &["--model", "base"]), older.loss("rows.jsonl", &["--model", "base"]));
}
