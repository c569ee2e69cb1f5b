//! Methods other than LoRA, by commands: trained, saved in PEFT's format, inspected, merged, continued, and what is refused.

use serde_json::{Value, json};

use crate::project::Project;
use crate::project::tensors::Tensors;

/// Six steps of (IA)3 at a rate that moves it.
const IA3: [&str; 7] =
    ["--quiet", "--set", "adapter.method=ia3", "--set", "train.learning_rate=0.05", "--set", "train.max_steps=6"];

fn peft(project: &Project) -> Value {
    serde_json::from_str(&project.read("run/adapter/adapter_config.json")).unwrap()
}

#[test]
fn an_ia3_adapter_is_saved_as_peft_writes_it() {
    let project = Project::new();
    project.train(&IA3).done();
    assert_eq!(
        peft(&project),
        json!({
            "auto_mapping": null, "base_model_name_or_path": project.path("bert"), "exclude_modules": null,
            "fan_in_fan_out": false, "feedforward_modules": ["output.dense"], "inference_mode": true,
            "init_ia3_weights": true, "modules_to_save": ["classifier", "score"], "peft_type": "IA3",
            "peft_version": "0.21.2", "revision": null, "target_modules": ["key", "output.dense", "value"],
            "task_type": "SEQ_CLS",
        })
    );
    let tensors = project.run(&["inspect", "run/adapter", "--json"]).done().document();
    assert_eq!(tensors["method"], "ia3");
    let layer = "bert.encoder.layer.0";
    for (module, shape) in
        [("attention.self.key", [48, 1]), ("attention.output.dense", [1, 48]), ("output.dense", [1, 96])]
    {
        assert_eq!(tensors["tensors"][format!("{layer}.{module}.ia3_l")], json!(shape), "{module}");
    }
    let updates = tensors["updates"].as_array().unwrap();
    assert_eq!(updates.len(), 12);
    assert!(updates.iter().all(|update| update["relative"].as_f64().unwrap() > 0.001), "{updates:?}");
}

#[test]
fn the_report_of_an_ia3_run_has_the_norms_that_inspect_has() {
    for project in [Project::new(), Project::decoder("gpt2-lm")] {
        project.train(&IA3).done();
        let numbers = |document: &Value, norm: &str| -> Vec<(String, f64, f64)> {
            let number = |update: &Value| {
                let module = update["module"].as_str().unwrap().to_string();
                (module, update[norm].as_f64().unwrap(), update["relative"].as_f64().unwrap())
            };
            let mut found: Vec<_> = document["updates"].as_array().unwrap().iter().map(number).collect();
            found.sort_by(|one, other| one.0.cmp(&other.0));
            found
        };
        let inspected = numbers(&project.run(&["inspect", "run/adapter", "--json"]).done().document(), "frobenius");
        let reported = numbers(&project.json_of("run/report.json"), "norm");
        assert!(!reported.is_empty() && reported.len() == inspected.len(), "{reported:?} {inspected:?}");
        for ((module, norm, share), expected) in reported.iter().zip(&inspected) {
            assert_eq!(module, &expected.0);
            let is_near = |found: &f64, expected: f64| (found - expected).abs() < 1e-6 * expected;
            assert!(is_near(norm, expected.1) && is_near(share, expected.2), "{module}: {norm} {share} {expected:?}");
        }
    }
}

#[test]
fn an_ia3_adapter_that_is_opened_is_told_by_how_far_its_vectors_are_from_one() {
    let project = Project::new();
    project.train(&IA3).done();
    let tensors = Tensors::read(&project.path("run/adapter/adapter_model.safetensors"));
    let mean_square = |name: &str| {
        let values = tensors.bytes(name).chunks(4).map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap())));
        let squares: Vec<f64> = values.map(|value| (value - 1.0).powi(2)).collect();
        squares.iter().sum::<f64>() / squares.len() as f64
    };
    let squares: Vec<f64> = tensors.names().filter(|name| name.ends_with(".ia3_l")).map(mean_square).collect();
    let distance = (squares.iter().sum::<f64>() / squares.len() as f64).sqrt();
    let told = project.run(&["predict", "--input", "train.jsonl", "--run", "run"]).done().stderr;
    let expected =
        format!("adapter run/adapter: 14 tensors, 12 modules, vectors {distance:.4} from one (root mean square)\n");
    assert!(told.contains(&expected), "{told}, not {expected}");
}

#[test]
fn the_size_of_an_ia3_adapter_is_that_of_what_a_merge_changes() {
    for (project, count) in [(Project::new(), 12), (Project::decoder("gpt2-lm"), 4)] {
        project.train(&IA3).done();
        project.run(&["merge", "--run", "run", "--output", "merged"]).done();
        let values = |directory: &str, name: &str| -> Vec<f64> {
            let tensors = Tensors::read(&project.path(&format!("{directory}/model.safetensors")));
            tensors.bytes(name).chunks(4).map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap()))).collect()
        };
        let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>().sqrt();
        let shown = project.run(&["inspect", "run/adapter", "--json"]).done().document();
        let updates = shown["updates"].as_array().unwrap();
        assert_eq!(updates.len(), count);
        for update in updates {
            let name = format!("{}.weight", update["module"].as_str().unwrap());
            let (base, merged) = (values("bert", &name), values("merged", &name));
            let moved = norm(&mut base.iter().zip(&merged).map(|(base, merged)| merged - base));
            let (found, share) = (update["frobenius"].as_f64().unwrap(), update["relative"].as_f64().unwrap());
            assert!((found - moved).abs() < 1e-4 * moved && moved > 0.001, "{name}: {found} {moved}");
            assert!((share - moved / norm(&mut base.iter().copied())).abs() < 1e-4, "{name}: {share}");
        }
        // What cannot be known without the base is left out.
        std::fs::rename(project.path("bert"), project.path("elsewhere")).unwrap();
        let alone = project.run(&["inspect", "run/adapter", "--json"]).done().document();
        assert_eq!(alone["updates"], json!([]));
        let text = project.run(&["inspect", "run/adapter"]).done().stdout;
        let told = "what it changes is known on its base alone: name that with --model\n";
        assert!(text.ends_with(told), "{text}");
        let named = ["inspect", "run/adapter", "--model", "elsewhere", "--json"];
        assert_eq!(project.run(&named).done().document()["updates"], shown["updates"]);
    }
}

#[test]
fn a_merged_ia3_adapter_answers_as_base_and_adapter_do() {
    for (project, bias) in [
        (Project::new(), "bert.encoder.layer.1.attention.self.key.bias"),
        (Project::decoder("gpt2-lm"), "transformer.h.0.attn.c_attn.bias"),
    ] {
        project.train(&IA3).done();
        project.run(&["merge", "--run", "run", "--output", "merged"]).done();
        let (adapted, merged) =
            (project.loss("train.jsonl", &["--run", "run"]), project.loss("train.jsonl", &["--model", "merged"]));
        assert!((adapted - merged).abs() < 1e-5, "{adapted} {merged}");
        let [base, merged] =
            ["bert", "merged"].map(|directory| Tensors::read(&project.path(&format!("{directory}/model.safetensors"))));
        let changed = base.differing(&merged);
        assert!(changed.iter().any(|name| name == bias), "the bias of a scaled output: {changed:?}");
        assert!(!changed.iter().any(|name| name.ends_with("mlp.c_proj.bias") || name.ends_with("output.dense.bias")));
    }
    // As PEFT sets it for Conv1D, whose weights lie the other way round.
    let project = Project::decoder("gpt2-lm");
    project.train(&IA3).done();
    assert_eq!(peft(&project)["fan_in_fan_out"], json!(true));
}

#[test]
fn training_goes_on_from_an_ia3_adapter_with_its_own_settings() {
    let project = Project::new();
    project.train(&IA3).done();
    let further = ["--quiet", "--overwrite", "--set", "adapter.init_from=run/adapter", "--set", "output_dir=on"];
    project.train(&further).done();
    let config = project.read("on/config.toml");
    assert!(config.contains("method = \"ia3\"\ntarget_modules = [\"key\", \"output.dense\", \"value\"]\n"), "{config}");
    let vectors = |run: &str| {
        let tensors = Tensors::read(&project.path(&format!("{run}/adapter/adapter_model.safetensors")));
        tensors.bytes("base_model.model.bert.encoder.layer.0.attention.self.key.ia3_l").to_vec()
    };
    assert_ne!(vectors("run"), vectors("on"));
    project.train(&[&further[..], &["--set", "adapter.r=4"]].concat()).refused(
        "error: `--set adapter.r=4` is 4, the adapter that `adapter.init_from` names has no such key\n\
         help: remove the key: the adapter's own settings are used",
    );
    project.train(&[&further[..], &["--set", "adapter.method=lora"]].concat()).refused(
        "error: `--set adapter.method=lora` is \"lora\", the adapter that `adapter.init_from` names has \"ia3\"\n\
         help: remove the key: the adapter's own settings are used",
    );
}

#[test]
fn an_ia3_adapter_without_effect_is_told() {
    let project = Project::new();
    project.train(&IA3).done();
    let ones: Vec<String> = {
        let tensors = Tensors::read(&project.path("run/adapter/adapter_model.safetensors"));
        tensors.names().filter(|name| name.ends_with("ia3_l")).map(str::to_string).collect()
    };
    let project = project.without_hashes("run/adapter").tensors("run/adapter/adapter_model.safetensors", |tensors| {
        ones.iter().for_each(|name| tensors.fill(name, 1.0));
    });
    let ran = project.run(&["eval", "--run", "run", "--data", "train.jsonl"]).done();
    let told = "warning: every vector of the adapter is one: the model answers as its base does";
    assert!(ran.stderr.contains(told), "{}", ran.stderr);
}

#[test]
fn lora_plus_trains_b_faster_and_writes_the_same_files() {
    let trained = |sets: &[&str]| {
        let project = Project::new();
        project.train(&[&["--quiet", "--set", "train.weight_decay=0"], sets].concat()).done();
        let mut config = peft(&project);
        config["base_model_name_or_path"] = Value::Null;
        let tensors = Tensors::read(&project.path("run/adapter/adapter_model.safetensors"));
        let of = |factor: &str| {
            let name = format!("base_model.model.bert.encoder.layer.0.attention.self.query.lora_{factor}.weight");
            tensors.bytes(&name).as_chunks().0.iter().map(|four| f32::from_le_bytes(*four)).collect::<Vec<f32>>()
        };
        (config, of("A"), of("B"))
    };
    let of_one_step = ["--set", "train.max_steps=1", "--set", "train.max_grad_norm=0"];
    let (config, a, b) = trained(&of_one_step);
    let with_plus = [&of_one_step[..], &["--set", "adapter.lora_plus_ratio=16"]].concat();
    let (config_plus, a_plus, b_plus) = trained(&with_plus);
    assert_eq!(config, config_plus);
    assert!(a == a_plus, "A has no gradient before B has moved");
    assert!(b.iter().any(|value| *value != 0.0));
    for (one, sixteen) in b.iter().zip(&b_plus) {
        assert!((sixteen - 16.0 * one).abs() <= 1e-6 * sixteen.abs(), "{one} {sixteen}");
    }
    // Of one the groups differ in weight decay alone, which is off.
    assert_eq!(trained(&[&of_one_step[..], &["--set", "adapter.lora_plus_ratio=1"]].concat()).2, b);
}

#[test]
fn what_lora_plus_cannot_mean_is_refused() {
    let refused = |method: &str, set: &str, message: &str| {
        let config = format!("[adapter]\nmethod = \"{method}\"");
        Project::new().config(&config).train(&["--set", set]).refused(message);
    };
    refused(
        "lora",
        "adapter.lora_plus_ratio=-1",
        "error: `--set adapter.lora_plus_ratio=-1`: found `-1`, expected a finite number of at least 0\n\
         help: the default is `lora_plus_ratio = 0.0`",
    );
    refused(
        "ia3",
        "adapter.lora_plus_ratio=16",
        "error: `--set adapter.lora_plus_ratio=16`: method `ia3` has no key `lora_plus_ratio`\n\
         help: remove it, or set `adapter.method = \"lora\"`",
    );
    refused(
        "lora",
        "adapter.lora_plus_lr_embedding=1e-5",
        "error: `--set adapter.lora_plus_lr_embedding=1e-5`: `adapter.lora_plus_ratio` is not set\n\
         help: `lora_plus_lr_embedding` does nothing without it: set `lora_plus_ratio`, for example `lora_plus_ratio = 16`, \
         or remove `lora_plus_lr_embedding`",
    );
    refused(
        "lora",
        "adapter.lora_plus_ration=16",
        "error: `--set adapter.lora_plus_ration=16`: unknown key\nhelp: did you mean `lora_plus_ratio`?",
    );
}

#[test]
fn what_ia3_cannot_mean_is_refused() {
    let refused = |set: &str, message: &str| {
        Project::new().config("[adapter]\nmethod = \"ia3\"").train(&["--set", set]).refused(message);
    };
    refused(
        "adapter.r=4",
        "error: `--set adapter.r=4`: method `ia3` has no key `r`\nhelp: remove it, or set `adapter.method = \"lora\"`",
    );
    refused(
        "adapter.feedforward_modules=[\"dense\", \"lin\"]",
        "error: `--set adapter.feedforward_modules=[\"dense\", \"lin\"]`: `lin` matches no adapted module\n\
         help: known: key, value, dense",
    );
    refused(
        "adapter.feedforward_modules=(",
        "error: `--set adapter.feedforward_modules=(`: `(` is not a regular expression: opening parenthesis without closing parenthesis\n\
         help: the dialect is that of Python's `re`",
    );
    refused(
        "adapter.target_modules=[\"word_embeddings\", \"key\"]",
        "error: `--set adapter.target_modules=[\"word_embeddings\", \"key\"]`: (IA)3 is on linear layers: not on `bert.embeddings.word_embeddings`\n\
         help: narrow the targets to linear layers; `adapter.modules_to_save` trains another module in full",
    );
    refused(
        "adapter.method=ia",
        "error: `--set adapter.method=ia`: unknown method `ia`\nhelp: did you mean `ia3`? (lora, ia3, bitfit, adapter, full, none)",
    );
    for (name, help) in [
        ("dora", "DoRA is `method = \"lora\"` with `use_dora = true`"),
        ("pissa", "PiSSA is `method = \"lora\"` with `init = \"pissa\"`"),
        ("olora", "OLoRA is `method = \"lora\"` with `init = \"olora\"`"),
        ("lora+", "LoRA+ is `method = \"lora\"` with `lora_plus_ratio = 16`"),
        ("rslora", "rsLoRA is `method = \"lora\"` with `use_rslora = true`"),
        ("qlora", "QLoRA is `method = \"lora\"` with `model.dtype = \"nf4\"`"),
        ("houlsby", "the Houlsby adapter is `method = \"adapter\"` with `placement = \"houlsby\"`"),
        ("pfeiffer", "the Pfeiffer adapter is `method = \"adapter\"` with `placement = \"pfeiffer\"`"),
        ("IA3", "(IA)3 is `method = \"ia3\"`"),
        ("prefix-tuning", "kindling has no prefix tuning: the nearest is `method = \"ia3\"`"),
    ] {
        refused(
            &format!("adapter.method={name}"),
            &format!("error: `--set adapter.method={name}`: unknown method `{name}`\nhelp: {help}"),
        );
    }
    Project::new().config("[adapter]\nfeedforward_modules = [\"output.dense\"]").train(&[]).refused(
        "error: `adapter.feedforward_modules` in run.toml, line 13: method `lora` has no key `feedforward_modules`\n\
         help: remove it, or set `adapter.method = \"ia3\"`",
    );
}

#[test]
fn the_examples_of_loras_variants_and_of_the_head_alone_train_what_they_say() {
    let project = Project::new();
    let trained = |example: &str| {
        let config = format!("{}/../../configs/{example}.toml", env!("CARGO_MANIFEST_DIR"));
        let output = format!("output_dir={example}");
        let short = ["--quiet", "--set", "train.epochs=0", "--set", "train.max_steps=3", "--set", &output];
        project.run(&[&["train", &config], &short[..]].concat()).done();
        let keys: Value =
            serde_json::from_str(&project.read(&format!("{example}/adapter/adapter_config.json"))).unwrap();
        keys
    };
    let keys = trained("lora-plus");
    assert_eq!((&keys["r"], &keys["lora_alpha"], &keys["use_rslora"]), (&json!(8), &json!(32), &json!(false)));
    assert!(project.read("lora-plus/config.toml").contains("lora_plus_ratio = 16.0\n"));
    let keys = trained("rslora");
    assert_eq!((&keys["r"], &keys["lora_alpha"], &keys["use_rslora"]), (&json!(32), &json!(16), &json!(true)));
    let keys = trained("head");
    assert_eq!(keys["target_modules"], "dummy-target-modules");
    let tensors = project.run(&["inspect", "head/adapter", "--json"]).done().document()["tensors"].clone();
    let names: Vec<&String> = tensors.as_object().unwrap().keys().collect();
    // The base, a masked language model, has no pooler either.
    let head = ["bert.pooler.dense.bias", "bert.pooler.dense.weight", "classifier.bias", "classifier.weight"];
    assert_eq!(names, head);
}
