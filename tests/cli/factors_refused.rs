//! What `resize`, `combine` and `inspect` of two adapters refuse, and that nothing is left of it.

use serde_json::json;

use crate::project::{Project, Ran};

fn with_two() -> Project {
    Project::new().copy("../factors/first", "first").copy("../factors/second", "second")
}

fn resize(project: &Project, arguments: &[&str]) -> Ran {
    let before = project.names(".");
    let ran = project.run(&[&["resize", "-o", "out"], arguments].concat());
    assert_eq!(project.names("."), before, "nothing is left");
    ran
}

fn combine(project: &Project, arguments: &[&str]) -> Ran {
    let before = project.names(".");
    let ran = project.run(&[&["combine", "-o", "out"], arguments].concat());
    assert_eq!(project.names("."), before, "nothing is left");
    ran
}

#[test]
fn ranks_and_energies_that_are_none() {
    let project = with_two();
    resize(&project, &["first", "--rank", "0"])
        .refused("error: `--rank 0` would leave nothing of the adapter\nhelp: give a rank of 1 or more");
    resize(&project, &["first", "--rank", "5"]).refused(
        "error: `--rank 5`: first has rank 4\n\
         help: choose a rank below 4, or `--energy 1` to leave out what is zero",
    );
    for energy in ["0", "-0.5", "1.5", "NaN"] {
        resize(&project, &["first", "--energy", energy]).refused(&format!(
            "error: `--energy {energy}` is no share of the energy\n\
             help: give a number above 0, and 1 at most: 0.9 keeps nine tenths of each module's"
        ));
    }
    combine(&project, &["first", "second", "--rank", "0"])
        .refused("error: `--rank 0` would leave nothing of the adapters\nhelp: give a rank of 1 or more");
    combine(&project, &["first", "second", "--rank", "9"])
        .refused("error: `--rank 9` is above what the adapters have together, 8\nhelp: give a rank of 8 at most");
}

#[test]
fn an_output_that_exists() {
    let project = with_two();
    let expected = "error: second already exists\nhelp: name a directory that does not exist yet with --output";
    project.run(&["resize", "first", "--rank", "2", "-o", "second"]).refused(expected);
    project.run(&["combine", "first", "second", "-o", "second"]).refused(expected);
    project.run(&["extract", "--base", "bert", "--tuned", "bert", "--rank", "2", "-o", "second"]).refused(expected);
}

#[test]
fn weights_and_options_that_do_not_go_with_the_method() {
    let project = with_two();
    let two = |arguments: &[&str]| combine(&project, &[&["first", "second"], arguments].concat());
    two(&["--weights", "1"]).refused(
        "error: `--weights` has 1 number for 2 adapters\n\
         help: give a number for each adapter, in their order: --weights 0.7,0.3",
    );
    two(&["--weights=-1,nan"])
        .refused("error: `--weights`: NaN is no weight\nhelp: give finite numbers: --weights 0.7,0.3");
    two(&["--weights", "0,0"])
        .refused("error: `--weights`: with 0 for every adapter nothing is left\nhelp: give one of them a weight");
    two(&["--method", "ties"]).refused(
        "error: `--method ties` needs `--density`\nhelp: give the share of the entries that stay: --density 0.5",
    );
    for density in ["0", "1.5", "-1"] {
        two(&["--method", "dare_linear", "--density", density]).refused(&format!(
            "error: `--density {density}` is no share of the entries\n\
             help: give a number above 0, and 1 at most: 0.5 keeps half of them"
        ));
    }
    for (method, option, value, which) in [
        ("cat", "--rank", "2", "svd has one"),
        ("svd", "--density", "0.5", "ties, dare_linear and dare_ties have one"),
        ("linear", "--majority-sign", "total", "ties and dare_ties have one"),
        ("linear", "--seed", "1", "dare_linear and dare_ties have one"),
    ] {
        two(&["--method", method, option, value])
            .refused(&format!("error: `--method {method}` has no `{option}`\nhelp: leave it out: {which}"));
    }
}

#[test]
fn adapters_of_other_ranks_targets_or_bases() {
    let project = with_two().copy("../factors/other", "other");
    let module = "bert.encoder.layer.0.attention.self.query";
    combine(&project, &["first", "other", "--method", "linear"]).refused(&format!(
        "error: `--method linear` needs one rank: `{module}` has 4 in first and 2 in other\n\
         help: `--method svd` and `--method cat` take any ranks, and `kindling resize` changes one"
    ));
    let file = "other/adapter_model.safetensors";
    let moved = with_two().copy("../factors/other", "other").tensors(file, |tensors| {
        tensors.zeros(&format!("base_model.model.{module}.lora_A.weight"), &[2, 40]);
    });
    combine(&moved, &["first", "other"]).refused(&format!(
        "error: `{module}` is [48, 48] in first and [48, 40] in other\n\
         help: they are adapters of different bases: combine those of one"
    ));
    moved.run(&["inspect", "other", "--model", "bert"]).refused(&format!(
        "error: `{module}.weight` is [48, 48] in bert, and [48, 40] in the adapter other\n\
         help: name the base that the adapter was trained on with --model"
    ));
    moved.run(&["inspect", "first", "other"]).refused(&format!(
        "error: `{module}` is [48, 48] in first and [48, 40] in other\n\
         help: they are adapters of different bases: compare those of one"
    ));
    let project = project.copy("bert-cls/adapter", "classifier").json(
        "classifier/adapter_config.json",
        "base_model_name_or_path",
        json!("bert"),
    );
    combine(&project, &["first", "classifier"]).refused(
        "error: classifier has `classifier.bias`, first does not\n\
         help: combine adapters with the same heads, biases and modules_to_save",
    );
    let project = project.json("second/adapter_config.json", "base_model_name_or_path", json!("another/base"));
    combine(&project, &["first", "second"]).refused(
        "error: first and second are adapters of different bases\n\
         help: combine adapters that were trained on the same weights; if they were, and only the name differs, name the base with --model",
    );
    project.run(&["combine", "first", "second", "--model", "bert", "-o", "out"]).done();
}

#[test]
fn adapters_of_other_ranks_on_other_modules() {
    let project = Project::new();
    for (output, target, rank) in [("a", "query", 4), ("b", "key", 2)] {
        let set = [
            format!("output_dir={output}"),
            format!("adapter.target_modules=[\"{target}\"]"),
            format!("adapter.r={rank}"),
        ];
        let set: Vec<&str> = set.iter().flat_map(|set| ["--set", set]).collect();
        project.run(&[&["train", "run.toml", "--quiet"], &set[..]].concat()).done();
    }
    combine(&project, &["a", "b", "--method", "ties", "--density", "0.5"]).refused(
        "error: `--method ties` needs one rank: a/adapter has 4, b/adapter has 2\n\
         help: `--method svd` and `--method cat` take any ranks, and `kindling resize` changes one",
    );
    project.run(&["combine", "a", "b", "-o", "both"]).done();
}

#[test]
fn runs_on_other_weights_of_one_name() {
    let train = |project: &Project, output: &str| {
        let set = format!("output_dir={output}");
        project.run(&["train", "run.toml", "--quiet", "--set", &set]).done();
    };
    let project = Project::new();
    train(&project, "a");
    train(&project, "b");
    // The same data and seed: the two are one.
    project.run(&["combine", "a", "b", "-o", "both"]).done();
    let project = project.tensors("bert/model.safetensors", |tensors| {
        tensors.add_to_first("bert.embeddings.word_embeddings.weight", 1.0);
    });
    train(&project, "c");
    for model in [&[][..], &["--model", "bert"]] {
        combine(&project, &[&["a", "c"], model].concat()).refused(
            "error: a/adapter and c/adapter are adapters of different bases: `base.fingerprint` in their kindling.json differs\n\
             help: combine adapters that were trained on the same weights",
        );
    }
}

#[test]
fn a_base_that_the_adapter_is_not_for() {
    let module = "bert.encoder.layer.0.attention.self.query";
    let help = "help: name the base that the adapter was trained on with --model";
    let project = with_two().copy("roberta-cls/model", "roberta").copy("../factors/other", "narrow");
    let project = project.tensors("narrow/adapter_model.safetensors", |tensors| {
        tensors.zeros(&format!("base_model.model.{module}.lora_A.weight"), &[2, 40]);
    });
    let lacks = |adapter: &str| {
        format!("error: roberta has no `{module}.weight`, which is changed by the adapter {adapter}\n{help}")
    };
    let nowhere = "error: ./nowhere has no config.json\n\
                   help: a model is a directory with config.json, model.safetensors and a tokenizer, as on the Hugging Face Hub";
    let narrow = format!("error: `{module}.weight` is [48, 48] in bert, and [48, 40] in the adapter narrow\n{help}");
    for (adapter, model, expected) in
        [("first", "roberta", &*lacks("first")), ("first", "./nowhere", nowhere), ("narrow", "bert", &*narrow)]
    {
        resize(&project, &[adapter, "--rank", "1", "--model", model]).refused(expected);
        combine(&project, &[adapter, "second", "--model", model]).refused(expected);
        project.run(&["inspect", adapter, "--model", model]).refused(expected);
    }
    // Layers that a smaller model does not have.
    let shallow = with_two().tensors("bert/model.safetensors", |tensors| {
        tensors.remove(|name| name == "bert.encoder.layer.1.attention.self.value.weight");
    });
    combine(&shallow, &["second", "first", "--model", "bert"]).refused(&format!(
        "error: bert has no `bert.encoder.layer.1.attention.self.value.weight`, which is changed by the adapter second\n{help}"
    ));
}

#[test]
fn weights_that_are_too_large() {
    let project = with_two();
    for (method, weights) in [
        (&["linear"][..], "1e308,1e308"),
        (&["cat"][..], "1e308,1e308"),
        (&["cat"][..], "1e76,1e76"),
        (&["svd"][..], "1e308,-1e308"),
        (&["svd"][..], "1e76,1e76"),
        (&["ties", "--density", "0.5"][..], "1e308,1e308"),
        (&["dare_linear", "--density", "0.5"][..], "1e308,1e308"),
        (&["dare_ties", "--density", "0.5"][..], "1e308,1e308"),
    ] {
        let weights = format!("--weights={weights}");
        combine(&project, &[&["first", "second", weights.as_str(), "--method"], method].concat()).refused(
            "error: with these weights the update of `bert.encoder.layer.0.attention.self.query` has values that are not finite\n\
             help: give smaller numbers with --weights, as in --weights 0.7,0.3",
        );
    }
}

#[test]
fn adapters_with_other_heads() {
    let project = Project::with_adapter()
        .json("adapter/adapter_config.json", "base_model_name_or_path", json!("bert"))
        .copy("bert-cls/adapter", "narrow")
        .json("narrow/adapter_config.json", "base_model_name_or_path", json!("bert"))
        .tensors("narrow/adapter_model.safetensors", |tensors| {
            tensors.zeros("base_model.model.classifier.weight", &[2, 48]);
        });
    combine(&project, &["adapter", "narrow"]).refused(
        "error: `classifier.weight` is [3, 48] in adapter and [2, 48] in narrow\n\
         help: combine adapters with the same labels",
    );
}

#[test]
fn methods_without_thin_factors_by_name() {
    let project = Project::new().copy("bert-dora/adapter", "dora");
    let help = "help: `kindling inspect dora` shows what it changes, and `kindling merge` folds it into its base";
    let what = "it is DoRA, which sets the lengths of rows after its update is added";
    resize(&project, &["dora", "--rank", "2"]).refused(&format!("error: cannot resize dora: {what}\n{help}"));
    combine(&project, &["dora", "dora"]).refused(&format!("error: cannot combine dora: {what}\n{help}"));
    project.run(&["inspect", "dora", "dora"]).refused(&format!("error: cannot compare dora: {what}\n{help}"));
    for (method, what) in [
        ("ia3", "(IA)3, which scales what is there"),
        ("bitfit", "BitFit, which trains biases"),
        ("none", "a head alone, without an update of a weight"),
    ] {
        let project = Project::new();
        project.train(&["--quiet", "--set", &format!("adapter.method={method}")]).done();
        resize(&project, &["run", "--rank", "2"]).refused(&format!(
            "error: cannot resize run/adapter: it is {what}\n\
             help: `kindling inspect run/adapter` shows what it changes, and `kindling merge` folds it into its base"
        ));
    }
}

#[test]
fn what_is_no_update_of_a_weight_cannot_be_merged_either() {
    let project = Project::new();
    project.train(&["--quiet", "--set", "adapter.method=adapter"]).done();
    let what = "it is a bottleneck adapter, a network with an activation function and no update of a weight\n\
                help: `kindling inspect run/adapter` shows what it changes; it is used as it is, beside its base, by `kindling predict` and `eval`";
    resize(&project, &["run", "--rank", "2"]).refused(&format!("error: cannot resize run/adapter: {what}"));
    combine(&project, &["run", "run"]).refused(&format!("error: cannot combine run/adapter: {what}"));
    project.run(&["inspect", "run", "run"]).refused(&format!("error: cannot compare run/adapter: {what}"));
}

#[test]
fn tensors_that_are_no_numbers_or_alone() {
    let name = "base_model.model.bert.encoder.layer.0.attention.self.query.lora_B.weight";
    let file = "first/adapter_model.safetensors";
    let project = with_two().tensors(file, |tensors| tensors.fill(name, f32::NAN));
    let expected = format!(
        "error: {file}: `{name}` has a value that is not a finite number\n\
         help: training went wrong, or the file is damaged: copy the adapter again, or train it again"
    );
    resize(&project, &["first", "--rank", "2"]).refused(&expected);
    combine(&project, &["second", "first"]).refused(&expected);
    project.run(&["inspect", "second", "first"]).refused(&expected);
    let project = with_two().tensors(file, |tensors| tensors.remove(|it| it == name));
    let a = name.replace("lora_B", "lora_A");
    resize(&project, &["first", "--rank", "2"]).refused(&format!(
        "error: first: `{a}` has no counterpart\n\
         help: a module has an A and a B: the file was cut short or renamed, copy the adapter again"
    ));
}

#[test]
fn a_place_below_a_file_is_none() {
    let project = with_two().file("file", "mine");
    for command in [
        &["resize", "first", "--rank", "2"][..],
        &["combine", "first", "second"],
        &["extract", "--base", "bert", "--tuned", "bert", "--rank", "2"],
        &["merge", "--model", "bert", "--adapter", "first"],
    ] {
        project.run(&[command, &["--output", "file/out", "--quiet"]].concat()).refused(
            "error: cannot write file/out: not a directory\n\
             help: name a directory in a place that can be written with --output",
        );
    }
    assert_eq!(project.read("file"), "mine");
}

#[cfg(unix)]
#[test]
fn a_full_disk_leaves_nothing_behind_and_everything_as_it_was() {
    let project = with_two().copy("bert-cls/model", "tuned").tensors("tuned/model.safetensors", |tensors| {
        tensors.add_to_first("bert.encoder.layer.0.attention.self.query.weight", 1.0);
    });
    let first = std::fs::read(project.path("first/adapter_model.safetensors")).unwrap();
    let before = project.names(".");
    for command in [
        &["resize", "first", "--rank", "2"][..],
        &["combine", "first", "second"],
        &["extract", "--base", "bert", "--tuned", "tuned", "--rank", "2"],
    ] {
        project.run_short_of_space(1, &[command, &["-o", "out", "--quiet"]].concat()).failed(
            "error: cannot write out/adapter_model.safetensors: File too large (os error 27)\n\
             help: free space or make the place writable; nothing that existed was touched",
        );
        assert_eq!(project.names("."), before, "{command:?}");
        assert_eq!(std::fs::read(project.path("first/adapter_model.safetensors")).unwrap(), first);
    }
}
