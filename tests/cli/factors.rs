//! An adapter's life after training, by commands: looked into, compared, cut, and combined.

use serde_json::{Value, json};

use crate::project::Project;
use crate::project::tensors::Tensors;

/// Adapters that PEFT wrote, on the project's BERT.
fn with_two() -> Project {
    Project::new().copy("../factors/first", "first").copy("../factors/second", "second")
}

/// With the adapter of a classifier, whose base is named so that it is found.
fn with_classifier() -> Project {
    Project::with_adapter().json("adapter/adapter_config.json", "base_model_name_or_path", json!("bert"))
}

fn numbers(value: &Value) -> Vec<f64> {
    serde_json::from_value(value.clone()).unwrap()
}

fn inspect(project: &Project, arguments: &[&str]) -> Value {
    project.run(&[&["inspect", "--json"], arguments].concat()).done().document()
}

/// Predictions for the project's texts.
fn logits(project: &Project, adapter: &str) -> Vec<f64> {
    let ran = project.run(&["predict", "--model", "bert", "--adapter", adapter, "--input", "train.jsonl"]).done();
    ran.lines().iter().flat_map(|line| numbers(&line["logits"])).collect()
}

fn distance(left: &[f64], right: &[f64]) -> f64 {
    assert_eq!(left.len(), right.len());
    left.iter().zip(right).map(|(left, right)| (left - right).abs()).fold(0.0, f64::max)
}

#[test]
fn an_adapter_is_shown_with_who_can_load_it_and_its_singular_values() {
    let project = with_classifier();
    let document = inspect(&project, &["adapter"]);
    assert_eq!(document["loaded_by"]["PEFT"], json!({ "loads": true, "obstacles": [] }));
    assert_eq!(document["loaded_by"]["vLLM"]["loads"], false);
    assert_eq!(
        document["loaded_by"]["llama.cpp"]["obstacles"],
        json!(["it loads no heads and no biases (`classifier.bias`)"])
    );
    for update in document["updates"].as_array().unwrap() {
        let values = numbers(&update["singular_values"]);
        assert!(values.len() == 4 && values.windows(2).all(|pair| pair[0] >= pair[1]), "{update}");
        let squares = values.iter().map(|value| value * value);
        let norm = update["frobenius"].as_f64().unwrap();
        assert!((squares.clone().sum::<f64>().sqrt() - norm).abs() < 1e-9 * norm, "{update}");
        let kept = |rank: usize| squares.clone().take(rank).sum::<f64>() / (norm * norm);
        for (key, share) in [("rank_90", 0.9), ("rank_99", 0.99)] {
            let rank = update[key].as_u64().unwrap() as usize;
            assert!(kept(rank) >= share - 1e-9 && kept(rank - 1) < share, "{key}: {update}");
        }
        assert!((1.0..=4.0).contains(&update["effective_rank"].as_f64().unwrap()), "{update}");
        // The base is at hand.
        assert!(update["relative"].as_f64().unwrap() > 0.1, "{update}");
    }
    let shown = project.run(&["inspect", "adapter"]).done().stdout;
    assert!(shown.contains("\nloaded by             PEFT\n"), "{shown}");
    assert!(shown.contains("\nnot by llama.cpp      it loads no heads and no biases (`classifier.bias`)\n"), "{shown}");
    let last = shown.lines().last().unwrap();
    assert!(last.contains('█') && last.ends_with("bert.encoder.layer.2.attention.self.value"), "{last}");
}

#[test]
fn an_adapter_of_mlx_is_loaded_by_mlx_alone() {
    let project = Project::new().copy("llama-lm/model", "llama").copy("llama-lm/adapter", "adapter");
    let arguments = ["export", "--model", "llama", "--adapter", "adapter", "--format", "mlx", "-o", "mlx", "--quiet"];
    project.run(&arguments).done();
    let loaded_by = &inspect(&project, &["mlx"])["loaded_by"];
    assert_eq!(loaded_by["mlx-lm"], json!({ "loads": true, "obstacles": [] }));
    for other in ["PEFT", "vLLM", "llama.cpp"] {
        let obstacles = json!(["it does not read the files of mlx-lm"]);
        assert_eq!(loaded_by[other], json!({ "loads": false, "obstacles": obstacles }), "{other}");
    }
}

#[test]
fn what_llama_cpp_has_no_form_for_on_a_tied_base_is_told() {
    let project = Project::decoder("llama3-rope-tied-bf16");
    project.train(&["--quiet", "--set", "adapter.target_modules=[\"lm_head\"]"]).done();
    let loaded_by = &inspect(&project, &["run/adapter"])["loaded_by"];
    assert_eq!(loaded_by["PEFT"]["loads"], true);
    assert_eq!(
        loaded_by["llama.cpp"]["obstacles"],
        json!(["it has no update of `lm_head`, which is the output layer and the word embeddings"])
    );
    let alone = ["export", "--run", "run", "--format", "gguf", "--adapter-only", "-o", "out", "--quiet"];
    project.run(&alone).refused(
        "error: the adapter has factors on `lm_head`, which is the output layer and the word embeddings, which an adapter alone has no form for in GGUF\n\
         help: export it merged into its base: leave out `--adapter-only`",
    );
}

#[test]
fn a_page_shows_an_adapter_and_another_two_and_replaces_no_other_file() {
    let project = with_classifier().copy("../factors/first", "first").copy("../factors/second", "second");
    project.run(&["inspect", "adapter", "--html", "page.html"]).done();
    // Names may break at their dots.
    let page = project.read("page.html").replace("<wbr>", "");
    assert!(page.contains("id=\"spectra\"") && page.contains("encoder.layer.2.attention.self.value"));
    assert!(
        !page.contains("<script") && !page.contains("http://") && !page.contains("https://"),
        "it needs no network"
    );
    // A page of kindling's is replaced.
    project.run(&["inspect", "first", "second", "--html", "page.html"]).done();
    assert!(project.read("page.html").contains("id=\"pair\""));
    project.run(&["inspect", "first", "--html", "run.toml"]).refused(
        "error: run.toml is in the way: it is no page of kindling's\nhelp: name another file with --html FILE",
    );
    assert!(project.read("run.toml").starts_with("output_dir"));
    project.run(&["inspect", "first", "--html", "nowhere/page.html"]).refused(
        "error: cannot write nowhere/page.html: entity not found\n\
         help: make the place writable, or name another file with --html FILE",
    );
    project.run(&["inspect", "bert", "--html", "page.html"]).refused(
        "error: `--html` shows an adapter, and bert is none\nhelp: leave it out; of a run `kindling report` makes a page",
    );
}

#[test]
fn two_adapters_are_compared_by_angles_and_cosines() {
    let project = with_two();
    let same = inspect(&project, &["first", "first"]);
    assert!((same["cosine"].as_f64().unwrap() - 1.0).abs() < 1e-12, "{same}");
    for module in same["modules"].as_array().unwrap() {
        for side in ["output_angles", "input_angles"] {
            assert!(numbers(&module[side]).len() == 4 && numbers(&module[side]).iter().all(|angle| *angle < 1e-4));
        }
    }
    let (left, right) = (inspect(&project, &["first", "second"]), inspect(&project, &["second", "first"]));
    assert_eq!(left["adapters"], json!(["first", "second"]));
    let [of_left, of_right] = [&left, &right].map(|document| document["modules"].as_array().unwrap().clone());
    assert_eq!(of_left.len(), 2);
    for (left, right) in of_left.iter().zip(&of_right) {
        assert!((left["cosine"].as_f64().unwrap() - right["cosine"].as_f64().unwrap()).abs() < 1e-12);
        assert!(distance(&numbers(&left["input_angles"]), &numbers(&right["input_angles"])) < 1e-6);
        // Spaces of four of 48 dimensions, drawn at random, lie far apart.
        assert!(numbers(&left["output_angles"])[0] > 30.0, "{left}");
    }
    let shown = project.run(&["inspect", "first", "second"]).done().stdout;
    assert!(shown.starts_with("cosine of all updates "), "{shown}");

    // Of all updates what one of them alone adapts is a part too.
    let project = project.copy("../factors/elsewhere", "elsewhere");
    let both = inspect(&project, &["first", "elsewhere"]);
    assert_eq!(both["modules"].as_array().unwrap().len(), 1);
    assert_eq!(both["only_second"], json!(["bert.encoder.layer.0.attention.self.key"]));
    let norms = |adapter: &str| -> Vec<f64> {
        let document = inspect(&project, &[adapter]);
        document["updates"].as_array().unwrap().iter().map(|it| it["frobenius"].as_f64().unwrap()).collect()
    };
    let length = |norms: &[f64]| norms.iter().map(|norm| norm * norm).sum::<f64>().sqrt();
    let (first, second) = (norms("first"), norms("elsewhere"));
    // In both the shared module is the last.
    let shared = both["modules"][0]["cosine"].as_f64().unwrap() * first[1] * second[1];
    let expected = shared / (length(&first) * length(&second));
    assert!((both["cosine"].as_f64().unwrap() - expected).abs() < 1e-9, "{both} {expected}");
    let shown = project.run(&["inspect", "first", "elsewhere"]).done().stdout;
    assert!(shown.ends_with("1 module of elsewhere alone: bert.encoder.layer.0.attention.self.key\n"), "{shown}");
}

#[test]
fn a_cut_adapter_keeps_what_it_says_and_one_cut_by_nothing_answers_as_before() {
    let project = with_classifier();
    let expected = logits(&project, "adapter");
    project.run(&["resize", "adapter", "--energy", "1", "-o", "whole"]).done();
    assert!(distance(&logits(&project, "whole"), &expected) < 1e-5);
    let mut shares = Vec::new();
    for rank in 1..4 {
        let output = format!("rank-{rank}");
        let cut =
            project.run(&["resize", "adapter", "--rank", &rank.to_string(), "-o", &output, "--json"]).done().document();
        assert!(cut["modules"].as_array().unwrap().iter().all(|module| module["rank"] == rank));
        let inspected = inspect(&project, &[&output]);
        assert_eq!((&inspected["r"], &inspected["alpha"]), (&json!(rank), &json!(f64::from(rank))));
        // What is kept is what is there.
        let energy = |document: &Value| -> f64 {
            document["updates"].as_array().unwrap().iter().map(|it| it["frobenius"].as_f64().unwrap().powi(2)).sum()
        };
        let share = energy(&inspected) / energy(&inspect(&project, &["adapter"]));
        assert!((share - cut["kept"].as_f64().unwrap()).abs() < 1e-6, "{cut}");
        assert!(distance(&logits(&project, &output), &expected) > 1e-3, "{rank}");
        shares.push(share);
    }
    assert!(shares.windows(2).all(|pair| pair[0] < pair[1]) && shares[2] < 0.999, "{shares:?}");
    // The head is kept.
    assert_eq!(inspect(&project, &["rank-1"])["tensors"]["classifier.weight"], json!([3, 48]));
    assert_eq!(project.names("whole"), ["README.md", "adapter_config.json", "adapter_model.safetensors"]);
}

#[test]
fn ranks_by_energy_differ_and_are_written_as_patterns() {
    let project = with_classifier();
    let cut = project.run(&["resize", "adapter", "--energy", "0.85", "-o", "cut", "--json"]).done().document();
    let modules = cut["modules"].as_array().unwrap();
    assert!(modules.iter().all(|module| module["kept"].as_f64().unwrap() >= 0.85), "{cut}");
    let config: Value = serde_json::from_str(&project.read("cut/adapter_config.json")).unwrap();
    assert_eq!(config["rank_pattern"], config["alpha_pattern"]);
    assert!(!config["rank_pattern"].as_object().unwrap().is_empty(), "{config}");
    assert_eq!((&config["target_modules"], &config["use_rslora"]), (&json!(["query", "value"]), &json!(false)));
    for update in inspect(&project, &["cut"])["updates"].as_array().unwrap() {
        let module = modules.iter().find(|module| module["module"] == update["module"]).unwrap();
        assert_eq!(numbers(&update["singular_values"]).len() as u64, module["rank"].as_u64().unwrap());
    }
}

#[test]
fn the_cost_of_a_change_is_shown_on_a_file() {
    let project = with_classifier();
    let arguments = ["resize", "adapter", "--rank", "1", "-o", "cut", "--data", "train.jsonl", "--json"];
    let scores = project.run(&arguments).done().document()["scores"].clone();
    assert_eq!(scores["examples"], 32);
    for (name, adapter) in [("before", "adapter"), ("after", "cut")] {
        let eval = ["eval", "--model", "bert", "--adapter", adapter, "--data", "train.jsonl", "--json"];
        let expected = project.run(&eval).done().document();
        for score in ["loss", "accuracy"] {
            assert_eq!(scores["of"][name][score], expected[score], "{name}");
        }
    }
    let shown = project.run(&["combine", "adapter", "cut", "-o", "both", "--data", "train.jsonl"]).done().stdout;
    assert!(shown.contains("\n32 examples       adapter        cut   combined\nloss "), "{shown}");
}

#[test]
fn combinations_are_saved_for_peft_and_have_the_updates_they_should() {
    let project = with_two();
    let combine = |output: &str, arguments: &[&str]| {
        project.run(&[&["combine", "first", "second", "-o", output], arguments].concat()).done();
        let config: Value = serde_json::from_str(&project.read(&format!("{output}/adapter_config.json"))).unwrap();
        // The scaling of the second, rank-stabilised, is in its factors now.
        assert_eq!((&config["r"], &config["use_rslora"]), (&config["lora_alpha"], &json!(false)));
        (config["r"].as_u64().unwrap(), inspect(&project, &[output])["updates"].as_array().unwrap().clone())
    };
    let (rank, cat) = combine("cat", &["--method", "cat", "--weights", "0.7,0.3"]);
    assert_eq!(rank, 8);
    let (rank, svd) = combine("svd", &["--weights", "0.7,0.3", "--rank", "3"]);
    assert_eq!(rank, 3);
    for (cat, svd) in cat.iter().zip(&svd) {
        let (all, cut) = (numbers(&cat["singular_values"]), numbers(&svd["singular_values"]));
        assert!(distance(&all[..3], &cut) < 1e-5, "{all:?} {cut:?}");
    }
    let random = ["--method", "dare_ties", "--density", "0.5"];
    let (_, once) = combine("once", &random);
    let (_, again) = combine("again", &random);
    let (_, other) = combine("other", &[&random[..], &["--seed", "7"]].concat());
    assert_eq!(once, again);
    assert_ne!(once, other);
    // With a weight of nothing for one the other is left.
    let (_, alone) = combine("alone", &["--method", "linear", "--weights", "1,0"]);
    let first = inspect(&project, &["first"]);
    for (alone, first) in alone.iter().zip(first["updates"].as_array().unwrap()) {
        assert!(distance(&numbers(&alone["singular_values"]), &numbers(&first["singular_values"])) < 1e-5);
    }
}

#[test]
fn adapters_of_other_modules_are_combined_to_one_of_all_of_them() {
    let project = with_two().copy("../factors/elsewhere", "elsewhere");
    let updates = |adapter: &str| -> Vec<(String, f64)> {
        let document = inspect(&project, &[adapter]);
        let updates = document["updates"].as_array().unwrap().iter();
        updates.map(|it| (it["module"].as_str().unwrap().to_owned(), it["frobenius"].as_f64().unwrap())).collect()
    };
    let norm = |updates: &[(String, f64)], module: &str| updates.iter().find(|(name, _)| name == module).map(|it| it.1);
    project.run(&["combine", "first", "elsewhere", "--weights", "0.5,0.25", "-o", "both"]).done();
    let (first, elsewhere, both) = (updates("first"), updates("elsewhere"), updates("both"));
    assert_eq!(both.len(), 3);
    let [query, key] = ["query", "key"].map(|it| format!("bert.encoder.layer.0.attention.self.{it}"));
    for (module, of, weight) in [(&query, &first, 0.5), (&key, &elsewhere, 0.25)] {
        let (found, expected) = (norm(&both, module).unwrap(), weight * norm(of, module).unwrap());
        assert!((found - expected).abs() < 1e-5 * expected, "{module}: {found} {expected}");
    }
    let config: Value = serde_json::from_str(&project.read("both/adapter_config.json")).unwrap();
    let targets = ["0.attention.self.key", "0.attention.self.query", "1.attention.self.value"];
    assert_eq!(config["target_modules"], json!(targets));

    // Layers of one are none of the other's.
    let keys = json!([1]);
    let project = project.json("first/adapter_config.json", "layers_to_transform", keys).json(
        "first/adapter_config.json",
        "target_modules",
        json!(["bert.encoder.layer.0.attention.self.query", "value"]),
    );
    project.run(&["combine", "first", "elsewhere", "--method", "cat", "-o", "layers"]).done();
    let config: Value = serde_json::from_str(&project.read("layers/adapter_config.json")).unwrap();
    let of_last = "bert.encoder.layer.1.attention.self.value".to_owned();
    assert_eq!(
        (&config["target_modules"], &config["layers_to_transform"]),
        (&json!([key, query, of_last]), &Value::Null)
    );
    // It is loaded with its base as any other.
    project.run(&["merge", "--model", "bert", "--adapter", "layers", "--output", "merged"]).done();
}

#[test]
fn heads_that_differ_become_their_mean() {
    let project = with_classifier().tensors("adapter/adapter_model.safetensors", |_| ());
    let project = project.copy("bert-cls/adapter", "zero").json(
        "zero/adapter_config.json",
        "base_model_name_or_path",
        json!("bert"),
    );
    let project = project.tensors("zero/adapter_model.safetensors", |tensors| {
        tensors.zeros("base_model.model.classifier.weight", &[3, 48]);
        tensors.zeros("base_model.model.classifier.bias", &[3]);
    });
    project.run(&["combine", "adapter", "zero", "--method", "cat", "-o", "mean"]).done();
    // The updates are those of the one, the head is half of it: so are the logits.
    let (expected, found) = (logits(&project, "adapter"), logits(&project, "mean"));
    let half: Vec<f64> = expected.iter().map(|logit| logit / 2.0).collect();
    assert!(distance(&half, &found) < 1e-5);
    project.run(&["combine", "adapter", "zero", "--method", "cat", "--weights", "1,0.5", "-o", "sum"]).refused(
        "error: `--weights` sum to 1.5, and `classifier.bias`, which differs between the adapters, is a value and no difference\n\
         help: of values a mean is made: give weights that sum to 1",
    );
}

#[test]
fn texts_that_are_cut_off_are_told_of_as_eval_tells_of_them() {
    let long = json!({ "text": "a ".repeat(600), "label": 0 });
    let tuned = |project: Project| {
        project.copy("bert-cls/model", "tuned").tensors("tuned/model.safetensors", |tensors| {
            tensors.add_to_first("bert.encoder.layer.0.attention.self.query.weight", 1.0);
        })
    };
    let project = tuned(with_classifier().file("long.jsonl", format!("{long}\n")));
    for command in [
        &["eval", "--model", "bert", "--adapter", "adapter"][..],
        &["resize", "adapter", "--rank", "1", "-o", "cut"],
        &["combine", "adapter", "cut", "-o", "both"],
        &["extract", "--base", "bert", "--tuned", "tuned", "--rank", "2", "-o", "extracted"],
    ] {
        let ran = project.run(&[command, &["--data", "long.jsonl"]].concat()).done();
        let warnings: Vec<&str> = ran.stderr.lines().filter(|line| line.starts_with("warning: ")).collect();
        assert_eq!(warnings, ["warning: 1 text was truncated"], "{command:?}");
    }
}

#[test]
fn a_directory_without_its_name_is_named_by_no_warning() {
    let project = Project::new();
    project.train(&["--quiet"]).done();
    let project = project.tensors("bert/model.safetensors", |tensors| {
        tensors.add_to_first("bert.encoder.layer.0.attention.self.query.weight", 0.5);
    });
    let ran = project.run(&["resize", "run", "--rank", "1", "-o", "cut", "--data", "train.jsonl"]).done();
    let warnings: Vec<&str> = ran.stderr.lines().filter(|line| line.starts_with("warning: ")).collect();
    let changed = "warning: the weights of [DIR]/bert have changed since the adapter run/adapter was trained";
    assert_eq!(warnings, [changed]);
}

#[test]
fn other_weights_than_those_of_training_are_warned_of() {
    let project = Project::new().copy("bert-cls/model", "other").tensors("other/model.safetensors", |tensors| {
        tensors.add_to_first("bert.embeddings.word_embeddings.weight", 1.0);
    });
    project.train(&["--quiet"]).done();
    let warning = "warning: the adapter run/adapter was trained on other weights ([DIR]/bert) than those of other";
    for (output, command, count) in [
        ("cut", &["resize", "run", "--rank", "1"][..], 1),
        ("measured", &["resize", "run", "--rank", "1", "--data", "train.jsonl"][..], 1),
        ("both", &["combine", "run", "run"][..], 2),
    ] {
        let warned = |model: &str, output: &str| {
            let ran = project.run(&[command, &["--model", model, "-o", output]].concat()).done();
            ran.stderr.lines().filter(|line| line.starts_with("warning: ")).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(warned("other", output), vec![warning; count], "{command:?}");
        assert!(warned("bert", &format!("{output}-of-bert")).is_empty(), "{command:?}");
    }
}

#[test]
fn an_adapter_of_a_bare_encoder_fits_the_base_with_a_head() {
    let bare =
        |tensors: &mut Tensors| tensors.rename(|name| name.replace("base_model.model.bert.", "base_model.model."));
    for (fixture, base) in [("../factors/first", "bert-cls/model"), ("bert-dora/adapter", "bert-dora/model")] {
        let project = Project::new().copy(fixture, "whole").copy(fixture, "bare").copy(base, "base");
        let project = project.tensors("bare/adapter_model.safetensors", bare);
        let sizes = |adapter: &str| -> Vec<(f64, f64)> {
            let document = inspect(&project, &[adapter, "--model", "base"]);
            let updates = document["updates"].as_array().unwrap().iter();
            updates.map(|it| (it["frobenius"].as_f64().unwrap(), it["relative"].as_f64().unwrap())).collect()
        };
        assert_eq!(sizes("bare"), sizes("whole"));
    }
    let project = with_two().tensors("first/adapter_model.safetensors", bare);
    project.run(&["resize", "first", "--rank", "2", "--model", "bert", "-o", "cut"]).done();
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_told_of_a_page_as_of_every_file() {
    let project = with_two();
    let before = project.names(".");
    project.run_short_of_space(1, &["inspect", "first", "--html", "page.html"]).failed(
        "error: cannot write page.html: file too large\nhelp: free space, or name another file with --html FILE",
    );
    project.run(&["inspect", "first", "--html", "/dev/full"]).failed(
        "error: cannot write /dev/full: no storage space\nhelp: free space, or name another file with --html FILE",
    );
    assert_eq!(project.names("."), before);
}
