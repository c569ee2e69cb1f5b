//! Many adapters on one base: each answers as it does alone, bit for bit, whatever shares the pass.
//!
//! The order of a product's sums depends on whether its rows are few: up to four, and where it is more than 64 terms deep up to
//! sixteen. The sequences of each adapter are more than four and the models at most 64 wide, or there are more than sixteen of
//! either.

use std::path::Path;
use std::sync::Arc;

use burn::tensor::Tensor;
use inference::{
    AdapterFiles, Answer, Base, Device, Error, Event, GenerationSettings, Limits, ModelFiles, Overrides, Pipeline,
    Saved, Scheduler, ServedAdapter, resolved,
};
use kernels::{Layout, Offsets, Phase, Quantisation, hash_text, uniform};
use lora::peft::PeftConfig;
use lora::{Method, Plan, Routes};
use miette::Diagnostic;
use model::{CausalLm, Frozen, Piece, Pretrained, Tokens, Values};
use serde_json::{Value, json};
use tasks::{Question, TaskName};

use crate::device::device;
use crate::project::Project;

/// A project with a fixture's model in `base`, and the same without a head in `headless`.
fn project(fixture: &str) -> Project {
    let model = format!("{fixture}/model");
    let is_of_head = |name: &str| ["classifier", "score", "head."].into_iter().any(|head| name.starts_with(head));
    let project = Project::new().copy(&model, "base").copy(&model, "headless");
    project.tensors("headless/model.safetensors", |tensors| {
        // The output layer of a language model is no classifier's.
        if tensors.names().any(is_of_head) {
            tensors.remove(is_of_head);
        }
    })
}

/// An adapter in the directory `name` with values as training might leave them; of a classifier the head has so many outputs.
fn make(project: &Project, name: &str, task: &str, outputs: usize, method: &Value) {
    let task = TaskName::named(task).unwrap();
    let pretrained = Pretrained::open(&project.path("headless"), task.head).unwrap();
    let method: Method = serde_json::from_value(method.clone()).unwrap();
    let heads: Vec<String> = task.modules_to_save.iter().map(|head| head.to_string()).collect();
    let heads: Vec<String> = heads.into_iter().chain(pretrained.new_modules()).collect();
    let plan = Plan::new(resolved(&method, &pretrained, &heads), None, 7).unwrap();
    let (model, loaded) = pretrained.load(plan, outputs, Frozen::AsStored, Values::Read, &Device::flex()).unwrap();
    let mut tensors = loaded.plan.tensors(&model);
    for (tensor, data) in &mut tensors {
        let key = hash_text(&format!("{name} {tensor}"));
        let moved = |(i, value): (usize, f32)| value + 0.3 * (uniform(key, i as u64) as f32 - 0.5);
        let values: Vec<f32> = data.iter::<f32>().enumerate().map(moved).collect();
        *data = burn::tensor::TensorData::new(values, data.shape().clone());
    }
    let config = PeftConfig {
        method: loaded.plan.method_written(),
        base_model: Some("base".to_string()),
        revision: None,
        task_type: task.peft_type.map(str::to_string),
        peft_version: None,
        fan_in_fan_out: loaded.plan.has_conv1d(),
        auto_mapping: None,
        notes: Vec::new(),
    };
    let tokenizer = project.path("base");
    let files = AdapterFiles { config, tensors, sidecar: None, card: "", tokenizer: &tokenizer };
    files.write(&project.path(name)).unwrap();
}

/// What an adapter answers alone.
fn alone(project: &Project, name: Option<&str>, frozen: Frozen) -> Pipeline {
    let files = ModelFiles { model: project.path("base"), adapter: name.map(|name| project.path(name)) };
    let overrides = Overrides { frozen: Some(frozen), ..Overrides::default() };
    Saved::read(&files, None).unwrap().load(&overrides, &device()).unwrap()
}

fn texts(count: usize, key: u64) -> Vec<String> {
    let word =
        |n: u64| ["a film", "that never ends", "good", "the", "cast", "is", "far too long", "?"][(n % 8) as usize];
    let draw = |i: u64| (uniform(key, i) * 1e6) as u64;
    let text = |n: u64| (0..4 + draw(n) % 9).map(|i| word(draw(100 + 20 * n + i))).collect::<Vec<_>>().join(" ");
    (0..count as u64).map(text).collect()
}

/// Answers with all bits of their numbers.
fn written(answers: &[Answer]) -> Vec<String> {
    answers.iter().map(|answer| format!("{answer:?}")).collect()
}

/// Each of the adapters and the base itself, `count` texts each, in turn: as alone.
fn check(project: &Project, names: &[&str], frozen: Frozen, count: usize) {
    let base = Base::open(&project.path("base"), frozen, &device()).unwrap();
    let adapters: Vec<Option<ServedAdapter>> =
        names.iter().map(|name| Some(base.adapter(&project.path(name)).unwrap())).chain([None]).collect();
    let questions: Vec<Vec<Question>> = (0..)
        .zip(&adapters)
        .map(|(key, adapter)| {
            let processor = adapter.as_ref().map_or_else(|| base.processor().unwrap(), |adapter| &adapter.processor);
            let texts = texts(count, key);
            processor.questions_of_texts(&texts.iter().map(String::as_str).collect::<Vec<_>>()).unwrap()
        })
        .collect();
    let in_turn: Vec<(Option<&ServedAdapter>, &Question)> = (0..count)
        .flat_map(|n| adapters.iter().zip(&questions).map(move |(adapter, of)| (adapter.as_ref(), &of[n])))
        .collect();
    let together = written(&base.answer(&in_turn).unwrap());
    for (place, (name, questions)) in names.iter().map(Some).chain([None]).zip(&questions).enumerate() {
        let expected = written(&alone(project, name.copied(), frozen).answer(questions).unwrap());
        let found: Vec<String> = together.iter().skip(place).step_by(adapters.len()).cloned().collect();
        assert_eq!(found, expected, "{name:?} of {names:?}, {frozen:?}");
        assert!(expected.iter().any(|answer| *answer != expected[0]), "the texts are told apart");
    }
}

fn lora(targets: &[&str], r: usize, alpha: f64) -> Value {
    json!({ "method": "lora", "r": r, "alpha": alpha, "dropout": 0.1, "target_modules": targets })
}

#[test]
fn adapters_of_different_methods_ranks_and_heads_answer_together_as_each_does_alone() {
    let project = project("electra-cls");
    let of_classes = "sequence-classification";
    make(&project, "small", of_classes, 2, &lora(&["query", "value"], 4, 8.0));
    let mut large = lora(&["key", "dense"], 7, 3.5);
    large["rank_pattern"] = json!({ "key": 2 });
    make(&project, "large", of_classes, 5, &large);
    let mut dora = lora(&["value", "output.dense"], 3, 6.0);
    dora["use_dora"] = json!(true);
    make(&project, "dora", of_classes, 4, &dora);
    make(&project, "ia3", of_classes, 3, &json!({ "method": "ia3" }));
    make(&project, "tokens", "token-classification", 5, &lora(&["query"], 2, 2.0));
    make(&project, "words", of_classes, 2, &lora(&["word_embeddings", "embeddings_project"], 3, 3.0));
    make(&project, "houlsby", of_classes, 2, &json!({ "method": "adapter", "placement": "houlsby" }));
    make(&project, "pfeiffer", of_classes, 3, &json!({ "method": "adapter", "reduction_factor": 4.0 }));
    make(&project, "head", of_classes, 6, &json!({ "method": "none" }));
    let quantised = |quantisation| Frozen::Quantised { quantisation, output: false };
    for frozen in [Frozen::AsStored, quantised(Quantisation::Int8), quantised(Quantisation::Nf4)] {
        check(&project, &["small", "large", "dora", "ia3"], frozen, 12);
    }
    check(&project, &["tokens", "words", "houlsby", "pfeiffer"], Frozen::AsStored, 12);
    check(&project, &["head", "small"], Frozen::As(burn::tensor::DType::BF16), 12);
}

#[test]
fn positions_that_all_sequences_read_are_each_adapters_own() {
    let project = project("deberta-v2-cls");
    for (name, targets) in [("one", &["query_proj", "pos_key_proj"][..]), ("other", &["key_proj", "value_proj"])] {
        make(&project, name, "sequence-classification", 3, &lora(targets, 4, 8.0));
    }
    check(&project, &["one", "other"], Frozen::AsStored, 12);
}

#[test]
fn classifiers_of_every_kind_of_backbone_share_their_base() {
    for (fixture, targets) in [
        ("modernbert-cls", [&["Wqkv", "mlp.Wo"][..], &["Wi"]]),
        ("gpt2-cls", [&["c_attn", "mlp.c_proj"], &["c_fc"]]),
        ("llama-cls", [&["q_proj", "down_proj"], &["o_proj", "embed_tokens"]]),
        ("gemma3-cls", [&["q_proj", "v_proj"], &["up_proj"]]),
    ] {
        let project = project(fixture);
        for (name, targets) in ["one", "other"].into_iter().zip(targets) {
            make(&project, name, "sequence-classification", 2 + targets.len(), &lora(targets, 4, 8.0));
        }
        check(&project, &["one", "other"], Frozen::AsStored, 20);
    }
}

/// The logits of what comes next, after prompts and after one token more.
fn next(decoder: CausalLm<'_>, prompts: &[Vec<u32>], routes: impl Fn(&Offsets) -> Routes) -> Vec<Vec<u32>> {
    let mut cache = decoder.cache(prompts.iter().map(|prompt| prompt.len() + 1).sum());
    let slots: Vec<_> = prompts.iter().map(|prompt| cache.take(prompt.len() + 1).unwrap()).collect();
    let mut read = vec![0; prompts.len()];
    let mut read = |phase: Phase, pieces: Vec<&[u32]>| {
        let piece = |(index, ids): (usize, &&[u32])| {
            let piece = Piece { rows: slots[index].clone(), read: read[index], tokens: ids.len() };
            read[index] += ids.len();
            piece
        };
        let layout: Arc<Layout> = Arc::new(cache.layout(&pieces.iter().enumerate().map(piece).collect::<Vec<_>>()));
        let ids = pieces.concat();
        let routes = routes(layout.queries());
        let tokens = Tokens::new(&ids, &vec![0; ids.len()], layout, &decoder.device());
        let all: Vec<usize> = (0..prompts.len()).collect();
        let logits: Tensor<2> = decoder.next(&tokens, phase, routes, &mut cache, &all).unwrap();
        let width = logits.dims()[1];
        let logits: Vec<u32> = logits.into_data().iter::<f32>().map(f32::to_bits).collect();
        logits.chunks(width).map(<[u32]>::to_vec).collect::<Vec<_>>()
    };
    let mut all = read(Phase::Prefill, prompts.iter().map(Vec::as_slice).collect());
    all.extend(read(Phase::Decode, prompts.iter().map(|_| &[7][..]).collect()));
    all
}

#[test]
fn texts_of_several_adapters_are_continued_together_beside_classifiers_of_the_same_base() {
    let project = project("llama-lm");
    make(&project, "one", "causal-lm", 0, &lora(&["q_proj", "v_proj"], 4, 8.0));
    make(&project, "other", "causal-lm", 0, &lora(&["down_proj", "lm_head", "embed_tokens"], 3, 9.0));
    make(&project, "classes", "sequence-classification", 4, &lora(&["o_proj"], 2, 4.0));
    let base = Base::open(&project.path("base"), Frozen::AsStored, &device()).unwrap();
    let adapters = ["one", "other"].map(|name| base.adapter(&project.path(name)).unwrap());
    let decoder = base.model.causal_lm().unwrap();
    const EACH: usize = 6;
    let prompt = |n: u64| (0..5 + n % 7).map(|i| (uniform(n, i) * 300.0) as u32).collect::<Vec<u32>>();
    let prompts: Vec<Vec<u32>> = (0..3 * EACH as u64).map(prompt).collect();
    let sets = [Some(adapters[0].routed.adapters()), None, Some(adapters[1].routed.adapters())];
    let of_sequences = |offsets: &Offsets| Routes::of_sequences(offsets, sets.iter().flat_map(|set| [*set; EACH]));
    let together = next(decoder, &prompts, of_sequences);
    for (place, name) in [Some("one"), None, Some("other")].into_iter().enumerate() {
        let pipeline = alone(&project, name, Frozen::AsStored);
        let own = &prompts[place * EACH..(place + 1) * EACH];
        let expected = next(pipeline.model.model.causal_lm().unwrap(), own, |_| Routes::default());
        let found = (0..2).flat_map(|step| &together[step * 3 * EACH + place * EACH..][..EACH]);
        assert!(found.eq(&expected), "{name:?}");
    }
    let classes = base.adapter(&project.path("classes")).unwrap();
    let texts = texts(12, 3);
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let questions = classes.questions_of_texts(&texts).unwrap();
    let asked: Vec<_> = questions.iter().map(|question| (Some(&classes), question)).collect();
    let files = ModelFiles { model: project.path("headless"), adapter: Some(project.path("classes")) };
    let expected = Pipeline::open(&files, &device()).unwrap().answer_texts(&texts).unwrap();
    assert_eq!(written(&base.answer(&asked).unwrap()), written(&expected));
    assert!(alone(&project, Some("one"), Frozen::AsStored).text_generation(GenerationSettings::default()).is_ok());
}

#[test]
fn a_scheduler_writes_texts_of_several_adapters_together_as_each_writes_alone() {
    let project = project("llama-lm");
    make(&project, "one", "causal-lm", 0, &lora(&["q_proj", "v_proj"], 4, 8.0));
    make(&project, "other", "causal-lm", 0, &lora(&["down_proj", "lm_head"], 3, 9.0));
    let base = Base::open(&project.path("base"), Frozen::AsStored, &device()).unwrap();
    let adapters = ["one", "other"].map(|name| base.adapter(&project.path(name)).unwrap());
    let through = [(None, None), (Some("one"), Some(&adapters[0])), (Some("other"), Some(&adapters[1]))];
    let settings = || GenerationSettings { max_new_tokens: Some(6), ..GenerationSettings::default() };
    let model = base.model.causal_lm().unwrap();
    let limits = Limits { max_batch_tokens: 40, cache_memory: 400 * model.cache_bytes_per_token() };
    let (mut scheduler, mut alone_ids) = (Scheduler::new(model, limits), Vec::new());
    for n in 0..9 {
        let (name, adapter) = through[n % 3];
        // All begin alike, but only those of one adapter may share that.
        let begins = (0..30).map(|i| (uniform(0, i) * 300.0) as u32);
        let ids: Vec<u32> = begins.chain((0..3 + n as u64).map(|i| (uniform(n as u64, i) * 300.0) as u32)).collect();
        let texts = base.text_generation(adapter, settings()).unwrap();
        let prompt = texts.prompts(&ids.into(), 0..1, "the prompt").unwrap().remove(0);
        let pipeline = alone(&project, name, Frozen::AsStored);
        let alone = pipeline.text_generation(settings()).unwrap();
        alone_ids.push(alone.write(std::slice::from_ref(&prompt), &mut |_, _| {}).unwrap().remove(0).token_ids);
        scheduler.submit(0, texts.request(prompt)).unwrap();
    }
    assert!(alone_ids[0] != alone_ids[1] && alone_ids[1] != alone_ids[2], "adapters that say nothing");
    let mut found = vec![Vec::new(); 9];
    while !scheduler.is_idle() {
        for (id, event) in scheduler.tick(model) {
            match event {
                Event::Token { token, .. } => found[id as usize].push(token),
                Event::Finished { .. } => {}
                Event::Failed(error) => panic!("{error}"),
            }
        }
    }
    assert_eq!(found, alone_ids);
    assert!(scheduler.statistics().shared > 0);
}

#[test]
fn rows_take_their_adapter_along_to_their_experts() {
    let project = project("qwen3-moe-experts-lm");
    let mut experts = lora(&["gate", "gate_proj", "up_proj", "down_proj"], 2, 8.0);
    experts["dropout"] = json!(0.0);
    make(&project, "experts", "causal-lm", 0, &experts);
    let base = Base::open(&project.path("base"), Frozen::AsStored, &device()).unwrap();
    let adapter = base.adapter(&project.path("experts")).unwrap();
    let prompts: Vec<Vec<u32>> = (0..6).map(|n| (0..5 + n).map(|i| (uniform(n, i) * 300.0) as u32).collect()).collect();
    let sets = [None, Some(adapter.routed.adapters())];
    let routes = |offsets: &Offsets| Routes::of_sequences(offsets, (0..6).map(|n| sets[n % 2]));
    let together = next(base.model.causal_lm().unwrap(), &prompts, routes);
    let alone = [None, Some("experts")].map(|name| {
        let pipeline = alone(&project, name, Frozen::AsStored);
        next(pipeline.model.model.causal_lm().unwrap(), &prompts, |_| Routes::default())
    });
    for (n, found) in together.iter().enumerate() {
        assert!(*found == alone[n % 2][n], "sequence {n}");
        assert!(*found != alone[1 - n % 2][n], "sequence {n} tells the two apart");
    }
}

#[test]
fn a_base_without_a_head_answers_by_those_of_its_adapters_and_says_so() {
    fn shared<T: Send + Sync>(_: &T) {}
    let project = project("electra-cls");
    make(&project, "adapter", "sequence-classification", 2, &lora(&["query"], 4, 8.0));
    let base = Base::open(&project.path("headless"), Frozen::AsStored, &device()).unwrap();
    let adapter = base.adapter(&project.path("adapter")).unwrap();
    shared(&(&base, &adapter));
    let texts = ["good", "a film", "that never ends", "far too long", "the cast is good"];
    let questions = adapter.questions_of_texts(&texts).unwrap();
    let asked: Vec<_> = questions.iter().map(|question| (Some(&adapter), question)).collect();
    let expected = alone(&project, Some("adapter"), Frozen::AsStored).answer_texts(&texts).unwrap();
    assert_eq!(written(&base.answer(&asked).unwrap()), written(&expected));
    let error = base.answer(&[(None, &questions[0])]).unwrap_err();
    assert_eq!(error.to_string(), format!("{} has no trained head of its own", project.path("headless").display()));

    // What gave an answer is known by its files alone.
    let again = base.adapter(&project.path("adapter")).unwrap();
    assert_eq!(again.fingerprint(), adapter.fingerprint());
    make(&project, "another", "sequence-classification", 2, &lora(&["query"], 4, 8.0));
    assert_ne!(base.adapter(&project.path("another")).unwrap().fingerprint(), adapter.fingerprint());
    assert_eq!(adapter.fingerprint().len(), base.fingerprint().len());
}

/// The message about an adapter, without the project's directory, and what to do.
fn refused(project: &Project, name: &str) -> String {
    let base = Base::open(&project.path("base"), Frozen::AsStored, &device()).unwrap();
    let error: Error = base.adapter(&project.path(name)).unwrap_err();
    let help = error.help().map(|help| format!("\nhelp: {help}")).unwrap_or_default();
    let root = format!("{}/", project.path("base").parent().unwrap_or(Path::new("")).display());
    format!("{error}{help}").replace(&root, "")
}

#[test]
fn what_a_base_cannot_be_shared_with_is_refused_by_name() {
    let project = project("electra-cls");
    let of_classes = "sequence-classification";
    let mut biases = lora(&["query"], 4, 8.0);
    biases["bias"] = json!("lora_only");
    make(&project, "biases", of_classes, 2, &biases);
    make(&project, "bitfit", of_classes, 2, &json!({ "method": "bitfit" }));
    let mut saved = lora(&["query"], 4, 8.0);
    saved["modules_to_save"] = json!(["embeddings_project"]);
    make(&project, "saved", of_classes, 2, &saved);
    make(&project, "pissa", of_classes, 2, &lora(&["query"], 4, 8.0));
    let project = project.json("pissa/adapter_config.json", "init_lora_weights", json!("pissa"));
    let merge = "merge it into its base (`kindling merge`) and use the merged model by itself";
    let shared = |name: &str, tensor: &str| {
        let why = "in place of its base's, which other adapters read too";
        format!(
            "{name} cannot be used beside others on one base: the adapter has `{tensor}` of its own {why}\nhelp: {merge}"
        )
    };
    let query = "electra.encoder.layer.0.attention.self.query.bias";
    assert_eq!(refused(&project, "biases"), shared("biases", query));
    assert_eq!(refused(&project, "bitfit"), shared("bitfit", "electra.embeddings.LayerNorm.bias"));
    assert_eq!(refused(&project, "saved"), shared("saved", "electra.embeddings_project.weight"));
    assert_eq!(
        refused(&project, "pissa"),
        "pissa cannot be used beside others on one base: the adapter starts with a part of its base's weights, and leaves the rest in \
         their place\nhelp: save it as a plain LoRA on the untouched base, as kindling does, and PEFT with \
         `path_initial_model_for_weight_conversion`"
    );
}

#[test]
fn an_adapter_of_a_quantised_residual_is_refused_there_and_a_plain_one_beside_the_base_itself() {
    let project = project("electra-cls");
    make(&project, "adapter", "sequence-classification", 2, &lora(&["query"], 4, 8.0));
    let fingerprint =
        Pretrained::open(&project.path("base"), model::Head::SequenceClassification).unwrap().fingerprint();
    let quantised = json!({ "dtype": "int8", "residual": true });
    let sidecar = json!({
        "format_version": 1, "kindling": "0.1.0", "task": "sequence-classification", "labels": ["no", "yes"], "columns": {},
        "max_length": 32, "base": { "path": "base", "fingerprint": fingerprint, "quantised": quantised },
    });
    let project = project.file("adapter/kindling.json", sidecar.to_string());
    let int8 = Frozen::Quantised { quantisation: Quantisation::Int8, output: false };
    let base = Base::open(&project.path("base"), int8, &device()).unwrap();
    let error = base.adapter(&project.path("adapter")).unwrap_err();
    let why =
        "the adapter was trained on a quantised base without the part that it started with, not on the base itself";
    let name = project.path("adapter").display().to_string();
    assert_eq!(error.to_string(), format!("{name} cannot be used beside others on one base: {why}"));
    let base = Base::open(&project.path("base"), Frozen::AsStored, &device()).unwrap();
    let adapter = base.adapter(&project.path("adapter")).unwrap();
    assert_eq!((adapter.max_length, adapter.task.label_names()), (32, &["no".to_string(), "yes".to_string()][..]));
}

#[test]
fn adapters_that_are_damaged_or_for_another_base_are_refused_by_name() {
    let project = project("electra-cls");
    for name in ["cut", "target", "other", "narrow"] {
        make(&project, name, "sequence-classification", 2, &lora(&["query"], 4, 8.0));
    }
    let sidecar = json!({
        "format_version": 1, "kindling": "0.1.0", "task": "sequence-classification", "labels": ["no", "yes"],
        "columns": {}, "max_length": 32, "base": { "path": "elsewhere", "fingerprint": "0f" },
    });
    let query = "electra.encoder.layer.0.attention.self.query.lora_A.weight";
    let project = project
        .truncate("cut/adapter_model.safetensors", 3000)
        .json("target/adapter_config.json", "target_modules", json!(["qery"]))
        .file("other/kindling.json", sidecar.to_string())
        .tensors("narrow/adapter_model.safetensors", |tensors| {
            let name = format!("base_model.model.{query}");
            tensors.remove(|tensor| tensor == name);
            tensors.zeros(&name, &[4, 16]);
        });
    assert_eq!(
        refused(&project, "other"),
        "the adapter other was trained on other weights (elsewhere) than those of base\nhelp: open its own base for it, or train it \
         again on this one"
    );
    let cut = refused(&project, "cut");
    let damage = "the tensors of its header do not end where the file ends";
    let expected = format!("cut/adapter_model.safetensors is not a valid safetensors file: {damage}\nhelp: ");
    assert!(cut.starts_with(&expected), "{cut}");
    let target = refused(&project, "target");
    assert!(
        target.starts_with("target/adapter_config.json does not fit the model: ") && target.contains("`qery`"),
        "{target}"
    );
    let narrow = refused(&project, "narrow");
    let expected =
        format!("narrow/adapter_model.safetensors: `base_model.model.{query}` has [4, 16], the model asks for [4, 24]");
    assert!(narrow.starts_with(&expected), "{narrow}");
    let missing = refused(&project, "nowhere");
    assert!(missing.starts_with("there is no adapter at nowhere"), "{missing}");
}
