//! `--overwrite` keeps the run that is there until the new one has a checkpoint: whenever the process is killed, one of the two
//! is whole. And runs that earlier versions have left can be resumed.

use std::fs;
use std::time::Duration;

use super::experiment::Experiment;

const OTHER_RATE: [&str; 2] = ["--set", "train.learning_rate=5e-3"];

#[test]
fn a_run_that_is_overwritten_stays_until_the_new_one_has_a_checkpoint() {
    let experiment = Experiment::new(2);
    experiment.train(&[]);
    let before = experiment.files();
    let mut process =
        experiment.spawn(&[&["--overwrite", "--set", "train.checkpoint_every=1000"], &OTHER_RATE[..]].concat());
    experiment.wait_for_step_in(".kindling/next", 3);
    process.kill().unwrap();
    process.wait().unwrap();
    for (path, bytes) in &before {
        let own = path.components().any(|part| part.as_os_str() == ".kindling");
        assert!(own || fs::read(path).unwrap() == *bytes, "{}", path.display());
    }
    let again = experiment.output(&["--resume"]);
    assert!(String::from_utf8_lossy(&again.stderr).contains("is a finished run: nothing to resume"));
    // What was begun and abandoned goes away with the next start.
    experiment.train(&[&["--overwrite"], &OTHER_RATE[..]].concat());
    assert!(!experiment.run().join(".kindling/next").exists());
}

#[test]
fn whenever_an_overwriting_process_is_killed_one_of_the_runs_is_whole() {
    let new = Experiment::new(2);
    new.train(&OTHER_RATE);
    let old = Experiment::new(2);
    old.train(&[]);
    let adapter =
        |experiment: &Experiment| fs::read(experiment.run().join("adapter/adapter_model.safetensors")).unwrap();
    let old_adapter = adapter(&old);
    let (mut kept, mut replaced) = (0, 0);
    for milliseconds in [0, 40, 80, 120, 160, 200, 240, 280, 320, 360, 400, 450, 500, 600, 700] {
        let mut process = old.spawn(&[&["--overwrite"], &OTHER_RATE[..]].concat());
        std::thread::sleep(Duration::from_millis(milliseconds));
        process.kill().unwrap();
        process.wait().unwrap();
        let finished = old.output(&["--resume"]);
        let said = String::from_utf8_lossy(&finished.stderr).into_owned();
        if said.contains("is a finished run: nothing to resume") {
            kept += 1;
        } else {
            // The new run, in its middle or at its end: its settings are others than those of the file.
            let is_new = [
                "`train.learning_rate` differs from the interrupted run (0.005, now 0.01)",
                "`train.learning_rate` in run.toml, line 13: the run has completed 12 steps and would end after 12",
            ];
            assert!(is_new.iter().any(|message| said.contains(message)), "{said}");
            old.train(&[&["--resume"], &OTHER_RATE[..]].concat());
            old.assert_same_as(&new);
            replaced += 1;
            old.train(&["--overwrite"]);
        }
        assert!(adapter(&old) == old_adapter);
    }
    println!("{kept} killed before the exchange, {replaced} after");
}

#[test]
fn a_run_of_the_version_before_can_be_resumed() {
    let undisturbed = Experiment::new(12);
    undisturbed.train(&[]);
    let experiment = Experiment::new(12);
    experiment.interrupt_after(5);
    experiment.make_earlier(&["mask_probability", "eval_generate", "compute", "gradient_checkpointing"]);
    experiment.train(&["--resume"]);
    experiment.assert_same_as(&undisturbed);
    experiment.make_earlier(&[]);
    let again = experiment.output(&["--resume"]);
    assert!(String::from_utf8_lossy(&again.stderr).contains("is a finished run: nothing to resume"));
    experiment.train(&["--overwrite"]);
    experiment.assert_same_as(&undisturbed);
}
