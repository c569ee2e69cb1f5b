//! Masked language models: adapted, trained from nothing, scored, merged; and vocabularies for them.

use serde_json::Value;

use crate::project::Project;

/// A BERT with its masked-language-model head in `bert/`, texts in `train.jsonl`.
fn project() -> Project {
    Project::new().copy("bert-mlm/model", "bert").copy("bert-mlm/data.jsonl", "train.jsonl").replace(
        "run.toml",
        "path = \"bert\"\n",
        "path = \"bert\"\ntask = \"masked-lm\"\n",
    )
}

fn evaluation(project: &Project, arguments: &[&str]) -> Value {
    project.run(&[&["eval", "--json", "--data", "train.jsonl"], arguments].concat()).done().document()
}

#[test]
fn an_adapter_is_trained_scored_and_merged() {
    let project = project().config("learning_rate = 1e-2\neval_every = 1").replace(
        "run.toml",
        "train = \"train.jsonl\"\n",
        "train = \"train.jsonl\"\nvalid = \"train.jsonl\"\n",
    );
    project.train(&[]).done();
    let lines: Vec<Value> =
        project.read("run/metrics.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let losses: Vec<f64> =
        lines.iter().filter(|line| line["event"] == "eval").map(|line| line["loss"].as_f64().unwrap()).collect();
    let best = losses.iter().copied().fold(f64::INFINITY, f64::min);
    let adapted = evaluation(&project, &["--model", "bert", "--adapter", "run/adapter"]);
    assert_eq!(adapted["loss"], best, "masks are the same at every evaluation");
    assert_eq!(adapted["perplexity"].as_f64().unwrap(), best.exp());
    assert!(adapted["token_accuracy"].is_number());

    project.run(&["merge", "--model", "bert", "--adapter", "run/adapter", "--output", "merged"]).done();
    let merged = evaluation(&project, &["--model", "merged"])["loss"].as_f64().unwrap();
    assert!((merged - best).abs() < 1e-5, "{merged} {best}");
    project.run(&["predict", "--model", "bert", "--adapter", "run/adapter", "x"]).refused(
        "error: run/adapter was trained for masked-lm, this command is for sequence-classification, token-classification, regression and multi-label-classification\n\
         help: `kindling eval` scores it",
    );
}

#[test]
fn a_model_trained_from_nothing_is_a_checkpoint_to_go_on_from() {
    let project = project()
        .replace("run.toml", "task = \"masked-lm\"\n", "task = \"masked-lm\"\nweights = \"random\"\n")
        .replace("run.toml", "[data]", "[adapter]\nmethod = \"full\"\n\n[data]")
        .without("bert/model.safetensors");
    project.train(&[]).done();
    let loss = evaluation(&project, &["--model", "run/model"])["loss"].as_f64().unwrap();
    // A guess among as many tokens as there are is worth the logarithm of their number.
    let config: Value = serde_json::from_str(&project.read("run/model/config.json")).unwrap();
    assert!((loss - config["vocab_size"].as_f64().unwrap().ln()).abs() < 0.5, "{loss}");
    assert_eq!(config["architectures"], serde_json::json!(["BertForMaskedLM"]));

    let classify = "output_dir = \"classifier\"\n[model]\npath = \"run/model\"\n[data]\ntrain = \"labelled.jsonl\"\n[train]\nmax_steps = 2\n";
    let project = project.copy("bert-cls/data.jsonl", "labelled.jsonl").file("classify.toml", classify);
    project.run(&["train", "classify.toml"]).done();
}

#[test]
fn losses_of_examples_add_up_to_that_of_the_file() {
    let project = project();
    let whole = evaluation(&project, &["--model", "bert", "--per-example", "each.jsonl", "--logits"]);
    let each: Vec<Value> = project.read("each.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let targets = |line: &Value| line["tokens"].as_f64().unwrap();
    let sum: f64 = each.iter().map(|line| line["loss"].as_f64().unwrap() * targets(line)).sum();
    let count: f64 = each.iter().map(targets).sum();
    assert_eq!(whole["tokens"], count as u64);
    assert!((sum / count - whole["loss"].as_f64().unwrap()).abs() < 1e-6);
    assert!(each.iter().all(|line| line["logits"].as_array().unwrap().len() > 100), "of the whole vocabulary");
}

#[test]
fn what_means_nothing_to_the_task_is_refused() {
    for (set, expected) in [
        (
            "model.weights=random",
            "an adapter on random weights could never be used again, for they are not kept\n\
             help: set `adapter.method = \"full\"` to train a model from nothing",
        ),
        (
            "train.best=accuracy",
            "task `masked-lm` has no score `accuracy`\nhelp: choose by `loss`, or leave it at `auto`",
        ),
        (
            "data.label=label",
            "task `masked-lm` has no key `label`\n\
             help: remove it, or set a `model.task` that has it: sequence-classification, regression, multi-label-classification",
        ),
        (
            "adapter.method=none",
            "method `none` trains the classification head alone, and task `masked-lm` has none\n\
             help: set `adapter.method` to `lora` or `full`",
        ),
        (
            "data.mask_probability=1",
            "found `1`, expected a number greater than 0 and below 1\nhelp: the default is `mask_probability = 0.15`",
        ),
    ] {
        project().train(&["--set", set]).refused(&format!("error: `--set {set}`: {expected}"));
    }
    let set = "data.mask_probability=0.3";
    Project::new().train(&["--set", set]).refused(&format!(
        "error: `--set {set}`: task `sequence-classification` has no key `mask_probability`\n\
         help: remove it, or set a `model.task` that has it: masked-lm"
    ));
}

#[test]
fn the_tied_output_layer_cannot_be_saved_apart() {
    project().train(&["--set", "adapter.modules_to_save=[\"predictions\"]"]).refused(
        "error: `adapter.modules_to_save`: `cls.predictions.decoder` is tied to the word embeddings, so it has no weight of its own to save\n\
         help: leave it out of `adapter.modules_to_save`, or train all tensors with `adapter.method = \"full\"`",
    );
}

#[test]
fn a_base_without_the_head_is_refused_by_lora() {
    let project =
        project().tensors("bert/model.safetensors", |tensors| tensors.remove(|name| name.starts_with("cls.")));
    project.train(&[]).refused(
        "error: [DIR]/bert has no trained masked-language-model head (no cls.predictions.transform.dense.weight, cls.predictions.transform.dense.bias, cls.predictions.transform.LayerNorm.weight, cls.predictions.transform.LayerNorm.bias, cls.predictions.bias)\n\
         help: start from a checkpoint that was saved with it, or train one in full with `adapter.method = \"full\"`",
    );
}

#[test]
fn texts_and_tokenizers_without_anything_to_mask_are_refused() {
    project().file("train.jsonl", "{\"text\": \"[MASK]\"}\n").train(&[]).refused(
        "error: [DIR]/train.jsonl, line 1: the text has no token that could be masked\n\
         help: remove the row, or write text into it",
    );
    let project = project();
    let bytes = ["tokenizer", "train.jsonl", "--kind", "bpe", "--vocab-size", "300", "-o", "bytes"];
    project.run(&bytes).done();
    for file in ["config.json", "model.safetensors"] {
        std::fs::copy(project.path("bert").join(file), project.path("bytes").join(file)).unwrap();
    }
    project.train(&["--set", "model.path=\"bytes\""]).refused(
        "error: the tokenizer of [DIR]/bytes has no mask token\n\
         help: masked language modelling needs the tokenizer of an encoder, such as BERT or RoBERTa",
    );
}

#[test]
fn a_vocabulary_is_trained_on_the_column_of_a_file() {
    let project = Project::new().file("texts.csv", "id,review\n1,the cat sat on the mat\n2,the dog sat on the log\n");
    let arguments =
        ["tokenizer", "texts.csv", "--set", "data.text=review", "--kind", "wordpiece", "--vocab-size", "30"];
    project.run(&[&arguments[..], &["-o", "vocabulary"]].concat()).done();
    let tokenizer: Value = serde_json::from_str(&project.read("vocabulary/tokenizer.json")).unwrap();
    assert_eq!(tokenizer["model"]["vocab"].as_object().unwrap().len(), 30);
    project.run(&[&arguments[..], &["-o", "vocabulary"]].concat()).refused(
        "error: vocabulary has a tokenizer.json already\nhelp: name another directory with --output, or remove it",
    );
    project
        .run(&["tokenizer", "texts.csv", "--kind", "bpe", "--vocab-size", "300", "-o", "v"])
        .refused("error: texts.csv has no column `text` (columns: id, review)\nhelp: set `data.text` to one of these columns: id, review");
}

#[test]
fn a_corpus_too_small_for_its_vocabulary_says_how_large_it_may_be() {
    let project = Project::new().file("texts.txt", "the cat sat on the mat\n\nthe dog sat on the log\n");
    let tokenizer = |size: &str| {
        project.run(&["tokenizer", "texts.txt", "--kind", "wordpiece", "--vocab-size", size, "-o", "vocabulary"])
    };
    let ran = tokenizer("9000");
    let expected = "error: the texts give a vocabulary of ";
    assert!(
        ran.stderr.starts_with(expected) && ran.stderr.contains("not of 9000\nhelp: ask for at most "),
        "{}",
        ran.stderr
    );
    assert_eq!(ran.status, Some(2));
    let ran = tokenizer("9");
    assert!(ran.stderr.starts_with("error: a vocabulary of 9 has no room for 5 special tokens and "), "{}", ran.stderr);
    assert_eq!(ran.status, Some(2));
    assert!(!project.path("vocabulary").exists());
}

#[test]
fn the_share_of_masks_goes_with_the_adapter() {
    let project = project().config("epochs = 1").replace(
        "run.toml",
        "train = \"train.jsonl\"\n",
        "train = \"train.jsonl\"\nvalid = \"train.jsonl\"\nmask_probability = 0.5\n",
    );
    project.train(&[]).done();
    let logged = project.read("run/metrics.jsonl");
    let logged = logged.lines().rfind(|line| line.contains("\"eval\"")).unwrap();
    let logged: Value = serde_json::from_str(logged).unwrap();
    let of_run = project.run(&["eval", "--run", "run", "--json"]).done().document();
    assert_eq!(of_run["loss"], logged["loss"]);
    let other = ["--model", "bert", "--adapter", "run/adapter", "--set", "data.mask_probability=0.15"];
    assert!(evaluation(&project, &other)["tokens"].as_u64() < of_run["tokens"].as_u64());
    assert!(project.read("run/report.html").contains("trained parameters"));
}

#[test]
fn a_text_without_anything_to_mask_has_no_score() {
    let project = project().file("blank.jsonl", "{\"text\": \"[MASK]\"}\n");
    project.run(&["eval", "--model", "bert", "--data", "blank.jsonl"]).refused(
        "error: blank.jsonl, line 1: the text has no token that could be masked\n\
         help: remove the row, or write text into it",
    );
}

#[test]
fn an_adapter_of_another_task_is_no_start() {
    let project = project();
    project.train(&[]).done();
    let project = project.replace("run.toml", "task = \"masked-lm\"\n", "").copy("bert-cls/data.jsonl", "train.jsonl");
    let sets = ["--set", "adapter.init_from=run/adapter", "--set", "output_dir=other"];
    project.train(&sets).refused(
        "error: `--set adapter.init_from=run/adapter`: the adapter was trained for masked-lm, the run is for sequence-classification\n\
         help: set `model.task` to its task, or start without `adapter.init_from`",
    );
}
