//! `kindling inspect` of runs whose result is not what it changed: whole models, and adapters that started as a part of the base; and of
//! adapters beside a base that is not theirs, or is damaged.

use burn::tensor::DType;
use serde_json::{Value, json};

use crate::project::Project;
use crate::project::tensors::Tensors;

const FULL: [&str; 7] =
    ["--quiet", "--set", "adapter.method=full", "--set", "train.learning_rate=0.005", "--set", "train.max_steps=3"];
const LAST: [&str; 4] = ["--set", "adapter.last_layers=1", "--set", "adapter.train_embeddings=false"];

fn inspected(project: &Project, arguments: &[&str]) -> Value {
    project.run(&[&["inspect"], arguments, &["--json"]].concat()).done().document()
}

/// The norm of the change of all tensors whose names begin so, and that of the base's.
fn change(project: &Project, prefix: &str) -> (f64, f64) {
    let [base, trained] =
        ["bert", "run/model"].map(|it| Tensors::read(&project.path(&format!("{it}/model.safetensors"))));
    let values = |tensors: &Tensors, name: &str| -> Vec<f64> {
        let bytes = tensors.bytes(name);
        bytes.chunks(4).map(|bytes| f64::from(f32::from_le_bytes(bytes.try_into().unwrap()))).collect()
    };
    let (mut change, mut weights) = (0.0, 0.0);
    for name in base.names().filter(|name| name.starts_with(prefix)) {
        for (before, after) in values(&base, name).iter().zip(values(&trained, name)) {
            change += (after - before).powi(2);
            weights += before.powi(2);
        }
    }
    (change.sqrt(), f64::sqrt(weights))
}

#[track_caller]
fn is_near(found: &Value, expected: f64) {
    let found = found.as_f64().unwrap();
    assert!((found - expected).abs() <= 1e-9 * expected, "{found}, expected {expected}");
}

#[test]
fn a_model_that_was_trained_whole_is_so_far_from_its_base_in_each_layer() {
    let project = Project::new();
    project.train(&FULL).done();
    let document = inspected(&project, &["run"]);
    assert_eq!((&document["trained_as"], &document["base"]), (&json!("full fine-tuning"), &json!("[DIR]/bert")));
    let (norm, weights) = change(&project, "");
    is_near(&document["moved"]["frobenius"], norm);
    is_near(&document["moved"]["relative"], norm / weights);
    let layers = document["moved"]["layers"].as_array().unwrap();
    let paths: Vec<&str> = layers.iter().map(|layer| layer["path"].as_str().unwrap()).collect();
    let of_layer = |number: usize| format!("bert.encoder.layer.{number}");
    let expected = ["bert.embeddings", &of_layer(0), &of_layer(1), &of_layer(2), "bert.pooler", "classifier"];
    assert_eq!(paths, expected);
    for layer in layers {
        let (norm, weights) = change(&project, &format!("{}.", layer["path"].as_str().unwrap()));
        is_near(&layer["frobenius"], norm);
        is_near(&layer["relative"], norm / weights);
    }
    assert_eq!(document["moved"]["not_in_base"], json!([]));
    let query = "bert.encoder.layer.0.attention.self.query";
    let updates = document["updates"].as_array().unwrap();
    let update = updates.iter().find(|update| update["module"] == query).unwrap();
    is_near(&update["frobenius"], change(&project, &format!("{query}.weight")).0);
    // Of a matrix of 48 by 48 that was changed in all directions, and in more than a handful of them.
    let rank = update["effective_rank"].as_f64().unwrap();
    assert!(rank > 4.0 && rank < 48.0, "{update}");
    assert!(update["rank_90"].as_u64() < update["rank_99"].as_u64(), "{update}");
    // The model alone says the same.
    assert_eq!(inspected(&project, &["run/model"])["moved"], document["moved"]);
}

#[test]
fn of_the_last_layers_the_others_are_where_they_were() {
    let project = Project::new();
    project.train(&[&FULL[..], &LAST].concat()).done();
    let document = inspected(&project, &["run"]);
    let moved = |layer: &&Value| layer["relative"] != 0.0;
    let layers = document["moved"]["layers"].as_array().unwrap();
    let paths: Vec<&Value> = layers.iter().filter(moved).map(|layer| &layer["path"]).collect();
    assert_eq!(json!(paths), json!(["bert.encoder.layer.2", "bert.pooler", "classifier"]));
    let is_of_those = |update: &Value| {
        let module = update["module"].as_str().unwrap();
        ["bert.encoder.layer.2.", "bert.pooler.", "classifier"].iter().any(|path| module.starts_with(path))
    };
    assert!(document["updates"].as_array().unwrap().iter().all(is_of_those));
    let text = project.run(&["inspect", "run"]).done().stdout;
    for line in [
        "trained as            full fine-tuning of the last layer and what follows it\n",
        "base                  [DIR]/bert\n",
        "by layer: norm of the change, in per cent of the weights'\n",
        "     0.0000   0.00%             bert.encoder.layer.1\n",
        "updates by module: norm, in per cent of the weight's, effective rank, ",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
}

#[test]
fn what_was_saved_in_half_precision_has_not_moved_for_that() {
    let project = Project::new();
    project.train(&[&FULL[..], &LAST, &["--set", "model.save_dtype=bf16"]].concat()).done();
    let document = inspected(&project, &["run"]);
    assert_eq!(document["dtypes"], json!(["BF16"]));
    let layers = document["moved"]["layers"].as_array().unwrap();
    let relative =
        |path: &str| layers.iter().find(|layer| layer["path"] == path).unwrap()["relative"].as_f64().unwrap();
    assert_eq!((relative("bert.embeddings"), relative("bert.encoder.layer.1")), (0.0, 0.0));
    assert!(relative("bert.encoder.layer.2") > 1e-3);
}

#[test]
fn a_base_that_is_not_at_hand_is_told_with_what_to_do() {
    let project = Project::new();
    project.train(&FULL).done();
    let here = inspected(&project, &["run"]);
    std::fs::rename(project.path("bert"), project.path("elsewhere")).unwrap();
    let untold =
        |why: &str| format!("how far it was moved is known beside its base alone, {why}: name that with --model\n");
    let text = project.run(&["inspect", "run"]).done().stdout;
    assert!(text.ends_with(&untold("which is not here")), "{text}");
    let document = inspected(&project, &["run"]);
    assert_eq!((&document["moved"], &document["updates"]), (&Value::Null, &json!([])));
    assert_eq!(inspected(&project, &["run", "--model", "elsewhere"])["moved"], here["moved"]);

    // Another model of the same shapes is no base of it.
    let project = project.tensors("elsewhere/model.safetensors", |tensors| tensors.round(DType::BF16));
    project.run(&["inspect", "run", "--model", "elsewhere"]).refused(
        "error: elsewhere has other weights than the base that run/model started from\n\
         help: name that with --model: [DIR]/bert, as it was then",
    );
    std::fs::rename(project.path("elsewhere"), project.path("bert")).unwrap();
    let text = project.run(&["inspect", "run"]).done().stdout;
    assert!(text.ends_with(&untold("which has other weights by now")), "{text}");
}

#[test]
fn a_model_from_nothing_has_no_base_and_one_that_records_none_may_be_given_one() {
    let project = Project::new();
    project.train(&[&FULL[..], &["--set", "model.weights=random"]].concat()).done();
    let document = inspected(&project, &["run"]);
    assert_eq!(document["trained_as"], "training from nothing");
    assert!(document.get("moved").is_none() && document.get("base").is_none(), "{document}");
    assert!(inspected(&project, &["bert"]).get("moved").is_none());
    let beside = inspected(&project, &["bert", "--model", "bert"]);
    assert_eq!((&beside["moved"]["frobenius"], &beside["updates"]), (&json!(0.0), &json!([])));
}

#[test]
fn a_run_that_started_as_a_part_of_the_base_says_so_and_shows_its_updates_of_the_untouched_base() {
    for (init, name) in [("pissa", "pissa"), ("olora", "olora")] {
        let project = Project::new();
        let set = format!("adapter.init={init}");
        project.train(&["--quiet", "--set", &set, "--set", "adapter.r=4", "--set", "train.max_steps=3"]).done();
        let document = inspected(&project, &["run"]);
        let trained_as = document["trained_as"].as_str().unwrap();
        assert!(trained_as.ends_with(&format!(", init {name} (saved as plain LoRA, r 8)")), "{trained_as}");
        assert_eq!((&document["r"], &document["init"]), (&json!(8), &Value::Null));
        let updates = document["updates"].as_array().unwrap();
        assert!(!updates.is_empty());
        for update in updates {
            let (relative, rank) = (update["relative"].as_f64().unwrap(), update["effective_rank"].as_f64().unwrap());
            // Far less than the part of the base that it started as.
            assert!(relative > 0.0 && relative < 0.2 && rank > 1.0 && rank <= 8.0, "{init}: {update}");
        }
    }
}

#[test]
fn an_adapter_beside_other_weights_than_those_of_training_is_warned_of() {
    let project = Project::new().copy("bert-cls/model", "other").tensors("other/model.safetensors", |tensors| {
        tensors.add_to_first("bert.embeddings.word_embeddings.weight", 1.0);
    });
    project.train(&["--quiet"]).done();
    let warned = |arguments: &[&str]| project.run(&[&["inspect"], arguments].concat()).done().stderr;
    assert_eq!(warned(&["run"]), "");
    let expected = "warning: the adapter run/adapter was trained on other weights ([DIR]/bert) than those of other\n";
    assert_eq!(warned(&["run", "--model", "other"]), expected);
    assert_eq!(warned(&["run/adapter", "--model", "other", "--json"]), expected);
    assert_eq!(warned(&["run", "run", "--model", "other"]), expected.repeat(2));
    std::fs::copy(project.path("other/model.safetensors"), project.path("bert/model.safetensors")).unwrap();
    assert_eq!(
        warned(&["run"]),
        "warning: the weights of [DIR]/bert have changed since the adapter run/adapter was trained\n"
    );
}

#[test]
fn a_weight_of_the_base_that_is_not_finite_is_told_of_and_large_ones_are_finite() {
    let query = |layer: usize| format!("bert.encoder.layer.{layer}.attention.self.query");
    let filled = |layers: &[usize], value: f32| {
        Project::with_adapter().tensors("bert/model.safetensors", |tensors| {
            layers.iter().for_each(|layer| tensors.fill_row(&format!("{}.weight", query(*layer)), 2, value));
        })
    };
    let inspect = ["inspect", "adapter", "--model", "bert"];
    for (layers, value, have) in [
        (&[0][..], f32::INFINITY, "has"),
        (&[0][..], f32::NAN, "has"),
        (&[0, 1][..], f32::NEG_INFINITY, "and 1 other weight have"),
    ] {
        let project = filled(layers, value);
        let ran = project.run(&inspect).done();
        let expected = format!(
            "warning: bert: `{}.weight` {have} values that are not finite numbers, of which no change is a share\n",
            query(0)
        );
        assert_eq!(ran.stderr, expected);
        assert!(!ran.stdout.contains(" 0.00%"), "{}", ran.stdout);
        let document = project.run(&[&inspect[..], &["--json"]].concat()).done().document();
        for update in document["updates"].as_array().unwrap() {
            let is_damaged = layers.iter().any(|layer| update["module"] == query(*layer));
            assert_eq!(update["relative"].is_null(), is_damaged, "{update}");
        }
    }
    // Its square is beyond f32.
    let ran = filled(&[0], 1e30).run(&[&inspect[..], &["--json"]].concat()).done();
    let document = ran.document();
    let update = document["updates"].as_array().unwrap().iter().find(|update| update["module"] == query(0)).unwrap();
    assert!(ran.stderr.is_empty() && update["relative"].as_f64().unwrap() > 0.0, "{} {update}", ran.stderr);
}
