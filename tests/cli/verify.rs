//! `kindling verify`: a run is done again bit for bit, and what an adapter came from is compared with what it records.

use serde_json::json;

use crate::project::{Project, Ran};

/// A finished run of six steps, in `run`, with two evaluations and the checkpoints of steps 4 and 6.
fn trained() -> Project {
    let project = Project::new()
        .copy("bert-cls/data.jsonl", "valid.jsonl")
        .replace("run.toml", "train = \"train.jsonl\"", "train = \"train.jsonl\"\nvalid = \"valid.jsonl\"")
        .replace("run.toml", "max_steps = 2", "max_steps = 6\neval_every = 3\ncheckpoint_every = 2");
    project.train(&["--quiet"]).done();
    project
}

fn verify(project: &Project, arguments: &[&str]) -> Ran {
    project.run(&[&["verify"], arguments].concat())
}

/// What is said at the end, without warnings about the data.
fn last_lines(ran: &Ran, count: usize) -> String {
    let lines: Vec<&str> = ran.stderr.lines().collect();
    lines[lines.len() - count..].join("\n")
}

#[test]
fn a_run_is_done_again_from_its_beginning_or_from_a_checkpoint() {
    let project = trained();
    let all = verify(&project, &["run"]).done();
    let best = project.json_of("run/adapter/kindling.json")["trained"]["step"].as_u64().unwrap();
    assert_eq!(
        last_lines(&all, 2),
        format!(
            "doing 6 steps of run again, from the beginning\n\
             steps 1 to 6 repeat bit for bit, and so does the adapter of step {best}"
        )
    );
    let some = verify(&project, &["run", "--steps", "1"]).done();
    let said = last_lines(&some, 2);
    assert!(said.starts_with("doing 1 step of run again, from the checkpoint of step "), "{said}");
    let document = verify(&project, &["run", "--json", "--steps", "6"]).done().document();
    let expected = json!({
        "run": "run", "from_step": 0, "to_step": 6, "agrees": true, "first_difference": null, "result_step": best,
        "result_compared": true, "reasons": [],
    });
    assert_eq!(document, expected);
    verify(&project, &["run", "--steps", "7"]).refused(
        "error: `--steps 7`: run has 6 steps\n\
         help: name at most 6, or leave it out: then all steps are done again",
    );
}

#[test]
fn the_first_step_and_key_that_differ_are_named() {
    let project = trained();
    let metrics = project.read("run/metrics.jsonl");
    let mut lines: Vec<serde_json::Value> = metrics.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let place = lines.iter().position(|line| line["step"] == 5).unwrap();
    let was = lines[place]["grad_norm"].clone();
    lines[place]["grad_norm"] = json!(0.25);
    lines[place]["step_seconds"] = json!(99.0);
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let project = project.file("run/metrics.jsonl", text);
    let ran = verify(&project, &["run"]);
    assert_eq!(ran.status, Some(1));
    assert_eq!(
        last_lines(&ran, 2),
        format!(
            "error: run does not repeat: at step 5 `grad_norm` was 0.25, and is {was}\n\
             help: the same executable computed both on the same kind of processor: a file of the run has changed, or the memory \
             or the disk of one of the machines is at fault"
        )
    );
    let ran = verify(&project, &["run", "--json"]);
    assert_eq!(ran.status, Some(1));
    assert_eq!(ran.document()["first_difference"], json!({ "step": 5, "key": "grad_norm", "then": 0.25, "now": was }));
    // The steps before it are what they were.
    verify(&project, &["run", "--steps", "4"]).done();
}

#[test]
fn a_line_that_the_run_did_not_write_is_named() {
    let mut project = trained();
    let metrics = project.read("run/metrics.jsonl");
    let lines: Vec<&str> = metrics.lines().collect();
    let last = lines.len();
    let scores = r#""loss":0.1,"accuracy":1.0,"f1_macro":1.0,"matthews":1.0"#;
    let evaluation = |step: &str| format!("{{\"event\":\"eval\",{step}\"split\":\"valid\",{scores}}}");
    let without_step = "has no whole number above 0 as `step`";
    for (line, reason) in [
        (evaluation("\"step\":6.0,"), without_step),
        (evaluation(""), without_step),
        (evaluation("\"step\":1000,"), "is of step 1000, and the newest checkpoint of step 6"),
        ("{\"event\":".to_string(), "is no JSON object"),
    ] {
        for (place, reason) in [(last - 1, reason), (last, "is behind the one that ends the run")] {
            let mut changed = lines.clone();
            changed.insert(place, &line);
            project = project.file("run/metrics.jsonl", changed.join("\n") + "\n");
            let ran = verify(&project, &["run"]);
            assert_eq!(ran.status, Some(1), "{line}");
            let expected = format!(
                "error: run/metrics.jsonl is not as the run wrote it: line {} {reason}\nhelp: put it back from a backup",
                place + 1
            );
            assert_eq!(last_lines(&ran, 2), expected);
            // Whichever steps are asked for.
            let ran = verify(&project, &["run", "--steps", "1", "--json"]);
            assert_eq!(ran.status, Some(1), "{line}");
            let key = format!("line {} of metrics.jsonl", place + 1);
            let expected = json!({ "step": null, "key": key, "then": line, "now": null });
            assert_eq!(ran.document()["first_difference"], expected);
        }
    }
    project = project.file("run/metrics.jsonl", lines[..last - 1].join("\n") + "\n");
    let ran = verify(&project, &["run"]);
    assert_eq!(ran.status, Some(1));
    assert_eq!(
        last_lines(&ran, 2),
        "error: run/metrics.jsonl is not as the run wrote it: it has no line that ends the run, and by report.json the run has ended\n\
         help: put it back from a backup; if the run was killed when it ended, resume it"
    );
}

#[test]
fn a_line_of_no_step_is_not_shown_as_step_0() {
    let project = trained();
    let metrics = project.read("run/metrics.jsonl");
    let evaluation = metrics.lines().find(|line| line.contains("\"eval\"")).unwrap();
    let mut changed: Vec<String> = metrics.lines().map(str::to_string).collect();
    let place = changed.len() - 1;
    changed.insert(place, evaluation.replace("\"step\":3,", "\"step\":6.0,"));
    let project = project.file("run/metrics.jsonl", changed.join("\n") + "\n");
    for command in ["inspect", "report"] {
        project.run(&[command, "run"]).refused(&format!(
            "error: run/metrics.jsonl, line {}: `step` is not a whole number\n\
             help: kindling writes one JSON object a line: the file was changed or damaged; copy the run again",
            place + 1
        ));
    }
}

#[test]
fn a_value_of_the_adapter_that_differs_is_named() {
    let project = trained();
    let tensor = "bert.encoder.layer.0.attention.self.query.lora_A.weight";
    let best = project.json_of("run/adapter/kindling.json")["trained"]["step"].clone();
    let project = project.tensors("run/adapter/adapter_model.safetensors", |tensors| {
        tensors.add_to_first(&format!("base_model.model.{tensor}"), 1.0);
    });
    let ran = verify(&project, &["run"]);
    assert_eq!(ran.status, Some(1));
    let said = last_lines(&ran, 2);
    let expected =
        format!("error: run does not repeat: at step {best} `{tensor}[0] in adapter_model.safetensors` was ");
    assert!(said.starts_with(&expected), "{said}");
}

#[test]
fn a_machine_that_computes_otherwise_is_told_in_words() {
    let project = trained();
    let mut document = project.json_of("run/adapter/kindling.json");
    document["trained"]["machine"]["vectors"] = json!("abacus");
    document["trained"]["binary"] = json!("0123");
    let vectors = project.json_of("run/adapter/kindling.json")["trained"]["machine"]["vectors"].clone();
    let project = project.file("run/adapter/kindling.json", document.to_string()).replace(
        "run/metrics.jsonl",
        "\"step\":1,\"epoch\":",
        "\"step\":1,\"epoch\":1",
    );
    let ran = verify(&project, &["run"]);
    assert_eq!(ran.status, Some(1));
    let help = format!(
        "help: it was trained by another build of kindling {}; it was computed with the SIMD instruction set abacus, here it is {}: any of \
         this may change the last bits of a number",
        env!("CARGO_PKG_VERSION"),
        vectors.as_str().unwrap()
    );
    assert_eq!(last_lines(&ran, 1), help);
}

#[test]
fn data_or_a_base_that_is_another_one_cannot_be_repeated() {
    let project = trained();
    let text = project.read("train.jsonl");
    let project = project.file("train.jsonl", text.lines().skip(1).map(|line| format!("{line}\n")).collect::<String>());
    let ran = verify(&project, &["run"]);
    assert_eq!(ran.status, Some(1));
    let said = last_lines(&ran, 2);
    assert!(said.starts_with("error: run cannot be repeated: the data is no longer what it was (\""), "{said}");
    assert!(said.ends_with("help: put back what it was trained with"), "{said}");
}

#[test]
fn an_adapter_is_compared_with_its_files_data_base_and_settings() {
    let project = trained();
    let step = project.json_of("run/adapter/kindling.json")["trained"]["step"].clone();
    let ran = verify(&project, &["run/adapter", "--data", "train.jsonl", "--data", "valid.jsonl"]).done();
    assert_eq!(
        ran.stderr,
        format!(
            "files         5 files as written\n\
             data          train.jsonl is what it was trained or validated on\n\
             data          valid.jsonl is what it was trained or validated on\n\
             base          [DIR]/bert is what it was trained on\n\
             configuration [DIR]/run/config.toml has the settings that it was trained with\n\
             step          {step}, not compared: only training again tells\n\
             examples      not compared: only training again makes them\n\
             executable    this one\n\
             run/adapter matches its record in: files, data, base, configuration; not compared: step, examples\n"
        )
    );
    let document = verify(&project, &["run/adapter", "--json"]).done().document();
    assert_eq!((&document["agrees"], &document["findings"][1]["agrees"]), (&json!(true), &json!(null)));
}

/// The adapter's record changed, without the hash of itself.
fn with_record(project: Project, change: impl FnOnce(&mut serde_json::Value)) -> Project {
    let mut document = project.json_of("run/adapter/kindling.json");
    document.as_object_mut().unwrap().remove("sha256");
    change(&mut document["trained"]);
    project.file("run/adapter/kindling.json", document.to_string())
}

#[test]
fn what_a_record_does_not_name_is_not_said_to_agree() {
    let project = with_record(trained(), |record| {
        record["base"] = json!([]);
        record["data"] = json!([]);
    });
    let ran = verify(&project, &["run/adapter"]).done();
    let step = project.json_of("run/adapter/kindling.json")["trained"]["step"].clone();
    assert_eq!(
        ran.stderr,
        format!(
            "files         5 files as written\n\
             data          its record names no file of data\n\
             base          its record names no file of the base\n\
             configuration [DIR]/run/config.toml has the settings that it was trained with\n\
             step          {step}, not compared: only training again tells\n\
             examples      not compared: only training again makes them\n\
             executable    this one\n\
             run/adapter matches its record in: files, configuration; not compared: data, base, step, examples\n"
        )
    );
    let help = "help: what it was trained with has the hashes that its kindling.json has under `trained`";
    let ran = verify(&project, &["run/adapter", "--data", "train.jsonl", "--base", "bert"]);
    assert_eq!(ran.status, Some(1));
    let names = "data: its record names no file of data; base: its record names no file of the base";
    let expected = format!("error: run/adapter does not match its record: {names}\n{help}");
    assert_eq!(last_lines(&ran, 2), expected);
    let project = with_record(trained(), |record| {
        record["base"].as_array_mut().unwrap().retain(|file| file["name"] != "model.safetensors");
    });
    let ran = verify(&project, &["run/adapter"]);
    assert_eq!(ran.status, Some(1));
    let names = "base: [DIR]/bert has model.safetensors, which its record does not name";
    assert_eq!(last_lines(&ran, 2), format!("error: run/adapter does not match its record: {names}\n{help}"));
}

#[test]
fn what_an_adapter_did_not_come_from_is_named() {
    let project = trained().copy("bert-cls/data.jsonl", "other.jsonl");
    let text = project.read("other.jsonl");
    let project = project.file("other.jsonl", format!("{text}\n"));
    let ran = verify(&project, &["run/adapter", "--data", "other.jsonl"]);
    assert_eq!(ran.status, Some(1));
    assert_eq!(
        last_lines(&ran, 2),
        "error: run/adapter does not match its record: data: other.jsonl is not one of the files it was trained on (train.jsonl, valid.jsonl)\n\
         help: what it was trained with has the hashes that its kindling.json has under `trained`"
    );
    // Other settings, another base and a changed file, all at once.
    let project = project
        .file("other.toml", project_config(&trained()))
        .replace("other.toml", "learning_rate = ", "learning_rate = 1")
        .tensors("bert/model.safetensors", |tensors| tensors.add_to_first("classifier.bias", 1.0))
        .json("run/adapter/tokenizer_config.json", "added", json!(1));
    let ran = verify(&project, &["run/adapter", "--config", "other.toml", "--json"]);
    assert_eq!(ran.status, Some(1));
    let words: Vec<String> = ran.document()["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|finding| finding["agrees"] == json!(false))
        .map(|finding| finding["words"].as_str().unwrap().to_string())
        .collect();
    let expected = [
        "tokenizer_config.json is not as it was written",
        "[DIR]/bert has another model.safetensors",
        "other.toml has other settings",
    ];
    assert_eq!(words, expected);
}

fn project_config(project: &Project) -> String {
    project.read("run/config.toml")
}

#[test]
fn what_cannot_be_verified_is_refused() {
    let project = Project::with_adapter();
    verify(&project, &["adapter"]).refused(
        "error: adapter does not record what it came from\n\
         help: kindling records it of what it trains, from this version on; PEFT does not",
    );
    verify(&project, &["adapter", "--steps", "2"]).refused(
        "error: `--steps` is for a run, and adapter is none\n\
         help: name the directory of its run, or leave out --steps",
    );
    verify(&project, &["nowhere"]).refused(
        "error: there is no directory nowhere\n\
         help: a run's directory is what `kindling train` wrote, `runs/NAME` unless `output_dir` says otherwise",
    );
    let project = trained();
    verify(&project, &["run", "--data", "train.jsonl"]).refused(
        "error: `--data` is for an adapter, and run is a run\n\
         help: name the run's adapter, or leave out --data",
    );
    verify(&project, &["run/adapter", "--data", "nowhere.csv"]).refused(
        "error: `--data nowhere.csv`: there is no such file\n\
         help: name the file that it was trained on, as it was then: compressed, if it was compressed",
    );
}
