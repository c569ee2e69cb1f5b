//! Rows are tokenised by all workers, each a share, and nothing shows it.

use serde_json::{Value, json};

use super::mpirun::{Mpi, assert_same_runs, is_here};
use super::{encoder, packed_decoder};
use crate::project::Project;

/// Conversations, of which these have nothing to be learned.
fn conversations(count: usize, broken: &[usize]) -> Project {
    let turn = |role: &str, content: String| json!({ "role": role, "content": content });
    let row = |n: usize| {
        let answer = (!broken.contains(&n)).then(|| turn("assistant", "At nine.".to_string()));
        let turns: Vec<Value> = [Some(turn("user", format!("When is {n}?"))), answer].into_iter().flatten().collect();
        format!("{}\n", json!({ "messages": turns }))
    };
    packed_decoder("qwen3-lm", "r = 4\n").file("train.jsonl", (1..=count).map(row).collect::<String>())
}

#[test]
fn the_first_row_that_cannot_be_encoded_is_the_error_whoever_encodes_it() {
    if !is_here() {
        return;
    }
    // Of two workers the second has both rows, and of three each of the last two one.
    let project = conversations(30, &[27, 18]);
    let alone = project.train(&[]);
    assert!(alone.stderr.contains("line 18"), "{}", alone.stderr);
    for workers in [2, 3] {
        let ended = Mpi::new(&project).run(workers, &["train", "run.toml"]);
        assert_eq!((ended.error(), ended.status), (alone.stderr.trim().to_string(), alone.status), "{}", ended.said);
        assert_eq!(ended.count("error:"), 1, "{}", ended.said);
    }
    assert!(!project.path("run").exists());
}

#[test]
fn a_row_that_cannot_be_read_is_an_error_after_those_that_cannot_be_encoded_before_it() {
    if !is_here() {
        return;
    }
    // More rows than are encoded together.
    let project = conversations(2100, &[1500]);
    let rows = project.read("train.jsonl");
    let project = project.file("train.jsonl", format!("{rows}nonsense\n"));
    let alone = project.train(&[]);
    assert!(alone.stderr.contains("line 1500"), "{}", alone.stderr);
    let ended = Mpi::new(&project).run(2, &["train", "run.toml"]);
    assert_eq!((ended.error(), ended.status), (alone.stderr.trim().to_string(), alone.status), "{}", ended.said);
}

#[test]
fn more_rows_than_are_encoded_together_are_the_same_rows_for_any_number_of_workers() {
    if !is_here() {
        return;
    }
    let project = encoder("r = 4\n").replace("run.toml", "valid_fraction = 0.3", "valid_fraction = 0.01");
    let rows: String = project.read("train.jsonl").lines().cycle().take(5000).map(|row| format!("{row}\n")).collect();
    let project = project.file("train.jsonl", rows);
    project.train(&["--set", "output_dir=one", "--threads", "1"]).done();
    for workers in [2, 3] {
        let run = format!("of-{workers}");
        let set = format!("output_dir={run}");
        let ended = Mpi::new(&project).run(workers, &["train", "run.toml", "--set", &set]).done();
        assert_same_runs(&project, "one", &run);
        assert_eq!(ended.count("5,000"), project.read("one/train.log").matches("5,000").count(), "{}", ended.said);
    }
}
