//! `train --dry-run`: it refuses what a run would refuse, shows what the model is shown, and says how long it will take.

use serde_json::{Value, json};

use crate::project::Project;

#[test]
fn what_lies_in_the_way_of_the_run_is_in_the_way_of_its_plan() {
    let project = Project::new();
    project.train(&["--quiet"]).done();
    let refused = "error: run holds a finished run\n\
         help: `--resume` continues it, `--overwrite` replaces it, `--set output_dir=DIR` writes elsewhere";
    project.train(&[]).refused(refused);
    project.train(&["--dry-run"]).refused(refused);
    let before = project.names("run");
    project.train(&["--dry-run", "--overwrite"]).done();
    project.train(&["--dry-run", "--set", "output_dir=other"]).done();
    assert!(!project.path("other").exists());
    assert_eq!(project.names("run"), before);
}

#[test]
fn a_planned_run_leaves_files_of_others_alone() {
    let project = Project::new().file("run/notes.txt", "mine");
    let refused = project.train(&[]);
    assert_eq!(refused.status, Some(2));
    for arguments in [&["--dry-run"][..], &["--dry-run", "--overwrite"]] {
        project.train(arguments).refused(refused.stderr.trim_end());
    }
    assert_eq!(project.names("run"), ["notes.txt"]);
    for output in ["output_dir=run/notes.txt", "output_dir=run/notes.txt/deep/er"] {
        let refused = project.train(&["--set", output, "--quiet"]);
        assert_eq!(refused.status, Some(2));
        project.train(&["--dry-run", "--set", output, "--quiet"]).refused(refused.stderr.trim_end());
    }
}

#[test]
fn the_time_of_the_run_is_estimated_from_measured_steps() {
    let project = Project::new();
    let ran = project.train(&["--dry-run", "--time", "--set", "data.valid_fraction=0.25"]).done();
    let line = ran.stdout.lines().find(|line| line.starts_with("time ")).unwrap();
    // The end of the run, and the report.
    assert!(
        line.starts_with("time         about ")
            && line.contains(": 2 steps of ")
            && line.contains(", 2 evaluations of ")
    );
    let document =
        project.train(&["--dry-run", "--time", "--json", "--set", "data.valid_fraction=0.25"]).done().document();
    let time = |key: &str| document["time"][key].as_f64().unwrap();
    let expected = 2.0 * time("step_seconds") + 2.0 * time("evaluation_seconds");
    assert!(
        (time("seconds") - expected).abs() < 1e-9 && time("step_seconds") > 0.0 && time("evaluation_seconds") > 0.0
    );
    assert!(!project.path("run").exists());
    assert_eq!(project.train(&["--dry-run", "--json"]).done().document()["time"], Value::Null);
    let ran = project.train(&["--time"]);
    assert!(ran.stderr.contains("--dry-run"), "{}", ran.stderr);
}

#[test]
fn the_example_is_text_and_not_pieces_of_a_vocabulary() {
    let row = json!({"prompt": "say it:", "completion": " a fine film\nreally"});
    let project = Project::new()
        .copy("gpt2-lm/model", "gpt2")
        .file("asked.jsonl", format!("{row}\n").repeat(4))
        .config("epochs = 1");
    let set = ["--set", "model.path=gpt2", "--set", "model.task=causal-lm", "--set", "data.train=asked.jsonl"];
    let ran = project.train(&[&["--dry-run"][..], &set].concat()).done();
    let example = ran.stdout.split("example ").nth(1).unwrap();
    let expected = "     line 1: say it:[[ a fine film\n             really<|endoftext|>]]\n";
    assert!(example.starts_with(expected), "{example}");
    let ran = project.train(&["--dry-run"]).done();
    assert!(ran.stdout.contains("example      line 1: [CLS] "), "{}", ran.stdout);
}
