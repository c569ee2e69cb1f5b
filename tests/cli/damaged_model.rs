//! A whole model (`method = "full"`) whose files are not those that training wrote: weights that changed are an error in every
//! command that opens it, what a person may have changed is told and used.

use serde_json::json;

use crate::project::Project;

/// With the model in `run/model`.
fn trained() -> Project {
    let project = Project::new().config("[adapter]\nmethod = \"full\"\n");
    project.train(&["--quiet"]).done();
    project
}

/// Flips the lowest bit of a byte of a file.
fn flip(project: Project, name: &str, byte: impl FnOnce(&[u8]) -> usize) -> Project {
    let mut bytes = std::fs::read(project.path(name)).unwrap();
    let byte = byte(&bytes);
    bytes[byte] ^= 1;
    project.file(name, bytes)
}

#[test]
fn one_bit_of_the_weights_is_an_error_in_every_command() {
    // The lowest bit of the last value: no number is any less one, and no score tells.
    let project = flip(trained(), "run/model/model.safetensors", |bytes| bytes.len() - 4);
    let commands: [&[&str]; 5] = [
        &["predict", "--run", "run", "a fine film"],
        &["predict", "--model", "run/model", "a fine film"],
        &["eval", "--run", "run", "--data", "train.jsonl"],
        &["extract", "--base", "bert", "--tuned", "run/model", "--rank", "2", "-o", "smaller"],
        &["train", "run.toml", "--set", "model.path=\"run/model\"", "--set", "output_dir=\"other\"", "--quiet"],
    ];
    for command in commands {
        let ran = project.run(command);
        assert_eq!(ran.status, Some(2), "{command:?}: {}", ran.stderr);
        let expected = "run/model/model.safetensors is not as it was written: kindling.json beside it has another SHA-256\n\
                        help: it is damaged, or its run ended while saving it: copy the directory again, or resume the run; \
                        if it was changed on purpose, take its line out of `files` in kindling.json\n";
        assert!(ran.stderr.ends_with(expected), "{command:?}: {}", ran.stderr);
    }
    assert!(!project.path("other").exists() && !project.path("smaller").exists());
    // The hash is what was asked about: without it the weights are used as they are.
    let mut document = project.json_of("run/model/kindling.json");
    document["files"].as_object_mut().unwrap().remove("model.safetensors").unwrap();
    let project = project.file("run/model/kindling.json", document.to_string());
    let ran = project.run(&["predict", "--run", "run", "a fine film"]).done();
    let warning = "warning: run/model/kindling.json is not as kindling wrote it: it was changed since, or damaged\n";
    assert!(ran.stderr.contains(warning), "{}", ran.stderr);
}

#[test]
fn one_bit_of_the_tokenizer_or_the_configuration_is_told_and_used() {
    let expected = trained().run(&["predict", "--run", "run", "--json", "a fine film"]).done();
    assert!(!expected.stderr.contains("not as kindling wrote it"), "{}", expected.stderr);
    // A word of the vocabulary that the text does not have, and a space between two keys.
    let word = |bytes: &[u8]| bytes.windows(9).position(|part| part == b"\"falls\": ").unwrap() + 1;
    let project = flip(trained(), "run/model/tokenizer.json", word);
    let said = "warning: run/model/tokenizer.json is not as kindling wrote it: it was changed since, or damaged\n";
    for command in
        [&["predict", "--run", "run", "--json", "a fine film"][..], &["eval", "--run", "run", "--data", "train.jsonl"]]
    {
        let ran = project.run(command).done();
        assert!(ran.stderr.contains(said), "{command:?}: {}", ran.stderr);
    }
    let ran = project.run(&["predict", "--run", "run", "--json", "a fine film"]).done();
    assert_eq!(ran.stdout, expected.stdout);
    let project = trained().json("run/model/config.json", "added", json!(1));
    let ran = project.run(&["predict", "--model", "run/model", "--json", "a fine film"]).done();
    let said = "warning: run/model/config.json is not as kindling wrote it: it was changed since, or damaged\n";
    assert!(ran.stderr.contains(said), "{}", ran.stderr);
    assert_eq!(ran.stdout, expected.stdout);
    // As the base of another run.
    let train = ["train", "run.toml", "--set", "model.path=\"run/model\"", "--set", "output_dir=\"other\""];
    let ran = project.run(&train).done();
    assert!(ran.stderr.contains("run/model/config.json is not as kindling wrote it"), "{}", ran.stderr);
}
