//! Losses of a classifier in training: weighted by class, smoothed. The numbers are torch's.

use serde_json::Value;

use crate::project::Project;

/// Four steps from an adapter that PEFT wrote, over eight examples each.
fn project() -> Project {
    Project::new().copy("bert-cls/init", "init").file(
        "run.toml",
        "output_dir = \"run\"\n[model]\npath = \"bert\"\n[adapter]\ninit_from = \"init\"\n[data]\ntrain = \"train.jsonl\"\n\
         [train]\nlearning_rate = 1e-3\nschedule = \"constant\"\nshuffle = false\nepochs = 1\n",
    )
}

/// Loss, and norm of the gradient, of four steps.
type Steps = [(f64, f64); 4];

/// Loss, and norm of the gradient before clipping, of each step.
fn steps(project: &Project, keys: &[&str]) -> Vec<(f64, f64)> {
    let set = |key: &&str| ["--set".to_string(), (*key).to_string()];
    let sets: Vec<String> = keys.iter().flat_map(set).collect();
    let arguments: Vec<&str> = ["--quiet", "--overwrite"].into_iter().chain(sets.iter().map(String::as_str)).collect();
    project.train(&arguments).done();
    let metrics = project.read("run/metrics.jsonl");
    let lines = metrics.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let step = |line: Value| (line["loss"].as_f64().unwrap(), line["grad_norm"].as_f64().unwrap());
    lines.filter(|line| line["event"] == "step").map(step).collect()
}

#[test]
fn weighted_and_smoothed_losses_are_those_of_torch() {
    // torch 2.15 with Transformers 5.24 and PEFT 0.21.2: `CrossEntropyLoss(weight, label_smoothing)`, AdamW.
    let weights = "data.class_weights={ LABEL_0 = 0.5, LABEL_1 = 2, LABEL_2 = 1.25 }";
    let smoothing = "train.label_smoothing=0.1";
    let cases: [(&[&str], Steps); 5] = [
        (&[], [(1.557374, 2.950614), (1.09385, 1.683404), (1.325982, 1.974201), (1.577651, 3.145202)]),
        (&[weights], [(1.259336, 1.946226), (0.738052, 1.285014), (1.128221, 1.45434), (1.431683, 2.65633)]),
        // The first is Transformers' `LabelSmoother(0.1)` too: 1.5364692.
        (&[smoothing], [(1.536469, 2.880348), (1.116348, 1.63394), (1.319274, 1.881065), (1.538297, 2.942582)]),
        (
            &[weights, smoothing],
            [(1.24589, 1.860802), (0.761384, 1.087314), (1.103827, 1.345711), (1.382882, 2.459835)],
        ),
        // scikit-learn's weights of 8, 11 and 13 rows.
        (
            &["data.class_weights=balanced"],
            [(1.606781, 3.205528), (1.188059, 2.197241), (1.342566, 1.716857), (1.583199, 2.813635)],
        ),
    ];
    let project = project();
    for (keys, expected) in cases {
        // A weighted mean is not the mean of weighted means: micro-batches of a step are divided once.
        for batches in [&[][..], &["train.batch_size=2", "train.grad_accumulation=4"]] {
            let found = steps(&project, &[keys, batches].concat());
            assert_eq!(found.len(), 4);
            for ((loss, norm), expected) in found.iter().zip(expected) {
                assert!((loss - expected.0).abs() < 1e-4 && (norm - expected.1).abs() < 1e-3, "{keys:?}: {found:?}");
            }
        }
    }
}

#[test]
fn evaluations_have_neither_weights_nor_smoothing() {
    let project = project();
    let keys = ["data.valid=train.jsonl", "data.class_weights=balanced", "train.label_smoothing=0.2"];
    steps(&project, &keys);
    let metrics = project.read("run/metrics.jsonl");
    let mut lines = metrics.lines().rev().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let evaluation = lines.find(|line| line["event"] == "eval").unwrap();
    let plain = project.run(&["eval", "--run", "run", "--data", "train.jsonl", "--json"]).done().document();
    let loss = |of: &Value| of["loss"].as_f64().unwrap();
    assert!((loss(&evaluation) - loss(&plain)).abs() < 1e-6, "{evaluation} {plain}");
    let config = project.read("run/config.toml");
    assert!(
        config.contains("class_weights = \"balanced\"\n") && config.contains("label_smoothing = 0.2\n"),
        "{config}"
    );
}

#[test]
fn weights_of_no_class_are_refused_with_the_nearest_name() {
    let config = project().read("run.toml");
    let project = project()
        .file("run.toml", config.replace("[train]", "class_weights = { LABEL_0 = 2.0, LABLE_1 = 1.5 }\n[train]"));
    project.train(&[]).refused(
        "error: `data.class_weights` in run.toml, line 8: no class is called `LABLE_1`\nhelp: did you mean `LABEL_1`?",
    );
    let expected = "expected \"balanced\", or a table from classes to finite numbers greater than 0";
    let help = "for example `class_weights = \"balanced\"`";
    for typed in ["balancd", "{ LABEL_0 = 0 }"] {
        let set = format!("data.class_weights={typed}");
        project
            .train(&["--set", &set])
            .refused(&format!("error: `--set {set}`: found `{typed}`, {expected}\nhelp: {help}"));
    }
    project.train(&["--set", "data.class_weights=balanced", "--set", "train.label_smoothing=1"]).refused(
        "error: `--set train.label_smoothing=1`: found `1`, expected a number of at least 0 and below 1\n\
         help: the default is `label_smoothing = 0.0`",
    );
    project.train(&["--set", "model.task=regression"]).refused(
        "error: `data.class_weights` in run.toml, line 8: task `regression` has no key `class_weights`\n\
         help: remove it, or set a `model.task` that has it: sequence-classification",
    );
}
