//! Rows of a file are shared, and come out in their order.

use std::io::Write;
use std::process::Command;

use super::mpirun::{Ended, Mpi, is_here};
use super::{encoder, packed_decoder};
use crate::project::Project;

/// More rows than a worker takes at a time.
fn with_rows(project: Project, count: usize) -> Project {
    let text = project.read("train.jsonl");
    let rows: String = text.lines().cycle().take(count).map(|line| format!("{line}\n")).collect();
    project.file("rows.jsonl", rows)
}

fn same(project: &Project, mpi: &Mpi<'_>, arguments: &[&str], file: Option<&str>) {
    let option = if arguments[0] == "eval" { "--per-example" } else { "--output" };
    let with_file = |name: &str| match file {
        Some(ending) => {
            let path = format!("{name}.{ending}");
            [arguments, &[option, &path]].concat().iter().map(|it| it.to_string()).collect::<Vec<_>>()
        }
        None => arguments.iter().map(|it| it.to_string()).collect(),
    };
    let words = |all: &[String]| all.to_vec();
    let alone = words(&with_file("alone"));
    let alone = project.run(&alone.iter().map(String::as_str).collect::<Vec<_>>()).done();
    for workers in [2, 3] {
        let shared = words(&with_file("shared"));
        let ended = mpi.run(workers, &shared.iter().map(String::as_str).collect::<Vec<_>>()).done();
        match file {
            Some(ending) => {
                let read = |name: &str| std::fs::read(project.path(&format!("{name}.{ending}"))).unwrap();
                assert!(read("alone") == read("shared"), "{arguments:?} on {workers}");
                assert!(!read("alone").is_empty());
            }
            // Both streams are in one file.
            None => alone.stdout.lines().for_each(|line| assert!(ended.said.contains(line), "{line}")),
        }
    }
}

#[test]
fn rows_are_classified_and_scored_in_their_order() {
    if !is_here() {
        return;
    }
    let project = with_rows(encoder("r = 4\n"), 300);
    project.train(&[]).done();
    let mpi = Mpi::new(&project);
    same(&project, &mpi, &["predict", "--run", "run", "--input", "rows.jsonl"], Some("csv"));
    same(&project, &mpi, &["predict", "--run", "run", "--input", "rows.jsonl"], None);
    same(&project, &mpi, &["eval", "--run", "run", "--data", "rows.jsonl", "--logits"], Some("jsonl"));
    same(&project, &mpi, &["eval", "--run", "run"], None);
}

#[test]
fn texts_are_written_in_the_order_of_their_rows() {
    if !is_here() {
        return;
    }
    let project = with_rows(packed_decoder("gpt2-lm", "r = 4\n"), 30);
    project.train(&[]).done();
    let mpi = Mpi::new(&project);
    let sampled = ["--temperature", "1", "--num-samples", "2", "--max-new-tokens", "5"];
    let generate = [&["generate", "--run", "run", "--input", "rows.jsonl"], &sampled[..]].concat();
    same(&project, &mpi, &generate, Some("jsonl"));
    same(&project, &mpi, &["eval", "--run", "run", "--data", "rows.jsonl", "--logits"], Some("jsonl"));
}

#[test]
fn a_file_of_texts_is_not_finished_when_another_worker_finds_its_base_changed() {
    if !is_here() {
        return;
    }
    let mut project = with_rows(Project::decoder("gpt2-lm"), 3000);
    for host in ["a", "b"] {
        let rows = project.read("rows.jsonl");
        project = project.copy("gpt2-lm/model", &format!("{host}/base")).file(&format!("{host}/rows.jsonl"), rows);
    }
    let project = project.file("a/texts.jsonl", "from before\n");
    let generate = ["generate", "--model", "base", "--input", "rows.jsonl", "--output", "texts.jsonl"];
    let job = Mpi::new(&project).start_in(&["a", "b"], &[&generate[..], &["--max-new-tokens", "8"]].concat());
    // Texts are being written: the models have been read.
    let is_begun = || {
        let mut entries = std::fs::read_dir(project.path("a")).unwrap().flatten();
        let is_known = |name: &str| ["base", "rows.jsonl", "texts.jsonl"].contains(&name);
        entries.any(|entry| {
            !is_known(&entry.file_name().to_string_lossy()) && entry.metadata().is_ok_and(|found| found.len() > 0)
        })
    };
    job.wait_until(is_begun);
    let base = project.path("b/base/model.safetensors");
    let mut base = std::fs::File::options().append(true).open(base).unwrap();
    base.write_all(b" ").unwrap();
    drop(base);
    let ended = job.wait();
    let expected = "base/model.safetensors was written to while it was in use: the results may be wrong";
    assert!(ended.error().starts_with("error: worker 1 on ") && ended.error().contains(expected), "{}", ended.said);
    assert_eq!((ended.status, ended.count("error:")), (Some(1), 1), "{}", ended.said);
    assert_eq!(project.read("a/texts.jsonl"), "from before\n");
}

#[test]
fn standard_input_and_conversations_are_for_one_process() {
    if !is_here() {
        return;
    }
    let project = encoder("r = 4\n");
    project.train(&[]).done();
    let ended = Mpi::new(&project).run(2, &["predict", "--run", "run"]);
    assert_eq!(
        ended.error(),
        "error: several workers cannot read standard input: it comes to the first of them alone\n\
         help: name a file with `--input`"
    );
    assert_eq!(ended.status, Some(2), "{}", ended.said);
}

#[test]
fn another_input_on_a_host_is_refused() {
    if !is_here() {
        return;
    }
    let project = with_rows(encoder("r = 4\n"), 5);
    project.train(&[]).done();
    let rows = project.read("rows.jsonl");
    let run = project.path("run").display().to_string();
    let project = project.file("a/rows.jsonl", &rows).file("b/rows.jsonl", rows.to_uppercase());
    let ended = Mpi::new(&project).run_in(&["a", "b"], &["predict", "--run", &run, "--input", "rows.jsonl"]);
    assert!(ended.error().starts_with("error: rows.jsonl on worker 1 on "), "{}", ended.said);
    assert_eq!(ended.status, Some(2), "{}", ended.said);
}

/// The same files in two directories.
fn copied(project: &Project, from: &str, to: &str) {
    let (from, to) = (project.path(from), project.path(to));
    assert!(Command::new("cp").arg("-r").args([from, to]).status().unwrap().success());
}

/// A worker for each run, in the directory of the project.
fn on_runs(project: &Project, runs: [&str; 2], arguments: &[&str]) -> Ended {
    let command = [&[env!("CARGO_BIN_EXE_kindling")], arguments, &["--threads", "1", "--run"]].concat();
    let words = [&["-n", "1"], &command[..], &[runs[0], ":", "-n", "1"], &command, &[runs[1]]].concat();
    Mpi::new(project).start_words(&words).wait()
}

#[test]
fn the_same_adapter_may_be_elsewhere_on_another_host_and_another_one_may_not() {
    if !is_here() {
        return;
    }
    let project = with_rows(encoder("r = 4\n"), 5);
    project.train(&[]).done();
    copied(&project, "run", "same");
    copied(&project, "run", "other");
    let predict = ["predict", "--input", "rows.jsonl"];
    on_runs(&project, ["run", "same"], &predict).done();
    let project =
        project.without_hashes("other/adapter").tensors("other/adapter/adapter_model.safetensors", |tensors| {
            let name = tensors.names().next().unwrap().to_string();
            tensors.add_to_first(&name, 1.0);
        });
    let ended = on_runs(&project, ["run", "other"], &predict);
    let error = ended.error();
    assert!(error.starts_with("error: other/adapter/") && error.contains(" on worker 1 on "), "{}", ended.said);
    assert_eq!((ended.status, ended.count("error:")), (Some(2), 1), "{}", ended.said);
}

#[test]
fn another_validation_file_on_a_host_is_refused_though_it_is_not_the_first_one() {
    if !is_here() {
        return;
    }
    let project =
        encoder("r = 4\n").replace("run.toml", "valid_fraction = 0.3", "valid = [\"v1.jsonl\", \"v2.jsonl\"]");
    let rows = project.read("train.jsonl");
    let half = rows.len() / 2 + rows[rows.len() / 2..].find('\n').unwrap() + 1;
    let project = project.file("v1.jsonl", &rows[..half]).file("v2.jsonl", &rows[half..]).file("v3.jsonl", &rows);
    project.train(&[]).done();
    copied(&project, "run", "other");
    let project = project.replace("other/config.toml", "v2.jsonl", "v3.jsonl");
    on_runs(&project, ["run", "run"], &["eval"]).done();
    let ended = on_runs(&project, ["run", "other"], &["eval"]);
    assert!(ended.error().contains("v3.jsonl on worker 1 on "), "{}", ended.said);
    assert_eq!((ended.status, ended.count("error:")), (Some(2), 1), "{}", ended.said);
}
