//! Bases in int8 and nf4, by commands: trained on by every method, remembered, warned of, read from bitsandbytes' files, and refused.

use serde_json::{Value, json};

use crate::project::tensors::Tensors;
use crate::project::{Project, Ran};

const CODES: &str = "quantised/llama-nf4/model";

/// BERT, with eight steps that move an adapter.
fn bert(dtype: &str) -> Project {
    keeping(Project::new(), dtype)
}

/// GPT-2, whose weights lie the other way round and whose output layer is tied.
fn gpt2(dtype: &str) -> Project {
    keeping(decoder("gpt2-lm"), dtype)
}

fn decoder(case: &str) -> Project {
    Project::new().copy(&format!("{case}/model"), "bert").copy(&format!("{case}/data.jsonl"), "train.jsonl").replace(
        "run.toml",
        "path = \"bert\"",
        "path = \"bert\"\ntask = \"causal-lm\"",
    )
}

fn keeping(project: Project, dtype: &str) -> Project {
    let project = project.replace("run.toml", "path = \"bert\"", &format!("path = \"bert\"\ndtype = \"{dtype}\""));
    project.replace("run.toml", "max_steps = 2", "max_steps = 8\nlearning_rate = 0.01")
}

/// Llama as bitsandbytes saved it in nf4.
fn saved_in_nf4() -> Project {
    decoder("llama-lm")
        .copy(&format!("{CODES}/config.json"), "bert/config.json")
        .copy(&format!("{CODES}/model.safetensors"), "bert/model.safetensors")
}

/// BERT as bitsandbytes saved it in int8, with an adapter.
fn saved_in_int8() -> Project {
    let codes = "quantised/bert-int8/model";
    Project::with_adapter()
        .copy(&format!("{codes}/config.json"), "bert/config.json")
        .copy(&format!("{codes}/model.safetensors"), "bert/model.safetensors")
}

fn loss(project: &Project, arguments: &[&str]) -> f64 {
    let ran = project.run(&[&["eval", "--json", "--data", "train.jsonl"], arguments].concat()).done();
    ran.document()["loss"].as_f64().unwrap()
}

fn line(project: &Project, event: &str) -> Value {
    let metrics = project.read("run/metrics.jsonl");
    let mut lines = metrics.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.rfind(|line| line["event"] == event).unwrap()
}

fn warnings(ran: &Ran) -> Vec<&str> {
    ran.stderr.lines().filter(|line| line.starts_with("warning")).collect()
}

#[test]
fn every_method_trains_on_a_quantised_base_and_what_is_saved_answers_as_it_did() {
    for dtype in ["int8", "nf4"] {
        for project in [bert(dtype), gpt2(dtype)] {
            let project = project.replace("run.toml", "[data]", "[data]\nvalid = \"train.jsonl\"");
            for method in [
                &["adapter.r=4"][..],
                &["adapter.use_dora=true"],
                &["adapter.init=pissa", "adapter.r=3", "adapter.use_rslora=true"],
                &["adapter.init=olora", "train.gradient_checkpointing=true"],
                &["adapter.init=pissa", "adapter.use_dora=true", "adapter.r=3"],
                &["adapter.method=ia3"],
                &["adapter.method=bitfit", "train.compute=f32"],
            ] {
                let sets: Vec<&str> = method.iter().flat_map(|set| ["--set", set]).collect();
                project.train(&[&sets[..], &["--quiet", "--overwrite"]].concat()).done();
                let again = loss(&project, &["--run", "run"]);
                let evaluations = evaluations(&project);
                // One of them is of the adapter that was kept.
                let is_kept = evaluations.iter().any(|loss| (loss - again).abs() < 1e-5);
                assert!(is_kept, "{dtype} {method:?}: {again}, {evaluations:?}");
            }
        }
    }
}

/// Losses of all evaluations of the run.
fn evaluations(project: &Project) -> Vec<f64> {
    let metrics = project.read("run/metrics.jsonl");
    let lines = metrics.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["event"] == "eval").map(|line| line["loss"].as_f64().unwrap()).collect()
}

#[test]
fn what_a_start_has_left_of_a_quantised_base_is_trained_further() {
    for project in [bert("nf4"), bert("int8"), gpt2("nf4")] {
        project.train(&["--quiet", "--set", "adapter.init=pissa", "--set", "adapter.r=3"]).done();
        let trained = loss(&project, &["--run", "run"]);
        let more = |set: &[&str]| {
            let arguments =
                ["--quiet", "--overwrite", "--set", "adapter.init_from=run/adapter", "--set", "output_dir=more"];
            let still = ["--set", "train.learning_rate=1e-12", "--set", "train.max_steps=1"];
            project.train(&[&arguments[..], &still, set].concat()).done();
            loss(&project, &["--run", "more"])
        };
        // A step that moves nothing: the model is the one that was trained.
        let again = more(&[]);
        assert!((again - trained).abs() < 1e-6, "{again} {trained}");
        let sidecar: Value = serde_json::from_str(&project.read("more/adapter/kindling.json")).unwrap();
        assert_eq!(sidecar["base"]["quantised"]["residual"], true);
        let config: Value = serde_json::from_str(&project.read("more/adapter/adapter_config.json")).unwrap();
        assert_eq!((&config["r"], &config["init_lora_weights"]), (&json!(6), &json!(true)));
        // The settings are those that it was trained with.
        assert!((more(&["--set", "adapter.init=pissa", "--set", "adapter.r=3"]) - trained).abs() < 1e-6);
        // On a base in floats it is the plain adapter that is written.
        let plain = loss(&project, &["--run", "run", "--set", "model.dtype=auto"]);
        let again = more(&["--set", "model.dtype=auto"]);
        assert!((again - plain).abs() < 1e-6 && (plain - trained).abs() > 1e-6, "{again} {plain} {trained}");
    }
}

#[test]
fn a_start_is_taken_out_of_what_a_checkpoint_in_nf4_stands_for() {
    let project = saved_in_nf4().replace("run.toml", "max_steps = 2", "max_steps = 8\nlearning_rate = 0.01").replace(
        "run.toml",
        "[data]",
        "[data]\nvalid = \"train.jsonl\"",
    );
    for init in ["pissa", "pissa_niter_2", "olora"] {
        project
            .train(&["--quiet", "--overwrite", "--set", &format!("adapter.init={init}"), "--set", "adapter.r=3"])
            .done();
        let sidecar: Value = serde_json::from_str(&project.read("run/adapter/kindling.json")).unwrap();
        assert_eq!(sidecar["base"]["quantised"], json!({ "dtype": "nf4", "output": false, "residual": true }));
        let again = loss(&project, &["--run", "run"]);
        let evaluations = evaluations(&project);
        assert!(evaluations.iter().any(|loss| (loss - again).abs() < 1e-5), "{init}: {again}, {evaluations:?}");
        for dtype in ["auto", "nf4"] {
            let set = format!("model.dtype={dtype}");
            assert_eq!(loss(&project, &["--run", "run", "--set", &set]), again, "{init} {dtype}");
        }
    }
}

#[test]
fn a_run_says_how_its_base_is_kept_and_an_adapter_remembers_it() {
    let project = bert("nf4");
    let plan = project.train(&["--dry-run"]).done().stdout;
    assert!(
        plan.starts_with(
            "model        [DIR]/bert (BertForSequenceClassification), 57,600 of its parameters in nf4, 29.8 kB\n"
        ),
        "{plan}"
    );
    project.train(&["--quiet"]).done();
    assert_eq!(line(&project, "end")["base_dtype"], "nf4");
    let sidecar: Value = serde_json::from_str(&project.read("run/adapter/kindling.json")).unwrap();
    assert_eq!(sidecar["base"]["quantised"], json!({ "dtype": "nf4", "output": false }));
    assert!(project.read("run/report.html").contains("bert (BertForSequenceClassification), kept in nf4"));
    let inspected = |project: &Project| project.run(&["inspect", "run/adapter"]).done().stdout;
    let shown = inspected(&project);
    assert!(shown.contains("\nbase dtype            nf4\n") && !shown.contains("quantize output"), "{shown}");
    let document = project.run(&["inspect", "run", "--json"]).done().document();
    assert_eq!((&document["base_dtype"], &document["quantize_output"]), (&json!("nf4"), &json!(false)));

    // Without a word as it was trained, and with one otherwise.
    let eval = |set: &[&str]| project.run(&[&["eval", "--data", "train.jsonl", "--run", "run"], set].concat()).done();
    assert!(warnings(&eval(&[])).is_empty() && warnings(&eval(&["--set", "model.dtype=nf4"])).is_empty());
    for (dtype, kind) in [("auto", "a float type"), ("f32", "a float type"), ("int8", "int8")] {
        let ran = eval(&["--set", &format!("model.dtype={dtype}")]);
        let expected = format!("warning: the adapter run/adapter was trained on a base in nf4, not in {kind}");
        assert_eq!(warnings(&ran), [expected]);
    }
    let plain = bert("auto");
    plain.train(&["--quiet"]).done();
    let ran = plain.run(&["predict", "--run", "run", "--set", "model.dtype=int8", "a fine film"]).done();
    assert_eq!(warnings(&ran), ["warning: the adapter run/adapter was trained on a base in a float type, not in int8"]);
    assert!(line(&plain, "end").get("base_dtype").is_none());
    assert!(!inspected(&plain).contains("base dtype"));
}

#[test]
fn an_adapter_of_a_quantised_base_is_merged_into_the_weights_as_they_are_stored() {
    let project = bert("nf4");
    project.train(&["--quiet"]).done();
    project.run(&["merge", "--run", "run", "--output", "merged"]).done();
    let as_stored = loss(&project, &["--run", "run", "--set", "model.dtype=auto"]);
    let merged = loss(&project, &["--model", "merged"]);
    assert!((as_stored - merged).abs() < 1e-5, "{as_stored} {merged}");
}

#[test]
fn an_output_layer_is_quantised_where_it_is_asked_for() {
    for (case, set) in [("gpt2-lm", "int8"), ("llama-lm", "int8"), ("gpt2-lm", "nf4"), ("llama-lm", "nf4")] {
        let project = decoder(case);
        let dtype = format!("model.dtype={set}");
        let base = ["--model", "bert", "--set", &dtype];
        let (without, with) =
            (loss(&project, &base), loss(&project, &[&base[..], &["--set", "model.quantize_output=true"]].concat()));
        let as_stored = loss(&project, &["--model", "bert"]);
        assert!(without != with && without != as_stored, "{case} {set}: {without} {with}");
        assert!((with - as_stored).abs() < 0.1, "{case} {set}: {with} {as_stored}");
        let project = keeping(project, set).replace("run.toml", "[data]", "quantize_output = true\n\n[data]");
        project.train(&["--quiet"]).done();
        let sidecar: Value = serde_json::from_str(&project.read("run/adapter/kindling.json")).unwrap();
        assert_eq!(sidecar["base"]["quantised"], json!({ "dtype": set, "output": true }));
        let shown = project.run(&["inspect", "run", "--html", "page.html"]).done().stdout;
        assert!(shown.contains(&format!("\nbase dtype            {set}\nquantize output       true\n")), "{shown}");
        let page = project.read("page.html");
        assert!(page.contains("Base kept in") && page.contains(&format!("{set} with its output layer")));
        // The type alone says nothing of the output layer, which stays as it was in training.
        let run = ["eval", "--data", "train.jsonl", "--run", "run"];
        let again = project.run(&[&run[..], &["--set", &dtype]].concat()).done();
        assert!(warnings(&again).is_empty(), "{}", again.stderr);
        assert_eq!(again.stdout, project.run(&run).done().stdout);
        let other = if set == "nf4" { "int8" } else { "nf4" };
        let expected = format!(
            "warning: the adapter run/adapter was trained on a base in {set} with its output layer, not in {other} with its output layer"
        );
        let ran = project.run(&[&run[..], &["--set", &format!("model.dtype={other}")]].concat()).done();
        assert_eq!(warnings(&ran), [expected]);
        project.run(&["generate", "--run", "run", "--prompt", "a fine", "--max-new-tokens", "4"]).done();
    }
}

#[test]
fn an_output_layer_is_kept_otherwise_than_in_training_where_that_alone_is_asked_for() {
    for (trained, asked, kinds) in
        [(false, true, "nf4, not in nf4 with its output layer"), (true, false, "nf4 with its output layer, not in nf4")]
    {
        let written = format!("quantize_output = {trained}\n\n[data]");
        let project = gpt2("nf4").replace("run.toml", "[data]", &written);
        project.train(&["--quiet"]).done();
        let set = format!("model.quantize_output={asked}");
        let alone = ["--run", "run", "--set", &set];
        let found = loss(&project, &alone);
        assert_eq!(found, loss(&project, &[&alone[..], &["--set", "model.dtype=nf4"]].concat()));
        assert_ne!(found, loss(&project, &["--run", "run"]));
        let expected = format!("warning: the adapter run/adapter was trained on a base in {kinds}");
        for command in
            [&["eval", "--data", "train.jsonl"][..], &["generate", "--prompt", "a fine", "--max-new-tokens", "4"]]
        {
            assert_eq!(warnings(&project.run(&[command, &alone].concat()).done()), [expected.as_str()]);
        }
        // What was remembered does not count where a float type is asked for.
        let ran =
            project.run(&["eval", "--data", "train.jsonl", "--run", "run", "--set", "model.dtype=f32", "--set", &set]);
        match asked {
            true => ran.refused(
                "error: `--set model.quantize_output=true` cannot be used here\n\
                 help: it needs `--set model.dtype=int8` or `--set model.dtype=nf4`",
            ),
            false => assert_eq!(ran.status, Some(0), "{}", ran.stderr),
        }
    }
}

#[test]
fn what_a_start_has_left_is_quantised_again_with_or_without_the_output_layer() {
    // Steps that move nothing: the two runs differ in the output layer alone.
    let runs = [false, true].map(|output| {
        let written = format!("quantize_output = {output}\n\n[data]");
        let project = gpt2("nf4").replace("run.toml", "[data]", &written);
        let still = ["--set", "adapter.init=pissa", "--set", "adapter.r=3", "--set", "train.learning_rate=1e-12"];
        project.train(&[&["--quiet"][..], &still].concat()).done();
        (output, project)
    });
    for ((trained, project), (other, as_trained)) in [(&runs[0], &runs[1]), (&runs[1], &runs[0])] {
        let set = format!("model.quantize_output={other}");
        let found = loss(project, &["--run", "run", "--set", &set]);
        let expected = loss(as_trained, &["--run", "run"]);
        assert!((found - expected).abs() < 1e-6, "{trained}: {found} {expected}");
    }
}

#[test]
fn a_checkpoint_that_bitsandbytes_saved_is_used_as_it_is() {
    let project = saved_in_nf4();
    let codes = loss(&project, &["--model", "bert"]);
    let quantised = decoder("llama-lm");
    let expected = loss(&quantised, &["--model", "bert", "--set", "model.dtype=nf4"]);
    assert!((codes - expected).abs() < 1e-6, "{codes} {expected}");
    assert_eq!(loss(&project, &["--model", "bert", "--set", "model.dtype=nf4"]), codes);

    let project = project.replace("run.toml", "max_steps = 2", "max_steps = 4\nlearning_rate = 0.01");
    for method in ["adapter.r=2", "adapter.use_dora=true", "adapter.method=ia3"] {
        project.train(&["--quiet", "--overwrite", "--set", method]).done();
        let ran = project.run(&["eval", "--data", "train.jsonl", "--run", "run"]).done();
        assert!(warnings(&ran).is_empty(), "{:?}", ran.stderr);
    }
    let sidecar: Value = serde_json::from_str(&project.read("run/adapter/kindling.json")).unwrap();
    assert_eq!(sidecar["base"]["quantised"], json!({ "dtype": "nf4", "output": false }));

    project.run(&["merge", "--run", "run", "--output", "merged"]).refused(
        "error: [DIR]/bert is in nf4, which has no room for an update\n\
         help: name the unquantised checkpoint that it was made from with --model, and give --allow-other-base",
    );
    project.train(&["--overwrite", "--set", "adapter.method=full"]).refused(
        "error: `model.path` in run.toml, line 4: [DIR]/bert is in nf4, and `adapter.method = \"full\"` trains it\n\
         help: set `adapter.method = \"lora\"` to train an adapter on it, or take the unquantised checkpoint",
    );
    for dtype in ["int8", "f32", "f16", "bf16"] {
        let set = format!("model.dtype={dtype}");
        let refused = |named: &str| {
            format!(
                "error: {named} is in nf4 already, and cannot be brought to {dtype}\n\
                 help: leave `model.dtype` out, or take the unquantised checkpoint that it was made from"
            )
        };
        project.run(&["eval", "--data", "train.jsonl", "--model", "bert", "--set", &set]).refused(&refused("bert"));
        project.train(&["--overwrite", "--set", &set]).refused(&refused("[DIR]/bert"));
        project.train(&["--overwrite", "--dry-run", "--set", &set]).refused(&refused("[DIR]/bert"));
    }
    project.run(&["eval", "--data", "train.jsonl", "--run", "run", "--set", "model.dtype=f32"]).refused(
        "error: [DIR]/bert is in nf4 already, and cannot be brought to f32\n\
         help: leave `model.dtype` out, or take the unquantised checkpoint that it was made from",
    );
    assert_eq!(loss(&project, &["--model", "bert", "--set", "model.dtype=auto"]), codes);
}

#[test]
fn what_was_trained_on_codes_is_merged_into_what_they_were_made_from() {
    let project = saved_in_nf4().copy("llama-lm/model", "plain");
    project.train(&["--quiet"]).done();
    for (command, output) in
        [(&["merge", "--output"][..], "merged"), (&["export", "--format", "gguf", "-o"][..], "gguf")]
    {
        let of_run = [command, &[output, "--run", "run"]].concat();
        project.run(&of_run).refused(
            "error: [DIR]/bert is in nf4, which has no room for an update\n\
             help: name the unquantised checkpoint that it was made from with --model, and give --allow-other-base",
        );
        let ran = project.run(&[&of_run[..], &["--model", "plain", "--allow-other-base"]].concat()).done();
        let expected = [
            "warning: the adapter run/adapter was trained on other weights ([DIR]/bert) than those of plain",
            "warning: the adapter run/adapter was trained on a base in nf4, not in a float type",
        ];
        assert_eq!(warnings(&ran), expected, "{output}");
        assert!(project.path(output).exists(), "{output}");
    }
    project.run(&["export", "--format", "gguf", "-o", "other", "--model", "bert"]).refused(
        "error: bert is in nf4, of which no file for llama.cpp is made\n\
         help: name the unquantised checkpoint that it was made from with --model",
    );
}

#[test]
fn what_is_refused_is_not_warned_of() {
    let keys = "path = \"bert\"\ndtype = \"nf4\"\nquantize_output = true";
    let project = saved_in_nf4().replace("run.toml", "path = \"bert\"", keys);
    project.train(&["--quiet"]).done();
    project.run(&["eval", "--data", "train.jsonl", "--run", "run", "--set", "model.dtype=f32"]).refused(
        "error: [DIR]/bert is in nf4 already, and cannot be brought to f32\n\
         help: leave `model.dtype` out, or take the unquantised checkpoint that it was made from",
    );
}

#[test]
fn a_checkpoint_that_bitsandbytes_saved_in_int8_is_used_as_it_is() {
    let project = saved_in_int8();
    let codes = loss(&project, &["--model", "bert", "--adapter", "adapter"]);
    let quantised = Project::with_adapter();
    let expected = loss(&quantised, &["--model", "bert", "--adapter", "adapter", "--set", "model.dtype=int8"]);
    assert!((codes - expected).abs() < 1e-6, "{codes} {expected}");

    let project = project.replace("run.toml", "max_steps = 2", "max_steps = 4\nlearning_rate = 0.01").replace(
        "run.toml",
        "[data]",
        "[data]\nvalid = \"train.jsonl\"",
    );
    for method in ["adapter.r=2", "adapter.use_dora=true", "adapter.init=pissa"] {
        project.train(&["--quiet", "--overwrite", "--set", method]).done();
        let sidecar: Value = serde_json::from_str(&project.read("run/adapter/kindling.json")).unwrap();
        assert_eq!(sidecar["base"]["quantised"]["dtype"], "int8");
        let (again, evaluations) = (loss(&project, &["--run", "run"]), evaluations(&project));
        assert!(evaluations.iter().any(|loss| (loss - again).abs() < 1e-5), "{method}: {again}, {evaluations:?}");
    }
    project.run(&["merge", "--run", "run", "--output", "merged"]).refused(
        "error: [DIR]/bert is in int8, which has no room for an update\n\
         help: name the unquantised checkpoint that it was made from with --model, and give --allow-other-base",
    );
    project.train(&["--overwrite", "--set", "adapter.method=full"]).refused(
        "error: `model.path` in run.toml, line 4: [DIR]/bert is in int8, and `adapter.method = \"full\"` trains it\n\
         help: set `adapter.method = \"lora\"` to train an adapter on it, or take the unquantised checkpoint",
    );
    for dtype in ["nf4", "f32"] {
        let set = format!("model.dtype={dtype}");
        let eval = ["eval", "--data", "train.jsonl", "--model", "bert", "--adapter", "adapter", "--set", &set];
        project.run(&eval).refused(&format!(
            "error: bert is in int8 already, and cannot be brought to {dtype}\n\
             help: leave `model.dtype` out, or take the unquantised checkpoint that it was made from"
        ));
    }
}

#[test]
fn what_a_checkpoint_in_nf4_has_left_in_floats_stays_so() {
    let whole = Tensors::read(&decoder("llama-lm").path("bert/model.safetensors"));
    let left = "model.layers.1.mlp.down_proj.weight";
    let project = saved_in_nf4().tensors("bert/model.safetensors", |tensors| {
        tensors.remove(|name| name.starts_with(left));
        tensors.take_from(&whole, left, left);
    });
    let as_stored = loss(&project, &["--model", "bert"]);
    assert_ne!(as_stored, loss(&saved_in_nf4(), &["--model", "bert"]));
    assert_eq!(loss(&project, &["--model", "bert", "--set", "model.dtype=nf4"]), as_stored);

    // An adapter meets the base that it was trained on.
    let project = project.replace("run.toml", "[data]", "[data]\nvalid = \"train.jsonl\"");
    project.train(&["--quiet"]).done();
    let (again, evaluations) = (loss(&project, &["--run", "run"]), evaluations(&project));
    assert!(evaluations.iter().any(|loss| (loss - again).abs() < 1e-5), "{again}, {evaluations:?}");
}

#[test]
fn a_damaged_checkpoint_in_int8_names_its_tensor() {
    let module = "bert.encoder.layer.0.output.dense";
    let refused = |change: &dyn Fn(&mut Tensors), reason: &str| {
        let project = saved_in_int8().tensors("bert/model.safetensors", change);
        project.run(&["inspect", "bert"]).refused(&format!(
            "error: bert/model.safetensors: `{module}.weight` is in bitsandbytes' int8, but {reason}\n\
             help: take a checkpoint that bitsandbytes wrote with its own block sizes, or the unquantised one that it was made from"
        ));
    };
    let weight = format!("{module}.weight");
    refused(&|it| it.remove(|name| name == weight), &format!("`{weight}` is missing"));
    let scales = format!("`{module}.SCB` has not the scales of [48, 96]");
    refused(&|it| it.zeros(&format!("{module}.SCB"), &[47]), &scales);
    refused(&|it| it.fill(&format!("{module}.SCB"), f32::NAN), &scales);
    refused(&|it| it.zeros(&weight, &[48, 96]), &format!("`{weight}` is F32"));
    saved_in_int8()
        .tensors("bert/model.safetensors", |it| it.remove(|name| name == format!("{module}.SCB")))
        .run(&["inspect", "bert"])
        .refused(&format!(
            "error: bert is quantised: its `{weight}` is I8\n\
             help: take the unquantised checkpoint that it was made from"
        ));
}

#[test]
fn the_scales_of_a_checkpoint_in_nf4_are_read_by_its_own_map() {
    let scaled = |factors: &[(&str, f32)]| {
        saved_in_nf4().tensors("bert/model.safetensors", |tensors| {
            let names: Vec<String> = tensors.names().map(str::to_string).collect();
            for (ending, factor) in factors {
                names.iter().filter(|name| name.ends_with(*ending)).for_each(|name| tensors.scale(name, *factor));
            }
        })
    };
    // A map of twice the values, for scales of half of them: the same products to the bit.
    let [map, nested] = [(".nested_quant_map", 2.0), (".nested_absmax", 0.5)];
    let [as_saved, same, other] =
        [&[][..], &[map, nested], &[map]].map(|factors| loss(&scaled(factors), &["--model", "bert"]));
    assert_eq!(same, as_saved);
    assert_ne!(other, as_saved);
}

#[test]
fn a_damaged_checkpoint_in_nf4_names_its_tensor() {
    let of = "model.layers.0.mlp.down_proj.weight";
    let refused = |change: &dyn Fn(&mut Tensors), reason: &str| {
        let project = saved_in_nf4().tensors("bert/model.safetensors", change);
        project.run(&["inspect", "bert"]).refused(&format!(
            "error: bert/model.safetensors: `{of}` is in bitsandbytes' nf4, but {reason}\n\
             help: take a checkpoint that bitsandbytes wrote with its own block sizes, or the unquantised one that it was made from"
        ));
    };
    refused(&|it| it.remove(|name| name == format!("{of}.absmax")), &format!("`{of}.absmax` is missing"));
    refused(&|it| it.remove(|name| name == of), &format!("`{of}` is missing"));
    let scales = format!("{of}.nested_absmax");
    refused(&|it| it.fill(&scales, f32::NAN), &format!("`{scales}` has scales that are NaN or infinite"));
    let map = format!("{of}.quant_map");
    refused(&|it| it.add_to_first(&map, 0.5), &format!("`{map}` has -0.5 at 0, where bitsandbytes has -1"));
    refused(&|it| it.zeros(&map, &[15]), &format!("`{map}` has not 16 values in F32"));
    let map = format!("{of}.nested_quant_map");
    let wrong = format!("`{map}` has not 256 finite values in F32");
    refused(&|it| it.zeros(&map, &[255]), &wrong);
    refused(&|it| it.fill(&map, f32::NAN), &wrong);
    // As many values as no machine can count.
    let state = format!("{of}.quant_state.bitsandbytes__nf4");
    refused(
        &|it| it.replace_text(&state, "[32, 64]", "[4611686018427387904, 4611686018427387904]"),
        &format!("`{of}` has not the codes of [4611686018427387904, 4611686018427387904]"),
    );
}

#[test]
fn a_start_is_no_part_of_factors_that_are_not_those_of_training() {
    let project = bert("nf4");
    project.train(&["--quiet", "--set", "adapter.init=pissa", "--set", "adapter.r=3"]).done();
    let warning = "warning: run/adapter: trained on what its start had left of the base in nf4, which cannot be told from its new factors: they stand on the whole base in nf4";
    for made in [
        &["resize", "run", "--rank", "5", "-o", "made"][..],
        &["resize", "run", "--energy", "1", "-o", "made"],
        &["combine", "run", "run", "--method", "linear", "--weights", "0.5,0.5", "-o", "made"],
    ] {
        let ran = project.run(made).done();
        assert!(warnings(&ran).iter().all(|line| *line == warning) && !warnings(&ran).is_empty(), "{}", ran.stderr);
        assert_eq!(project.json_of("made/kindling.json")["base"]["quantised"]["residual"], Value::Null, "{made:?}");
        let answers = loss(&project, &["--model", "bert", "--adapter", "made", "--set", "model.dtype=nf4"]);
        assert!(answers.is_finite(), "{made:?}");
        std::fs::remove_dir_all(project.path("made")).unwrap();
    }
}

#[test]
fn adapters_on_bases_of_other_kinds_are_combined_with_a_word_on_which_is_recorded() {
    let project = bert("nf4");
    project.train(&["--quiet"]).done();
    project.train(&["--quiet", "--set", "model.dtype=f32", "--set", "output_dir=plain"]).done();
    let combined = |first: &str, second: &str| {
        let ran = project.run(&["combine", first, second, "-o", "made"]).done();
        let recorded = project.json_of("made/kindling.json")["base"]["quantised"]["dtype"].clone();
        std::fs::remove_dir_all(project.path("made")).unwrap();
        (warnings(&ran).join("\n"), recorded)
    };
    let warning = |first: &str, recorded: &str, second: &str, other: &str| {
        format!(
            "warning: {first}/adapter was trained on a base in {recorded}, {second}/adapter on one in {other}: what is written records {recorded}, as the first does"
        )
    };
    assert_eq!(combined("run", "plain"), (warning("run", "nf4", "plain", "a float type"), json!("nf4")));
    assert_eq!(combined("plain", "run"), (warning("plain", "a float type", "run", "nf4"), Value::Null));
    assert_eq!(combined("run", "run"), (String::new(), json!("nf4")));
}

#[test]
fn what_cannot_be_is_refused_with_what_to_do() {
    bert("int8").train(&["--set", "adapter.method=full"]).refused(
        "error: `model.dtype` in run.toml, line 5: what is kept in int8 is frozen, and `adapter.method = \"full\"` trains it\n\
         help: set `adapter.method = \"lora\"` to train an adapter on it, or `model.dtype` to a float type, or leave `model.dtype` out",
    );
    bert("nf4").train(&["--set", "adapter.method=full", "--set", "adapter.last_layers=1"]).refused(
        "error: `model.dtype` in run.toml, line 5: what is kept in nf4 is frozen, and `adapter.method = \"full\"` trains it\n\
         help: set `adapter.method = \"lora\"` to train an adapter on it, or `model.dtype` to a float type, or leave `model.dtype` out",
    );
    gpt2("bf16").train(&["--set", "model.quantize_output=true"]).refused(
        "error: `--set model.quantize_output=true`: `model.dtype` is \"bf16\", which quantises nothing\n\
         help: set `model.dtype` to \"int8\" or \"nf4\", or leave `model.quantize_output` out",
    );
    bert("nf4").train(&["--set", "model.quantize_output=true"]).refused(
        "error: `--set model.quantize_output=true`: task `sequence-classification` has no key `quantize_output`\n\
         help: remove it, or set a `model.task` that has it: masked-lm, causal-lm",
    );
    let eval_of =
        |project: Project, set: &str| project.run(&["eval", "--data", "train.jsonl", "--model", "bert", "--set", set]);
    let eval = |set: &str| eval_of(Project::new(), set);
    eval("model.dtype=int7").refused(
        "error: `--set model.dtype=int7` cannot be used here\n\
         help: did you mean `int8`?",
    );
    eval("model.quantize_output=true").refused(
        "error: `--set model.quantize_output=true` cannot be used here\n\
         help: leave it out: a model for sequence-classification has no output layer over words",
    );
    eval_of(decoder("gpt2-lm"), "model.quantize_output=true").refused(
        "error: `--set model.quantize_output=true` cannot be used here\n\
         help: it needs `--set model.dtype=int8` or `--set model.dtype=nf4`",
    );
    eval("model.quantize_output=yes").refused(
        "error: `--set model.quantize_output=yes` cannot be used here\n\
         help: expected true or false",
    );
}

#[test]
fn a_weight_that_is_no_number_has_no_codes() {
    let query = "bert.encoder.layer.0.attention.self.query.weight";
    for dtype in ["int8", "nf4"] {
        let project = bert(dtype).tensors("bert/model.safetensors", |tensors| tensors.fill_row(query, 2, f32::NAN));
        project.run(&["eval", "--data", "train.jsonl", "--model", "bert", "--set", &format!("model.dtype={dtype}")]).refused(
            "error: bert/model.safetensors: `bert.encoder.layer.0.attention.self.query.weight` has a value that is not a finite number\n\
             help: the weights are damaged, or training went wrong: download or copy the checkpoint again",
        );
    }
}
