//! What a run computes: accumulation to the target, numbers that break, stopping early, and where the best adapter
//! comes from.

mod causal_lm;

use kernels::Simd;
use serde_json::Value;

use crate::project::Project;

/// A project whose model drops out as a real one does, of 30 examples: with eight a step the last window is smaller.
fn dropping_out() -> Project {
    let project = Project::new().json("bert/config.json", "hidden_dropout_prob", 0.1.into()).json(
        "bert/config.json",
        "attention_probs_dropout_prob",
        0.1.into(),
    );
    let thirty: String = project.read("train.jsonl").lines().take(30).map(|line| format!("{line}\n")).collect();
    project.file("train.jsonl", thirty)
}

fn events(project: &Project, run: &str, event: &str) -> Vec<Value> {
    let lines = project.read(&format!("{run}/metrics.jsonl"));
    let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["event"] == event).collect()
}

fn numbers(events: &[Value], key: &str) -> Vec<f64> {
    events.iter().map(|event| event[key].as_f64().unwrap()).collect()
}

#[test]
fn four_accumulated_batches_of_two_train_as_one_of_eight() {
    let project = dropping_out();
    let arguments = ["--set", "train.max_steps=0", "--set", "train.epochs=3", "--set", "train.learning_rate=1e-2"];
    let at_once = ["--set", "train.batch_size=8", "--set", "output_dir=once"];
    let accumulated =
        ["--set", "train.batch_size=2", "--set", "train.grad_accumulation=4", "--set", "output_dir=accumulated"];
    project.train(&[&arguments[..], &at_once].concat()).done();
    project.train(&[&arguments[..], &accumulated].concat()).done();

    let (left, right) = (events(&project, "once", "step"), events(&project, "accumulated", "step"));
    assert_eq!(left.len(), 12);
    assert_eq!(numbers(&left, "examples"), [8.0, 8.0, 8.0, 6.0].repeat(3));
    for key in ["examples", "tokens", "learning_rate"] {
        assert_eq!(numbers(&left, key), numbers(&right, key), "{key}");
    }
    for key in ["loss", "grad_norm"] {
        for (step, (left, right)) in numbers(&left, key).into_iter().zip(numbers(&right, key)).enumerate() {
            // The same sums in another order, carried through twelve steps of AdamW.
            assert!((left - right).abs() < 2e-5 * left.abs().max(1.0), "{key} of step {}: {left} {right}", step + 1);
        }
    }
    let losses = numbers(&left, "loss");
    assert!(losses[..4] != losses[4..8], "the adapter must change, or this test says nothing");
}

#[test]
fn a_loss_that_is_no_number_stops_the_run_and_names_the_examples() {
    // The word in line 18 alone has an embedding so large that its norm overflows: steps of four examples, in file order.
    let project = Project::new().replace("run.toml", "max_steps = 2", "shuffle = false\ncheckpoint_every = 1");
    let lines: Vec<String> = project.read("train.jsonl").lines().map(|line| line.replace("rises", "falls")).collect();
    let poisoned = lines.iter().enumerate().map(|(i, line)| match i {
        17 => "{\"text\": \"the night rises\", \"label\": 1}\n".to_string(),
        _ => format!("{line}\n"),
    });
    let project = project.file("train.jsonl", poisoned.collect::<String>());
    let rises = token_id(&project, "rises");
    let project = project.tensors("bert/model.safetensors", |tensors| {
        tensors.fill_row("bert.embeddings.word_embeddings.weight", rises, f32::MAX);
    });
    let ran = project.train(&[]);
    ran.failed(
        "[DIR]/bert (BertForSequenceClassification) on flex\n\
         32 training examples, no validation data, 3 classes\n\
         error: step 5: the loss is not a number (the example in line 18 of the training data)\n\
         help: a lower `train.learning_rate`, a warm-up or a lower `train.max_grad_norm` usually mends this; the checkpoint \
         before it is kept",
    );
    assert_eq!(project.names("run/checkpoints"), ["step-3", "step-4"]);
    assert_eq!(events(&project, "run", "step").len(), 4);
}

fn token_id(project: &Project, word: &str) -> usize {
    let tokenizer: Value = serde_json::from_str(&project.read("bert/tokenizer.json")).unwrap();
    tokenizer["model"]["vocab"][word].as_u64().expect("the word is in the vocabulary") as usize
}

#[test]
fn training_ends_when_evaluations_no_longer_improve_and_the_best_adapter_is_kept() {
    let project =
        Project::new().copy("bert-cls/data.jsonl", "valid.jsonl").replace("run.toml", "max_steps = 2", "epochs = 50");
    // A rate that soon makes things worse.
    let sets =
        ["data.valid=valid.jsonl", "train.learning_rate=0.2", "train.early_stopping_patience=3", "train.best=loss"];
    let arguments: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
    let ran = project.train(&arguments).done();
    assert!(ran.stderr.contains("stopped early: no improvement in 3 evaluations"), "{}", ran.stderr);

    let losses = numbers(&events(&project, "run", "eval"), "loss");
    let best = losses.iter().enumerate().min_by(|a, b| a.1.total_cmp(b.1)).unwrap().0;
    assert_eq!(losses.len(), best + 4, "three evaluations after the best one");
    let evaluated = project.run(&["eval", "--run", "run", "--json"]).done().document();
    let loss = evaluated["loss"].as_f64().unwrap();
    assert!((loss - losses[best]).abs() < 1e-6, "the adapter of evaluation {best} was kept: {loss} {losses:?}");
}

#[test]
fn products_in_bf16_learn_nearly_the_same_or_are_refused_with_the_reason() {
    let project = Project::new();
    project.train(&[]).done();
    let half = ["--set", "train.compute=bf16", "--set", "output_dir=half"];
    let ran = project.train(&half);
    if ran.status == Some(2) {
        let reason = match Simd::available().contains(&Simd::Avx512Bf16) {
            true => "`KINDLING_SIMD` chose vectors without products in bf16",
            false => "this processor has no products in bf16",
        };
        assert!(ran.stderr.contains(reason), "{}", ran.stderr);
        return;
    }
    ran.done();
    let [exact, rounded] = ["run", "half"].map(|run| numbers(&events(&project, run, "step"), "loss"));
    assert_ne!(exact, rounded, "the products are others");
    // Factors rounded to eight bits, in losses of a size of 1.
    let worst = exact.iter().zip(&rounded).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(worst < 2e-2, "{worst}: {exact:?} {rounded:?}");

    let full = project.train(&[&half[..], &["--set", "adapter.method=full", "--overwrite"]].concat());
    assert_eq!(full.status, Some(2));
    assert!(full.stderr.contains("`adapter.method = \"full\"` has none"), "{}", full.stderr);
}

#[test]
fn the_split_off_validation_data_are_a_share_of_each_class_and_the_same_in_eval() {
    let project = Project::new();
    let ran = project.train(&["--set", "data.valid_fraction=0.25"]).done();
    assert!(ran.stderr.contains("24 training examples, 8 validation examples, 3 classes"), "{}", ran.stderr);
    let in_training = numbers(&events(&project, "run", "eval"), "loss");
    let evaluated = project.run(&["eval", "--run", "run", "--json"]).done().document();
    assert_eq!(evaluated["examples"], 8);
    assert!((evaluated["loss"].as_f64().unwrap() - in_training[0]).abs() < 1e-6);
}
