//! The same bits on any number of workers.

use super::mpirun::{Mpi, assert_same_runs, checkpoints, is_here};
use super::{encoder, packed_decoder};
use crate::project::Project;

/// Trains with one worker, and with these many, and compares.
fn compare(project: &Project, mpi: &Mpi<'_>, workers: &[usize]) {
    project.train(&["--set", "output_dir=one", "--threads", "1"]).done();
    for count in workers {
        let run = format!("of-{count}");
        mpi.run(*count, &["train", "run.toml", "--set", &format!("output_dir={run}")]).done();
        assert_same_runs(project, "one", &run);
    }
}

#[test]
fn an_encoder_is_trained_to_the_same_bits_by_one_two_three_and_five_workers() {
    if is_here() {
        let project = encoder("r = 4\ndropout = 0.2\n");
        // Five: more than there are micro-batches in a step.
        compare(&project, &Mpi::new(&project), &[2, 3, 5]);
    }
}

#[test]
fn a_packed_decoder_is_trained_to_the_same_bits_and_its_answers_too() {
    if is_here() {
        let project = packed_decoder("gpt2-lm", "r = 4\ndropout = 0.2\n")
            .config("eval_generate = 3\ngradient_checkpointing = true");
        compare(&project, &Mpi::new(&project), &[2, 3]);
    }
}

#[test]
fn a_model_that_is_trained_as_a_whole_has_the_same_bits() {
    if is_here() {
        let project = encoder("method = \"full\"\n");
        compare(&project, &Mpi::new(&project), &[2, 3]);
    }
}

#[test]
fn answers_of_a_model_that_was_trained_as_a_whole_are_shared_at_the_end_too() {
    if !is_here() {
        return;
    }
    let project = packed_decoder("gpt2-lm", "method = \"full\"\n").config("eval_generate = 5");
    let mpi = Mpi::new(&project);
    compare(&project, &mpi, &[2, 3]);
    // The result is sent to the other worker, whose directory for it is not there.
    let kindling = env!("CARGO_BIN_EXE_kindling");
    let train = [kindling, "train", "run.toml", "--overwrite", "--threads", "1"];
    let elsewhere = ["-n", "1", "-x", "TMPDIR=/nowhere"];
    let ended = mpi.start_words(&[&["-n", "1"], &train[..], &[":"], &elsewhere, &train].concat()).wait();
    assert!(ended.error().starts_with("error: worker 1 on "), "{}", ended.said);
    assert!(ended.error().contains("/nowhere") && ended.count("error:") == 1, "{}", ended.said);
    assert!(project.path("run/model/model.safetensors").is_file());
}

#[test]
fn an_adapter_that_starts_as_a_part_of_its_base_has_the_same_bits() {
    if is_here() {
        let project = packed_decoder("gpt2-lm", "r = 4\ninit_lora_weights = \"pissa\"\n");
        compare(&project, &Mpi::new(&project), &[2]);
    }
}

#[test]
fn experts_without_a_token_have_no_gradient_on_any_worker() {
    if is_here() {
        let adapter = "r = 2\ndropout = 0.0\ntarget_modules = [\"gate_proj\", \"up_proj\", \"down_proj\"]\n";
        let project = packed_decoder("qwen3-moe-experts-lm", adapter);
        compare(&project, &Mpi::new(&project), &[2, 3]);
    }
}

#[test]
fn weights_and_products_in_bf16_have_the_same_bits_or_are_refused_as_by_one_worker() {
    if !is_here() {
        return;
    }
    let decoder = || packed_decoder("llama3-rope-tied-bf16", "r = 4\ndropout = 0.2\n").config("eval_generate = 2");
    let encoder = || encoder("r = 4\ndropout = 0.2\n").replace("run.toml", "[model]\n", "[model]\ndtype = \"bf16\"\n");
    for project in [decoder(), encoder()] {
        compare(&project, &Mpi::new(&project), &[2, 3]);
    }
    for project in [decoder(), encoder()].map(|project| project.config("compute = \"bf16\"")) {
        let (mpi, alone) = (Mpi::new(&project), project.train(&["--dry-run"]));
        if alone.status == Some(0) {
            compare(&project, &mpi, &[2, 3]);
        } else {
            let ended = mpi.run(3, &["train", "run.toml"]);
            assert!(alone.stderr.contains("products in bf16"), "{}", alone.stderr);
            assert_eq!((ended.error(), ended.status), (alone.stderr.trim().to_string(), Some(2)), "{}", ended.said);
        }
    }
}

#[test]
fn bits_do_not_depend_on_the_network() {
    if is_here() {
        let project = encoder("r = 4\ndropout = 0.2\n");
        compare(&project, &Mpi::new(&project).option(&["--mca", "btl", "self,tcp"]), &[2]);
    }
}

#[test]
fn killed_runs_are_resumed_by_other_numbers_of_workers() {
    if !is_here() {
        return;
    }
    let project = encoder("r = 4\ndropout = 0.2\n").replace("run.toml", "max_steps = 8", "max_steps = 20");
    project.train(&["--set", "output_dir=one", "--threads", "1"]).done();
    let mpi = Mpi::new(&project);
    let arguments = ["train", "run.toml", "--set", "output_dir=killed"];
    for (workers, killed, step) in [(3, 1, 2), (2, 0, 6), (1, 0, 10), (3, 2, 14)] {
        let resumed = [&arguments[..], &["--resume"]].concat();
        let job = mpi.start(workers, if step == 2 { &arguments } else { &resumed });
        job.wait_for_checkpoint("killed", step);
        if workers == 1 {
            // `mpirun -n 1` sets the same variables.
            job.signal(0, "KILL");
            job.wait();
            continue;
        }
        job.signal(killed, "KILL");
        let ended = job.wait();
        assert_eq!(ended.status, Some(137), "{}", ended.said);
        assert!(ended.count(&format!("process rank {killed}")) > 0, "{}", ended.said);
    }
    assert!(checkpoints(&project, "killed").last().is_some_and(|step| *step < 20));
    mpi.run(2, &[&arguments[..], &["--resume"]].concat()).done();
    assert_same_runs(&project, "one", "killed");
}

#[test]
fn a_signal_to_any_worker_stops_all_and_the_step_is_saved() {
    if !is_here() {
        return;
    }
    let project = encoder("r = 4\ndropout = 0.2\n").replace("run.toml", "max_steps = 8", "max_steps = 200").replace(
        "run.toml",
        "eval_every = 3\ncheckpoint_every = 2",
        "eval_every = 100\ncheckpoint_every = 100",
    );
    let mpi = Mpi::new(&project);
    let arguments = ["train", "run.toml", "--set", "output_dir=stopped"];
    for (workers, told, signal) in [(2, 1, "TERM"), (3, 0, "INT"), (3, 2, "TERM")] {
        let before = checkpoints(&project, "stopped").last().copied().unwrap_or(0);
        let resumed = [&arguments[..], &["--resume"]].concat();
        let job = mpi.start(workers, if before == 0 { &arguments } else { &resumed });
        job.wait_for_step("stopped", before + 3);
        job.signal(told, signal);
        let ended = job.wait();
        assert_eq!(ended.status, Some(130), "{}", ended.said);
        assert_eq!(ended.count("interrupted after step"), 1, "{}", ended.said);
        assert!(checkpoints(&project, "stopped").last().is_some_and(|step| *step > before));
    }
    mpi.run(2, &[&arguments[..], &["--resume"]].concat()).done();
    project.train(&["--set", "output_dir=one", "--threads", "1"]).done();
    // Checkpoints were saved at other steps.
    for run in ["one", "stopped"] {
        let is_last = |step: &usize| *step == 200;
        for step in checkpoints(&project, run).into_iter().filter(|step| !is_last(step)) {
            std::fs::remove_dir_all(project.path(&format!("{run}/checkpoints/step-{step}"))).unwrap();
        }
    }
    assert_same_runs(&project, "one", "stopped");
}

#[test]
fn a_command_starts_its_workers_itself_and_ends_them_when_it_is_told_to() {
    if !is_here() {
        return;
    }
    let project = encoder("r = 4\ndropout = 0.2\n");
    project.train(&["--set", "output_dir=one", "--threads", "1"]).done();
    let mpi = Mpi::new(&project);
    let kindling = env!("CARGO_BIN_EXE_kindling");
    let started = ["train", "run.toml", "--workers", "2", "--set", "output_dir=two"];
    mpi.start_command(kindling, &started).wait().done();
    assert_same_runs(&project, "one", "two");

    let longer = [&started[..5], &["output_dir=stopped", "--set", "train.max_steps=4000"]].concat();
    let job = mpi.start_command(kindling, &longer);
    job.wait_for_checkpoint("stopped", 2);
    job.signal_itself("TERM");
    let ended = job.wait();
    assert_eq!((ended.status, ended.count("interrupted after step")), (Some(130), 1), "{}", ended.said);

    let again = [&longer[..5], &["output_dir=stopped", "--resume"]].concat();
    let job = mpi.start_command(kindling, &again);
    job.wait_until(|| job.workers() == 2);
    job.signal_launcher("KILL");
    let (ended, left) = job.wait_and_look();
    assert_eq!(
        ended.error(),
        "error: `mpirun`, which ran the workers, was killed (signal: 9 (SIGKILL))\n\
         help: add `--resume` to go on from the last checkpoint; a system that is short of memory kills like this, and fewer \
         workers need less: each holds the whole model"
    );
    assert_eq!((ended.status, left), (Some(1), 0), "{}", ended.said);
}
