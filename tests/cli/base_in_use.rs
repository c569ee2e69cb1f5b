//! A base whose file changes while a command answers with it: it is mapped, not copied. Whoever writes into it or cuts it short is
//! told, and no file is made of the answers; one that is replaced or removed stays as it was for who has it open.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::project::Project;

/// The rows come when the model has been put together, and the base has changed.
fn run_while(project: &Project, arguments: &[&str], change: impl FnOnce(&Path)) -> (Option<i32>, String) {
    let mut process = Command::new(env!("CARGO_BIN_EXE_kindling"))
        .args(arguments)
        .args(["--model", "bert", "--adapter", "adapter", "--device", "cpu"])
        .current_dir(project.path(""))
        .env("HF_HUB_OFFLINE", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut heard = BufReader::new(process.stderr.take().unwrap());
    let mut said = String::new();
    while !said.contains("adapter adapter: ") {
        assert!(heard.read_line(&mut said).unwrap() > 0, "{said}");
    }
    change(&project.path("bert/model.safetensors"));
    // A process that ends before it has read all is told apart by its status.
    let _ = process.stdin.take().unwrap().write_all(project.read("train.jsonl").as_bytes());
    heard.read_to_string(&mut said).unwrap();
    (process.wait().unwrap().code(), said)
}

/// Each with a project of its own, where it writes `out.jsonl`.
fn commands() -> [(Project, &'static [&'static str]); 3] {
    let bert = || Project::with_adapter().file("out.jsonl", "before\n");
    let decoder = || Project::decoder("gpt2-lm").copy("gpt2-lm/adapter", "adapter").file("out.jsonl", "before\n");
    [
        (bert(), &["predict", "--output", "out.jsonl"]),
        (bert(), &["eval", "--data", "-", "--per-example", "out.jsonl"]),
        (decoder(), &["generate", "--max-new-tokens", "4", "--output", "out.jsonl"]),
    ]
}

#[test]
fn a_base_that_is_written_to_is_named_and_nothing_is_made_of_the_answers() {
    for (project, command) in commands() {
        let (status, said) = run_while(&project, command, |base| {
            // The lowest bit of the last value: no answer tells.
            let mut base = File::options().read(true).write(true).open(base).unwrap();
            let mut byte = [0];
            base.seek(SeekFrom::End(-4)).unwrap();
            base.read_exact(&mut byte).unwrap();
            base.seek(SeekFrom::End(-4)).unwrap();
            base.write_all(&[byte[0] ^ 1]).unwrap();
        });
        let expected = "bert/model.safetensors was written to while it was in use: the results may be wrong\n\
                        help: put it back as it was, and run the command again\n";
        assert_eq!(status, Some(1), "{command:?}: {said}");
        assert!(said.ends_with(expected), "{command:?}: {said}");
        assert_eq!(project.read("out.jsonl"), "before\n", "{command:?}");
    }
}

#[test]
fn a_base_that_is_cut_short_is_named_and_nothing_is_made_of_the_answers() {
    for (project, command) in commands() {
        let (status, said) =
            run_while(&project, command, |base| File::options().write(true).open(base).unwrap().set_len(0).unwrap());
        let expected =
            "bert/model.safetensors was cut short while it was in use\nhelp: put it back as it was, and start again\n";
        assert_eq!(status, Some(1), "{command:?}: {said}");
        assert!(said.ends_with(expected), "{command:?}: {said}");
        assert_eq!(project.read("out.jsonl"), "before\n", "{command:?}");
    }
}

#[test]
fn a_base_that_is_replaced_or_removed_answers_as_it_was() {
    for (project, command) in commands() {
        let undisturbed = run_while(&project, command, |_| {});
        assert_eq!(undisturbed.0, Some(0), "{command:?}: {}", undisturbed.1);
        let expected = project.read("out.jsonl");
        assert!(expected.lines().count() > 5, "{expected}");
        let replaced = run_while(&project, command, |base| {
            let other = base.with_file_name("other");
            fs::write(&other, "another model").unwrap();
            // The model's own file is kept beside it, for the next command.
            fs::hard_link(base, base.with_file_name("kept")).unwrap();
            fs::rename(other, base).unwrap();
        });
        assert_eq!((replaced.0, project.read("out.jsonl")), (Some(0), expected.clone()), "{command:?}: {}", replaced.1);
        fs::rename(project.path("bert/kept"), project.path("bert/model.safetensors")).unwrap();
        let removed = run_while(&project, command, |base| fs::remove_file(base).unwrap());
        assert_eq!((removed.0, project.read("out.jsonl")), (Some(0), expected), "{command:?}: {}", removed.1);
    }
}
