//! LoRA from the difference of two checkpoints, by commands.

use serde_json::{Value, json};

use crate::project::Project;
use crate::project::gguf::floats;
use crate::project::tensors::Tensors;

/// With `tuned`, a run of all weights.
fn trained() -> Project {
    let project = Project::new();
    project.train(&["--quiet", "--set", "adapter.method=full", "--set", "train.learning_rate=1e-3"]).done();
    project
}

fn extract(project: &Project, arguments: &[&str]) -> Value {
    project.run(&[&["extract", "--base", "bert", "--tuned", "run", "--json"], arguments].concat()).done().document()
}

#[test]
fn the_higher_the_rank_the_more_of_the_difference_is_kept() {
    let project = trained();
    let mut kept = Vec::new();
    for rank in ["2", "8", "48"] {
        let output = format!("rank-{rank}");
        let document = extract(&project, &["--rank", rank, "-o", &output]);
        kept.push(document["kept"].as_f64().unwrap());
        let modules = document["modules"].as_array().unwrap();
        assert_eq!(modules.len(), 19, "every linear layer and the pooler");
        let left = document["left_out"].as_array().unwrap();
        assert!(left.iter().any(|it| it["tensor"] == "bert.embeddings.word_embeddings.weight"), "{document}");
        assert!(!left.iter().any(|it| it["tensor"] == "classifier.weight"), "the head is saved whole");
        if rank != "48" {
            continue;
        }
        // Where all is kept, the difference is the update.
        assert!(modules.iter().all(|module| module["kept"].as_f64().unwrap() > 1.0 - 1e-5), "{document}");
        let inspected = project.run(&["inspect", &output, "--json"]).done().document();
        for update in inspected["updates"].as_array().unwrap() {
            let module = modules.iter().find(|module| module["module"] == update["module"]).unwrap();
            let (found, norm) = (update["frobenius"].as_f64().unwrap(), module["norm"].as_f64().unwrap());
            assert!((found - norm).abs() < 1e-4 * norm, "{update} {module}");
        }
    }
    assert!(kept.windows(2).all(|pair| pair[0] < pair[1]), "{kept:?}");
}

#[test]
fn an_extracted_adapter_answers_as_the_model_it_is_from() {
    // Without a change of embeddings, norms and biases the adapter is all of the difference.
    let project = Project::new();
    project.train(&["--quiet", "--set", "train.learning_rate=1e-3", "--set", "adapter.dropout=0.0"]).done();
    project.run(&["merge", "--run", "run", "--output", "merged"]).done();
    let arguments = ["extract", "--base", "bert", "--tuned", "merged", "--rank", "8", "-o", "extracted"];
    let document = project.run(&[&arguments[..], &["--data", "train.jsonl", "--json"]].concat()).done().document();
    assert!(document["kept"].as_f64().unwrap() > 0.999, "{document}");
    assert_eq!(document["left_out"], json!([]));
    let of = &document["scores"]["of"];
    let loss = |name: &str| of[name]["loss"].as_f64().unwrap();
    assert!((loss("tuned") - loss("extracted")).abs() < 1e-4, "{of}");
    // The labels, columns and the base go along.
    let scores = project.run(&["eval", "--run", "extracted", "--data", "train.jsonl", "--json"]).done().document();
    assert_eq!(scores["loss"], of["extracted"]["loss"]);
    assert!(!project.run(&["eval", "--run", "extracted", "--data", "train.jsonl"]).done().stderr.contains("warning"));
    let config: Value = serde_json::from_str(&project.read("extracted/adapter_config.json")).unwrap();
    assert_eq!((&config["r"], &config["lora_alpha"], &config["task_type"]), (&json!(8), &json!(8), &json!("SEQ_CLS")));
}

#[test]
fn weights_that_lie_transposed_are_extracted_too() {
    let project = Project::new().copy("gpt2-lm/model", "gpt2").copy("gpt2-lm/merged", "merged");
    let arguments = ["extract", "--base", "gpt2", "--tuned", "merged", "--rank", "8", "-o", "extracted", "--json"];
    let document = project.run(&[&arguments[..], &["--target-modules", "c_attn"]].concat()).done().document();
    assert!(document["kept"].as_f64().unwrap() > 0.999, "{document}");
    let config: Value = serde_json::from_str(&project.read("extracted/adapter_config.json")).unwrap();
    assert_eq!(config["fan_in_fan_out"], true);
    let text = |of: &[&str]| {
        let prompt = ["generate", "--prompt", "the", "--max-new-tokens", "8"];
        project.run(&[&prompt[..], of].concat()).done().stdout
    };
    assert_eq!(text(&["--model", "gpt2", "--adapter", "extracted"]), text(&["--model", "merged"]));
}

#[test]
fn an_adapter_on_one_end_of_tied_embeddings_keeps_half_of_their_difference() {
    let model = "qwen3-lm/model";
    let project = Project::new().copy(model, "base").copy(model, "tied").tensors("tied/model.safetensors", |tensors| {
        tensors.add_to_first("model.embed_tokens.weight", 1.0);
    });
    let extract = |output: &str, targets: &str| {
        let arguments = ["extract", "--base", "base", "--tuned", "tied", "--rank", "2", "-o", output, "--json"];
        project.run(&[&arguments[..], &["--target-modules", targets]].concat()).done().document()
    };
    for (target, module, other) in
        [("embed_tokens", "model.embed_tokens", "lm_head.weight"), ("lm_head", "lm_head", "model.embed_tokens.weight")]
    {
        let document = extract(target, target);
        let [kept, left] = [&document["modules"], &document["left_out"]].map(|list| list.as_array().unwrap().clone());
        assert_eq!((kept.len(), left.len()), (1, 1), "{document}");
        assert_eq!((&kept[0]["module"], &left[0]["tensor"]), (&json!(module), &json!(other)));
        let norms = [&kept[0], &left[0]].map(|it| it["norm"].as_f64().unwrap());
        assert!((norms[0] - norms[1]).abs() < 1e-6 && norms[0] > 0.9, "{document}");
        assert!((document["kept"].as_f64().unwrap() - 0.5).abs() < 1e-3, "{document}");
    }
    let document = extract("both", "embed_tokens,lm_head");
    assert_eq!((document["modules"].as_array().unwrap().len(), &document["left_out"]), (2, &json!([])));
    assert!(document["kept"].as_f64().unwrap() > 0.999, "{document}");
}

#[test]
fn layers_that_peft_would_take_for_an_experts_get_no_adapter() {
    let model = "qwen3-moe-lm/model";
    let project =
        Project::new().copy(model, "base").copy(model, "tuned").tensors("tuned/model.safetensors", |tensors| {
            for module in ["0.self_attn.q_proj", "0.mlp.experts.2.down_proj", "1.mlp.up_proj"] {
                tensors.add_to_first(&format!("model.layers.{module}.weight"), 1.0);
            }
        });
    let run = |arguments: &[&str]| {
        project.run(&[&["extract", "--base", "base", "--tuned", "tuned", "--rank", "8"], arguments].concat())
    };
    let ran = run(&["-o", "extracted"]).done();
    let warning = "warning: there is no adapter on `model.layers.1.mlp.gate_proj`, `model.layers.1.mlp.up_proj`, \
                   `model.layers.1.mlp.down_proj`: PEFT would take it for one of an expert\n";
    assert!(ran.stderr.contains(warning), "{}", ran.stderr);
    let lost = "warning: 1 tensor of the difference is in no adapter, 33.3% of its energy\n";
    assert!(ran.stderr.contains(lost), "{}", ran.stderr);
    // A router of four experts has four rows, and in PEFT the rank of the experts.
    let config: Value = serde_json::from_str(&project.read("extracted/adapter_config.json")).unwrap();
    assert_eq!((&config["r"], &config["rank_pattern"]), (&json!(8), &json!({})));
    let tensors = Tensors::read(&project.path("extracted/adapter_model.safetensors"));
    assert_eq!(tensors.shape("base_model.model.model.layers.0.mlp.gate.lora_A.weight"), [8, 32]);
    assert!(!tensors.names().any(|name| name.contains("layers.1.mlp")));
    // Named with those of experts they get none either, and there is nothing else to name by it.
    run(&["-o", "named", "--target-modules", "gate_proj,up_proj,down_proj"]).done();
    run(&["-o", "alone", "--target-modules", "mlp.gate_proj"]).refused(
        "error: `--target-modules`: `model.layers.1.mlp.gate_proj` is no expert's, and PEFT would take its adapter for one\n\
         help: name other linear layers with `--target-modules`, those of attention for example",
    );
}

/// Into `directory` a fixture's model without its head, as the class of the backbone has it: without `prefix` in its names.
fn backbone(project: Project, (case, class, prefix): (&str, &str, &str), directory: &str) -> Project {
    let weights = format!("{directory}/model.safetensors");
    let project = project.copy(&format!("{case}/model"), directory);
    project.json(&format!("{directory}/config.json"), "architectures", json!([class])).tensors(&weights, |tensors| {
        tensors.remove(|name| !name.starts_with(prefix));
        tensors.rename(|name| name.strip_prefix(prefix).unwrap().to_string());
    })
}

#[test]
fn of_backbones_without_a_head_an_adapter_has_the_names_of_a_backbone() {
    for (case, class, prefix, query) in [
        ("bert-cls", "BertModel", "bert.", "encoder.layer.0.attention.self.query"),
        ("distilbert-cls", "DistilBertModel", "distilbert.", "transformer.layer.0.attention.q_lin"),
        ("llama-cls", "LlamaModel", "model.", "layers.0.self_attn.q_proj"),
    ] {
        let model = (case, class, prefix);
        let project = backbone(backbone(Project::new(), model, "base"), model, "tuned");
        let weight = format!("{query}.weight");
        let project = project.tensors("tuned/model.safetensors", |tensors| tensors.add_to_first(&weight, 1.0));
        // Of the decoder's keys and values the rank is that of their rows.
        let run = |arguments: &[&str]| {
            project.run(&[&["extract", "--base", "base", "--rank", "20", "-o", "extracted"], arguments].concat())
        };
        run(&["--tuned", "base"]).refused(
            "error: base has the weights of base: there is no difference\n\
             help: name a model that was trained further than the base with --tuned",
        );
        let document = run(&["--tuned", "tuned", "--json"]).done().document();
        assert!(document["kept"].as_f64().unwrap() > 0.999, "{case}: {document}");
        assert_eq!(document["left_out"], json!([]), "{case}");
        let config = project.json_of("extracted/adapter_config.json");
        assert_eq!(config["task_type"], "FEATURE_EXTRACTION", "{case}");
        assert!(!config["target_modules"].to_string().contains(prefix), "{case}: {config}");
        assert_eq!(
            config["rank_pattern"].as_object().unwrap().len(),
            if case == "llama-cls" { 4 } else { 0 },
            "{case}"
        );
        let tensors = Tensors::read(&project.path("extracted/adapter_model.safetensors"));
        assert_eq!(tensors.shape(&format!("base_model.model.{query}.lora_A.weight"))[0], 20, "{case}");
        let below = format!("base_model.model.{prefix}");
        assert!(!tensors.names().any(|name| name.starts_with(&below)), "{case}");

        // Merged it is the tuned one.
        project.run(&["merge", "--model", "base", "--adapter", "extracted", "--output", "merged"]).done();
        let values = |file: &str, name: &str| floats(Tensors::read(&project.path(file)).bytes(name));
        let merged = values("merged/model.safetensors", &format!("{prefix}{weight}"));
        let tuned = values("tuned/model.safetensors", &weight);
        let largest = merged.iter().zip(&tuned).fold(0_f32, |it, (one, other)| it.max((one - other).abs()));
        assert!(merged.len() == tuned.len() && largest < 1e-5, "{case}: {largest}");
    }
}

#[test]
fn a_head_that_one_model_lacks_is_named() {
    let project = backbone(Project::new(), ("bert-cls", "BertModel", "bert."), "tuned");
    let expected = "error: `classifier.weight` is not in tuned\n\
                    help: give a model with --base, and the same model after training with --tuned";
    let arguments = ["extract", "--base", "bert", "--tuned", "tuned", "--rank", "4", "-o", "extracted"];
    project.run(&arguments).refused(expected);
    // A class that has a head is no backbone, whoever lost it.
    let project = project
        .json("tuned/config.json", "architectures", json!(["BertForSequenceClassification"]))
        .tensors("bert/model.safetensors", |tensors| tensors.remove(|name| name.starts_with("classifier.")));
    project.run(&arguments).refused(expected);
}

#[test]
fn models_that_are_not_one_are_refused() {
    let project = trained().copy("roberta-cls/model", "roberta");
    let run = |arguments: &[&str]| project.run(&[&["extract", "-o", "extracted"], arguments].concat());
    let help = "help: give a model with --base, and the same model after training with --tuned";
    run(&["--base", "roberta", "--tuned", "run", "--rank", "4"])
        .refused(&format!("error: roberta is a roberta, run/model a bert\n{help}"));
    run(&["--base", "bert", "--tuned", "bert", "--rank", "4"]).refused(
        "error: bert has the weights of bert: there is no difference\n\
         help: name a model that was trained further than the base with --tuned",
    );
    run(&["--base", "bert", "--tuned", "run", "--rank", "0"])
        .refused("error: `--rank 0` would keep nothing of the difference\nhelp: give a rank of 1 or more");
    run(&["--base", "bert", "--tuned", "run", "--rank", "4", "--target-modules", "qurey"])
        .refused("error: `--target-modules`: no module is named `qurey`\nhelp: did you mean `query`?");
    run(&["--base", "bert", "--tuned", "run", "--rank", "4", "--target-modules", "LayerNorm"]).refused(
        "error: `--target-modules`: LoRA is on linear layers and embeddings: not on `bert.embeddings.LayerNorm`\n\
         help: name other linear layers with `--target-modules`, those of attention for example",
    );
    assert!(!project.path("extracted").exists());

    let project = project.copy("bert-cls/model", "narrow").tensors("narrow/model.safetensors", |tensors| {
        tensors.zeros("bert.encoder.layer.0.attention.self.query.weight", &[48, 40]);
    });
    project.run(&["extract", "-o", "extracted", "--base", "bert", "--tuned", "narrow", "--rank", "4"]).refused(
        &format!(
            "error: `bert.encoder.layer.0.attention.self.query.weight` is [48, 48] before and [48, 40] after\n{help}"
        ),
    );
}
