//! `kindling compare`: two methods with two seeds each, what is written, and how it goes on.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::project::Project;

pub(super) const TWO: [&str; 6] = ["compare", "run.toml", "--methods", "lora,full", "--seeds", "2"];

/// With validation data, a key of LoRA alone, and steps enough to tell one run from another.
pub(super) fn project() -> Project {
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
        assert!(!table.contains("thresholds"), "{table}");
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
fn a_set_key_that_one_of_the_methods_has_is_passed_over_for_the_others() {
    let project = project();
    let arguments = ["compare", "run.toml", "--quiet", "--methods", "lora,ia3", "--set", "train.max_steps=2"];
    project.run(&[&arguments[..], &["--set", "adapter.r=5"]].concat()).done();
    assert!(project.read("run-comparison/lora/seed-42.toml").contains("\nr = 5\n"));
    assert!(!project.read("run-comparison/ia3/seed-42.toml").contains("\nr = "));
}

#[test]
fn a_set_key_may_need_one_that_is_varied() {
    let project = project();
    let ratios = ["compare", "run.toml", "--quiet", "--vary", "adapter.lora_plus_ratio=0,16"];
    let sets = ["--set", "adapter.lora_plus_lr_embedding=1e-5", "--set", "train.max_steps=2"];
    project.run(&[&ratios[..], &sets[..]].concat()).done();
    let plus = project.read("run-comparison/lora_plus_ratio-16/seed-42.toml");
    assert!(plus.contains("\nlora_plus_ratio = 16.0\nlora_plus_lr_embedding = 1e-5\n"), "{plus}");
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

#[test]
fn a_comparison_gets_more_seeds_and_keeps_the_runs_that_it_has() {
    let [at_once, grown] = [project(), project()];
    at_once.run(&TWO).done();
    let one = ["compare", "run.toml", "--methods", "lora,full"];
    grown.run(&one).done();
    let first = grown.read("run-comparison/lora/seed-42/metrics.jsonl");
    let ran = grown.run(&[&TWO[..], &["--resume"]].concat()).done();
    assert!(!ran.stderr.contains("(2 of 4)") && ran.stderr.contains("(3 of 4)"), "{}", ran.stderr);
    assert_eq!(grown.read("run-comparison/lora/seed-42/metrics.jsonl"), first, "a finished run is not repeated");
    assert_eq!(results(&grown), results(&at_once));
    // With fewer again runs would be missing from the table.
    let before = grown.read("run-comparison/results.jsonl");
    grown.run(&[&one[..], &["--resume"]].concat()).refused(
        "error: run-comparison has runs with the seed 43, which would be left out\n\
         help: `--seeds 2` goes on with all of them; `--output-dir DIR` makes another comparison elsewhere",
    );
    assert_eq!(grown.read("run-comparison/results.jsonl"), before);
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

#[test]
fn scores_of_written_answers_stand_beside_the_loss() {
    let project = project().copy("qwen3-lm/model", "model").copy("qwen3-lm/data.jsonl", "train.jsonl").replace(
        "run.toml",
        "path = \"bert\"",
        "path = \"model\"\ntask = \"causal-lm\"",
    );
    let arguments = ["compare", "run.toml", "--methods", "lora,full", "--seeds", "2", "--set", "train.eval_generate=4"];
    let document = project.run(&[&arguments[..], &["--json", "--quiet"]].concat()).done().document();
    assert_eq!(document["prompts"], 4);
    let table = project.read("run-comparison/table.md");
    let head = "| candidate | loss | 95 % interval | exact match | BLEU | ROUGE-L | parameters | peak memory | step | size | rate |\n";
    assert!(table.starts_with(head), "{table}");
    let note = "the 95 % interval over the examples. exact match, BLEU and ROUGE-L are of the answers to 4 validation prompts, mean \
                and standard deviation over the seeds. Peak memory";
    assert!(table.contains(note), "{table}");
    let page = project.read("run-comparison/report.html");
    assert!(
        page.contains("<th scope=\"col\">exact match</th><th scope=\"col\">BLEU</th><th scope=\"col\">ROUGE-L</th>")
    );
    let runs = json_lines(&project, "run-comparison/results.jsonl");
    for (n, name) in ["lora", "full"].into_iter().enumerate() {
        let row = table.lines().find(|line| line.starts_with(&format!("| {name} |"))).unwrap();
        for (m, key) in ["exact_match", "bleu", "rouge_l"].into_iter().enumerate() {
            let of = |seed: usize| runs[2 * n + seed]["scores"][key].as_f64().unwrap();
            let [one, other] = [of(0), of(1)];
            let (mean, spread) = ((one + other) / 2.0, (one - other).abs() / 2f64.sqrt());
            let found = &document["candidates"][n]["generated"][key];
            assert!((found["score"].as_f64().unwrap() - mean).abs() < 1e-12, "{name}, {key}: {found}");
            assert!((found["spread"].as_f64().unwrap() - spread).abs() < 1e-12, "{name}, {key}: {found}");
            let shown = format!("{mean:.4} ± {spread:.4}");
            assert_eq!(row.split(" | ").nth(3 + m), Some(shown.as_str()), "{row}");
            assert!(page.contains(&format!("<td>{shown}</td>")), "{name}, {key}");
        }
    }
    // Where no prompts are answered there is nothing to show of them.
    let without = ["compare", "run.toml", "--vary", "adapter.r=2,4", "-o", "without", "--json", "--quiet"];
    let document = project.run(&without).done().document();
    assert!(document["candidates"][0].get("generated").is_none(), "{document}");
    assert!(project.read("without/table.md").starts_with("| candidate | loss | 95 % interval | parameters |"));
}

/// The first step has the first four examples, and an `adapter.alpha` of 1e37 lets its gradient overflow.
fn diverging() -> Project {
    project().config("shuffle = false")
}

const OVERFLOW: &str =
    "step 1: the gradient's norm is not a number (examples in lines 1, 2, 3, 4 of the training data)";

#[test]
fn a_candidate_that_diverges_has_no_score_and_the_others_go_on() {
    let project = diverging();
    let arguments = ["compare", "run.toml", "--vary", "adapter.alpha=8,1e38,16"];
    let ran = project.run(&[&arguments[..], &["--json", "--quiet"]].concat()).done();
    let warning = format!("warning: alpha 1e38, seed 42: {OVERFLOW}; the candidate has no score\n");
    assert!(ran.stderr.ends_with(&warning), "{}", ran.stderr);
    let (document, runs) = (ran.document(), json_lines(&project, "run-comparison/results.jsonl"));
    let names = |key: &str, name: &str| -> Vec<String> {
        document[key].as_array().unwrap().iter().map(|it| it[name].as_str().unwrap().to_string()).collect()
    };
    assert_eq!(names("candidates", "name"), ["alpha 8", "alpha 16"]);
    assert_eq!(names("differences", "candidate"), ["alpha 16"]);
    assert_eq!(names("runs", "candidate"), ["alpha 8", "alpha 1e38", "alpha 16"]);
    assert_eq!(document["runs"], Value::from(runs.clone()));
    assert_eq!((runs[1]["error"].as_str(), runs[1]["seed"].as_u64()), (Some(OVERFLOW), Some(42)));
    let table = project.read("run-comparison/table.md");
    assert!(table.contains("\n| alpha 1e38 | – | – | – | – | – | – | – |\n"), "{table}");
    assert!(table.contains(&format!("\n- alpha 1e38 has no score: {OVERFLOW} (seed 42)\n")), "{table}");
    let page = project.read("run-comparison/report.html");
    assert!(page.contains("<li>alpha 1e38 has no score: step 1: the gradient"), "{page}");

    // It would come to the same again.
    let resumed = [&arguments[..], &["--resume"]].concat();
    let again = project.run(&resumed).done();
    assert!(!again.stderr.contains(" of 3)") && again.stderr.contains(&warning), "{}", again.stderr);
    assert_eq!(json_lines(&project, "run-comparison/results.jsonl"), runs);
    std::fs::remove_dir_all(project.path("run-comparison/alpha-1e38/seed-42")).unwrap();
    let again = project.run(&resumed).done();
    assert!(again.stderr.contains("alpha 1e38, seed 42 (2 of 3)\n"), "{}", again.stderr);
    assert_eq!(json_lines(&project, "run-comparison/results.jsonl"), runs);
}

#[test]
fn without_the_first_candidate_there_are_no_differences_and_without_all_no_results() {
    let project = diverging();
    let first = ["compare", "run.toml", "--vary", "adapter.alpha=1e38,8,16", "-o", "first", "--json", "--quiet"];
    let document = project.run(&first).done().document();
    assert_eq!(document["differences"], Value::Array(Vec::new()));
    assert_eq!(document["candidates"].as_array().unwrap().len(), 2);
    let found = format!(
        "\n- alpha 1e38 has no score: {OVERFLOW} (seed 42)\n\
         - no differences are computed: the others would be compared with alpha 1e38, which has no score\n"
    );
    let table = project.read("first/table.md");
    assert!(table.ends_with(&found), "{table}");

    let all = project.run(&["compare", "run.toml", "--vary", "adapter.alpha=1e37,1e38", "-o", "all", "--quiet"]);
    let expected = format!(
        "error: no candidate in all has a score (alpha 1e37: {OVERFLOW}; alpha 1e38: {OVERFLOW})\n\
         help: a lower `train.learning_rate`, a warm-up or a lower `train.max_grad_norm` usually mends this: compare with it \
         elsewhere, `--output-dir DIR`\n"
    );
    assert!(all.stderr.ends_with(&expected), "{}", all.stderr);
    assert_eq!((all.status, all.stdout.as_str()), (Some(1), ""));
    assert_eq!(json_lines(&project, "all/results.jsonl").len(), 2);
}

#[test]
fn a_run_that_was_damaged_is_removed_and_trained_again() {
    let project = project();
    let two = ["compare", "run.toml", "--vary", "adapter.r=2,4", "--set", "train.max_steps=2"];
    project.run(&two).done();
    let (before, run) = (results(&project), "run-comparison/r-2/seed-42");
    let resumed = [&two[..], &["--resume", "--quiet"]].concat();
    let help = format!("help: remove {run}: `--resume` trains it again\n");
    let refused = |project: &Project, error: &str| {
        let ran = project.run(&resumed);
        // After a warning of rows that are in the training data too.
        assert!(ran.stderr.contains(error) && ran.stderr.ends_with(&format!("\n{help}")), "{}", ran.stderr);
        assert_eq!((ran.status, ran.stdout.as_str()), (Some(2), ""));
    };
    let project = project.file(&format!("{run}/report.json"), "{");
    refused(&project, &format!("error: {run}/report.json: EOF while parsing an object at line 1 column 1"));
    let project = project.without(&format!("{run}/report.json"));
    refused(&project, &format!("error: {run} has nothing about its end (report.json)"));
    // Neither finished nor resumable: `train` would name `--overwrite`, which a comparison does not have.
    let project = project.truncate(&format!("{run}/metrics.jsonl"), 0);
    refused(&project, &format!("{run}/metrics.jsonl is damaged: it has 0 bytes, and had "));
    std::fs::remove_dir_all(project.path(run)).unwrap();
    project.run(&resumed).done();
    assert_eq!(results(&project), before);
}
