//! Runs that are interrupted end bit for bit where the undisturbed run ends: killed, stopped by a signal, resumed by
//! another number of threads, with dropout and accumulation, in the middle of epochs.

mod base_in_use;
mod damage;
mod experiment;
mod legs;
mod overwrite;
mod system;

use std::time::Duration;

use experiment::Experiment;

#[test]
fn a_run_killed_at_random_moments_ends_as_the_undisturbed_one() {
    let undisturbed = Experiment::new(12);
    undisturbed.train(&[]);

    let killed = Experiment::new(12);
    let mut kills = 0;
    // Before the first step, and so soon after later ones of the 72 that the next is under way, or an evaluation or a
    // checkpoint.
    let before = [0, 40, 90, 15].map(|milliseconds| (0, milliseconds));
    let steps = [2, 3, 5, 8, 11, 12, 16, 19, 20, 25, 28, 33, 40, 41, 45, 50, 53, 56];
    let after = steps.into_iter().enumerate().map(|(n, step)| (step, n as u64 * 2 % 7));
    for (step, milliseconds) in before.into_iter().chain(after) {
        let mut process = killed.spawn(&["--resume"]);
        killed.wait_for_step(step);
        std::thread::sleep(Duration::from_millis(milliseconds));
        kills += usize::from(process.try_wait().unwrap().is_none());
        process.kill().unwrap();
        process.wait().unwrap();
    }
    assert!(kills >= 20, "only {kills} processes were still running when they were killed");
    killed.train(&["--resume"]);
    killed.assert_same_as(&undisturbed);
}

#[test]
fn a_decoder_that_learns_packed_completions_is_killed_and_ends_the_same() {
    let undisturbed = Experiment::of_completions(12);
    undisturbed.train(&["--threads", "1"]);
    let killed = Experiment::of_completions(12);
    for (step, milliseconds) in [(3, 0), (9, 2), (16, 1), (17, 4)] {
        let mut process = killed.spawn(&["--resume"]);
        killed.wait_for_step(step);
        std::thread::sleep(Duration::from_millis(milliseconds));
        process.kill().unwrap();
        process.wait().unwrap();
    }
    killed.train(&["--resume", "--threads", "3"]);
    killed.assert_same_as(&undisturbed);
}

#[test]
fn a_run_with_parameter_groups_is_killed_and_ends_the_same_with_gradient_checkpointing_or_without() {
    killed_or_recomputed_it_ends_the_same(Experiment::of_lora_plus);
}

#[test]
fn a_decoder_whose_biases_learn_is_killed_and_ends_the_same_with_gradient_checkpointing_or_without() {
    killed_or_recomputed_it_ends_the_same(Experiment::of_bitfit);
}

#[test]
fn a_decoder_whose_last_layer_learns_is_killed_and_ends_the_same_with_gradient_checkpointing_or_without() {
    killed_or_recomputed_it_ends_the_same(Experiment::of_last_layers);
}

#[test]
fn an_ia3_adapter_is_killed_and_ends_the_same_with_gradient_checkpointing_or_without() {
    killed_or_recomputed_it_ends_the_same(Experiment::of_ia3);
}

fn killed_or_recomputed_it_ends_the_same(experiment: fn(usize) -> Experiment) {
    let undisturbed = experiment(6);
    undisturbed.train(&[]);
    let killed = experiment(6);
    for step in [3, 8, 17] {
        let mut process = killed.spawn(&["--resume"]);
        killed.wait_for_step(step);
        process.kill().unwrap();
        process.wait().unwrap();
    }
    killed.train(&["--resume"]);
    killed.assert_same_as(&undisturbed);
    let checkpointed = experiment(6);
    checkpointed.train(&["--set", "train.gradient_checkpointing=true"]);
    checkpointed.assert_same_as(&undisturbed);
}

#[test]
fn bottleneck_and_dora_adapters_are_killed_and_end_the_same_with_gradient_checkpointing_and_other_threads_or_without() {
    for experiment in [
        Experiment::of_bottlenecks,
        Experiment::of_bottleneck_completions,
        Experiment::of_dora,
        Experiment::of_dora_completions,
    ] {
        let undisturbed = experiment(6);
        undisturbed.train(&[]);
        let killed = experiment(6);
        for step in [3, 8, 17] {
            let mut process = killed.spawn(&["--resume"]);
            killed.wait_for_step(step);
            process.kill().unwrap();
            process.wait().unwrap();
        }
        killed.train(&["--resume", "--threads", "3"]);
        killed.assert_same_as(&undisturbed);
        let checkpointed = experiment(6);
        checkpointed.train(&["--set", "train.gradient_checkpointing=true"]);
        checkpointed.assert_same_as(&undisturbed);
    }
}

#[test]
fn an_adapter_that_is_a_part_of_the_base_is_killed_and_ends_the_same_with_what_was_taken_out_before() {
    for keys in [
        "init = \"pissa\"",
        "init = \"pissa_niter_2\"",
        "init = \"olora\"",
        "init = \"pissa\"\nuse_dora = true",
        "init = \"olora\"\nuse_dora = true",
    ] {
        let undisturbed = Experiment::of_part_of_base(keys, 8);
        undisturbed.train(&["--threads", "1"]);
        let killed = Experiment::of_part_of_base(keys, 8);
        for step in [5, 9, 14] {
            let mut process = killed.spawn(&["--resume"]);
            killed.wait_for_step(step);
            process.kill().unwrap();
            process.wait().unwrap();
        }
        let newest = *killed.checkpoints().iter().max().unwrap();
        let start = killed.run().join(format!("checkpoints/step-{newest}/start.safetensors"));
        assert!(start.is_file(), "{}", start.display());
        killed.train(&["--resume", "--threads", "3"]);
        killed.assert_same_as(&undisturbed);
    }
    // A checkpoint without it, or with another one, is not gone on from.
    let damaged = Experiment::of_part_of_base("init = \"pissa\"", 4);
    damaged.train(&[]);
    for step in damaged.checkpoints() {
        std::fs::write(damaged.run().join(format!("checkpoints/step-{step}/start.safetensors")), b"other").unwrap();
    }
    let output = damaged.output(&["--resume", "--set", "train.epochs=5"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("start.safetensors is not as it was written"), "{said}");
}

#[test]
fn a_decoder_that_learns_sets_of_labels_is_killed_and_ends_the_same_with_its_thresholds() {
    let undisturbed = Experiment::of_label_sets(6);
    undisturbed.train(&[]);
    let killed = Experiment::of_label_sets(6);
    for step in [3, 8, 17] {
        let mut process = killed.spawn(&["--resume"]);
        killed.wait_for_step(step);
        process.kill().unwrap();
        process.wait().unwrap();
    }
    killed.train(&["--resume"]);
    killed.assert_same_as(&undisturbed);
    let sidecar = std::fs::read_to_string(killed.run().join("adapter/kindling.json")).unwrap();
    assert!(sidecar.contains("thresholds"), "{sidecar}");
    let checkpointed = Experiment::of_label_sets(6);
    checkpointed.train(&["--set", "train.gradient_checkpointing=true"]);
    checkpointed.assert_same_as(&undisturbed);
}

#[test]
fn threads_do_not_change_a_bit() {
    let one = Experiment::new(3);
    one.train(&["--threads", "1"]);
    for threads in ["2", "3"] {
        let other = Experiment::new(3);
        other.train(&["--threads", threads]);
        other.assert_same_as(&one);
    }
}

#[test]
fn gradient_checkpointing_does_not_change_a_bit() {
    for experiment in [Experiment::new, Experiment::of_completions] {
        let plain = experiment(2);
        plain.train(&[]);
        let checkpointed = experiment(2);
        checkpointed.train(&["--set", "train.gradient_checkpointing=true"]);
        checkpointed.assert_same_as(&plain);
    }
}

#[cfg(unix)]
#[test]
fn a_signal_saves_the_last_whole_step_and_exits_with_130() {
    let undisturbed = Experiment::new(40);
    undisturbed.train(&[]);

    let stopped = Experiment::new(40);
    let mut process = stopped.spawn(&["--set", "train.checkpoint_every=1000"]);
    stopped.wait_for_step(7);
    let killed = std::process::Command::new("kill").args(["-TERM", &process.id().to_string()]).status().unwrap();
    assert!(killed.success());
    assert_eq!(process.wait().unwrap().code(), Some(130));
    let checkpoints = stopped.checkpoints();
    assert_eq!(checkpoints.len(), 1, "{checkpoints:?}");
    assert!(checkpoints[0] >= 7 && checkpoints[0] < 240);
    stopped.train(&["--resume"]);
    stopped.assert_same_as(&undisturbed);
}

#[test]
fn a_finished_run_is_left_alone() {
    let experiment = Experiment::new(2);
    experiment.train(&[]);
    let before = experiment.files();
    let again = experiment.output(&["--resume"]);
    assert!(again.status.success());
    assert!(String::from_utf8_lossy(&again.stderr).contains("is a finished run: nothing to resume"));
    assert_eq!(experiment.files(), before);
    let anew = experiment.output(&[]);
    assert_eq!(anew.status.code(), Some(2));
    let said = String::from_utf8_lossy(&anew.stderr).into_owned();
    assert!(
        said.contains("holds a finished run") && said.contains("--resume") && said.contains("--overwrite"),
        "{said}"
    );
    experiment.train(&["--overwrite"]);
}

#[test]
fn a_run_that_differs_is_refused_by_its_key() {
    let experiment = Experiment::new(6);
    experiment.interrupt_after(5);
    for (set, said) in [
        ("train.learning_rate=1e-3", "`train.learning_rate` differs from the interrupted run (0.01, now 0.001)"),
        ("train.epochs=7", "`train.epochs` differs from the interrupted run (6, now 7)"),
        ("seed=3", "`seed` differs from the interrupted run (42, now 3)"),
        ("adapter.r=2", "`adapter.r` differs from the interrupted run (4, now 2)"),
    ] {
        let output = experiment.output(&["--resume", "--set", set]);
        assert_eq!(output.status.code(), Some(2), "{set}");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(error.contains(said), "{set}: {error}");
    }
    experiment.change_data();
    let output = experiment.output(&["--resume"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot resume: the data differs"));
}

#[test]
fn only_so_many_checkpoints_are_kept_and_left_over_files_are_removed() {
    let experiment = Experiment::new(4);
    experiment.train(&["--set", "train.keep_checkpoints=3"]);
    assert_eq!(experiment.checkpoints(), [16, 20, 24]);
    // As a killed process leaves them; names that kindling does not give are somebody else's.
    std::fs::create_dir(experiment.run().join(".kindling/checkpoint")).unwrap();
    std::fs::write(experiment.run().join("adapter/.kindling-a1B2c3.tmp"), "half").unwrap();
    std::fs::write(experiment.run().join("adapter/README.md.tmp"), "mine").unwrap();
    experiment.train(&["--overwrite"]);
    assert_eq!(experiment.checkpoints(), [20, 24]);
    assert!(!experiment.run().join(".kindling/checkpoint").exists());
    assert!(!experiment.run().join("adapter/.kindling-a1B2c3.tmp").exists());
    assert!(experiment.run().join("adapter/README.md.tmp").exists());
}

#[test]
fn a_checkpoint_that_cannot_be_written_leaves_the_one_before() {
    let undisturbed = Experiment::new(40);
    undisturbed.train(&[]);

    let experiment = Experiment::new(40);
    let process = experiment.spawn_heard(&[]);
    experiment.wait_for_step(5);
    // Somebody else's files where later checkpoints would be.
    let in_the_way = |step: usize| experiment.run().join(format!("checkpoints/step-{step}"));
    let steps: Vec<usize> = (100..=240).step_by(4).collect();
    for step in &steps {
        std::fs::write(in_the_way(*step), "mine").unwrap();
    }
    let output = process.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    let expected = "error: runs/run/checkpoints/step-100 is in the way: the run did not write it\n\
                    help: move it elsewhere, or choose another directory with `--set output_dir=DIR`\n";
    assert!(said.ends_with(expected), "{said}");
    for step in &steps {
        assert_eq!(std::fs::read(in_the_way(*step)).unwrap(), b"mine");
        std::fs::remove_file(in_the_way(*step)).unwrap();
    }
    assert_eq!(experiment.checkpoints(), [92, 96]);
    experiment.train(&["--resume"]);
    experiment.assert_same_as(&undisturbed);
}

#[test]
fn a_second_process_is_kept_out() {
    let experiment = Experiment::new(400);
    let mut first = experiment.spawn(&[]);
    experiment.wait_for_step(2);
    let second = experiment.output(&["--resume"]);
    first.kill().unwrap();
    first.wait().unwrap();
    assert_eq!(second.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&second.stderr).contains("another process is training in"));
}

#[test]
fn a_run_whose_directory_is_removed_says_so() {
    let experiment = Experiment::new(400);
    let process = experiment.spawn_heard(&[]);
    experiment.wait_for_step(5);
    // It may be writing into it at this moment.
    while experiment.run().exists() {
        let _ = std::fs::remove_dir_all(experiment.run());
    }
    let output = process.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    // Whichever of its files was next.
    assert!(said.contains("error: cannot write runs/run/") || said.contains("could not be written"), "{said}");
    let help = "help: the directory was removed or moved while the run was writing to it: put it back and go on with \
                `--resume`, or start over\n";
    assert!(said.ends_with(help), "{said}");
}
