//! What the system refuses in the middle of a run, or does to it: a disk that is full, files, memory or threads that there are no
//! more of, a clock that is set back, signals. Each is told as what it is, and the next process ends with the same bits.

use std::fs::File;
use std::time::{Duration, SystemTime};

use super::experiment::Experiment;

const TRAIN: [&str; 4] = ["train", "run.toml", "--quiet", "--resume"];

#[cfg(unix)]
#[test]
fn a_disk_that_is_full_at_any_size_of_a_file_ends_the_run_with_what_can_be_done() {
    let undisturbed = Experiment::new(2);
    undisturbed.train(&[]);
    let experiment = Experiment::new(2);
    let mut failed = 0;
    // Blocks of 512 bytes. Some files fit, others do not.
    for blocks in [0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144] {
        let output = experiment.kindling_in_shell(&format!("ulimit -f {blocks}"), &TRAIN);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(matches!(output.status.code(), Some(0..=2)), "{blocks}: {said}");
        if !output.status.success() {
            failed += 1;
            assert!(said.contains("File too large"), "{blocks}: {said}");
            assert!(said.contains("help: ") && !said.contains("panicked"), "{blocks}: {said}");
        }
    }
    assert!(failed >= 4, "only {failed} limits were met");
    experiment.train(&["--resume"]);
    experiment.assert_same_as(&undisturbed);
}

#[cfg(unix)]
#[test]
fn too_few_open_files_are_told_with_what_can_be_done() {
    let mut told = 0;
    // Standard streams, and a few: the base is mapped, and a checkpoint has three files that are open together.
    for limit in [4, 5, 6, 7, 8, 9, 10] {
        let experiment = Experiment::new(2);
        let output = experiment.kindling_in_shell(&format!("ulimit -n {limit}"), &TRAIN[..3]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(matches!(output.status.code(), Some(0..=2)), "{limit}: {said}");
        assert!(!said.contains("panicked") && !said.contains("free space"), "{limit}: {said}");
        if !output.status.success() {
            told += usize::from(said.contains("Too many open files"));
        }
    }
    assert!(told >= 3, "{told}");
}

#[cfg(target_os = "linux")]
#[test]
fn memory_that_there_is_not_is_an_error_that_says_what_to_lower() {
    let experiment = Experiment::new(1);
    let rows = "{\"text\": \"TEXT\", \"label\": \"0\"}\n".replace("TEXT", &"the plot rises and falls ".repeat(12));
    let rows = format!("{rows}{}", rows.replace("\"0\"", "\"1\"")).repeat(2_000);
    experiment.file("large.jsonl", &rows);
    let large = ["--set", "data.train=large.jsonl", "--set", "train.batch_size=4000", "--threads", "2"];
    // Enough to begin with, not for a step of four thousand rows.
    let output = experiment.kindling_in_shell("ulimit -v 900000", &[&TRAIN[..3], &large].concat());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("error: out of memory: the system does not give "), "{said}");
    let help = "help: end other programs or raise the limit (`ulimit -v`); smaller batches and shorter texts need less, and an \
                interrupted training can be resumed from its last checkpoint\n";
    assert!(said.ends_with(help), "{said}");
}

/// Stacks of a gigabyte, so that a limit on addresses is one on threads: each gigabyte more is one thread more.
#[cfg(target_os = "linux")]
#[test]
fn threads_that_cannot_be_started_are_an_error_however_many_there_are() {
    let experiment = Experiment::new(1);
    experiment.train(&[]);
    let train = ["train", "run.toml", "--quiet", "--overwrite"];
    let vary = ["--vary", "train.learning_rate=1e-3,1e-4", "--budget", "2", "-o", "compared"];
    let compare = [&["compare", "run.toml", "--quiet", "--set", "data.valid=data.jsonl"], &vary[..]].concat();
    for (command, most) in [(&train[..], 14), (&["eval", "--run", "runs/run"], 8), (&compare, 14)] {
        let (mut failed, mut done) = (0, 0);
        for gigabytes in 1..=most {
            let limit = gigabytes * 1_000_000 + 400_000;
            let before = format!("rm -rf compared; export RUST_MIN_STACK=1000000000; ulimit -v {limit}");
            let output = experiment.kindling_in_shell(&before, &[command, &["--threads", "2"]].concat());
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            if output.status.success() {
                done += 1;
                continue;
            }
            failed += 1;
            assert_eq!(output.status.code(), Some(1), "{command:?}, {gigabytes}: {said}");
            let error = said.find("error: ").map(|at| &said[at..]).unwrap_or_default();
            let no_thread = "cannot start the threads that are needed: Resource temporarily unavailable (os error 11)\n\
                             help: the system allows no more: start fewer with `--threads N`, or raise its limit (`ulimit -u`)\n";
            let no_process = "help: the system may allow no more processes or threads: raise its limit (`ulimit -u`)\n";
            assert!(error.ends_with(no_thread) || error.ends_with(no_process), "{command:?}, {gigabytes}: {said}");
        }
        assert!(failed >= 3 && done > 0, "{command:?}: {failed} failed, {done} were done");
    }
}

#[test]
fn a_clock_that_was_set_back_changes_nothing() {
    let undisturbed = Experiment::new(12);
    undisturbed.train(&[]);
    let experiment = Experiment::new(12);
    experiment.interrupt_after(9);
    let later = SystemTime::now() + Duration::from_secs(400 * 86_400);
    for (path, _) in experiment.files() {
        File::options().write(true).open(path).unwrap().set_modified(later).unwrap();
    }
    experiment.train(&["--resume"]);
    experiment.assert_same_as(&undisturbed);
}

#[cfg(unix)]
#[test]
fn signals_at_any_moment_leave_a_run_that_ends_the_same() {
    let undisturbed = Experiment::new(12);
    undisturbed.train(&[]);
    let experiment = Experiment::new(12);
    let mut interrupted = 0;
    // Before the first step, in steps, evaluations and checkpoints; some at once a second time, which ends the process as it is.
    for (step, milliseconds, signals) in [
        (0, 0, 1),
        (0, 30, 2),
        (0, 120, 1),
        (3, 1, 1),
        (9, 0, 2),
        (14, 3, 1),
        (25, 2, 2),
        (31, 0, 1),
        (44, 5, 1),
        (56, 1, 2),
    ] {
        let mut process = experiment.spawn(&["--resume"]);
        experiment.wait_for_step(step);
        std::thread::sleep(Duration::from_millis(milliseconds));
        for signal in ["-TERM", "-INT"].iter().take(signals) {
            // It may have ended by itself.
            let _ = std::process::Command::new("kill").args([*signal, &process.id().to_string()]).status().unwrap();
        }
        let status = process.wait().unwrap();
        // Before the process listens, the signal itself ends it.
        assert!(matches!(status.code(), Some(0 | 130) | None), "{status}");
        interrupted += usize::from(!status.success());
    }
    assert!(interrupted >= 7, "only {interrupted} processes were interrupted");
    experiment.train(&["--resume"]);
    experiment.assert_same_as(&undisturbed);
}

#[test]
fn an_interrupted_run_is_verified_up_to_its_last_checkpoint() {
    // Of 72 steps, killed early: a replay that goes on after the checkpoint does steps that are not asked for.
    let experiment = Experiment::new(12);
    experiment.interrupt_after(2);
    let last = experiment.checkpoints().last().copied().unwrap();
    assert!(last < 72, "the run was not interrupted: {last}");
    let output = experiment.kindling(&["verify", experiment.run().to_str().unwrap(), "--json"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let expected = serde_json::json!([0, last, true, null]);
    let keys = ["from_step", "to_step", "agrees", "first_difference"];
    assert_eq!(serde_json::Value::from(keys.map(|key| document[key].clone()).to_vec()), expected, "{document}");
}
