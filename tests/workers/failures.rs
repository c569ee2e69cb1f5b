//! Whatever fails on one worker is said once, with one exit status, and soon.

use std::time::Duration;

use serde_json::Value;

use super::mpirun::{Mpi, is_here, send};
use super::{encoder, with_training};
use crate::project::Project;

/// Files that a worker of another host has: the project again in a directory of its own.
fn two_hosts() -> Project {
    let mut project = encoder("r = 4\n");
    for host in ["a", "b"] {
        project = project
            .copy("bert-cls/model", &format!("{host}/bert"))
            .copy("bert-cls/data.jsonl", &format!("{host}/train.jsonl"));
        let config = project.read("run.toml");
        project = project.file(&format!("{host}/run.toml"), config);
    }
    project
}

#[test]
fn a_wrong_configuration_is_one_error() {
    if is_here() {
        let project = encoder("r = 4\n").config("learning_rat = 1.0");
        let alone = project.train(&[]);
        let ended = Mpi::new(&project).run(3, &["train", "run.toml"]);
        assert_eq!(ended.status, Some(2));
        assert_eq!((ended.error(), ended.count("error:")), (alone.stderr.trim().to_string(), 1));
        assert!(!project.path("run").exists());
    }
}

#[test]
fn hosts_with_other_data_are_refused_by_the_name_of_the_file() {
    if !is_here() {
        return;
    }
    let project = two_hosts().replace("b/train.jsonl", "rises", "falls");
    let ended = Mpi::new(&project).run_in(&["a", "b"], &["train", "run.toml"]);
    let host = host();
    assert_eq!(
        ended.error(),
        format!(
            "error: [DIR]/b/train.jsonl on worker 1 on {host} is not the file that worker 0 on {host} has\n\
             help: copy the data of one host to the others, or read it from a shared disk"
        )
    );
    assert_eq!((ended.status, ended.count("error:")), (Some(2), 1), "{}", ended.said);
    assert!(!project.path("a/run").exists() && !project.path("b/run").exists());
}

#[test]
fn hosts_with_another_base_are_refused_by_the_name_of_the_file() {
    if !is_here() {
        return;
    }
    let project = two_hosts().tensors("b/bert/model.safetensors", |tensors| {
        tensors.add_to_first("bert.embeddings.word_embeddings.weight", 1.0);
    });
    let ended = Mpi::new(&project).run_in(&["a", "b"], &["train", "run.toml"]);
    let host = host();
    assert_eq!(
        ended.error(),
        format!(
            "error: [DIR]/b/bert/model.safetensors on worker 1 on {host} is not the file that worker 0 on {host} has\n\
             help: copy the base of one host to the others, or read it from a shared disk"
        )
    );
    assert_eq!(ended.status, Some(2), "{}", ended.said);
}

#[test]
fn hosts_with_another_tokenizer_are_refused_by_the_name_of_the_file() {
    if !is_here() {
        return;
    }
    let project = two_hosts().replace("b/bert/tokenizer.json", "\"rises\"", "\"risen\"");
    let ended = Mpi::new(&project).run_in(&["a", "b"], &["train", "run.toml"]);
    let host = host();
    assert_eq!(
        ended.error(),
        format!(
            "error: [DIR]/b/bert/tokenizer.json on worker 1 on {host} is not the file that worker 0 on {host} has\n\
             help: copy the base of one host to the others, or read it from a shared disk"
        )
    );
    assert_eq!((ended.status, ended.count("error:")), (Some(2), 1), "{}", ended.said);
}

#[test]
fn hosts_with_another_configuration_are_refused_by_the_key() {
    if !is_here() {
        return;
    }
    let project = two_hosts().replace("b/run.toml", "batch_size = 2", "batch_size = 3");
    let ended = Mpi::new(&project).run_in(&["a", "b"], &["train", "run.toml"]);
    let host = host();
    assert_eq!(
        ended.error(),
        format!(
            "error: `train.batch_size` is 2 on worker 0 on {host}, and 3 on worker 1 on {host}\n\
             help: give all workers the same configuration"
        )
    );
    assert_eq!(ended.status, Some(2), "{}", ended.said);
}

#[test]
fn what_one_host_lacks_is_said_with_its_name() {
    if !is_here() {
        return;
    }
    let project = two_hosts().without("b/train.jsonl");
    let ended = Mpi::new(&project).run_in(&["a", "b"], &["train", "run.toml"]);
    assert!(ended.error().starts_with(&format!("error: worker 1 on {}: ", host())), "{}", ended.said);
    assert!(ended.error().contains("[DIR]/b/train.jsonl"), "{}", ended.said);
    assert_eq!((ended.status, ended.count("error:")), (Some(2), 1), "{}", ended.said);
}

#[test]
fn a_loss_that_is_no_number_is_the_same_error_as_with_one_worker() {
    if !is_here() {
        return;
    }
    // Micro-batches of two rows in file order: a word whose embedding overflows stands in two of them, which two workers compute.
    let train = "shuffle = false\ngrad_accumulation = 3\nbatch_size = 2";
    let project = Project::new().replace("run.toml", "max_steps = 2\nbatch_size = 4", train);
    let lines: Vec<String> = project.read("train.jsonl").lines().map(|line| line.replace("rises", "falls")).collect();
    let with_word = |(i, line): (usize, &String)| match i {
        3 | 5 => "{\"text\": \"the night rises\", \"label\": 1}\n".to_string(),
        _ => format!("{line}\n"),
    };
    let rows: String = lines.iter().enumerate().map(with_word).collect();
    let tokenizer: Value = serde_json::from_str(&project.read("bert/tokenizer.json")).unwrap();
    let rises = tokenizer["model"]["vocab"]["rises"].as_u64().unwrap() as usize;
    let project = project.file("train.jsonl", rows).tensors("bert/model.safetensors", |tensors| {
        tensors.fill_row("bert.embeddings.word_embeddings.weight", rises, f32::MAX);
    });
    for workers in [2, 3] {
        let ended = Mpi::new(&project).run(workers, &["train", "run.toml", "--overwrite"]);
        assert_eq!(
            ended.error(),
            "error: step 1: the loss is not a number (the example in line 4 of the training data)\n\
             help: a lower `train.learning_rate`, a warm-up or a lower `train.max_grad_norm` usually mends this; the checkpoint \
             before it is kept"
        );
        assert_eq!((ended.status, ended.count("error:")), (Some(1), 1), "{}", ended.said);
    }
}

#[test]
fn a_run_that_only_the_first_host_has_is_resumed_by_all() {
    if !is_here() {
        return;
    }
    let project = two_hosts();
    let mpi = Mpi::new(&project);
    let job = mpi.start_in(&["a", "b"], &["train", "run.toml", "--set", "train.max_steps=2000"]);
    job.wait_for_checkpoint("a/run", 4);
    job.signal(1, "TERM");
    let ended = job.wait();
    assert_eq!(ended.status, Some(130), "{}", ended.said);
    assert!(!project.path("b/run").exists());
    let step = super::mpirun::checkpoints(&project, "a/run").last().copied().unwrap();
    let job = mpi.start_in(&["a", "b"], &["train", "run.toml", "--set", "train.max_steps=2000", "--resume"]);
    job.wait_for_checkpoint("a/run", step + 2);
    job.signal(0, "TERM");
    let ended = job.wait();
    assert_eq!((ended.status, ended.count(&format!("resuming after step {step}"))), (Some(130), 1), "{}", ended.said);
    assert!(!project.path("b/run").exists());
}

#[test]
fn a_card_that_was_removed_and_a_file_that_the_base_has_got_do_not_fail_the_end_of_a_run() {
    if !is_here() {
        return;
    }
    let project = encoder("r = 4\n");
    Mpi::new(&project).run(2, &["train", "run.toml"]).done();
    let project = project.without("run/adapter/README.md").file("bert/vocab.txt", "[UNK]\n");
    // One more step that is no better: the result stays the one that was saved before.
    let more = ["--resume", "--set", "train.max_steps=9", "--set", "train.learning_rate=1e-9"];
    let ended = Mpi::new(&project).run(2, &[&["train", "run.toml"], &more[..]].concat()).done();
    assert_eq!(ended.count("saved and verified"), 1, "{}", ended.said);
    assert!(!project.path("run/adapter/README.md").exists(), "{}", ended.said);
}

#[test]
fn a_directory_that_cannot_be_written_is_the_first_worker_s_to_say() {
    if is_here() {
        let project = with_training(Project::new(), "").file("run", "a file");
        let alone = project.train(&[]);
        let ended = Mpi::new(&project).run(2, &["train", "run.toml"]);
        assert_eq!((ended.error(), ended.status), (alone.stderr.trim().to_string(), Some(2)));
    }
}

#[test]
fn a_panic_of_one_ends_all() {
    if !is_here() {
        return;
    }
    // Workers that are at different commands find themselves at different places, which is nothing that can be gone on from.
    let project = encoder("r = 4\n");
    project.train(&[]).done();
    let kindling = env!("CARGO_BIN_EXE_kindling");
    let words = ["-n", "1", kindling, "train", "run.toml", "--set", "output_dir=other", ":", "-n", "1", kindling];
    let ended = Mpi::new(&project).start_words(&[&words[..], &["eval", "--run", "run"]].concat()).wait();
    assert_eq!(ended.status, Some(101), "{}", ended.said);
    assert!(ended.count("has panicked") > 0 && ended.seconds < 30.0, "{}", ended.said);
}

#[test]
fn a_worker_that_hangs_is_named_after_its_time() {
    if !is_here() {
        return;
    }
    for hanging in [1, 0] {
        let run = format!("run-{hanging}");
        let project = encoder("r = 4\n");
        let set = format!("output_dir={run}");
        let arguments = ["train", "run.toml", "--worker-timeout", "2", "--set", "train.max_steps=4000", "--set", &set];
        let job = Mpi::new(&project).start(2, &arguments);
        job.wait_for_checkpoint(&run, 4);
        job.signal(hanging, "STOP");
        let ended = job.wait();
        let expected = format!("error: worker {hanging} on {} did not answer for 2 s", host());
        assert!(ended.error().starts_with(&expected), "{}", ended.said);
        assert_ne!(ended.status, Some(0));
        assert!(super::mpirun::checkpoints(&project, &run).last().is_some_and(|step| *step >= 4));
    }
}

#[test]
fn a_worker_that_is_slow_is_named_once_while_the_run_goes_on() {
    if !is_here() {
        return;
    }
    let project = encoder("r = 4\n").replace(
        "run.toml",
        "eval_every = 3\ncheckpoint_every = 2",
        "eval_every = 100000\ncheckpoint_every = 100000",
    );
    let job = Mpi::new(&project).start(2, &["train", "run.toml", "--set", "train.max_steps=90000"]);
    job.wait_for_step("run", 2);
    let slow = job.worker(1);
    let expected = format!("worker 1 on {} is slow: it takes ", host());
    job.wait_until(|| {
        // It computes a fifth of the time.
        send("STOP", slow);
        std::thread::sleep(Duration::from_millis(80));
        send("CONT", slow);
        std::thread::sleep(Duration::from_millis(20));
        job.has_said(&expected)
    });
    job.signal(0, "TERM");
    let ended = job.wait();
    assert_eq!((ended.status, ended.count(&expected)), (Some(130), 1), "{}", ended.said);
    assert_eq!(ended.count("times as long for a token as the others (of all tokens: "), 1, "{}", ended.said);
}

#[test]
fn fewer_micro_batches_than_workers_are_told_with_the_same_step_for_all() {
    if is_here() {
        let project = encoder("r = 4\n");
        let mpi = Mpi::new(&project);
        let ended = mpi.run(5, &["train", "run.toml"]).done();
        let expected = "warning: a step has 3 micro-batches, so that 2 workers have nothing to do: `train.batch_size = 1` with \
                        `train.grad_accumulation = 6` is the same step for 5 workers";
        assert_eq!(ended.count(expected), 1, "{}", ended.said);
        let set = ["--set", "output_dir=three"];
        assert_eq!(mpi.run(3, &[&["train", "run.toml"], &set[..]].concat()).done().count("nothing to do"), 0);
    }
}

#[test]
fn workers_cannot_be_started_where_there_is_no_launcher() {
    encoder("r = 4\n").env("PATH", "/nowhere").train(&["--workers", "2"]).refused(
        "error: `--workers 2` starts them with `mpirun`, which was not found\n\
         help: install Open MPI (Debian, Ubuntu: `apt install openmpi-bin`; Fedora: `dnf install openmpi`; macOS: \
         `brew install open-mpi`), or leave `--workers` out: one process uses all cores",
    );
}

#[test]
fn processors_of_several_kinds_are_warned_of() {
    if is_here() {
        let project = encoder("r = 4\n");
        let kindling = env!("CARGO_BIN_EXE_kindling");
        let command = [kindling, "train", "run.toml", "--threads", "1"];
        let portable = ["-n", "1", "-x", "KINDLING_SIMD=portable"];
        let words = [&["-n", "1"], &command[..], &[":"], &portable, &command].concat();
        let ended = Mpi::new(&project).start_words(&words).wait();
        assert!(ended.count("KINDLING_SIMD=portable on all hosts") == 1, "{}", ended.said);
    }
}

#[test]
fn the_first_worker_shows_progress_on_a_terminal_and_the_others_nothing() {
    if !is_here() || !std::process::Command::new("script").arg("--version").output().is_ok_and(|it| it.status.success())
    {
        return;
    }
    let project = encoder("r = 4\n");
    let train = format!("{} train run.toml --threads 1 --set train.max_steps=100", env!("CARGO_BIN_EXE_kindling"));
    let in_terminal = |file: &str| ["-n", "1", "script", "-qefc", &train, file].map(str::to_string).to_vec();
    let words = [in_terminal("first"), vec![":".to_string()], in_terminal("other")].concat();
    Mpi::new(&project).start_words(&words.iter().map(String::as_str).collect::<Vec<_>>()).wait().done();
    let (first, other) = (project.read("first"), project.read("other"));
    assert!(first.contains(" tokens/s") && first.contains("step 1"), "{first}");
    // What `script` says itself.
    let lines: Vec<&str> = other.lines().filter(|line| !line.starts_with("Script ") && !line.is_empty()).collect();
    assert!(lines.is_empty(), "{other}");
}

/// As MPI calls this machine.
fn host() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim().to_string()
}
