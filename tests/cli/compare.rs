//! `kindling compare`: two methods with two seeds each, what is written, how it goes on, and what is refused.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::project::Project;

const TWO: [&str; 6] = ["compare", "run.toml", "--methods", "lora,full", "--seeds", "2"];

/// With validation data, a key of LoRA alone, and steps enough to tell one run from another.
fn project() -> Project {
    Project::new()
        .replace("run.toml", "train = \"train.jsonl\"\n", "train = \"train.jsonl\"\nvalid = \"train.jsonl\"\n")
        .replace("run.toml", "[data]", "[adapter]\nr = 4\ndropout = 0.0\n\n[data]")
        .replace("run.toml", "max_steps = 2", "max_steps = 12\nlearning_rate = 1e-2\ncheckpoint_every = 2")
}

fn json_lines(project: &Project, name: &str) -> Vec<Value> {
    project.read(name).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Lines of `results.jsonl` without what a clock and the system say.
fn results(project: &Project) -> Vec<Value> {
    let mut lines = json_lines(project, "run-comparison/results.jsonl");
    for line in &mut lines {
        for key in ["step_seconds", "seconds", "peak_memory_bytes"] {
            assert!(line.as_object_mut().unwrap().remove(key).unwrap().as_f64().unwrap() > 0.0, "{key}");
        }
    }
    lines
}

#[test]
fn the_table_has_what_the_runs_and_their_answers_say() {
    let project = project();
    let document = project.run(&[&TWO[..], &["--json", "--quiet"]].concat()).done().document();
    let runs = json_lines(&project, "run-comparison/results.jsonl");
    let names = ["lora", "full"];
    assert_eq!(
        runs.iter().map(|run| run["candidate"].as_str().unwrap()).collect::<Vec<_>>(),
        ["lora", "lora", "full", "full"]
    );
    assert_eq!(document["runs"], Value::from(runs.clone()));
    let mut means = Vec::new();
    for (n, name) in names.into_iter().enumerate() {
        let mut scores = Vec::new();
        for (m, seed) in [42, 43].into_iter().enumerate() {
            let run = format!("run-comparison/{name}/seed-{seed}");
            let line = &runs[2 * n + m];
            // The run's own best evaluation, its configuration, its file, and the answers to each example.
            let evaluations: Vec<Value> = json_lines(&project, &format!("{run}/metrics.jsonl"));
            let accuracy = |line: &Value| line["accuracy"].as_f64();
            let best = evaluations.iter().filter_map(accuracy).fold(0.0, f64::max);
            assert_eq!(line["scores"]["accuracy"].as_f64(), Some(best), "{run}");
            let settings: toml::Table = project.read(&format!("{run}/config.toml")).parse().unwrap();
            assert_eq!(
                (settings["seed"].as_integer(), settings["adapter"]["method"].as_str()),
                (Some(seed), Some(name))
            );
            let examples = json_lines(&project, &format!("{run}.jsonl"));
            let right = examples.iter().filter(|line| line["label"] == line["predicted"]).count();
            assert_eq!(right as f64 / examples.len() as f64, best, "{run}");
            let file = if name == "full" { "model/model.safetensors" } else { "adapter/adapter_model.safetensors" };
            let size = std::fs::metadata(project.path(&format!("{run}/{file}"))).unwrap().len();
            assert_eq!(line["size_bytes"].as_u64(), Some(size));
            scores.push(best);
        }
        let row = &document["candidates"][n];
        let mean = (scores[0] + scores[1]) / 2.0;
        assert_eq!((row["name"].as_str(), row["score"].as_f64()), (Some(name), Some(mean)));
        let spread = (scores[0] - scores[1]).abs() / 2f64.sqrt();
        assert!((row["spread"].as_f64().unwrap() - spread).abs() < 1e-12);
        let table = project.read("run-comparison/table.md");
        assert!(table.contains(&format!("| {name} | {mean:.4} ± {spread:.4} |")), "{table}");
        means.push(mean);
    }
    let difference = &document["differences"][0];
    assert!((difference["difference"].as_f64().unwrap() - (means[1] - means[0])).abs() < 1e-12);
    assert!(difference["words"].as_str().unwrap().starts_with("full against lora: "), "{difference}");
    // LoRA's own keys are passed over for the other, and each trains what its method trains.
    let parameters = |n: usize| document["candidates"][n]["trainable_parameters"].as_u64().unwrap();
    assert!(parameters(0) < parameters(1) && project.read("run-comparison/lora/seed-43.toml").contains("r = 4"));
}

#[test]
fn a_comparison_that_was_stopped_goes_on_and_ends_as_the_undisturbed_one() {
    let [undisturbed, stopped] = [project(), project()];
    undisturbed.run(&TWO).done();
    let mut process = Command::new(env!("CARGO_BIN_EXE_kindling"))
        .args(TWO)
        .current_dir(stopped.path("."))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let begin = Instant::now();
    let checkpoint = stopped.path("run-comparison/full/seed-42/checkpoints/step-4");
    while !checkpoint.exists() {
        assert!(begin.elapsed() < Duration::from_secs(60), "the second run does not start");
        std::thread::sleep(Duration::from_millis(1));
    }
    // Nobody is left who could tell the run to stop: it sees it by the end of its input.
    process.kill().unwrap();
    process.wait().unwrap();
    let first = stopped.read("run-comparison/lora/seed-42/metrics.jsonl");
    // Until the run has let go of its directory.
    let ran = loop {
        let ran = stopped.run(&[&TWO[..], &["--resume"]].concat());
        if ran.status == Some(0) {
            break ran;
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "{}", ran.stderr);
        std::thread::sleep(Duration::from_millis(50));
    };
    assert!(!ran.stderr.contains("(1 of 4)") && ran.stderr.contains("(3 of 4)"), "{}", ran.stderr);
    assert_eq!(stopped.read("run-comparison/lora/seed-42/metrics.jsonl"), first, "a finished run is not repeated");
    assert_eq!(results(&stopped), results(&undisturbed));
    let before = stopped.read("run-comparison/results.jsonl");
    let again = stopped.run(&[&TWO[..], &["--resume"]].concat()).done();
    assert!(!again.stderr.contains(" of 4)"), "{}", again.stderr);
    assert_eq!(stopped.read("run-comparison/results.jsonl"), before);
}

#[cfg(unix)]
#[test]
fn a_signal_is_passed_on_and_the_run_in_progress_saves_its_last_step() {
    let project = project().replace("run.toml", "max_steps = 12", "epochs = 400");
    let process = Command::new(env!("CARGO_BIN_EXE_kindling"))
        .args(TWO)
        .current_dir(project.path("."))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let begin = Instant::now();
    while !project.path("run-comparison/lora/seed-42/checkpoints/step-4").exists() {
        assert!(begin.elapsed() < Duration::from_secs(60), "the run does not start");
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(Command::new("kill").args(["-TERM", &process.id().to_string()]).status().unwrap().success());
    let output = process.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(
        said.ends_with(
            "interrupted, what is done is kept in run-comparison: the same command with `--resume` goes on\n"
        ),
        "{said}"
    );
    let log = project.read("run-comparison/lora/seed-42/metrics.jsonl");
    let steps = log.lines().filter(|line| line.contains("\"event\":\"step\"")).count();
    assert!(project.path(&format!("run-comparison/lora/seed-42/checkpoints/step-{steps}")).exists(), "{steps}");
}

#[test]
fn values_of_keys_each_at_a_rate_of_its_own_for_so_many_steps() {
    let project = project();
    let arguments = ["compare", "run.toml", "--vary", "adapter.r=2,4", "--find-lr", "--budget", "6", "--quiet"];
    project.run(&arguments).done();
    let runs = json_lines(&project, "run-comparison/results.jsonl");
    assert_eq!(runs.len(), 2);
    for (run, name) in runs.iter().zip(["r-2", "r-4"]) {
        let test: Value = serde_json::from_str(&project.read(&format!("run-comparison/{name}/find-lr.json"))).unwrap();
        assert_eq!(run["learning_rate"], test["suggestion"]);
        assert_eq!((run["steps"].as_u64(), run["seed"].as_u64()), (Some(6), Some(42)));
        assert!(project.read(&format!("run-comparison/{name}/seed-42/metrics.jsonl")).lines().count() >= 7);
    }
    assert_ne!(runs[0]["trainable_parameters"], runs[1]["trainable_parameters"]);
    // What was measured is kept: the configuration is the same again.
    project.run(&[&arguments[..], &["--resume"]].concat()).done();
}

#[track_caller]
fn refused(arguments: &[&str], expected: &str) {
    project().run(&[&["compare", "run.toml"], arguments].concat()).refused(expected);
}

#[test]
fn what_cannot_be_compared_is_refused_before_anything_is_read() {
    refused(
        &[],
        "error: there is nothing to compare\n\
         help: name methods, `--methods lora,full`, or values of a key, `--vary adapter.r=4,8,16`",
    );
    refused(
        &["--methods", "lora,full,lora"],
        "error: `--methods lora,full,lora`: `lora` is given twice\n\
         help: name each method once; runs with several seeds are `--seeds N`",
    );
    refused(
        &["--methods", "lora,fulll"],
        "error: `--methods lora,fulll`: unknown method `fulll`\nhelp: did you mean `full`?",
    );
    refused(
        &["--methods", "full"],
        "error: `full` is the only candidate, and a comparison needs two\n\
         help: name another method or a further value; `kindling train` is for a run alone",
    );
    refused(
        &["--vary", "adapter.r=4"],
        "error: `r 4` is the only candidate, and a comparison needs two\n\
         help: name another method or a further value; `kindling train` is for a run alone",
    );
    refused(
        &["--vary", "adapter.alpa=8,16"],
        "error: `--vary adapter.alpa=8,16`: unknown key\nhelp: did you mean `alpha`?",
    );
    refused(
        &["--vary", "adapter.r"],
        "error: `--vary adapter.r`: no `=`\n\
         help: write `--vary KEY=VALUE,VALUE`, for example `--vary adapter.r=4,8,16`",
    );
    refused(
        &["--vary", "adapter.r=4,many"],
        "error: `--vary adapter.r=4,many`: found `many`, expected an integer from 1 to 4294967295\n\
         help: the default is `r = 8`",
    );
    refused(
        &["--vary", "adapter.r=4,4"],
        "error: `--vary adapter.r=4,4`: `4` is given twice\nhelp: name each value once",
    );
    refused(
        &["--vary", "adapter.alpha=8,1e1,8.0"],
        "error: `--vary adapter.alpha=8,1e1,8.0`: `8.0` is given twice\nhelp: name each value once",
    );
    for (key, values, reason) in [
        ("data.valid", "few.jsonl,train.jsonl", "scores on different validation data cannot be compared"),
        ("data.valid_fraction", "0.05,0.2", "scores on different validation data cannot be compared"),
        ("model.task", "sequence-classification,masked-lm", "scores of different tasks cannot be compared"),
        ("model.labels", "[\"a\",\"b\"],[\"b\",\"a\"]", "scores on different classes cannot be compared"),
        ("data.label", "label,other", "it changes what is read from the validation data"),
        ("data.text_template", "{{ text }},{{ text }}!", "it changes what is read from the validation data"),
        ("data.loss_on", "completion,all", "it changes which tokens of the validation data are predicted"),
        ("data.mask_probability", "0.15,0.3", "it changes which tokens of the validation data are predicted"),
    ] {
        refused(
            &["--vary", &format!("{key}={values}")],
            &format!(
                "error: `--vary {key}={values}`: {reason}\n\
                 help: train each by itself: `kindling train CONFIG --set {key}=VALUE --set output_dir=DIR`"
            ),
        );
    }
    refused(
        &["--vary", "output_dir=a,b"],
        "error: `--vary output_dir=a,b`: each run has a directory of its own\nhelp: leave it out",
    );
    refused(
        &["--vary", "seed=1,2"],
        "error: `--vary seed=1,2`: seeds are no candidates\nhelp: write `--seeds N` for runs with N seeds each",
    );
    refused(
        &["--methods", "full,none", "--vary", "adapter.r=4,8"],
        "error: `--vary adapter.r=4,8`: no method that is compared has this key\n\
         help: compare a method that has it, for example `--methods lora`",
    );
}

#[test]
fn what_people_know_as_methods_leads_to_the_key() {
    for (name, help) in [
        (
            "dora",
            "DoRA is `lora` with `adapter.use_dora = true`: write `lora` and add `--vary adapter.use_dora=true`; each of several values is a candidate",
        ),
        (
            "pissa",
            "PiSSA is `lora` with `adapter.init = \"pissa\"`: write `lora` and add `--vary adapter.init=pissa`; each of several values is a candidate",
        ),
        ("bottleneck", "a bottleneck adapter is `adapter`"),
        ("prompt-tuning", "kindling has no prompt tuning: the nearest is `ia3`"),
    ] {
        let methods = format!("lora,{name}");
        refused(
            &["--methods", &methods],
            &format!("error: `--methods {methods}`: unknown method `{name}`\nhelp: {help}"),
        );
    }
}

#[test]
fn what_is_wrong_with_a_candidate_is_said_at_the_option_that_asks_for_it() {
    refused(
        &["--quiet", "--set", "adapter.init=pissa", "--vary", "adapter.r=4,49"],
        "warning: 32 rows of the validation part of [DIR]/train.jsonl stand in the training part of [DIR]/train.jsonl too \
         (first: lines 1, 2, 3, 4, 5); validation scores will flatter: remove these rows from one of the two\n\
         error: `49` of `--vary adapter.r=4,49`: 49 is above the smaller side of `bert.encoder.layer.0.attention.self.query`, \
         which is [48, 48], and `init = \"pissa\"` takes its parts from it\n\
         help: lower it to 48 or less, or give this module a rank of its own in `adapter.rank_pattern`; \
         or leave `49` out of `--vary adapter.r`",
    );
    refused(
        &["--quiet", "--set", "model.dtype=int8", "--methods", "lora,full"],
        "error: candidate `full`: `--set model.dtype=int8`: what is kept in int8 is frozen, and `adapter.method = \"full\"` trains it\n\
         help: set `adapter.method = \"lora\"` to train an adapter on it, or `model.dtype` to a float type, or leave `model.dtype` out",
    );
    let decoder = Project::decoder("mistral-lm").replace("run.toml", "[data]\n", "[data]\nvalid = \"train.jsonl\"\n");
    decoder.run(&["compare", "run.toml", "--quiet", "--methods", "lora,bitfit"]).refused(
        "warning: 32 rows of the validation part of [DIR]/train.jsonl stand in the training part of [DIR]/train.jsonl too \
         (first: lines 1, 2, 3, 4, 5); validation scores will flatter: remove these rows from one of the two\n\
         error: `bitfit` of `--methods lora,bitfit`: BitFit trains biases, and this model (`mistral`) has none\n\
         help: leave `bitfit` out of `--methods`",
    );
    let project = project();
    let ran = project.run(&["compare", "run.toml", "--quiet", "--vary", "model.path=bert,./nope"]);
    let (message, help) = ran.stderr.trim_end().split_once("\nhelp: ").unwrap();
    assert_eq!(ran.status, Some(2), "{}", ran.stderr);
    // After a warning of the validation data.
    let message = message.lines().last().unwrap();
    assert!(
        message.starts_with("error: `./nope` of `--vary model.path=bert,./nope`: no directory `./nope` (looked in "),
        "{message}"
    );
    assert_eq!(help, "relative paths start at the working directory; or leave `./nope` out of `--vary model.path`");
}

#[test]
fn training_data_is_varied_where_all_have_the_same_validation_data_and_classes() {
    let vary = ["compare", "run.toml", "--quiet", "--vary", "data.train=train.jsonl,half.jsonl"];
    let project = project();
    let lines = project.read("train.jsonl");
    let half: String = lines.lines().take(lines.lines().count() / 2).map(|line| format!("{line}\n")).collect();
    let project = project.file("half.jsonl", half).replace("run.toml", "max_steps = 12", "epochs = 2");
    project.run(&vary).done();
    let steps = |name: &str| {
        json_lines(&project, &format!("run-comparison/{name}/seed-42/metrics.jsonl"))
            .iter()
            .filter(|line| line["event"] == "step")
            .count()
    };
    assert!(steps("train-train.jsonl") > steps("train-half.jsonl"));
    let table = project.read("run-comparison/table.md");
    assert!(table.starts_with("| candidate | accuracy | 95 % interval | steps | parameters |"), "{table}");
    for name in ["train.jsonl", "half.jsonl"] {
        let steps = steps(&format!("train-{name}"));
        let row = table.lines().find(|line| line.starts_with(&format!("| train {name} |"))).unwrap();
        assert_eq!(row.split(" | ").nth(3), Some(steps.to_string().as_str()), "{row}");
    }
    assert!(project.read("run-comparison/report.html").contains("<b>Steps</b>"));

    let project =
        self::project().file("half.jsonl", "").replace("run.toml", "valid = \"train.jsonl\"", "valid_fraction = 0.5");
    project.run(&vary).refused(
        "error: `--vary data.train=train.jsonl,half.jsonl`: without `data.valid` each would have validation data of its own\n\
         help: set `data.valid`: the same examples for every candidate",
    );
}

#[test]
fn rates_that_are_varied_are_not_to_be_found() {
    refused(
        &["--vary", "train.learning_rate=1e-4,1e-3", "--find-lr"],
        "error: `--find-lr`: `--vary train.learning_rate=1e-4,1e-3` says the rates already\n\
         help: leave out one of the two",
    );
    let legs = project().config("\n[[legs]]\nafter_step = 2\nmax_steps = 4");
    legs.run(&["compare", "run.toml", "--methods", "lora,full", "--find-lr"]).refused(
        "error: `--find-lr`: the run continued after step 2 with a schedule of its own\n\
         help: test the rate of a run without `[[legs]]`: take them out of the configuration",
    );
}

#[test]
fn lengths_that_are_varied_have_no_budget() {
    for key in ["train.epochs", "train.max_steps"] {
        let vary = format!("{key}=1,2");
        refused(
            &["--vary", &vary, "--budget", "6"],
            &format!(
                "error: `--budget`: `--vary {vary}` says how long each run is already\n\
                 help: leave out one of the two"
            ),
        );
    }
    let legs = project().config("\n[[legs]]\nafter_step = 2\nmax_steps = 4");
    legs.run(&["compare", "run.toml", "--methods", "lora,full", "--budget", "6"]).refused(
        "error: `--budget`: the run continued after step 2 with a length of its own\n\
         help: compare runs without `[[legs]]`: take them out of the configuration",
    );
}

#[test]
fn a_comparison_needs_validation_data_and_enough_of_it() {
    const TWO: [&str; 5] = ["compare", "run.toml", "--quiet", "--methods", "lora,full"];
    let without = project().replace("run.toml", "valid = \"train.jsonl\"\n", "");
    without.run(&TWO).refused(
        "error: candidates are compared on validation data, and there is none\n\
         help: set `data.valid` or `data.valid_fraction`",
    );
    let project = project();
    let few: String = project.read("train.jsonl").lines().take(3).map(|line| format!("{line}\n")).collect();
    let project =
        project.file("few.jsonl", few).replace("run.toml", "valid = \"train.jsonl\"", "valid = \"few.jsonl\"");
    let ran = project.run(&TWO);
    assert_eq!(ran.status, Some(2));
    assert!(
        ran.stderr.ends_with(
            "error: 3 examples of validation data: too few to say whether a difference is more than chance\n\
             help: name a file with 20 or more as `data.valid`, or raise `data.valid_fraction`\n"
        ),
        "{}",
        ran.stderr
    );
    assert!(!project.path("run-comparison").exists());
}

#[test]
fn a_candidate_that_cannot_be_trained_is_found_before_the_first_is() {
    let project = project();
    let arguments = ["compare", "run.toml", "--quiet", "--vary", "adapter.target_modules=[\"query\"],[\"quary\"]"];
    let ran = project.run(&arguments);
    assert_eq!(ran.status, Some(2), "{}", ran.stderr);
    assert!(ran.stderr.contains("quary") && ran.stderr.contains("did you mean `query`?"), "{}", ran.stderr);
    assert!(!project.path("run-comparison").exists());
}

#[test]
fn what_lies_in_the_directory_is_neither_replaced_nor_mixed_with_another_comparison() {
    let project = project().file("run-comparison/notes.txt", "mine");
    let in_the_way = "error: run-comparison is in the way: it is no comparison of kindling's\n\
                      help: name another directory with `--output-dir DIR`";
    project.run(&TWO).refused(in_the_way);
    project.run(&[&TWO[..], &["--resume"]].concat()).refused(in_the_way);
    let two = ["compare", "run.toml", "--vary", "adapter.r=2,4", "--set", "train.max_steps=2", "-o", "two", "--quiet"];
    project.run(&two).done();
    project.run(&two).refused(
        "error: two has a comparison in it\n\
         help: `--resume` goes on with it; `--output-dir DIR` makes another elsewhere",
    );
    let ran = project.run(&[&two[..], &["--resume", "--set", "train.batch_size=2"]].concat());
    assert_eq!(ran.status, Some(2));
    assert!(
        ran.stderr.ends_with(
            "error: the comparison was begun otherwise: two/r-2/seed-42.toml has `batch_size = 4`, now it would have \
             `batch_size = 2`\nhelp: resume it with the configuration and the options it was begun with, or name another \
             directory with `--output-dir DIR`\n"
        ),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_budget_is_steps_or_a_time() {
    let ran = project().run(&["compare", "run.toml", "--methods", "lora,full", "--budget", "10 days"]);
    assert_eq!(ran.status, Some(2));
    let expected = "error: invalid value '10 days' for '--budget <N>': write a number of steps, 200, or a time for each run: \
                    90s, 15m, 2h\n";
    assert!(ran.stderr.starts_with(expected), "{}", ran.stderr);
}

#[test]
fn a_budget_in_time_is_measured_once_for_each_candidate_and_its_steps_are_trained_and_kept() {
    let project = project();
    let arguments = ["compare", "run.toml", "--vary", "adapter.r=2,4", "--budget", "0.2s"];
    let ran = project.run(&arguments).done();
    let budget = |name: &str| -> Value {
        serde_json::from_str(&project.read(&format!("run-comparison/{name}/budget.json"))).unwrap()
    };
    let trained = |name: &str| {
        let lines = json_lines(&project, &format!("run-comparison/{name}/seed-42/metrics.jsonl"));
        lines.iter().filter(|line| line["event"] == "step").count() as u64
    };
    let runs = json_lines(&project, "run-comparison/results.jsonl");
    for (run, name) in runs.iter().zip(["r-2", "r-4"]) {
        assert!(ran.stderr.contains(&format!("{}: measuring a step\n", name.replace('-', " "))), "{}", ran.stderr);
        let measured = budget(name);
        let (steps, step_seconds) = (measured["steps"].as_u64().unwrap(), measured["step_seconds"].as_f64().unwrap());
        assert!(step_seconds > 0.0 && steps == ((0.2 / step_seconds) as u64).max(1), "{measured}");
        assert_eq!((run["steps"].as_u64(), trained(name)), (Some(steps), steps), "{name}");
    }

    // What was measured is kept: a run that is missing is trained for so many steps, whatever it would be now.
    let before = project.read("run-comparison/r-2/seed-42/metrics.jsonl");
    std::fs::remove_dir_all(project.path("run-comparison/r-4/seed-42")).unwrap();
    let mut measured = budget("r-4");
    measured["steps"] = 3.into();
    let project = project
        .without("run-comparison/r-4/seed-42.toml")
        .without("run-comparison/r-4/seed-42.jsonl")
        .file("run-comparison/r-4/budget.json", measured.to_string());
    let ran = project.run(&[&arguments[..], &["--resume"]].concat()).done();
    assert!(!ran.stderr.contains("measuring a step"), "{}", ran.stderr);
    let steps: Vec<_> =
        json_lines(&project, "run-comparison/results.jsonl").iter().map(|run| run["steps"].clone()).collect();
    assert_eq!(steps, [runs[0]["steps"].clone(), 3.into()]);
    assert_eq!(project.read("run-comparison/r-2/seed-42/metrics.jsonl"), before, "a finished run is not repeated");
}

#[test]
fn the_answers_to_single_examples_come_to_the_score_that_the_task_is_judged_by() {
    for (fixture, task, score) in [
        ("bert-tokcls", "token-classification", "f1"),
        ("bert-regression", "regression", "pearson"),
        ("gpt2-lm", "causal-lm", "loss"),
    ] {
        let project = project()
            .copy(&format!("{fixture}/model"), "model")
            .copy(&format!("{fixture}/data.jsonl"), "train.jsonl")
            .replace("run.toml", "path = \"bert\"", &format!("path = \"model\"\ntask = \"{task}\""));
        let rates = ["--vary", "train.learning_rate=1e-5,1e-2", "--json", "--quiet"];
        let document = project.run(&[&["compare", "run.toml"], &rates[..]].concat()).done().document();
        assert_eq!(document["score"], score);
        // Of the models as they were saved, which is what answered.
        let of = |run: &Value| {
            let run = run["run"].as_str().unwrap();
            let found = project.run(&["eval", "--run", run, "--json", "--quiet"]).done().document();
            found[score].as_f64().unwrap()
        };
        let scores: Vec<f64> = document["runs"].as_array().unwrap().iter().map(of).collect();
        assert_ne!(scores[0], scores[1], "{task}");
        let difference = document["differences"][0]["difference"].as_f64().unwrap();
        assert!((difference - (scores[1] - scores[0])).abs() < 1e-6, "{task}: {difference}, {scores:?}");
    }
}
