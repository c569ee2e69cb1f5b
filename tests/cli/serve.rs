//! `kindling serve` as it is typed: the address it prints, what it refuses, how a signal ends it.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;

use serde_json::{Value, json};

use crate::project::Project;
use crate::project::server::Running;

fn names(models: &Value) -> Vec<&str> {
    models["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect()
}

#[test]
fn a_run_is_served_under_its_name_and_answers_as_predict_does() {
    let project = Project::new();
    project.train(&[]).done();
    let served = Running::start(&project, &["--run", "run"]);
    let models = served.get("/v1/models");
    assert_eq!(names(&models), ["bert", "run"]);
    let answer = served.post("/classify", &json!({ "model": "run", "input": "a fine film" }));
    let line = project.run(&["predict", "--run", "run", "a fine film"]).done().lines().remove(0);
    assert_eq!((&answer["data"][0]["label"], &answer["data"][0]["probs"]), (&line["label"], &line["probabilities"]));
    let (status, said) = served.terminated();
    assert_eq!(status, Some(0), "{said}");
    let last: Vec<&str> = said.lines().rev().take(2).collect();
    assert_eq!(last, ["stopped", "models: bert, run; Ctrl-C stops the server"]);
}

#[test]
fn several_adapters_are_served_on_one_base() {
    let project = Project::with_adapter().copy("bert-cls/trained", "trained/adapter");
    let arguments = ["--model", "bert", "--adapter", "first=adapter", "--adapter", "trained"];
    let served = Running::start(&project, &arguments);
    assert_eq!(names(&served.get("/v1/models")), ["bert", "first", "trained"]);
    let probabilities = |name: &str| {
        served.post("/classify", &json!({ "model": name, "input": "a fine film" }))["data"][0]["probs"].clone()
    };
    let alone = project.predict_with_adapter().done().lines().remove(0);
    assert_eq!(probabilities("first"), alone["probabilities"]);
    assert_ne!(probabilities("trained"), alone["probabilities"]);
}

#[test]
fn a_signal_in_the_middle_of_a_stream_lets_it_end() {
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/tiny-decoder");
    let project = Project::new();
    let served = Running::start(&project, &["--model", model]);
    let body = json!({ "prompt": "a lamp is", "max_tokens": 40, "temperature": 0, "stream": true });
    let mut stream = BufReader::new(served.begin("/v1/completions", &body));
    let mut read = String::new();
    while !read.contains("data: ") {
        stream.read_line(&mut read).unwrap();
    }
    let (status, said) = served.terminated();
    assert_eq!(status, Some(0), "{said}");
    stream.read_to_string(&mut read).unwrap();
    assert!(read.contains("data: [DONE]"), "{read}");
}

#[test]
fn a_port_in_use_is_refused_before_anything_is_loaded() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    Project::new().run(&["serve", "--model", "bert", "--port", &port]).refused(&format!(
        "error: cannot listen on 127.0.0.1:{port}: Address already in use (os error 98)\n\
         help: another program listens there: choose another port with --port, or 0 for any that is free"
    ));
}

#[test]
fn what_cannot_be_served_is_refused() {
    let project = Project::with_adapter().file("keys", "\n");
    let serve = |arguments: &[&str]| project.run(&[&["serve", "--port", "0"], arguments].concat());
    serve(&[]).refused(
        "error: no model is named\n\
         help: name a run with --run DIR, a model with --model M, or an adapter with --adapter NAME=DIR",
    );
    serve(&["--run", "nowhere"]).refused(
        "error: there is no directory nowhere\n\
         help: a run's directory is what `kindling train` wrote, `runs/NAME` unless `output_dir` says otherwise",
    );
    serve(&["--model", "bert", "--adapter", "a=./adaptre"]).refused(
        "error: there is no directory ./adaptre\n\
         help: did you mean `./adapter`?",
    );
    serve(&["--model", "bert", "--adapter", "=adapter"]).refused(
        "error: `--adapter =adapter` has no name\n\
         help: write it as NAME=DIR: places=runs/places",
    );
    serve(&["--model", "bert", "--adapter", "a=adapter", "--adapter", "a=adapter"]).refused(
        "error: two models are called `a`\n\
         help: names are how clients choose: write --adapter NAME=DIR with another one",
    );
    serve(&["--model", "bert", "--adapter-root", "nowhere"]).refused(
        "error: there is no directory nowhere\n\
         help: --adapter-root names the directory that adapters are in, `runs` for example",
    );
    serve(&["--model", "bert", "--api-key-file", "keys"]).refused(
        "error: keys has no API key\n\
         help: write one on each line, for example what `openssl rand -hex 32` prints",
    );
    serve(&["--model", "bert", "--api-key-file", "none"]).refused(
        "error: cannot read the API keys in none: No such file or directory (os error 2)\n\
         help: --api-key-file names a file of text with a key on each line",
    );
    serve(&["--model", "bert", "--cors-origin", "example.org"]).refused(
        "error: `--cors-origin example.org` is no origin\n\
         help: an origin is a scheme and a host without a path: https://example.org, http://localhost:3000",
    );
    serve(&["--model", "bert", "--allowed-host", "https://example.org"]).refused(
        "error: `--allowed-host https://example.org` is no name of a host\n\
         help: a host is its name alone, without scheme, port and path: models.example.org",
    );
    serve(&["--model", "bert", "--host", "192.0.2.1"]).refused(
        "error: cannot listen on 192.0.2.1:0: Cannot assign requested address (os error 99)\n\
         help: --host names an address of this machine: 127.0.0.1, or 0.0.0.0 for all of them",
    );
}

#[test]
fn an_adapter_that_cannot_share_its_base_is_refused_by_name() {
    let project = Project::with_adapter()
        .copy("bert-pair-bias-all/model", "pairs")
        .copy("bert-pair-bias-all/trained", "biases")
        .copy("distilbert-cls/adapter", "distil");
    let serve =
        |model: &str, adapter: &str| project.run(&["serve", "--port", "0", "--model", model, "--adapter", adapter]);
    serve("pairs", "biases").refused(
        "error: biases cannot be used beside others on one base: the adapter has `bert.embeddings.LayerNorm.bias` of its own in \
         place of its base's, which other adapters read too\n\
         help: merge it into its base (`kindling merge`) and use the merged model by itself",
    );
    serve("bert", "a=distil").refused(
        "error: distil/adapter_config.json does not fit the model: `target_modules`: no module is named `v_lin`\n\
         help: known: word_embeddings, position_embeddings, token_type_embeddings, query, key, value, dense",
    );
}

#[test]
fn a_masked_language_model_is_nothing_to_serve() {
    Project::new().copy("bert-mlm/model", "mlm").run(&["serve", "--model", "mlm", "--port", "0"]).refused(
        "error: mlm is for masked-lm, whose models neither write nor classify\n\
         help: serve an adapter or a model that was trained for another task",
    );
}

#[test]
fn a_cache_without_room_for_a_text_is_refused() {
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/tiny-decoder");
    let project = Project::new();
    project.run(&["serve", "--port", "0", "--model", model, "--cache-memory", "1KB"]).refused(
        "error: --cache-memory has room for 0 tokens: no text could be written\n\
         help: a token's keys and values take 2560 bytes: give it --cache-memory 40960, or more",
    );
}

#[test]
fn any_page_without_a_key_is_worth_a_warning() {
    let served = Running::start(&Project::new(), &["--model", "bert", "--cors-origin", "*"]);
    let (status, said) = served.terminated();
    assert_eq!(status, Some(0));
    let expected = "warning: any page that a browser on this machine or its network opens can use the models: name the pages' \
                    origins with --cors-origin, or give clients a key with --api-key-file";
    assert!(said.lines().any(|line| line == expected), "{said}");
}

#[cfg(unix)]
#[test]
fn keys_that_every_user_can_read_are_worth_a_warning() {
    use std::os::unix::fs::PermissionsExt;

    let project = Project::new().file("my keys", "a-key-for-tests\n");
    let said = |mode: u32| {
        let keys = project.path("my keys");
        std::fs::set_permissions(keys, std::fs::Permissions::from_mode(mode)).unwrap();
        let served = Running::start(&project, &["--model", "bert", "--api-key-file", "my keys"]);
        let (status, said) = served.terminated();
        assert_eq!(status, Some(0));
        said
    };
    let expected = "warning: every user of this machine can read the API keys in my keys: `chmod 600 'my keys'`";
    let exposed = said(0o644);
    assert!(exposed.lines().any(|line| line == expected), "{exposed}");
    let kept = said(0o640);
    assert!(!kept.contains("warning"), "{kept}");
}

#[test]
fn without_a_key_on_an_address_that_others_reach_there_is_a_warning() {
    let served = Running::start(&Project::new(), &["--model", "bert", "--host", "0.0.0.0"]);
    let (status, said) = served.terminated();
    assert_eq!(status, Some(0));
    let expected = "can use the models: give clients a key with --api-key-file, or listen on 127.0.0.1";
    assert!(
        said.lines().any(|line| line.starts_with("warning: whoever reaches 0.0.0.0:") && line.ends_with(expected)),
        "{said}"
    );
}
