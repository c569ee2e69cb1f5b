//! Adapters loaded and unloaded while the server answers.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use serve::Settings;
use tempfile::TempDir;

use crate::served::{Models, Served, fixture};

/// A directory with the adapter `films` in it.
fn root() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().canonicalize().unwrap();
    copy(&fixture("bert-cls/trained"), &root.join("films"));
    (directory, root)
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

fn served(root: &Path) -> Served {
    Models::of("bert-cls").serve_with(Settings { adapter_root: Some(root.into()), ..Settings::default() })
}

fn load(served: &Served, name: &str, path: &str) -> crate::served::Reply {
    served.post("/v1/load_lora_adapter", &json!({ "lora_name": name, "lora_path": path }))
}

fn names(served: &Served) -> Vec<String> {
    let models = served.get("/v1/models").done();
    models["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap().to_string()).collect()
}

#[test]
fn an_adapter_that_is_loaded_answers_until_it_is_unloaded() {
    let (_directory, root) = root();
    let served = served(&root);
    let ask = || served.post("/classify", &json!({ "model": "films", "input": "good" }));
    assert_eq!(ask().status, 404);
    let loaded = load(&served, "films", "films");
    assert_eq!((loaded.status, loaded.body.as_str()), (200, "Success: LoRA adapter 'films' added successfully."));
    let started_with = Models::of("bert-cls").adapter("films", fixture("bert-cls/trained")).serve();
    let expected = started_with.post("/classify", &json!({ "model": "films", "input": "good" })).done();
    let answer = ask().done();
    assert_eq!((&answer["data"], &answer["system_fingerprint"]), (&expected["data"], &expected["system_fingerprint"]));
    assert_eq!(names(&served), ["base", "films"]);
    let unload = || served.post("/v1/unload_lora_adapter", &json!({ "lora_name": "films" }));
    let unloaded = unload();
    assert_eq!((unloaded.status, unloaded.body.as_str()), (200, "Success: LoRA adapter 'films' removed successfully."));
    assert_eq!(ask().status, 404);
    let unknown = unload();
    assert_eq!(unknown.json()["error"]["param"], "lora_name");
    assert_eq!(unknown.refused(), (404, "there is no model `films`: there are base".to_string()));
    assert_eq!(load(&served, "films", root.join("films").to_str().unwrap()).status, 200, "the name is free again");
    let of_base = served.post("/v1/unload_lora_adapter", &json!({ "lora_name": "base" }));
    assert_eq!(of_base.refused(), (400, "`base` is the base model: only adapters can be unloaded".to_string()));
}

#[test]
fn without_a_root_nothing_is_loaded() {
    let served = Models::of("bert-cls").serve();
    let expected = "adapters can be neither loaded nor unloaded: the server was started without `--adapter-root`";
    assert_eq!(load(&served, "a", "a").refused(), (403, expected.to_string()));
}

#[test]
fn a_path_out_of_the_root_is_refused_whether_something_is_there_or_not() {
    let (_directory, root) = root();
    let served = served(&root);
    for path in ["../x", "/etc", "/nothing/here", "films/../../x"] {
        assert_eq!(load(&served, "a", path).refused(), (403, format!("`{path}` is not below the adapter root")));
    }
    let expected = "there is no adapter at `filsm`: it is a directory with adapter_config.json, or that of a run";
    assert_eq!(load(&served, "a", "filsm").refused(), (404, expected.to_string()));
}

#[test]
fn an_adapter_that_does_not_fit_is_refused_without_a_path_of_the_machine() {
    let (_directory, root) = root();
    copy(&fixture("bert-cls/trained"), &root.join("cut"));
    let tensors = root.join("cut/adapter_model.safetensors");
    let bytes = std::fs::read(&tensors).unwrap();
    std::fs::write(&tensors, &bytes[..bytes.len() / 2]).unwrap();
    copy(&fixture("distilbert-cls/adapter"), &root.join("distilbert"));
    let served = served(&root);
    for name in ["cut", "distilbert"] {
        let (status, message) = load(&served, name, name).refused();
        assert_eq!(status, 400, "{message}");
        assert!(message.contains(name) && !message.contains(root.to_str().unwrap()), "{message}");
        assert!(!message.contains(fixture("bert-cls").to_str().unwrap()), "{message}");
    }
    assert_eq!(names(&served), ["base"]);
    assert_eq!(load(&served, "cut", "films").status, 200, "the name was not taken");
}

#[test]
fn an_adapter_that_changes_what_others_read_is_refused_by_the_name_of_the_tensor() {
    let (_directory, root) = root();
    copy(&fixture("bert-pair-bias-all/trained"), &root.join("biases"));
    let settings = Settings { adapter_root: Some(root.clone()), ..Settings::default() };
    let served = Models::of("bert-pair-bias-all").serve_with(settings);
    let expected = "biases cannot be used beside others on one base: the adapter has `bert.embeddings.LayerNorm.bias` of its \
                    own in place of its base's, which other adapters read too: merge it into its base (`kindling merge`) \
                    and use the merged model by itself";
    assert_eq!(load(&served, "biases", "biases").refused(), (400, expected.to_string()));
}

#[test]
fn an_adapter_that_was_trained_on_other_weights_is_refused() {
    let (_directory, root) = root();
    let sidecar = json!({
        "format_version": 1, "kindling": "0.1.0", "task": "sequence-classification", "labels": ["a", "b", "c"],
        "columns": {}, "max_length": 64, "base": { "path": "other", "fingerprint": "0123456789abcdef" },
    });
    std::fs::write(root.join("films/kindling.json"), sidecar.to_string()).unwrap();
    let served = served(&root);
    let expected = "the adapter `films` was trained on other weights than those of `base`";
    assert_eq!(load(&served, "films", "films").refused(), (400, expected.to_string()));
}

#[test]
fn of_two_loads_of_one_name_at_once_one_is_refused() {
    let (_directory, root) = root();
    let served = served(&root);
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let loads: Vec<_> = (0..4).map(|_| scope.spawn(|| load(&served, "films", "films").status)).collect();
        loads.into_iter().map(|load| load.join().unwrap()).collect()
    });
    let count = |status: u16| statuses.iter().filter(|found| **found == status).count();
    assert_eq!((count(200), count(409)), (1, 3), "{statuses:?}");
    let expected = "`films` has already been loaded: unload it first, or choose another name";
    assert_eq!(load(&served, "films", "films").refused(), (409, expected.to_string()));
}

#[test]
fn requests_that_have_found_an_adapter_are_answered_after_it_is_unloaded() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().canonicalize().unwrap();
    copy(&fixture("llama-lm/adapter"), &root.join("tuned"));
    let settings = Settings { adapter_root: Some(root), ..Settings::default() };
    let served = Models::of("llama-lm").busy().serve_with(settings);
    assert_eq!(load(&served, "tuned", "tuned").status, 200);
    let body = |name: &str| json!({ "model": name, "prompt": "the cat", "max_tokens": 100, "n": 8, "seed": 1 });
    let expected = served.post("/v1/completions", &body("tuned")).done();
    served.wait_for("kindling_requests_running", 0.0);
    let (running, waiting, unloaded) = std::thread::scope(|scope| {
        let running = scope.spawn(|| served.post("/v1/completions", &body("tuned")));
        served.wait_for("kindling_requests_running", 1.0);
        let waiting = scope.spawn(|| served.post("/v1/completions", &body("tuned")));
        served.wait_for("kindling_requests_waiting", 1.0);
        let unloaded = served.post("/v1/unload_lora_adapter", &json!({ "lora_name": "tuned" }));
        assert_eq!(served.post("/v1/completions", &body("tuned")).status, 404);
        (running.join().unwrap(), waiting.join().unwrap(), unloaded)
    });
    assert_eq!(unloaded.status, 200);
    let choices = |answer: Value| answer["choices"].clone();
    assert_eq!(choices(running.done()), choices(expected.clone()));
    assert_eq!(choices(waiting.done()), choices(expected));
}

#[test]
fn texts_that_wait_to_be_classified_are_answered_after_their_adapter_is_unloaded() {
    let (_directory, root) = root();
    let settings = Settings { adapter_root: Some(root), ..Settings::default() };
    let served = Models::of("bert-cls").busy().serve_with(settings);
    assert_eq!(load(&served, "films", "films").status, 200);
    let body = |count: usize| json!({ "model": "films", "input": vec!["a film that never ends"; count] });
    let expected = served.post("/classify", &body(1)).done()["data"][0]["probs"].clone();
    std::thread::scope(|scope| {
        let mut found = vec![scope.spawn(|| served.post("/classify", &body(300)))];
        served.wait_for("kindling_requests_running", 1.0);
        found.extend((0..8).map(|_| scope.spawn(|| served.post("/classify", &body(20)))));
        served.wait_for("kindling_requests_running", 9.0);
        let unloaded = served.post("/v1/unload_lora_adapter", &json!({ "lora_name": "films" }));
        assert_eq!(unloaded.status, 200);
        let late = served.post("/classify", &body(1)).refused();
        assert_eq!(late, (404, "there is no model `films`: there are base".to_string()));
        assert!(!found[0].is_finished(), "all were answered before it was unloaded");
        for found in found {
            let answer = found.join().unwrap().done();
            assert!(answer["data"].as_array().unwrap().iter().all(|entry| entry["probs"] == expected), "{answer}");
        }
    });
}

#[test]
fn a_load_that_nobody_waits_for_leaves_its_name_free_or_taken() {
    let (_directory, root) = root();
    let served = served(&root);
    let unload = || served.post("/v1/unload_lora_adapter", &json!({ "lora_name": "films" }));
    for milliseconds in [0, 1, 2, 5, 10, 20] {
        let given_up = served.begin("/v1/load_lora_adapter", &json!({ "lora_name": "films", "lora_path": "films" }));
        std::thread::sleep(std::time::Duration::from_millis(milliseconds));
        drop(given_up);
        let given_up = served.begin("/v1/unload_lora_adapter", &json!({ "lora_name": "films" }));
        drop(given_up);
        // It may be on its way yet.
        let start = std::time::Instant::now();
        while load(&served, "films", "films").status != 200 {
            assert!(start.elapsed() < std::time::Duration::from_secs(30), "the name is taken for ever");
            unload();
        }
        let start = std::time::Instant::now();
        while unload().status != 404 {
            assert!(start.elapsed() < std::time::Duration::from_secs(30), "the adapter is there for ever");
        }
    }
}
