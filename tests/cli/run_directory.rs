//! Whose a directory is: a run owns what its record lists, and everything else stays as it is.

use std::fs;

use serde_json::Value;

use crate::project::Project;
use crate::project::foreign::Foreign;

const NOT_A_RUN: &str = "\
error: run has files that are no run's
help: a run has a directory of its own: choose an empty or a new one with `--set output_dir=DIR`";

#[test]
fn a_directory_with_the_names_of_a_run_is_no_run() {
    let user =
        "# mine\nseed = 1\noutput_dir = \".\"\n[model]\npath = \"../bert\"\n[data]\ntrain = \"../train.jsonl\"\n";
    let project = Project::new()
        .file("run/config.toml", user)
        .file("run/.lock", "")
        .file("run/checkpoints/pt.ckpt", "c")
        .file("run/checkpoints/step-3/state.json", "{}")
        .file("run/model/weights.bin", "w")
        .file("run/adapter/mine.txt", "a")
        .file("run/metrics.jsonl", "{\"loss\": 1}\n")
        .file("run/notes.tmp", "n")
        .file("run/work.tmp/f", "x");
    let mut foreign = Foreign::lay(&project, &["run"]);
    for name in ["config.toml", ".lock", "checkpoints/pt.ckpt", "checkpoints/step-3/state.json", "model/weights.bin"] {
        foreign = foreign.and(project.path("run").join(name));
    }
    for name in ["adapter/mine.txt", "metrics.jsonl", "notes.tmp", "work.tmp/f"] {
        foreign = foreign.and(project.path("run").join(name));
    }
    for arguments in [&[][..], &["--overwrite"], &["--resume"]] {
        project.train(arguments).refused(NOT_A_RUN);
    }
    foreign.assert_unchanged();
    assert!(!project.path("run/.kindling").exists());
}

#[test]
fn the_user_s_own_configuration_in_the_output_directory_is_not_touched() {
    let project = Project::new().replace("run.toml", "\"run\"", "\".\"");
    let before = project.read("run.toml");
    fs::rename(project.path("run.toml"), project.path("config.toml")).unwrap();
    project.run(&["train", "config.toml"]).refused(&NOT_A_RUN.replace("error: run", "error: ."));
    assert_eq!(project.read("config.toml"), before);
    assert_eq!(project.names("."), ["bert", "config.toml", "train.jsonl"]);
}

#[test]
fn a_run_s_configuration_that_was_edited_and_given_is_not_replaced() {
    let project = Project::new();
    project.train(&["--quiet"]).done();
    let edited = format!("# mine\n{}", project.read("run/config.toml"));
    let project = project.file("run/config.toml", &edited);
    project.run(&["train", "run/config.toml", "--overwrite", "--set", "seed=1", "--quiet"]).refused(
        "error: run/config.toml is the configuration that was given, and the run would write its own there\n\
         help: copy it out of the directory and train with the copy, or choose another directory with `--set output_dir=DIR`",
    );
    assert_eq!(project.read("run/config.toml"), edited);
}

#[test]
fn a_run_s_own_configuration_repeats_it_in_its_place() {
    let project = Project::new();
    project.train(&["--quiet"]).done();
    let (config, adapter) =
        (project.read("run/config.toml"), fs::read(project.path("run/adapter/adapter_model.safetensors")));
    project.run(&["train", "run/config.toml", "--overwrite", "--quiet"]).done();
    assert_eq!(project.read("run/config.toml"), config);
    assert_eq!(fs::read(project.path("run/adapter/adapter_model.safetensors")).unwrap(), adapter.unwrap());
}

#[test]
fn training_again_and_going_on_touch_nothing_of_somebody_else() {
    let project = Project::new().config("checkpoint_every = 1\nkeep_checkpoints = 1");
    project.train(&["--quiet"]).done();
    let directories = ["run", "run/adapter", "run/checkpoints", "run/checkpoints/step-2", "run/checkpoints/step-9"];
    let foreign = Foreign::lay(&project, &directories);
    project.train(&["--quiet", "--resume"]).done();
    project.train(&["--quiet", "--resume", "--set", "train.max_steps=4"]).done();
    foreign.assert_unchanged();
    project.train(&["--quiet", "--overwrite"]).done();
    foreign.assert_unchanged();
    project.train(&["--quiet", "--overwrite", "--set", "adapter.method=full"]).done();
    foreign.assert_unchanged();
    assert!(!project.path("run/adapter/adapter_model.safetensors").exists(), "what the run before wrote is gone");
    assert!(project.path("run/model/model.safetensors").exists());
}

#[test]
fn what_lies_where_the_run_would_write_is_told_and_left() {
    let project = Project::new();
    project.train(&["--quiet"]).done();
    fs::remove_file(project.path("run/report.html")).unwrap();
    let project = project.file("elsewhere.html", "mine");
    std::os::unix::fs::symlink("../elsewhere.html", project.path("run/report.html")).unwrap();
    let ran = project.train(&["--quiet", "--overwrite"]);
    ran.refused(
        "error: run/report.html is in the way: the run did not write it\n\
         help: move it elsewhere, or choose another directory with `--set output_dir=DIR`",
    );
    assert_eq!(project.read("elsewhere.html"), "mine");
    fs::remove_file(project.path("run/report.html")).unwrap();
    project.train(&["--quiet", "--resume"]).done();
}

#[test]
fn a_page_that_was_made_of_an_interrupted_run_is_not_in_its_way() {
    let project = Project::new();
    project.train(&["--quiet"]).done();
    let metrics = project.read("run/metrics.jsonl");
    let project = project.file("run/metrics.jsonl", &metrics[..metrics.rfind("{\"event\":\"end\"").unwrap()]);
    fs::remove_file(project.path("run/report.html")).unwrap();
    // The next process forgets files that are gone, but not those that every run has.
    project.train(&["--quiet", "--resume", "--set", "seed=1"]);
    project.run(&["report", "run"]).done();
    project.train(&["--quiet", "--resume"]).done();
}

#[test]
fn the_record_lists_every_file_of_the_run() {
    let project = Project::new().config("checkpoint_every = 1");
    project.train(&["--quiet"]).done();
    let record: Value = serde_json::from_str(&project.read("run/.kindling/run.json")).unwrap();
    let listed: Vec<&str> = record["files"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    let mut found = Vec::new();
    let mut directories = vec![String::new()];
    while let Some(directory) = directories.pop() {
        for name in project.names(&format!("run/{directory}")).into_iter().filter(|name| name != ".kindling") {
            let path = format!("{directory}{name}");
            match project.path("run").join(&path).is_dir() {
                true => directories.push(format!("{path}/")),
                false => found.push(path),
            }
        }
    }
    found.sort();
    assert_eq!(listed, found);
    assert_eq!(project.names("run/.kindling"), ["lock", "run.json"]);
}

#[test]
fn a_run_is_written_with_the_rights_of_the_umask() {
    use std::os::unix::fs::PermissionsExt;
    let project = Project::new().file("plain", "");
    project.train(&["--quiet"]).done();
    let mode = |name: &str| fs::metadata(project.path(name)).unwrap().permissions().mode() & 0o777;
    for name in ["config.toml", "metrics.jsonl", "train.log", "report.html", "adapter/adapter_model.safetensors"] {
        assert_eq!(mode(&format!("run/{name}")), mode("plain"), "{name}");
    }
    for name in ["model.bpk", "optimizer.bpk", "schedule.bpk", "state.json"] {
        assert_eq!(mode(&format!("run/checkpoints/step-2/{name}")), mode("plain"), "{name}");
    }
}

#[test]
fn the_log_has_what_was_said_with_the_plan_and_without_colours() {
    let project = Project::new();
    let said = project.train(&[]).done().stderr;
    let log = project.read("run/train.log");
    assert!(log.starts_with(
        "[DIR]/bert (".replace("[DIR]", project.path("").to_str().unwrap().trim_end_matches('/')).as_str()
    ));
    assert!(log.contains("32 training examples, no validation data, 3 classes\n") && !log.contains('\x1b'), "{log}");
    let without_directory = log.replace(project.path("").to_str().unwrap().trim_end_matches('/'), "[DIR]");
    assert_eq!(without_directory, said);
}

#[test]
fn a_file_in_the_place_of_the_directory_is_refused() {
    let project = Project::new().file("run", "mine");
    project
        .train(&[])
        .refused("error: run is not a directory\nhelp: choose another place for the run with `--set output_dir=DIR`");
    assert_eq!(project.read("run"), "mine");
}
