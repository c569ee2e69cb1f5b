//! Output layers and embeddings of a checkpoint's or an adapter's own, by commands: trained, scored, merged, saved again.

use burn::tensor::DType;
use serde_json::{Value, json};

use crate::project::Project;
use crate::project::tensors::Tensors;

const BASE: &str = "base/model.safetensors";
const WORDS: &str = "model.embed_tokens.weight";
const OUTPUT: &str = "lm_head.weight";
const CONFIG: &str = "output_dir = \"run\"\n[model]\npath = \"base\"\ntask = \"causal-lm\"\n[data]\ntrain = \"rows.jsonl\"\n\
                      valid = \"rows.jsonl\"\n[train]\nmax_steps = 2\n";

/// A Llama that has an output layer, the first six rows of its case and an adapter of PEFT's for it.
fn llama() -> Project {
    let project = Project::new()
        .copy("llama-lm/model", "base")
        .copy("llama-lm/adapter", "adapter")
        .copy("llama-lm/data.jsonl", "all.jsonl")
        .file("run.toml", CONFIG);
    let rows: String = project.read("all.jsonl").lines().take(6).map(|line| format!("{line}\n")).collect();
    project.file("rows.jsonl", rows)
}

/// Its `config.json` calls it tied.
fn called_tied() -> Project {
    llama().json("base/config.json", "tie_word_embeddings", json!(true))
}

fn ids(project: &Project, model: &[&str]) -> Value {
    let arguments = ["generate", "--prompt", "sings honest but dull", "--max-new-tokens", "8", "--quiet"];
    project.run(&[&arguments, model].concat()).done().lines()[0]["token_ids"].clone()
}

#[track_caller]
fn close(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-4 * expected, "{found} {expected}");
}

fn config(project: &Project, directory: &str) -> Value {
    serde_json::from_str(&project.read(&format!("{directory}/config.json"))).unwrap()
}

/// Adds the tensor `name` of the base to the adapter, with one row changed and one more.
fn own(project: Project, name: &str, [row, new]: [f32; 2]) -> Project {
    let base = Tensors::read(&project.path(BASE));
    let in_file = format!("base_model.model.{name}");
    project.tensors("adapter/adapter_model.safetensors", |tensors| {
        tensors.take_from(&base, name, &in_file);
        tensors.fill_row(&in_file, 7, row);
        tensors.add_rows(&in_file, &[new]);
    })
}

#[test]
fn texts_and_losses_are_those_of_the_output_layer_in_the_checkpoint() {
    const ADAPTED: [&str; 4] = ["--model", "base", "--adapter", "adapter"];
    // Transformers 5.24 and PEFT 0.21.2, of the same tensors in each type.
    let types = [
        (None, 6.078_726, 6.124_709),
        (Some(DType::BF16), 6.080_204, 6.125_573),
        (Some(DType::F16), 6.078_74, 6.124_719),
    ];
    for (dtype, of_base, adapted) in types {
        let project = called_tied();
        let project = match dtype {
            Some(dtype) => project.tensors(BASE, |tensors| tensors.round(dtype)),
            None => project,
        };
        assert_eq!(ids(&project, &ADAPTED[..2]), json!([320, 98, 320, 98, 122, 243, 205, 112]), "{dtype:?}");
        assert_eq!(ids(&project, &ADAPTED), json!([320, 98, 122, 187, 320, 99, 247, 201]), "{dtype:?}");
        close(project.loss("rows.jsonl", &ADAPTED[..2]), of_base);
        close(project.loss("rows.jsonl", &ADAPTED), adapted);
    }
}

#[test]
fn merging_keeps_every_tensor_of_the_base_to_the_byte_that_the_adapter_does_not_touch() {
    let project = called_tied().tensors(BASE, |tensors| {
        tensors.zeros_of(safetensors::Dtype::I64, "model.layers.0.self_attn.rotary_emb.inv_freq", &[4]);
        tensors.zeros("score.weight", &[3, 32]);
    });
    project.run(&["merge", "--model", "base", "--adapter", "adapter", "--output", "merged"]).done();
    let (base, merged) = (Tensors::read(&project.path(BASE)), Tensors::read(&project.path("merged/model.safetensors")));
    assert_eq!(base.names().collect::<Vec<_>>(), merged.names().collect::<Vec<_>>());
    let changed = base.differing(&merged);
    assert!(
        changed.iter().all(|name| name.ends_with("q_proj.weight") || name.ends_with("v_proj.weight")),
        "{changed:?}"
    );
    assert_eq!(changed.len(), 4);
    assert_eq!(config(&project, "merged")["tie_word_embeddings"], json!(false));
    assert_eq!(ids(&project, &["--model", "merged"]), json!([320, 98, 122, 187, 320, 99, 247, 201]));
    // In another type each value is that of the base, rounded once.
    let arguments = ["merge", "--model", "base", "--adapter", "adapter", "--output", "half", "--dtype", "bf16"];
    project.run(&[&arguments[..], &["--max-shard-size", "40KB"]].concat()).done();
    close(project.loss("rows.jsonl", &["--model", "half"]), 6.124_808);
}

#[test]
fn training_is_that_of_the_model_that_the_checkpoint_has() {
    for method in ["lora", "full"] {
        let steps = |project: &Project| {
            project.train(&["--quiet", "--set", &format!("adapter.method={method}")]).done();
            let lines = project.read("run/metrics.jsonl");
            let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
            lines.map(|line| (line["loss"].clone(), line["grad_norm"].clone())).collect::<Vec<_>>()
        };
        let (called_tied, llama) = (called_tied(), llama());
        assert_eq!(steps(&called_tied), steps(&llama), "{method}");
        if method == "full" {
            assert_eq!(config(&called_tied, "run/model")["tie_word_embeddings"], json!(false));
            let [found, expected] =
                [&called_tied, &llama].map(|it| Tensors::read(&it.path("run/model/model.safetensors")));
            assert_eq!(found.bytes(OUTPUT), expected.bytes(OUTPUT));
            assert_ne!(found.bytes(OUTPUT), found.bytes(WORDS));
        }
    }
}

#[test]
fn an_untied_masked_language_model_trained_in_full_is_read_as_it_was_trained() {
    let config = "output_dir = \"run\"\n[model]\npath = \"base\"\ntask = \"masked-lm\"\n[adapter]\nmethod = \"full\"\n\
                  [data]\ntrain = \"rows.jsonl\"\n[train]\nmax_steps = 2\n";
    let (words, output) = ("bert.embeddings.word_embeddings.weight", "cls.predictions.decoder.weight");
    let project = Project::new().copy("bert-mlm/model", "base").copy("bert-mlm/data.jsonl", "rows.jsonl");
    let project = project.file("run.toml", config).tensors(BASE, |tensors| {
        tensors.copy(words, output);
        tensors.fill_row(output, 7, 0.5);
    });
    project.train(&["--quiet"]).done();
    let saved = Tensors::read(&project.path("run/model/model.safetensors"));
    assert_ne!(saved.bytes(output), saved.bytes(words));
    // Without ties Transformers reads the bias where the layer is.
    assert_eq!(saved.bytes("cls.predictions.decoder.bias"), saved.bytes("cls.predictions.bias"));
}

#[test]
fn embeddings_of_an_adapter_go_into_the_merged_checkpoint_with_their_vocabulary() {
    let project = own(own(llama(), WORDS, [0.5, 0.1]), OUTPUT, [0.25, 0.3]);
    let adapted = project.loss("rows.jsonl", &["--model", "base", "--adapter", "adapter"]);
    project.run(&["merge", "--model", "base", "--adapter", "adapter", "--output", "merged"]).done();
    assert_eq!(config(&project, "merged")["vocab_size"], json!(341));
    let (adapter, merged) = (
        Tensors::read(&project.path("adapter/adapter_model.safetensors")),
        Tensors::read(&project.path("merged/model.safetensors")),
    );
    for name in [WORDS, OUTPUT] {
        assert_eq!(merged.bytes(name), adapter.bytes(&format!("base_model.model.{name}")), "{name}");
    }
    close(project.loss("rows.jsonl", &["--model", "merged"]), adapted);
}

#[test]
fn embeddings_of_an_adapter_to_start_from_stay_as_they_are_and_are_saved_again() {
    let project = own(own(llama(), WORDS, [0.5, 0.1]), OUTPUT, [0.25, 0.3]);
    let project = project.replace("run.toml", "[data]", "[adapter]\ninit_from = \"adapter\"\n[data]");
    project.train(&["--quiet"]).done();
    let [before, after] =
        ["adapter", "run/adapter"].map(|it| Tensors::read(&project.path(&format!("{it}/adapter_model.safetensors"))));
    assert_eq!(before.names().collect::<Vec<_>>(), after.names().collect::<Vec<_>>());
    let changed = before.differing(&after);
    assert!(changed.len() > 1 && changed.iter().all(|name| name.contains(".lora_")), "{changed:?}");
}

#[test]
fn embeddings_that_do_not_fit_are_refused() {
    let with = |project: Project, name: &str, rows: usize, columns: usize| {
        let project = project.tensors("adapter/adapter_model.safetensors", |tensors| {
            tensors.zeros(&format!("base_model.model.{name}"), &[rows, columns]);
        });
        project.run(&["generate", "--model", "base", "--adapter", "adapter", "--prompt", "x"])
    };
    let shape = |name: &str, found: &str, expected: &str| {
        format!(
            "error: adapter/adapter_model.safetensors: `base_model.model.{name}` has {found}, the model asks for {expected}\n\
             help: the adapter was made for another model, or for another number of labels or tokens"
        )
    };
    // More tokens at one end than at the other, and another width.
    with(llama(), WORDS, 342, 32).refused(&shape(WORDS, "[342, 32]", "[340, 32]"));
    with(llama(), OUTPUT, 342, 32).refused(&shape(OUTPUT, "[342, 32]", "[340, 32]"));
    with(llama(), WORDS, 340, 16).refused(&shape(WORDS, "[340, 16]", "[340, 32]"));
    with(own(llama(), OUTPUT, [0.5, 0.1]), WORDS, 342, 32).refused(&shape(OUTPUT, "[341, 32]", "[342, 32]"));
    with(llama(), "model.norm.weight", 32, 1).refused(
        "error: adapter/adapter_model.safetensors does not fit the model:\n\
         \x20\x20not used by the model:\n\
         \x20\x20  base_model.model.model.norm.weight\n\
         help: the adapter was made for another model or with other settings than its adapter_config.json says",
    );
}

#[test]
fn ends_of_a_tied_model_that_an_adapter_has_apart_without_saying_so_are_refused() {
    let project = Project::new().copy("gpt2-lm/model", "base").copy("gpt2-lm/adapter", "adapter");
    let base = Tensors::read(&project.path(BASE));
    let project = project.tensors("adapter/adapter_model.safetensors", |tensors| {
        for (name, row) in [("transformer.wte.weight", 3), ("lm_head.weight", 4)] {
            let name = format!("base_model.model.{name}");
            tensors.take_from(&base, "transformer.wte.weight", &name);
            tensors.fill_row(&name, row, 0.5);
        }
    });
    project.run(&["generate", "--model", "base", "--adapter", "adapter", "--prompt", "x"]).refused(
        "error: adapter/adapter_model.safetensors: `base_model.model.transformer.wte.weight` and `base_model.model.lm_head.weight` differ, and to this model they are one tensor\n\
         help: the output layer of the model is tied to its word embeddings, that of the model the adapter was trained on was not: give that one",
    );
}

#[test]
fn targets_beside_an_adapter_to_start_from_are_compared_by_what_they_match() {
    let project = llama().replace("run.toml", "[data]", "[adapter]\ntarget_modules = \"all-linear\"\n[data]");
    project.train(&["--quiet"]).done();
    std::fs::rename(project.path("run/adapter"), project.path("all")).unwrap();
    let dry = |project: &Project, targets: &str| {
        let keys = format!("target_modules = {targets}\ninit_from = \"all\"\n");
        let text = project.read("run.toml");
        let (before, rest) = text.split_once("[adapter]\n").unwrap();
        let rest = &rest[rest.find("[data]").unwrap()..];
        std::fs::write(project.path("run.toml"), format!("{before}[adapter]\n{keys}{rest}")).unwrap();
        project.train(&["--dry-run", "--set", "output_dir=other"])
    };
    let seven = "[\"v_proj\", \"q_proj\", \"o_proj\", \"k_proj\", \"up_proj\", \"gate_proj\", \"down_proj\"]";
    for same in ["\"all-linear\"", seven, "'.*\\.(self_attn|mlp)\\.\\w+_proj'"] {
        dry(&project, same).done();
    }
    for other in ["\"auto\"", "[\"q_proj\"]", "'.*self_attn\\..*'"] {
        let ran = dry(&project, other);
        assert_eq!(ran.status, Some(2), "{other}");
        assert!(
            ran.stderr.starts_with("error: `adapter.target_modules` in run.toml, line "),
            "{other}: {}",
            ran.stderr
        );
    }
    // A name that no module has is a mistake, whatever the others come to.
    let typo = seven.replace(']', ", \"q_porj\"]");
    assert_eq!(dry(&project, &typo).status, Some(2));
}
