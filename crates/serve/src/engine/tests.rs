//! Requests of several adapters, to write and to classify, whose passes are shared in ever new ways: each is answered as it is
//! alone, bit for bit. So many mixtures as `KINDLING_MIXTURES` says, for 1, 2 and 4 threads.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use burn::tensor::TensorData;
use inference::{
    AdapterFiles, Device, Frozen, GenerationSettings, LogProbabilities, ModelFiles, Pipeline, Sampling, Scheduler,
    resolved,
};
use kernels::{hash_text, mix, uniform};
use lora::peft::PeftConfig;
use lora::{Method, Plan};
use model::{Pretrained, Values};
use serde_json::{Value, json};
use tasks::TaskName;
use tokio::runtime::Runtime;

use super::*;

/// In every run of the tests.
const MIXTURES: u64 = 40;

/// A model of 32 and one of 192 features, whose products sum in blocks.
const MODELS: [&str; 2] = ["tests/fixtures/parity/llama-lm/model", "models/tiny-decoder"];

fn model_in(repository: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(repository).canonicalize().unwrap()
}

/// An adapter for a model, with values as training might leave them.
fn make(base: &Path, directory: &Path, name: &str, task: &str, outputs: usize, method: &Value) {
    let task = TaskName::named(task).unwrap();
    let pretrained = Pretrained::open(base, task.head).unwrap();
    let method: Method = serde_json::from_value(method.clone()).unwrap();
    let heads: Vec<String> = task.modules_to_save.iter().map(|head| head.to_string()).collect();
    let heads: Vec<String> = heads.into_iter().chain(pretrained.new_modules()).collect();
    let plan = Plan::new(resolved(&method, &pretrained, &heads), None, 7).unwrap();
    let (model, loaded) = pretrained.load(plan, outputs, Frozen::AsStored, Values::Read, &Device::flex()).unwrap();
    let mut tensors = loaded.plan.tensors(&model);
    for (tensor, data) in &mut tensors {
        let key = hash_text(&format!("{name} {tensor}"));
        let moved = |(i, value): (usize, f32)| value + 0.3 * (uniform(key, i as u64) as f32 - 0.5);
        *data = TensorData::new(data.iter::<f32>().enumerate().map(moved).collect::<Vec<_>>(), data.shape().clone());
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
    AdapterFiles { config, tensors, sidecar: None, card: "", tokenizer: base }.write(&directory.join(name)).unwrap();
}

/// What writes, the base first, and what classifies.
const WRITERS: [&str; 4] = ["base", "lora", "dora", "ia3"];
const CLASSIFIERS: [&str; 2] = ["classes", "words"];

fn adapters(base: &Path, directory: &Path) {
    let lora =
        |targets: &[&str], r: usize| json!({ "method": "lora", "r": r, "alpha": 8.0, "target_modules": targets });
    let mut dora = lora(&["k_proj", "down_proj"], 3);
    dora["use_dora"] = json!(true);
    make(base, directory, "lora", "causal-lm", 0, &lora(&["q_proj", "v_proj", "gate_proj"], 4));
    make(base, directory, "dora", "causal-lm", 0, &dora);
    make(base, directory, "ia3", "causal-lm", 0, &json!({ "method": "ia3" }));
    make(base, directory, "classes", "sequence-classification", 3, &lora(&["q_proj", "o_proj"], 5));
    make(base, directory, "words", "token-classification", 5, &lora(&["v_proj", "up_proj"], 2));
}

#[derive(Debug, Clone)]
enum Asked {
    Write {
        model: &'static str,
        prompt: String,
        samples: u64,
        settings: GenerationSettings,
        /// Tokens after which nobody listens any more.
        until: usize,
    },
    Classify {
        model: &'static str,
        texts: Vec<String>,
    },
}

/// Random numbers of a mixture.
struct Draw(u64, u64);

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        self.1 += 1;
        ((uniform(self.0, self.1) * bound as f64) as u64).min(bound - 1)
    }

    fn text(&mut self, words: u64) -> String {
        const WORDS: [&str; 10] = ["the", " cat", " sat", " on", " a", " mat", "\nand", " while", " it", " rained"];
        // Half of them begin alike.
        let beginning = if self.below(2) == 0 { "the cat sat on the mat while it rained and the " } else { "" };
        let words = 1 + self.below(words);
        let rest: String = (0..words).map(|_| WORDS[self.below(10) as usize]).collect();
        [beginning, &rest].concat()
    }

    fn asked(&mut self) -> Asked {
        if self.below(3) == 0 {
            let texts = (0..1 + self.below(5)).map(|_| self.text(12)).collect();
            return Asked::Classify { model: CLASSIFIERS[self.below(2) as usize], texts };
        }
        let sampling = Sampling {
            temperature: [0.0, 0.8, 1.3][self.below(3) as usize],
            top_p: (self.below(2) == 0).then_some(0.9),
            repetition_penalty: [1.0, 1.2][self.below(2) as usize],
            frequency_penalty: [0.0, 0.5][self.below(2) as usize],
            presence_penalty: [0.0, -0.5][self.below(2) as usize],
            logit_bias: if self.below(4) == 0 { vec![(7, 3.0), (11, -100.0)] } else { Vec::new() },
            seed: self.below(1000),
            ..Sampling::default()
        };
        let max_new_tokens = Some(1 + self.below(12) as usize);
        Asked::Write {
            model: WRITERS[self.below(4) as usize],
            prompt: self.text(16),
            samples: 1 + self.below(3),
            settings: GenerationSettings { sampling, stop_strings: Vec::new(), max_new_tokens },
            until: if self.below(5) == 0 { self.below(8) as usize } else { usize::MAX },
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
struct SaidToken {
    id: u32,
    text: String,
    /// Of it and of the most probable ones.
    log_probabilities: Vec<(u32, u64)>,
}

/// A text with all bits of what is said of it: ids, pieces, log-probabilities.
#[derive(Debug, Default, Clone, PartialEq)]
struct Said {
    tokens: Vec<SaidToken>,
    finish: Option<String>,
}

impl Said {
    fn token(&mut self, id: u32, text: String, of_token: &LogProbabilities) {
        let all = [(id, of_token.chosen)].into_iter().chain(of_token.top.iter().copied());
        let log_probabilities = all.map(|(id, value)| (id, value.to_bits())).collect();
        self.tokens.push(SaidToken { id, text, log_probabilities });
    }
}

#[derive(Debug, PartialEq)]
enum Answers {
    Texts(Vec<Said>),
    /// Their debug form tells any two floats apart.
    Classes(Vec<String>),
}

/// As `kindling generate` and `kindling predict` answer: one prompt, or one text, at a time.
fn alone(pipelines: &BTreeMap<&str, Pipeline>, asked: &Asked) -> Answers {
    match asked {
        Asked::Write { model, prompt, samples, settings, .. } => {
            let texts = pipelines[model].text_generation(settings.clone()).unwrap();
            let encoded = texts.encode_text(prompt, "it").unwrap();
            let prompts = texts.prompts(&encoded, 0..*samples, "it").unwrap();
            Answers::Texts(prompts.into_iter().map(|prompt| write_alone(&texts, prompt)).collect())
        }
        Asked::Classify { model, texts } => {
            let answer = |text: &String| format!("{:?}", pipelines[model].answer_texts(&[text]).unwrap());
            Answers::Classes(texts.iter().map(answer).collect())
        }
    }
}

fn write_alone(texts: &inference::TextGeneration<'_>, prompt: inference::Prompt) -> Said {
    let written = texts.write(std::slice::from_ref(&prompt), &mut |_, _| {}).unwrap().remove(0);
    let mut request = texts.request(prompt);
    request.request.log_probabilities = Some(3);
    let cache_memory = request.request.rows() * texts.model().cache_bytes_per_token();
    let limits = inference::Limits { max_batch_tokens: usize::MAX, cache_memory };
    let mut scheduler = Scheduler::new(texts.model(), limits);
    scheduler.submit(0, request).unwrap();
    let mut said = Said::default();
    while !scheduler.is_idle() {
        for (_, event) in scheduler.tick(texts.model()) {
            match event {
                inference::Event::Token { text, token, log_probabilities } => {
                    said.token(token, text, &log_probabilities.unwrap());
                }
                inference::Event::Finished { reason, .. } => said.finish = Some(format!("{reason:?}")),
                inference::Event::Failed(error) => panic!("{error}"),
            }
        }
    }
    assert_eq!(said.tokens.iter().map(|token| token.id).collect::<Vec<_>>(), written.token_ids);
    assert_eq!(said.tokens.iter().map(|token| token.text.as_str()).collect::<String>(), written.text);
    said
}

/// As the engine answers; of a text that nobody waits for, what came until then.
async fn together(engine: Engine, asked: Asked) -> Answers {
    match asked {
        Asked::Write { model, prompt, samples, settings, until } => {
            let model = engine.model(model).unwrap();
            let request = Generate {
                prompts: Prompts::Texts(vec![prompt]),
                samples,
                settings,
                max_tokens: 1,
                log_probabilities: Some(3),
            };
            let (_, mut events) = engine.generate(&model, request).await.unwrap();
            let mut texts = vec![Said::default(); samples as usize];
            let mut count = 0;
            while count < until && texts.iter().any(|text| text.finish.is_none()) {
                match events.recv().await.unwrap() {
                    Event::Token { choice, text, token } => {
                        texts[choice].token(token.id, text, &token.probabilities.unwrap());
                        count += 1;
                    }
                    Event::Ended { choice, finish, .. } => texts[choice].finish = Some(format!("{finish:?}")),
                    Event::Failed(error) => panic!("{error}"),
                }
            }
            Answers::Texts(texts)
        }
        Asked::Classify { model, texts } => {
            let model = engine.model(model).unwrap();
            let texts = texts.into_iter().map(|text| Text { text, pair: None, place: String::new() }).collect();
            let answers = engine.predict(&model, Inputs { texts, truncate: true, to_truncate: "" }).await.unwrap();
            Answers::Classes(answers.into_iter().map(|answered| format!("{:?}", [answered.answer])).collect())
        }
    }
}

/// Numbers that were compared, and those of them that differ.
fn compare(expected: &Answers, found: &Answers, counts: &mut (u64, u64)) {
    let mut value = |is_same: bool| {
        counts.0 += 1;
        counts.1 += u64::from(!is_same);
    };
    match (expected, found) {
        (Answers::Texts(expected), Answers::Texts(found)) => {
            assert_eq!(expected.len(), found.len());
            for (expected, found) in expected.iter().zip(found) {
                found.tokens.iter().enumerate().for_each(|(n, token)| value(expected.tokens.get(n) == Some(token)));
                if found.finish.is_some() {
                    value(expected.finish == found.finish && expected.tokens.len() == found.tokens.len());
                }
            }
        }
        (Answers::Classes(expected), Answers::Classes(found)) => {
            assert_eq!(expected.len(), found.len());
            expected.iter().zip(found).for_each(|(expected, found)| value(expected == found));
        }
        _ => panic!("{expected:?}, {found:?}"),
    }
}

fn start(base: &Path, directory: &Path, threads: usize, limits: Limits) -> Engine {
    let model = inference::Base::open(base, Frozen::AsStored, &Device::flex()).unwrap();
    let names = WRITERS[1..].iter().chain(&CLASSIFIERS);
    let adapters = names.map(|name| (name.to_string(), model.adapter(&directory.join(name)).unwrap())).collect();
    let base = Base { name: "base".to_string(), directory: base.to_path_buf(), model };
    let (engine, worker) = Engine::new(base, adapters, limits);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    std::thread::spawn(move || pool.install(move || worker.run()));
    engine
}

#[test]
fn each_request_is_answered_as_alone_bit_for_bit_whatever_shares_its_passes() {
    let mixtures = std::env::var("KINDLING_MIXTURES").map_or(MIXTURES, |mixtures| mixtures.parse().unwrap());
    // The larger model takes its time.
    for (model, mixtures) in MODELS.into_iter().zip([mixtures, mixtures / 5]) {
        check(&model_in(model), mixtures);
    }
}

#[expect(clippy::print_stdout, reason = "the figures are what the long run is for")]
fn check(base: &Path, mixtures: u64) {
    let directory = tempfile::tempdir().unwrap();
    adapters(base, directory.path());
    let pipeline = |name: &&'static str| {
        let adapter = (*name != "base").then(|| directory.path().join(name));
        (*name, Pipeline::open(&ModelFiles { model: base.to_path_buf(), adapter }, &Device::flex()).unwrap())
    };
    let pipelines: BTreeMap<&str, Pipeline> = WRITERS.iter().chain(&CLASSIFIERS).map(pipeline).collect();
    // Passes of few tokens and of many, and a cache that has room for some of the texts and one for all.
    let limits = |max_batch_tokens, rows: usize| {
        let of_row = pipelines["base"].model.model.causal_lm().unwrap().cache_bytes_per_token();
        Limits { max_queue: 64, max_batch_tokens, cache_memory: rows * of_row }
    };
    let limits = [limits(3, 1000), limits(16, 200), limits(64, 400), limits(512, 10_000)];
    let engines: Vec<Vec<Engine>> = [1, 2, 4]
        .iter()
        .map(|threads| limits.iter().map(|limits| start(base, directory.path(), *threads, *limits)).collect())
        .collect();
    let (runtime, mut counts, mut requests) = (Runtime::new().unwrap(), (0, 0), 0);
    for mixture in 0..mixtures {
        let mut draw = Draw(mix(mixture), 0);
        let asked: Vec<(Asked, u64)> = (0..2 + draw.below(8)).map(|_| (draw.asked(), draw.below(4))).collect();
        let expected: Vec<Answers> = asked.iter().map(|(asked, _)| alone(&pipelines, asked)).collect();
        for engines in &engines {
            let engine = &engines[draw.below(4) as usize];
            let found = runtime.block_on(async {
                let tasks: Vec<_> = asked
                    .iter()
                    .cloned()
                    .map(|(asked, milliseconds)| {
                        let engine = engine.clone();
                        tokio::spawn(async move {
                            tokio::time::sleep(Duration::from_millis(milliseconds)).await;
                            together(engine, asked).await
                        })
                    })
                    .collect();
                let mut found = Vec::new();
                for task in tasks {
                    found.push(task.await.unwrap());
                }
                found
            });
            requests += found.len();
            for ((expected, found), (asked, _)) in expected.iter().zip(&found).zip(&asked) {
                let before = counts.1;
                compare(expected, found, &mut counts);
                if counts.1 > before {
                    println!("mixture {mixture}, {asked:?}\n{expected:?}\n{found:?}");
                }
            }
        }
    }
    println!(
        "{}: {mixtures} mixtures for 1, 2 and 4 threads, {requests} requests: {} tokens and answers, {} of them differ",
        base.display(),
        counts.0,
        counts.1
    );
    assert_eq!(counts.1, 0);
    let passes: Vec<Passes> = engines.iter().flatten().map(|engine| engine.statistics().passes()).collect();
    let shared = |of: fn(&Passes) -> &Kind| passes.iter().any(|passes| of(passes).sequences > 2 * of(passes).passes);
    assert!(shared(|passes| &passes.writing) && shared(|passes| &passes.classifying), "passes are shared: {passes:?}");
}

#[test]
fn an_adapter_is_given_back_after_its_last_request() {
    let directory = tempfile::tempdir().unwrap();
    let base = model_in(MODELS[0]);
    adapters(&base, directory.path());
    let engine = start(&base, directory.path(), 1, Limits::default());
    let runtime = Runtime::new().unwrap();
    let model = engine.model("lora").unwrap();
    let of_adapter = Arc::downgrade(model.adapter().unwrap().routed.adapters());
    let request = |max_new_tokens| Generate {
        prompts: Prompts::Texts(vec!["the cat sat on the mat while it rained and the cat sat on the mat".to_string()]),
        samples: 1,
        settings: GenerationSettings { max_new_tokens: Some(max_new_tokens), ..GenerationSettings::default() },
        max_tokens: 1,
        log_probabilities: None,
    };
    runtime.block_on(async {
        let (_, mut events) = engine.generate(&model, request(20)).await.unwrap();
        engine.unload("lora").unwrap();
        assert!(matches!(engine.model("lora"), Err(Error::NoModel { .. })));
        drop(model);
        assert!(of_adapter.upgrade().is_some(), "a text is being written through it");
        while let Some(event) = events.recv().await {
            assert!(!matches!(event, Event::Failed(_)), "{event:?}");
        }
        while of_adapter.upgrade().is_some() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
}

#[test]
fn a_base_that_was_written_to_answers_nothing_more() {
    let directory = tempfile::tempdir().unwrap();
    let base = directory.path().join("base");
    std::fs::create_dir(&base).unwrap();
    for entry in std::fs::read_dir(model_in(MODELS[0])).unwrap().map(Result::unwrap) {
        std::fs::copy(entry.path(), base.join(entry.file_name())).unwrap();
    }
    adapters(&base, directory.path());
    let engine = start(&base, directory.path(), 1, Limits::default());
    let request = || Generate {
        prompts: Prompts::Texts(vec!["the cat sat".to_string()]),
        samples: 1,
        settings: GenerationSettings { max_new_tokens: Some(2), ..GenerationSettings::default() },
        max_tokens: 1,
        log_probabilities: None,
    };
    Runtime::new().unwrap().block_on(async {
        let failure = async |name: &str| {
            let (_, mut events) = engine.generate(&engine.model(name).unwrap(), request()).await.unwrap();
            let mut failed = None;
            while let Some(event) = events.recv().await {
                if let Event::Failed(error) = event {
                    failed = Some(error.to_string());
                }
            }
            failed
        };
        assert_eq!(failure("lora").await, None);
        assert!(engine.is_intact().await);
        let path = base.join("model.safetensors");
        let bytes = std::fs::read(&path).unwrap();
        // The same file, as `cp` writes it.
        std::fs::write(&path, bytes).unwrap();
        let expected = "the model's file was changed since it was loaded: the server has to be started again";
        for name in ["base", "lora"] {
            assert_eq!(failure(name).await.as_deref(), Some(expected));
        }
        assert!(!engine.is_intact().await);
    });
}
