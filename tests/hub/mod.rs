//! Models and adapters named by their ids on the Hub, served here from 127.0.0.1. How files come and what goes wrong on
//! the way is tested beside `model::hub`; here is what a user sees of it.

mod server;
mod tls;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::project::{Project, Ran};
use server::{COMMIT, Kind, Server};

const BERT: &str = "kindling/tiny-bert";

/// The project's BERT as a repository; the project itself has none.
fn served() -> (Server, Project) {
    served_as(BERT)
}

fn served_as(id: &str) -> (Server, Project) {
    let project = Project::with_adapter().replace("run.toml", "\"bert\"", &format!("{id:?}"));
    let server = Server::start(id);
    server.directory(&project.path("bert"));
    let weights = std::fs::read(project.path("bert/model.safetensors")).unwrap();
    let hash: String = Sha256::digest(&weights).iter().map(|byte| format!("{byte:02x}")).collect();
    server.large_file("model.safetensors", weights, &hash);
    std::fs::remove_dir_all(project.path("bert")).unwrap();
    let project = project.env("HF_HUB_OFFLINE", "0").env("HF_ENDPOINT", &server.endpoint());
    (server, project)
}

fn predict(project: &Project, model: &str) -> Ran {
    project.run(&["predict", "--model", model, "--adapter", "adapter", "a fine film"])
}

#[test]
fn a_run_trains_on_a_model_of_the_hub_and_writes_down_its_commit() {
    let (server, project) = served();
    project.train(&[]).done();
    let pinned = format!("{BERT}@{COMMIT}");
    assert!(project.read("run/config.toml").contains(&format!("path = {pinned:?}")));
    let sidecar: Value = serde_json::from_str(&project.read("run/adapter/kindling.json")).unwrap();
    assert_eq!((&sidecar["base"]["path"], &sidecar["base"]["revision"]), (&BERT.into(), &COMMIT.into()));
    let peft: Value = serde_json::from_str(&project.read("run/adapter/adapter_config.json")).unwrap();
    assert_eq!((&peft["base_model_name_or_path"], &peft["revision"]), (&BERT.into(), &COMMIT.into()));
    assert!(project.read("run/adapter/README.md").contains(&format!("base_model: {BERT:?}")));

    server.requests();
    project.run(&["eval", "--run", "run", "--data", "train.jsonl"]).done();
    assert_eq!(server.requests(), [], "a commit that is in the cache is not asked for again");
}

/// Everything that a run says and leaves, and what is said when the Hub refuses.
#[test]
fn the_token_stands_in_nothing_that_is_said_or_written() {
    const TOKEN: &str = "hf_kindlingsecret";
    let (server, project) = served();
    let project = project.env("HF_TOKEN", TOKEN);
    let mut said = vec![project.train(&[]).done()];
    assert!(server.requests().iter().any(|request| request.authorization == Some(format!("Bearer {TOKEN}"))));
    said.push(project.run(&["report", "run"]).done());
    for status in [401, 403, 404, 429, 500] {
        server.fault("/api/", usize::MAX, Kind::Status(status, &[("retry-after", "300")]));
        let refused = project.run(&["predict", "--model", "kindling/another", "x"]);
        assert_ne!(refused.status, Some(0));
        said.push(refused);
    }
    assert!(said.iter().all(|ran| !ran.stderr.contains(TOKEN) && !ran.stdout.contains(TOKEN)));
    let mut directories = vec![project.path("")];
    let mut read = 0;
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap().map(Result::unwrap) {
            match entry.file_type().unwrap() {
                kind if kind.is_dir() => directories.push(entry.path()),
                kind if kind.is_file() => {
                    let bytes = std::fs::read(entry.path()).unwrap();
                    assert!(!bytes.windows(TOKEN.len()).any(|it| it == TOKEN.as_bytes()), "{}", entry.path().display());
                    read += 1;
                }
                _ => {}
            }
        }
    }
    assert!(read > 10, "{read} files");
}

#[test]
fn where_no_model_is_named_the_one_that_is_recommended_for_the_language_is_fetched() {
    let (_server, project) = served_as("FacebookAI/xlm-roberta-base");
    let rows: String = (0..12).map(|n| format!("η ερώτηση {n} είναι δύσκολη,{}\n", n % 3)).collect();
    let project = project.file("greek.csv", format!("text,label\n{rows}"));
    let ran = project.run(&["init", "greek.csv"]).done();
    let said = "\nlanguage     Greek letters: 100 % of the letters are Greek\n\
                model        FacebookAI/xlm-roberta-base, since none is named: trained on a hundred languages (1.1 GB, \
                fetched once)\n";
    assert!(ran.stderr.contains(said), "{}", ran.stderr);
    let written = project.read("greek.toml");
    assert!(
        written.contains(
            "[model]\n# Recommended, since none was named: trained on a hundred languages. Language of the texts: Greek \
             letters.\npath = \"FacebookAI/xlm-roberta-base\"\n"
        ),
        "{written}"
    );
    let run = ["train", "greek.csv", "--set", "train.max_steps=2"];
    assert!(project.run(&run).done().stderr.contains("\ngreek.toml is what `init` writes for this data, and is run\n"));
}

#[test]
fn an_adapter_of_the_hub_is_used_like_one_on_the_disk() {
    let project = Project::with_adapter();
    let expected = predict(&project, "bert").done().stdout;
    let server = Server::start("somebody/adapter");
    server.directory(&project.path("adapter"));
    let project = project.env("HF_HUB_OFFLINE", "0").env("HF_ENDPOINT", &server.endpoint());
    let arguments = ["predict", "--model", "bert", "--adapter", "somebody/adapter", "a fine film"];
    assert_eq!(project.run(&arguments).done().stdout, expected);
}

#[test]
fn what_neither_the_disk_nor_the_hub_has_is_named_with_both_its_readings() {
    let (server, project) = served();
    let endpoint = server.endpoint();
    let ran = predict(&project, "google-bert/bert-base-uncasd");
    assert_eq!(ran.status, Some(2));
    let expected =
        format!("error: `google-bert/bert-base-uncasd` is neither a directory here nor a repository at {endpoint}\n");
    assert!(ran.stderr.starts_with(&expected), "{}", ran.stderr);
    let ran = project.train(&["--set", "model.path=\"google-bert/bert-base-uncasd\""]);
    assert_eq!(ran.status, Some(2));
    let place = "error: `--set model.path=\"google-bert/bert-base-uncasd\"`: `google-bert/bert-base-uncasd` is neither";
    assert!(ran.stderr.starts_with(place), "{}", ran.stderr);
}

#[test]
fn an_endpoint_without_a_scheme_is_refused() {
    // Nor is a password shown.
    for typed in ["huggingface.co/", "ada:secret@huggingface.co"] {
        let (_server, project) = served();
        let project = project.env("HF_ENDPOINT", typed);
        predict(&project, BERT).refused(
            "error: `HF_ENDPOINT` is `huggingface.co`, which is not an http or https address\n\
             help: set it to an address such as https://huggingface.co, or remove it from the environment: that one is the \
             default",
        );
    }
}

#[test]
fn a_password_of_the_endpoint_is_not_shown() {
    let (server, project) = served();
    let endpoint = server.endpoint();
    let project = project.env("HF_ENDPOINT", &endpoint.replace("http://", "http://ada:secret@"));
    predict(&project, "kindling/tny").refused(&format!(
        "error: `kindling/tny` is neither a directory here nor a repository at {endpoint}\n\
         help: check the spelling; if it is private, set HF_TOKEN to a token that may read it, or run `hf auth login`"
    ));
}

#[test]
fn a_gated_model_says_what_opens_it() {
    let (server, project) = served();
    let gated = Kind::Status(403, &[("x-error-code", "GatedRepo")]);
    server.fault("", usize::MAX, gated);
    let ran = predict(&project, BERT);
    assert_eq!(ran.status, Some(2));
    let expected = format!("error: {BERT} is gated: it is for those who have accepted its conditions\nhelp: ");
    assert!(ran.stderr.starts_with(&expected), "{}", ran.stderr);
}

#[test]
fn a_cut_download_goes_on_in_the_next_process() {
    let (server, project) = served();
    server.fault("/lfs/", 1, Kind::Cut(100_000));
    server.fault("/lfs/", usize::MAX, Kind::Cut(0));
    let ran = predict(&project, BERT);
    assert_eq!(ran.status, Some(1), "the network is at fault, not the input: {}", ran.stderr);
    assert!(ran.stderr.contains("was interrupted at"), "{}", ran.stderr);
    server.heal();
    server.requests();
    predict(&project, BERT).done();
    let asked = server.requests();
    let weights = asked.iter().find(|request| request.path.contains("/lfs/"));
    assert!(weights.unwrap().range.is_some(), "what was there already is not asked for again: {asked:?}");
}

#[test]
fn a_damaged_file_is_not_kept() {
    let (server, project) = served();
    server.fault("/lfs/", usize::MAX, Kind::Damage);
    let ran = predict(&project, BERT);
    assert_eq!(ran.status, Some(1), "{}", ran.stderr);
    assert!(ran.stderr.contains("has arrived damaged"), "{}", ran.stderr);
    server.heal();
    predict(&project, BERT).done();
}

#[test]
fn without_a_network_the_cache_serves() {
    let (server, project) = served();
    let first = predict(&project, BERT).done().stdout;
    server.requests();
    let project = project.env("HF_HUB_OFFLINE", "1");
    assert_eq!(predict(&project, BERT).done().stdout, first);
    let ran = predict(&project, "kindling/other");
    assert_eq!(ran.status, Some(1));
    let expected = "error: `HF_HUB_OFFLINE` is set and the cache has not all of kindling/other";
    assert!(ran.stderr.starts_with(expected), "{}", ran.stderr);
    assert_eq!(server.requests(), []);
}

#[test]
fn a_directory_is_never_looked_for_on_the_hub() {
    let server = Server::start(BERT);
    let project = Project::with_adapter().env("HF_HUB_OFFLINE", "0").env("HF_ENDPOINT", &server.endpoint());
    project.train(&[]).done();
    predict(&project, "bert").done();
    assert_eq!(server.requests(), []);
}
