//! From a run to using it: a run, its adapter or its model is found by whatever names it, and its base by what it records.

use serde_json::{Value, json};

use crate::project::{Project, Ran};

/// A run of two steps with a quarter of its data for validation.
fn trained() -> Project {
    let project = Project::new();
    project.train(&["--quiet", "--set", "data.valid_fraction=0.25"]).done();
    project
}

/// Every weight trained.
fn fully_trained() -> Project {
    let project = Project::new();
    project.train(&["--quiet", "--set", "adapter.method=full"]).done();
    project
}

fn predict(project: &Project, of: &[&str]) -> Ran {
    project.run(&[&["predict", "--input", "train.jsonl"], of].concat())
}

#[test]
fn a_run_its_adapter_and_base_with_adapter_answer_alike() {
    let project = trained();
    let expected = predict(&project, &["--model", "bert", "--adapter", "run/adapter"]).done().stdout;
    assert_eq!(expected.lines().count(), 32);
    for of in [
        &["--run", "run"][..],
        &["--run", "run/"],
        &["--run", "run/adapter"],
        &["--adapter", "run"],
        &["--adapter", "run/adapter"],
        &["--run", "run", "--model", "bert"],
    ] {
        assert_eq!(predict(&project, of).done().stdout, expected, "{of:?}");
    }
    project.run(&["merge", "--run", "run", "--output", "merged"]).done();
    let merged = predict(&project, &["--model", "merged"]).done().lines();
    let labels = |lines: &[Value]| lines.iter().map(|line| line["label"].clone()).collect::<Vec<_>>();
    let lines: Vec<Value> = expected.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(labels(&merged), labels(&lines));
    assert_eq!(project.run(&["inspect", "--run", "run"]).done().stdout, project.run(&["inspect", "run"]).done().stdout);
}

#[test]
fn a_fully_trained_run_needs_no_base_and_has_no_adapter() {
    let project = fully_trained();
    let expected = predict(&project, &["--model", "run/model"]).done().stdout;
    for of in [["--run", "run"], ["--model", "run"]] {
        assert_eq!(predict(&project, &of).done().stdout, expected, "{of:?}");
    }
    predict(&project, &["--adapter", "run"]).refused(
        "error: all weights of run were trained: it has a model, and no adapter\n\
         help: use it with `--run run`",
    );
    predict(&project, &["--run", "run", "--model", "bert"])
        .refused("error: all weights of run were trained: it needs no base\nhelp: leave out --model");
    project.run(&["merge", "--run", "run", "--output", "merged"]).refused(
        "error: run/model is a whole model: there is no adapter to merge\n\
         help: name a run of an adapter with --run, or an adapter with --adapter",
    );
    assert!(!project.path("merged").exists());
}

#[test]
fn a_base_that_was_moved_is_looked_for_and_asked_for() {
    let project = trained();
    let expected = predict(&project, &["--run", "run"]).done().stdout;
    std::fs::rename(project.path("bert"), project.path("moved")).unwrap();
    for of in [["--run", "run"], ["--adapter", "run/adapter"]] {
        predict(&project, &of).refused(
            "error: the model that run/adapter was trained on is no longer at [DIR]/bert\n\
             help: give its present directory with --model: its weights are compared with the recorded ones",
        );
    }
    let ran = predict(&project, &["--run", "run", "--model", "moved"]).done();
    assert_eq!(ran.stdout, expected);
    assert!(!ran.stderr.contains("warning"), "the same weights elsewhere: {}", ran.stderr);
    // Its own validation data is found as well.
    let scores = project.run(&["eval", "--run", "run", "--model", "moved", "--json"]).done().document();
    assert_eq!(scores["examples"], 8);
}

#[test]
fn a_base_with_other_weights_is_warned_of() {
    let weights = "bert/model.safetensors";
    let project = trained().copy("bert-bias-lora-only/model", "other");
    let ran = predict(&project, &["--run", "run", "--model", "other"]).done();
    let warning = "warning: the adapter run/adapter was trained on other weights ([DIR]/bert) than those of other\n";
    assert!(ran.stderr.contains(warning), "{}", ran.stderr);
    let project = project.tensors(weights, |tensors| tensors.zeros("classifier.bias", &[3]));
    let ran = predict(&project, &["--run", "run"]).done();
    let warning = "warning: the weights of [DIR]/bert have changed since the adapter run/adapter was trained\n";
    assert!(ran.stderr.contains(warning), "{}", ran.stderr);
}

#[test]
fn a_column_of_second_texts_that_training_did_not_have_is_warned_of() {
    let pair = "{\"text\": \"a cat sat\", \"text_pair\": \"an animal sat\"}\n";
    let project = trained().file("pairs.jsonl", pair).file("texts.jsonl", "{\"text\": \"a cat sat\"}\n");
    let warnings = |input: &str| -> Vec<String> {
        let said = project.run(&["predict", "--run", "run", "--input", input]).done().stderr;
        said.lines().filter(|line| line.starts_with("warning")).map(str::to_owned).collect()
    };
    assert!(warnings("texts.jsonl").is_empty());
    let expected = "warning: the model was trained on single texts, and pairs.jsonl has a column `text_pair`, which is read as the \
                    second text of pairs";
    assert_eq!(warnings("pairs.jsonl"), [expected]);
}

#[test]
fn an_adapter_of_peft_finds_its_base_from_the_working_directory_or_from_itself() {
    let config = "adapter/adapter_config.json";
    let project = Project::with_adapter();
    let expected = predict(&project, &["--model", "bert", "--adapter", "adapter"]).done().stdout;
    for base in ["bert", "../bert"] {
        let project = Project::with_adapter().json(config, "base_model_name_or_path", json!(base));
        assert_eq!(predict(&project, &["--adapter", "adapter"]).done().stdout, expected, "{base}");
    }
    let project = project.json(config, "base_model_name_or_path", json!("../gone"));
    predict(&project, &["--adapter", "adapter"]).refused(
        "error: the model that adapter was trained on is no longer at ../gone, nor at adapter/../gone\n\
         help: give its present directory with --model: its weights are compared with the recorded ones",
    );
    let project = project.json(config, "base_model_name_or_path", Value::Null);
    predict(&project, &["--adapter", "adapter"]).refused(
        "error: adapter does not record its base model\n\
         help: give its base with --model: a directory, or an id on the Hugging Face Hub",
    );
    let project = project.json(config, "base_model_name_or_path", json!("someone/gone"));
    let refused = predict(&project, &["--adapter", "adapter"]);
    // No fault of the command line: the network is missing.
    assert_eq!(refused.status, Some(1), "{}", refused.stderr);
    assert!(refused.stderr.contains("the base of adapter, someone/gone, cannot be fetched: "), "{}", refused.stderr);
    assert!(refused.stderr.ends_with("; or give a directory that has it with --model\n"), "{}", refused.stderr);
}

#[test]
fn of_a_run_that_is_not_finished_the_best_so_far_is_used_and_said() {
    let project = trained();
    let metrics = project.read("run/metrics.jsonl");
    let without_end: String =
        metrics.lines().filter(|line| !line.contains("\"end\"")).map(|line| format!("{line}\n")).collect();
    let project = project.file("run/metrics.jsonl", without_end);
    let ran = predict(&project, &["--run", "run"]).done();
    assert!(ran.stderr.contains("run is not finished (step 2): its best adapter so far is used\n"), "{}", ran.stderr);
    for name in ["adapter", "report.html"] {
        let path = project.path("run").join(name);
        if path.is_dir() { std::fs::remove_dir_all(path).unwrap() } else { std::fs::remove_file(path).unwrap() }
    }
    predict(&project, &["--run", "run"]).refused(
        "error: run has no adapter or model yet\n\
         help: the first is saved at the first evaluation; `kindling train run/config.toml --resume` resumes the run",
    );
}

#[test]
fn what_is_no_run_is_said_to_be_what_it_is() {
    let project = Project::with_adapter().file("empty/notes.txt", "");
    predict(&project, &[]).refused(
        "error: no model is named\n\
         help: name a run with --run DIR, an adapter with --adapter A, or a model with --model M",
    );
    predict(&project, &["--run", "bert"]).refused("error: bert is a model, not a run\nhelp: give it with --model");
    predict(&project, &["--run", "brt"]).refused("error: there is no directory brt\nhelp: did you mean `bert`?");
    predict(&project, &["--run", "empty"]).refused(
        "error: empty is not a run's directory\n\
         help: a run's directory has config.toml and adapter/ or model/; `kindling train` writes it",
    );
    predict(&project, &["--model", "adapter"]).refused(
        "error: adapter is an adapter, not a model\n\
         help: use it with `--run adapter`: it records its base",
    );
}

#[test]
fn a_run_is_scored_on_its_own_validation_data_as_it_is_set() {
    let project = trained();
    let own = project.run(&["eval", "--run", "run", "--json"]).done().document();
    assert_eq!(own["examples"], 8);
    let last = project.read("run/metrics.jsonl");
    let line = last.lines().rfind(|line| line.contains("\"eval\"")).unwrap();
    let evaluated: Value = serde_json::from_str(line).unwrap();
    assert_eq!(own["loss"], evaluated["loss"]);
    // Cut to four tokens, every text is shorter than it was.
    let cut = project.run(&["eval", "--run", "run", "--json", "--set", "data.max_length=4"]).done();
    assert_ne!(cut.document()["loss"], own["loss"]);
    assert!(cut.stderr.contains("warning: 8 texts were truncated\n"), "{}", cut.stderr);
    project.run(&["eval", "--run", "run", "--set", "train.epochs=5"]).refused(
        "error: `--set train.epochs=5` cannot be used here\n\
         help: known: data.text, data.text_template, data.text_pair, data.label, data.prompt, data.prompt_template, \
         data.completion, data.completion_template, data.messages, data.tokens, data.tags, data.entities, \
         data.max_length, data.mask_probability, data.loss_on, model.dtype, model.quantize_output",
    );
    for of in [["--adapter", "run"], ["--run", "run/adapter"], ["--adapter", "run/adapter"]] {
        assert_eq!(project.run(&[&["eval", "--json"], &of[..]].concat()).done().document(), own, "{of:?}");
    }
    Project::with_adapter().run(&["eval", "--model", "bert", "--adapter", "adapter"]).refused(
        "error: adapter has no config.toml that says what its validation data is\n\
         help: name a file of labelled data with --data",
    );
}

#[test]
fn training_ends_with_where_the_report_is_and_the_command_that_uses_it() {
    let project = Project::new();
    let ran = project.train(&["--set", "output_dir=my runs/it's one"]).done();
    let last: Vec<&str> = ran.stderr.lines().rev().take(2).collect();
    assert_eq!(
        last,
        [r#"use it: kindling predict --run 'my runs/it'\''s one' "your text""#, "report: my runs/it's one/report.html"]
    );
    let opened = Project::new().env("DISPLAY", "").env("WAYLAND_DISPLAY", "").env("WSL_DISTRO_NAME", "");
    let ran = opened.train(&["--open", "--quiet"]).done();
    if cfg!(all(unix, not(target_os = "macos"))) {
        assert_eq!(ran.stderr, "warning: there is no display to show run/report.html on\n");
    }
}

#[test]
fn a_setting_that_a_command_cannot_honour_is_refused() {
    let project = Project::new().copy("gpt2-lm/model", "base");
    project.run(&["generate", "--model", "base", "--prompt", "the", "--set", "data.max_length=4"]).refused(
        "error: `--set data.max_length=4` cannot be used here\n\
         help: known: data.text, data.text_template, data.prompt, data.prompt_template, data.messages, model.dtype, model.quantize_output",
    );
    let project = project.file("in.jsonl", "{\"sentence\": \"good\"}\n");
    project.run(&["predict", "--model", "bert", "--input", "in.jsonl"]).refused(
        "error: in.jsonl has no column `text` (columns: sentence)\n\
         help: add `--set data.text=sentence`",
    );
}

#[test]
fn a_run_is_inspected_with_its_evaluations() {
    let project = Project::new();
    project.train(&["--quiet", "--set", "data.valid_fraction=0.25", "--set", "train.eval_every=1"]).done();
    let shown = project.run(&["inspect", "run"]).done().stdout;
    let metrics = project.read("run/metrics.jsonl");
    let losses: Vec<f64> = metrics
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line["event"] == "eval")
        .map(|line| line["loss"].as_f64().unwrap())
        .collect();
    assert_eq!(losses.len(), 2);
    assert!(shown.contains("\nevaluations        loss    accuracy    F1 macro    Matthews\n"), "{shown}");
    for (step, loss) in (1..).zip(losses) {
        let line = format!("\n{:11}  {loss:>10.4}  ", format!("step {step}"));
        assert!(shown.contains(&line), "{shown}");
    }
    assert_eq!(shown.matches("  best\n").count(), 1, "{shown}");
    let document = project.run(&["inspect", "run", "--json"]).done().document();
    assert!(document["best_evaluation"]["accuracy"].is_number(), "{document}");
}
