//! `train --find-lr`: the curve and the suggestion, and that nothing is left.

use crate::project::Project;

#[test]
fn a_range_test_shows_a_curve_and_a_rate_and_leaves_nothing() {
    let project = Project::new();
    let before = project.names(".");
    let ran = project.train(&["--find-lr", "--quiet"]).done();
    assert!(ran.stdout.starts_with("loss (smoothed) by learning rate, "), "{}", ran.stdout);
    let last = ran.stdout.lines().last().unwrap();
    assert!(last.starts_with("the loss falls fastest at ") && last.ends_with("(the configuration has 3e-4)"), "{last}");
    assert_eq!(project.names("."), before);
}

#[test]
fn the_document_has_rising_rates_and_the_same_numbers_each_time() {
    let project = Project::new();
    let [first, second] = [(); 2].map(|()| project.train(&["--find-lr", "--json"]).done().document());
    assert_eq!(first, second);
    let rates: Vec<f64> =
        first["curve"].as_array().unwrap().iter().map(|tried| tried["learning_rate"].as_f64().unwrap()).collect();
    assert!(rates.len() > 20 && rates.windows(2).all(|pair| pair[0] < pair[1]), "{rates:?}");
    let suggestion = first["suggestion"].as_f64().unwrap();
    assert!((rates[0]..*rates.last().unwrap()).contains(&suggestion), "{suggestion}");
    // At the first step nothing has been learnt: the loss is that of the run's own first step.
    project.train(&["--quiet"]).done();
    let line: serde_json::Value =
        serde_json::from_str(project.read("run/metrics.jsonl").lines().next().unwrap()).unwrap();
    assert_eq!(first["curve"][0]["loss"], line["loss"]);
}

#[test]
fn a_run_in_legs_and_a_run_to_be_resumed_have_no_rate_to_find() {
    let project = Project::new().config("\n[[legs]]\nafter_step = 2\nmax_steps = 4");
    project.train(&["--find-lr"]).refused(
        "error: `--find-lr`: the run continued after step 2 with a schedule of its own\n\
         help: test the rate of a run without `[[legs]]`: take them out of the configuration",
    );
    let ran = Project::new().train(&["--find-lr", "--resume"]);
    assert_eq!(ran.status, Some(2));
    assert!(ran.stderr.starts_with("error: the argument '--find-lr' cannot be used with '--resume'"), "{}", ran.stderr);
}
