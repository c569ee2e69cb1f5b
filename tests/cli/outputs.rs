//! Where commands write: what is there already and is no regular file stays what it is, links are followed, rights are kept,
//! and nothing beside the output is touched.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use crate::project::Project;
use crate::project::foreign::{Foreign, make_device};

const PREDICT: [&str; 6] = ["predict", "--model", "bert", "--adapter", "adapter", "--output"];

fn predict(project: &Project, output: &str) -> crate::project::Ran {
    project.run(&[&PREDICT[..], &[output, "a fine film"]].concat())
}

/// The one line that answers the text.
fn answer(project: &Project) -> String {
    project.run(&["predict", "--model", "bert", "--adapter", "adapter", "a fine film"]).done().stdout
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn an_output_that_is_a_link_stays_one_and_its_target_gets_the_results() {
    let project = Project::with_adapter().file("target.jsonl", "old");
    fs::set_permissions(project.path("target.jsonl"), fs::Permissions::from_mode(0o604)).unwrap();
    symlink("target.jsonl", project.path("link.jsonl")).unwrap();
    predict(&project, "link.jsonl").done();
    assert_eq!(project.read("target.jsonl"), answer(&project));
    assert_eq!(fs::read_link(project.path("link.jsonl")).unwrap(), Path::new("target.jsonl"));
    assert_eq!(mode(&project.path("target.jsonl")), 0o604);
    let per_example = ["eval", "--model", "bert", "--adapter", "adapter", "--data", "train.jsonl", "--per-example"];
    project.run(&[&per_example[..], &["link.jsonl"]].concat()).done();
    assert_eq!(project.read("target.jsonl").lines().count(), 32);
    assert!(project.path("link.jsonl").symlink_metadata().unwrap().is_symlink());
}

#[test]
fn a_new_output_has_the_rights_of_the_umask() {
    let project = Project::with_adapter().file("plain", "");
    predict(&project, "new.jsonl").done();
    project.run(&["init", "train.jsonl", "--model", "bert", "-o", "new.toml"]).done();
    for name in ["new.jsonl", "new.toml"] {
        assert_eq!(mode(&project.path(name)), mode(&project.path("plain")), "{name}");
    }
}

#[test]
fn a_fifo_gets_the_results_and_stays_one() {
    let project = Project::with_adapter();
    assert!(Command::new("mkfifo").arg(project.path("fifo")).status().unwrap().success());
    let path = project.path("fifo");
    let reader = std::thread::spawn(move || fs::read_to_string(path).unwrap());
    predict(&project, "fifo").done();
    assert_eq!(reader.join().unwrap(), answer(&project));
    assert!(project.path("fifo").symlink_metadata().unwrap().file_type().is_fifo());
}

#[test]
fn a_device_takes_the_results_and_stays_one() {
    let project = Project::with_adapter();
    if !make_device(&project.path("null")) {
        return;
    }
    predict(&project, "null").done();
    let per_example = ["eval", "--model", "bert", "--data", "train.jsonl", "--per-example", "null"];
    project.run(&per_example).done();
    assert!(project.path("null").symlink_metadata().unwrap().file_type().is_char_device());
}

#[test]
fn standard_output_by_its_name_is_standard_output() {
    let project = Project::with_adapter();
    assert_eq!(predict(&project, "/dev/stdout").done().stdout, answer(&project));
    // A file that a shell has opened is written to where it stands, and not replaced.
    let file = fs::File::create(project.path("out.txt")).unwrap();
    let shell = format!(
        "echo before; {} {} /dev/stdout 'a fine film'; echo after",
        env!("CARGO_BIN_EXE_kindling"),
        PREDICT.join(" ")
    );
    let mut command = Command::new("sh");
    command.args(["-c", &shell]).current_dir(project.path("")).stdout(file);
    assert!(command.status().unwrap().success());
    assert_eq!(project.read("out.txt"), format!("before\n{}after\n", answer(&project)));
}

#[test]
fn the_input_is_not_replaced_through_links_of_any_kind() {
    let project = Project::with_adapter();
    let before = project.read("train.jsonl");
    symlink("train.jsonl", project.path("soft.jsonl")).unwrap();
    fs::hard_link(project.path("train.jsonl"), project.path("hard.jsonl")).unwrap();
    for output in ["soft.jsonl", "hard.jsonl"] {
        let refusal = format!("error: cannot write {output}: the input is read from there\nhelp: name another file");
        project.run(&[&PREDICT[..], &[output, "--input", "train.jsonl"]].concat()).refused(&refusal);
    }
    assert_eq!(project.read("train.jsonl"), before);
    assert_eq!(project.names("."), ["adapter", "bert", "hard.jsonl", "run.toml", "soft.jsonl", "train.jsonl"]);
}

#[test]
fn what_is_no_place_for_a_file_is_refused_before_the_work() {
    let project = Project::with_adapter();
    symlink("circle", project.path("circle")).unwrap();
    predict(&project, "bert").refused("error: cannot write bert: it is a directory\nhelp: name a file in it");
    predict(&project, "new/").refused("error: cannot write new/: it is a directory\nhelp: name a file in it");
    predict(&project, "circle")
        .refused("error: cannot write circle: too many symbolic links\nhelp: make it writable, or name another file");
}

#[test]
fn commands_that_write_leave_what_is_beside_their_output() {
    let project = Project::with_adapter();
    let foreign = Foreign::lay(&project, &[".", "vocabulary", "merged.tmp"]);
    predict(&project, "out.jsonl").done();
    project.run(&["eval", "--model", "bert", "--data", "train.jsonl", "--per-example", "each.jsonl"]).done();
    project.run(&["init", "train.jsonl", "--model", "bert", "-o", "new.toml"]).done();
    let tokenizer = ["tokenizer", "train.jsonl", "--kind", "bpe", "--vocab-size", "300", "-o", "vocabulary"];
    project.run(&tokenizer).done();
    project.run(&["merge", "--model", "bert", "--adapter", "adapter", "--output", "merged"]).done();
    foreign.assert_unchanged();
}

#[test]
fn a_merge_into_a_link_to_nothing_is_refused() {
    let project = Project::with_adapter();
    symlink("nowhere", project.path("merged")).unwrap();
    project
        .run(&["merge", "--model", "bert", "--adapter", "adapter", "--output", "merged"])
        .refused("error: merged already exists\nhelp: name a directory that does not exist yet with --output");
}
