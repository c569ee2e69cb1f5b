//! DoRA, by commands: trained, saved in PEFT's format, inspected, merged, continued, and what is refused.

use serde_json::{Value, json};

use crate::project::Project;
use crate::project::tensors::Tensors;

/// Six steps at a rate that moves it.
const DORA: [&str; 9] = [
    "--quiet",
    "--set",
    "adapter.use_dora=true",
    "--set",
    "adapter.r=2",
    "--set",
    "train.learning_rate=0.02",
    "--set",
    "train.max_steps=6",
];

fn adapter(project: &Project, run: &str) -> Tensors {
    Tensors::read(&project.path(&format!("{run}/adapter/adapter_model.safetensors")))
}

#[test]
fn a_dora_adapter_is_saved_as_peft_writes_it_and_inspected() {
    let project = Project::new();
    let all = ["--set", "adapter.modules_to_save=[\"bert.pooler\"]", "--set", "adapter.bias=\"lora_only\""];
    project.train(&[&DORA[..], &all].concat()).done();
    let config: Value = serde_json::from_str(&project.read("run/adapter/adapter_config.json")).unwrap();
    assert_eq!((&config["use_dora"], &config["peft_type"], &config["r"]), (&json!(true), &json!("LORA"), &json!(2)));
    let shown = project.run(&["inspect", "run/adapter", "--json"]).done().document();
    assert_eq!(shown["use_dora"], json!(true));
    for (tensor, shape) in [
        ("intermediate.dense.lora_magnitude_vector", json!([96])),
        ("intermediate.dense.lora_A.weight", json!([2, 48])),
        ("intermediate.dense.lora_B.weight", json!([96, 2])),
        ("intermediate.dense.base_layer.bias", json!([96])),
    ] {
        assert_eq!(shown["tensors"][format!("bert.encoder.layer.0.{tensor}")], shape, "{tensor}");
    }
    assert_eq!(shown["tensors"]["bert.pooler.dense.weight"], json!([48, 48]));

    // The size of the whole update, for which the base is asked: that of what merging changes.
    project.run(&["merge", "--run", "run", "--output", "merged"]).done();
    let values = |directory: &str, name: &str| -> Vec<f64> {
        let tensors = Tensors::read(&project.path(&format!("{directory}/model.safetensors")));
        tensors.bytes(name).chunks(4).map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap()))).collect()
    };
    let updates = shown["updates"].as_array().unwrap();
    assert_eq!(updates.len(), 18);
    for update in updates {
        let name = format!("{}.weight", update["module"].as_str().unwrap());
        let (base, merged) = (values("bert", &name), values("merged", &name));
        let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>().sqrt();
        let moved = norm(&mut base.iter().zip(&merged).map(|(base, merged)| merged - base));
        let (found, share) = (update["frobenius"].as_f64().unwrap(), update["relative"].as_f64().unwrap());
        assert!((found - moved).abs() < 1e-4 * moved && moved > 0.001, "{name}: {found} {moved}");
        assert!((share - moved / norm(&mut base.iter().copied())).abs() < 1e-4, "{name}: {share}");
        assert_eq!(update["singular_values"].as_array().unwrap().len(), 2);
    }
}

#[test]
fn magnitudes_start_as_the_lengths_of_the_weights_rows_and_are_trained() {
    for (project, weight, [outputs, inputs], by_columns) in [
        (Project::new(), "bert.encoder.layer.0.attention.self.query.weight", [48, 48], false),
        (Project::decoder("gpt2-lm"), "transformer.h.0.mlp.c_proj.weight", [32, 128], true),
    ] {
        // So small a rate leaves them as they were but for a few last digits.
        project
            .train(&[&DORA[..], &["--set", "train.learning_rate=1e-9", "--set", "output_dir=still"]].concat())
            .done();
        project.train(&DORA).done();
        let base = Tensors::read(&project.path("bert/model.safetensors"));
        let values = |bytes: &[u8]| -> Vec<f64> {
            bytes.chunks(4).map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap()))).collect()
        };
        let of_base = values(base.bytes(weight));
        let entry =
            |output: usize, input: usize| if by_columns { input * outputs + output } else { output * inputs + input };
        let length = |output| (0..inputs).map(|input| of_base[entry(output, input)].powi(2)).sum::<f64>().sqrt();
        let name = format!("base_model.model.{}lora_magnitude_vector", weight.strip_suffix("weight").unwrap());
        let [still, trained] = ["still", "run"].map(|run| values(adapter(&project, run).bytes(&name)));
        assert_eq!(still.len(), outputs);
        for (output, (still, trained)) in still.iter().zip(&trained).enumerate() {
            let length = length(output);
            assert!((still - length).abs() < 1e-6 * length + 1e-7, "{output}: {still} {length}");
            assert!((trained - length).abs() > 1e-4 * length, "{output}: {trained} {length}");
        }
    }
}

#[test]
fn a_merged_dora_adapter_answers_as_base_and_adapter_do() {
    for project in [Project::new(), Project::decoder("gpt2-lm")] {
        project.train(&DORA).done();
        let merged = project.run(&["merge", "--run", "run", "--output", "merged"]).done();
        let (adapted, of_merged) =
            (project.loss("train.jsonl", &["--run", "run"]), project.loss("train.jsonl", &["--model", "merged"]));
        assert!((adapted - of_merged).abs() < 1e-5, "{adapted} {of_merged}");
        assert!(!merged.stdout.contains("NaN"), "{}", merged.stdout);
    }
}

#[test]
fn a_base_in_half_precision_keeps_its_type_and_has_magnitudes_in_f32() {
    for dtype in [burn::tensor::DType::BF16, burn::tensor::DType::F16] {
        let project = Project::new().tensors("bert/model.safetensors", |tensors| tensors.round(dtype));
        project.train(&DORA).done();
        let name = "base_model.model.bert.encoder.layer.0.attention.self.query.lora_magnitude_vector";
        assert_eq!(adapter(&project, "run").bytes(name).len(), 48 * 4);
        project.run(&["merge", "--run", "run", "--output", "merged", "--dtype", "f32"]).done();
        let (adapted, merged) =
            (project.loss("train.jsonl", &["--run", "run"]), project.loss("train.jsonl", &["--model", "merged"]));
        assert!((adapted - merged).abs() < 1e-5, "{adapted} {merged}");
    }
}

#[test]
fn a_start_that_is_a_part_of_the_base_goes_with_dora_and_is_saved_as_plain_dora_on_the_untouched_base() {
    for (project, weight, [outputs, inputs]) in [
        (Project::new(), "bert.encoder.layer.0.attention.self.query", [48, 48]),
        (Project::decoder("gpt2-lm"), "transformer.h.0.mlp.c_proj", [32, 128]),
    ] {
        let values = |bytes: &[u8]| -> Vec<f64> {
            bytes.chunks(4).map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap()))).collect()
        };
        let of_base = values(Tensors::read(&project.path("bert/model.safetensors")).bytes(&format!("{weight}.weight")));
        let entry = |output: usize, input: usize| {
            if outputs == inputs { output * inputs + input } else { input * outputs + output }
        };
        let length = |output| (0..inputs).map(|input| of_base[entry(output, input)].powi(2)).sum::<f64>().sqrt();
        for init in ["pissa", "pissa_niter_4", "olora"] {
            let set = format!("adapter.init={init}");
            let part = [&DORA[..], &["--overwrite", "--set", &set]].concat();
            // So small a rate leaves the magnitudes as they were: the lengths of the whole weight, not of what is left of it.
            project.train(&[&part[..], &["--set", "train.learning_rate=1e-9"]].concat()).done();
            let name = format!("base_model.model.{weight}.lora_magnitude_vector");
            let still = values(adapter(&project, "run").bytes(&name));
            for (output, still) in still.iter().enumerate() {
                let length = length(output);
                assert!((still - length).abs() < 1e-5 * length, "{init}, {output}: {still} {length}");
            }
            project.train(&part).done();
            let config: Value = serde_json::from_str(&project.read("run/adapter/adapter_config.json")).unwrap();
            let found = ["init_lora_weights", "use_dora", "r", "lora_alpha"].map(|key| config[key].clone());
            assert_eq!(json!(found), json!([true, true, 4, 64]), "{init}");
            assert_eq!(values(adapter(&project, "run").bytes(&name)).len(), outputs);

            let output = format!("merged-{init}");
            project.run(&["merge", "--run", "run", "--output", &output]).done();
            let loss = |of: [&str; 2]| project.loss("train.jsonl", &of);
            let [ours, merged] = [["--run", "run"], ["--model", &output]].map(loss);
            assert!((ours - merged).abs() < 1e-4, "{init}: {ours} {merged}");
        }
        // What is saved is an ordinary adapter of DoRA: training goes on from it.
        let further = ["--quiet", "--set", "adapter.init_from=run/adapter", "--set", "output_dir=on"];
        project.train(&further).done();
        assert!(project.read("on/config.toml").contains("init = \"default\"\n"));
    }
}

#[test]
fn training_goes_on_from_a_dora_adapter_with_its_own_settings() {
    let project = Project::new();
    project.train(&DORA).done();
    let further = ["--quiet", "--overwrite", "--set", "adapter.init_from=run/adapter", "--set", "output_dir=on"];
    project.train(&further).done();
    assert!(project.read("on/config.toml").contains("use_dora = true\n"));
    let name = "base_model.model.bert.encoder.layer.0.attention.self.query.lora_magnitude_vector";
    assert_ne!(adapter(&project, "run").bytes(name), adapter(&project, "on").bytes(name));
    project.train(&[&further[..], &["--set", "adapter.use_dora=false"]].concat()).refused(
        "error: `--set adapter.use_dora=false` is false, the adapter that `adapter.init_from` names has true\n\
         help: remove the key: the adapter's own settings are used",
    );
}

#[test]
fn what_dora_cannot_mean_is_refused() {
    Project::new().train(&["--set", "adapter.use_dora=true", "--set", "adapter.target_modules=[\"word_embeddings\"]"]).refused(
        "error: `--set adapter.target_modules=[\"word_embeddings\"]`: DoRA is on linear layers: not on `bert.embeddings.word_embeddings`\n\
         help: narrow the targets to linear layers; `adapter.modules_to_save` trains another module in full",
    );
    let tied = ["--set", "adapter.use_dora=true", "--set", "adapter.target_modules=[\"lm_head\", \"c_attn\"]"];
    for init in ["default", "pissa"] {
        let set = format!("adapter.init={init}");
        let tied = [&tied[..], &["--set", &set]].concat();
        Project::decoder("gpt2-lm").train(&tied).refused(
            "error: `--set adapter.target_modules=[\"lm_head\", \"c_attn\"]`: DoRA is on linear layers with a weight of their own, which a \
             tied output layer has not: not on `lm_head`\n\
             help: narrow the targets to linear layers; `adapter.modules_to_save` trains another module in full",
        );
    }
    Project::new().train(&["--set", "adapter.use_dora=1"]).refused(
        "error: `--set adapter.use_dora=1`: found `1`, expected true or false\nhelp: the default is `use_dora = false`",
    );
    Project::new().train(&["--set", "adapter.method=full", "--set", "adapter.use_dora=true"]).refused(
        "error: `--set adapter.use_dora=true`: method `full` has no key `use_dora`\n\
         help: remove it, or set `adapter.method = \"lora\"`",
    );
}

#[test]
fn magnitudes_that_are_missing_or_of_another_shape_are_refused() {
    let project = Project::new();
    project.train(&DORA).done();
    let name = "base_model.model.bert.encoder.layer.0.attention.self.query.lora_magnitude_vector";
    let file = "run/adapter/adapter_model.safetensors";
    let project =
        project.without_hashes("run/adapter").tensors(file, |tensors| tensors.remove(|tensor| tensor == name));
    project.run(&["eval", "--run", "run", "--data", "train.jsonl"]).refused(&format!(
        "error: run/adapter/adapter_model.safetensors does not fit the model:\n  missing:\n    {name}\n\
         help: the adapter was made for another model or with other settings than its adapter_config.json says"
    ));
    let project = project.tensors(file, |tensors| tensors.zeros(name, &[48, 1]));
    project.run(&["eval", "--run", "run", "--data", "train.jsonl"]).refused(&format!(
        "error: run/adapter/adapter_model.safetensors: `{name}` has [48, 1], expected a vector, [d_output]\n\
         help: the file is not as PEFT wrote it: copy the adapter again, or save it again without sharding"
    ));
}
