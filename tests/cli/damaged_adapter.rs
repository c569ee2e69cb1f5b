//! An adapter whose files are not those that kindling wrote: weights that changed are an error, what a person may have changed is
//! told and used.

use serde_json::json;

use crate::project::Project;

fn trained() -> Project {
    let project = Project::new();
    project.train(&["--quiet"]).done();
    project
}

#[test]
fn weights_that_changed_are_an_error_in_every_command() {
    let tensor = "base_model.model.bert.encoder.layer.0.attention.self.query.lora_A.weight";
    let project = trained().tensors("run/adapter/adapter_model.safetensors", |tensors| {
        tensors.add_to_first(tensor, 1e-6);
    });
    let commands: [&[&str]; 5] = [
        &["predict", "--run", "run", "a fine film"],
        &["eval", "--adapter", "run/adapter", "--data", "train.jsonl"],
        &["merge", "--run", "run", "--output", "merged"],
        &["inspect", "run/adapter"],
        &["resize", "run/adapter", "--rank", "2", "-o", "smaller"],
    ];
    for command in commands {
        project.run(command).refused(
            "error: run/adapter/adapter_model.safetensors is not as it was written: kindling.json beside it has another SHA-256\n\
             help: it is damaged, or its run ended while saving it: copy the directory again, or resume the run; if it was changed on \
             purpose, take its line out of `files` in kindling.json",
        );
    }
}

#[test]
fn settings_that_changed_are_told_and_used() {
    let project = trained().json("run/adapter/adapter_config.json", "lora_alpha", json!(0));
    let ran = project.run(&["predict", "--run", "run", "--json", "a fine film"]).done();
    let warning =
        "warning: run/adapter/adapter_config.json is not as kindling wrote it: it was changed since, or damaged\n";
    assert!(ran.stderr.starts_with(warning), "{}", ran.stderr);
    // Without a scale the adapter's updates are nothing, but its head is there.
    let unchanged = trained().run(&["predict", "--run", "run", "--json", "a fine film"]).done();
    assert_eq!(unchanged.stderr.matches("not as kindling wrote it").count(), 0);
    assert_ne!(ran.stdout, unchanged.stdout);
}
