//! `kindling` without a command where something lies already: nothing that was trained is replaced unasked, and what is
//! said names options that exist.

use serde_json::{Value, json};

use crate::project::Project;

/// A finished run of two steps in the quickstart's directory.
fn finished() -> Project {
    let project = Project::new();
    let cache = project.path("cache").display().to_string();
    let project = project.env("XDG_CACHE_HOME", &cache);
    let output = ["--quiet", "--set", "output_dir=runs/quickstart", "--set", "data.valid=train.jsonl"];
    project.train(&output).done();
    project
}

#[test]
fn a_finished_quickstart_is_shown_and_kept() {
    let project = finished();
    let metrics = project.read("runs/quickstart/metrics.jsonl");
    let evaluation: Value =
        serde_json::from_str(metrics.lines().find(|line| line.contains("\"eval\"")).unwrap()).unwrap();
    let accuracy = evaluation["accuracy"].as_f64().unwrap();
    let ran = project.run(&[]).done();
    assert_eq!(
        ran.stdout,
        format!(
            "runs/quickstart has a finished quickstart; `kindling --overwrite` trains it again\n\
             \x20 accuracy   {accuracy:.3} on the validation texts, at step 2\n\
             \x20 adapter    runs/quickstart/adapter\n\
             \x20 report     runs/quickstart/report.html\n\
             \x20 settings   runs/quickstart/config.toml\n\
             \n\
             what to type next\n\
             \x20 kindling predict --run runs/quickstart \"can you order more coffee\"\n\
             \x20 kindling inspect runs/quickstart\n\
             \x20 kindling train YOURS.csv\n"
        )
    );
    assert_eq!(ran.stderr, "");
    let document = project.run(&["--json"]).done().document();
    assert_eq!(document["best"], evaluation);
    assert_eq!((&document["state"], &document["output_dir"]), (&json!("finished"), &json!("runs/quickstart")));
    assert_eq!(project.read("runs/quickstart/metrics.jsonl"), metrics);
}

#[test]
fn an_interrupted_run_of_another_kind_is_kept_and_the_error_names_what_there_is() {
    let project = finished();
    let metrics = project.read("runs/quickstart/metrics.jsonl");
    let without_end: String =
        metrics.lines().filter(|it| !it.contains("\"end\"")).map(|it| format!("{it}\n")).collect();
    let project = project.file("runs/quickstart/metrics.jsonl", &without_end);
    let ran = project.run(&[]);
    assert_eq!(ran.status, Some(2), "{}", ran.stderr);
    assert!(ran.stderr.starts_with("resuming runs/quickstart after step 2\n"), "{}", ran.stderr);
    assert!(ran.stderr.ends_with("help: `kindling --overwrite` trains it from scratch\n"), "{}", ran.stderr);
    assert_eq!(project.read("runs/quickstart/metrics.jsonl"), without_end);
}

#[test]
fn files_that_are_no_runs_are_kept_and_the_error_names_what_there_is() {
    let project = Project::new();
    let cache = project.path("cache").display().to_string();
    let project = project.env("XDG_CACHE_HOME", &cache).file("runs/quickstart/notes.txt", "mine");
    project.run(&["--quiet"]).refused(
        "error: runs/quickstart has files that are no run's\n\
         help: move runs/quickstart away, or run `kindling` in another directory",
    );
    assert_eq!(project.names("runs/quickstart"), ["notes.txt"]);
}

#[test]
fn overwrite_before_a_command_is_refused() {
    Project::new().run(&["--overwrite", "train", "run.toml"]).refused(
        "error: `--overwrite` before a command is the quickstart's\n\
         help: write it after the command: `kindling train CONFIG --overwrite`",
    );
}
