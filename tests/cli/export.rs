//! `kindling export`: what the files hold, by a reader of their own, and what is refused. That llama.cpp and mlx-lm compute the same with
//! them is in `docs/export.md`.

use serde_json::{Value, json};

use crate::project::gguf::{self, Gguf, floats};
use crate::project::tensors::Tensors;
use crate::project::{Project, Ran};

fn llama() -> Project {
    Project::new().copy("llama-lm/model", "llama").copy("llama-lm/adapter", "llama-adapter")
}

/// Exports to `out` with these arguments.
fn export(project: &Project, arguments: &[&str]) -> Ran {
    project.run(&[&["export", "--format", "gguf", "-o", "out", "--quiet"], arguments].concat())
}

fn exported(project: &Project, arguments: &[&str]) -> Gguf {
    export(project, arguments).done();
    let file = Gguf::read(&project.path("out"));
    std::fs::remove_file(project.path("out")).unwrap();
    file
}

fn tensor(project: &Project, file: &str, name: &str) -> Vec<f32> {
    floats(Tensors::read(&project.path(file)).bytes(name))
}

/// Rows of heads of eight coordinates as llama.cpp's `llama` has them: the two that turn together beside each other.
fn interleaved(values: &[f32], columns: usize) -> Vec<f32> {
    let order = [0, 4, 1, 5, 2, 6, 3, 7];
    let rows = values.len() / columns;
    (0..rows).flat_map(|row| values[(row / 8 * 8 + order[row % 8]) * columns..][..columns].to_vec()).collect()
}

#[test]
fn a_language_model_has_its_tensors_settings_and_tokenizer() {
    let project = llama();
    let arguments = ["export", "--model", "llama", "--format", "gguf", "-o", "llama.gguf", "--json"];
    let document = project.run(&arguments).done().document();
    let bytes = std::fs::metadata(project.path("llama.gguf")).unwrap().len();
    let expected = json!({
        "output": "llama.gguf", "format": "gguf", "dtype": "f32", "tensors": 35, "bytes": bytes, "notes": [],
    });
    assert_eq!(document, expected);
    let file = Gguf::read(&project.path("llama.gguf"));
    for (key, value) in [
        ("general.architecture", json!("llama")),
        ("general.type", json!("model")),
        ("general.name", json!("llama")),
        ("general.file_type", json!(0)),
        ("llama.block_count", json!(2)),
        ("llama.context_length", json!(128)),
        ("llama.embedding_length", json!(32)),
        ("llama.feed_forward_length", json!(64)),
        ("llama.attention.head_count", json!(4)),
        ("llama.attention.head_count_kv", json!(2)),
        ("llama.rope.dimension_count", json!(8)),
        ("llama.rope.freq_base", json!(10000.0)),
        ("tokenizer.ggml.model", json!("gpt2")),
        ("tokenizer.ggml.pre", json!("gpt-2")),
        ("tokenizer.ggml.add_bos_token", json!(true)),
        ("tokenizer.ggml.bos_token_id", json!(0)),
    ] {
        assert_eq!(file.metadata[key], value, "{key}");
    }
    let tokenizer: Value = serde_json::from_str(&project.read("llama/tokenizer.json")).unwrap();
    let tokens = file.metadata["tokenizer.ggml.tokens"].as_array().unwrap();
    assert_eq!(tokens.len(), 340);
    for (token, id) in tokenizer["model"]["vocab"].as_object().unwrap() {
        assert_eq!(tokens[id.as_u64().unwrap() as usize], *token);
    }
    let merges = file.metadata["tokenizer.ggml.merges"].as_array().unwrap();
    let first = &tokenizer["model"]["merges"][0];
    assert_eq!(merges[0], json!(format!("{} {}", first[0].as_str().unwrap(), first[1].as_str().unwrap())));
    let stored = |name: &str| tensor(&project, "llama/model.safetensors", name);
    assert_eq!(file.values("token_embd.weight"), stored("model.embed_tokens.weight"));
    assert_eq!(file.values("blk.1.ffn_down.weight"), stored("model.layers.1.mlp.down_proj.weight"));
    assert_eq!(file.values("blk.1.attn_v.weight"), stored("model.layers.1.self_attn.v_proj.weight"));
    for (name, weight) in [("attn_q", "q_proj"), ("attn_k", "k_proj")] {
        let stored = stored(&format!("model.layers.1.self_attn.{weight}.weight"));
        assert_eq!(file.values(&format!("blk.1.{name}.weight")), interleaved(&stored, 32));
    }
    assert_eq!(file.shape("blk.1.ffn_down.weight"), [32, 64]);
}

#[test]
fn with_an_adapter_it_is_what_a_merge_writes() {
    let project = llama();
    let adapter = ["--model", "llama", "--adapter", "llama-adapter"];
    project.run(&[&["merge", "--output", "merged"], &adapter[..]].concat()).done();
    let file = exported(&project, &adapter);
    for (name, weight) in [("attn_v", "v_proj"), ("attn_q", "q_proj"), ("attn_output", "o_proj")] {
        let weight = format!("model.layers.0.self_attn.{weight}.weight");
        let merged = tensor(&project, "merged/model.safetensors", &weight);
        let laid = if name == "attn_q" { interleaved(&merged, 32) } else { merged.clone() };
        assert_eq!(file.values(&format!("blk.0.{name}.weight")), laid, "{name}");
        let is_adapted = name != "attn_output";
        assert_eq!(merged != tensor(&project, "llama/model.safetensors", &weight), is_adapted, "{name}");
    }
}

/// `alpha / r * B·A` as llama.cpp adds it, `[d_output, d_input]`.
fn update(file: &Gguf, name: &str) -> Vec<f32> {
    let (a, b) = (format!("{name}.weight.lora_a"), format!("{name}.weight.lora_b"));
    let (&[rank, columns], &[rows, of_b]) = (file.shape(&a), file.shape(&b)) else {
        panic!("{name} is no pair of matrices")
    };
    assert_eq!(of_b, rank);
    let scale = file.metadata["adapter.lora.alpha"].as_f64().unwrap() / rank as f64;
    let (a, b) = (file.values(&a), file.values(&b));
    let value = |at: usize| {
        let (row, column) = (at / columns, at % columns);
        let terms = (0..rank).map(|it| f64::from(b[row * rank + it]) * f64::from(a[it * columns + column]));
        (scale * terms.sum::<f64>()) as f32
    };
    (0..rows * columns).map(value).collect()
}

#[test]
fn an_adapter_alone_adds_what_a_merge_adds_whatever_its_scale() {
    for (key, value) in
        [("lora_alpha", json!(16)), ("use_rslora", json!(true)), ("alpha_pattern", json!({ "q_proj": 3 }))]
    {
        let project = llama().json("llama-adapter/adapter_config.json", key, value);
        let adapter = ["--model", "llama", "--adapter", "llama-adapter"];
        project.run(&[&["merge", "--output", "merged"], &adapter[..]].concat()).done();
        let file = exported(&project, &[&adapter[..], &["--adapter-only"]].concat());
        assert_eq!(file.metadata["general.type"], "adapter");
        assert_eq!(file.metadata["general.architecture"], "llama");
        assert_eq!(file.metadata["adapter.type"], "lora");
        assert_eq!(file.names().len(), 8);
        for (name, weight) in [("blk.1.attn_v", "v_proj"), ("blk.1.attn_q", "q_proj")] {
            let weight = format!("model.layers.1.self_attn.{weight}.weight");
            let [base, merged] =
                ["llama", "merged"].map(|it| tensor(&project, &format!("{it}/model.safetensors"), &weight));
            let added: Vec<f32> = merged.iter().zip(&base).map(|(merged, base)| merged - base).collect();
            let added = if name == "blk.1.attn_q" { interleaved(&added, 32) } else { added };
            let largest =
                update(&file, name).iter().zip(&added).fold(0_f32, |it, (one, other)| it.max((one - other).abs()));
            assert!(largest < 1e-6, "{key}, {name}: {largest}");
        }
    }
}

#[test]
fn weights_are_of_the_type_that_is_asked_for_and_vectors_of_f32() {
    let project = llama();
    for (dtype, kind, file_type) in [("f16", gguf::F16, 1), ("bf16", gguf::BF16, 32), ("q8_0", gguf::Q8_0, 7)] {
        let file = exported(&project, &["--model", "llama", "--dtype", dtype]);
        assert_eq!(file.kind("blk.0.ffn_up.weight"), kind);
        assert_eq!(file.kind("token_embd.weight"), kind);
        assert_eq!(file.kind("blk.0.attn_norm.weight"), gguf::F32);
        assert_eq!(file.metadata["general.file_type"], json!(file_type));
    }
    // Of a base in half precision that is the default; `--type` is another name.
    let project = Project::new().copy("llama3-rope-tied-bf16/model", "llama");
    let file = exported(&project, &["--model", "llama"]);
    assert_eq!(file.kind("blk.0.ffn_up.weight"), gguf::BF16);
    // One tensor, for the words and for the output; the scaled frequencies are a tensor too.
    assert!(!file.names().contains(&"output.weight"));
    assert_eq!(file.shape("rope_freqs.weight"), [4]);
    assert_eq!(exported(&project, &["--model", "llama", "--type", "f32"]).kind("blk.0.ffn_up.weight"), gguf::F32);
    // Blocks of 32 do not fit into rows of 48.
    let project = Project::new();
    let document = export(&project, &["--model", "bert", "--dtype", "q8_0", "--json"]).done().document();
    let notes = json!(["18 matrices are in f16: q8_0 takes rows of whole blocks of 32 values"]);
    assert_eq!((&document["notes"], &document["dtype"]), (&notes, &json!("q8_0")));
}

#[test]
fn a_conv1d_is_turned_round() {
    let project = Project::new().copy("gpt2-lm/model", "gpt2");
    let file = exported(&project, &["--model", "gpt2"]);
    let stored = tensor(&project, "gpt2/model.safetensors", "transformer.h.1.attn.c_attn.weight");
    let turned: Vec<f32> = (0..96)
        .flat_map(|row| (0..32).map(move |column| (row, column)))
        .map(|(row, column)| stored[column * 96 + row])
        .collect();
    assert_eq!(file.values("blk.1.attn_qkv.weight"), turned);
    assert_eq!(file.shape("blk.1.attn_qkv.weight"), [96, 32]);
    assert_eq!(file.metadata["general.architecture"], "gpt2");
}

#[test]
fn an_encoder_keeps_its_classifier_and_has_its_words_marked() {
    let project = Project::with_adapter();
    project.run(&["merge", "--model", "bert", "--adapter", "adapter", "--output", "merged"]).done();
    let file = exported(&project, &["--model", "bert", "--adapter", "adapter"]);
    let merged = |name: &str| tensor(&project, "merged/model.safetensors", name);
    assert_eq!(file.values("cls.weight"), merged("bert.pooler.dense.weight"));
    assert_eq!(file.values("cls.output.weight"), merged("classifier.weight"));
    assert_eq!(file.values("blk.2.attn_v.weight"), merged("bert.encoder.layer.2.attention.self.value.weight"));
    for (key, value) in [
        ("general.architecture", json!("bert")),
        ("bert.pooling_type", json!(4)),
        ("bert.attention.causal", json!(false)),
        ("bert.classifier.output_labels", json!(["LABEL_0", "LABEL_1", "LABEL_2"])),
        ("tokenizer.ggml.model", json!("bert")),
        ("tokenizer.ggml.token_type_count", json!(2)),
        ("tokenizer.ggml.bos_token_id", json!(2)),
        ("tokenizer.ggml.seperator_token_id", json!(3)),
    ] {
        assert_eq!(file.metadata[key], value, "{key}");
    }
    let tokens = file.metadata["tokenizer.ggml.tokens"].as_array().unwrap();
    assert_eq!((&tokens[2], &tokens[15]), (&json!("[CLS]"), &json!("\u{2581}a")));
}

/// A `BertModel` with its pooler, as sentence-transformers keeps one; `prefix` is before the names of its tensors.
fn without_head(prefix: &str) -> Project {
    Project::new().json("bert/config.json", "architectures", json!(["BertModel"])).tensors(
        "bert/model.safetensors",
        |tensors| {
            tensors.remove(|name| name.starts_with("classifier."));
            tensors.rename(|name| format!("{prefix}{}", name.strip_prefix("bert.").unwrap_or(name)));
        },
    )
}

#[test]
fn an_encoder_without_a_head_is_exported_for_its_embeddings() {
    let project = without_head("").file("bert/1_Pooling/config.json", r#"{"pooling_mode_mean_tokens": true}"#);
    let document = export(&project, &["--model", "bert", "--json"]).done().document();
    let bytes = std::fs::metadata(project.path("out")).unwrap().len();
    let file = Gguf::read(&project.path("out"));
    let expected = json!({
        "output": "out", "format": "gguf", "dtype": "f32", "tensors": file.names().len(), "bytes": bytes, "notes": [],
    });
    assert_eq!(document, expected);
    for (key, value) in [
        ("general.architecture", json!("bert")),
        ("general.name", json!("bert")),
        ("bert.pooling_type", json!(1)),
        ("bert.attention.causal", json!(false)),
        ("tokenizer.ggml.model", json!("bert")),
        ("tokenizer.ggml.token_type_count", json!(2)),
    ] {
        assert_eq!(file.metadata[key], value, "{key}");
    }
    assert!(!file.metadata.contains_key("bert.classifier.output_labels"));
    let tokens = file.metadata["tokenizer.ggml.tokens"].as_array().unwrap();
    assert_eq!((&tokens[2], &tokens[15]), (&json!("[CLS]"), &json!("\u{2581}a")));
    // The pooler is of no embedding.
    assert!(!file.names().iter().any(|name| name.starts_with("cls")), "{:?}", file.names());
    let stored = |name: &str| tensor(&project, "bert/model.safetensors", name);
    assert_eq!(file.values("token_embd.weight"), stored("embeddings.word_embeddings.weight"));
    assert_eq!(file.values("blk.2.ffn_down.bias"), stored("encoder.layer.2.output.dense.bias"));
    // Under the names that its tensors have below a head it is the same file.
    let prefixed = without_head("bert.").file("bert/1_Pooling/config.json", r#"{"pooling_mode_mean_tokens": true}"#);
    export(&prefixed, &["--model", "bert"]).done();
    assert!(std::fs::read(prefixed.path("out")).unwrap() == std::fs::read(project.path("out")).unwrap());
}

#[test]
fn an_adapter_of_an_encoder_without_a_head_is_merged_and_exported_with_it() {
    let weights = "adapter/adapter_model.safetensors";
    let project = without_head("").copy("bert-cls/adapter", "adapter").tensors(weights, |tensors| {
        tensors.remove(|name| name.contains("classifier"));
        tensors.rename(|name| name.replace("base_model.model.bert.", "base_model.model."));
    });
    let config = "adapter/adapter_config.json";
    let project =
        project.json(config, "task_type", json!("FEATURE_EXTRACTION")).json(config, "modules_to_save", Value::Null);
    let pooling = r#"{"pooling_mode_mean_tokens": true}"#;
    let project = project.file("bert/1_Pooling/config.json", pooling);
    let adapter = ["--model", "bert", "--adapter", "adapter"];
    let ran = project.run(&[&["merge", "--output", "merged"], &adapter[..]].concat()).done();
    assert!(ran.stderr.contains("\nhidden states differ by at most "), "{}", ran.stderr);
    assert_eq!(project.json_of("merged/config.json")["architectures"], json!(["BertModel"]));
    assert_eq!(project.read("merged/1_Pooling/config.json"), pooling);
    let (file, merged) = (exported(&project, &adapter), exported(&project, &["--model", "merged"]));
    let base = exported(&project, &["--model", "bert"]);
    assert_eq!(file.names(), merged.names());
    assert_eq!(file.metadata["bert.pooling_type"], json!(1));
    for (name, is_adapted) in [("blk.0.attn_q", true), ("blk.2.attn_v", true), ("blk.1.attn_k", false)] {
        let name = format!("{name}.weight");
        assert_eq!(file.values(&name), merged.values(&name), "{name}");
        assert_eq!(file.values(&name) != base.values(&name), is_adapted, "{name}");
    }
    let alone = exported(&project, &[&adapter[..], &["--adapter-only"]].concat());
    assert_eq!((&alone.metadata["general.type"], alone.names().len()), (&json!("adapter"), 12));
    let inspected = project.run(&["inspect", "adapter", "--model", "bert"]).done().stdout;
    assert!(inspected.contains("\nloaded by             PEFT, llama.cpp\n"), "{inspected}");
}

#[test]
fn a_backbone_that_llama_cpp_has_no_form_for_is_named_as_that() {
    let bare = |case: &str, class: &str, prefix: &str| {
        let project = Project::new().copy(&format!("{case}/model"), "bare");
        project.json("bare/config.json", "architectures", json!([class])).tensors("bare/model.safetensors", |tensors| {
            tensors.remove(|name| !name.starts_with(prefix));
        })
    };
    export(&bare("distilbert-cls", "DistilBertModel", "distilbert."), &["--model", "bare"]).refused(
        "error: a model of the type `distilbert` cannot be exported to GGUF\n\
         help: exported to GGUF: bert, gpt2, llama, mistral, qwen2, qwen3, smollm3, phi3",
    );
    export(&bare("llama-cls", "LlamaModel", "model."), &["--model", "bare"]).refused(
        "error: bare is of no class with an output layer (config.json: `LlamaModel`), and llama.cpp has its architecture as a language model alone\n\
         help: export a checkpoint that was saved with its output layer, a `LlamaForCausalLM`",
    );
}

#[test]
fn what_pools_the_embeddings_is_told_or_asked_for() {
    let project = without_head("");
    let document = export(&project, &["--model", "bert", "--json"]).done().document();
    let note = "no 1_Pooling/config.json says how the vectors of tokens become an embedding: choose it in llama.cpp with \
                `--pooling mean`, `cls` or `last`";
    assert_eq!(document["notes"], json!([note]));
    assert!(!Gguf::read(&project.path("out")).metadata.contains_key("bert.pooling_type"));
    let project = without_head("").file("bert/1_Pooling/config.json", r#"{"pooling_mode_max_tokens": true}"#);
    export(&project, &["--model", "bert"]).refused(
        "error: bert/1_Pooling/config.json has `pooling_mode_max_tokens`, which llama.cpp does not compute\n\
         help: it pools by the mean, or takes the first or the last token; without this file the model is exported, and llama.cpp's `--pooling` chooses",
    );
    assert!(!project.path("out").exists());
    // A classifier that has lost its head is no encoder.
    let project = without_head("").json("bert/config.json", "architectures", json!(["BertForSequenceClassification"]));
    export(&project, &["--model", "bert"]).refused(
        "error: bert has no trained classification head (no classifier.weight, classifier.bias)\n\
         help: give the adapter that was trained on it with --adapter, or fine-tune it first with `kindling train`",
    );
}

#[test]
fn an_adapter_for_mlx_has_transposed_factors() {
    let project = llama();
    let arguments = ["export", "--model", "llama", "--adapter", "llama-adapter", "--format", "mlx", "-o", "mlx"];
    project.run(&arguments).done();
    assert_eq!(project.names("mlx"), ["adapter_config.json", "adapters.safetensors"]);
    let config: Value = serde_json::from_str(&project.read("mlx/adapter_config.json")).unwrap();
    let parameters =
        json!({ "rank": 4, "scale": 4.0, "dropout": 0.0, "keys": ["self_attn.q_proj", "self_attn.v_proj"] });
    assert_eq!((&config["fine_tune_type"], &config["num_layers"]), (&json!("lora"), &json!(2)));
    assert_eq!(config["lora_parameters"], parameters);
    let peft =
        |name: &str| tensor(&project, "llama-adapter/adapter_model.safetensors", &format!("base_model.model.{name}"));
    let mlx = |name: &str| tensor(&project, "mlx/adapters.safetensors", name);
    let module = "model.layers.1.self_attn.v_proj";
    let turned = |values: Vec<f32>, columns: usize| -> Vec<f32> {
        (0..columns)
            .flat_map(|column| values.iter().skip(column).step_by(columns).copied().collect::<Vec<_>>())
            .collect()
    };
    assert_eq!(mlx(&format!("{module}.lora_a")), turned(peft(&format!("{module}.lora_A.weight")), 32));
    assert_eq!(mlx(&format!("{module}.lora_b")), turned(peft(&format!("{module}.lora_B.weight")), 4));
}

#[test]
fn an_adapter_of_mlx_is_read_as_the_one_it_was_made_of() {
    let lora = llama().json("llama-adapter/adapter_config.json", "use_rslora", json!(true));
    let dora = Project::new().copy("llama-lm/model", "llama").copy("llama-lm/adapter", "llama-adapter");
    // Lengths of nothing but ones: the adapter is another one, and that is enough here.
    let dora = dora.json("llama-adapter/adapter_config.json", "use_dora", json!(true)).tensors(
        "llama-adapter/adapter_model.safetensors",
        |tensors| {
            for module in ["0.self_attn.q_proj", "1.self_attn.q_proj", "0.self_attn.v_proj", "1.self_attn.v_proj"] {
                let name = format!("base_model.model.model.layers.{module}.lora_magnitude_vector");
                tensors.zeros(&name, &[if module.ends_with("q_proj") { 32 } else { 16 }]);
                tensors.fill(&name, 1.0);
            }
        },
    );
    for project in [lora, dora] {
        let adapter = ["--model", "llama", "--adapter", "llama-adapter"];
        project.run(&[&["export", "--format", "mlx", "-o", "mlx", "--quiet"], &adapter[..]].concat()).done();
        let [direct, through] = ["llama-adapter", "mlx"]
            .map(|adapter| exported(&project, &["--model", "llama", "--adapter", adapter, "--dtype", "f32"]));
        for name in direct.names() {
            let (direct, through) = (direct.values(name), through.values(name));
            assert!(direct.iter().zip(&through).all(|(one, other)| (one - other).abs() < 1e-6), "{name}");
        }
        let base = exported(&project, &["--model", "llama"]).values("blk.0.attn_v.weight");
        assert_ne!(through.values("blk.0.attn_v.weight"), base);
        // It records its base.
        project.run(&["export", "--format", "gguf", "--adapter", "mlx", "-o", "again.gguf", "--quiet"]).done();
    }
}

#[test]
fn what_cannot_be_exported_so_is_refused_by_name() {
    let project = llama().file("there.gguf", "mine");
    let llama = ["export", "--format", "gguf", "--model", "llama"];
    let run = |project: &Project, arguments: &[&str]| project.run(&[&llama[..], arguments].concat());
    run(&project, &["-o", "there.gguf"]).refused(
        "error: there.gguf already exists\n\
         help: name a file or directory that does not exist yet with --output",
    );
    assert_eq!(project.read("there.gguf"), "mine");
    run(&project, &["-o", "out", "--adapter-only"]).refused(
        "error: llama is a whole model: there is no adapter to export\n\
         help: name a run of an adapter with --run, or an adapter with --adapter",
    );
    project
        .run(&[
            "export",
            "--format",
            "mlx",
            "--model",
            "llama",
            "--adapter",
            "llama-adapter",
            "-o",
            "out",
            "--dtype",
            "f16",
        ])
        .refused("error: an adapter for mlx-lm is written in f32\nhelp: leave out --dtype");
    project.run(&["export", "--format", "mlx", "--model", "bert", "-o", "out"]).refused(
        "error: bert is a whole model: there is no adapter to export\n\
         help: name a run of an adapter with --run, or an adapter with --adapter",
    );
    let other = Project::new().copy("olmo2-lm/model", "llama");
    run(&other, &["-o", "out"]).refused(
        "error: a model of the type `olmo2` cannot be exported to GGUF\n\
         help: exported to GGUF: bert, gpt2, llama, mistral, qwen2, qwen3, smollm3, phi3",
    );
    let head = Project::new().copy("llama-cls/model", "llama");
    run(&head, &["-o", "out"]).refused(
        "error: GGUF has no place for `score.weight`\n\
         help: llama.cpp reads language models, and BERT's classifiers of sequences: export a model with such a head, or use this one with `kindling predict`",
    );
    let quantised =
        self::llama().json("llama/config.json", "quantization_config", json!({ "quant_method": "gptq", "bits": 4 }));
    run(&quantised, &["-o", "out"]).refused(
        "error: llama is quantised: config.json says so (`quantization_config`: gptq, 4 bits)\n\
         help: take the unquantised checkpoint that it was made from; if its weights are not quantised after all, remove `quantization_config` from config.json",
    );
    let large =
        self::llama().tensors("llama/model.safetensors", |tensors| tensors.fill("model.embed_tokens.weight", 1e6));
    run(&large, &["-o", "out", "--dtype", "f16"]).refused(
        "error: `token_embd.weight` does not fit f16: a value is beyond its range\n\
         help: `--dtype bf16` or `--dtype f32` has the range",
    );
    for project in [&project, &other, &head, &quantised, &large] {
        assert!(!project.path("out").exists());
    }
}

#[test]
fn a_base_with_other_weights_is_refused_unless_it_is_meant() {
    let project = Project::decoder("llama-lm");
    project.train(&["--quiet"]).done();
    let project = project.tensors("bert/model.safetensors", |tensors| tensors.add_to_first("model.norm.weight", 0.5));
    let said = "the weights of [DIR]/bert have changed since the adapter run/adapter was trained";
    for format in [&["--format", "gguf"][..], &["--format", "gguf", "--adapter-only"], &["--format", "mlx"]] {
        let arguments = [&["export", "--run", "run", "-o", "out"], format].concat();
        project.run(&arguments).refused(&format!(
            "error: {said}\n\
             help: give the model that it was trained on with --model, or export all the same with --allow-other-base"
        ));
        assert!(!project.path("out").exists(), "{format:?}");
    }
    let meant = ["export", "--run", "run", "-o", "out", "--format", "gguf", "--allow-other-base"];
    let ran = project.run(&meant).done();
    assert!(ran.stderr.contains(&format!("warning: {said}\n")), "{}", ran.stderr);
    assert!(project.path("out").exists());
}

#[test]
fn settings_that_llama_cpp_computes_otherwise_are_refused_by_their_key() {
    let help = "help: llama.cpp computes it otherwise: this model has no form in GGUF";
    let scaling = json!({ "rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0 });
    for (key, value, problem) in [
        ("hidden_act", json!("gelu"), "`hidden_act` is not `silu`, which a model of the kind `llama` has in llama.cpp"),
        ("rope_parameters", scaling, "the rotary embedding is scaled by `dynamic`"),
    ] {
        let project = llama().json("llama/config.json", key, value);
        export(&project, &["--model", "llama"]).refused(&format!("error: llama/config.json: {problem}\n{help}"));
    }
}

#[test]
fn a_tokenizer_without_a_name_there_is_refused_rather_than_written_as_another() {
    let mut tokenizer: Value = serde_json::from_str(&llama().read("llama/tokenizer.json")).unwrap();
    tokenizer["pre_tokenizer"]["add_prefix_space"] = json!(true);
    let project = llama().file("llama/tokenizer.json", tokenizer.to_string());
    export(&project, &["--model", "llama"]).refused(
        "error: GGUF has no name for this tokenizer: byte pairs with a space before each text (`add_prefix_space`)\n\
         help: llama.cpp knows the tokenizers of GPT-2, SmolLM, Llama 2 and 3, Qwen2, Mistral, Phi-3 and 4 and BERT: a file without its tokenizer would answer nonsense, so none is written",
    );
    // The adapter alone has no tokenizer.
    export(&project, &["--model", "llama", "--adapter", "llama-adapter", "--adapter-only"]).done();
}

#[test]
fn methods_and_parts_without_a_form_are_refused_for_an_adapter_alone() {
    let help = "help: export it merged into its base: leave out `--adapter-only`";
    let refused = |project: &Project, model: &str, what: &str| {
        export(project, &["--model", model, "--adapter", "adapter", "--adapter-only"])
            .refused(&format!("error: the adapter has {what}, which an adapter alone has no form for in GGUF\n{help}"));
        export(project, &["--model", model, "--adapter", "adapter"]).done();
    };
    refused(&Project::with_adapter(), "bert", "`classifier.bias` beside its factors");
    let dora = Project::new().copy("gpt2-dora/model", "gpt2").copy("gpt2-dora/adapter", "adapter");
    refused(&dora, "gpt2", "DoRA's lengths on `transformer.h.0.attn.c_attn`");
    let project = Project::new();
    project.train(&["--quiet", "--set", "adapter.method=ia3"]).done();
    export(&project, &["--run", "run", "--adapter-only"]).refused(&format!(
        "error: the adapter has (IA)3 on `bert.encoder.layer.0.attention.self.key`, which an adapter alone has no form for in GGUF\n{help}"
    ));
    export(&project, &["--run", "run"]).done();
    let project = Project::new().copy("llama-cls/model", "llama").copy("llama-cls/adapter", "adapter");
    let arguments = ["export", "--format", "mlx", "--model", "llama", "--adapter", "adapter", "-o", "mlx", "--quiet"];
    project.run(&arguments).refused(
        "error: the adapter has `score.weight` beside its factors, which has no form in an adapter of mlx-lm\n\
         help: merge it with `kindling merge`, which mlx-lm's `mlx_lm.convert` reads, or train it without that part",
    );
}

#[test]
fn directories_that_lead_to_the_file_are_made() {
    let project = llama().file("file", "mine");
    let export = ["export", "--model", "llama", "--quiet", "--format"];
    project.run(&[&export[..], &["gguf", "-o", "new/place/llama.gguf"]].concat()).done();
    assert_eq!(project.names("new/place"), ["llama.gguf"]);
    for arguments in [&["gguf", "-o", "file/out"][..], &["mlx", "--adapter", "llama-adapter", "-o", "file/out"]] {
        project.run(&[&export[..], arguments].concat()).failed(
            "error: cannot write file/out: not a directory\n\
             help: a part of the path is a file: name another place; nothing that existed was touched",
        );
    }
    assert_eq!(project.read("file"), "mine");
}

#[cfg(unix)]
#[test]
fn a_full_disk_leaves_nothing_behind() {
    let project = llama();
    let before = project.names(".");
    let export = ["export", "--model", "llama", "--quiet", "-o", "out"];
    for (blocks, arguments, file) in [
        (64, &["--format", "gguf"][..], "out"),
        (8, &["--adapter", "llama-adapter", "--format", "gguf", "--adapter-only"], "out"),
        (8, &["--adapter", "llama-adapter", "--format", "mlx"], "out"),
    ] {
        project.run_short_of_space(blocks, &[&export, arguments].concat()).failed(&format!(
            "error: cannot write {file}: File too large (os error 27)\n\
             help: free space or make the place writable; nothing that existed was touched"
        ));
        assert_eq!(project.names("."), before, "{arguments:?}");
    }
}
