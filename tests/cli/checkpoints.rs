//! Training from the kinds of checkpoints there are, and the result used again by other commands.

use serde_json::{Value, json};

use crate::project::Project;
use crate::project::tensors::Tensors;

const WEIGHTS: &str = "bert/model.safetensors";

/// Scores on the training data, which is validation data too: what training saw last, and what is asked of another
/// command.
const VALID: [&str; 3] = ["--json", "--set", "data.valid=train.jsonl"];

fn train(project: &Project, arguments: &[&str]) -> (Value, String) {
    let ran = project.train(&[&VALID[..], arguments].concat()).done();
    (ran.document(), ran.stderr)
}

/// The scores that another process finds are those of the run.
#[track_caller]
fn compare_scores(project: &Project, summary: &Value, model: &[&str]) {
    let arguments = [&["eval", "--json", "--data", "train.jsonl"], model].concat();
    let found = project.run(&arguments).done().document();
    for key in ["accuracy", "loss", "f1_macro", "matthews"] {
        let (found, expected) = (found[key].as_f64().unwrap(), summary["best"]["scores"][key].as_f64().unwrap());
        // Read as they were trained; batches of another size may add in another order.
        assert!((found - expected).abs() < 1e-6, "{key}: {found} {expected}");
    }
}

fn without_head(tensors: &mut Tensors) {
    tensors.remove(|name| name.starts_with("classifier."));
}

fn with_masked_lm_head(tensors: &mut Tensors) {
    without_head(tensors);
    tensors.zeros("cls.predictions.bias", &[264]);
    tensors.zeros("cls.predictions.transform.dense.weight", &[48, 48]);
    tensors.zeros("cls.predictions.transform.LayerNorm.gamma", &[48]);
}

#[test]
fn a_masked_lm_checkpoint_gets_a_pooler_and_a_head_which_the_adapter_brings_along() {
    let project = Project::new().tensors(WEIGHTS, |tensors| {
        with_masked_lm_head(tensors);
        tensors.remove(|name| name.starts_with("bert.pooler."));
    });
    let (summary, said) = train(&project, &[]);
    let new = "newly initialised and trained: bert.pooler.dense.weight, bert.pooler.dense.bias, \
               classifier.weight, classifier.bias\n";
    assert!(said.contains(new), "{said}");
    assert!(said.contains("unused weights of the checkpoint: cls.predictions\n"), "{said}");
    let config: Value = serde_json::from_str(&project.read("run/adapter/adapter_config.json")).unwrap();
    assert_eq!(config["modules_to_save"], json!(["classifier", "pooler", "score"]));
    compare_scores(&project, &summary, &["--model", "bert", "--adapter", "run/adapter"]);
    compare_scores(&project, &summary, &["--run", "run"]);
}

#[test]
fn a_pretraining_checkpoint_keeps_its_pooler_and_gets_a_head() {
    let project = Project::new().tensors(WEIGHTS, |tensors| {
        with_masked_lm_head(tensors);
        tensors.zeros("cls.seq_relationship.weight", &[2, 48]);
        tensors.zeros("cls.seq_relationship.bias", &[2]);
        tensors.zeros("bert.embeddings.position_ids", &[1, 80]);
    });
    let (summary, said) = train(&project, &[]);
    assert!(said.contains("newly initialised and trained: classifier.weight, classifier.bias\n"), "{said}");
    let unused = "unused weights of the checkpoint: bert.embeddings, cls.predictions, cls.seq_relationship\n";
    assert!(said.contains(unused), "{said}");
    compare_scores(&project, &summary, &["--model", "bert", "--adapter", "run/adapter"]);
}

#[test]
fn a_deberta_that_was_pretrained_gets_a_pooler_and_a_head_which_the_adapter_brings_along() {
    let project = Project::new().copy("deberta-v3-cls/model", "deberta");
    let project = project.tensors("deberta/model.safetensors", |tensors| {
        tensors.remove(|name| name.starts_with("classifier.") || name.starts_with("pooler."));
        tensors.zeros("lm_predictions.lm_head.bias", &[200]);
        tensors.zeros("mask_predictions.dense.weight", &[24, 24]);
        tensors.zeros("deberta.embeddings.position_embeddings.weight", &[80, 24]);
    });
    let (summary, said) = train(&project, &["--set", "model.path=deberta"]);
    let new =
        "newly initialised and trained: pooler.dense.weight, pooler.dense.bias, classifier.weight, classifier.bias\n";
    assert!(said.contains(new), "{said}");
    let unused =
        "unused weights of the checkpoint: deberta.embeddings, lm_predictions.lm_head, mask_predictions.dense\n";
    assert!(said.contains(unused), "{said}");
    let config: Value = serde_json::from_str(&project.read("run/adapter/adapter_config.json")).unwrap();
    assert_eq!(config["modules_to_save"], json!(["classifier", "pooler", "score"]));
    compare_scores(&project, &summary, &["--model", "deberta", "--adapter", "run/adapter"]);
    compare_scores(&project, &summary, &["--run", "run"]);
}

#[test]
fn gradient_checkpointing_does_not_change_a_bit_where_all_layers_read_one_table() {
    let mut project = Project::new().copy("deberta-v3-cls/model", "deberta");
    for key in ["hidden_dropout_prob", "attention_probs_dropout_prob"] {
        project = project.json("deberta/config.json", key, 0.1.into());
    }
    for (method, file) in [("full", "model/model.safetensors"), ("lora", "adapter/adapter_model.safetensors")] {
        let tensors = |checkpointing: bool| {
            let run = format!("{method}-{checkpointing}");
            let sets = [
                "model.path=deberta".to_string(),
                "train.max_steps=6".to_string(),
                format!("adapter.method={method}"),
                format!("train.gradient_checkpointing={checkpointing}"),
                format!("output_dir={run}"),
            ];
            project.train(&sets.iter().flat_map(|set| ["--set", set]).collect::<Vec<_>>()).done();
            std::fs::read(project.path(&format!("{run}/{file}"))).unwrap()
        };
        assert!(tensors(true) == tensors(false), "{method}");
    }
}

#[test]
fn gradient_checkpointing_does_not_change_a_bit_where_dora_is_on_one_of_several_layers_with_the_same_input() {
    let project = Project::new();
    for target in ["query", "key"] {
        let tensors = |checkpointing: bool| {
            let run = format!("{target}-{checkpointing}");
            let sets = [
                "train.max_steps=4".to_string(),
                "adapter.use_dora=true".to_string(),
                format!("adapter.target_modules=[\"{target}\"]"),
                format!("train.gradient_checkpointing={checkpointing}"),
                format!("output_dir={run}"),
            ];
            project.train(&sets.iter().flat_map(|set| ["--set", set]).collect::<Vec<_>>()).done();
            std::fs::read(project.path(&format!("{run}/adapter/adapter_model.safetensors"))).unwrap()
        };
        assert!(tensors(true) == tensors(false), "{target}");
    }
}

#[test]
fn the_class_of_xlm_roberta_is_written_by_its_own_name() {
    let project = Project::new().copy("xlm-roberta-cls/model", "xlm");
    train(&project, &["--set", "model.path=xlm", "--set", "adapter.method=full"]);
    let config: Value = serde_json::from_str(&project.read("run/model/config.json")).unwrap();
    assert_eq!(config["architectures"], json!(["XLMRobertaForSequenceClassification"]));
}

#[test]
fn full_fine_tuning_leaves_a_model() {
    let project = Project::new();
    let (summary, _) = train(&project, &["--set", "adapter.method=full"]);
    compare_scores(&project, &summary, &["--model", "run/model"]);
    compare_scores(&project, &summary, &["--run", "run"]);
    let moved = Tensors::read(&project.path("run/model/model.safetensors"))
        .differing(&Tensors::read(&project.path("bert/model.safetensors")));
    assert!(moved.contains(&"bert.encoder.layer.0.intermediate.dense.weight".to_string()), "{moved:?}");
}

#[test]
fn without_a_method_the_head_alone_is_trained() {
    let project = Project::new();
    let (summary, _) = train(&project, &["--set", "adapter.method=none"]);
    compare_scores(&project, &summary, &["--model", "bert", "--adapter", "run/adapter"]);
    let saved = project.run(&["inspect", "run/adapter", "--json"]).done().document();
    let names: Vec<&String> = saved["tensors"].as_object().unwrap().keys().collect();
    assert_eq!(names, ["classifier.bias", "classifier.weight"]);
}

/// The lines that a base written otherwise predicts with PEFT's adapter, and those of the base as it is.
fn predictions(change: impl FnOnce(Project) -> Project) -> [String; 2] {
    let lines = |project: &Project| {
        let arguments = ["predict", "--model", "bert", "--adapter", "adapter", "--input", "train.jsonl"];
        project.run(&arguments).done().stdout
    };
    [lines(&change(Project::with_adapter())), lines(&Project::with_adapter())]
}

#[test]
fn the_old_names_of_norms_are_understood() {
    let old = |name: &str| {
        let name = name.replace("LayerNorm.weight", "LayerNorm.gamma");
        name.replace("LayerNorm.bias", "LayerNorm.beta")
    };
    let [found, expected] = predictions(|project| project.tensors(WEIGHTS, |tensors| tensors.rename(old)));
    assert_eq!(found, expected);
}

#[test]
fn the_terms_of_deberta_in_one_text_are_those_of_a_list() {
    let predictions = |terms: Value| {
        let project = Project::new().copy("deberta-v3-cls/model", "deberta");
        let project = project.json("deberta/config.json", "pos_att_type", terms);
        project.run(&["predict", "--model", "deberta", "a fine film"]).done().stdout
    };
    let both = predictions(json!(["p2c", "c2p"]));
    assert_eq!(predictions(json!("p2c|c2p")), both);
    assert_ne!(predictions(json!("c2p")), both, "each term matters");
}

#[test]
fn a_bare_backbone_is_understood() {
    let [found, expected] = predictions(|project| {
        project.tensors(WEIGHTS, |tensors| {
            without_head(tensors);
            tensors.rename(|name| name.strip_prefix("bert.").unwrap().to_string());
        })
    });
    assert_eq!(found, expected);
}

#[test]
fn shards_with_an_index_are_one_checkpoint() {
    const SHARDS: [&str; 2] = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
    let [found, expected] = predictions(|project| {
        let mut first = Tensors::read(&project.path(WEIGHTS));
        let second = first.split_off(|name| name.contains("layer.1.") || name.starts_with("classifier."));
        let mut map = serde_json::Map::new();
        for (shard, tensors) in SHARDS.into_iter().zip([first, second]) {
            map.extend(tensors.names().map(|name| (name.to_string(), json!(shard))));
            tensors.write(&project.path(&format!("bert/{shard}")));
        }
        let index = json!({ "metadata": {}, "weight_map": map });
        project.without(WEIGHTS).file("bert/model.safetensors.index.json", index.to_string())
    });
    assert_eq!(found, expected);
}

#[test]
fn the_plan_of_a_run_reads_headers_alone() {
    const ROWS: usize = 50_000_000;
    let project = Project::new().json("bert/config.json", "vocab_size", json!(ROWS));
    let words = "bert.embeddings.word_embeddings.weight";
    // A file of 10 GB that takes no room, with a hole where its tensors are.
    Tensors::read(&project.path(WEIGHTS)).write_sparse(&project.path(WEIGHTS), words, &[ROWS, 48]);
    let plan = project.train(&["--dry-run", "--json"]).done().document();
    assert!(plan["total_parameters"].as_u64().unwrap() > 48 * ROWS as u64);
    assert!(!project.path("run").exists(), "nothing is written");
}

#[test]
fn the_plan_says_what_the_run_does() {
    let project = Project::new();
    let plan = project.train(&["--dry-run", "--json"]).done().document();
    assert_eq!((&plan["steps"], &plan["steps_per_epoch"]), (&json!(2), &json!(8)));
    // all-linear is six layers a block and the pooler, each with r = 8; and the head.
    let block = 4 * 8 * (48 + 48) + 2 * 8 * (48 + 96);
    assert_eq!(plan["trainable_parameters"], 3 * block + 8 * (48 + 48) + 3 * 48 + 3);
    assert_eq!(plan["example"]["label"], "LABEL_0");
    project.train(&["--quiet"]).done();
    let saved = project.run(&["inspect", "run/adapter", "--json"]).done().document();
    assert_eq!(saved["trainable_parameters"], plan["trainable_parameters"]);
}
