//! The page of a run: made with it, made again from its directory, of several runs at once, and refused where there is no
//! run; and what else shows a run, events for TensorBoard and the model card.

use serde_json::Value;

use crate::project::Project;

/// A run with validation data and two evaluations.
fn trained() -> Project {
    let project = Project::new().config("eval_every = 1");
    project.train(&["--set", "data.valid_fraction=0.4"]).done();
    project
}

fn metrics(project: &Project, run: &str) -> Vec<Value> {
    project.read(&format!("{run}/metrics.jsonl")).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_page_made_again_is_the_page_that_the_run_made() {
    let project = trained();
    let made_by_run = project.read("run/report.html");
    let project = project.without("run/report.html");
    let ran = project.run(&["report", "run"]).done();
    assert_eq!(ran.stderr, "written: run/report.html\n");
    assert_eq!(project.read("run/report.html"), made_by_run);
    assert_eq!(project.run(&["report", "run", "-o", "-"]).done().stdout.trim_end(), made_by_run.trim_end());
}

#[test]
fn the_page_shows_every_evaluation_of_the_metrics() {
    let project = trained();
    let page = project.read("run/report.html");
    let evaluations: Vec<Value> = metrics(&project, "run").into_iter().filter(|line| line["event"] == "eval").collect();
    assert_eq!(evaluations.len(), 2);
    for evaluation in evaluations {
        let cells: Vec<String> = ["loss", "accuracy", "f1_macro", "matthews"]
            .iter()
            .map(|key| format!("<td>{:.4}</td>", evaluation[key].as_f64().unwrap()))
            .collect();
        assert!(page.contains(&cells.concat()), "{cells:?}");
    }
}

#[test]
fn what_was_before_training_is_no_line_of_the_metrics() {
    let project = trained();
    let events: Vec<Value> = metrics(&project, "run").iter().map(|line| line["event"].clone()).collect();
    assert_eq!(events, ["step", "eval", "step", "eval", "end"]);
    let record: Value = serde_json::from_str(&project.read("run/report.json")).unwrap();
    let untrained = project.run(&["eval", "--model", "bert", "--data", "train.jsonl", "--json"]).done().document();
    assert!(record["before"]["accuracy"].is_number() && untrained["accuracy"].is_number());
    assert_eq!(record["before"]["examples"], record["valid"]["examples"]);
}

#[test]
fn an_unfinished_run_has_a_page_that_says_so() {
    let project = trained();
    let step = project.read("run/metrics.jsonl").lines().next().unwrap().to_string();
    // The next line was being written.
    let project = project.file("run/metrics.jsonl", format!("{step}\n{{\"event\":\"st")).without("run/report.json");
    project.run(&["report", "run"]).done();
    let page = project.read("run/report.html");
    assert!(page.contains("The run is unfinished: it is at step 1"), "{page}");
    let page = page.replace("&#x2f;", "/");
    // Options are not broken at their hyphens.
    assert!(page.contains("kindling train run/config.toml <span>--resume</span>"), "{page}");
}

#[test]
fn several_runs_are_compared_on_one_page() {
    let project = trained();
    let arguments = ["--set", "data.valid_fraction=0.4", "--set", "train.learning_rate=0.05"];
    project.train(&[&arguments[..], &["--set", "output_dir=\"faster\""]].concat()).done();
    let ran = project.run(&["report", "run", "faster", "--json"]).done().document();
    let page = project.read("comparison.html");
    assert!(page.contains("<title>2 runs compared · kindling</title>"));
    assert!(page.contains("<code>train.learning_rate</code>") && !page.contains("<code>train.batch_size</code>"));
    let [slow, fast] = ["run", "faster"].map(|run| {
        let evaluation = metrics(&project, run).into_iter().rfind(|line| line["event"] == "eval");
        evaluation.unwrap()["accuracy"].as_f64().unwrap()
    });
    for (n, (name, last)) in [("run", slow), ("faster", fast)].into_iter().enumerate() {
        let found = &ran["runs"][n];
        assert_eq!((&found["run"], &found["finished"]), (&Value::from(name), &Value::from(true)));
        let accuracy = &found["scores"]["accuracy"];
        let [low, high] = [0, 1].map(|end| accuracy["interval"][end].as_f64().unwrap());
        let value = accuracy["value"].as_f64().unwrap();
        assert!(low <= value && value <= high && value >= last, "{accuracy}, {last}");
        assert!(page.contains(&format!("{value:.4}")));
    }
    // Its own page is replaced, another file is not.
    project.run(&["report", "run", "faster"]).done();
    let project = project.file("comparison.html", "notes");
    project
        .run(&["report", "run", "faster"])
        .refused("error: comparison.html is in the way: it is no report of kindling's\nhelp: name a file with -o FILE");
    assert_eq!(project.read("comparison.html"), "notes");
    project.run(&["report", "run", "faster", "-o", "comparison.html"]).done();
}

#[test]
fn what_is_no_run_has_no_report() {
    let project = trained();
    let project = project.file("notes/config.toml", "[net]\n");
    project.run(&["report", "runn"]).refused("error: there is no run at runn\nhelp: did you mean `run`?");
    project.run(&["report", "elsewhere"]).refused(
        "error: there is no run at elsewhere\n\
         help: a run is a directory that `kindling train` wrote, such as runs/NAME",
    );
    project.run(&["report", "notes"]).refused(
        "error: notes is no run: it has no config.toml and metrics.jsonl\n\
         help: a run is a directory that `kindling train` wrote, such as runs/NAME",
    );
    project.run(&["report", "run/adapter"]).refused(
        "error: run/adapter is no run: it has no config.toml and metrics.jsonl\nhelp: it is a part of the run run",
    );
    project.run(&["report", "run.toml"]).refused(
        "error: run.toml is no run: it is a file\n\
         help: a run is a directory that `kindling train` wrote, such as runs/NAME",
    );
    project.run(&["report", "run", "./run"]).refused("error: the run ./run is named twice\nhelp: name each run once");
    project
        .run(&["report", "run", "-o", "notes"])
        .refused("error: cannot write notes: it is a directory\nhelp: name a file in it");
    project.run(&["report", "run", "-o", "none/page.html"]).refused(
        "error: cannot write none/page.html: there is no directory none\nhelp: create it, or name a file elsewhere",
    );
}

#[test]
fn damaged_files_of_a_run_are_named_with_their_place() {
    let project = trained();
    let (metrics, record) = (project.read("run/metrics.jsonl"), project.read("run/report.json"));
    let project = project.file("run/metrics.jsonl", metrics.replacen("\"event\"", "event", 1));
    project.run(&["report", "run"]).refused(
        "error: run/metrics.jsonl, line 1: key must be a string at line 1 column 2\n\
         help: kindling writes one JSON object a line: the file was changed or damaged; copy the run again",
    );
    let help = "help: the file was changed or damaged: copy the run again, or remove the file for a page without it";
    let project = project.file("run/metrics.jsonl", metrics).file("run/report.json", "{\"steps\": 3");
    project
        .run(&["report", "run"])
        .refused(&format!("error: run/report.json: EOF while parsing an object at line 1 column 11\n{help}"));
    let project = project.file("run/report.json", record.replacen("\"target\":", "\"target\":9", 1));
    project
        .run(&["report", "run"])
        .refused(&format!("error: run/report.json: an example has a label that is not among the labels\n{help}"));
    let project = project.file("run/report.json", "{\"format_version\": 99}");
    project.run(&["report", "run"]).refused(
        "error: run/report.json was written by a newer kindling (format 99, this version reads 2)\nhelp: update kindling",
    );
}

#[test]
fn events_are_written_for_tensorboard_and_go_with_the_run() {
    let project = Project::new().config("tensorboard = true\neval_every = 1");
    let arguments = ["--set", "data.valid_fraction=0.4"];
    project.train(&arguments).done();
    let file = "run/events.out.tfevents.0000000000.kindling";
    let bytes = std::fs::read(project.path(file)).unwrap();
    let (mut at, mut records) = (0, 0);
    while at < bytes.len() {
        at += 16 + u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
        records += 1;
    }
    // Version and session, five scalars of each of two steps, four of each evaluation.
    assert_eq!((at, records), (bytes.len(), 2 + 2 * 5 + 2 * 4));
    project.train(&[&arguments[..], &["--overwrite", "--set", "train.tensorboard=false"]].concat()).done();
    assert!(!project.path(file).exists(), "events of the run that was replaced");
}

#[test]
fn a_run_that_is_watched_says_where_and_ends_by_itself() {
    let project = Project::new();
    let ran = project.train(&["--watch"]).done();
    assert!(ran.stderr.contains("watch the run at http://127.0.0.1:"), "{}", ran.stderr);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    project.train(&["--overwrite", &format!("--watch={port}")]).refused(&format!(
        "error: `--watch={port}`: cannot listen on 127.0.0.1:{port}: address in use\n\
         help: name another port, or none for one that is free: `--watch`"
    ));
}

#[test]
fn the_model_card_has_the_scores_of_the_adapter_beside_it() {
    let project = trained();
    let card = project.read("run/adapter/README.md");
    let report = project.run(&["report", "run", "--json"]).done().document();
    let accuracy = report["runs"][0]["scores"]["accuracy"]["value"].as_f64().unwrap();
    assert!(card.contains(&format!("| accuracy | {accuracy:.4} |")), "{card}");
    assert!(
        card.contains("On the validation data `train.jsonl`") && card.contains("pipeline_tag: text-classification")
    );
    assert!(card.contains("PeftModel.from_pretrained(base, \"run/adapter\")"), "{card}");
}
