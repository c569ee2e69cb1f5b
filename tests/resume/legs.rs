//! A finished run goes on as a further leg: recorded in its configuration, which repeats the run in legs, and resumable like
//! any other run. What cannot be honoured is an error that names the key.

use serde_json::Value;

use super::experiment::Experiment;

/// What a run of two legs is given for the second.
const LONGER: [&str; 4] = ["--set", "train.epochs=4", "--set", "train.learning_rate=5e-3"];

fn go_on(experiment: &Experiment, arguments: &[&str]) {
    experiment.train(&[&["--resume"], arguments].concat());
}

#[test]
fn a_finished_run_goes_on_and_its_configuration_repeats_it_in_legs() {
    let experiment = Experiment::new(2);
    experiment.train(&[]);
    let first = experiment.metrics();
    go_on(&experiment, &LONGER);
    let config = experiment.config();
    assert!(config.ends_with("\n[[legs]]\nafter_step = 12\nepochs = 4\nlearning_rate = 0.005\n"), "{config}");
    assert!(config.contains("epochs = 2\n") && config.contains("learning_rate = 0.01\n"), "{config}");
    let report = std::fs::read_to_string(experiment.run().join("report.html")).unwrap();
    assert!(report.contains("after step 12: train.epochs = 4, train.learning_rate = 0.005"), "the report says so");

    let metrics = experiment.metrics();
    assert_eq!(metrics[..first.len() - 1], first[..first.len() - 1], "the first leg is what it was");
    assert_eq!(metrics.iter().filter(|line| line["event"] == "end").count(), 1);
    assert_eq!(metrics.last().unwrap()["event"], "end");
    let steps: Vec<&Value> = metrics.iter().filter(|line| line["event"] == "step").collect();
    assert_eq!(
        steps.iter().map(|step| step["step"].as_u64().unwrap()).collect::<Vec<_>>(),
        (1..=24).collect::<Vec<_>>()
    );
    // Transformers' linear schedule with a warm-up of 3 steps, over the 12 of the second leg.
    for (taken, step) in steps[12..].iter().enumerate() {
        let factor = if taken < 3 { taken as f64 / 3.0 } else { (12 - taken) as f64 / 9.0 };
        let rate = step["learning_rate"].as_f64().unwrap();
        assert!((rate - 5e-3 * factor).abs() < 1e-12, "{taken}: {rate}");
    }

    let again = experiment.kindling(&["train", "runs/run/config.toml", "--set", "output_dir=runs/again"]);
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
    experiment.assert_same_runs("runs/run", "runs/again");
}

#[test]
fn a_further_leg_that_is_killed_ends_as_the_undisturbed_one() {
    let undisturbed = Experiment::new(2);
    undisturbed.train(&[]);
    go_on(&undisturbed, &["--set", "train.epochs=8"]);

    let killed = Experiment::new(2);
    killed.train(&[]);
    for (arguments, step) in [(&["--set", "train.epochs=8"][..], 13), (&[], 17), (&["--set", "train.epochs=8"], 33)] {
        let mut process = killed.spawn(&[&["--resume"], arguments].concat());
        killed.wait_for_step(step);
        process.kill().unwrap();
        process.wait().unwrap();
    }
    go_on(&killed, &[]);
    killed.assert_same_as(&undisturbed);
    let again = killed.output(&["--resume", "--set", "train.epochs=8"]);
    assert!(String::from_utf8_lossy(&again.stderr).contains("is a finished run: nothing to resume"));
}

#[test]
fn a_dry_run_says_what_resuming_would_do_and_leaves_the_run_as_it_is() {
    let experiment = Experiment::new(2);
    let dry = |arguments: &[&str]| {
        let output = experiment.output(&[&["--dry-run", "--resume"], arguments].concat());
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    };
    let steps = |plan: &str| plan.lines().find(|line| line.starts_with("steps ")).unwrap().to_owned();

    let (status, plan, said) = dry(&[]);
    assert_eq!((status, said.contains("no complete checkpoint: starting at step 1\n")), (0, true), "{said}");
    assert_eq!(steps(&plan), "steps        12 (6 an epoch) of 6 examples (2 x 3)");
    assert!(!experiment.run().exists());

    experiment.train(&[]);
    let files = experiment.files();
    assert_eq!(dry(&[]), (0, String::new(), "runs/run is a finished run: nothing to resume\n".to_owned()));
    let (status, plan, said) = dry(&LONGER);
    let goes_on = "continuing after step 12 with train.epochs = 4, train.learning_rate = 0.005: 12 more steps\n";
    assert_eq!((status, said.contains(goes_on)), (0, true), "{said}");
    assert_eq!(steps(&plan), "steps        24 (6 an epoch) of 6 examples (2 x 3); 12 are done");
    let (status, _, said) = dry(&["--set", "train.batch_size=2"]);
    assert_eq!(status, 2);
    assert!(said.contains("cannot resume: `train.batch_size` differs from the interrupted run (3, now 2)"), "{said}");
    assert!(experiment.files() == files, "a dry run changes nothing");
}

#[test]
fn three_legs_are_each_laid_over_their_own_steps() {
    let experiment = Experiment::new(1);
    experiment.train(&[]);
    go_on(&experiment, &["--set", "train.epochs=2", "--set", "train.schedule=constant"]);
    go_on(&experiment, &["--set", "train.max_steps=15", "--set", "train.epochs=9", "--set", "train.warmup_steps=0"]);
    let rates: Vec<f64> = experiment.metrics().iter().filter_map(|line| line["learning_rate"].as_f64()).collect();
    let third = 1e-2 / 3.0;
    let expected = [0.0, third, 2.0 * third, 1e-2, 2.0 * third, third];
    let expected = [&expected[..], &[0.0, third, 2.0 * third, 1e-2, 1e-2, 1e-2], &[1e-2; 3]].concat();
    assert_eq!(rates.len(), 15);
    assert!(rates.iter().zip(&expected).all(|(rate, expected)| (rate - expected).abs() < 1e-12), "{rates:?}");
    // The configuration that the run began with is still the run's.
    let again = experiment.output(&["--resume"]);
    assert!(String::from_utf8_lossy(&again.stderr).contains("is a finished run: nothing to resume"));
}

#[test]
fn a_run_that_was_stopped_early_goes_on_without_its_patience() {
    const IMPATIENT: [&str; 6] =
        ["--set", "train.early_stopping_patience=1", "--set", "train.eval_every=1", "--set", "train.best=accuracy"];
    let experiment = Experiment::new(6);
    experiment.train(&IMPATIENT);
    let steps = |experiment: &Experiment| experiment.metrics().iter().filter(|line| line["event"] == "step").count();
    let stopped = steps(&experiment);
    assert!(stopped < 36, "it was to be stopped");
    let patient = [&["--resume"], &IMPATIENT[2..], &["--set", "train.early_stopping_patience=0"]].concat();
    experiment.train(&patient);
    assert_eq!(steps(&experiment), 36);
    let leg = format!("[[legs]]\nafter_step = {stopped}\nearly_stopping_patience = 0\n");
    assert!(experiment.config().ends_with(&leg), "{}", experiment.config());
    let again = experiment.kindling(&["train", "runs/run/config.toml", "--set", "output_dir=runs/again"]);
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
    experiment.assert_same_runs("runs/run", "runs/again");
}

#[test]
fn what_a_finished_run_cannot_honour_is_an_error_by_its_key() {
    let experiment = Experiment::new(2);
    experiment.train(&[]);
    let before = experiment.files();
    let more = "help: an epoch has 6 steps: `--set train.epochs=3` or more continues it, with `train.max_steps` 0 or above 12\n";
    for (sets, said) in [
        (&["train.epochs=1"][..], "`--set train.epochs=1`: the run has completed 12 steps and would end after 6"),
        (
            &["train.learning_rate=1e-3"],
            "`--set train.learning_rate=1e-3`: the run has completed 12 steps and would end after 12",
        ),
        (
            &["train.epochs=9", "train.max_steps=12"],
            "`--set train.epochs=9`: the run has completed 12 steps and would end after 12",
        ),
    ] {
        let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", *set]).collect();
        let output = experiment.output(&[&["--resume"], &sets[..]].concat());
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), error), (Some(2), format!("error: {said}\n{more}")));
    }
    for (set, key) in [("adapter.r=2", "adapter.r"), ("train.batch_size=2", "train.batch_size"), ("seed=3", "seed")] {
        let output = experiment.output(&["--resume", "--set", set, "--set", "train.epochs=4"]);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains(&format!("cannot resume: `{key}` differs")), "{error}");
    }
    let same = experiment.output(&["--resume", "--set", "train.epochs=2"]);
    assert!(same.status.success());
    assert_eq!(experiment.files(), before);
}

#[test]
fn an_interrupted_run_with_a_constant_rate_gets_another_length_exactly() {
    const CONSTANT: [&str; 2] = ["--set", "train.schedule=constant"];
    let undisturbed = Experiment::new(9);
    undisturbed.train(&CONSTANT);
    let experiment = Experiment::new(6);
    experiment.interrupt_after_with(5, &CONSTANT);
    experiment.train(&[&["--resume", "--set", "train.epochs=9"], &CONSTANT[..]].concat());
    experiment.assert_same_as(&undisturbed);
    assert!(!experiment.config().contains("[[legs]]") && experiment.config().contains("epochs = 9\n"));
}

#[test]
fn a_set_that_a_leg_sets_too_is_refused_in_a_new_run() {
    let experiment = Experiment::new(1);
    experiment.train(&[]);
    go_on(&experiment, &["--set", "train.epochs=2"]);
    let arguments = ["train", "runs/run/config.toml", "--set", "output_dir=runs/again", "--set", "train.epochs=5"];
    let output = experiment.kindling(&arguments);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "error: `--set train.epochs=5`: the run's legs set `epochs` too, after step 6\n\
         help: change it in the configuration's `[[legs]]`, or take those out\n"
    );
}
