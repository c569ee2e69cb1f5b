//! `train` with data in the place of a configuration: what `init` writes is written beside the data, and run.

use crate::project::Project;

fn train<'a>(data: &'a str, arguments: &[&'a str]) -> Vec<&'a str> {
    [&["train", data, "--model", "bert", "--set", "train.max_steps=2"][..], arguments].concat()
}

#[test]
fn what_init_writes_is_written_beside_the_data_and_run() {
    let project = Project::new();
    let rows = project.read("train.jsonl");
    let project = project.file("data/questions.jsonl", rows);
    let ran = project.run(&train("data/questions.jsonl", &[])).done();
    assert!(
        ran.stderr.contains("\nwrote data/questions.toml, as `init` does for this data: running it\n"),
        "{}",
        ran.stderr
    );
    assert!(project.path("runs/questions/adapter/adapter_model.safetensors").is_file());
    let made = project.read("data/questions.toml");
    project.run(&["init", "data/questions.jsonl", "--model", "bert", "-o", "data/other.toml", "--quiet"]).done();
    assert_eq!(made.replace("runs/questions", "runs/other"), project.read("data/other.toml"));

    let again = project.run(&train("data/questions.jsonl", &["--overwrite"])).done();
    assert!(
        again.stderr.contains("\ndata/questions.toml is what `init` writes for this data, and is run\n"),
        "{}",
        again.stderr
    );
    // The model is that of the configuration.
    let again = project.run(&["train", "data/questions.jsonl", "--resume", "--set", "train.max_steps=2"]).done();
    assert!(again.stderr.ends_with("runs/questions is a finished run: nothing to resume\n"), "{}", again.stderr);
    assert_eq!(project.read("data/questions.toml"), made);
}

#[test]
fn a_configuration_that_says_something_else_is_kept() {
    let project = Project::new().file("train.toml", "mine");
    project.run(&train("train.jsonl", &["--quiet"])).refused(
        "error: train.toml is there already, and is not what `init` writes for train.jsonl\n\
         help: `kindling train train.toml` runs it as it is, `kindling init train.jsonl -o train.toml --overwrite` replaces it",
    );
    assert_eq!(project.read("train.toml"), "mine");
    assert!(!project.path("runs").exists());
}

#[test]
fn a_plan_writes_nothing_and_neither_does_a_run_that_is_refused() {
    let project = Project::new().file("runs/train/notes.txt", "mine");
    let ran = project.run(&train("train.jsonl", &["--quiet"]));
    assert_eq!(ran.status, Some(2));
    assert!(ran.stderr.starts_with("error: runs/train has files that are no run's\n"), "{}", ran.stderr);
    let ran = project.run(&train("train.jsonl", &["--dry-run", "--set", "output_dir=runs/other"])).done();
    assert!(ran.stderr.contains("train.toml would be written, and run:\n"), "{}", ran.stderr);
    assert!(!project.path("train.toml").exists() && !project.path("runs/other").exists());
}

#[test]
fn columns_are_named_by_set_and_other_keys_are_of_the_run() {
    let project = Project::new().file(
        "reviews.csv",
        "review,odd,stars\na fine film,x,1\na bad film,y,0\nso so,x,1\nvery fine,y,0\nnot bad,x,1\nno film,y,0\n",
    );
    let project = project.copy("bert-mlm/model", "mlm");
    let arguments = ["train", "reviews.csv", "--model", "mlm", "--set", "train.max_steps=2", "--dry-run", "--json"];
    let arguments = [&arguments[..], &["--set", "data.text=review", "--set", "data.label=stars"]].concat();
    let document = project.run(&arguments).done().document();
    assert_eq!((&document["steps"], &document["labels"]), (&serde_json::json!(2), &serde_json::json!(["0", "1"])));
    for (key, instead) in [
        ("model.path=bert", "name it with `--model`"),
        ("model.task=masked-lm", "name it with `--task`"),
        ("data.train=a.csv", "leave it out"),
    ] {
        project
            .run(&train("reviews.csv", &["--set", key]))
            .refused(&format!("error: `--set {key}` cannot be used with a data file\nhelp: {instead}"));
    }
}

#[test]
fn the_options_of_data_are_refused_beside_a_configuration() {
    let project = Project::new();
    project.train(&["--model", "bert"]).refused(
        "error: `--model` is for training data given instead of a configuration\n\
         help: in a configuration it is `model.path`: `--set model.path=...` overrides it",
    );
    project.train(&["--task", "masked-lm"]).refused(
        "error: `--task` is for training data given instead of a configuration\n\
         help: in a configuration it is `model.task`: `--set model.task=...` overrides it",
    );
}

#[test]
fn data_that_is_not_there_is_told_with_what_is() {
    let project = Project::new();
    let ran = project.run(&["train", "tran.jsonl"]);
    ran.refused("error: tran.jsonl does not exist\nhelp: did you mean `train.jsonl`?");
}
