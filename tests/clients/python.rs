//! The scripts beside this file, each the assertions of one package.

use std::process::Command;

use super::{REPOSITORY, is_there, writers};
use crate::project::Project;
use crate::project::server::Running;

const KEY: &str = "a-key-for-tests";

fn python() -> String {
    std::env::var("KINDLING_PYTHON").unwrap_or_else(|_| "python3".to_string())
}

/// Whether Python has a module, which a package of another name may bring.
fn has(module: &str, package: &str) -> bool {
    let python = python();
    let missing = format!("{python} has no package `{package}`: install it, or name another Python by KINDLING_PYTHON");
    is_there(Command::new(&python).args(["-c", &format!("import {module}")]), &missing)
}

/// Runs a script against the server; its assertions are the test's.
fn run(script: &str, served: &Running) {
    let script = format!("{REPOSITORY}/tests/clients/{script}");
    let ran = Command::new(python())
        .arg(&script)
        .args([&served.url(), KEY])
        // A proxy of this machine is not to be asked, nor anybody on the network.
        .env("NO_PROXY", "127.0.0.1")
        .env("LITELLM_LOCAL_MODEL_COST_MAP", "True")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(ran.status.success(), "{}{}", text(&ran.stdout), text(&ran.stderr));
    assert!(text(&ran.stdout).trim_end().ends_with("all hold"), "{}", text(&ran.stdout));
}

fn writing() -> (Project, Running) {
    let project = writers().file("keys", KEY);
    let arguments = ["--model", "chat", "--adapter", "places=places", "--max-queue", "2", "--api-key-file", "keys"];
    let served = Running::start(&project, &arguments);
    (project, served)
}

#[test]
fn the_openai_package_is_answered() {
    if has("openai", "openai") {
        let (_project, served) = writing();
        run("openai_package.py", &served);
    }
}

#[test]
fn litellm_is_answered() {
    if has("litellm", "litellm") {
        let (_project, served) = writing();
        run("litellm_package.py", &served);
    }
}

#[test]
fn the_inference_client_of_hugging_face_is_answered() {
    // Of an old one the client is another.
    if has("huggingface_hub.errors, httpx", "huggingface_hub") {
        let (_project, served) = writing();
        run("huggingface_hub_package.py", &served);
    }
}

#[test]
fn langchain_is_answered() {
    if has("langchain_openai", "langchain-openai") {
        let (_project, served) = writing();
        run("langchain_openai_package.py", &served);
    }
}

#[test]
fn requests_as_vllm_and_text_embeddings_inference_take_them_are_answered() {
    if has("requests", "requests") {
        let project = Project::new().copy("bert-cls/trained", "reviews").file("keys", KEY);
        let served = Running::start(&project, &["--model", "bert", "--adapter", "reviews", "--api-key-file", "keys"]);
        run("classification.py", &served);
    }
}
