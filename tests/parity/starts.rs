//! PiSSA and OLoRA, with DoRA too: the same singular values, curves and answers as in PEFT, and PEFT's own adapters, which belong to a base
//! that has to be made of the one at hand.

use std::path::PathBuf;

use burn::tensor::Device;
use lora::{LoraConfig, Method, Plan, ThinFactors};
use model::{Frozen, Pretrained, Values};
use serde_json::{Value, json};

use super::training::{assert_answers, train};
use super::{Case, PROBES, case, values};
use crate::project::Project;

const STARTS: [&str; 6] =
    ["bert-pissa", "bert-olora", "gpt2-pissa", "bert-pissa-dora", "bert-olora-dora", "gpt2-pissa-dora"];

struct Start {
    /// Where PEFT's adapter is.
    directory: PathBuf,
    /// Of the base and the examples.
    of: PathBuf,
    expected: Value,
    labels: Option<u64>,
}

impl Start {
    fn open(name: &str) -> Self {
        let directory = case("starts").join(name).canonicalize().unwrap();
        let read = |directory: &PathBuf| -> Value {
            serde_json::from_str(&std::fs::read_to_string(directory.join("expected.json")).unwrap()).unwrap()
        };
        let expected = read(&directory);
        let of = case(expected["of"].as_str().unwrap()).canonicalize().unwrap();
        let labels = read(&of)["labels"].as_u64();
        Self { directory, of, expected, labels }
    }

    /// PEFT's settings as keys of `[adapter]`.
    fn settings(&self) -> String {
        let settings = self.expected["adapter"].as_object().unwrap();
        let inline = |value: &Value| match value {
            Value::Object(table) => {
                let entries: Vec<String> = table.iter().map(|(key, value)| format!("{key:?} = {value}")).collect();
                format!("{{ {} }}", entries.join(", "))
            }
            value => value.to_string(),
        };
        let keys = settings.iter().filter(|(key, _)| *key != "fan_in_fan_out");
        keys.map(|(key, value)| format!("{key} = {}\n", inline(value))).collect::<String>() + "dropout = 0.0"
    }

    fn method(&self) -> Method {
        let settings = &self.expected["adapter"];
        let given = |key: &str, default: Value| settings.get(key).cloned().unwrap_or(default);
        let config: LoraConfig = serde_json::from_value(json!({
            "r": settings["r"], "alpha": settings["lora_alpha"], "target_modules": settings["target_modules"],
            "rank_pattern": given("rank_pattern", json!({})), "alpha_pattern": given("alpha_pattern", json!({})),
            "use_rslora": given("use_rslora", json!(false)), "use_dora": given("use_dora", json!(false)), "init": settings["init_lora_weights"],
        }))
        .unwrap();
        Method::Lora(Box::new(config))
    }
}

#[test]
fn runs_follow_peft_and_leave_plain_adapters() {
    for name in STARTS {
        let start = Start::open(name);
        let project = train(&start.of, start.labels, &start.expected["train"], &start.settings());
        let config: Value = serde_json::from_str(&project.read("run/adapter/adapter_config.json")).unwrap();
        assert_eq!((&config["init_lora_weights"], &config["r"]), (&json!(true), &json!(8)), "{name}");
    }
}

#[test]
fn adapters_of_peft_answer_are_merged_and_trained_on() {
    for name in STARTS {
        let start = Start::open(name);
        let adapter = start.directory.join("adapter").display().to_string();
        let text = std::fs::read_to_string(start.of.join("data.jsonl")).unwrap();
        let probe: String = text.lines().take(6).map(|line| format!("{line}\n")).collect();
        let project = Project::new().file("probe.jsonl", probe);
        let after = &start.expected["train"]["after"]["logits"];
        let model = start.of.join("model").display().to_string();
        assert_answers(&project, &["--model", &model, "--adapter", &adapter], after, 1e-4);

        let inspected = project.run(&["inspect", &adapter, "--json"]).done().document();
        assert_eq!(inspected["init"], start.expected["adapter"]["init_lora_weights"]);
        assert_eq!(inspected["updates"], json!([]), "they are not what its tensors are");

        let merge = ["merge", "--model", &model, "--adapter", &adapter, "--output", "merged", "--json"];
        let merged = project.run(&merge).done().document();
        // On its base they are known: what merging changes.
        let inspected = project.run(&["inspect", &adapter, "--model", &model, "--json"]).done().document();
        let [of_base, of_merged] = [start.of.join("model"), project.path("merged")]
            .map(|directory| Pretrained::open(&directory, Pretrained::head_of(&directory).unwrap()).unwrap());
        assert!(!inspected["updates"].as_array().unwrap().is_empty());
        for update in inspected["updates"].as_array().unwrap() {
            let weight = format!("{}.weight", update["module"].as_str().unwrap());
            let [before, after] = [&of_base, &of_merged].map(|it| it.values(&weight).unwrap().unwrap());
            let squares = before.iter::<f64>().zip(after.iter::<f64>()).map(|(before, after)| (after - before).powi(2));
            let (found, moved) = (update["frobenius"].as_f64().unwrap(), squares.sum::<f64>().sqrt());
            assert!((found - moved).abs() < 1e-3 * moved, "{name}, {weight}: {found} {moved}");
        }
        assert!(merged["adapter_effect"].as_f64().unwrap() > 0.01, "{name}: {merged}");
        assert!(merged["relative_difference"].as_f64().unwrap() < 1e-3, "{name}: {merged}");
        let loss = |of: &[&str]| {
            let ran = project.run(&[&["eval", "--json", "--data", "probe.jsonl"], of].concat()).done();
            ran.document()["loss"].as_f64().unwrap()
        };
        let (ours, of_merged) = (loss(&["--model", &model, "--adapter", &adapter]), loss(&["--model", "merged"]));
        assert!((ours - of_merged).abs() < 1e-4, "{name}: {ours} {of_merged}");

        // A rate that moves nothing: what is saved is plain, and answers as what it started from.
        let task = if start.labels.is_some() { "sequence-classification" } else { "causal-lm" };
        let project = project.file(
            "on.toml",
            format!(
                "output_dir = \"on\"\n[model]\npath = {model:?}\ntask = {task:?}\n[adapter]\ninit_from = {adapter:?}\n\
                 [data]\ntrain = \"probe.jsonl\"\n[train]\nlearning_rate = 1e-12\nmax_steps = 2\n"
            ),
        );
        project.run(&["train", "on.toml"]).done();
        let config: Value = serde_json::from_str(&project.read("on/adapter/adapter_config.json")).unwrap();
        assert_eq!((&config["init_lora_weights"], &config["r"]), (&json!(true), &json!(8)), "{name}");
        assert_answers(&project, &["--model", &model, "--adapter", "on/adapter"], after, 1e-4);
    }
}

#[test]
fn a_start_changes_no_answer_and_has_the_singular_values_of_torch() {
    for name in STARTS {
        let start = Start::open(name);
        let of = Case::open(start.expected["of"].as_str().unwrap());
        let pretrained = Pretrained::open(&start.of.join("model"), of.head).unwrap();
        let load = |plan: Plan| {
            let device = Device::flex();
            pretrained.load(plan, of.labels, Frozen::AsStored, Values::Read, &device).unwrap()
        };
        let (base, _) = load(Plan::new(Method::frozen(), None, 0).unwrap());
        let (model, loaded) = load(Plan::new(start.method(), None, 0).unwrap());
        let (left, right) = (values(of.logits(&base, 0..PROBES)), values(of.logits(&model, 0..PROBES)));
        let largest = left.iter().map(|value| value.abs()).fold(1.0, f64::max);
        let worst = left.iter().zip(&right).map(|(left, right)| (left - right).abs()).fold(0.0, f64::max);
        assert!(worst < 1e-5 * largest, "{name}: {worst}");

        let expected = start.expected["singular_values"].as_object().unwrap();
        assert_eq!(loaded.plan.updates().len(), expected.len(), "{name}");
        if start.expected["adapter"]["init_lora_weights"] == "olora" {
            continue;
        }
        for update in loaded.plan.updates() {
            let ThinFactors { a, b, scale, .. } = update.form.thin_factors().unwrap();
            let [a, b] = [a, b].map(|name| loaded.plan.starts()[name].iter::<f64>().collect::<Vec<_>>());
            let expected: Vec<f64> = serde_json::from_value(expected[&update.module].clone()).unwrap();
            let rank = expected.len();
            let norm = |values: &mut dyn Iterator<Item = &f64>| values.map(|value| value * value).sum::<f64>().sqrt();
            for (n, expected) in expected.iter().enumerate() {
                let row = norm(&mut a.chunks(a.len() / rank).nth(n).unwrap().iter());
                let found = scale * row * norm(&mut b.iter().skip(n).step_by(rank));
                assert!((found - expected).abs() <= 1e-4 * expected, "{name} {}: {found} {expected}", update.module);
            }
        }
    }
}
