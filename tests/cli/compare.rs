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
